"""Every numeric tolerance of the test suite, with its reason."""

import numpy as np

# A whole float32 network against the original's own float32 run, norm of the difference over norm.
NETWORK = 1e-5
# One float32 layer against its definition evaluated in float64.
LAYER = 1e-6
# The inner product of a float32 operator's gradient with a direction against a finite difference in float64, over the
# product of their norms. The difference itself is good to 1e-9.
GRADIENT = 2e-6
# The same for the gradient of a whole network, all of it in float64: what is left is the difference's own error, of
# rounding and of the odd ReLU that changes sides within its step of 1e-8.
STEP_GRADIENT = 1e-5
# The loss of a float32 training step against the original's, relative; it is a mean of a few logarithms.
COST = 1e-6
# Every state variable after one to three float32 training steps against the original's own float32, by the norm. Slots
# of biases are sums that nearly cancel: the largest error is 6e-6, that of weights 4e-7.
STATE = 1e-5
# Values of a gradient that is zero, where those that are not are of the order of 1.
ROUNDING = 1e-6
# The same for the golden bottleneck network: the gradient of its first convolution is ill-conditioned in float32. The
# original itself is off a float64 restatement by 5e-5 after one step, and by 4e-4 after three.
ILL_CONDITIONED_STATE = {1: 1e-4, 3: 8e-4}

# A rewritten graph against the unrewritten one, both evaluated in float64: the algebra alone.
REWRITE = 1e-9
# A rewritten graph's error against float64 over the unrewritten graph's, or over what half a unit in the last place of
# every weight makes of it where that is more.
REWRITE_GROWTH = 3.0
# The same for random networks of a few channels, whose few roundings are luck and whose moving statistics are floors;
# of 5,500 comparisons two were above 3.
REWRITE_GROWTH_OF_SMALL = 10.0
# How many times its error a convolution may have by minimal filtering of tiles of 2, 3 and 4. Of filters and maps of
# independent numbers of one variance, with roundings that are independent too, a product k of an axis has the variance
# |G[k]|^2 |B[k]|^2 where y has 3, and output i takes A[i, k]^2 of its error, by the matrices of Lavin and Gray:
# (1/m) sum_ik A[i, k]^2 |G[k]|^2 |B[k]|^2 / 3 of variance for each of two axes, the root of which is the error.
WINOGRAD_GROWTH = {2: 1.67, 3: 6.0, 4: 10.8}
# What half a unit in the last place of every weight may move an output by, for its error to be worth measuring.
ILL_CONDITIONED = 1e-4

# A normalised pixel against its definition in float64, over the largest value of the image or 1: at most 1.5e-7, three
# roundings. The original's own standardisation, in float32, is off by 2.0e-7.
PIXEL = 5e-7

# A pixel that a graph has preprocessed against the original's, in levels of 255 before scaling: what is exact up to
# rounding, and Pillow's filters of 8 bits, whose fixed-point weights another implementation rounds otherwise.
GREY_LEVELS = 1.001
# The same where both passes of a filter may have rounded to the other side.
GREY_LEVELS_OF_TWO_PASSES = 2.001

# A network in int8 against the same in float32, on images that it was not calibrated on. The catalogue, narrowed to a
# few channels, shows 0.018 to 0.072 in its logits.
INT8 = 0.12
# The error with zero points of 0, over that with any: 7 bits are left for what a ReLU gives, which doubles its steps.
# The catalogue, narrowed, shows 1.0 to 1.85.
SYMMETRIC = 2.2
# onnxruntime's integers against the interpreter's float64 for the same graph: what differs are numbers that lie half
# between two integers, each by a step of 1/255 of its tensor's range. Of fifteen networks twelve show 3e-7, three up to
# 1e-2.
INTEGERS = 2e-2
# A float32 range or mean found by onnxruntime against the interpreter's, over the range.
CALIBRATED = 1e-5

# The mean wait of 200,000 simulated queries against the formula's. Those of one busy time are alike: forty seeds show
# up to 3.6 %.
QUEUE = 0.05

# Levels of a pixel of one colour, after JPEG's rounding of luminance and chrominance.
JPEG = 3


def relative_error(actual: np.ndarray, expected: np.ndarray) -> float:
    """Norm of the difference over the norm of what was expected, in float64; shapes have to agree."""
    assert actual.shape == expected.shape, (actual.shape, expected.shape)
    difference = np.linalg.norm(actual.astype(np.float64) - expected.astype(np.float64))
    return float(difference / max(np.linalg.norm(expected.astype(np.float64)), 1e-30))

"""Every numeric tolerance of the test suite, with its reason."""

import numpy as np

# A whole float32 network against the original's own float32 run, norm of the difference over norm.
NETWORK = 1e-5
# One float32 layer against its definition evaluated in float64.
LAYER = 1e-6


def relative_error(actual: np.ndarray, expected: np.ndarray) -> float:
    """Norm of the difference over the norm of what was expected, in float64; shapes have to agree."""
    assert actual.shape == expected.shape, (actual.shape, expected.shape)
    difference = np.linalg.norm(actual.astype(np.float64) - expected.astype(np.float64))
    return float(difference / max(np.linalg.norm(expected.astype(np.float64)), 1e-30))

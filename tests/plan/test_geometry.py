"""Padding and window arithmetic against TensorFlow's definition, stated once more."""

from hypothesis import given
from hypothesis import strategies as st

from resnet_compile.plan.geometry import FeatureMap, fixed_padding, same_padding, window_output

sizes, kernels, strides, rates = st.integers(1, 60), st.integers(1, 7), st.integers(1, 4), st.integers(1, 4)


@given(sizes, sizes, kernels, strides, rates)
def test_same_padding_gives_ceil_n_over_s_outputs_and_no_window_more(
    height: int, width: int, kernel: int, stride: int, rate: int
) -> None:
    source = FeatureMap(3, height, width)
    padding = same_padding(source, kernel, stride, rate)
    output = window_output(source, 5, kernel, stride, padding, rate)
    assert output == FeatureMap(5, -(-height // stride), -(-width // stride))
    for begin, end in ((padding.top, padding.bottom), (padding.left, padding.right)):
        assert end - begin in (0, 1)


@given(sizes, kernels, rates)
def test_fixed_padding_keeps_the_size_at_stride_one(size: int, kernel: int, rate: int) -> None:
    source = FeatureMap(3, size, size)
    assert window_output(source, 3, kernel, 1, fixed_padding(kernel, rate), rate) == source


def test_the_pads_of_the_root_pool_follow_its_input() -> None:
    """SEMANTICS of slim's pool1: (0, 1) for even maps, (1, 1) for odd ones, rows and columns apart."""
    padding = same_padding(FeatureMap(64, 112, 257), kernel=3, stride=2)
    assert (padding.top, padding.bottom, padding.left, padding.right) == (0, 1, 1, 1)
    assert padding.rule == "same"


def test_the_pads_of_conv2d_same_do_not() -> None:
    padding = fixed_padding(7)
    assert (padding.top, padding.left, padding.bottom, padding.right) == (3, 3, 3, 3)
    assert padding.rule == "fixed"
    assert fixed_padding(3, rate=4).top == 4


def test_a_window_that_does_not_fit_has_no_output() -> None:
    assert window_output(FeatureMap(3, 2, 9), 3, 3, 1, fixed_padding(1)) is None

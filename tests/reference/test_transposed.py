from __future__ import annotations

import numpy as np
import pytest
from scipy import signal

from fastconv.problem import ConvProblem
from fastconv.reference import conv, conv_transpose

LAYOUTS = ["channels_first", "channels_last"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        # 1, 2, 3 spread the pattern 1 10 100
        ({}, [1, 12, 123, 230, 300]),
        ({"flip": True}, [100, 210, 321, 32, 3]),
        ({"padding": 1}, [12, 123, 230]),
        ({"padding": [(0, 2)]}, [1, 12, 123]),
        ({"padding": "valid"}, [1, 12, 123, 230, 300]),
        ({"padding": "same"}, [12, 123, 230]),
        ({"stride": 2}, [1, 10, 102, 20, 203, 30, 300]),
        ({"stride": 2, "padding": 1}, [10, 102, 20, 203, 30]),
        ({"stride": 2, "padding": 1, "output_padding": 1}, [10, 102, 20, 203, 30, 300]),
        ({"stride": 2, "output_padding": 1}, [1, 10, 102, 20, 203, 30, 300, 0]),
        ({"stride": 2, "padding": "same"}, [1, 10, 102, 20, 203, 30]),
        ({"stride": 2, "padding": "same_lower"}, [10, 102, 20, 203, 30, 300]),
        ({"stride": 4, "padding": "same"}, [1, 10, 100, 0, 2, 20, 200, 0, 3, 30, 300, 0]),
        ({"dilation": 2}, [1, 2, 13, 20, 130, 200, 300]),
        ({"dilation": 2, "output_padding": 1}, [1, 2, 13, 20, 130, 200, 300, 0]),
    ],
)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_one_axis(layout, arguments, expected):
    x = np.array([[[1, 2, 3]]])
    x = x if layout == "channels_first" else np.moveaxis(x, 1, -1)
    y = conv_transpose(x, [[[1, 10, 100]]], layout=layout, **arguments)
    assert y.ravel().tolist() == expected
    assert y.shape[{"channels_first": 1, "channels_last": 2}[layout]] == 1


def test_two_axes():
    y = conv_transpose([[[[1, 2], [3, 4]]]], [[[[1, 10], [100, 1000]]]])
    assert y.tolist() == [[[[1, 12, 20], [103, 1234, 2040], [300, 3400, 4000]]]]


def test_three_axes():
    x, weight = np.full((1, 1, 1, 1, 2), 3), np.arange(1, 9).reshape(1, 1, 2, 2, 2)
    y = conv_transpose(x, weight, stride=2)
    assert y.ravel().tolist() == [3, 6, 3, 6, 9, 12, 9, 12, 15, 18, 15, 18, 21, 24, 21, 24]


def test_channels_groups_and_bias():
    x, weight = [[[1], [2]]], [[[1], [10], [100]], [[1], [10], [100]]]  # 2 to 3 channels
    assert conv_transpose(x, weight).tolist() == [[[3], [30], [300]]]
    y = conv_transpose(x, weight, [1000, 2000, 3000, 4000, 5000, 6000], groups=2)
    assert y.ravel().tolist() == [1001, 2010, 3100, 4002, 5020, 6200]


def test_no_images():
    assert conv_transpose(np.zeros((0, 2, 3)), np.ones((2, 4, 2)), [1.0] * 4).shape == (0, 4, 4)


@pytest.mark.parametrize("padding", [0, 1, "same", "same_lower", [(2, 1), (0, 2)]])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_it_is_the_adjoint_of_the_convolution(padding, stride, layout):
    random = np.random.default_rng(0)
    weight = random.integers(-9, 10, (4, 3, 3, 2))
    y_shape = (2, 4, 5, 6) if layout == "channels_first" else (2, 5, 6, 4)
    y = random.integers(-9, 10, y_shape)
    arguments = {"stride": stride, "padding": padding, "groups": 2, "layout": layout}
    transposed = conv_transpose(y, weight, **arguments)
    problem = ConvProblem.from_shapes(transposed.shape, weight.shape, "int64", **arguments)
    x = random.integers(-9, 10, transposed.shape)
    assert (conv(problem, x, weight) * y).sum() == (x * transposed).sum()


def test_stride_1_is_scipy_s_full_convolution():
    random = np.random.default_rng(0)
    x, weight = random.standard_normal((5, 6)), random.standard_normal((3, 2))
    expected = signal.convolve2d(x, weight)
    y = conv_transpose(x[None, None], weight[None, None])
    np.testing.assert_allclose(y[0, 0], expected, rtol=1e-13, atol=1e-13)


def test_a_stride_is_a_convolution_of_the_input_with_zeros_between():
    random = np.random.default_rng(0)
    x, weight = random.standard_normal(5), random.standard_normal(4)
    between = np.zeros(13)
    between[::3] = x
    y = conv_transpose(x[None, None], weight[None, None], stride=3)
    np.testing.assert_allclose(y[0, 0], np.convolve(between, weight), rtol=1e-13, atol=1e-13)


def test_integers_that_might_not_fit():
    with pytest.raises(OverflowError, match="2 products"):
        conv_transpose(np.full((1, 1, 2), 2**31), np.full((1, 1, 2), 2**31))


X, W = np.ones((1, 4, 5)), np.ones((4, 2, 3))


@pytest.mark.parametrize(
    ("arguments", "keywords", "error", "message"),
    [
        ((X[0], W), {}, ValueError, "x must have a batch axis"),
        ((X, W[0]), {}, ValueError, "weight must be .* with the 1 spatial axes of x"),
        ((X, W[:3]), {}, ValueError, r"weight must have shape\[0\] = 4"),
        ((X, W, [1.0]), {}, ValueError, r"bias must have shape \(2,\), got \(1,\)"),
        ((X, W, [1.0] * 2), {"groups": 2}, ValueError, r"bias must have shape \(4,\)"),
        ((X, W), {"groups": 3}, ValueError, "groups must divide the 4 channels of x, got 3"),
        ((X, W), {"groups": True}, TypeError, "groups must be an int"),
        ((X, W), {"stride": 0}, ValueError, "stride must be positive, got 0"),
        ((X, W), {"padding": 4}, ValueError, "padding must leave an output"),
        ((X, W), {"padding": "full"}, ValueError, "padding must be one of"),
        ((X, W), {"output_padding": 1}, ValueError, r"output_padding must be less than the stride"),
        ((X, W), {"output_padding": -1}, ValueError, "output_padding must not be negative"),
        (
            (X, W),
            {"stride": 2, "output_padding": 1, "padding": "same"},
            ValueError,
            "output_padding must be 0 with padding='same'",
        ),
        ((X, W), {"stride": 2**62}, ValueError, r"out must fit in 2\*\*63 - 1 bytes"),
        ((X, W), {"flip": 1}, TypeError, "flip must be a bool"),
        ((X, W), {"layout": "NCHW"}, ValueError, "layout must be one of"),
        ((X, W.astype(int)), {}, TypeError, "weight must have a floating dtype"),
    ],
)
def test_refused(arguments, keywords, error, message):
    with pytest.raises(error, match=message):
        conv_transpose(*arguments, **keywords)

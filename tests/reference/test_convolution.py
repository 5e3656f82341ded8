"""Convolutions that can be checked by hand, then against SciPy, then what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage, signal

from fastconv.problem import PADDING_MODES, ConvProblem
from fastconv.reference import ACTIVATIONS, conv

LAYOUTS = ["channels_first", "channels_last"]


def conv_of(x, weight, bias=None, residual=None, activation=None, **arguments):
    """Return conv of a problem made of the arrays; x and residual are channels first."""
    x, weight = np.asarray(x), np.asarray(weight)
    last = arguments.get("layout") == "channels_last"
    if last:
        x = np.moveaxis(x, 1, -1)
        residual = None if residual is None else np.moveaxis(np.asarray(residual), 1, -1)
    problem = ConvProblem.from_shapes(x.shape, weight.shape, x.dtype, **arguments)
    y = conv(problem, x, weight, bias, residual, activation)
    assert y.shape == problem.output_shape
    return np.moveaxis(y, -1, 1) if last else y


ONE_TO_FIVE = [[[1, 2, 3, 4, 5]]]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, [321, 432, 543]),
        ({"flip": True}, [123, 234, 345]),
        ({"padding": 1}, [210, 321, 432, 543, 54]),
        ({"padding": [(0, 2)]}, [321, 432, 543, 54, 5]),
        ({"padding": "same"}, [210, 321, 432, 543, 54]),
        ({"padding": "valid"}, [321, 432, 543]),
        ({"stride": 2}, [321, 543]),
        ({"stride": 2, "padding": 1}, [210, 432, 54]),
        ({"stride": 3}, [321]),
        ({"dilation": 2}, [531]),
        ({"dilation": 2, "padding": 2}, [310, 420, 531, 42, 53]),
        ({"dilation": 2, "flip": True}, [135]),
        ({"padding": 1, "padding_mode": "reflect"}, [212, 321, 432, 543, 454]),
        ({"padding": 1, "padding_mode": "replicate"}, [211, 321, 432, 543, 554]),
        ({"padding": 1, "padding_mode": "circular"}, [215, 321, 432, 543, 154]),
        ({"padding": 1, "padding_mode": "symmetric"}, [211, 321, 432, 543, 554]),
        ({"padding": [(2, 0)], "padding_mode": "symmetric"}, [112, 211, 321, 432, 543]),
        ({"padding": [(2, 0)], "padding_mode": "reflect"}, [123, 212, 321, 432, 543]),
    ],
)
def test_one_axis(layout, arguments, expected):
    # The weight 1, 10, 100 writes the elements of a window as the digits of a number.
    y = conv_of(ONE_TO_FIVE, [[[1, 10, 100]]], layout=layout, **arguments)
    assert y.tolist() == [[expected]]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        # 1 2 3    windows 1 2 4 5, 2 3 5 6, and the row below
        # 4 5 6
        # 7 8 9
        ({}, [[5421, 6532], [8754, 9865]]),
        ({"flip": True}, [[1245, 2356], [4578, 5689]]),
        ({"stride": (2, 1)}, [[5421, 6532]]),
        ({"dilation": 2}, [[9731]]),
        ({"dilation": (1, 2)}, [[6431], [9764]]),
        ({"padding": [(1, 0), (0, 0)]}, [[2100, 3200], [5421, 6532], [8754, 9865]]),
        ({"padding": "same"}, [[5421, 6532, 603], [8754, 9865, 906], [87, 98, 9]]),
        ({"padding": "same_lower"}, [[1000, 2100, 3200], [4010, 5421, 6532], [7040, 8754, 9865]]),
    ],
)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_two_axes(layout, arguments, expected):
    x = np.arange(1, 10).reshape(1, 1, 3, 3)
    weight = [[[[1, 10], [100, 1000]]]]
    assert conv_of(x, weight, layout=layout, **arguments).tolist() == [[expected]]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_three_axes(layout):
    x = np.arange(1, 9).reshape(1, 1, 2, 2, 2)
    weight = 10 ** np.arange(8).reshape(1, 1, 2, 2, 2)
    assert conv_of(x, weight, layout=layout).tolist() == [[[[[87654321]]]]]
    assert conv_of(x, weight, layout=layout, flip=True).tolist() == [[[[[12345678]]]]]
    # One element before the first axis: the window sees 1 2 3 4 in its second half.
    y = conv_of(x, weight, layout=layout, padding=[(1, 0), (0, 0), (0, 0)])
    assert y.ravel().tolist() == [43210000, 87654321]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_channels_are_summed(layout):
    x = [[[1, 2], [3, 4], [5, 6]]]
    weight = [[[1], [10], [100]], [[1], [0], [0]]]
    assert conv_of(x, weight, layout=layout).tolist() == [[[531, 642], [1, 2]]]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_groups_see_their_own_channels(layout):
    x = [[[1], [2], [3], [4]]]
    weight = [[[1], [10]], [[100], [1000]], [[1], [10]], [[100], [1000]]]
    assert conv_of(x, weight, groups=2, layout=layout).ravel().tolist() == [21, 2100, 43, 4300]
    depthwise = conv_of(x, [[[1]], [[10]], [[100]], [[1000]]], groups=4, layout=layout)
    assert depthwise.ravel().tolist() == [1, 20, 300, 4000]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_images_are_independent(layout):
    x = np.arange(12).reshape(3, 1, 4)
    y = conv_of(x, [[[1, 100]]], layout=layout)
    assert y.tolist() == [[[100, 201, 302]], [[504, 605, 706]], [[908, 1009, 1110]]]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_bias_and_residual_come_before_the_activation(layout):
    x, weight = [[[1, -5]]], [[[1]], [[2]]]
    assert conv_of(x, weight, [10, 20], layout=layout).tolist() == [[[11, 5], [22, 10]]]
    residual = [[[100, -100], [200, -200]]]
    y = conv_of(x, weight, [10, 20], residual, layout=layout)
    assert y.tolist() == [[[111, -95], [222, -190]]]
    y = conv_of(x, weight, [10, 20], residual, "relu", layout=layout)
    assert y.tolist() == [[[111, 0], [222, 0]]]


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations_follow(activation):
    x = np.linspace(-8, 8, 5).reshape(1, 1, 5)
    expected = ACTIVATIONS[activation](2 * x + 1)
    np.testing.assert_allclose(conv_of(x, [[[2.0]]], [1.0], None, activation), expected)


@pytest.mark.parametrize("mode", PADDING_MODES)
@pytest.mark.parametrize("dtype", ["float32", "int32"])
def test_no_images(mode, dtype):
    x, weight = np.zeros((0, 2, 5), dtype), np.ones((3, 2, 3), dtype)
    y = conv_of(x, weight, padding=1, padding_mode=mode, bias=np.ones(3, dtype))
    assert y.shape == (0, 3, 5)


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [("float16", "f8"), ("bfloat16", "f8"), ("float32", "f8"), (">f8", "f8"), ("int8", "i8"), ("uint32", "i8")],
)
def test_types_of_results(dtype, expected):
    x, weight = np.full((1, 1, 3), 2, dtype), np.full((1, 1, 2), 3, dtype)
    y = conv_of(x, weight)
    assert y.dtype == np.dtype(expected)
    assert y.tolist() == [[[12, 12]]]


def test_small_floats_are_summed_in_float64():
    x, weight = np.array([[[2.0**24, 1, 1]]], "float32"), np.ones((1, 1, 3), "float32")
    assert conv_of(x, weight).item() == 2**24 + 2  # float32 would give 2**24


def test_nothing_that_was_passed_is_written():
    arrays = [np.ones((1, 1, 4)), np.ones((1, 1, 2)), np.ones(1), np.ones((1, 1, 3))]
    for array in arrays:
        array.flags.writeable = False
    y = conv_of(*arrays, "relu")
    assert y.tolist() == [[[4, 4, 4]]]
    assert not any(np.shares_memory(y, array) for array in arrays)


def test_strided_reversed_and_fortran_ordered_inputs():
    base = np.arange(2 * 3 * 8 * 10.0).reshape(2, 3, 8, 10)
    weight = np.arange(4 * 3 * 3 * 3.0).reshape(4, 3, 3, 3)
    view = base[:, :, ::2, ::-1]
    expected = conv_of(view.copy(), weight)
    np.testing.assert_array_equal(conv_of(view, weight), expected)
    odd = np.asfortranarray(weight)
    np.testing.assert_array_equal(conv_of(np.asfortranarray(view), odd), expected)


def test_nan_reaches_the_windows_that_hold_it_and_no_other():
    x = np.zeros((1, 1, 6))
    x[0, 0, 2] = np.nan
    y = conv_of(x, np.ones((1, 1, 2)))
    assert np.isnan(y).tolist() == [[[False, True, True, False, False]]]


def test_infinities_meet_quietly():
    x = np.array([[[np.inf, -np.inf, 1.0, 1e308]]])
    np.testing.assert_array_equal(
        conv_of(x, np.full((1, 1, 2), 10.0)), [[[np.nan, -np.inf, np.inf]]]
    )
    # The padding is a number, zero, and zero times infinity is NaN.
    y = conv_of(np.ones((1, 1, 1)), [[[np.inf, 1.0]]], padding=[(1, 0)])
    np.testing.assert_array_equal(y, [[[np.nan]]])


# Against SciPy


@pytest.mark.parametrize("size", [(9,), (6, 7), (4, 5, 6)])
@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("padding", ["valid", "same", "full"])
def test_scipy_signal(size, flip, padding):
    random = np.random.default_rng(0)
    kernel = (3, 2, 3)[: len(size)]
    x, weight = random.standard_normal(size), random.standard_normal(kernel)
    operation = signal.convolve if flip else signal.correlate
    expected = operation(x, weight, padding, method="direct")
    # SciPy's "same" is centred in "full" with the odd one at the beginning.
    pads = [f - 1 for f in kernel] if padding == "full" else padding
    pads = "same_lower" if padding == "same" else pads
    y = conv_of(x[None, None], weight[None, None], padding=pads, flip=flip)
    np.testing.assert_allclose(y[0, 0], expected, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize(
    ("mode", "scipy_mode"),
    [
        ("zeros", "constant"),
        ("reflect", "mirror"),
        ("replicate", "nearest"),
        ("circular", "grid-wrap"),
        ("symmetric", "reflect"),
    ],
)
@pytest.mark.parametrize("size", [(9,), (6, 7), (4, 5, 6)])
def test_scipy_ndimage(mode, scipy_mode, size):
    random = np.random.default_rng(0)
    x, weight = random.standard_normal(size), random.standard_normal((5, 3, 3)[: len(size)])
    expected = ndimage.correlate(x, weight, mode=scipy_mode)
    y = conv_of(x[None, None], weight[None, None], padding="same", padding_mode=mode)
    np.testing.assert_allclose(y[0, 0], expected, rtol=1e-13, atol=1e-13)
    steps = tuple(slice(None, None, 2) for _ in size)  # a stride keeps every second window
    pads = [f // 2 for f in weight.shape]
    y = conv_of(x[None, None], weight[None, None], stride=2, padding=pads, padding_mode=mode)
    np.testing.assert_allclose(y[0, 0], expected[steps], rtol=1e-13, atol=1e-13)


# Exactness, and what is refused


def test_integers_are_exact_where_float64_is_not():
    x = np.array([[[2**53, 1]]])
    assert conv_of(x, np.array([[[1, 1]]])).item() == 2**53 + 1


@pytest.mark.parametrize("sign", [-1, 1])
def test_the_largest_integers_that_surely_fit(sign):
    x, weight = np.array([[[2**31]]]), np.array([[[sign * 2**31]]])
    assert conv_of(x, weight).item() == sign * 2**62
    assert conv_of(x, weight, [sign * (2**62 - 1)]).item() == sign * (2**63 - 1)
    with pytest.raises(OverflowError, match=f"can reach {2**63}"):
        conv_of(x, weight, [sign * 2**62])
    with pytest.raises(OverflowError, match=f"can reach {2**63}"):
        conv_of(x, weight, None, [[[sign * 2**62]]])


def test_the_bound_counts_taps_and_the_channels_of_a_group():
    x, weight = np.full((1, 4, 2), 2**30), np.full((2, 2, 2), 2**30)  # 4 products of 2**60
    assert conv_of(x // 2, weight, groups=2).max() == 2**61
    assert conv_of(x - 1, weight, groups=2).max() == 4 * 2**30 * (2**30 - 1)
    with pytest.raises(OverflowError, match="4 products"):
        conv_of(2 * x, weight, groups=2)


def test_the_least_int64_is_no_small_number():
    with pytest.raises(OverflowError, match=str(2**63)):
        conv_of(np.array([[[-(2**63)]]]), np.array([[[1]]]))


PROBLEM = ConvProblem.from_shapes((1, 2, 5), (3, 2, 3), "float32")
INTEGERS = ConvProblem.from_shapes((1, 2, 5), (3, 2, 3), "int32")
X, W = np.ones((1, 2, 5), "float32"), np.ones((3, 2, 3), "float32")


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((PROBLEM, X[0], W), ValueError, r"x must have shape \(1, 2, 5\), got \(2, 5\)"),
        ((PROBLEM, X, W[:, :1]), ValueError, r"weight must have shape \(3, 2, 3\)"),
        ((PROBLEM, X, W, [1.0]), ValueError, r"bias must have shape \(3,\), got \(1,\)"),
        ((PROBLEM, X, W, None, X), ValueError, r"residual must have shape \(1, 3, 3\)"),
        ((PROBLEM, X.astype(int), W), TypeError, "x must have a floating dtype, got int64"),
        ((PROBLEM, X, W.astype("i1")), TypeError, "weight must have a floating dtype, got int8"),
        ((PROBLEM, X, W, [1, 2, 3]), TypeError, "bias must have a floating dtype"),
        ((INTEGERS, X, W.astype(int)), TypeError, "x must have an integer dtype, got float32"),
        ((PROBLEM, X > 0, W), TypeError, r"x\.dtype must be one of .* got bool"),
        ((PROBLEM, X + 0j, W), TypeError, r"x\.dtype must be one of .* got complex64"),
        ((PROBLEM, X, W, None, None, "softmax"), ValueError, "activation must be one of"),
        ((PROBLEM, X, W, None, None, 1), TypeError, "activation must be a str"),
        (
            (INTEGERS, X.astype(int), W.astype(int), None, None, "tanh"),
            TypeError,
            "activation must be one of relu, relu6 for integers, got 'tanh'",
        ),
    ],
)
def test_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        conv(*arguments)

"""Random convolutions: the definition written out element by element, and the gradients."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from fastconv.problem import LAYOUTS, PADDING_MODES, ConvProblem
from fastconv.reference import (
    conv,
    conv_bias_gradient,
    conv_input_gradient,
    conv_transpose,
    conv_weight_gradient,
)


@st.composite
def problems(draw, dtype="int64"):
    """Draw a small problem with every argument of its own."""
    rank = draw(st.integers(1, 3))

    def numbers(low, high):
        return draw(st.lists(st.integers(low, high), min_size=rank, max_size=rank))

    groups, channels, filters = (draw(st.integers(1, 2)) for _ in range(3))
    kernel, dilation, stride = numbers(1, 3), numbers(1, 2), numbers(1, 3)
    mode = draw(st.sampled_from(PADDING_MODES))
    size = numbers(1, 5 if rank < 3 else 3)
    most = {"reflect": [w - 1 for w in size], "circular": size, "symmetric": size}
    limits = [min(limit, 3) for limit in most.get(mode, [3] * rank)]
    padding = [[draw(st.integers(0, limit)) for _ in range(2)] for limit in limits]
    for axis in range(rank):  # as much more input as one window needs
        span = dilation[axis] * (kernel[axis] - 1) + 1
        size[axis] += max(0, span - size[axis] - sum(padding[axis]))
    batch, layout = draw(st.integers(0, 2)), draw(st.sampled_from(LAYOUTS))
    channels_first = (batch, groups * channels, *size)
    channels_last = (batch, *size, groups * channels)
    return ConvProblem.from_shapes(
        channels_first if layout == "channels_first" else channels_last,
        (groups * filters, channels, *kernel),
        dtype,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        padding_mode=mode,
        flip=draw(st.booleans()),
        layout=layout,
    )


def arrays(problem, seed):
    """Return x, weight, and something of the output's shape, of integers from -9 to 9."""
    random = np.random.default_rng(seed)
    shapes = problem.input_shape, problem.weight_shape, problem.output_shape
    return [random.integers(-9, 10, shape).astype(problem.dtype) for shape in shapes]


def source(position, size, mode):
    """Return the input position that a position which may be outside shows; None for a zero."""
    if 0 <= position < size:
        return position
    if mode == "zeros":
        return None
    if mode == "replicate":
        return 0 if position < 0 else size - 1
    if mode == "circular":
        return position % size
    repeated = mode == "symmetric"  # the mirror stands beside the edge element, or in it
    return (-position if position < 0 else 2 * (size - 1) - position) + repeated * (
        -1 if position < 0 else 1
    )


def by_definition(problem, x, weight):
    """Return the convolution as sums over single elements, in Python ints."""
    first = problem.layout == "channels_first"
    x = x if first else np.moveaxis(x, -1, 1)
    y = np.zeros((problem.batch, problem.filters, *problem.output_size), np.int64)
    of_group = problem.channels // problem.groups
    for n, k, *output in np.ndindex(y.shape):
        group_begin = k // (problem.filters // problem.groups) * of_group
        total = 0
        for c, *tap in itertools.product(range(of_group), *map(range, problem.kernel)):
            places = []
            for axis, (o, t) in enumerate(zip(output, tap, strict=True)):
                step = problem.kernel[axis] - 1 - t if problem.flip else t
                place = o * problem.stride[axis] + step * problem.dilation[axis]
                outside = place - problem.padding[axis][0]
                places.append(source(outside, problem.size[axis], problem.padding_mode))
            if None not in places:
                total += int(weight[(k, c, *tap)]) * int(x[(n, group_begin + c, *places)])
        y[(n, k, *output)] = total
    return y if first else np.moveaxis(y, 1, -1)


@settings(max_examples=150, deadline=None)
@given(problems(), st.integers(0, 1000))
def test_the_definition_element_by_element(problem, seed):
    x, weight, _ = arrays(problem, seed)
    np.testing.assert_array_equal(conv(problem, x, weight), by_definition(problem, x, weight))


@settings(max_examples=150, deadline=None)
@given(problems(), st.integers(0, 1000))
def test_gradients_are_adjoints(problem, seed):
    # conv is linear in x and in the weight: <conv(x, w), y> is one number, in integers exactly.
    x, weight, y = arrays(problem, seed)
    product = (conv(problem, x, weight) * y).sum()
    x_gradient = conv_input_gradient(problem, weight, y)
    assert x_gradient.shape == x.shape
    assert (x_gradient * x).sum() == product
    weight_gradient = conv_weight_gradient(problem, x, y)
    assert weight_gradient.shape == weight.shape
    assert (weight_gradient * weight).sum() == product
    bias = np.arange(1, problem.filters + 1)
    with_bias = conv(problem, x, weight, bias)
    assert ((with_bias * y).sum() - product) == (conv_bias_gradient(problem, y) * bias).sum()


@settings(max_examples=60, deadline=None)
@given(problems(), st.integers(0, 1000))
def test_transposed_convolution_is_the_input_gradient_of_zeros(problem, seed):
    _, weight, y = arrays(problem, seed)
    arguments = problem.arguments()
    del arguments["padding_mode"], arguments["precision"]  # integers have none
    zeros = ConvProblem.from_shapes(problem.input_shape, problem.weight_shape, "int64", **arguments)
    least = least_size(zeros)
    assume(min(least) > 0)  # otherwise the input is there only because it is larger than the least
    extra = [w - v for w, v in zip(zeros.size, least, strict=True)]
    transposed = conv_transpose(y, weight, output_padding=extra, **arguments)
    np.testing.assert_array_equal(transposed, conv_input_gradient(zeros, weight, y))


def least_size(problem):
    """Return the least input size that gives the same output size."""
    axes = zip(
        problem.output_size, problem.stride, problem.receptive_field, problem.padding, strict=True
    )
    return [(o - 1) * s + span - sum(pair) for o, s, span, pair in axes]


def central_difference(function, x, grad_output, step=1e-3):
    """Return the gradient of sum(function(x) * grad_output) by x, by moving each element."""
    gradient = np.zeros_like(x)
    for place in np.ndindex(x.shape):
        higher, lower = x.copy(), x.copy()
        higher[place] += step
        lower[place] -= step
        slope = (function(higher) - function(lower)) / (2 * step)
        gradient[place] = (slope * grad_output).sum()
    return gradient


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("mode", PADDING_MODES)
def test_gradients_are_finite_differences(mode, flip, layout):
    problem = ConvProblem.from_shapes(
        (2, 4, 4, 5) if layout == "channels_first" else (2, 4, 5, 4),
        (4, 2, 2, 3),
        "float64",
        stride=(2, 1),
        padding=((1, 0), (2, 1)),
        dilation=(1, 2),
        groups=2,
        padding_mode=mode,
        flip=flip,
        layout=layout,
    )
    x, weight, y = arrays(problem, 0)
    bias = np.arange(4.0)
    for gradient, function, at in (
        (conv_input_gradient(problem, weight, y), lambda v: conv(problem, v, weight), x),
        (conv_weight_gradient(problem, x, y), lambda v: conv(problem, x, v), weight),
        (conv_bias_gradient(problem, y), lambda v: conv(problem, x, weight, v), bias),
    ):
        expected = central_difference(function, at, y)
        np.testing.assert_allclose(gradient, expected, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        # Each padded element gets 1. Two before and two after go back to where they came from.
        ("zeros", [1, 1, 1, 1]),
        ("reflect", [1, 3, 3, 1]),
        ("replicate", [3, 1, 1, 3]),
        ("circular", [2, 2, 2, 2]),
        ("symmetric", [2, 2, 2, 2]),
    ],
)
def test_borders_fold_back_by_hand(mode, expected):
    problem = ConvProblem.from_shapes((1, 1, 4), (1, 1, 1), "int64", padding=2, padding_mode=mode)
    gradient = conv_input_gradient(problem, [[[1]]], np.ones((1, 1, 8), int))
    assert gradient.tolist() == [[expected]]


def test_gradients_that_might_not_fit_in_integers():
    problem = ConvProblem.from_shapes((1, 1, 2), (1, 1, 1), "int64")
    large = np.full((1, 1, 2), 2**31)
    assert conv_input_gradient(problem, large[..., :1], large).max() == 2**62
    with pytest.raises(OverflowError, match="2 products"):
        conv_weight_gradient(problem, large, large)
    with pytest.raises(OverflowError, match=f"can reach {2**63}"):
        conv_bias_gradient(problem, 2**31 * large)
    images = ConvProblem.from_shapes((2, 1, 1), (1, 1, 1), "int64")
    column = large.reshape(2, 1, 1)
    with pytest.raises(OverflowError, match="2 products"):
        conv_weight_gradient(images, column, column)
    with pytest.raises(OverflowError, match="2 products"):
        conv_bias_gradient(images, 2**31 * column)
    folded = ConvProblem.from_shapes(
        (1, 1, 2), (1, 1, 1), "int64", padding=1, padding_mode="circular"
    )
    with pytest.raises(OverflowError, match="3 products"):
        conv_input_gradient(folded, large[..., :1], np.full((1, 1, 4), 2**31))


def test_gradients_of_no_images():
    problem = ConvProblem.from_shapes((0, 2, 5), (3, 2, 3))
    x, y, weight = np.zeros((0, 2, 5)), np.zeros((0, 3, 3)), np.ones((3, 2, 3))
    assert conv_input_gradient(problem, weight, y).shape == (0, 2, 5)
    assert conv_weight_gradient(problem, x, y).tolist() == np.zeros((3, 2, 3)).tolist()
    assert conv_bias_gradient(problem, y).tolist() == [0, 0, 0]


def test_shapes_of_gradients_are_checked():
    problem = ConvProblem.from_shapes((1, 2, 5), (3, 2, 3))
    x, y, weight = np.ones((1, 2, 5)), np.ones((1, 3, 3)), np.ones((3, 2, 3))
    for call in (
        lambda: conv_input_gradient(problem, weight, x),
        lambda: conv_weight_gradient(problem, x, x),
        lambda: conv_bias_gradient(problem, x),
    ):
        with pytest.raises(ValueError, match=r"grad_output must have shape \(1, 3, 3\)"):
            call()
    with pytest.raises(TypeError, match="grad_output must have a floating dtype"):
        conv_input_gradient(problem, weight, y.astype(int))

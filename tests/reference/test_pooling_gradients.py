from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastconv import reference
from fastconv.problem import LAYOUTS

both_layouts = pytest.mark.parametrize("layout", LAYOUTS)


def in_layout(x, layout):
    return x if layout == "channels_first" else np.moveaxis(x, 1, -1)


def central_difference(function, x, grad_output, step=1e-6):
    """Return the gradient of sum(function(x) * grad_output) by x, by moving each element."""
    gradient = np.zeros(x.shape)
    for place in np.ndindex(x.shape):
        higher, lower = x.copy(), x.copy()
        higher[place] += step
        lower[place] -= step
        slope = (function(higher) - function(lower)) / (2 * step)
        gradient[place] = (slope * grad_output).sum()
    return gradient


def far_from_ties(random, shape):
    """Return elements of which no two, and none and 0, are near: no kink within a step."""
    count = int(np.prod(shape))
    return (random.permutation(2 * count)[:count] - count + 0.5).reshape(shape) / 7


def check_differences(function, gradient, x, layout, seed=1):
    """Compare a gradient with finite differences of its function at x."""
    x = np.ascontiguousarray(in_layout(x, layout))
    grad_output = np.random.default_rng(seed).standard_normal(function(x).shape)
    expected = central_difference(function, x, grad_output)
    result = gradient(grad_output, x)
    assert result.dtype == np.float64
    np.testing.assert_allclose(result, expected, rtol=1e-6, atol=1e-6)


# By hand


def test_overlapping_maxima_add_up():
    x = [[[1.0, 5.0, 2.0]]]
    y, indices = reference.max_pool(x, 2, 1, return_indices=True)
    assert y.tolist() == [[[5, 5]]]
    assert reference.max_pool_gradient([[[10.0, 100.0]]], indices, [3]).tolist() == [[[0, 110, 0]]]


def test_a_window_that_held_nothing_has_no_gradient():
    _, indices = reference.max_pool([[[1.0, 2.0]]], 1, 1, 1, return_indices=True)
    result = reference.max_pool_gradient([[[8.0, 1.0, 2.0, 8.0]]], indices, 2)
    assert result.tolist() == [[[1, 2]]]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((2, 2, 1), [3, 4, 4]),  # 6 / 2 and the other half falls on padding
        ((2, 2, 1, False, False), [6, 4, 4]),
        ((2, 2, 1, False, True, 4), [1.5, 2, 2]),
    ],
)
def test_shares_of_an_average(arguments, expected):
    result = reference.avg_pool_gradient([[[6.0, 8.0]]], [3], *arguments)
    assert result.tolist() == [[expected]]


def test_slopes_of_norms():
    def gradient(p):
        return reference.lp_pool_gradient([[[10.0]]], [[[3.0, -4.0]]], p, 2).tolist()

    assert gradient(1) == [[[10, -10]]]
    np.testing.assert_allclose(gradient(2), [[[6, -8]]], rtol=1e-15)
    assert gradient(np.inf) == [[[0, -10]]]


@pytest.mark.parametrize("p", [0.5, 1, 2, 3, np.inf])
def test_the_slope_of_a_norm_at_zero_is_taken_as_zero(p):
    assert reference.lp_pool_gradient([[[1.0]]], [[[0.0, 0.0]]], p, 2).tolist() == [[[0, 0]]]


def test_unpooling_reads_where_it_put():
    result = reference.max_unpool_gradient([[[1.0, 2.0, 3.0]]], [[[2, 0, -1]]])
    assert result.tolist() == [[[3, 1, 0]]]


# Finite differences, in both layouts

WINDOWS = [
    ((1, 2, 7), {"kernel_size": 3, "stride": 2, "padding": 1}),
    ((2, 1, 5, 6), {"kernel_size": (2, 3), "stride": (2, 1), "padding": [(1, 0), (0, 1)]}),
    ((1, 1, 5, 5), {"kernel_size": 2, "stride": 2, "dilation": 2, "ceil_mode": True}),
    ((1, 2, 3, 4, 3), {"kernel_size": 2, "padding": "same"}),
]


@both_layouts
@pytest.mark.parametrize(("shape", "arguments"), WINDOWS)
def test_max_pool(shape, arguments, layout):
    def function(x):
        return reference.max_pool(x, **arguments, layout=layout)

    def gradient(grad_output, x):
        _, indices = reference.max_pool(x, **arguments, layout=layout, return_indices=True)
        return reference.max_pool_gradient(grad_output, indices, shape[2:], layout=layout)

    check_differences(function, gradient, far_from_ties(np.random.default_rng(0), shape), layout)


@both_layouts
@pytest.mark.parametrize("extra", [{}, {"count_include_pad": False}, {"divisor_override": 3}])
@pytest.mark.parametrize(("shape", "arguments"), WINDOWS)
def test_avg_pool(shape, arguments, extra, layout):
    arguments = {**arguments, **extra, "layout": layout}
    check_differences(
        lambda x: reference.avg_pool(x, **arguments),
        lambda grad, _: reference.avg_pool_gradient(grad, shape[2:], **arguments),
        np.random.default_rng(0).standard_normal(shape),
        layout,
    )


@both_layouts
@pytest.mark.parametrize("p", [1, 1.5, 2, 3, np.inf])
@pytest.mark.parametrize(("shape", "arguments"), WINDOWS)
def test_lp_pool(shape, arguments, p, layout):
    random = np.random.default_rng(0)
    magnitudes = random.permutation(int(np.prod(shape))).reshape(shape) / 9 + 0.3
    check_differences(
        lambda x: reference.lp_pool(x, p, **arguments, layout=layout),
        lambda grad, x: reference.lp_pool_gradient(grad, x, p, **arguments, layout=layout),
        magnitudes * random.choice([-1, 1], shape),
        layout,
    )


@both_layouts
@pytest.mark.parametrize(
    ("shape", "output"), [((2, 2, 5), 3), ((1, 2, 4, 5), (None, 2)), ((1, 1, 2, 3, 4), (3, 2, 3))]
)
def test_adaptive(shape, output, layout):
    x = far_from_ties(np.random.default_rng(0), shape)
    check_differences(
        lambda x: reference.adaptive_avg_pool(x, output, layout=layout),
        lambda grad, _: reference.adaptive_avg_pool_gradient(grad, shape[2:], layout=layout),
        x,
        layout,
    )

    def max_gradient(grad_output, x):
        _, indices = reference.adaptive_max_pool(x, output, True, layout=layout)
        return reference.max_pool_gradient(grad_output, indices, shape[2:], layout=layout)

    check_differences(
        lambda x: reference.adaptive_max_pool(x, output, layout=layout), max_gradient, x, layout
    )


@both_layouts
@pytest.mark.parametrize(
    "arguments",
    [
        {"kernel_size": 2},
        {"kernel_size": 3, "stride": 2, "padding": 1, "kind": "average"},
        {"kernel_size": 3, "padding": 1, "kind": "average", "count_include_pad": False},
        {"kernel_size": 2, "stride": 1, "kind": "lp", "norm_type": 3},
        {"kernel_size": 2, "dilation": 2, "stride": 1, "ceil_mode": True, "kind": "max"},
    ],
)
def test_channel_pool(arguments, layout):
    check_differences(
        lambda x: reference.channel_pool(x, **arguments, layout=layout),
        lambda grad, x: reference.channel_pool_gradient(grad, x, **arguments, layout=layout),
        far_from_ties(np.random.default_rng(0), (2, 5, 2, 3)),
        layout,
    )


@both_layouts
def test_unpool(layout):
    x = far_from_ties(np.random.default_rng(0), (2, 2, 4, 5))
    y, indices = reference.max_pool(x, 2, return_indices=True)
    indices = in_layout(indices, layout)
    check_differences(
        lambda y: reference.max_unpool(y, indices, 2, output_size=(4, 5), layout=layout),
        lambda grad, _: reference.max_unpool_gradient(grad, indices, layout=layout),
        y,
        layout,
    )


# Linear poolings and their gradients are adjoints: <A x, y> = <x, A' y>.


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_average_gradients_are_adjoints(data):
    rank = data.draw(st.integers(1, 3))

    def numbers(low, high):
        return data.draw(st.lists(st.integers(low, high), min_size=rank, max_size=rank))

    size, kernel, stride, dilation = numbers(1, 5), numbers(1, 3), numbers(1, 3), numbers(1, 2)
    padding = [(a, b) for a, b in zip(numbers(4, 6), numbers(0, 6), strict=True)]  # holds a window
    arguments = {
        "kernel_size": kernel,
        "stride": stride,
        "padding": padding,
        "dilation": dilation,
        "ceil_mode": data.draw(st.booleans()),
        "count_include_pad": data.draw(st.booleans()),
        "divisor_override": data.draw(st.sampled_from([None, 1, 5])),
    }
    random = np.random.default_rng(data.draw(st.integers(0, 1000)))
    x = random.standard_normal((2, 1, *size))
    pooled = reference.avg_pool(x, **arguments)
    y = random.standard_normal(pooled.shape)
    gradient = reference.avg_pool_gradient(y, size, **arguments)
    np.testing.assert_allclose((pooled * y).sum(), (x * gradient).sum(), rtol=1e-9, atol=1e-9)


GRAD, INDICES, X = np.ones((1, 2, 3)), np.zeros((1, 2, 3), int), np.ones((1, 2, 6))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: reference.max_pool_gradient(GRAD, INDICES[:, :1], 6),
            ValueError,
            r"indices must have shape \(1, 2, 3\)",
        ),
        (
            lambda: reference.max_pool_gradient(GRAD, INDICES + 6, 6),
            ValueError,
            "indices must be from -1 to 5",
        ),
        (
            lambda: reference.max_pool_gradient(INDICES, INDICES, 6),
            TypeError,
            "grad_output must have a floating dtype",
        ),
        (
            lambda: reference.max_pool_gradient(GRAD, INDICES, (6, 6)),
            ValueError,
            "input_size must have length 1",
        ),
        (
            lambda: reference.avg_pool_gradient(GRAD, 7, 3),
            ValueError,
            r"grad_output must have shape \(N, C, 2\)",
        ),
        (
            lambda: reference.lp_pool_gradient(GRAD, X[:, :1], 2, 2),
            ValueError,
            r"grad_output must have shape \(1, 1, 3\)",
        ),
        (
            lambda: reference.max_unpool_gradient(GRAD, INDICES[:, :1]),
            ValueError,
            "indices must have shape",
        ),
        (
            lambda: reference.max_unpool_gradient(GRAD[..., None], INDICES),
            ValueError,
            "indices must have the 4 axes of grad_output",
        ),
        (
            lambda: reference.channel_pool_gradient(GRAD, X, 2),
            ValueError,
            r"grad_output must have shape \(1, 1, 6\), channels first, got \(1, 2, 3\)",
        ),
        (
            lambda: reference.channel_pool_gradient(GRAD, GRAD, 2),
            ValueError,
            r"grad_output must have shape \(1, 1, 3\)",
        ),
    ],
)
def test_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


@both_layouts
def test_no_images(layout):
    x = in_layout(np.zeros((0, 2, 6)), layout)
    y, indices = reference.max_pool(x, 2, layout=layout, return_indices=True)
    for result in (
        reference.max_pool_gradient(y, indices, 6, layout=layout),
        reference.avg_pool_gradient(y, 6, 2, layout=layout),
        reference.lp_pool_gradient(y, x, 2, 2, layout=layout),
        reference.adaptive_avg_pool_gradient(y, 6, layout=layout),
    ):
        assert result.shape == x.shape

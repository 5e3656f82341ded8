"""Poolings over windows that can be checked by hand, then against SciPy, then what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from fastconv.reference import avg_pool, channel_pool, lp_pool, max_pool, max_unpool

INF, NAN = np.inf, np.nan


def pooled(operation, x, *arguments, layout="channels_first", **keywords):
    """Return the operation on x (channels first) in a layout, channels first again."""
    if layout == "channels_first":
        return operation(x, *arguments, **keywords)
    y = operation(np.moveaxis(np.asarray(x), 1, -1), *arguments, layout=layout, **keywords)
    if isinstance(y, tuple):
        return tuple(np.moveaxis(array, -1, 1) for array in y)
    return np.moveaxis(y, -1, 1)


both_layouts = pytest.mark.parametrize("layout", ["channels_first", "channels_last"])


@both_layouts
@pytest.mark.parametrize(
    ("arguments", "expected", "indices"),
    [
        # 3 1 4 1 5 9 2
        ((2,), [3, 4, 9], [0, 2, 5]),  # a stride of None is the kernel size
        ((2, None), [3, 4, 9], [0, 2, 5]),
        ((2, 1), [3, 4, 4, 5, 9, 9], [0, 2, 2, 4, 5, 5]),
        ((3, 2), [4, 5, 9], [2, 4, 5]),
        ((3, 2, 1), [3, 4, 9, 9], [0, 2, 5, 5]),
        ((2, 2, [(1, 0)]), [3, 4, 5, 9], [0, 2, 4, 5]),
        ((3, 1, 0, 2), [5, 9, 5], [4, 5, 4]),
        ((2, 2, 0, 1, True), [3, 4, 9, 2], [0, 2, 5, 6]),
        ((3, 3, 0, 1, True), [4, 9, 2], [2, 5, 6]),
        ((2, 2, 1, 1, True), [3, 4, 5, 9], [0, 2, 4, 5]),  # a fifth would begin in the padding
        ((3, 2, "same"), [3, 4, 9, 9], [0, 2, 5, 5]),
        ((2, 2, "same"), [3, 4, 9, 2], [0, 2, 5, 6]),
        ((2, 2, "same_lower"), [3, 4, 5, 9], [0, 2, 4, 5]),
        ((1, 3), [3, 1, 2], [0, 3, 6]),
        ((1, 4, 0, 1, True), [3, 5], [0, 4]),  # a third would begin at 8, outside
    ],
)
def test_max_on_one_axis(layout, arguments, expected, indices):
    x = [[[3, 1, 4, 1, 5, 9, 2]]]
    y, where = pooled(max_pool, x, *arguments, layout=layout, return_indices=True)
    assert y.tolist() == [[expected]]
    assert where.tolist() == [[indices]]
    assert where.dtype == np.int64


@both_layouts
def test_max_on_two_axes(layout):
    x = np.arange(1, 13).reshape(1, 1, 3, 4)
    y, indices = pooled(max_pool, x, 2, layout=layout, return_indices=True)
    assert y.tolist() == [[[[6, 8]]]]
    assert indices.tolist() == [[[[5, 7]]]]
    y, indices = pooled(max_pool, -x, (2, 3), (1, 2), 1, layout=layout, return_indices=True)
    assert y.tolist() == [[[[-1, -2], [-1, -2], [-5, -6], [-9, -10]]]]
    assert indices.tolist() == [[[[0, 1], [0, 1], [4, 5], [8, 9]]]]


@both_layouts
def test_max_on_three_axes(layout):
    x = np.arange(1, 28).reshape(1, 1, 3, 3, 3)
    y, indices = pooled(max_pool, x, 2, 1, layout=layout, return_indices=True)
    assert y.ravel().tolist() == [14, 15, 17, 18, 23, 24, 26, 27]
    assert (indices == y - 1).all()


@both_layouts
def test_indices_are_within_the_plane_of_each_channel(layout):
    x = np.array([[[1, 2], [4, 3]], [[5, 6], [8, 7]]])
    y, indices = pooled(max_pool, x, 2, layout=layout, return_indices=True)
    assert y.tolist() == [[[2], [4]], [[6], [8]]]
    assert indices.tolist() == [[[1], [0]], [[1], [0]]]


def test_the_first_of_equals_gives_the_index():
    _, indices = max_pool([[[[1, 7], [7, 7]]]], 2, return_indices=True)
    assert indices.item() == 1


def test_nan_wins_and_the_first_gives_the_index():
    y, indices = max_pool([[[INF, NAN, NAN, 1.0, NAN, 2.0]]], 3, return_indices=True)
    assert np.isnan(y).all()
    assert indices.tolist() == [[[1, 4]]]


def test_padding_is_less_than_minus_infinity_and_than_the_least_integer():
    y, indices = max_pool([[[-INF, -INF]]], 2, 1, 1, return_indices=True)
    assert y.tolist() == [[[-INF, -INF, -INF]]]
    assert indices.tolist() == [[[0, 0, 1]]]
    y, indices = max_pool(np.full((1, 1, 2), -128, "int8"), 2, 1, 1, return_indices=True)
    assert y.tolist() == [[[-128, -128, -128]]]
    assert indices.tolist() == [[[0, 0, 1]]]


@pytest.mark.parametrize(("dtype", "least"), [("float32", -INF), ("int16", -(2**15)), ("uint8", 0)])
def test_a_window_of_padding_alone_holds_nothing(dtype, least):
    y, indices = max_pool(np.full((1, 1, 1), 3, dtype), 1, 1, 2, return_indices=True)
    assert y.tolist() == [[[least, least, 3, least, least]]]
    assert indices.tolist() == [[[-1, -1, 0, -1, -1]]]
    # A dilated window can step over the input.
    assert max_pool(np.full((1, 1, 1), 3, dtype), 2, 1, 1, 2).tolist() == [[[least]]]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "int8", "uint32", "int64"])
def test_max_keeps_the_type(dtype):
    assert max_pool(np.ones((1, 1, 2), np.dtype(dtype).newbyteorder()), 2).dtype == dtype


@both_layouts
@pytest.mark.parametrize(
    ("arguments", "keywords", "expected"),
    [
        # 6 12 18 24 30
        ((2,), {}, [9, 21]),
        ((2, 1), {}, [9, 15, 21, 27]),
        ((3, 2), {}, [12, 24]),
        ((2, 2, 1), {}, [3, 15, 27]),
        ((2, 2, 1), {"count_include_pad": False}, [6, 15, 27]),
        ((2, 2, [(0, 1)]), {}, [9, 21, 15]),
        ((2, 2, 0), {"ceil_mode": True}, [9, 21, 30]),  # the overhang never counts
        ((2, 3, 1), {"ceil_mode": True}, [3, 21]),  # a third would begin in the padding
        ((3, 3, 1), {"ceil_mode": True}, [6, 24]),
        ((3, 3, 1), {"ceil_mode": True, "count_include_pad": False}, [9, 24]),
        ((4, 3, 1), {"ceil_mode": True}, [9, 18]),
        ((4, 3, [(0, 1)]), {"ceil_mode": True}, [15, 18]),  # 24, 30, a padding; one hangs over
        ((4, 3, [(0, 1)]), {"ceil_mode": True, "count_include_pad": False}, [15, 27]),
        ((2, 2), {"divisor_override": 3}, [6, 14]),
        ((2, 2, 1), {"divisor_override": 3, "count_include_pad": False}, [2, 10, 18]),
        ((2, 1), {"dilation": 3}, [15, 21]),
        ((2, 2, "same"), {"count_include_pad": False}, [9, 21, 30]),
        ((2, 2, "same_lower"), {}, [3, 15, 27]),
        ((1, 1, 1), {}, [0, 6, 12, 18, 24, 30, 0]),
        ((1, 1, 1), {"count_include_pad": False}, [0, 6, 12, 18, 24, 30, 0]),
    ],
)
def test_average_on_one_axis(layout, arguments, keywords, expected):
    x = [[[6.0, 12.0, 18.0, 24.0, 30.0]]]
    y = pooled(avg_pool, x, *arguments, layout=layout, **keywords)
    assert y.tolist() == [[expected]]
    assert y.dtype == np.float64


@both_layouts
def test_average_on_two_and_three_axes(layout):
    x = np.arange(1.0, 10.0).reshape(1, 1, 3, 3)
    assert pooled(avg_pool, x, 2, 1, layout=layout).tolist() == [[[[3, 4], [6, 7]]]]
    y = pooled(avg_pool, x, 2, 2, 1, False, False, layout=layout)
    assert y.tolist() == [[[[1, 2.5], [5.5, 7]]]]
    assert pooled(avg_pool, x, 2, 2, 1, layout=layout).tolist() == [[[[0.25, 1.25], [2.75, 7]]]]
    volume = np.arange(1.0, 9.0).reshape(1, 1, 2, 2, 2)
    assert pooled(avg_pool, volume, 2, layout=layout).item() == 4.5


@both_layouts
@pytest.mark.parametrize(
    ("arguments", "keywords", "expected"),
    [
        # 3 -4 0 5 -12
        ((1, 2), {}, [7, 5]),
        ((2, 2), {}, [5, 5]),
        ((2, 2, 1), {}, [5, 4, 5, 13]),
        ((INF, 2, 1), {}, [4, 4, 5, 12]),
        ((2, 2, 2, True), {}, [5, 5, 12]),  # no scale for what is missing
        ((2, 2), {"padding": 1}, [3, 4, 13]),
        ((1, 2, 1), {"dilation": 3}, [8, 16]),
        ((0.5, 1), {}, [3, 4, 0, 5, 12]),
        ((INF, 1, 1), {"padding": 1}, [0, 3, 4, 0, 5, 12, 0]),
    ],
)
def test_norms_on_one_axis(layout, arguments, keywords, expected):
    y = pooled(lp_pool, [[[3.0, -4.0, 0.0, 5.0, -12.0]]], *arguments, layout=layout, **keywords)
    np.testing.assert_allclose(y, [[expected]], rtol=1e-15)
    assert y.dtype == np.float64


def test_norms_of_infinities_and_nan():
    x = [[[-INF, 1.0, NAN, 1.0]]]
    for p in (1, 2, INF):
        np.testing.assert_array_equal(lp_pool(x, p, 2), [[[INF, NAN]]])


def test_averages_of_infinities_and_nan():
    x = [[[-INF, 1.0, NAN, 1.0, -INF, INF]]]
    np.testing.assert_array_equal(avg_pool(x, 2), [[[-INF, NAN, NAN]]])


@both_layouts
def test_unpooling_puts_back(layout):
    x = np.array([[[[1, 2, 3], [6, 5, 4]]]])
    y, indices = max_pool(x, (1, 2), return_indices=True)
    if layout == "channels_last":
        y, indices = np.moveaxis(y, 1, -1), np.moveaxis(indices, 1, -1)
    back = max_unpool(y, indices, (1, 2), layout=layout)
    assert back.ravel().tolist() == [0, 2, 0, 6]  # read in a plane of 2 x 2, not 2 x 3
    back = max_unpool(y, indices, (1, 2), output_size=(2, 3), layout=layout)
    assert back.ravel().tolist() == [0, 2, 0, 6, 0, 0]
    assert back.shape == ((1, 1, 2, 3) if layout == "channels_first" else (1, 2, 3, 1))


@pytest.mark.parametrize(
    ("arguments", "size"),
    [
        ((2,), 6),
        ((3, 2), 7),
        ((3, 2, 1), 5),
        ((2, None, 0, 9), 9),
        ((2, None, 0, [8]), 8),
        ((3, 2, [(1, 0)]), 6),
        ((3, 2, "same"), 6),
    ],
)
def test_sizes_of_unpooling(arguments, size):
    assert max_unpool(np.ones((2, 1, 3)), np.zeros((2, 1, 3), int), *arguments).shape == (
        2,
        1,
        size,
    )


def test_unpooling_skips_windows_that_held_nothing():
    y, indices = max_pool([[[4.0, 5.0]]], 1, 1, 1, return_indices=True)
    assert max_unpool(y, indices, 1, output_size=2).tolist() == [[[4, 5]]]


def test_the_last_of_equal_indices_is_kept():
    assert max_unpool([[[1, 2, 3]]], [[[0, 1, 0]]], 1).tolist() == [[[3, 2, 0]]]


@both_layouts
@pytest.mark.parametrize(
    ("keywords", "expected"),
    [
        ({}, [[4, 0], [2, 6]]),
        ({"stride": 1}, [[4, 0], [4, 0], [2, 6]]),
        ({"padding": 1}, [[1, -3], [4, 0], [2, 6]]),
        ({"dilation": 2, "stride": 1}, [[1, 0], [4, 6]]),
        ({"kind": "average"}, [[2.5, -1.5], [0, 3]]),
        ({"kind": "average", "padding": 1}, [[0.5, -1.5], [1, 0], [1, 3]]),
        ({"kind": "lp", "norm_type": 1}, [[5, 3], [4, 6]]),
        ({"kind": "lp", "norm_type": INF}, [[4, 3], [2, 6]]),
    ],
)
def test_channels_are_pooled(layout, keywords, expected):
    x = np.array([[[1.0, -3.0], [4.0, 0.0], [-2.0, 0.0], [2.0, 6.0]]])
    y = pooled(channel_pool, x, 2, layout=layout, **keywords)
    assert y.tolist() == [expected]


@both_layouts
@pytest.mark.parametrize("kind", ["max", "average", "lp"])
def test_channels_of_volumes_are_pooled(kind, layout):
    x = np.random.default_rng(0).standard_normal((2, 7, 3, 4, 5))
    axis = {"max": np.max, "average": np.mean, "lp": np.linalg.norm}[kind]
    expected = np.stack([axis(x[:, c : c + 3], axis=1) for c in (0, 2, 4)], axis=1)
    y = pooled(channel_pool, x, 3, 2, kind=kind, layout=layout)
    np.testing.assert_allclose(y, expected, rtol=1e-13)


# Against SciPy


@pytest.mark.parametrize("size", [(9,), (6, 7), (4, 5, 6)])
@pytest.mark.parametrize("step", [1, 2])
def test_scipy_filters(size, step):
    x = np.random.default_rng(0).standard_normal(size)
    window = (3, 5, 3)[: len(size)]
    steps = (slice(None, None, step),) * len(size)
    padding = [f // 2 for f in window]
    largest = ndimage.maximum_filter(x, window, mode="constant", cval=-np.inf)
    np.testing.assert_array_equal(
        max_pool(x[None, None], window, step, padding)[0, 0], largest[steps]
    )
    average = ndimage.uniform_filter(x, window, mode="constant")
    result = avg_pool(x[None, None], window, step, padding)[0, 0]
    np.testing.assert_allclose(result, average[steps], rtol=1e-12, atol=1e-12)
    # Without the padding: over the number of elements that are there.
    there = ndimage.uniform_filter(np.ones(size), window, mode="constant")
    result = avg_pool(x[None, None], window, step, padding, count_include_pad=False)[0, 0]
    np.testing.assert_allclose(result, (average / there)[steps], rtol=1e-12, atol=1e-12)
    norm = np.sqrt(ndimage.generic_filter(x**2, np.sum, window, mode="constant"))
    result = lp_pool(x[None, None], 2, window, step, padding=padding)[0, 0]
    np.testing.assert_allclose(result, norm[steps], rtol=1e-12, atol=1e-12)


# What is refused


@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
def test_no_images_and_no_channels(layout):
    for shape in ((0, 3, 4, 5), (2, 0, 4, 5)):
        x = np.zeros(shape)
        for operation, arguments in ((max_pool, (2,)), (avg_pool, (2,)), (lp_pool, (2, 2))):
            y = pooled(operation, x, *arguments, layout=layout)
            assert y.shape == (*shape[:2], 2, 2)
    y, indices = max_pool(np.zeros((0, 3, 4)), 2, return_indices=True)
    assert max_unpool(y, indices, 2).shape == (0, 3, 4)
    assert channel_pool(np.zeros((0, 3, 4)), 2).shape == (0, 1, 4)


X = np.ones((1, 2, 5))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: max_pool(X[0], 2), ValueError, "x must have a batch axis"),
        (lambda: max_pool(X[..., :0], 2), ValueError, "x must have no empty spatial axis"),
        (lambda: max_pool(X > 0, 2), TypeError, r"x\.dtype must be one of"),
        (lambda: max_pool(X, 6), ValueError, "x must hold one window on every axis"),
        (lambda: max_pool(X, 0), ValueError, "kernel_size must be positive, got 0"),
        (lambda: max_pool(X, 2.0), TypeError, "kernel_size must be an int"),
        (lambda: max_pool(X, (2, 2)), ValueError, "kernel_size must have length 1"),
        (lambda: max_pool(X, 2, 0), ValueError, "stride must be positive"),
        (lambda: max_pool(X, 2, 1, -1), ValueError, "padding must not be negative"),
        (lambda: max_pool(X, 2, 1, 2**62), ValueError, "padding must fit in"),
        (lambda: max_pool(X, 2, 1, 0, 0), ValueError, "dilation must be positive"),
        (lambda: max_pool(X, 2, ceil_mode=1), TypeError, "ceil_mode must be a bool"),
        (lambda: max_pool(X, 2, return_indices=1), TypeError, "return_indices must be a bool"),
        (lambda: max_pool(X, 2, layout="NHWC"), ValueError, "layout must be one of"),
        (lambda: avg_pool(X.astype(int), 2), TypeError, "x must have a floating dtype"),
        (lambda: avg_pool(X, 2, divisor_override=0), ValueError, "divisor_override must be pos"),
        (lambda: avg_pool(X, 2, count_include_pad=0), TypeError, "count_include_pad must be a b"),
        (lambda: lp_pool(X.astype(int), 2, 2), TypeError, "x must have a floating dtype"),
        (lambda: lp_pool(X, 0, 2), ValueError, "norm_type must be positive, got 0"),
        (lambda: lp_pool(X, NAN, 2), ValueError, "norm_type must be positive, got nan"),
        (lambda: lp_pool(X, True, 2), TypeError, "norm_type must be a real number"),
        (lambda: lp_pool(X, "2", 2), TypeError, "norm_type must be a real number"),
        (lambda: max_unpool(X, X, 2), TypeError, "indices must have an integer dtype"),
        (
            lambda: max_unpool(X, np.zeros((1, 2, 4), int), 2),
            ValueError,
            r"indices must have shape \(1, 2, 5\), got \(1, 2, 4\)",
        ),
        (
            lambda: max_unpool(X, np.full(X.shape, 10), 2),
            ValueError,
            "indices must be from -1 to 9",
        ),
        (
            lambda: max_unpool(X, np.full(X.shape, -2), 2),
            ValueError,
            "indices must be from -1 to 9",
        ),
        (
            lambda: max_unpool(X, np.zeros(X.shape, int), 2, output_size=(4, 4)),
            ValueError,
            "output_size must have length 1",
        ),
        (lambda: channel_pool(X, 3), ValueError, "x must hold one window"),
        (lambda: channel_pool(X, 2, kind="mean"), ValueError, "kind must be one of max, average"),
    ],
)
def test_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()

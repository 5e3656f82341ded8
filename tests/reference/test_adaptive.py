from __future__ import annotations

import numpy as np
import pytest

from fastconv.reference import (
    adaptive_avg_pool,
    adaptive_max_pool,
    avg_pool,
    global_avg_pool,
    global_lp_pool,
    global_max_pool,
    max_pool,
)

both_layouts = pytest.mark.parametrize("layout", ["channels_first", "channels_last"])


def in_layout(x, layout):
    x = np.asarray(x)
    return x if layout == "channels_first" else np.moveaxis(x, 1, -1)


@both_layouts
@pytest.mark.parametrize(
    ("output_size", "average", "largest", "indices"),
    [
        # 2 8 5 11 14
        (1, [8], [14], [4]),
        (2, [5, 10], [8, 14], [1, 4]),  # both pool the element in the middle
        (3, [5, 8, 12.5], [8, 11, 14], [1, 3, 4]),  # 0:2, 1:4, 3:5
        (4, [5, 6.5, 8, 12.5], [8, 8, 11, 14], [1, 1, 3, 4]),  # 0:2, 1:3, 2:4, 3:5
        (5, [2, 8, 5, 11, 14], [2, 8, 5, 11, 14], [0, 1, 2, 3, 4]),
        (None, [2, 8, 5, 11, 14], [2, 8, 5, 11, 14], [0, 1, 2, 3, 4]),
        ([None], [2, 8, 5, 11, 14], [2, 8, 5, 11, 14], [0, 1, 2, 3, 4]),
        ((7,), [2, 5, 6.5, 5, 8, 12.5, 14], [2, 8, 8, 5, 11, 14, 14], [0, 1, 1, 2, 3, 4, 4]),
    ],
)
def test_one_axis(layout, output_size, average, largest, indices):
    x = in_layout([[[2.0, 8.0, 5.0, 11.0, 14.0]]], layout)
    y = adaptive_avg_pool(x, output_size, layout=layout)
    assert y.ravel().tolist() == average
    assert y.shape == in_layout(np.zeros((1, 1, len(average))), layout).shape
    y, where = adaptive_max_pool(x, output_size, True, layout=layout)
    assert y.ravel().tolist() == largest
    assert where.ravel().tolist() == indices
    assert y.shape == where.shape


@both_layouts
def test_two_axes(layout):
    x = in_layout(np.arange(1, 13).reshape(1, 1, 3, 4), layout)
    y, indices = adaptive_max_pool(x, (2, None), True, layout=layout)
    assert y.ravel().tolist() == [5, 6, 7, 8, 9, 10, 11, 12]
    assert (indices == y - 1).all()
    y = adaptive_avg_pool(x.astype(float), (None, 2), layout=layout)
    assert y.ravel().tolist() == [1.5, 3.5, 5.5, 7.5, 9.5, 11.5]


@both_layouts
@pytest.mark.parametrize("size", [(6,), (6, 8), (4, 6, 2)])
def test_divisors_of_the_size_are_ordinary_poolings(size, layout):
    x = in_layout(np.random.default_rng(0).standard_normal((2, 3, *size)), layout)
    outputs = [w // 2 for w in size]
    expected = avg_pool(x, 2, layout=layout)
    np.testing.assert_allclose(adaptive_avg_pool(x, outputs, layout=layout), expected, rtol=1e-14)
    for ours, theirs in zip(
        adaptive_max_pool(x, outputs, True, layout=layout),
        max_pool(x, 2, layout=layout, return_indices=True),
        strict=True,
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_nan_wins_and_the_first_of_equals_gives_the_index():
    y, indices = adaptive_max_pool([[[1.0, np.nan, np.inf, np.nan]]], 1, True)
    assert np.isnan(y.item())
    assert indices.item() == 1
    assert adaptive_max_pool([[[3, 7, 7]]], 1, True)[1].item() == 1


@both_layouts
def test_global_poolings(layout):
    x = in_layout([[[[1.0, 2.0], [2.0, 4.0]], [[-3.0, 0.0], [0.0, -4.0]]]], layout)
    for operation, arguments, expected in (
        (global_avg_pool, (), [2.25, -1.75]),
        (global_max_pool, (), [4, 0]),
        (global_lp_pool, (), [5, 5]),
        (global_lp_pool, (1,), [9, 7]),
        (global_lp_pool, (np.inf,), [4, 4]),
    ):
        y = operation(x, *arguments, layout=layout)
        assert y.shape == ((1, 2, 1, 1) if layout == "channels_first" else (1, 1, 1, 2))
        assert y.ravel().tolist() == expected
        assert operation(x, *arguments, keepdims=False, layout=layout).tolist() == [expected]


def test_one_image_of_one_channel_keeps_both_axes():
    for shape in ((1, 1, 4), (1, 1, 1), (1, 1, 2, 3, 4)):
        assert global_max_pool(np.ones(shape), keepdims=False).tolist() == [[1]]


def test_types():
    x = np.ones((1, 1, 4), "int16")
    assert adaptive_max_pool(x, 2).dtype == global_max_pool(x).dtype == np.int16
    for dtype in ("float16", "bfloat16"):
        assert global_avg_pool(x.astype(dtype)).dtype == np.float64
        assert global_max_pool(x.astype(dtype)).dtype == dtype


def test_no_images():
    x = np.zeros((0, 3, 4, 5))
    assert adaptive_avg_pool(x, 2).shape == adaptive_max_pool(x, 2).shape == (0, 3, 2, 2)
    assert global_avg_pool(x).shape == (0, 3, 1, 1)
    assert global_lp_pool(x, keepdims=False).shape == (0, 3)


X = np.ones((1, 2, 5))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: adaptive_avg_pool(X, 0), ValueError, "output_size must be positive"),
        (lambda: adaptive_avg_pool(X, (2, 2)), ValueError, "output_size must have length 1"),
        (lambda: adaptive_avg_pool(X, 2.0), TypeError, "output_size must be an int"),
        (lambda: adaptive_avg_pool(X.astype(int), 2), TypeError, "x must have a floating dtype"),
        (lambda: adaptive_max_pool(X[0], 2), ValueError, "x must have a batch axis"),
        (lambda: adaptive_max_pool(X, 2, 1), TypeError, "return_indices must be a bool"),
        (lambda: global_max_pool(X[..., :0]), ValueError, "x must have no empty spatial axis"),
        (lambda: global_max_pool(X, keepdims=1), TypeError, "keepdims must be a bool"),
        (lambda: global_lp_pool(X, -1), ValueError, "norm_type must be positive"),
    ],
)
def test_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()

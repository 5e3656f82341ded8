"""The public pooling functions: by hand, against the reference, and how they treat their arguments."""

from __future__ import annotations

import threading

import numpy as np
import pytest

import fastconv
from fastconv import PoolProblem, UnsupportedError, reference
from fastconv.selection import POOLINGS, pool_algorithm

ALGORITHMS = fastconv.algorithms("pooling")
X = np.random.default_rng(0).standard_normal((2, 3, 9, 11)).astype(np.float32)


@pytest.fixture(params=ALGORITHMS)
def pooling(request):
    """Name each algorithm in turn."""
    return request.param


@pytest.fixture(params=["pieces", "reference"])
def by_pieces(request):
    """Name each algorithm that computes pieces of any size."""
    return request.param


# --- by hand --------------------------------------------------------------------------------------


def test_maxima_by_hand(pooling):
    x = np.array([[[1, 5, 5, 2, 7]]], np.float32)
    y, indices = fastconv.max_pool1d(x, 2, ceil_mode=True, return_indices=True, algorithm=pooling)
    assert y.tolist() == [[[5, 5, 7]]]
    assert indices.tolist() == [[[1, 2, 4]]]
    assert indices.dtype == np.int64


def test_nan_wins_and_the_first_of_equals_is_kept(pooling):
    x = np.array([[[0.0, -0.0, np.nan, 1.0, np.inf, np.nan, np.nan, -np.inf]]], np.float32)
    y, indices = fastconv.max_pool1d(x, 2, return_indices=True, algorithm=pooling)
    assert np.array_equal(y, [[[0.0, np.nan, np.nan, np.nan]]], equal_nan=True)
    assert not np.signbit(y[0, 0, 0])
    assert indices.tolist() == [[[0, 2, 5, 6]]]
    flipped = fastconv.max_pool1d(-x[..., :2], 2, algorithm=pooling)
    assert np.signbit(flipped[0, 0, 0])


def test_a_window_that_holds_nothing(pooling):
    x = np.array([[[1.0, 2.0]]], np.float32)
    arguments = {"stride": 2, "padding": [(4, 0)], "algorithm": pooling}
    y, indices = fastconv.max_pool1d(x, 2, return_indices=True, **arguments)
    assert y.tolist() == [[[-np.inf, -np.inf, 2.0]]]
    assert indices.tolist() == [[[-1, -1, 1]]]
    assert fastconv.avg_pool1d(x, 2, count_include_pad=False, **arguments).tolist() == [[[0.0, 0.0, 1.5]]]
    assert fastconv.lp_pool1d(x, np.inf, 2, **arguments).tolist() == [[[0.0, 0.0, 2.0]]]


def test_what_counts_in_an_average(pooling):
    x = np.array([[[3.0, 6.0, 9.0]]], np.float32)
    pool = fastconv.avg_pool1d
    assert pool(x, 2, padding=1, algorithm=pooling).tolist() == [[[1.5, 7.5]]]
    assert pool(x, 2, padding=1, count_include_pad=False, algorithm=pooling).tolist() == [[[3.0, 7.5]]]
    assert pool(x, 2, ceil_mode=True, algorithm=pooling).tolist() == [[[4.5, 9.0]]]  # the overhang never counts
    assert pool(x, 2, ceil_mode=True, divisor_override=3, algorithm=pooling).tolist() == [[[3.0, 3.0]]]
    assert pool(x, 2, 1, dilation=2, algorithm=pooling).tolist() == [[[6.0]]]


def test_norms_by_hand(pooling):
    x = np.array([[[3.0, -4.0, 6.0, 8.0]]], np.float32)
    assert fastconv.lp_pool1d(x, 2, 2, algorithm=pooling).tolist() == [[[5.0, 10.0]]]
    assert fastconv.lp_pool1d(x, 1, 2, algorithm=pooling).tolist() == [[[7.0, 14.0]]]
    assert fastconv.lp_pool1d(x, np.inf, 2, algorithm=pooling).tolist() == [[[4.0, 8.0]]]


def test_bfloat16_is_rounded_to_the_nearest_by_hand(pooling):
    step = 2.0**-7  # from 1 to the next number
    x = np.array([[[1, 1 + step, 1 + step, 1 + 2 * step, -1, -1 - step, np.nan, 1, -np.inf, 1]]], "bfloat16")
    y = fastconv.avg_pool1d(x, 2, algorithm=pooling)
    assert y.dtype == "bfloat16"
    expected = [1, 1 + 2 * step, -1, np.nan, -np.inf]  # of two that are as near, the even one
    assert np.array_equal(y[0, 0].astype(float), expected, equal_nan=True)
    y = fastconv.max_pool1d(x, 2, algorithm=pooling)
    assert np.array_equal(y[0, 0].astype(float), [1 + step, 1 + 2 * step, -1, np.nan, 1], equal_nan=True)
    large = np.full((1, 1, 2), 3e38, "bfloat16")
    assert fastconv.lp_pool1d(large, 1, 2, algorithm=pooling).tolist() == [[[np.inf]]]


@pytest.mark.parametrize("p", [0.5, 1.5, 3, 4.5, 17, 100])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_any_norm(p, dtype, by_pieces):
    x = np.array([[[1.0, -1.0, 2.0, 0.0, 0.0, 0.0, -np.inf, 3.0, np.nan, 4.0]]], dtype)
    y = fastconv.lp_pool1d(x, p, 2, algorithm=by_pieces)
    expected = np.array([[[2 ** (1 / p), 2.0, 0.0, np.inf, np.nan]]])
    assert np.array_equal(y, expected.astype(dtype), equal_nan=True)
    random = np.random.default_rng(10).standard_normal((2, 9, 20, 21)).astype(dtype)
    y = fastconv.lp_pool2d(random, p, 3, 2, padding=1, algorithm=by_pieces)
    tolerance = {"float16": 1e-3, "bfloat16": 8e-3, "float32": 1e-7}[dtype]
    assert np.allclose(y.astype(float), reference.lp_pool(random, p, 3, 2, padding=1), rtol=tolerance)


@pytest.mark.parametrize("padding", ["same", "same_lower", "valid", 1, (1, 0), ((0, 1), (2, 0))])
def test_every_form_of_padding(padding, pooling):
    y = fastconv.max_pool2d(X, 3, 2, padding, algorithm=pooling)
    assert np.array_equal(y, reference.max_pool(X, 3, 2, padding))


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64"])
def test_maxima_of_integers(dtype, pooling):
    limits = np.iinfo(dtype)
    x = np.random.default_rng(1).integers(limits.min, limits.max, (2, 3, 20, 37), dtype, endpoint=True)
    y = fastconv.max_pool2d(x, 3, 2, 1, algorithm=pooling)
    assert y.dtype == dtype
    assert np.array_equal(y, reference.max_pool(x, 3, 2, 1))


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_maxima_of_planes_of_more_elements_than_their_type_counts(dtype, pooling):
    x = np.random.default_rng(1).integers(0, 100, (2, 3, 20, 37), dtype)
    y = fastconv.global_max_pool(x, keepdims=False, algorithm=pooling)
    assert np.array_equal(y, x.max(axis=(2, 3)))


# --- adaptive, global, of channels, back ------------------------------------------------------------


@pytest.mark.parametrize("output_size", [1, 3, (4, 5), (None, 2), None])
@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
@pytest.mark.parametrize("name", ["pieces", "auto"])
def test_adaptive_poolings(output_size, layout, name):
    x = X if layout == "channels_first" else np.ascontiguousarray(np.moveaxis(X, 1, -1))
    arguments = {"layout": layout, "algorithm": name}
    y = fastconv.adaptive_avg_pool2d(x, output_size, **arguments)
    assert np.allclose(y, reference.adaptive_avg_pool(x, output_size, layout=layout), rtol=1e-6, atol=1e-6)
    found = fastconv.adaptive_max_pool2d(x, output_size, return_indices=True, **arguments)
    expected = reference.adaptive_max_pool(x, output_size, True, layout=layout)
    assert all(np.array_equal(*pair) for pair in zip(found, expected, strict=True))


def test_pieces_by_hand(by_pieces):
    x = np.array([[[1, 5, 2, 8, 4]]], np.float32)
    assert fastconv.adaptive_avg_pool1d(x, 3, algorithm=by_pieces).tolist() == [[[3.0, 5.0, 6.0]]]  # 0:2, 1:4, 3:5
    y, indices = fastconv.adaptive_max_pool1d(x, 7, True, algorithm=by_pieces)  # 0:1, 0:2, 1:3, 2:3, 2:4, 3:5, 4:5
    assert y.tolist() == [[[1, 5, 5, 2, 8, 8, 4]]]
    assert indices.tolist() == [[[0, 1, 1, 2, 3, 3, 4]]]
    volume = np.arange(27, dtype=np.float32).reshape(1, 1, 3, 3, 3)
    y, indices = fastconv.adaptive_max_pool3d(volume, 2, True, algorithm=by_pieces)
    assert y.ravel().tolist() == indices.ravel().tolist() == [13, 14, 16, 17, 22, 23, 25, 26]
    assert fastconv.adaptive_avg_pool3d(volume, 2, algorithm=by_pieces)[0, 0, 0].tolist() == [[6.5, 7.5], [9.5, 10.5]]


def test_the_first_of_equals_in_pieces_and_volumes(by_pieces):
    """The first is that of a lower row, in a later column; NaN wins, the first of it."""
    x = np.array([[[[-1, 0.0, -1], [-0.0, -1, -1], [-1, -1, -1]]]], np.float32)
    for plane in (x, -x[..., ::-1]):
        y, indices = fastconv.adaptive_max_pool2d(plane, 2, True, algorithm=by_pieces)
        values = fastconv.adaptive_max_pool2d(plane, 2, algorithm=by_pieces)
        expected, places = reference.adaptive_max_pool(plane, 2, True)
        assert np.array_equal(indices, places)
        for found in (y, values):
            assert np.array_equal(found, expected)
            assert np.array_equal(np.signbit(found), np.signbit(expected))
    x[0, 0, 1, 0] = x[0, 0, 0, 1] = np.nan
    y, indices = fastconv.adaptive_max_pool2d(x, 2, True, algorithm=by_pieces)
    assert np.array_equal(np.isnan(y[0, 0]), [[True, True], [True, False]])
    assert indices.tolist() == [[[[1, 1], [3, 4]]]]


def test_indices_in_volumes_by_hand(by_pieces):
    equal, arguments = np.zeros((1, 1, 3, 3, 3), np.float32), {"return_indices": True, "algorithm": by_pieces}
    assert fastconv.max_pool3d(equal, 2, 1, **arguments)[1].ravel().tolist() == [0, 1, 3, 4, 9, 10, 12, 13]
    y, indices = fastconv.max_pool3d(equal[..., :1, :1, :1], 1, 2, [(3, 0), (0, 0), (0, 0)], **arguments)
    assert y.ravel().tolist() == [-np.inf, -np.inf]  # of nothing but padding
    assert indices.ravel().tolist() == [-1, -1]


@pytest.mark.parametrize("shape", [(2, 3, 50), (5, 2, 7, 7), (1, 40, 3, 4, 5), (1, 1, 130, 70)])
@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
def test_global_poolings(shape, layout, pooling):
    x = np.random.default_rng(2).standard_normal(shape).astype(np.float32)
    arguments = {"layout": layout, "algorithm": pooling}
    average = reference.global_avg_pool(x, layout=layout)
    assert np.allclose(fastconv.global_avg_pool(x, **arguments), average, rtol=1e-5, atol=1e-6)
    assert np.array_equal(fastconv.global_max_pool(x, **arguments), reference.global_max_pool(x, layout=layout))
    norms = fastconv.global_lp_pool(x, keepdims=False, **arguments)
    assert np.allclose(norms, reference.global_lp_pool(x, keepdims=False, layout=layout), rtol=1e-5)
    out = np.empty(norms.shape, np.float32)
    assert fastconv.global_lp_pool(x, keepdims=False, out=out, **arguments) is out
    assert np.array_equal(out, norms)


def test_the_first_zero_of_a_plane_and_its_nan():
    x = np.full((9, 1, 5, 5), -1, np.float32)
    x[2, 0, 3, 3], x[2, 0, 4, 4] = -0.0, 0.0
    x[5, 0, 1, 1], x[5, 0, 0, 3] = -0.0, 0.0
    x[7, 0, 2, 2] = np.nan
    y = fastconv.global_max_pool(x, keepdims=False)[:, 0]
    assert np.array_equal(y, [-1, -1, 0, -1, -1, 0, -1, np.nan, -1], equal_nan=True)
    assert np.signbit(y[2])
    assert not np.signbit(y[5])


@pytest.mark.parametrize("kind", ["max", "average", "lp"])
@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
def test_pooling_of_channels(kind, layout, pooling):
    x = np.random.default_rng(3).standard_normal((2, 12, 5, 6)).astype(np.float32)
    arguments = {"kind": kind, "layout": layout, "padding": [(1, 0)], "ceil_mode": True, "count_include_pad": False}
    y = fastconv.channel_pool(x, 3, 2, **arguments, algorithm=pooling)
    assert np.allclose(y, reference.channel_pool(x, 3, 2, **arguments), rtol=1e-6, atol=1e-6)
    out = np.empty((*y.shape[:-1], 2 * y.shape[-1]), np.float32)[..., ::2]
    assert np.array_equal(fastconv.channel_pool(x, 3, 2, **arguments, algorithm=pooling, out=out), y)


@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
def test_unpooling_puts_maxima_back(layout):
    y, indices = fastconv.max_pool2d(X, 3, 2, 1, return_indices=True, layout=layout)
    size = X.shape[2:] if layout == "channels_first" else X.shape[1:3]
    back = fastconv.max_unpool2d(y, indices, 3, 2, 1, size, layout=layout)
    assert np.array_equal(back, reference.max_unpool(y, indices, 3, 2, 1, size, layout=layout))
    assert set(back[back != 0]) == set(y.ravel())
    one = fastconv.max_unpool2d(y[0], indices[0], 3, 2, 1, size, layout=layout)
    assert np.array_equal(one, back[0])
    out = np.ones_like(back)
    assert fastconv.max_unpool2d(y, indices, 3, 2, 1, size, layout=layout, out=out) is out
    assert np.array_equal(out, back)


# --- arrays ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
def test_one_image_lacks_the_batch_axis_and_so_does_the_result(rank, layout, pooling):
    x = np.random.default_rng(4).standard_normal((1, 5, *(6, 7, 8)[:rank])).astype(np.float32)
    pool = getattr(fastconv, f"max_pool{rank}d")
    whole, one = (pool(each, 2, layout=layout, algorithm=pooling) for each in (x, x[0]))
    assert np.array_equal(whole[0], one)


def variants(x):
    """The numbers of an array, as they may lie in memory."""
    wide = np.zeros((*x.shape[:-1], 2 * x.shape[-1]), x.dtype)
    wide[..., ::2] = x
    locked = x.copy()
    locked.flags.writeable = False
    raw = np.zeros(x.nbytes + 1, np.uint8)[1:].view(x.dtype).reshape(x.shape)
    raw[...] = x
    yield from (np.asfortranarray(x), x[:, ::-1][:, ::-1], wide[..., ::2], locked, x.astype(">f4"), raw)


def test_any_memory_order(pooling):
    expected = fastconv.avg_pool2d(X, 3, 2, 1, algorithm=pooling)
    for x in variants(X):
        assert np.array_equal(fastconv.avg_pool2d(x, 3, 2, 1, algorithm=pooling), expected)


@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
def test_out_of_any_strides(layout, pooling):
    expected = fastconv.max_pool2d(X, 3, 2, 1, layout=layout, algorithm=pooling)
    axis = 1 if layout == "channels_first" else 3
    shape = list(expected.shape)
    shape[axis] += 4
    whole = np.full(shape, 9, np.float32)
    inside = [slice(None)] * 4
    inside[axis] = slice(1, 1 + expected.shape[axis])
    for out in (
        np.empty_like(expected),
        whole[tuple(inside)],
        np.empty(expected.shape[::-1], np.float32).T,
        np.empty(expected.shape, np.float32)[::-1],
        np.empty(expected.shape, ">f4"),
    ):
        if not out.dtype.isnative:
            with pytest.raises(TypeError, match="out must have type float32"):
                fastconv.max_pool2d(X, 3, 2, 1, layout=layout, algorithm=pooling, out=out)
            continue
        assert fastconv.max_pool2d(X, 3, 2, 1, layout=layout, algorithm=pooling, out=out) is out
        assert np.array_equal(out, expected)
    whole[tuple(inside)] = 9
    assert (whole == 9).all()  # nothing beside it was written


def test_out_may_be_the_input(pooling):
    x = X.copy()
    expected = fastconv.max_pool2d(x, 3, 1, 1, algorithm=pooling)
    assert fastconv.max_pool2d(x, 3, 1, 1, algorithm=pooling, out=x) is x
    assert np.array_equal(x, expected)


def test_empty_batches_and_channels(pooling):
    for shape in ((0, 3, 8, 8), (2, 0, 8, 8)):
        y, indices = fastconv.max_pool2d(np.zeros(shape), 2, return_indices=True, algorithm=pooling)
        assert y.shape == indices.shape == (*shape[:2], 4, 4)


@pytest.mark.parametrize(
    "text",
    [
        "max_pool2d,n2,c3,60x41,5x5,p2",
        "avg_pool2d,n1,c1,130x140,15x15,p7",
        "max_pool3d,n1,c3,9x20x20,3x3x3,s2",
        "adaptive_avg_pool2d,n2,c5,130x140,20x20,o7x7",
        "max_pool2d,n2,c3,60x41,5x5,s5,p2",
    ],
)
def test_results_depend_neither_on_threads_nor_on_the_batch(text, always_threads):
    problem = PoolProblem.parse(f"{text},float32")
    x = np.random.default_rng(5).standard_normal(problem.input_shape).astype(np.float32)
    pool = getattr(fastconv, f"{problem.operation}{problem.rank}d")
    results = []
    for count in (1, 2, 3):
        always_threads(count)
        results.append(pool(x, **problem.arguments()))
    assert all(np.array_equal(results[0], other) for other in results)
    assert np.array_equal(pool(x[:1], **problem.arguments()), results[0][:1])


def test_several_threads_at_once(always_threads):
    always_threads(2)
    x = np.random.default_rng(6).standard_normal((4, 16, 40, 40)).astype(np.float32)
    expected, wrong = fastconv.max_pool2d(x, 3, 2, 1), []

    def work():
        wrong.extend(1 for _ in range(30) if not np.array_equal(fastconv.max_pool2d(x, 3, 2, 1), expected))

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


# --- accuracy -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", [9, 15, 31])
def test_averages_are_as_accurate_as_plain_sums(kernel):
    """Running sums would carry an error from the large numbers to all that follow."""
    x = np.random.default_rng(7).standard_normal((1, 1, 100, 100)).astype(np.float32)
    x[0, 0, :3] *= 1e7
    x[0, 0, :, :2] *= 1e7
    y = fastconv.avg_pool2d(x, kernel, 1, algorithm="windows")
    exact = reference.avg_pool(x, kernel, 1)
    far = (slice(None), slice(None), slice(3, None), slice(2, None))  # windows that see none of them
    windows = np.lib.stride_tricks.sliding_window_view(x, (kernel, kernel), (2, 3))[far]
    plain = np.zeros(windows.shape[:4], np.float32)
    for row in range(kernel):
        for column in range(kernel):
            plain += windows[..., row, column]
    plain /= np.float32(kernel * kernel)
    assert np.linalg.norm(y[far] - exact[far]) <= np.linalg.norm(plain - exact[far])
    assert np.linalg.norm(y - exact) <= 1e-6 * np.linalg.norm(exact)


def test_the_sum_of_a_large_plane():
    x = np.random.default_rng(8).random((1, 1, 1500, 1500), np.float32)
    assert abs(fastconv.global_avg_pool(x).item() - x.mean(dtype=np.float64)) < 1e-7


# --- dispatch -------------------------------------------------------------------------------------


def test_the_table_and_what_speaks_for_each():
    assert ALGORITHMS[-1] == "reference"
    assert tuple(entry.name for entry in POOLINGS) == ALGORITHMS
    problem = PoolProblem.from_shape("max_pool", X.shape, 3, stride=1)
    assert fastconv.select(problem) == "windows"
    explanation = fastconv.explain(problem)
    assert [candidate.name for candidate in explanation.candidates] == list(ALGORITHMS)
    assert "windows" in str(explanation)
    assert explanation.as_dict()["problem"] == str(problem)


def test_named_means_named():
    x = np.ones((1, 1, 7), np.float32)
    with pytest.raises(UnsupportedError, match="windows computes norms of 1, 2 and infinity, not 3"):
        fastconv.lp_pool1d(x, 3, 2, algorithm="windows")
    with pytest.raises(UnsupportedError, match="windows computes windows, not adaptive_max_pool"):
        fastconv.adaptive_max_pool1d(x, 3, algorithm="windows")
    with pytest.raises(UnsupportedError, match="pieces computes norms of float64 of 1, 2 and infinity, not 3"):
        fastconv.lp_pool1d(x.astype(float), 3, 2, algorithm="pieces")
    with pytest.raises(UnsupportedError, match=r"pieces computes norms of 0\.01 to 100\.0, not 300"):
        fastconv.lp_pool1d(x, 300, 2, algorithm="pieces")
    with pytest.raises(ValueError, match="algorithm must be one of auto, windows, pieces, reference, got 'fft'"):
        fastconv.max_pool1d(x, 2, algorithm="fft")


@pytest.mark.parametrize(
    "text",
    [
        "max_pool2d,n1,c4,60x60,7x7,p3,float32",
        "avg_pool2d,n1,c4,60x60,3x3,p1,float64",
        "max_pool3d,n1,c2,9x20x20,3x3x3,p1,float32",
        "max_pool2d,n1,c4,60x60,2x2,s2,indices,float32",
        "avg_pool2d,n1,c4,6x6,6x6,float32",
    ],
)
def test_the_workspace_is_what_is_allocated(text, allocated, set_threads):
    set_threads(1)
    problem = PoolProblem.parse(text)
    entry = pool_algorithm("windows")
    expected = entry.workspace(problem)
    fastconv.clear_cache()
    x = np.zeros(problem.input_shape, problem.dtype)
    out = np.empty(problem.output_shape, problem.dtype)
    entry.run(problem, x, out, np.empty(out.shape, np.int64) if problem.indices else None)
    between = 4 * 2 * 9 * 20 * 20 if problem.rank == 3 else 0
    assert max(allocated, default=0) + between == expected  # the second pass takes the place of the first


@pytest.mark.parametrize(
    "text",
    [
        "adaptive_max_pool2d,n1,c4,60x60,10x10,o7x7,float32",
        "adaptive_avg_pool2d,n1,c9,13x13,3x3,o7x7,channels_last,float64",
        "max_pool3d,n1,c2,9x20x20,3x3x3,p1,indices,float32",
        "adaptive_max_pool2d,n1,c4,5x3,3x2,o2x2,int16",
    ],
)
def test_the_workspace_of_pieces_is_what_is_allocated(text, allocated, set_threads):
    set_threads(1)
    problem = PoolProblem.parse(text)
    entry = pool_algorithm("pieces")
    expected = entry.workspace(problem)
    fastconv.clear_cache()
    out = np.empty(problem.output_shape, problem.dtype)
    indices = np.empty(out.shape, np.int64) if problem.indices else None
    entry.run(problem, np.zeros(problem.input_shape, problem.dtype), out, indices)
    assert sum(allocated) == expected > 0


def test_vector_widths_agree(vector_bits):
    y = fastconv.max_pool2d(X, 3, 2, 1, algorithm="windows")
    assert np.array_equal(y, reference.max_pool(X, 3, 2, 1))
    average = fastconv.avg_pool2d(X, 7, 1, 3, algorithm="windows")
    assert np.allclose(average, reference.avg_pool(X, 7, 1, 3), rtol=1e-5, atol=1e-6)
    pieces = fastconv.adaptive_avg_pool2d(X, 4, algorithm="pieces")
    assert np.allclose(pieces, reference.adaptive_avg_pool(X, 4), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kernel", [7, 9, 13])
@pytest.mark.parametrize("size", [12, 13, 20])
def test_large_windows_of_several_small_planes(kernel, size):
    """More planes than threads have tasks, each higher than a block of rows."""
    x = np.random.default_rng(0).standard_normal((1, 17, size, size)).astype(np.float32)
    for function in (fastconv.max_pool2d, fastconv.avg_pool2d):
        y, expected = (function(x, kernel, 1, kernel // 2, algorithm=name) for name in ("windows", "reference"))
        np.testing.assert_allclose(y, expected, rtol=0, atol=1e-6)

"""Winograd convolution: by hand, random ones of every kind that it takes, its errors, and what it refuses."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fastconv
from fastconv import selection
from fastconv.codegen.winograd_tile import LARGEST_STRIDED, LARGEST_TILE, LONGEST_TILE
from fastconv.cpu.winograd import Winograd
from fastconv.problem import LAYOUTS, PADDING_MODES, ConvProblem
from fastconv.selection import TABLE

ALGORITHMS = {entry.outputs: entry.name for entry in TABLE if isinstance(entry, Winograd)}
CONVOLVE = {1: fastconv.conv1d, 2: fastconv.conv2d}

tiles = pytest.mark.parametrize("outputs", ALGORITHMS)
layouts = pytest.mark.parametrize("layout", LAYOUTS)


def convolve(problem, operands, algorithm, **others):
    """Call as a user does; `operands` are x, weight and maybe bias and residual."""
    return CONVOLVE[problem.rank](*operands[:3], residual=(*operands, None, None)[3], algorithm=algorithm,
                                  **problem.arguments(), **others)  # fmt: skip


def relative_error(problem, operands, algorithm, against=None):
    """Return the 2-norm of the error, relative to the result or to that of `against`."""
    wide = replace(problem, dtype="float64")
    exact, other = ([each.astype("f8") for each in arrays] for arrays in (operands, against or operands))
    expected = fastconv.reference.conv(wide, *exact)
    error = np.linalg.norm(convolve(problem, operands, algorithm) - expected)
    return error / np.linalg.norm(expected if against is None else fastconv.reference.conv(wide, *other))


def most_taps(outputs, kernel):
    """Of a kernel with taps along both axes, or along one."""
    return (LONGEST_TILE if min(kernel) == 1 or len(kernel) == 1 else LARGEST_TILE) + 1 - outputs


def most_strided(outputs, kernel):
    """The same along an axis with a stride of 2."""
    return min(2 * most_taps(outputs, kernel), LARGEST_STRIDED - 2 * (outputs - 1))


def test_the_sizes_of_tiles():
    assert list(ALGORITHMS.items()) == [(m, f"winograd_{m}x{m}") for m in (2, 3, 4, 6)]


# ------------------------------------------------------------------------------------ by hand

#: F(2 x 2) of 3 x 3 halves integers twice, which is exact; larger tiles multiply by fractions that are none of two's.
EXACT = {2: 0.0, 3: 1e-5, 4: 1e-5, 6: 1e-4}


@tiles
@layouts
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_delta_kernel_copies(outputs, layout, dtype):
    """The one in the middle of nine: the image itself. In the corner: the image, shifted."""
    image = np.arange(1, 36, dtype=dtype).reshape(5, 7)
    x = image[None, None] if layout == "channels_first" else image[None, :, :, None]
    for row, column in ((1, 1), (0, 0), (2, 1)):
        weight = np.zeros((1, 1, 3, 3), dtype)
        weight[..., row, column] = 1
        y = fastconv.conv2d(x, weight, padding=1, layout=layout, algorithm=ALGORITHMS[outputs]).reshape(5, 7)
        expected = np.pad(image, 1)[row : row + 5, column : column + 7]
        np.testing.assert_allclose(y, expected, rtol=0, atol=35 * EXACT[outputs])


@tiles
@layouts
def test_dilated_taps_are_so_far_apart(outputs, layout):
    """The one in the corner, three rows and two columns before the middle."""
    image = np.arange(1, 122, dtype=np.float32).reshape(11, 11)
    x = image[None, None] if layout == "channels_first" else image[None, :, :, None]
    weight = np.zeros((1, 1, 3, 3), np.float32)
    weight[..., 0, 0] = 1
    given = {"padding": (3, 2), "dilation": (3, 2), "layout": layout}
    y = fastconv.conv2d(x, weight, algorithm=ALGORITHMS[outputs], **given).reshape(11, 11)
    np.testing.assert_allclose(y, np.pad(image, ((3, 0), (2, 0)))[:11, :11], rtol=0, atol=122 * EXACT[outputs])


@pytest.mark.parametrize("outputs", [2, 3, 4])
@layouts
@pytest.mark.parametrize("stride", [(2, 2), (2, 1), (1, 2)])
def test_a_stride_leaves_out_pixels(outputs, layout, stride):
    """Each of the nine taps alone: the image from there on, every other row or column."""
    image = np.arange(1, 100, dtype=np.float32).reshape(9, 11)
    x = image[None, None] if layout == "channels_first" else image[None, :, :, None]
    for row, column in np.ndindex(3, 3):
        weight = np.zeros((1, 1, 3, 3), np.float32)
        weight[..., row, column] = 1
        y = fastconv.conv2d(x, weight, stride=stride, padding=1, layout=layout, algorithm=ALGORITHMS[outputs])
        expected = np.pad(image, 1)[row : row + 9 : stride[0], column : column + 11 : stride[1]]
        np.testing.assert_allclose(y.reshape(expected.shape), expected, rtol=0, atol=99 * EXACT[outputs])


@tiles
def test_a_constant_image_sums_the_kernel(outputs):
    """Each of the nine weights is a bit: the sum says which of them saw the image."""
    x = np.ones((1, 1, 5, 6), np.float32)
    weight = np.float32([[[[1, 2, 4], [8, 16, 32], [64, 128, 256]]]])
    y = fastconv.conv2d(x, weight, padding=1, algorithm=ALGORITHMS[outputs])[0, 0]
    left, right, above, below = 1 + 8 + 64, 4 + 32 + 256, 1 + 2 + 4, 64 + 128 + 256
    expected = np.full((5, 6), 511)
    expected[0] -= above
    expected[-1] -= below
    expected[:, 0] -= left
    expected[:, -1] -= right
    expected[[0, 0, -1, -1], [0, -1, 0, -1]] += 1, 4, 64, 256  # were taken away twice
    np.testing.assert_allclose(y, expected, rtol=0, atol=511 * EXACT[outputs])


@tiles
def test_channels_are_summed_and_filters_are_apart(outputs):
    """Deltas of 1 and 10, 100 and 1000: each filter writes the pixels of both channels as digits."""
    x = np.float32([[[[1, 2, 3]] * 3, [[4, 5, 6]] * 3]])
    weight = np.zeros((2, 2, 3, 3), np.float32)
    weight[:, :, 1, 1] = [[10, 1], [1000, 100]]
    y = fastconv.conv2d(x, weight, padding=1, algorithm=ALGORITHMS[outputs])
    expected = [[[14, 25, 36]] * 3, [[1400, 2500, 3600]] * 3]
    np.testing.assert_allclose(y[0], expected, rtol=0, atol=3600 * EXACT[outputs])


@tiles
@pytest.mark.parametrize("flip", [False, True])
def test_one_axis(outputs, flip):
    """The weight 1, 10, 100 writes the elements of a window as digits."""
    x, weight = np.float32([[[1, 2, 3, 4, 5]]]), np.float32([[[1, 10, 100]]])
    y = fastconv.conv1d(x, weight, flip=flip, algorithm=ALGORITHMS[outputs])
    expected = [123, 234, 345] if flip else [321, 432, 543]
    np.testing.assert_allclose(y[0, 0], expected, rtol=0, atol=543 * EXACT[outputs])


@layouts
@pytest.mark.parametrize(("kernel", "padding"), [((3, 3), 1), ((2, 2), 0), ((1, 3), 0), ((2, 1), 0), ((3, 2), 1)])
def test_tiles_of_two_are_exact_for_small_integers(layout, kernel, padding):
    random = np.random.default_rng(0)
    shape = (2, 20, 9, 11) if layout == "channels_first" else (2, 9, 11, 20)
    x, weight = random.integers(-8, 9, shape), random.integers(-8, 9, (19, 20, *kernel))
    x, weight = (2 * each.astype("f4") for each in (x, weight))
    given = {"padding": padding, "layout": layout}
    expected = fastconv.conv2d(x, weight, algorithm="reference", **given)
    np.testing.assert_array_equal(fastconv.conv2d(x, weight, algorithm="winograd_2x2", **given), expected)


# ------------------------------------------------------------------------------------- random


@st.composite
def problems(draw, outputs):
    """Draw what the algorithm takes: planes smaller than a tile and of several, one axis that is transformed or two."""
    layout, mode = draw(st.sampled_from(LAYOUTS)), draw(st.sampled_from(("zeros", "zeros", *PADDING_MODES)))
    both, alone = (st.integers(2, most_taps(outputs, kernel)) for kernel in ((2, 2), (2,)))
    kernel = draw(st.one_of(st.tuples(both, both), st.tuples(alone, st.just(1)), st.tuples(st.just(1), alone),
                            st.tuples(alone)))  # fmt: skip
    rank = len(kernel)
    size = [draw(st.one_of(st.integers(1, 9), st.integers(1, 41))) for _ in range(rank)]
    limits = {"reflect": [n - 1 for n in size], "zeros": [9, 9], "replicate": [9, 9]}.get(mode, size)
    padding = [[draw(st.integers(0, min(limit, 4))) for _ in range(2)] for limit in limits[:rank]]
    strided = [k == 1 or k <= most_strided(outputs, kernel) for k in kernel]
    stride = tuple(draw(st.sampled_from((1, 1, 2) if can else (1,))) for can in strided)
    dilation = tuple(draw(st.sampled_from((1, 1, 2, 3, 5))) if steps == 1 else 1 for steps in stride)
    spans = [(k - 1) * steps + 1 for k, steps in zip(kernel, dilation, strict=True)]
    size = [max(n, span - sum(pair)) for n, span, pair in zip(size, spans, padding, strict=True)]
    groups = draw(st.sampled_from((1, 1, 1, 2, 3)))
    channels, filters = (draw(st.one_of(st.integers(1, 9), st.integers(1, 70))) for _ in range(2))
    shape = (draw(st.integers(1, 3)), groups * channels, *size)
    return ConvProblem.from_shapes(
        shape if layout == "channels_first" else (shape[0], *size, shape[1]),
        (groups * filters, channels, *kernel),
        draw(st.sampled_from(("float32", "float64"))),
        stride=stride,
        padding=padding,
        groups=groups,
        padding_mode=mode,
        flip=draw(st.booleans()),
        layout=layout,
        dilation=dilation,
    )


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
@tiles
def test_random_convolutions(vector_bits, always_threads, operands_of, outputs, data):
    problem = data.draw(problems(outputs), "problem")
    activation = data.draw(st.sampled_from((None, "relu")), "activation")
    bias, residual = (data.draw(st.booleans(), name) for name in ("bias", "residual"))
    operands = operands_of(problem, bias, residual, data.draw(st.integers(0, 2**32 - 1), "seed"))
    always_threads(data.draw(st.integers(1, 3), "threads"))
    axis = 1 if problem.layout == "channels_first" else -1
    cut = data.draw(st.integers(0, 2), "filters of another")
    wider = list(problem.output_shape)
    wider[axis] += cut
    out, rest = np.split(np.full(wider, np.nan, problem.dtype), [problem.filters], axis)
    algorithm = selection.algorithm(ALGORITHMS[outputs])
    assert convolve(problem, operands, algorithm.name, activation=activation, out=out) is out
    expected = fastconv.reference.conv(problem, *operands, activation)
    magnitudes = [None if term is None else np.abs(term) for term in operands]
    scale = np.linalg.norm(fastconv.reference.conv(problem, *magnitudes))
    assert np.linalg.norm(out - expected) <= algorithm.error_bound(problem) * scale
    assert np.isnan(rest).all()


@tiles
@layouts
@pytest.mark.parametrize("channels", [1, 5, 8, 17, 300])
@pytest.mark.parametrize("filters", [1, 8, 19, 70])
def test_any_number_of_channels_and_filters(outputs, layout, channels, filters):
    """More channels than a pass sums, more filters than a panel or a task has; parts of vectors of both."""
    problem = ConvProblem.parse(f"conv2d,n1,c{channels},7x9,k{filters},3x3,p1,{layout},float32")
    operands = normal(np.random.default_rng(0), problem)
    algorithm = selection.algorithm(ALGORITHMS[outputs])
    assert relative_error(problem, operands, algorithm.name) <= algorithm.error_bound(problem)


@tiles
@layouts
@pytest.mark.parametrize(
    "size", [(7, 7), (13, 13), (14, 14), (28, 28), (56, 56), (112, 3), (3, 224), (9, 32), (32, 9), (5, 60), (6, 64)]
)
def test_planes_of_networks(outputs, layout, size):
    problem = ConvProblem.parse(f"conv2d,n2,c9,{size[0]}x{size[1]},k10,3x3,p1,{layout},float32")
    operands = normal(np.random.default_rng(0), problem)
    algorithm = selection.algorithm(ALGORITHMS[outputs])
    assert relative_error(problem, operands, algorithm.name) <= algorithm.error_bound(problem)


# ------------------------------------------------------------------------------------- errors


def normal(random, problem):
    return [
        random.standard_normal(shape).astype(problem.dtype) for shape in (problem.input_shape, problem.weight_shape)
    ]


def uniform(random, problem):
    return [random.random(shape).astype(problem.dtype) for shape in (problem.input_shape, problem.weight_shape)]


def offset(random, problem):
    """What varies is a thousandth."""
    x, weight = uniform(random, problem)
    return [1000 + x, weight]


def alternating(random, problem):
    """A chessboard, which is what a point of -1 sees."""
    _, weight = normal(random, problem)
    rows, columns = np.indices(problem.input_shape[2:])
    return [np.broadcast_to((-1.0) ** (rows + columns), problem.input_shape).astype(problem.dtype), weight]


def spikes(random, problem):
    """A few elements are a million times the others."""
    x, weight = normal(random, problem)
    x *= np.where(random.random(x.shape) < 0.01, 1e6, 1).astype(x.dtype)
    return [x, weight]


def cancelling(random, problem):
    """Kernels of zero sum on an image that hardly varies."""
    x, weight = normal(random, problem)
    return [100 + x, weight - weight.mean((2, 3), keepdims=True)]


@pytest.mark.parametrize(
    ("outputs", "kernel"),
    [
        (outputs, kernel)
        for kernel in [(3, 3), (2, 3), (5, 5), (7, 7), (1, 3), (3, 1), (1, 5), (9, 1)]
        for outputs in ALGORITHMS
        if max(kernel) <= most_taps(outputs, kernel)
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_random_data_is_within_the_bound(outputs, kernel, dtype):
    high, wide = kernel
    problem = ConvProblem.parse(f"conv2d,n1,c24,19x23,k16,{high}x{wide},p{high // 2}x{wide // 2},{dtype}")
    algorithm = selection.algorithm(ALGORITHMS[outputs])
    bound = algorithm.error_bound(problem)
    for kind in (normal, uniform):
        operands = kind(np.random.default_rng(0), problem)
        if dtype == "float64":  # integers, of which the reference's sums are exact
            operands = [np.round(each * 2**22) for each in operands]
        error = relative_error(problem, operands, algorithm.name)
        assert error <= bound
        assert bound <= 25 * error or kind is uniform or dtype == "float64"  # nothing cancels, much is exact


@pytest.mark.parametrize(
    ("outputs", "taps"), [(2, 3), (3, 3), (4, 3), (2, 5), (3, 5), (4, 5), (2, 7), (3, 7)]
)
@pytest.mark.parametrize("kind", [normal, uniform, offset, alternating, spikes, cancelling])
def test_strides_are_within_the_bound(outputs, taps, kind):
    problem = ConvProblem.parse(f"conv2d,n1,c24,19x23,k16,{taps}x{taps},s2,p{taps // 2},float32")
    operands = kind(np.random.default_rng(0), problem)
    algorithm = selection.algorithm(ALGORITHMS[outputs])
    bound, against = algorithm.error_bound(problem), operands if kind in (normal, uniform) else map(np.abs, operands)
    error = relative_error(problem, operands, algorithm.name, list(against))
    assert error <= bound
    assert bound <= 30 * error or kind is not normal


@tiles
@pytest.mark.parametrize("kind", [offset, alternating, spikes, cancelling])
def test_no_data_passes_the_bound(outputs, kind):
    problem = ConvProblem.parse("conv2d,n1,c24,19x23,k16,3x3,p1,float32")
    operands = kind(np.random.default_rng(0), problem)
    algorithm = selection.algorithm(ALGORITHMS[outputs])
    magnitudes = [np.abs(each) for each in operands]
    assert relative_error(problem, operands, algorithm.name, magnitudes) <= algorithm.error_bound(problem)


@pytest.mark.parametrize(("outputs", "limit"), [(2, 8e-7), (4, 3e-6), (6, 1e-5)])
@pytest.mark.parametrize("channels", [64, 256, 512])
@layouts
def test_errors_of_many_channels(outputs, limit, channels, layout):
    problem = ConvProblem.parse(f"conv2d,n1,c{channels},14x14,k16,3x3,p1,{layout},float32")
    operands = normal(np.random.default_rng(0), problem)
    assert relative_error(problem, operands, ALGORITHMS[outputs]) <= limit


def test_larger_tiles_err_more_and_the_bound_says_so():
    problem = ConvProblem.parse("conv2d,n1,c64,56x56,k64,3x3,p1,float32")
    bounds = [selection.algorithm(name).error_bound(problem) for name in ALGORITHMS.values()]
    assert bounds == sorted(bounds)
    assert bounds[-1] > 4 * bounds[0]


# ----------------------------------------------------------------------------- what it refuses


@tiles
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("conv2d,n1,c8,9x9,k8,3x3,s3,float32", "computes strides of at most 2, not 3x3"),
        ("conv2d,n1,c8,9x9,k8,3x3,s1x4,float32", "computes strides of at most 2, not 1x4"),
        ("conv1d,n1,c8,9,k8,3,s3,float32", "computes strides of at most 2, not 3"),
        ("conv3d,n1,c8,9x9x9,k8,3x3x3,float32", "computes one and two dimensions, not three"),
        ("conv3d,n1,c8,9x9x9,k8,1x3x3,float32", "computes one and two dimensions, not three"),
        ("conv2d,n1,c8,9x9,k8,1x1,float32", "needs a kernel of more than one element"),
        ("conv1d,n1,c8,9,k8,1,p1,float32", "needs a kernel of more than one element"),
        ("conv2d,n1,c8,19x19,k8,8x3,float32", "computes kernels of at most {most} elements along an axis, not 8"),
        ("conv2d,n1,c8,19x19,k8,10x1,float32", "computes kernels of at most {most} elements along an axis, not 10"),
        ("conv1d,n1,c8,19,k8,10,float32", "computes kernels of at most {most} elements along an axis, not 10"),
        ("conv2d,n1,c8,9x9,k8,3x3,int32", "computes float32 and float64, not int32"),
        ("conv2d,n1,c8,9x9,k8,3x3,uint8", "computes float32 and float64, not uint8"),
        ("conv2d,n1,c8,9x9,k8,3x3,float16", "computes float32 and float64, not float16"),
        ("conv2d,n1,c8,9x9,k8,3x3,input_gradient,float32", "computes the forward direction, not input_gradient"),
    ],
)
def test_refusals_have_reasons(outputs, text, reason):
    name = ALGORITHMS[outputs]
    problem = ConvProblem.parse(text)
    expected = f"{name} {reason.format(most=most_taps(outputs, problem.kernel))}"
    assert selection.algorithm(name).supports(problem) == expected


@tiles
def test_the_largest_kernels(outputs):
    entry = selection.algorithm(ALGORITHMS[outputs])
    both, alone = most_taps(outputs, (3, 3)), most_taps(outputs, (3,))
    largest = [(both, both), (both, 2), (2, both), (1, alone), (alone, 1)]
    larger = [(both + 1, 3), (3, both + 1), (1, alone + 1), (alone + 1, 1)]
    for kernels, too_large in ((largest, False), (larger, True)):
        for high, wide in kernels:
            reason = entry.supports(ConvProblem.parse(f"conv2d,n1,c8,19x19,k8,{high}x{wide},float32"))
            assert ("at most" in reason) if too_large else reason is None


@pytest.mark.parametrize("outputs", [2, 3, 4])
def test_refusals_of_strides(outputs):
    name = ALGORITHMS[outputs]
    most = most_strided(outputs, (3, 3))
    refused = {
        f"{most + 1}x3,s2": f"computes kernels of at most {most} elements along an axis with a stride of 2, "
        f"not {most + 1}",
        "3x3,s2,d2": "computes a stride without dilation, not 2 with 2",
    }
    for text, reason in refused.items():
        problem = ConvProblem.parse(f"conv2d,n1,c8,19x19,k8,{text},float32")
        assert selection.algorithm(name).supports(problem) == f"{name} {reason}"


def test_tiles_of_six_have_no_stride():
    problem = ConvProblem.parse("conv2d,n1,c8,19x19,k8,3x3,s2,float32")
    assert selection.algorithm("winograd_6x6").supports(problem) == "winograd_6x6 computes a stride of 1, not 2x2"
    problem = ConvProblem.parse("conv2d,n1,c8,19x19,k8,3x1,s1x2,float32")  # of the axis that is not transformed
    assert selection.algorithm("winograd_6x6").supports(problem) is None


@tiles
@pytest.mark.parametrize("text", ["conv2d,n1,c8,9x9,k8,1x3,d2x1,float32", "conv2d,n1,c8,9x9,k8,3x1,d1x5,float64"])
def test_a_dilation_of_one_tap_is_nothing(outputs, text):
    assert selection.algorithm(ALGORITHMS[outputs]).supports(ConvProblem.parse(text)) is None


@tiles
def test_named_means_named(outputs):
    x, weight = np.ones((1, 1, 9, 9), np.float32), np.ones((1, 1, 3, 3), np.float32)
    with pytest.raises(fastconv.UnsupportedError, match="stride"):
        fastconv.conv2d(x, weight, stride=3, algorithm=ALGORITHMS[outputs])


# ------------------------------------------------------------------------------------- memory

SHAPES = [
    "conv2d,n1,c8,14x14,k8,3x3,p1",
    "conv2d,n3,c20,40x37,k33,3x3,p1",
    "conv2d,n2,c24,9x9,k18,3x3,g3",
    "conv2d,n1,c300,7x7,k70,3x3,p1",
    "conv2d,n2,c5,30x3,k6,3x1,reflect,p1x0",
    "conv1d,n4,c6,1000,k7,3",
]


@tiles
@layouts
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("count", [1, 3])
def test_the_workspace_is_what_is_allocated(allocated, always_threads, outputs, count, layout, dtype):
    always_threads(count)
    for shape in SHAPES:
        problem = ConvProblem.parse(f"{shape},{layout},{dtype}")
        fastconv.clear_cache()
        allocated.clear()
        convolve(problem, [np.zeros(shape, dtype) for shape in (problem.input_shape, problem.weight_shape)],
                 ALGORITHMS[outputs])  # fmt: skip
        assert sum(allocated) == selection.algorithm(ALGORITHMS[outputs]).workspace(problem), problem


def workspace_of(outputs, shape):
    return selection.algorithm(ALGORITHMS[outputs]).workspace(ConvProblem.parse(f"{shape},float32"))


@tiles
@layouts
@pytest.mark.parametrize("count", [1, 2])
def test_the_workspace_does_not_grow_with_the_batch(set_threads, outputs, layout, count):
    """But for a mark of eight bytes an image: only the tiles of one block are ever held."""
    set_threads(count)
    for shape in ("c64,14x14,k64,3x3,p1", "c16,60x64,k70,3x3,p1", "c32,7x50,k32,1x3", "c32,33x33,k8,3x3,g4"):
        few, many, more = (workspace_of(outputs, f"conv2d,n{n},{shape},{layout}") for n in (100, 1000, 4000))
        assert many <= 2 * few + 8 * 900  # a block is full, or more than half full
        assert more <= 1.01 * many + 8 * 3000


@tiles
@pytest.mark.parametrize("size", ["100x100", "4000x100", "100x4000", "3000x3000", "1x1000000", "1000000x1"])
def test_the_workspace_does_not_grow_with_the_plane(set_threads, outputs, size):
    """V of a block: some hundred tiles, of the frequencies of both axes and all channels; M and U are less."""
    set_threads(1)
    tile = (outputs + 2) ** 2
    whole = 4 * tile * 32 * math.prod(-(-int(n) // outputs) for n in size.split("x"))
    workspace = workspace_of(outputs, f"conv2d,n1,c32,{size},k32,3x3,p1")
    assert workspace <= 3 * 4 * tile * 32 * 224 + 2**18
    if whole > 2**27:
        assert workspace < whole / 10

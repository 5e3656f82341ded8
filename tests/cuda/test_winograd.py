"""Winograd's convolution on a device: by hand, every kernel's PTX against the reference, and what is not finite."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

import fastconv
from fastconv.codegen.winograd_error import relative_error
from fastconv.problem import ConvProblem

LIMITS = {"float32": 1e-6, "float64": 1e-14}  # relative error in the 2-norm
NAMES = ("winograd_2x2", "winograd_4x4")
names = pytest.mark.parametrize("name", NAMES)
FUSED = "winograd_2x2 fused"  # which there is for float32, channels first, 3x3
ways = pytest.mark.parametrize("way", [*NAMES, FUSED])

# Each has something that is odd: tiles that are cut off, channels and filters in no whole steps, padding, groups, gaps.
PROBLEMS = [
    ("winograd_4x4", "conv2d,n2,c3,7x9,k5,3x3,p1,float32"),
    ("winograd_4x4", "conv2d,n2,c12,9x7,k37,3x3,p1,channels_last,float32"),
    ("winograd_4x4", "conv2d,n2,c12,9x8,k70,3x3,p2,g2,flip,float32"),  # runs of two outputs
    ("winograd_4x4", "conv2d,n1,c9,14x16,k4,3x3,p2:1x0,d2x3,flip,float64"),
    ("winograd_4x4", "conv1d,n2,c5,32,k3,5,p2,float32"),  # runs of four
    ("winograd_4x4", "conv2d,n2,c4,15x9,k4,5x1,p0x2,d3,g2,channels_last,float32"),
    ("winograd_2x2", "conv2d,n2,c3,7x9,k5,3x3,p1,channels_last,float32"),
    ("winograd_2x2", "conv2d,n3,c12,9x8,k6,3x3,p0:2x3,g2,float32"),
    ("winograd_2x2", "conv2d,n1,c9,5x3,k4,2x4,p3,d9x1,flip,float64"),  # a gap wider than the image is high
    ("winograd_2x2", "conv2d,n2,c3,9x12,k5,3x3,s2,p1,float32"),
    ("winograd_2x2", "conv2d,n1,c5,11x14,k4,7x7,s2,p3:2x3,channels_last,float32"),
    ("winograd_2x2", "conv2d,n1,c4,9x10,k6,3x4,s2x1,p1,d1x2,g2,flip,float64"),  # a stride, and a gap
    ("winograd_4x4", "conv2d,n2,c3,17x13,k5,3x2,s2,p1,flip,float32"),
    ("winograd_4x4", "conv1d,n2,c6,41,k4,5,s2,p2:1,g2,float64"),
    ("winograd_4x4", "conv2d,n1,c3,8x9,k5,3x1,s1x2,p1x0,float32"),  # an axis without a transform, with a stride
    (FUSED, "conv2d,n2,c3,7x9,k5,3x3,p1,float32"),
    (FUSED, "conv2d,n2,c18,9x8,k140,3x3,p2,g2,flip,float32"),
    (FUSED, "conv2d,n1,c9,21x19,k4,3x3,p2:1x0,d2x3,float32"),
]


@pytest.fixture
def named(compiler, monkeypatch):
    """Return the algorithm of a way to compute, and let it be this way that it takes."""
    from fastconv.cuda import winograd_plan

    def name(way):
        if way == FUSED:
            monkeypatch.setattr(winograd_plan, "_BUSY_FUSED", 1e9)
        else:
            monkeypatch.setattr(winograd_plan, "_fits", lambda divided: False)
        fastconv.clear_cache()
        return way.partition(" ")[0]

    return name


@pytest.fixture
def divided(compiler, monkeypatch):
    """Let the products have a given tile, and blocks one column of those, whatever would take the least time."""
    from fastconv.cuda import im2col, winograd_plan

    tiles = dict(im2col.TILES)

    def divide(dtype, tile):
        monkeypatch.setitem(im2col.TILES, dtype, (tiles[dtype][tile],))
        monkeypatch.setattr(winograd_plan, "MOST_SCRATCH", 0)
        monkeypatch.setattr(winograd_plan, "_CACHED", 0.0)
        monkeypatch.setattr(winograd_plan, "_ROUNDS", ())
        fastconv.clear_cache()

    return divide


def drawn(problem, seed=0):
    """Return x, weight, bias and residual."""
    random = np.random.default_rng(seed)
    shapes = problem.input_shape, problem.weight_shape, (problem.filters,), problem.output_shape
    return [random.uniform(-1, 1, shape).astype(problem.dtype) for shape in shapes]


def convolve(device, problem, name, x, weight, bias=None, residual=None):
    """Return the result of a device, with an activation."""
    x, weight, bias, residual = (None if each is None else device.array(each) for each in (x, weight, bias, residual))
    function = getattr(fastconv, f"conv{problem.rank}d")
    arguments = {**problem.arguments(), "residual": residual, "activation": "relu", "algorithm": name}
    return device.numpy(function(x, weight, bias, **arguments))


def expected(problem, x, weight, bias=None, residual=None):
    """Return the result of the definition, likewise, in float64."""
    operands = [None if each is None else each.astype(np.float64) for each in (x, weight, bias, residual)]
    function = getattr(fastconv, f"conv{problem.rank}d")
    arguments = {**problem.arguments(), "residual": operands[3], "activation": "relu", "algorithm": "reference"}
    return function(*operands[:3], **arguments)


def close(problem, y, wanted):
    """Whether a result is what the definition says, but for rounding."""
    assert y.dtype == problem.dtype
    return np.linalg.norm(y - wanted) <= LIMITS[problem.dtype] * np.linalg.norm(wanted)


@ways
def test_a_delta_kernel_copies(way, named, device):
    """The one in the corner of nine: the image, one further down and to the right."""
    name = named(way)
    image = np.arange(1, 36, dtype=np.float32).reshape(5, 7)
    weight = np.zeros((1, 1, 3, 3), np.float32)
    weight[..., 0, 0] = 1
    problem = ConvProblem.parse("conv2d,n1,c1,5x7,k1,3x3,p1,float32")
    y = convolve(device, problem, name, image[None, None], weight)[0, 0]
    wanted = np.zeros((5, 7))
    wanted[1:, 1:] = image[:-1, :-1]
    # F(2x2) halves integers twice, which is exact; F(4x4) multiplies by fractions that are none of two's
    np.testing.assert_allclose(y, wanted, rtol=0, atol=35 * {"winograd_2x2": 0.0, "winograd_4x4": 1e-5}[name])


@pytest.mark.parametrize(("way", "text"), PROBLEMS)
def test_problems(way, text, named, device):
    problem = ConvProblem.parse(text)
    operands = drawn(problem)
    y = convolve(device, problem, named(way), *operands)
    assert close(problem, y, expected(problem, *operands))


@pytest.mark.parametrize(("dtype", "tile"), [("float32", 0), ("float32", 1), ("float32", 2), ("float64", 0)])
def test_tiles_of_the_product_and_blocks_of_tiles(dtype, tile, named, divided, interpreting):
    """Whatever a block has, a sum is the same; the last block is not full, and images are cut between blocks."""
    problem = ConvProblem.parse(f"conv2d,n3,c5,15x17,k9,3x3,p1,{dtype}")  # 3 x 8 x 9 tiles
    x, weight, *_ = drawn(problem)
    name = named("winograd_2x2")
    whole = convolve(interpreting, problem, name, x, weight)
    assert close(problem, whole, expected(problem, x, weight))
    divided(problem.dtype, tile)
    interpreting.launches.clear()
    y = convolve(interpreting, problem, name, x, weight)
    counts = Counter(launch.name for launch in interpreting.launches)
    blocks = {64: 4, 128: 2}[64 if (dtype, tile) in (("float32", 1), ("float64", 0)) else 128]
    assert counts == {
        "fastconv_weights": 1,
        **dict.fromkeys(("fastconv_inputs", "fastconv_multiply", "fastconv_outputs"), blocks),
        "fastconv_direct": 1,
    }
    np.testing.assert_array_equal(y, whole)


def test_fused_or_not_sums_are_the_same(monkeypatch, named, interpreting):
    problem = ConvProblem.parse("conv2d,n2,c13,7x11,k70,3x3,p1,float32")
    x, weight, *_ = drawn(problem)
    fused = convolve(interpreting, problem, named(FUSED), x, weight)
    assert [launch.name[9:] for launch in interpreting.launches] == ["weights", "clear", "fused", "direct"]
    y = convolve(interpreting, problem, named("winograd_2x2"), x, weight)
    assert interpreting.launches[-2].name == "fastconv_outputs"
    np.testing.assert_array_equal(y, fused)


@names
def test_an_image_alone_and_in_a_batch(name, interpreting):
    problem = ConvProblem.parse("conv2d,n9,c6,5x7,k8,3x3,p1,float32")
    one = ConvProblem.parse("conv2d,n1,c6,5x7,k8,3x3,p1,float32")
    x, weight, *_ = drawn(problem)
    whole = convolve(interpreting, problem, name, x, weight)
    np.testing.assert_array_equal(convolve(interpreting, one, name, x[7:8], weight), whole[7:8])


# ------------------------------------------------------------------------------------ what is not finite


def places(y):
    """Return where there are NaN, infinity and minus infinity."""
    return np.isnan(y).astype(int) + 2 * np.isposinf(y) + 3 * np.isneginf(y)


@pytest.mark.parametrize(("way", "layout"), [*((way, "") for way in (*NAMES, FUSED)), (NAMES[0], "channels_last,")])
def test_nan_and_infinity_stay_where_they_are(way, layout, named, device):
    """Images that have none are as they are without the others: they are not computed again."""
    name = named(way)
    problem = ConvProblem.parse(f"conv2d,n5,c2,9x9,k3,3x3,p1,{layout}float32")
    x, weight, bias, residual = drawn(problem)
    clean = convolve(device, problem, name, x, weight, bias, residual)
    at = (0, 4) if not layout else (4, 0)
    x[1].reshape(-1)[37] = np.nan
    x[3][at] = np.inf
    x[4][at] = -np.inf
    y = convolve(device, problem, name, x, weight, bias, residual)
    with np.errstate(invalid="ignore"):
        wanted = expected(problem, x, weight, bias, residual)
    np.testing.assert_array_equal(places(y), places(wanted))
    finite = np.isfinite(wanted)
    np.testing.assert_allclose(y[finite], wanted[finite], rtol=0, atol=1e-5)
    np.testing.assert_array_equal(y[[0, 2]], clean[[0, 2]])


@ways
def test_finite_images_are_not_computed_again(way, named, interpreting):
    """Marks begin cleared, whatever was in memory. Sums in another order are rounded otherwise."""
    name = named(way)
    problem = ConvProblem.parse("conv2d,n2,c4,9x9,k3,3x3,p1,float32")
    x, weight, *_ = drawn(problem)
    marked = x.copy()
    marked[1, 0, 0, 0] = np.nan
    exact = convolve(interpreting, problem, "direct", x, weight)
    y = convolve(interpreting, problem, name, marked, weight)
    np.testing.assert_array_equal(y[1, :, 2:, 2:], exact[1, :, 2:, 2:])
    assert (convolve(interpreting, problem, name, x, weight) != exact).any(axis=(1, 2, 3)).all()
    assert (y[0] != exact[0]).any()


def test_sums_that_overflow_on_the_way(device):
    """Of numbers this large, a difference is none: the transform overflows, the sum does not."""
    problem = ConvProblem.parse("conv2d,n1,c1,7x7,k1,3x3,float32")
    x = np.where(np.indices((7, 7)).sum(axis=0) % 2, -3e38, 3e38).astype(np.float32)[None, None]
    weight = np.full((1, 1, 3, 3), 1e-3, np.float32)
    y = convolve(device, problem, "winograd_4x4", x, weight)
    np.testing.assert_allclose(y, expected(problem, x, weight), rtol=1e-5)


def test_weights_that_are_not_finite(device):
    problem = ConvProblem.parse("conv2d,n2,c2,5x7,k3,3x3,p1,float32")
    x, weight, *_ = drawn(problem)
    weight[1, 0, 0, 0] = np.inf
    y = convolve(device, problem, "winograd_2x2", x, weight)
    with np.errstate(invalid="ignore"):
        wanted = expected(problem, x, weight)
    np.testing.assert_array_equal(places(y), places(wanted))
    assert np.isfinite(y[:, [0, 2]]).all()


# ------------------------------------------------------------------------------------ policy


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("conv2d,n1,c4,8x8,k4,3x3,s3,float32", "winograd_4x4 computes strides of at most 2, not 3x3"),
        ("conv2d,n1,c4,8x8,k4,3x3,s2,d2,float32", "winograd_4x4 computes a stride without dilation, not 2 with 2"),
        ("conv2d,n1,c4,8x8,k4,5x5,s2,float64", "computes tiles of at most 648 bytes on a device, not 11x11 elements"),
        ("conv3d,n1,c2,8x8x8,k2,3x3x3,float32", "one and two dimensions, not three"),
        ("conv2d,n1,c4,8x8,k4,1x1,float32", "needs a kernel of more than one element"),
        ("conv2d,n1,c4,9x9,k4,6x6,float32", "kernels of at most 5 elements along an axis, not 6"),
        ("conv2d,n1,c4,9x9,k4,3x3,int32", "computes float32 and float64 on a device, not int32"),
        ("conv2d,n1,c2000,9x9,k2000,3x3,g2000,float32", "takes at most 1820 groups on a device, not 2000"),
    ],
)
def test_what_no_kernel_computes_is_refused(text, reason, compiler):
    from fastconv.cuda.winograd import Winograd

    assert reason in Winograd(4).supports(ConvProblem.parse(text))


VGG = [
    f"conv2d,n{batch},c{channels},{size}x{size},k{filters},3x3,p1,float32"
    for channels, filters, size in [(64, 64, 224), (128, 128, 112), (256, 256, 56), (512, 512, 28), (512, 512, 14)]
    for batch in (1, 32)
]


@pytest.mark.parametrize("outputs", [2, 4])
@pytest.mark.parametrize("text", VGG)
def test_the_workspace_is_bounded(text, outputs, named):
    from fastconv.cuda import winograd_plan

    named(NAMES[0])  # the fused one has no tiles and products there
    divided = winograd_plan.divide(ConvProblem.parse(text), outputs)
    u, v, m = (4 * count for count in divided.elements)
    assert v + m <= winograd_plan.MOST_SCRATCH
    assert 16 / 9 * 4 * np.prod(divided.problem.weight_shape) <= u
    assert sum(tiles for _, tiles in divided.blocks) == divided.tiles
    assert {tiles for _, tiles in divided.blocks[:-1]} <= {divided.block_tiles}


@ways
def test_the_plan_takes_the_workspace_that_is_said(way, named, interpreting):
    from fastconv.cuda import plan, table

    name = named(way)

    problem = ConvProblem.parse("conv2d,n3,c6,9x9,k8,3x3,p1,float32")
    (entry,) = (entry for entry in table.TABLE if entry.name == name)
    made = entry.plan(problem, None, plan.target(0))
    assert made.packed + made.workspace == entry.workspace(problem, interpreting.figures)


def test_the_error_bound_is_that_of_sums_over_all_channels(compiler):
    from fastconv.cuda.winograd import Winograd

    found = Winograd(4).error_bound(ConvProblem.parse("conv2d,n1,c96,9x9,k8,3x3,g2,float64"))
    assert found == relative_error(((4, 3), (4, 3)), 48, "float64")

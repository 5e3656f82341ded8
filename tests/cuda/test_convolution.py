"""Convolutions on a device: every kernel's PTX against the reference, and what the machine code is made of."""

from __future__ import annotations

import numpy as np
import pytest
from machine_code import machine_code
from variants import VARIANTS

import fastconv
from fastconv.problem import ConvProblem

LIMITS = {"float32": 1e-6, "float64": 1e-14}  # relative error in the 2-norm

# Each has something that is odd: sizes, strides, padding, groups, ranks.
DIRECT = [
    ("conv2d,n2,c3,7x9,k5,3x3,p1,float32", None),
    ("conv2d,n2,c4,7x9,k6,3x2,s2x1,p1:0x2,d2x1,g2,flip,channels_last,float32", "gelu"),
    ("conv1d,n1,c4,17,k4,5,p2,g4,float64", "relu"),
    ("conv3d,n1,c2,4x5x3,k3,2x3x2,p1,float32", "sigmoid"),
    *[("conv2d,n1,c1,5x5,k1,3x3,float32", name) for name in ("tanh", "silu", "hardswish")],
]

# Problem, activation, tile, splits. Kernels without an activation are those of `VARIANTS`, which are compiled once;
# where sums are split, another kernel applies it.
IM2COL = [
    ("conv2d,n3,c11,9x8,k37,3x3,s2,p2,d2,float32", None, 0, 1),
    ("conv2d,n2,c12,9x7,k37,3x3,p1,channels_last,float32", None, 0, 1),
    ("conv3d,n2,c6,4x5x6,k10,2x3x2,p1x0x1:0,g2,flip,float32", None, 1, 1),
    ("conv2d,n2,c16,9x9,k6,3x3,p1,g2,channels_last,float32", "relu6", 1, 2),
    ("conv2d,n1,c25,6x6,k33,1x1,s2,float32", "leaky_relu", 2, 2),
    ("conv2d,n1,c7,9x17,k20,3x3,p1,channels_last,float32", None, 2, 1),
    # A buffer's steps of one tap: a thread loads several by one entry of the table, of one column or of two.
    ("conv2d,n2,c16,9x8,k37,3x3,p2x1:0,float32", None, 0, 1),
    ("conv2d,n2,c16,9x17,k20,3x3,p1,float32", None, 2, 1),
    ("conv1d,n3,c8,30,k9,5,p2,d2,channels_last,float64", None, 0, 1),
    ("conv2d,n1,c3,6x6,k5,3x3,float64", "silu", 0, 1),
    ("conv2d,n1,c8,6x6,k5,3x3,p1,float64", None, 0, 1),
]


def drawn(problem, random):
    """Return x, weight, bias and residual."""
    shapes = problem.input_shape, problem.weight_shape, (problem.filters,), problem.output_shape
    return [random.uniform(-1, 1, shape).astype(problem.dtype) for shape in shapes]


def expected(problem, x, weight, bias=None, residual=None, activation=None):
    """Return the result of the definition, in float64."""
    operands = [None if each is None else each.astype(np.float64) for each in (x, weight, bias, residual)]
    x, weight, bias, residual = operands
    return called(problem, x, weight, bias, residual=residual, activation=activation, algorithm="reference")


def called(problem, *operands, **arguments):
    return getattr(fastconv, f"conv{problem.rank}d")(*operands, **problem.arguments(), **arguments)


def check(device, text, algorithm, activation):
    """Compare with the reference, with a bias and a residual."""
    problem = ConvProblem.parse(text)
    x, weight, bias, residual = drawn(problem, np.random.default_rng(0))
    wanted = expected(problem, x, weight, bias, residual, activation)
    on_device = [device.array(each) for each in (x, weight, bias, residual)]
    found = called(problem, *on_device[:3], residual=on_device[3], activation=activation, algorithm=algorithm)
    y = device.numpy(found)
    assert y.dtype == problem.dtype
    assert np.linalg.norm(y - wanted) <= LIMITS[problem.dtype] * np.linalg.norm(wanted)


@pytest.fixture
def divided(compiler, monkeypatch):
    """Let im2col divide in a given way, whatever would take the least time."""
    from fastconv.cuda import im2col

    tiles = dict(im2col.TILES)

    def divide(dtype, tile, splits=1):
        im2col.divide.cache_clear()
        monkeypatch.setitem(im2col.TILES, dtype, (tiles[dtype][tile],))
        monkeypatch.setattr(im2col, "SPLITS", (splits,))
        monkeypatch.setattr(im2col, "LEAST_TILES", 1)

    return divide


@pytest.mark.parametrize(("text", "activation"), DIRECT)
def test_direct(text, activation, device):
    check(device, text, "direct", activation)


@pytest.mark.parametrize(("text", "activation", "tile", "splits"), IM2COL)
def test_im2col(text, activation, tile, splits, divided, device):
    divided(ConvProblem.parse(text).dtype, tile, splits)
    check(device, text, "im2col", activation)


def test_no_bias_no_residual_no_batch_axis(device):
    x, weight = np.arange(9.0).reshape(1, 3, 3), np.ones((1, 1, 2, 2))
    y = device.numpy(fastconv.conv2d(device.array(x), device.array(weight), algorithm="direct"))
    np.testing.assert_array_equal(y, [[[8.0, 12.0], [20.0, 24.0]]])


def test_any_strides(device):
    """Views are read and written as they lie; what lies between the elements of `out` stays."""
    random = np.random.default_rng(0)
    base, weight = random.uniform(-1, 1, (2, 6, 5, 4)), random.uniform(-1, 1, (3, 4, 3, 3))
    x, out = device.transposed(device.array(base), 0, 3, 1, 2), device.array(np.zeros((2, 6, 6, 5)))
    found = fastconv.conv2d(x, device.array(weight), padding=1, algorithm="direct", out=out[:, ::2])
    wanted = fastconv.conv2d(base.transpose(0, 3, 1, 2), weight, padding=1, algorithm="reference")
    np.testing.assert_allclose(device.numpy(found), wanted, rtol=1e-12)
    np.testing.assert_allclose(device.numpy(out)[:, ::2], wanted, rtol=1e-12)
    assert not device.numpy(out)[:, 1::2].any()


def test_out_overlaps_an_argument(device):
    random = np.random.default_rng(0)
    base, weight = random.uniform(-1, 1, (1, 2, 5, 5)), random.uniform(-1, 1, (2, 2, 3, 3))
    x = device.array(base)
    assert fastconv.conv2d(x, device.array(weight), padding=1, algorithm="direct", out=x) is x
    wanted = fastconv.conv2d(base, weight, padding=1, algorithm="reference")
    np.testing.assert_allclose(device.numpy(x), wanted, rtol=1e-12)


def test_an_empty_batch(device):
    x, weight = np.zeros((0, 2, 5, 5), np.float32), np.zeros((3, 2, 3, 3), np.float32)
    assert device.numpy(fastconv.conv2d(device.array(x), device.array(weight))).shape == (0, 3, 3, 3)


def test_nan_stays_where_it_is(device):
    x, weight = np.zeros((1, 1, 6, 6), np.float32), np.ones((1, 1, 3, 3), np.float32)
    x[0, 0, 1, 1] = np.nan
    y = device.numpy(fastconv.conv2d(device.array(x), device.array(weight), activation="relu"))
    np.testing.assert_array_equal(np.isnan(y[0, 0]), np.pad(np.ones((2, 2), bool), ((0, 2), (0, 2))))


@pytest.mark.parametrize("name", ["direct", "im2col"])
def test_infinite_weights_make_nan_of_the_padding(name, device):
    x, weight = np.ones((1, 1, 3, 3), np.float32), np.ones((1, 1, 3, 3), np.float32)
    weight[0, 0, 0, 0] = np.inf
    y = device.numpy(fastconv.conv2d(device.array(x), device.array(weight), padding=1, algorithm=name))
    nan, inf = np.nan, np.inf
    np.testing.assert_array_equal(y[0, 0], [[nan, nan, nan], [nan, inf, inf], [nan, inf, inf]])


def test_what_a_device_refuses(interpreting):
    array = interpreting.array
    x, weight = np.ones((1, 2, 5, 5), np.float32), np.ones((3, 2, 3, 3), np.float32)
    with pytest.raises(TypeError, match="weight must have the type of x, float32, on a device, got float64"):
        fastconv.conv2d(array(x), array(weight.astype(np.float64)))
    with pytest.raises(ValueError, match=r"bias must have shape \(3,\), got \(4,\)"):
        fastconv.conv2d(array(x), array(weight), array(np.ones(4, np.float32)))
    with pytest.raises(ValueError, match=r"out must have shape \(1, 3, 3, 3\), got \(1, 3, 3, 4\)"):
        fastconv.conv2d(array(x), array(weight), out=array(np.ones((1, 3, 3, 4), np.float32)))
    with pytest.raises(
        fastconv.UnsupportedError, match="computes float16, bfloat16, float32 and float64 on a device, not int32"
    ):
        fastconv.conv2d(array(x.astype(np.int32)), array(weight.astype(np.int32)), algorithm="direct")
    with pytest.raises(ValueError, match="algorithm must be one of auto, direct, "):
        fastconv.conv2d(array(x), array(weight), algorithm="fastest")
    with pytest.raises(fastconv.UnsupportedError, match="im2col takes kernels whose sizes add up to 30 at most"):
        fastconv.conv2d(array(np.ones((1, 1, 31, 31))), array(np.ones((1, 1, 31, 31))), padding=1, algorithm="im2col")


def test_a_call_seen_before_is_launched_again(interpreting):
    x, weight = (interpreting.array(np.ones(shape)) for shape in ((1, 1, 4, 4), (1, 1, 3, 3)))
    first = interpreting.numpy(fastconv.conv2d(x, weight, algorithm="direct"))
    x[...] = 2.0
    second = interpreting.numpy(fastconv.conv2d(x, weight, algorithm="direct"))
    np.testing.assert_array_equal(second, 2 * first)
    (one, other) = interpreting.launches
    assert one == other
    assert one.stream == 7


@pytest.mark.parametrize(("text", "name"), [
    ("conv2d,n32,c64,224x224,k64,3x3,p1,float32", "winograd_2x2"),  # the bound of 4x4 is above the tolerance
    ("conv2d,n32,c256,56x56,k256,3x3,p1,float32", "fft"),  # likewise; where there are channels enough
    ("conv2d,n32,c256,56x56,k256,3x3,s2,p1,float32", "winograd_4x4"),  # 81 products where there were 144
    ("conv2d,n32,c64,56x56,k64,3x3,p1,float64", "winograd_4x4"),
    ("conv2d,n1,c512,7x7,k512,3x3,p1,float32", "im2col"),
    ("conv2d,n8,c64,56x56,k64,31x31,p15,float32", "fft"),
    ("conv2d,n1,c2,8x8,k2,3x3,float32", "direct"),
])  # fmt: skip
def test_choice(text, name, compiler):
    from fastconv import selection
    from fastconv.cuda.driver import Device
    from fastconv.cuda.place import DevicePlace

    assert selection.chosen(ConvProblem.parse(text), 1e-5, place=DevicePlace(0, Device())).name == name


def test_small_grids_are_split(compiler):
    from fastconv.cuda import im2col
    from fastconv.cuda.driver import Device

    def division(text):
        found = im2col.divide(ConvProblem.parse(text), Device())
        return found.tile.filters, found.tile.pixels, found.splits

    assert division("conv2d,n32,c256,112x112,k256,3x3,p1,float32") == (128, 128, 1)
    assert division("conv2d,n1,c512,7x7,k512,3x3,p1,float32")[2] > 4
    assert division("conv2d,n32,c64,56x56,k24,1x1,float32")[:2] == (32, 128)


def test_a_division_is_made_once_and_for_the_device_that_computes(compiler, monkeypatch):
    from fastconv.cuda import im2col
    from fastconv.cuda.driver import Device
    from fastconv.cuda.place import DevicePlace

    small, large = Device(multiprocessors=8), Device()
    problem = ConvProblem.parse("conv2d,n1,c512,14x14,k512,3x3,p1,float32")
    divided = [im2col.divide(problem, device) for device in (small, large)]
    assert divided[0].splits < divided[1].splits
    (entry,) = [entry for entry in DevicePlace(0, small).entries(problem) if entry.name == "im2col"]
    for device, one in zip((small, large), divided, strict=True):
        place = DevicePlace(0, device)
        assert place.workspace(entry, problem) == one.packed + one.parts
    made = []
    monkeypatch.setattr(im2col, "_best", lambda *arguments: made.append(arguments))
    with fastconv.options(workspace_limit=1 << 30):
        fastconv.selection.chosen(problem, 1e-5, place=DevicePlace(0, small))
    assert not made


def test_an_image_alone_and_in_a_batch(interpreting):
    from fastconv.cuda import im2col
    from fastconv.cuda.driver import Device

    one, many = (ConvProblem.parse(f"conv2d,n{batch},c32,6x6,k8,3x3,p1,float32") for batch in (1, 40))
    assert im2col.divide(one, Device()).splits == im2col.divide(many, Device()).splits > 1
    random = np.random.default_rng(0)
    x, weight = (random.standard_normal(shape).astype("f4") for shape in (many.input_shape, many.weight_shape))

    def convolve(images):
        y = fastconv.conv2d(interpreting.array(images), interpreting.array(weight), padding=1, algorithm="im2col")
        return interpreting.numpy(y)

    np.testing.assert_array_equal(convolve(x[7:8]), convolve(x)[7:8])


# For the older device those of the tiles that most layers take: each takes seconds to compile.
@pytest.mark.parametrize(("capability", "variant"), [
    (capability, variant) for variant in VARIANTS for capability in ((9, 0), (8, 0))
    if capability == (9, 0) or (variant.tile < 2 and "float64" not in variant.problem)
], ids=str)  # fmt: skip
def test_machine_code(capability, variant, divided, codes_of):
    problem = ConvProblem.parse(variant.problem)
    divided(problem.dtype, variant.tile)
    codes = [machine_code(one.machine_code) for one in codes_of(problem, capability, variant.algorithm)]
    for code in codes:
        assert code.stack == 0
        assert code.local_accesses == 0
        if problem.dtype == "float32":
            assert code.doubles == 0
    code = max(codes, key=lambda one: one.share("FFMA", "DFMA"))  # others prepare its operands, or end what it began
    assert code.share("FFMA", "DFMA") >= variant.share
    most = {"float32": (128, 168, 168), "float64": (255,)}[problem.dtype]
    assert code.registers <= (variant.registers or most[variant.tile])
    if variant.algorithm == "im2col" and problem.dtype == "float32":
        loads = code.widths("LDG")
        assert loads[128] >= (2 if problem.layout == "channels_last" and problem.channels % 4 == 0 else 1)
        assert set(code.widths("LDS")) <= {32, 128}

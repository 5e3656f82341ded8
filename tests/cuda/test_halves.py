"""float16 and bfloat16 on a device: stored so, computed with as float32, and rounded once."""

from __future__ import annotations

import numpy as np
import pytest
from interpreter.conversions import from_bfloat16, to_bfloat16
from machine_code import machine_code

import fastconv
from fastconv.problem import parse

ROUNDING = {"float16": 2.0**-11, "bfloat16": 2.0**-8}  # of one number, relative

# Algorithm and problem; each has something that is odd, and im2col the least of its tiles.
CONVOLUTIONS = [
    ("direct", "conv2d,n2,c3,7x9,k5,3x3,s2,p1"),
    ("im2col", "conv2d,n2,c12,9x7,k9,3x3,p1,channels_last"),  # four channels at once
    ("im2col", "conv2d,n1,c25,6x6,k33,1x1,s2"),
    ("fft", "conv2d,n2,c3,9x8,k3,3x3,p1"),
    ("implicit_gemm_mma", "conv2d,n2,c12,9x7,k9,3x3,p1,channels_last"),  # four channels at once
    ("implicit_gemm_mma", "conv2d,n1,c25,6x6,k33,1x1,s2"),  # after a transposition, one channel at once
    ("depthwise", "conv2d,n2,c3,9x8,k6,3x3,s2,p1,g3,channels_last"),  # strips
    ("depthwise", "conv2d,n1,c3,9x20,k3,7x7,p3,g3"),  # tiles
    ("depthwise", "conv2d,n1,c3,9x20,k3,7x7,p3,g3,channels_last"),  # runs, of transposed weights
    ("im2col", "conv2d,n1,c16,6x7,k9,3x3,p1"),  # eight channels of one tap
]

POOLINGS = [
    "max_pool2d,n2,c3,13x11,3x3,s2,p1",
    "max_pool2d,n2,c3,9x8,3x2,s2,p1,d2,indices",
    "max_pool2d,n1,c5,20x20,20x20",
    "avg_pool2d,n2,c3,10x11,3x3,s2,p1,ceil",
    "avg_pool2d,n3,c5,5x7,5x7",
    "lp_pool2d,n1,c3,10x11,3x3,s2,norm3",
]


@pytest.fixture(params=ROUNDING)
def dtype(request):
    return request.param


@pytest.fixture
def made(dtype, interpreting):
    """Return an array on the device, and what it holds in float64."""

    def make(values):
        values = np.asarray(values, np.float32)
        array = interpreting.bfloat16(values) if dtype == "bfloat16" else interpreting.array(values.astype(dtype))
        assert array.name == dtype
        return array, interpreting.numpy(array).astype(np.float64)

    return make


@pytest.fixture
def least_tile(compiler, monkeypatch):
    """The tile that compiles in the least time."""
    from fastconv.cuda import im2col, implicit_gemm_mma

    def divide(splits=1):
        implicit_gemm_mma.divide.cache_clear()
        monkeypatch.setattr(implicit_gemm_mma, "TILES", (implicit_gemm_mma.TILES[-1],))
        monkeypatch.setitem(im2col.TILES, "float32", (im2col.TILES["float32"][-1],))
        monkeypatch.setattr(im2col, "SPLITS", (splits,))
        monkeypatch.setattr(im2col, "LEAST_TILES", 1)

    return divide


def check(found, wanted, dtype):
    """Compare with the exact result: each number may be rounded once, and sums of float32 a little before."""
    assert np.all(np.abs(found - wanted) <= 1.001 * ROUNDING[dtype] * np.abs(wanted) + 1e-6 * np.abs(wanted).max())


def convolved(problem, made, interpreting, algorithm):
    random = np.random.default_rng(0)
    shapes = problem.input_shape, problem.weight_shape, (problem.filters,), problem.output_shape
    (x, weight, bias, residual), exact = zip(*(made(random.uniform(-1, 1, shape)) for shape in shapes), strict=True)
    function = getattr(fastconv, f"conv{problem.rank}d")
    arguments = {**problem.arguments(), "activation": "relu"}
    wanted = function(*exact[:3], residual=exact[3], algorithm="reference", **arguments)
    found = function(x, weight, bias, residual=residual, algorithm=algorithm, **arguments)
    assert found.name == problem.dtype
    check(interpreting.numpy(found), wanted, problem.dtype)


@pytest.mark.parametrize(("algorithm", "text"), CONVOLUTIONS)
def test_convolutions(algorithm, text, dtype, made, interpreting, least_tile):
    least_tile()
    convolved(parse(f"{text},{dtype}"), made, interpreting, algorithm)


def test_split_sums_are_of_float32(dtype, made, interpreting, least_tile):
    least_tile(splits=2)
    convolved(parse(f"conv2d,n1,c25,6x6,k9,1x1,{dtype}"), made, interpreting, "im2col")
    assert [launch.name for launch in interpreting.launches][-1] == "fastconv_reduce"


def test_sums_are_rounded_once_to_the_nearest_even(made, interpreting, dtype):
    large = 2048.0 if dtype == "float16" else 256.0  # the next number is two more
    x, _ = made([[[large, 1, 1, 0, 1]]])
    weight, _ = made(np.ones((1, 1, 3)))
    y = interpreting.numpy(fastconv.conv1d(x, weight, algorithm="direct"))
    assert y.tolist() == [[[large + 2, 2, 2]]]
    two, _ = made(np.ones((1, 1, 2)))
    assert interpreting.numpy(fastconv.conv1d(x, two, algorithm="direct"))[0, 0, 0] == large  # a tie


def test_beyond_the_largest_is_infinity_and_nan_is_nan(made, interpreting, dtype):
    largest = 65504.0 if dtype == "float16" else 3.3895313892515355e38
    x, _ = made([[[largest, largest, np.nan, 1]]])
    weight, _ = made(np.ones((1, 1, 2)))
    y = interpreting.numpy(fastconv.conv1d(x, weight, algorithm="direct"))
    np.testing.assert_array_equal(y, [[[np.inf, np.nan, np.nan]]])


@pytest.mark.parametrize("text", POOLINGS)
def test_poolings(text, dtype, made, interpreting):
    problem = parse(f"{text},{dtype}")
    random = np.random.default_rng(0)
    x, exact = made(random.standard_normal(problem.input_shape) - 3)
    if problem.maxima:
        x[0, 0, 1, 1] = to_bfloat16(np.float32(np.nan)) if dtype == "bfloat16" else np.nan
        exact[0, 0, 1, 1] = np.nan
    function = getattr(fastconv, f"{problem.operation}{problem.rank}d")
    wanted = function(exact, algorithm="reference", **problem.arguments())
    found = function(x, **problem.arguments())
    if problem.indices:
        np.testing.assert_array_equal(interpreting.numpy(found[1]), wanted[1])
        found, wanted = found[0], wanted[0]
    assert found.name == dtype
    if problem.maxima:
        np.testing.assert_array_equal(interpreting.numpy(found), wanted)
    else:
        check(interpreting.numpy(found), wanted, dtype)


def test_the_choice_and_a_layer(dtype, made, interpreting):
    random = np.random.default_rng(0)
    (x, exact), (weight, factors) = (made(random.uniform(-1, 1, shape)) for shape in ((2, 3, 8, 8), (4, 3, 3, 3)))
    wanted = fastconv.conv2d(exact, factors, padding=1, algorithm="reference")
    check(interpreting.numpy(fastconv.conv2d(x, weight, padding=1)), wanted, dtype)
    layer = fastconv.Conv2d(weight, padding=1)
    check(interpreting.numpy(layer(x)), wanted, dtype)
    assert dtype in repr(layer)
    assert layer.nbytes >= 2 * weight.numpy().size


def test_types_do_not_mix(interpreting):
    ones = np.ones((1, 1, 3), np.float32)
    with pytest.raises(TypeError, match="weight must have the type of x, bfloat16, on a device, got float16"):
        fastconv.conv1d(interpreting.bfloat16(ones), interpreting.array(ones.astype(np.float16)))


def test_conversions_of_the_interpreter():
    numbers = np.array([1, 257, 259, -0.0, np.inf, 1e-40], np.float32)  # 257 and 259 are ties
    assert from_bfloat16(to_bfloat16(numbers)).tolist()[:5] == [1, 256, 260, 0, np.inf]


# Widths of loads from global memory, in bits: elements have 16, four channels 64, packed weights of float32 128.
WIDTHS = {"im2col": {16, 64, 128}, "implicit_gemm_mma": {16, 64}}
CODE = [(name, text, WIDTHS.get(name, {16})) for name, text in CONVOLUTIONS] + [
    ("auto", text, {16}) for text in POOLINGS
]


# Each with both types and for both capabilities; with all pairs of them, of algorithms that have several.
PAIRS = (
    (("float16", (8, 0)), ("bfloat16", (9, 0))),
    (("float16", (9, 0)), ("bfloat16", (8, 0))),
)


@pytest.mark.parametrize(("name", "text", "widths", "dtype", "capability"), [
    (*case, *pair) for number, case in enumerate(CODE) for pair in PAIRS[number % 2]
], ids=str)  # fmt: skip
def test_machine_code(name, text, widths, capability, dtype, codes_of, least_tile):
    least_tile()
    activation = "relu" if text.startswith("conv") else None  # as above, so that kernels are compiled once
    code = machine_code(codes_of(parse(f"{text},{dtype}"), capability, name, activation)[-1].machine_code)
    assert (code.local_accesses, code.stack, code.doubles) == (0, 0, 0)
    assert set(code.widths("LDG")) <= widths
    if name == "im2col":
        assert code.widths("LDG")[128] >= 1

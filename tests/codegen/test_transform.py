"""Transforms of vectors against their matrices in exact numbers, wherever the tiles lie, and nothing beside them."""

from __future__ import annotations

import ctypes
import itertools
import math
from fractions import Fraction

import llvmlite.binding as llvm
import numpy as np
import pytest

from fastconv import config
from fastconv.codegen import target as targets
from fastconv.codegen import transform
from fastconv.codegen.cook_toom import transforms
from fastconv.codegen.transform import INPUT, OUTPUT, WEIGHT, Codelet
from fastconv.codegen.winograd_tile import LARGEST_TILE, LONGEST_TILE, NONE, Axis

UNTOUCHED = 77
ALONE = [Axis(m, r) for m in (2, 3, 4, 6) for r in range(2, LONGEST_TILE + 2 - m)]
NESTED = [axis for axis in ALONE if axis.inputs <= LARGEST_TILE]
STRIDED = [Axis(m, r, 2) for m, r in ((2, 2), (2, 3), (3, 3), (4, 3), (2, 5), (4, 5), (2, 7), (3, 7))]
AXES = [
    *((axis, axis) for axis in NESTED),
    *((axis, NONE) for axis in ALONE),
    *((NONE, axis) for axis in ALONE),
    *((axis, axis) for axis in STRIDED),
    (Axis(2, 2), Axis(2, 7)),
    (Axis(4, 5), Axis(4, 3)),
    (Axis(6, 2), Axis(6, 3)),
    (Axis(4, 3), Axis(4, 3, 2)),
    (Axis(2, 3, 2), Axis(2, 5)),
    (Axis(4, 3, 2), Axis(1, 1, 2)),
]


@pytest.fixture
def set_vector_bits():
    """`config.set_vector_bits`; the processor's own are put back afterwards."""
    yield config.set_vector_bits
    config.set_vector_bits(None)


matrices = pytest.mark.parametrize("matrix", [INPUT, WEIGHT, OUTPUT])


def name_of(axes):
    return "-".join(f"F({m},{r})" + f"/{stride}" * (stride > 1) for m, r, stride in axes)


# ------------------------------------------------------------------------------------ by hand


def run(codelet, source, result):
    """Transform tiles: both arrays are [row of tiles][tile][row][column][lane], with any strides."""
    slots = (ctypes.c_int64 * transform.OPERANDS)()
    operands = {
        "FROM": source.ctypes.data, "TO": result.ctypes.data, "OUTER": source.shape[0], "COUNT": source.shape[1],
        **dict(zip(("FROM_OUTER", "FROM_STEP", "IN_ROW", "IN_COLUMN"), source.strides, strict=False)),
        **dict(zip(("TO_OUTER", "TO_STEP", "OUT_ROW", "OUT_COLUMN"), result.strides, strict=False)),
    }  # fmt: skip
    for name, value in operands.items():
        slots[getattr(transform, name)] = value
    ctypes.CFUNCTYPE(None, ctypes.c_void_p)(transform.address(codelet))(ctypes.addressof(slots))


@pytest.mark.usefixtures("vector_bits")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_f23_along_columns_by_hand(dtype):
    """d0 - d2, d1 + d2, d2 - d1, d3 - d1; each lane by itself."""
    lanes = targets.current().lanes(dtype)
    lane = np.arange(lanes)
    source = np.array([10 + lane, 20 + 0 * lane, 300 * lane, 4000 + lane], dtype)
    result = np.empty((4, lanes), dtype)
    run(Codelet(dtype, INPUT, NONE, Axis(2, 3)), source[None, None, None], result[None, None, None])
    expected = 10 + lane - 300 * lane, 20 + 300 * lane, 300 * lane - 20, 4000 + lane - 20
    np.testing.assert_array_equal(result, expected)


@pytest.mark.usefixtures("vector_bits")
def test_rows_are_not_columns():
    """F(2, 2) of the output is (M0 + M1, M1 + M2), of 2 x 1 results from 3 x 1 products and of 1 x 2 from 1 x 3."""
    lanes = targets.current().lanes("float32")
    (first, second, third), result = np.float32([[1], [20], [300]]) * np.ones(lanes, "f4"), np.empty((2, lanes), "f4")
    matrix = transforms(2, 2).output
    assert [[int(value) for value in row] for row in matrix] == [[1, 1, 0], [0, 1, 1]]
    source = np.stack([first, second, third])
    run(Codelet("float32", OUTPUT, Axis(2, 2), NONE), source[None, None, :, None], result[None, None, :, None])
    assert (result == [[21], [320]]).all()
    result[:] = 0
    run(Codelet("float32", OUTPUT, NONE, Axis(2, 2)), source[None, None, None], result[None, None, None])
    assert (result == [[21], [320]]).all()


# ---------------------------------------------------------------- all that Winograd's convolution uses


def whole(matrix):
    """Return a matrix as Python integers, and what they are to be divided by."""
    divisor = math.lcm(*(value.denominator for row in matrix for value in row))
    return np.array([[int(value * divisor) for value in row] for row in matrix], object), divisor


def product(a, x, b):
    """A X B^T of each tile in `x`, [..., row, column, lane], of any type."""
    along_rows = np.tensordot(a, x, (1, -3))  # [row of the result, ..., column, lane]
    return np.moveaxis(np.tensordot(b, along_rows, (1, -2)), (1, 0), (-3, -2))


def exact(codelet, x):
    """Return what integers are transformed to, and the same with every term positive: the scale of an error."""
    (a, p), (b, q) = (whole(getattr(transforms(*axis), codelet.matrix)) for axis in (codelet.rows, codelet.columns))
    x = np.vectorize(int, otypes=[object])(x)
    divide = np.vectorize(lambda value: float(Fraction(value, p * q)), otypes=[float])
    return divide(product(a, x, b)), divide(product(abs(a), abs(x), abs(b)))


def laid(shape, dtype, random):
    """An array of the shape somewhere in a larger one, its axes (but lanes) in any order and direction."""
    axes = random.permutation(len(shape) - 1)
    around = np.full([shape[axis] + random.integers(0, 3) for axis in axes] + [shape[-1]], UNTOUCHED, dtype)
    inside = around.transpose(*np.argsort(axes), len(axes))
    inside = inside[tuple(slice(more := int(random.integers(0, n - size + 1)), more + size)
                          for n, size in zip(inside.shape, shape, strict=True))]  # fmt: skip
    return around, inside[tuple(slice(None, None, int(random.choice([1, -1]))) for _ in axes)]


def check(codelet, outer, count, seed):
    """Transform tiles that lie anywhere, and look at every element of the memory around the results."""
    random = np.random.default_rng(seed)
    lanes = targets.current().lanes(codelet.dtype)
    rows, columns = codelet.programs()
    _, source = laid((outer, count, rows.inputs, columns.inputs, lanes), codelet.dtype, random)
    source[...] = random.integers(-9, 10, source.shape)
    around, result = laid((outer, count, len(rows.outputs), len(columns.outputs), lanes), codelet.dtype, random)
    run(codelet, source, result)
    expected, scale = exact(codelet, source)
    error = np.abs(result - expected)
    assert (error <= 2 * np.finfo(codelet.dtype).eps * scale).all()
    result[...] = UNTOUCHED
    assert (around == UNTOUCHED).all()


@matrices
@pytest.mark.parametrize("axes", AXES, ids=name_of)
def test_transforms_of_tiles_anywhere(set_vector_bits, axes, matrix):
    """Each is compiled: for two of the six widths of vectors and types, one after the other."""
    place = AXES.index(axes)
    kinds = list(itertools.product(("float32", "float64"), config.VECTOR_BITS))
    for dtype, bits in (kinds[place % 6], kinds[(place + 4) % 6]):
        set_vector_bits(bits)
        check(Codelet(dtype, matrix, *axes), outer=1 + place % 3, count=3 - place % 3, seed=place)


@pytest.mark.usefixtures("vector_bits")
@matrices
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_any_number_of_tiles(dtype, matrix):
    """None at all among them."""
    for outer, count, seed in itertools.product(range(3), range(4), range(3)):
        check(Codelet(dtype, matrix, Axis(2, 3), Axis(2, 3)), outer, count, seed)


@pytest.mark.usefixtures("vector_bits")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_tiles_of_an_input_overlap(dtype):
    """Those of F(2 x 2, 3 x 3) begin at every second pixel: read in place, four times each."""
    lanes = targets.current().lanes(dtype)
    image = np.random.default_rng(0).integers(-9, 10, (8, 10, lanes)).astype(dtype)
    windows = np.lib.stride_tricks.sliding_window_view(image, (4, 4), (0, 1))[::2, ::2]  # [row][tile][lane][4][4]
    tiles = windows.transpose(0, 1, 3, 4, 2)
    assert tiles.strides[:2] == tuple(2 * stride for stride in image.strides[:2])
    codelet, result = Codelet(dtype, INPUT, Axis(2, 3), Axis(2, 3)), np.empty(tiles.shape, dtype)
    run(codelet, tiles, result)
    expected, _ = exact(codelet, tiles)
    np.testing.assert_array_equal(result, expected)  # sums of small integers


@pytest.mark.parametrize("axis", NESTED, ids=lambda axis: f"F({axis[0]},{axis[1]})")
def test_one_axis_after_the_other_is_both(axis):
    """Bit by bit, as both compute columns first."""
    lanes, n = targets.current().lanes("float32"), axis.inputs
    x = np.random.default_rng(n).standard_normal((1, 1, n, n, lanes), "f4")
    both, halfway, result = (np.empty_like(x) for _ in range(3))
    run(Codelet("float32", INPUT, axis, axis), x, both)
    columns_as_tiles, to = (array.transpose(0, 3, 2, 1, 4) for array in (x, halfway))
    run(Codelet("float32", INPUT, axis, NONE), columns_as_tiles, to)
    rows_as_tiles, to = (array.transpose(2, 0, 1, 3, 4) for array in (halfway, result))
    run(Codelet("float32", INPUT, NONE, axis), rows_as_tiles, to)
    np.testing.assert_array_equal(result, both)


# ---------------------------------------------------------------------------------- the code


def test_the_name_says_all():
    axes = [NONE, Axis(2, 3), Axis(4, 3), Axis(2, 5), Axis(2, 3, 2), Axis(4, 3, 2)]
    codelets = [Codelet(*one) for one in itertools.product(("float32", "float64"), (INPUT, WEIGHT, OUTPUT), axes, axes)]
    assert len({codelet.name for codelet in codelets}) == len(codelets)


@pytest.mark.usefixtures("vector_bits")
@matrices
def test_the_code_can_be_read_and_parsed(matrix):
    codelet = Codelet("float32", matrix, Axis(4, 3), Axis(4, 3))
    text = str(transform.emit(codelet, targets.current()))
    llvm.parse_assembly(text).verify()
    assert "tiles" in text

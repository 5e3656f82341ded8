"""Rows of tiles into lanes and back, and products, against NumPy."""

from __future__ import annotations

import ctypes
import itertools

import numpy as np
import pytest

from fastconv.codegen import spectrum as slot
from fastconv.codegen import target as targets
from fastconv.codegen.spectrum import LANE, SCALARS, VECTORS

pytestmark = pytest.mark.usefixtures("vector_bits")

dtypes = pytest.mark.parametrize("dtype", ["float32", "float64"])
columns_of_rows = pytest.mark.parametrize("columns", [1, 2, 7, 16, 33])


def call(function, *operands):
    slots = (ctypes.c_int64 * len(operands))(*operands)
    ctypes.CFUNCTYPE(None, ctypes.c_void_p)(function)(ctypes.addressof(slots))


def numbers(*shape, dtype):
    """Return whole numbers, whose sums are exact."""
    return np.random.default_rng(0).integers(-9, 10, shape).astype(dtype)


@dtypes
@columns_of_rows
@pytest.mark.parametrize("scaled", [False, True])
def test_gather(dtype, columns, scaled):
    """Row 2 of 2 L tiles that lie anywhere, the last one with a pitch of 0; maybe times a half."""
    lanes = targets.current().lanes(dtype)
    tiles = numbers(2 * lanes, 3, columns + 5, dtype=dtype)
    pitches = np.full(2 * lanes, tiles.strides[1])
    pitches[-1] = 0
    table = np.array([[tile.ctypes.data, pitch] for tile, pitch in zip(tiles, pitches, strict=True)], np.int64)
    line = np.full((columns + lanes, 2, lanes), 77, dtype)
    half = np.array([0.5], dtype)
    scale = half.ctypes.data if scaled else 0
    call(slot.gather(dtype, scaled=scaled), table.ctypes.data, 2, columns, line.ctypes.data, scale)
    rows = tiles[:, 2, :columns].copy()
    rows[-1] = tiles[-1, 0, :columns]
    rows *= 0.5 if scaled else 1
    np.testing.assert_array_equal(line[:columns], rows.reshape(2, lanes, columns).transpose(2, 0, 1))
    assert (line[columns:] == 77).all()


def scattered(dtype, columns, line, *, activation=None, bias=False, residual=False):
    """Row 1 of results: what was written, what was given, and the sums."""
    lanes = targets.current().lanes(dtype)
    out = np.full((2 * lanes, 3, columns + 4), 77, dtype)
    added, offsets = numbers(*out.shape, dtype=dtype), numbers(2 * lanes, dtype=dtype)
    widths = [min(columns, 1 + 3 * lane) for lane in range(2 * lanes)]
    rows = [lane % 3 for lane in range(2 * lanes)]
    table = np.array(
        [
            [
                out[lane].ctypes.data, out.strides[1], rows[lane], widths[lane],
                added[lane].ctypes.data if residual else 0, added.strides[1],
                offsets[lane:].ctypes.data if bias else 0,
            ]
            for lane in range(2 * lanes)
        ],
        np.int64,
    )  # fmt: skip
    sums = np.zeros((2, lanes), dtype)
    call(slot.scatter(dtype, activation), table.ctypes.data, 1, columns, line.ctypes.data, sums.ctypes.data)
    expected = np.full(out.shape, 77, dtype)
    for lane in range(2 * lanes):
        if rows[lane] > 1:
            value = line[: widths[lane], lane // lanes, lane % lanes]
            value = value + bias * offsets[lane] + residual * added[lane, 1, : widths[lane]]
            expected[lane, 1, : widths[lane]] = np.maximum(value, 0) if activation == "relu" else value
    return out, expected, sums


@dtypes
@columns_of_rows
@pytest.mark.parametrize(("bias", "residual"), [*itertools.product((False, True), repeat=2)])
@pytest.mark.parametrize("activation", [None, "relu"])
def test_scatter(dtype, columns, bias, residual, activation):
    lanes = targets.current().lanes(dtype)
    line = numbers(columns + lanes, 2, lanes, dtype=dtype)
    line[columns:] = np.nan  # what an earlier tile left
    out, expected, sums = scattered(dtype, columns, line, activation=activation, bias=bias, residual=residual)
    np.testing.assert_array_equal(out, expected)
    np.testing.assert_array_equal(sums, 0)


@dtypes
@columns_of_rows
@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf])
def test_scatter_says_which_tiles_are_not_finite(dtype, columns, special):
    lanes = targets.current().lanes(dtype)
    for column, part in itertools.product({0, columns - 1}, range(2)):
        line = numbers(columns + lanes, 2, lanes, dtype=dtype)
        line[column, part, lanes - 1] = special
        _, _, sums = scattered(dtype, columns, line)
        broken = np.isnan(sums)
        assert broken[part, lanes - 1]
        assert broken.sum() == 1


@dtypes
@pytest.mark.parametrize(("x_kind", "w_kind"), [(VECTORS, SCALARS), (VECTORS, VECTORS), (LANE, VECTORS)])
@pytest.mark.parametrize("adds", [False, True])
def test_product(dtype, x_kind, w_kind, adds):
    """Of 6 elements and 3 steps."""
    lanes = targets.current().lanes(dtype)
    shapes = {VECTORS: (3, 6, 2, lanes), LANE: (3, 6, 2, lanes), SCALARS: (3, 6, 2, 1)}
    random = np.random.default_rng(0)
    x, w = (random.integers(-9, 10, shapes[kind]).astype(dtype) for kind in (x_kind, w_kind))
    y = random.integers(-9, 10, (6, 2, lanes)).astype(dtype)
    first, second = (
        (array[..., 0, :] + 1j * array[..., 1, :])[..., : 1 if kind == LANE else None]
        for array, kind in ((x, x_kind), (w, w_kind))
    )
    total = (first * second.conj()).sum(axis=0) + (y[:, 0] + 1j * y[:, 1] if adds else 0)
    operands = x.ctypes.data, x.strides[1], x.strides[0], w.ctypes.data, w.strides[1], w.strides[0]
    call(slot.product(dtype, x_kind, w_kind), *operands, y.ctypes.data, y.strides[0], 6, 3, adds)
    np.testing.assert_array_equal(y, np.stack([total.real, total.imag], axis=1))

"""Copies of planes with zeros around them, at every width, and no further than they may."""

from __future__ import annotations

import ctypes

import llvmlite.binding as llvm
import numpy as np
import pytest

from fastconv.codegen import planes
from fastconv.codegen import target as targets

GUARD = -7.0


def call(dtype, stride, **operands):
    slots = (ctypes.c_int64 * planes.OPERANDS)()
    for name, value in operands.items():
        slots[getattr(planes, name)] = value
    kind = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 4)
    return kind(planes.planes(dtype, stride)), slots


@pytest.mark.usefixtures("vector_bits")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("stride", [1, 2, 3, 5])
def test_every_width(dtype, stride):
    random = np.random.default_rng(0)
    lanes = targets.current().lanes(dtype)
    for inside in range(1, 40):
        above, rows, below, before, after = random.integers(0, 4, 5).tolist()
        source = random.random((3, rows * 2 + 1, (inside - 1) * stride + 1)).astype(dtype)
        copied = source[:, : 2 * rows : 2, ::stride]
        expected = np.pad(copied, ((0, 0), (above, below), (before, after)))
        room = np.full((3, expected[0].size + lanes), GUARD, dtype)
        function, slots = call(
            dtype, stride,
            TO=room.ctypes.data, FROM=source.ctypes.data, PLANE_TO=room.strides[0], PLANE_FROM=source.strides[0],
            ABOVE=above, ROWS=rows, BELOW=below, ROW_TO=expected.strides[1], ROW_FROM=2 * source.strides[1],
            BEFORE=before, INSIDE=inside, AFTER=after, COLUMN_FROM=stride * source.itemsize,
        )  # fmt: skip
        for first in (2, 1, 0):  # the later plane first: the earlier must not reach into it
            function(ctypes.addressof(slots), 0, first, first + 1)
        np.testing.assert_array_equal(room[:, : expected[0].size].reshape(expected.shape), expected)


@pytest.mark.usefixtures("vector_bits")
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_the_code_can_be_read_and_parsed(stride):
    text = str(planes.emit("planes", "float32", stride, targets.current()))
    llvm.parse_assembly(text).verify()
    assert "rows" in text

"""Transforms of lines against their definition, and back."""

from __future__ import annotations

import ctypes
import math

import numpy as np
import pytest

from fastconv.codegen import fourier
from fastconv.codegen import target as targets
from fastconv.codegen.fourier import Passes, radices

SIZES = [size for size in range(1, 129) if radices(size)] + [160, 243, 512, 4096]

dtypes = pytest.mark.parametrize("dtype", ["float32", "float64"])
directions = pytest.mark.parametrize("inverse", [False, True])


def run(array, passes, line, lines):
    """Transform lines of an array in place; `line` is bytes from one to the next."""
    operands = (ctypes.c_int64 * fourier.OPERANDS)(
        array.ctypes.data, line, lines, passes.table.ctypes.data, passes.count
    )
    code = fourier.lines(array.dtype.name)
    ctypes.CFUNCTYPE(None, ctypes.c_void_p)(code)(ctypes.addressof(operands))


def as_complex(array):
    """[...][part][lane] as complex numbers in float64."""
    return array[..., 0, :].astype("f8") + 1j * array[..., 1, :]


def frequencies(size):
    """Return the frequency at each place after the forward passes: its digits in the order of the radices."""
    found, step = np.zeros(1, np.int64), 1
    for radix in radices(size) or ():
        found = (found[:, np.newaxis] + step * np.arange(radix)).reshape(-1)
        step *= radix
    return found


def test_the_order_of_frequencies_by_hand():
    """Of six as 2 x 3: those of the first sums, 0 and 2 and 4, then those of the differences."""
    assert radices(6) == (2, 3) or radices(6) == (3, 2)
    expected = {(2, 3): [0, 2, 4, 1, 3, 5], (3, 2): [0, 3, 1, 4, 2, 5]}[radices(6)]
    assert frequencies(6).tolist() == expected


def test_radices():
    assert radices(1) == ()
    assert radices(7) is None
    assert radices(77) is None
    assert all(math.prod(radices(size)) == size and set(radices(size)) <= set(fourier.RADICES) for size in SIZES)
    with pytest.raises(ValueError, match=r"size must be a product of \(8, 5, 4, 3, 2\), got 7"):
        Passes("float32", 7, 64, False)


@pytest.mark.usefixtures("vector_bits")
@dtypes
def test_four_by_hand(dtype):
    """1, 2, 3 + i, 0: sums with 1, -i, -1 and i; each lane a multiple."""
    lanes = targets.current().lanes(dtype)
    values = np.zeros((4, 2, lanes), dtype)
    values[:, 0], values[2, 1] = np.array([[1], [2], [3], [0]]), 1
    values *= np.arange(1, lanes + 1)
    run(values, Passes(dtype, 4, values.strides[0], False), 0, 1)
    expected = {0: 6 + 1j, 1: -2 - 3j, 2: 2 + 1j, 3: -2 + 1j}
    found = as_complex(values)[:, 0] / 1
    np.testing.assert_allclose(found, [expected[k] for k in frequencies(4)])
    np.testing.assert_allclose(as_complex(values), found[:, np.newaxis] * np.arange(1, lanes + 1), rtol=1e-6)


@pytest.mark.usefixtures("vector_bits")
@dtypes
@directions
@pytest.mark.parametrize("radix", fourier.RADICES)
def test_a_butterfly_is_the_definition(dtype, inverse, radix):
    lanes = targets.current().lanes(dtype)
    values = np.random.default_rng(radix).standard_normal((radix, 2, lanes)).astype(dtype)
    places = np.arange(radix)
    matrix = np.exp((2j if inverse else -2j) * math.pi * np.outer(places, places) / radix)
    expected = matrix @ as_complex(values)
    run(values, Passes(dtype, radix, values.strides[0], inverse), 0, 1)
    np.testing.assert_allclose(as_complex(values), expected, atol=8 * radix * np.finfo(dtype).eps)


@dtypes
@pytest.mark.parametrize("size", SIZES)
def test_lines_there_and_back(dtype, size):
    lanes, eps = targets.current().lanes(dtype), np.finfo(dtype).eps
    given = np.random.default_rng(size).standard_normal((size, 2, lanes)).astype(dtype)
    values = given.copy()
    run(values, Passes(dtype, size, values.strides[0], False), 0, 1)
    expected = np.fft.fft(as_complex(given), axis=0)[frequencies(size)]
    error = np.linalg.norm(as_complex(values) - expected) / np.linalg.norm(expected)
    assert error <= 2 * eps * max(1, math.log2(size))
    run(values, Passes(dtype, size, values.strides[0], True), 0, 1)
    assert np.linalg.norm(values / size - given) <= 4 * eps * max(1, math.log2(size)) * np.linalg.norm(given)


@dtypes
@directions
def test_columns_of_an_array_and_nothing_beside_them(dtype, inverse):
    """Lines of 12 down an array with a wider pitch; of 5 columns, the second to the fourth."""
    lanes = targets.current().lanes(dtype)
    array = np.random.default_rng(0).standard_normal((12, 6, 2, lanes)).astype(dtype)
    before = array.copy()
    part = array[:, 1:4]
    passes = Passes(dtype, 12, array.strides[0], inverse)
    code = (ctypes.c_int64 * fourier.OPERANDS)(
        part.ctypes.data, array.strides[1], 3, passes.table.ctypes.data, passes.count
    )
    ctypes.CFUNCTYPE(None, ctypes.c_void_p)(fourier.lines(dtype))(ctypes.addressof(code))
    np.testing.assert_array_equal(array[:, [0, 4, 5]], before[:, [0, 4, 5]])
    given = as_complex(before[:, 1:4])
    order = frequencies(12)
    expected = np.fft.ifft(given[np.argsort(order)], axis=0) * 12 if inverse else np.fft.fft(given, axis=0)[order]
    np.testing.assert_allclose(as_complex(part), expected, atol=100 * np.finfo(dtype).eps)

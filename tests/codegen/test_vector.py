"""What the builder makes of whole vectors, at every width."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest

from fastconv.codegen import jit
from fastconv.codegen import target as targets
from fastconv.codegen.vector import VectorModule


@pytest.mark.usefixtures("vector_bits")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("count", [1, 2, 4, 8])
def test_sums_across(dtype, count):
    target = targets.current()
    lanes = target.lanes(dtype)
    if count > lanes:
        pytest.skip("a vector has a lane for each sum")
    name = f"sums_across_{count}_{dtype}"

    def emit() -> str:
        own = VectorModule(name, dtype, target)
        b, (source, to) = own.step(name, 2)
        width = lanes * own.bytes
        vectors = [b.load_vector(b.at(b.pointer(source), i * width)) for i in range(count)]
        b.store_vector(b.sums_across(vectors), b.pointer(to))
        b.ret_void()
        return str(own.module)

    values = np.arange(count * lanes, dtype=dtype).reshape(count, lanes) ** 2
    found = np.zeros(lanes, dtype)
    operands = np.array([values.ctypes.data, found.ctypes.data])
    ctypes.CFUNCTYPE(None, ctypes.c_int64)(jit.address(name, emit, target))(operands.ctypes.data)
    np.testing.assert_array_equal(found, np.resize(values.sum(axis=1), lanes))

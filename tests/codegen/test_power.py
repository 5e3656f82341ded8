"""Powers: by hand, against NumPy's, and at the ends of their range."""

from __future__ import annotations

import ctypes
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastconv.codegen import jit
from fastconv.codegen import target as targets
from fastconv.codegen.power import power
from fastconv.codegen.vector import VectorModule


def raised(values: list[float], exponent: float) -> np.ndarray:
    """The powers of some numbers, by a function that is made for them."""
    target = targets.current()
    name = f"test_power_{exponent.hex()}"

    def emit() -> str:
        own = VectorModule(name, "float64", target)
        b, (x, y) = own.step(name, 2)
        b.store_vector(power(b, b.load_vector(b.pointer(x)), exponent), b.pointer(y))
        b.ret_void()
        return str(own.module)

    function = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(jit.address(name, emit, target))
    lanes = target.lanes("float64")
    given_array = np.array([*values, *[1.0] * (-len(values) % lanes)])
    found = np.empty_like(given_array)
    for start in range(0, len(found), lanes):
        operands = np.array([given_array[start:].ctypes.data, found[start:].ctypes.data])
        function(operands.ctypes.data)
    return found[: len(values)]


@pytest.mark.parametrize("exponent", [3.0, 16.0])
def test_whole_powers_by_hand(exponent):
    assert raised([0.0, 1.0, 2.0, 10.0, math.inf], exponent).tolist() == [0, 1, 2**exponent, 10**exponent, math.inf]


def test_roots_by_hand():
    found = raised([0.0, 1.0, 8.0, 27.0, math.inf, math.nan], 1 / 3)
    np.testing.assert_allclose(found[:4], [0, 1, 2, 3], rtol=1e-15)
    assert found[4] == math.inf
    assert math.isnan(found[5])


@pytest.mark.parametrize("exponent", [0.01, 0.5, 1 / 3, 1.5, 2.7, 100.0])
@given(data=st.data())
def test_powers_are_those_of_numpy(exponent, data):
    positive = st.floats(0, allow_nan=False, allow_infinity=False)
    values = data.draw(st.lists(positive, min_size=1, max_size=9))
    with np.errstate(over="ignore", under="ignore"):
        expected = np.array(values) ** exponent
    found = raised(values, exponent)
    np.testing.assert_allclose(found, expected, rtol=1e-11, atol=5e-324)


def test_what_is_out_of_range():
    assert raised([1e200, 1e-200, 5e-324], 2.5).tolist() == [math.inf, 0.0, 0.0]
    np.testing.assert_allclose(raised([5e-324, 1e-310], 0.5), np.sqrt([5e-324, 1e-310]), rtol=1e-13)
    np.testing.assert_allclose(raised([1e-127], 2.5), [1e-127**2.5], rtol=1e-4)  # subnormal

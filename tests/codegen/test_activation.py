"""The emitted activations against the reference's formulas, in every vector width."""

from __future__ import annotations

import ctypes
import math

import numpy as np
import pytest
from llvmlite import ir

from fastconv import reference
from fastconv.codegen import activation, jit
from fastconv.codegen import target as targets
from fastconv.codegen.vector import POINTER, VectorModule
from fastconv.problem import ACTIVATIONS


def emitted(name, dtype):
    """Return the activation as a function from an array to an array."""
    target = targets.current()
    symbol = f"apply_{name}_{dtype}"

    def emit():
        own = VectorModule(symbol, dtype, target)
        apply = activation.declare(own, name)
        function, b = own.define(symbol, ir.VoidType(), [POINTER, POINTER])
        source, result = function.args
        b.store_vector(b.call(apply, [b.load_vector(source)]), result)
        b.ret_void()
        return str(own.module)

    address = jit.address(symbol, emit, target)
    call = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)(address)

    def run(x):
        lanes = target.lanes(dtype)
        padded = np.zeros(-(-x.size // lanes) * lanes, dtype)
        padded[: x.size] = x
        y = np.full_like(padded, 77)
        for at in range(0, padded.nbytes, lanes * padded.itemsize):
            call(padded.ctypes.data + at, y.ctypes.data + at)
        return y[: x.size]

    return run


def grid(dtype):
    """Return arguments close to each other where the functions bend, and of every magnitude."""
    info = np.finfo(dtype)
    smallest, largest = math.log10(info.smallest_subnormal), math.log10(info.max)
    magnitudes = np.logspace(smallest, largest - 1e-9, 1001)
    points = [0, 1 / 2, 1, 3, 6, float(info.max), float(info.tiny), float(info.smallest_subnormal)]
    points += np.linspace(0, 30, 6001).tolist() + np.linspace(30, 800, 771).tolist()
    positive = np.concatenate([points, magnitudes]).astype(dtype)
    return np.concatenate([positive, -positive])


#: By how many units in the last place of x a unit of error in y is larger: |x f'(x) / f(x)|,
#: where that is more than a small number. The exponential tails magnify the rounding of their
#: argument, whatever computes them.
CONDITION = {
    "sigmoid": lambda x: np.maximum(-x, 0),
    "silu": lambda x: np.maximum(-x, 0),
    "gelu": lambda x: np.square(np.minimum(x, 0)),
}

#: Units in the last place where the function is well conditioned, in float32 and float64.
UNITS = {
    "relu": (0, 0),
    "relu6": (0, 0),
    "leaky_relu": (1, 1),
    "hardswish": (2, 2),
    "sigmoid": (3, 3),
    "silu": (3, 3),
    "tanh": (3, 3),
    "gelu": (4, 13),  # a series of 30 terms in float64
}


def test_every_activation_is_emitted():
    assert set(activation.EMITTERS) == set(ACTIVATIONS) == set(UNITS)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_values(vector_bits, name, dtype):
    x = grid(dtype)
    y = emitted(name, dtype)(x)
    exact = x.astype(np.float64)
    with np.errstate(over="ignore", under="ignore"):
        expected = reference.ACTIVATIONS[name](exact)
        condition = 1 + np.minimum(CONDITION.get(name, np.zeros_like)(exact), 1e4)
        units = UNITS[name][dtype == "float64"]
        allowed = units * np.finfo(dtype).eps * np.abs(expected) * condition
    # What is less than the smallest normal numbers may be zero, and x times that.
    allowed += 1000 * float(np.finfo(dtype).tiny) if units else 0
    error = np.abs(y - expected)
    worst = np.argmax(error - allowed)
    assert error[worst] <= allowed[worst], f"x = {x[worst]}: {y[worst]}, not {expected[worst]}"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_nan_and_infinities(vector_bits, name, dtype):
    # In every lane, and beside numbers, which they must not touch.
    run = emitted(name, dtype)
    expected = reference.ACTIVATIONS[name](np.array([np.nan, np.inf, -np.inf, 0.0, 2.0]))
    lanes = targets.current().lanes(dtype)
    for lane in range(lanes):
        for special, limit in zip([np.nan, np.inf, -np.inf], expected, strict=False):
            x = np.full(lanes, 2, dtype)
            x[lane] = special
            y = run(x)
            np.testing.assert_array_equal(y[lane], np.asarray(limit, dtype))
            np.testing.assert_allclose(np.delete(y, lane), expected[-1], rtol=1e-6)
    np.testing.assert_array_equal(run(np.zeros(lanes, dtype)), expected[3])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["relu", "relu6", "leaky_relu", "sigmoid", "tanh"])
def test_monotonic(name, dtype):
    # By more than rounding: neighbours of a grid this coarse must come in order.
    x = np.sort(grid(dtype)[np.abs(grid(dtype)) > 1e-3])
    y = emitted(name, dtype)(np.unique(x)[::8])
    assert (np.diff(y) >= 0).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_tanh_is_odd_to_the_last_bit(dtype):
    x = grid(dtype)
    run = emitted("tanh", dtype)
    assert (run(x) == -run(-x)).all()

"""Activations of one number, for the end of a kernel: the functions of `fastconv.reference.ACTIVATIONS`.

NaN stays NaN. Each is made for a type, `real`, which its constants take: one of float64 would make float64 of float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from fastconv.cuda.inline import inlined

Function = Callable[[float], float]
Real = Callable[[float], float]  # a type of Numba's, which makes a number one of the type

_LEAKY_SLOPE = 0.01
_ROOT_OF_HALF = math.sqrt(0.5)


def _identity(real: Real) -> Function:
    def identity(x: float) -> float:
        return x

    return identity


def _relu(real: Real) -> Function:
    def relu(x: float) -> float:
        return real(0.0) if x < real(0.0) else x

    return relu


def _relu6(real: Real) -> Function:
    def relu6(x: float) -> float:
        if x < real(0.0):
            return real(0.0)
        return real(6.0) if x > real(6.0) else x

    return relu6


def _leaky_relu(real: Real) -> Function:
    def leaky_relu(x: float) -> float:
        return real(_LEAKY_SLOPE) * x if x < real(0.0) else x

    return leaky_relu


def _sigmoid(real: Real) -> Function:
    def sigmoid(x: float) -> float:
        small = math.exp(-math.fabs(x))  # in (0, 1]: nothing overflows
        return (small if x < real(0.0) else real(1.0)) / (real(1.0) + small)

    return sigmoid


def _tanh(real: Real) -> Function:
    def tanh(x: float) -> float:
        return math.tanh(x)

    return tanh


def _silu(real: Real) -> Function:
    def silu(x: float) -> float:
        small = math.exp(-math.fabs(x))
        return x * ((small if x < real(0.0) else real(1.0)) / (real(1.0) + small))

    return silu


def _gelu(real: Real) -> Function:
    def gelu(x: float) -> float:
        return x * (real(0.5) * math.erfc(-x * real(_ROOT_OF_HALF)))  # 1 + erf(z) = erfc(-z), without cancellation

    return gelu


def _hardswish(real: Real) -> Function:
    def hardswish(x: float) -> float:
        gate = x + real(3.0)
        if gate < real(0.0):
            gate = real(0.0)
        if gate > real(6.0):
            gate = real(6.0)
        return x * (gate / real(6.0))  # divided first: x * 6 could overflow

    return hardswish


identity = inlined(_identity)
relu = inlined(_relu)
relu6 = inlined(_relu6)
leaky_relu = inlined(_leaky_relu)
sigmoid = inlined(_sigmoid)
tanh = inlined(_tanh)
silu = inlined(_silu)
gelu = inlined(_gelu)
hardswish = inlined(_hardswish)

"""Activations on vectors: each as a formula, then as straight-line vector code.

The same functions as `fastconv.reference.ACTIVATIONS`. NaN stays NaN; what overflows goes to the limit.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np
from llvmlite import ir

from fastconv.codegen.vector import Builder, VectorModule, mantissa_bits

LEAKY_SLOPE = 0.01


def declare(owner: VectorModule, name: str) -> ir.Function:
    """Define the activation `name` as a function from a vector to a vector inside the module of `owner`."""
    function, builder = owner.define(name, owner.vector, [owner.vector], internal=True)
    builder.ret(EMITTERS[name](builder, function.args[0]))
    return function


def _clamp_below(b: Builder, x: ir.Value, low: float) -> ir.Value:
    """max(x, low), NaN kept: a comparison with NaN is false and selects x."""
    limit = b.owner.constant(low)
    return b.select(b.fcmp_ordered("<", x, limit), limit, x)


def _clamp_above(b: Builder, x: ir.Value, high: float) -> ir.Value:
    """min(x, high), NaN kept."""
    limit = b.owner.constant(high)
    return b.select(b.fcmp_ordered(">", x, limit), limit, x)


def relu(b: Builder, x: ir.Value) -> ir.Value:
    """max(x, 0)"""
    return _clamp_below(b, x, 0.0)


def relu6(b: Builder, x: ir.Value) -> ir.Value:
    """min(max(x, 0), 6)"""
    return _clamp_above(b, relu(b, x), 6.0)


def leaky_relu(b: Builder, x: ir.Value) -> ir.Value:
    """x where x >= 0, else 0.01 x"""
    scaled = b.fmul(x, b.owner.constant(LEAKY_SLOPE))
    return b.select(b.fcmp_ordered("<", x, b.owner.constant(0.0)), scaled, x)


def hardswish(b: Builder, x: ir.Value) -> ir.Value:
    """x * relu6(x + 3) / 6"""
    gate = relu6(b, b.fadd(x, b.owner.constant(3.0)))
    return b.fmul(x, b.fdiv(gate, b.owner.constant(6.0)))


def _exponential(b: Builder, x: ir.Value, *, minus_one: bool) -> ir.Value:
    """exp(x), or exp(x) - 1 without cancellation near zero.

    x = k ln 2 + r with |r| <= ln(2)/2, so exp(x) = 2^k (1 + p(r)), p the Taylor series of exp(r) - 1.
    """
    own = b.owner
    bits = mantissa_bits(own.dtype)
    low, high = _exponential_range(own.dtype)
    inside = _clamp_above(b, _clamp_below(b, x, low), high)
    # Adding 1.5 * 2^bits rounds to an integer k and leaves k in the low bits of the sum.
    magic = own.constant(1.5 * 2.0**bits)
    shifted = b.multiply_add(inside, own.constant(1 / math.log(2)), magic)
    k = b.fsub(shifted, magic)
    # ln 2 in two parts, the first with so few bits that k times it is exact
    upper = _upper_part(math.log(2))
    r = b.multiply_add(k, own.constant(-upper), inside)
    r = b.multiply_add(k, own.constant(upper - math.log(2)), r)
    terms = 7 if own.dtype == "float32" else 13
    series = b.polynomial(r, [1 / math.factorial(n) for n in range(2, terms + 1)])
    p = b.multiply_add(b.fmul(r, r), series, r)
    bias = (1 << (8 * own.bytes - 2 - bits)) - 1  # 127 or 1023
    exponent = b.shl(b.bitcast(shifted, own.integers), own.integer_constant(bits))
    power = b.bitcast(b.add(exponent, own.integer_constant(bias << bits)), own.vector)
    if minus_one:
        return b.multiply_add(power, p, b.fsub(power, own.constant(1.0)))
    value = b.multiply_add(power, p, power)
    value = b.select(b.fcmp_ordered("<", x, own.constant(low)), own.constant(0.0), value)
    return b.select(b.fcmp_ordered(">", x, own.constant(high)), own.constant(math.inf), value)


def _upper_part(value: float) -> float:
    """`value` rounded to 12 significant bits."""
    mantissa, exponent = math.frexp(value)
    return math.ldexp(round(mantissa * 2**12), exponent - 12)


def _exponential_range(dtype: str) -> tuple[float, float]:
    """Arguments whose exponentials are normal numbers (2^k is then one too)."""
    info = np.finfo(dtype)
    return math.log(float(info.tiny)), math.log(float(info.max)) - 0.5


def sigmoid(b: Builder, x: ir.Value) -> ir.Value:
    """1 / (1 + exp(-x))"""
    one = b.owner.constant(1.0)
    return b.fdiv(one, b.fadd(one, _exponential(b, b.fneg(x), minus_one=False)))


def silu(b: Builder, x: ir.Value) -> ir.Value:
    """x * sigmoid(x)"""
    return b.fmul(x, sigmoid(b, x))


def tanh(b: Builder, x: ir.Value) -> ir.Value:
    """(1 - exp(-2|x|)) / (1 + exp(-2|x|)), with the sign of x"""
    own = b.owner
    decay = _exponential(b, b.fmul(b.absolute(x), own.constant(-2.0)), minus_one=True)
    magnitude = b.fdiv(b.fneg(decay), b.fadd(own.constant(2.0), decay))
    return b.with_sign_of(b.absolute(magnitude), x)


def gelu(b: Builder, x: ir.Value) -> ir.Value:
    """x * (1 + erf(x / sqrt 2)) / 2 = x * erfc(-x / sqrt 2) / 2"""
    own = b.owner
    z = b.fmul(x, own.constant(math.sqrt(0.5)))
    tail = _erfc_of_absolute(b, b.absolute(z))
    positive = b.fcmp_ordered(">", x, own.constant(0.0))
    erfc = b.select(positive, b.fsub(own.constant(2.0), tail), tail)
    return b.fmul(b.fmul(x, own.constant(0.5)), erfc)


def _erfc_of_absolute(b: Builder, z: ir.Value) -> ir.Value:
    """erfc(z) = t exp(-z^2 + g(t)), t = 1 / (1 + z/2), g a Chebyshev series (Clenshaw's recurrence).

    Press et al., Numerical Recipes, section 6.2; the coefficients are computed, see `_erfc_series`.
    """
    own = b.owner
    t = b.fdiv(own.constant(1.0), b.multiply_add(z, own.constant(0.5), own.constant(1.0)))
    y = b.multiply_add(t, own.constant(2.0), own.constant(-1.0))
    twice = b.fadd(y, y)
    coefficients = _erfc_series(11 if own.dtype == "float32" else 30)
    last: ir.Value = own.constant(0.0)
    current: ir.Value = own.constant(coefficients[-1])
    for coefficient in reversed(coefficients[1:-1]):
        step = b.fsub(own.constant(coefficient), last)
        current, last = b.multiply_add(twice, current, step), current
    g = b.multiply_add(y, current, b.fsub(own.constant(coefficients[0]), last))
    exponent = b.multiply_add(b.fneg(z), z, g)
    return b.fmul(t, _exponential(b, exponent, minus_one=False))


@cache
def _erfc_series(terms: int) -> tuple[float, ...]:
    """Chebyshev coefficients on t in (0, 1] of g(t) = ln(exp(z^2) erfc(z) / t), z = 2 (1 - t) / t."""

    def g(y: np.ndarray) -> np.ndarray:
        values = []
        for t in (y + 1) / 2:
            z = 2 * (1 - t) / t
            values.append(math.log(_scaled_erfc(z) / t))
        return np.array(values)

    coefficients = np.polynomial.chebyshev.chebinterpolate(g, terms - 1)  # type: ignore[type-var]
    return tuple(float(c) for c in coefficients)


def _scaled_erfc(z: float) -> float:
    """exp(z^2) erfc(z): as it stands below 2, above by its continued fraction (Abramowitz and Stegun 7.1.14)."""
    if z < 2:
        return math.exp(z * z) * math.erfc(z)
    fraction = z
    for n in range(120, 0, -1):
        fraction = z + n / 2 / fraction
    return 1 / (fraction * math.sqrt(math.pi))


#: Name -> function that emits it.
EMITTERS: dict[str, Callable[[Builder, ir.Value], ir.Value]] = {
    "relu": relu,
    "relu6": relu6,
    "leaky_relu": leaky_relu,
    "sigmoid": sigmoid,
    "tanh": tanh,
    "silu": silu,
    "gelu": gelu,
    "hardswish": hardswish,
}

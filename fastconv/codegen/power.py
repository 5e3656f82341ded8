"""Powers of vectors of float64 that are not negative: products, or by logarithm and exponential, x^p = 2^(p log2 x).

The error of the logarithm, some 1e-16 of it, becomes a relative one of the power p times as large: of numbers that were
float32, powers are as good as exact. For float64 that would take a logarithm of twice the digits.
"""

from __future__ import annotations

import math

import numpy as np
from llvmlite import ir

from fastconv.codegen.vector import I64, Builder, VectorModule

MOST_PRODUCTS = 16  # the largest whole exponent of a product
TERMS = 10  # of the logarithm's series: 0.172^20 / 21 = 2e-17
EXPONENTIAL_TERMS = 13  # 0.347^14 / 14! = 4e-18
BITS, BIAS = 52, 1023  # of the significand, and of the exponent
_MAGIC = 1.5 * 2.0**BITS  # added to a number of few bits, it leaves an integer in the low bits


def power(b: Builder, x: ir.Value, exponent: float) -> ir.Value:
    """x^exponent of a vector, or of one element."""
    own = b.owner
    if exponent in range(1, MOST_PRODUCTS + 1):
        return _product(b, x, int(exponent))
    function = _function(own, exponent)
    if x.type == own.vector:
        return b.call(function, [x])
    return b.extract_element(b.call(function, [b.splat(x)]), I64(0))


def _product(b: Builder, x: ir.Value, exponent: int) -> ir.Value:
    """x^exponent by squares."""
    if exponent == 1:
        return x
    root = _product(b, x, exponent // 2)
    square = b.fmul(root, root)
    return b.fmul(square, x) if exponent % 2 else square


def _function(own: VectorModule, exponent: float) -> ir.Function:
    """The power as a function inside the module, which is called for each vector that is read."""
    name = f"power_{exponent.hex()}"
    known = own.module.globals.get(name)
    if isinstance(known, ir.Function):
        return known
    function, plain = own.define(name, own.vector, [own.vector], internal=True)
    b = Builder(own, plain.block)
    (x,) = function.args
    zero, infinity = own.constant(0.0), own.constant(math.inf)
    inside = b.and_(b.fcmp_ordered(">", x, zero), b.fcmp_ordered("<", x, infinity))
    found = exponential(b, b.fmul(logarithm(b, x), own.constant(exponent)))
    b.ret(b.select(inside, found, x))  # 0, infinity and NaN are their own powers
    return function


def logarithm(b: Builder, x: ir.Value) -> ir.Value:
    """log2 x of finite x > 0: x = 2^e m, m from sqrt(1/2) to sqrt(2), log m = 2 artanh((m - 1) / (m + 1))."""
    own = b.owner
    tiny = b.fcmp_ordered("<", x, own.constant(2.0**-1022))
    normal = b.select(tiny, b.fmul(x, own.constant(2.0**54)), x)
    root = own.integer_constant(int(np.float64(math.sqrt(0.5)).view(np.int64)))
    bits = b.bitcast(normal, own.integers)
    whole = b.ashr(b.sub(bits, root), own.integer_constant(BITS))
    m = b.bitcast(b.sub(bits, b.shl(whole, own.integer_constant(BITS))), own.vector)
    magic = own.constant(_MAGIC)
    e = b.fsub(b.bitcast(b.add(b.bitcast(magic, own.integers), whole), own.vector), magic)
    e = b.select(tiny, b.fsub(e, own.constant(54.0)), e)
    one = own.constant(1.0)
    s = b.fdiv(b.fsub(m, one), b.fadd(m, one))
    series = b.polynomial(b.fmul(s, s), [2 / math.log(2) / (2 * n + 1) for n in range(TERMS)])
    return b.multiply_add(s, series, e)


def exponential(b: Builder, y: ir.Value) -> ir.Value:
    """2^y: the integer next to y goes to the exponent, in two parts so that no number on the way is out of range."""
    own = b.owner
    low, high = own.constant(-1100.0), own.constant(1025.0)
    y = b.select(b.fcmp_ordered("<", y, low), low, y)
    y = b.select(b.fcmp_ordered(">", y, high), high, y)
    magic = own.constant(_MAGIC)
    shifted = b.fadd(y, magic)
    f = b.fsub(y, b.fsub(shifted, magic))
    value = b.polynomial(f, [math.log(2) ** n / math.factorial(n) for n in range(EXPONENTIAL_TERMS + 1)])
    whole = b.sub(b.bitcast(shifted, own.integers), b.bitcast(magic, own.integers))
    half = b.ashr(whole, own.integer_constant(1))
    for part in (half, b.sub(whole, half)):
        exponent = b.shl(b.add(part, own.integer_constant(BIAS)), own.integer_constant(BITS))
        value = b.fmul(value, b.bitcast(exponent, own.vector))
    return value

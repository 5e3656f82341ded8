"""Elements of two bytes, float16 and bfloat16: what loads and stores make of them, which `intrinsics` builds.

They are computed with as float32. In Numba's own halves, arithmetic would link a library of NVIDIA's headers to each
kernel.
"""

# mypy: disable-error-code="no-untyped-def"
# What the compiler hands to these, and takes from them, has no types.

from __future__ import annotations

from llvmlite import ir
from numba.cuda import types

_INT16, _INT32 = ir.IntType(16), ir.IntType(32)
_HALVES = (types.float16, types.bfloat16)


def real(kind):
    """The type that an element is computed with: that of its register."""
    return types.float32 if kind in _HALVES else kind


def widened(builder, kind, value):
    """A loaded element as the number that is computed with."""
    if kind == types.float16:
        return builder.fpext(builder.bitcast(value, ir.HalfType()), ir.FloatType())
    if kind == types.bfloat16:  # the upper half of float32
        return builder.bitcast(builder.shl(builder.zext(value, _INT32), ir.Constant(_INT32, 16)), ir.FloatType())
    return value


def narrowed(builder, kind, value):
    """A number as an element that can be stored: of halves the nearest, of two the even one."""
    if kind == types.float16:
        return builder.bitcast(builder.fptrunc(value, ir.HalfType()), _INT16)
    if kind == types.bfloat16:
        rounding = ir.FunctionType(_INT16, [ir.FloatType()])
        return builder.asm(rounding, "cvt.rn.bf16.f32 $0, $1;", "=h,f", [value], side_effect=False)
    return value


def cut(builder, kind, value):
    """`narrowed`, of a number that an element can hold: of a constant the compiler makes a constant."""
    if kind == types.bfloat16:
        return builder.trunc(builder.lshr(builder.bitcast(value, _INT32), ir.Constant(_INT32, 16)), _INT16)
    return narrowed(builder, kind, value)


def narrowed_pair(builder, kind, low, high):
    """Two numbers as neighbouring elements of 32 bits, each rounded as `narrowed` does it."""
    name = "f16x2" if kind == types.float16 else "bf16x2"
    rounding = ir.FunctionType(_INT32, [ir.FloatType()] * 2)
    return builder.asm(rounding, f"cvt.rn.{name}.f32 $0, $1, $2;", "=r,f,f", [high, low], side_effect=False)


def widened_pair(builder, kind, word):
    """The other way."""
    halves = word, builder.lshr(word, ir.Constant(_INT32, 16))
    return [widened(builder, kind, builder.trunc(half, _INT16)) for half in halves]

"""Exact division of 32 bits by a multiplication and a shift."""

# mypy: disable-error-code="no-untyped-def"
# What the compiler hands to an intrinsic, and takes from it, has no types.

from __future__ import annotations

from numba.cuda import types

from fastconv.cuda.intrinsics.emitting import INT32, INT64
from fastconv.cuda.intrinsics.intrinsic import intrinsic

__all__ = ["division", "quotient"]


@intrinsic
def quotient(typing_context, dividend, multiplier, shift):
    """dividend // divisor of int32s, none negative, by what `division` gives for the divisor

    A division of int32s takes some twenty instructions, this one three.
    """

    def generate(context, builder, signature, arguments):
        dividend, multiplier, shift = (builder.zext(argument, INT64) for argument in arguments)
        return builder.trunc(builder.lshr(builder.mul(dividend, multiplier), shift), INT32)

    return types.int32(types.int32, types.int32, types.int32), generate


def division(divisor: int) -> tuple[int, int]:
    """Return the multiplier and the shift by which `quotient` divides what is below 2**30.

    With l = ceil(log2 divisor) and multiplier = ceil(2**(30 + l) / divisor) the excess of multiplier * divisor over
    2**(30 + l) is at most 2**l, so the quotient is exact for dividends below 2**30 (Granlund and Montgomery 1994), and
    the multiplier is at most 2**31 - 1 but for the divisor 1.
    """
    length = (divisor - 1).bit_length()
    if divisor == 1 << length:  # by a shift alone
        return 1, length
    return -(-(1 << (30 + length)) // divisor), 30 + length

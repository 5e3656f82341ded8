"""Sums in registers, and the special registers of a thread's place."""

# mypy: disable-error-code="no-untyped-def"
# What the compiler hands to an intrinsic, and takes from it, has no types.

from __future__ import annotations

from llvmlite import ir
from numba.cuda import types

from fastconv.cuda.intrinsics.emitting import INT32, fused_multiply_add, literal
from fastconv.cuda.intrinsics.intrinsic import intrinsic

__all__ = [
    "add_each",
    "add_outer",
    "block_x_again",
    "block_y_again",
    "block_z_again",
    "part",
    "slide",
    "thread_x_again",
    "zeros",
]


def _asked_anew(register: str, most: int):
    """An intrinsic that reads a special register where it stands, and not where it is read already.

    ptxas takes two readings for one, and would keep what is computed from it: a bit that no grid sets tells them apart.
    """

    def ask(typing_context):
        def generate(context, builder, signature, arguments):
            text = (
                "{ .reg .b32 %none; mov.u32 %none, %nctaid.x; shr.u32 %none, %none, 31; "
                f"mov.u32 $0, %{register}; or.b32 $0, $0, %none; }}"
            )
            found = builder.asm(ir.FunctionType(INT32, []), text, "=r", [], side_effect=True)
            return builder.and_(found, ir.Constant(INT32, most))

        return types.int32(), generate

    return intrinsic(ask)


# cuda.threadIdx.x and cuda.blockIdx, asked for anew: what depends on them is computed here, and takes no registers in
# the loop before.
thread_x_again = _asked_anew("tid.x", 2**10 - 1)
block_x_again = _asked_anew("ctaid.x", 2**31 - 1)
block_y_again = _asked_anew("ctaid.y", 2**31 - 1)
block_z_again = _asked_anew("ctaid.z", 2**31 - 1)


@intrinsic
def zeros(typing_context, zero, count):
    """Tuple of count zeros of the type of the one given"""
    if not literal(count):
        return None
    length = count.literal_value

    def generate(context, builder, signature, arguments):
        return ir.Constant(ir.ArrayType(arguments[0].type, length), None)

    return types.UniTuple(zero, length)(zero, count), generate


@intrinsic
def add_each(typing_context, values, others):
    """Tuple of values[i] + others[i]"""

    def generate(context, builder, signature, arguments):
        found, others = arguments
        for i in range(others.type.count):
            each = builder.extract_value(found, i), builder.extract_value(others, i)
            found = builder.insert_value(found, builder.fadd(*each), i)
        return found

    return values(values, others), generate


@intrinsic
def add_outer(typing_context, sums, a, b):
    """Tuple of sums[i * len(b) + j] + a[i] * b[j]: in registers, each sum one fused operation"""

    def generate(context, builder, signature, arguments):
        sums, a, b = arguments
        columns, fma = b.type.count, fused_multiply_add(builder, a.type.element)
        for i in range(a.type.count):
            for j in range(columns):
                factors = builder.extract_value(a, i), builder.extract_value(b, j)
                place = i * columns + j
                product = builder.call(fma, [*factors, builder.extract_value(sums, place)])
                sums = builder.insert_value(sums, product, place)
        return sums

    return sums(sums, a, b), generate


@intrinsic
def slide(typing_context, sums, values, factors, stride, dilation, taps):
    """Tuple of sums[i] + the sum over j of values[i * stride + j * dilation] * factors[j]: a row of a convolution"""
    if not literal(stride, dilation, taps):
        return None
    step, gap, count = stride.literal_value, dilation.literal_value, taps.literal_value

    def generate(context, builder, signature, arguments):
        sums, values, factors, *_ = arguments
        fma = fused_multiply_add(builder, factors.type.element)
        for j in range(count):
            factor = builder.extract_value(factors, j)
            for i in range(sums.type.count):
                value = builder.extract_value(values, i * step + j * gap)
                found = builder.call(fma, [value, factor, builder.extract_value(sums, i)])
                sums = builder.insert_value(sums, found, i)
        return sums

    return sums(sums, values, factors, stride, dilation, taps), generate


@intrinsic
def part(typing_context, values, first, count):
    """Tuple of values[first:first + count]"""
    if not literal(first, count):
        return None
    begin, length = first.literal_value, count.literal_value

    def generate(context, builder, signature, arguments):
        found = ir.Constant(ir.ArrayType(arguments[0].type.element, length), ir.Undefined)
        for i in range(length):
            found = builder.insert_value(found, builder.extract_value(arguments[0], begin + i), i)
        return found

    return types.UniTuple(values.dtype, length)(values, first, count), generate

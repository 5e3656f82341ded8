"""Fourier transforms as parts of a kernel: a line of complex numbers in registers, by straight-line code.

The code is that of `fastconv.codegen.fourier.transform`, without tables: all factors are constants. A line comes from
shared memory, where real and imaginary parts lie in two places, and goes back there, frequencies in natural order.
The inverse, not scaled, is the same with the two places exchanged.
"""

# mypy: disable-error-code="no-untyped-def"
# What the compiler hands to an intrinsic, and takes from it, has no types.

from __future__ import annotations

from llvmlite import ir
from numba.cuda import types

from fastconv.codegen import fourier
from fastconv.cuda.intrinsics import emit_element, emit_fused_multiply_add
from fastconv.cuda.intrinsics.intrinsic import intrinsic

__all__ = ["transform_line"]

_INT32 = ir.IntType(32)


class _Scalars:
    """What `fourier.transform` asks of a builder of vector code, of single numbers."""

    def __init__(self, builder, element) -> None:
        self._builder, self._element = builder, element
        self._fma = emit_fused_multiply_add(builder, element)
        self.owner = self

    def constant(self, value: float):
        return ir.Constant(self._element, value)

    def fadd(self, x, y):
        return self._builder.fadd(x, y)

    def fsub(self, x, y):
        return self._builder.fsub(x, y)

    def fmul(self, x, y):
        return self._builder.fmul(x, y)

    def fneg(self, x):
        return self._builder.fsub(self.constant(-0.0), x)  # NVVM knows no fneg

    def multiply_add(self, x, y, z):
        return self._builder.call(self._fma, [x, y, z])


@intrinsic
def transform_line(typing_context, array, real, imaginary, step, count):
    """Transform the numbers at array[real + i * step] and array[imaginary + i * step] for i < count, in place."""
    if not all(isinstance(each, types.IntegerLiteral) for each in (step, count)):
        return None
    distance, length = step.literal_value, count.literal_value

    def generate(context, builder, signature, arguments):
        array, *places = arguments[:3]
        first = [emit_element(context, builder, signature.args[0], array, place) for place in places]
        lines = [[builder.gep(one, [ir.Constant(_INT32, i * distance)]) for one in first] for i in range(length)]
        values = [(builder.load(real), builder.load(imaginary)) for real, imaginary in lines]
        arithmetic = _Scalars(builder, first[0].type.pointee)
        transformed = fourier.transform(arithmetic, values)  # type: ignore[arg-type]  # it has all that is called
        for place, value in zip(lines, transformed, strict=True):
            for address, part in zip(place, value, strict=True):
                builder.store(part, address)
        return context.get_dummy_value()

    return types.void(array, types.int32, types.int32, step, count), generate

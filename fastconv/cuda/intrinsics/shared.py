"""Loads and stores of shared memory, an element or a quad at a time."""

# mypy: disable-error-code="no-untyped-def"
# What the compiler hands to an intrinsic, and takes from it, has no types.

from __future__ import annotations

from llvmlite import ir
from numba.cuda import types
from numba.cuda.extending import intrinsic

from fastconv.cuda.intrinsics.emitting import INT32, QUAD, as_quad, literal

__all__ = ["get", "put", "quads", "set_quad"]


def _element(context, builder, array_type, array, index):
    """The address of an element of an array in shared memory, which the compiler knows of itself."""
    return builder.gep(context.make_array(array_type)(context, builder, array).data, [index])


@intrinsic
def quads(typing_context, array, index, step, count):
    """Tuple of count times four elements, from array[index], array[index + step] and so on; aligned to 16 bytes"""
    if not literal(step, count):
        return None
    distance, number = step.literal_value, count.literal_value

    def generate(context, builder, signature, arguments):
        first = _element(context, builder, signature.args[0], *arguments[:2])
        element = first.type.pointee
        found = ir.Constant(ir.ArrayType(element, QUAD * number), ir.Undefined)
        for i in range(number):
            address = as_quad(builder, builder.gep(first, [ir.Constant(INT32, i * distance)]))
            vector = builder.load(address, align=16)
            for j in range(QUAD):
                value = builder.extract_element(vector, ir.Constant(INT32, j))
                found = builder.insert_value(found, value, QUAD * i + j)
        return found

    return types.UniTuple(array.dtype, QUAD * number)(array, index, step, count), generate


@intrinsic
def get(typing_context, array, index):
    """array[index], of an array in shared memory; Python's negative indices would take a comparison and a selection"""

    def generate(context, builder, signature, arguments):
        array, index = arguments
        return builder.load(_element(context, builder, signature.args[0], array, index))

    return array.dtype(array, index), generate


@intrinsic
def put(typing_context, array, index, value):
    """array[index] = value, likewise"""

    def generate(context, builder, signature, arguments):
        array, index, value = arguments
        builder.store(value, _element(context, builder, signature.args[0], array, index))
        return context.get_dummy_value()

    return types.void(array, index, array.dtype), generate


@intrinsic
def set_quad(typing_context, array, index, values, first, step):
    """array[index:index + 4] = values[first], values[first + step] and so on; aligned to 16 bytes"""
    if not literal(first, step):
        return None
    begin, distance = first.literal_value, step.literal_value

    def generate(context, builder, signature, arguments):
        address = _element(context, builder, signature.args[0], *arguments[:2])
        vector = ir.Constant(ir.VectorType(address.type.pointee, QUAD), ir.Undefined)
        for i in range(QUAD):
            value = builder.extract_value(arguments[2], begin + i * distance)
            vector = builder.insert_element(vector, value, ir.Constant(INT32, i))
        builder.store(vector, as_quad(builder, address), align=16)
        return context.get_dummy_value()

    return types.void(array, index, values, first, step), generate

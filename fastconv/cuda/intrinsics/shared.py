"""Loads and stores of shared memory, an element or a quad at a time."""

# mypy: disable-error-code="no-untyped-def"
# What the compiler hands to an intrinsic, and takes from it, has no types.

from __future__ import annotations

from llvmlite import ir
from numba.cuda import types

from fastconv.cuda.intrinsics.emitting import INT32, QUAD, as_quad, literal
from fastconv.cuda.intrinsics.intrinsic import intrinsic

__all__ = ["element", "emit_quads", "get", "other_buffer", "put", "put_lines", "quads", "set_quad", "set_quads"]


def element(context, builder, array_type, array, index):
    """The address of an element of an array in shared memory, which the compiler knows of itself."""
    return builder.gep(context.make_array(array_type)(context, builder, array).data, [index])


def emit_quads(builder, first, places: range):
    """Tuple of four elements from each place on, counted from the first one's address.

    They are constants added to an address, which a load does: added to an index of 32 bits, which may overflow, each
    would take an instruction.
    """
    found = ir.Constant(ir.ArrayType(first.type.pointee, QUAD * len(places)), ir.Undefined)
    for i, place in enumerate(places):
        address = as_quad(builder, builder.gep(first, [ir.Constant(INT32, place)]))
        vector = builder.load(address, align=16)
        for j in range(QUAD):
            value = builder.extract_element(vector, ir.Constant(INT32, j))
            found = builder.insert_value(found, value, QUAD * i + j)
    return found


@intrinsic
def quads(typing_context, array, index, step, count):
    """Tuple of count times four elements, from array[index], array[index + step] and so on; aligned to 16 bytes"""
    if not literal(step, count):
        return None
    distance, number = step.literal_value, count.literal_value

    def generate(context, builder, signature, arguments):
        first = element(context, builder, signature.args[0], *arguments[:2])
        return emit_quads(builder, first, range(0, distance * number, distance) if distance else range(1))

    return types.UniTuple(array.dtype, QUAD * number)(array, index, step, count), generate


@intrinsic
def get(typing_context, array, index):
    """array[index], of an array in shared memory; Python's negative indices would take a comparison and a selection"""

    def generate(context, builder, signature, arguments):
        array, index = arguments
        return builder.load(element(context, builder, signature.args[0], array, index))

    return array.dtype(array, index), generate


@intrinsic
def put(typing_context, array, index, value):
    """array[index] = value, likewise"""

    def generate(context, builder, signature, arguments):
        array, index, value = arguments
        builder.store(value, element(context, builder, signature.args[0], array, index))
        return context.get_dummy_value()

    return types.void(array, index, array.dtype), generate


@intrinsic
def other_buffer(typing_context, index, size, again):
    """The same place in the other of two buffers of `size` elements

    The size is a power of two, and the first one begins at a multiple of two sizes, so that one bit differs. To leave
    the first one for the first time, it is added: of two places that are changed alike the compiler makes one change
    behind where they meet, and changes a copy besides in each round of a loop.
    """
    if not literal(size, again):
        return None
    distance, operation = ir.Constant(INT32, size.literal_value), "xor" if again.literal_value else "add"

    def generate(context, builder, signature, arguments):
        return getattr(builder, operation)(arguments[0], distance)

    return index(types.int32, size, again), generate


@intrinsic
def set_quad(typing_context, array, index, values, first, step):
    """array[index:index + 4] = values[first], values[first + step] and so on; aligned to 16 bytes"""
    if not literal(first, step):
        return None
    begin, distance = first.literal_value, step.literal_value

    def generate(context, builder, signature, arguments):
        address = element(context, builder, signature.args[0], *arguments[:2])
        vector = ir.Constant(ir.VectorType(address.type.pointee, QUAD), ir.Undefined)
        for i in range(QUAD):
            value = builder.extract_value(arguments[2], begin + i * distance)
            vector = builder.insert_element(vector, value, ir.Constant(INT32, i))
        builder.store(vector, as_quad(builder, address), align=16)
        return context.get_dummy_value()

    return types.void(array, index, values, first, step), generate


@intrinsic
def set_quads(typing_context, array, index, step, values):
    """array[index:index + 4], array[index + step:index + step + 4] and so on = values; aligned to 16 bytes"""
    if not literal(step):
        return None
    distance = step.literal_value

    def generate(context, builder, signature, arguments):
        array, index, _, values = arguments
        first = element(context, builder, signature.args[0], array, index)
        for i in range(values.type.count // QUAD):
            vector = ir.Constant(ir.VectorType(first.type.pointee, QUAD), ir.Undefined)
            for j in range(QUAD):
                value = builder.extract_value(values, QUAD * i + j)
                vector = builder.insert_element(vector, value, ir.Constant(INT32, j))
            builder.store(vector, as_quad(builder, builder.gep(first, [ir.Constant(INT32, i * distance)])), align=16)
        return context.get_dummy_value()

    return types.void(array, index, step, values), generate


@intrinsic
def put_lines(typing_context, array, index, values, first, count, run, run_step, line_step):
    """array[index] and elements of as many lines, `line_step` apart, = values[first:first + count]

    Every `run` of them are of neighbouring lines, and the next run's begin `run_step` lines further.
    """
    if not literal(first, count, run, run_step, line_step):
        return None
    numbers = [each.literal_value for each in (first, count, run, run_step, line_step)]

    def generate(context, builder, signature, arguments):
        begin, length, run, run_step, line_step = numbers
        target = element(context, builder, signature.args[0], *arguments[:2])
        for i in range(length):
            line = i // run * run_step + i % run
            address = builder.gep(target, [ir.Constant(INT32, line * line_step)])
            builder.store(builder.extract_value(arguments[2], begin + i), address)
        return context.get_dummy_value()

    return types.void(array, index, values, first, count, run, run_step, line_step), generate

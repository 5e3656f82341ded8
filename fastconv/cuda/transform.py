"""Winograd's transforms as parts of a kernel: a tile in registers, the straight-line programs of its matrices.

    Y = A X B^T      X: a tile, A and B: the matrices of `fastconv.codegen.cook_toom`, one for each axis

The programs are those of `fastconv.codegen.transform`, and so are the results but for the order of sums. A tile is a
tuple, row after row.
"""

# mypy: disable-error-code="no-untyped-def"
# What the compiler hands to an intrinsic, and takes from it, has no types.

from __future__ import annotations

from llvmlite import ir
from numba.cuda import types

from fastconv.codegen.cook_toom import transforms
from fastconv.codegen.straight_line import program
from fastconv.cuda.intrinsics import emit_load_if
from fastconv.cuda.intrinsics.intrinsic import intrinsic

__all__ = ["gather", "load_tile", "store_each", "transform_input", "transform_output", "transform_weight"]

_INT32 = ir.IntType(32)


class _Scalars:
    """What programs compute with: values of the kernel that is built."""

    def __init__(self, builder, element) -> None:
        self._builder, self._element = builder, element

    def add(self, x, y):
        return self._builder.fadd(x, y)

    def subtract(self, x, y):
        return self._builder.fsub(x, y)

    def multiply(self, constant, x):
        return self._builder.fmul(ir.Constant(self._element, float(constant)), x)

    def multiply_add(self, constant, x, y):
        return self._builder.fma(ir.Constant(self._element, float(constant)), x, y)


def _transforming(matrix: str):
    """An intrinsic that multiplies a tile by one of the matrices of F(m, r) along each axis, with its stride."""

    def transform(typing_context, tile, row_outputs, row_taps, row_stride, column_outputs, column_taps, column_stride):
        given = row_outputs, row_taps, row_stride, column_outputs, column_taps, column_stride
        if not all(isinstance(each, types.IntegerLiteral) for each in given):
            return None
        numbers = [each.literal_value for each in given]
        rows, columns = (program(getattr(transforms(*axis), matrix)) for axis in (numbers[:3], numbers[3:]))

        def generate(context, builder, signature, arguments):
            tile = arguments[0]
            arithmetic = _Scalars(builder, tile.type.element)
            between = []  # the columns, transformed
            for j in range(columns.inputs):
                column = [builder.extract_value(tile, i * columns.inputs + j) for i in range(rows.inputs)]
                between.append(rows.apply(column, arithmetic))
            values = [
                value
                for i in range(len(rows.outputs))
                for value in columns.apply([column[i] for column in between], arithmetic)
            ]
            found = ir.Constant(ir.ArrayType(tile.type.element, len(values)), ir.Undefined)
            for place, value in enumerate(values):
                found = builder.insert_value(found, value, place)
            return found

        count = len(rows.outputs) * len(columns.outputs)
        return types.UniTuple(tile.dtype, count)(tile, *given), generate

    return intrinsic(transform)


transform_input = _transforming("input")
transform_weight = _transforming("weight")
transform_output = _transforming("output")


@intrinsic
def load_tile(typing_context, source, row, column, height, width, row_gap, column_gap, pixel_step, rows, columns):
    """Return the tile of a plane that begins in this row and column, of rows and columns with gaps; zeros outside."""
    if not all(isinstance(each, types.IntegerLiteral) for each in (rows, columns)):
        return None
    counts = rows.literal_value, columns.literal_value

    def generate(context, builder, signature, arguments):
        source, row, column, height, width, row_gap, column_gap, pixel_step, *_ = arguments

        def places(first, gap, limit, count):
            """Where the elements are along an axis, and whether they are inside."""
            found = [builder.add(first, builder.mul(gap, ir.Constant(_INT32, i))) for i in range(count)]
            return [(place, builder.icmp_unsigned("<", place, limit)) for place in found]

        element = source.type.pointee
        tile = ir.Constant(ir.ArrayType(element, counts[0] * counts[1]), ir.Undefined)
        lines, along = places(row, row_gap, height, counts[0]), places(column, column_gap, width, counts[1])
        for i, (line, in_height) in enumerate(lines):
            begin = builder.mul(line, width)
            for j, (place, in_width) in enumerate(along):
                index = builder.mul(builder.add(begin, place), pixel_step)
                inside = builder.and_(in_height, in_width)
                value = emit_load_if(builder, signature.args[0].dtype, inside, source, index, ir.Constant(element, 0.0))
                tile = builder.insert_value(tile, value, i * counts[1] + j)
        return tile

    signature = types.UniTuple(source.dtype, counts[0] * counts[1])(source, *[types.int32] * 7, rows, columns)
    return signature, generate


@intrinsic
def gather(typing_context, array, index, step, count):
    """Return a tuple of array[index], array[index + step] and so on, of an array in shared memory."""
    if not all(isinstance(each, types.IntegerLiteral) for each in (step, count)):
        return None
    distance, length = step.literal_value, count.literal_value

    def generate(context, builder, signature, arguments):
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        first = builder.gep(data, [arguments[1]])
        found = ir.Constant(ir.ArrayType(data.type.pointee, length), ir.Undefined)
        for i in range(length):
            value = builder.load(builder.gep(first, [ir.Constant(_INT32, i * distance)]))
            found = builder.insert_value(found, value, i)
        return found

    return types.UniTuple(array.dtype, length)(array, index, step, count), generate


@intrinsic
def store_each(typing_context, pointer, step, values):
    """Store values at pointer[0], pointer[step] and so on."""

    def generate(context, builder, signature, arguments):
        pointer, step, values = arguments
        address = builder.addrspacecast(pointer, ir.PointerType(pointer.type.pointee, 1))
        for i in range(values.type.count):
            builder.store(builder.extract_value(values, i), address)
            address = builder.gep(address, [step])
        return context.get_dummy_value()

    return types.void(pointer, types.int64, values), generate

"""All that a kernel says and Python cannot: pointers, loads and stores of vectors, exact division.

Kernels take raw pointers into global memory. Loads and stores through one say its address space, so that the compiler
has nothing to infer. What a `load` reads is written by nobody while the kernel runs: the compiler may move it, and
uses the read-only path.
"""

# mypy: disable-error-code="no-untyped-def"
# What the compiler hands to an intrinsic, and takes from it, has no types.

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir
from numba.cuda import types
from numba.cuda.extending import intrinsic

__all__ = [
    "advance",
    "division",
    "inlined",
    "load",
    "load4",
    "load_if",
    "load_written",
    "quotient",
    "shared_load4",
    "shared_store4",
    "store",
    "store4",
]

_GLOBAL, _SHARED = 1, 3  # address spaces
_INT32, _INT64 = ir.IntType(32), ir.IntType(64)
_VECTOR = 4  # elements of load4 and store4: 16 bytes of float32, two times 16 bytes of float64


def inlined(formula: Callable[[Callable[[float], float]], Callable[[float], float]]) -> object:
    """Make a function of one number part of each kernel that calls it, typed and compiled with the kernel.

    `formula` gets the number's type, to give its constants that type, and returns the function. A device function of
    `numba.cuda.jit` would be made so too, but asks for the current device, and there may be none.
    """

    @intrinsic
    def call(typing_context, value):
        def generate(context, builder, signature, arguments):
            return context.compile_internal(builder, formula(value), signature, arguments)

        return value(value), generate

    return call


def _address(builder, pointer, index, space: int):
    """The address of an element, in its address space."""
    inside = builder.addrspacecast(pointer, ir.PointerType(pointer.type.pointee, space))
    return builder.gep(inside, [index])


def _as_vector(builder, address):
    """`address`, as one of a vector."""
    return builder.bitcast(address, ir.PointerType(_vector_type(address.type.pointee), address.type.addrspace))


def _vector_type(element):
    return ir.VectorType(element, _VECTOR)


def _alignment(element) -> int:
    """Bytes at whose multiples vectors lie: a load has at most 16."""
    return 16 if isinstance(element, (ir.FloatType, ir.DoubleType)) else 8


def _read_only(builder, value):
    """`value`, loaded from memory that does not change."""
    value.set_metadata("invariant.load", builder.module.add_metadata([]))
    return value


def _as_tuple(builder, vector):
    """A vector's elements as a tuple of Numba's."""
    elements = ir.Constant(ir.ArrayType(vector.type.element, _VECTOR), ir.Undefined)
    for i in range(_VECTOR):
        elements = builder.insert_value(elements, builder.extract_element(vector, ir.Constant(_INT32, i)), i)
    return elements


def _from_tuple(builder, elements):
    """The elements of a tuple of Numba's as a vector."""
    vector = ir.Constant(_vector_type(elements.type.element), ir.Undefined)
    for i in range(_VECTOR):
        vector = builder.insert_element(vector, builder.extract_value(elements, i), ir.Constant(_INT32, i))
    return vector


@intrinsic
def advance(typing_context, pointer, distance):
    """pointer + distance, in elements"""

    def generate(context, builder, signature, arguments):
        pointer, distance = arguments
        return builder.gep(pointer, [distance])

    return pointer(pointer, distance), generate


@intrinsic
def load(typing_context, pointer, index):
    """pointer[index], of memory that does not change"""

    def generate(context, builder, signature, arguments):
        pointer, index = arguments
        return _read_only(builder, builder.load(_address(builder, pointer, index, _GLOBAL)))

    return pointer.dtype(pointer, index), generate


# For `load_if`: a load's type, a register's letter, and the type of one, by the type of an element.
_REGISTERS = {
    "float": ("f32", "f", ir.FloatType()),
    "double": ("f64", "d", ir.DoubleType()),
    "i8": ("u8", "h", ir.IntType(16)),
    "i16": ("u16", "h", ir.IntType(16)),
    "i32": ("u32", "r", _INT32),
    "i64": ("u64", "l", _INT64),
}


@intrinsic
def load_if(typing_context, condition, pointer, index, otherwise):
    """pointer[index] if the condition holds, of memory that does not change, else otherwise

    By a predicate and no branch, so that the compiler unrolls loops around it.
    """

    def generate(context, builder, signature, arguments):
        condition, pointer, index, otherwise = arguments
        address = _address(builder, pointer, index, _GLOBAL)
        kind, letter, register = _REGISTERS[str(address.type.pointee)]
        narrow = register != address.type.pointee
        text = (
            "{ .reg .pred p; setp.ne.u32 p, $3, 0; "
            f"mov.{'b16' if letter == 'h' else kind} $0, $2; @p ld.global.nc.{kind} $0, [$1]; }}"
        )
        call = ir.InlineAsm(
            ir.FunctionType(register, [_INT64, register, _INT32]), text, f"=&{letter},l,{letter},r", side_effect=False
        )
        operands = [
            builder.ptrtoint(address, _INT64),
            builder.zext(otherwise, register) if narrow else otherwise,
            builder.zext(condition, _INT32),
        ]
        found = builder.call(call, operands)
        return builder.trunc(found, address.type.pointee) if narrow else found

    return pointer.dtype(types.boolean, pointer, index, pointer.dtype), generate


@intrinsic
def load_written(typing_context, pointer, index):
    """pointer[index], of memory that the kernel may have written"""

    def generate(context, builder, signature, arguments):
        pointer, index = arguments
        return builder.load(_address(builder, pointer, index, _GLOBAL))

    return pointer.dtype(pointer, index), generate


@intrinsic
def load4(typing_context, pointer, index):
    """Four elements from pointer[index] on, of memory that does not change; aligned to 16 bytes"""

    def generate(context, builder, signature, arguments):
        pointer, index = arguments
        address = _address(builder, pointer, index, _GLOBAL)
        vector = builder.load(_as_vector(builder, address), align=_alignment(address.type.pointee))
        return _as_tuple(builder, _read_only(builder, vector))

    return types.UniTuple(pointer.dtype, _VECTOR)(pointer, index), generate


@intrinsic
def store(typing_context, pointer, index, value):
    """pointer[index] = value"""

    def generate(context, builder, signature, arguments):
        pointer, index, value = arguments
        builder.store(value, _address(builder, pointer, index, _GLOBAL))
        return context.get_dummy_value()

    return types.void(pointer, index, pointer.dtype), generate


@intrinsic
def store4(typing_context, pointer, index, values):
    """Store a tuple of four from pointer[index] on, aligned to 16 bytes"""

    def generate(context, builder, signature, arguments):
        pointer, index, values = arguments
        address = _address(builder, pointer, index, _GLOBAL)
        vector = _from_tuple(builder, values)
        builder.store(vector, _as_vector(builder, address), align=_alignment(address.type.pointee))
        return context.get_dummy_value()

    return types.void(pointer, index, values), generate


def _shared_address(context, builder, array_type, array, index):
    """The address of an element of a shared array, which Numba holds as one in the generic address space."""
    data = context.make_array(array_type)(context, builder, array).data
    return _address(builder, data, index, _SHARED)


@intrinsic
def shared_load4(typing_context, array, index):
    """Four elements from array[index] on, of an array in shared memory; aligned to 16 bytes"""

    def generate(context, builder, signature, arguments):
        array, index = arguments
        address = _shared_address(context, builder, signature.args[0], array, index)
        vector = builder.load(_as_vector(builder, address), align=_alignment(address.type.pointee))
        return _as_tuple(builder, vector)

    return types.UniTuple(array.dtype, _VECTOR)(array, index), generate


@intrinsic
def shared_store4(typing_context, array, index, values):
    """Store a tuple of four from array[index] on, of an array in shared memory; aligned to 16 bytes"""

    def generate(context, builder, signature, arguments):
        array, index, values = arguments
        address = _shared_address(context, builder, signature.args[0], array, index)
        vector = _from_tuple(builder, values)
        builder.store(vector, _as_vector(builder, address), align=_alignment(address.type.pointee))
        return context.get_dummy_value()

    return types.void(array, index, values), generate


@intrinsic
def quotient(typing_context, dividend, multiplier, shift):
    """dividend // divisor of int32s, none negative, by what `division` gives for the divisor

    A division of int32s takes some twenty instructions, this one three.
    """

    def generate(context, builder, signature, arguments):
        dividend, multiplier, shift = (builder.zext(argument, _INT64) for argument in arguments)
        return builder.trunc(builder.lshr(builder.mul(dividend, multiplier), shift), _INT32)

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

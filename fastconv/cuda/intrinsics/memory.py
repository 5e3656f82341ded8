"""Loads and stores of global memory by raw pointers.

Each says its address space, so that the compiler has nothing to infer. What a `load` reads is written by nobody while
the kernel runs: the compiler may move it, and uses the read-only path.

Halves are float32 in registers and in shared memory: loads widen and stores round, see `halves`.
"""

# mypy: disable-error-code="no-untyped-def"
# What the compiler hands to an intrinsic, and takes from it, has no types.

from __future__ import annotations

from llvmlite import ir
from numba.cuda import types

from fastconv.cuda.intrinsics.emitting import INT32, INT64, QUAD, as_quad, literal
from fastconv.cuda.intrinsics.halves import cut, narrowed, narrowed_pair, real, widened, widened_pair
from fastconv.cuda.intrinsics.intrinsic import intrinsic

__all__ = [
    "advance",
    "emit_load_if",
    "is_given",
    "load",
    "load4",
    "load_columns",
    "load_if",
    "load_quads",
    "load_row",
    "load_run",
    "mark",
    "store",
    "store_run",
]

_GLOBAL = 1  # the address space


def _address(builder, pointer, index, space: int):
    """The address of an element, in its address space."""
    inside = builder.addrspacecast(pointer, ir.PointerType(pointer.type.pointee, space))
    return builder.gep(inside, [index])


def _alignment(element) -> int:
    """Bytes at whose multiples vectors lie: a load has at most 16."""
    return 16 if isinstance(element, (ir.FloatType, ir.DoubleType)) else 8


def _read_only(builder, value):
    """`value`, loaded from memory that does not change."""
    value.set_metadata("invariant.load", builder.module.add_metadata([]))
    return value


def _as_tuple(builder, vector):
    """A vector's elements as a tuple of Numba's."""
    elements = ir.Constant(ir.ArrayType(vector.type.element, QUAD), ir.Undefined)
    for i in range(QUAD):
        elements = builder.insert_value(elements, builder.extract_element(vector, ir.Constant(INT32, i)), i)
    return elements


@intrinsic
def advance(typing_context, pointer, distance):
    """pointer + distance, in elements"""

    def generate(context, builder, signature, arguments):
        pointer, distance = arguments
        return builder.gep(pointer, [distance])

    return pointer(pointer, distance), generate


@intrinsic
def is_given(typing_context, pointer):
    """pointer is not null: there is such an argument"""

    def generate(context, builder, signature, arguments):
        (pointer,) = arguments
        return builder.icmp_unsigned("!=", pointer, ir.Constant(pointer.type, None))

    return types.boolean(pointer), generate


@intrinsic
def load(typing_context, pointer, index):
    """pointer[index], of memory that does not change"""

    def generate(context, builder, signature, arguments):
        source, index = arguments
        value = _read_only(builder, builder.load(_address(builder, source, index, _GLOBAL)))
        return widened(builder, pointer.dtype, value)

    return real(pointer.dtype)(pointer, index), generate


# For `load_if`: a load's type, a register's letter and type, and bytes, by the type of an element.
_REGISTERS = {
    "float": ("f32", "f", ir.FloatType(), 4),
    "double": ("f64", "d", ir.DoubleType(), 8),
    "i8": ("u8", "h", ir.IntType(16), 1),
    "i16": ("u16", "h", ir.IntType(16), 2),
    "i32": ("u32", "r", INT32, 4),
    "i64": ("u64", "l", INT64, 8),
}


def emit_load_if(builder, kind, condition, pointer, index, otherwise):
    """pointer[index] if the condition holds, else `otherwise`: by a predicate and no branch.

    The address is one multiply-add of the index; left to itself, the compiler adds in three steps.
    """
    element = pointer.type.pointee
    loaded, letter, register, size = _REGISTERS[str(element)]
    narrow = register != element
    text = (
        "{ .reg .pred p; .reg .s64 place; setp.ne.u32 p, $4, 0; "
        f"mad.wide.s32 place, $2, {size}, $1; "
        f"mov.{'b16' if letter == 'h' else loaded} $0, $3; @p ld.global.nc.{loaded} $0, [place]; }}"
    )
    function_type = ir.FunctionType(register, [INT64, INT32, register, INT32])
    otherwise = cut(builder, kind, otherwise)
    operands = [
        builder.ptrtoint(_address(builder, pointer, ir.Constant(INT32, 0), _GLOBAL), INT64),
        index,
        builder.zext(otherwise, register) if narrow else otherwise,
        builder.zext(condition, INT32),
    ]
    found = builder.asm(function_type, text, f"=&{letter},l,r,{letter},r", operands, side_effect=False)
    return widened(builder, kind, builder.trunc(found, element) if narrow else found)


@intrinsic
def load_if(typing_context, condition, pointer, index, otherwise):
    """pointer[index] if the condition holds, of memory that does not change, else otherwise, which elements can hold

    Without a branch, so that the compiler unrolls loops around it.
    """

    def generate(context, builder, signature, arguments):
        return emit_load_if(builder, pointer.dtype, *arguments)

    return real(pointer.dtype)(types.boolean, pointer, types.int32, real(pointer.dtype)), generate


@intrinsic
def load_row(typing_context, pointer, step, first, limit, count):
    """Tuple of pointer[0], pointer[step] and so on, each 0 unless 0 <= first, first + 1 and so on < limit"""
    if not literal(count):
        return None
    length, kind = count.literal_value, pointer.dtype

    def generate(context, builder, signature, arguments):
        pointer, step, first, limit, _ = arguments
        element = context.get_value_type(real(kind))
        found = ir.Constant(ir.ArrayType(element, length), ir.Undefined)
        for i in range(length):
            number = ir.Constant(INT32, i)
            inside = builder.icmp_unsigned("<", builder.add(first, number), limit)
            value = emit_load_if(builder, kind, inside, pointer, builder.mul(step, number), ir.Constant(element, 0.0))
            found = builder.insert_value(found, value, i)
        return found

    signature = types.UniTuple(real(kind), length)(pointer, types.int32, types.int32, types.int32, count)
    return signature, generate


@intrinsic
def load4(typing_context, pointer, index):
    """Four elements from pointer[index] on, of memory that does not change; aligned to 16 bytes"""

    def generate(context, builder, signature, arguments):
        pointer, index = arguments
        address = _address(builder, pointer, index, _GLOBAL)
        vector = builder.load(as_quad(builder, address), align=_alignment(address.type.pointee))
        return _as_tuple(builder, _read_only(builder, vector))

    return types.UniTuple(pointer.dtype, QUAD)(pointer, index), generate


@intrinsic
def load_quads(typing_context, pointer, index, step, count):
    """Tuple of count times four elements, from pointer[index], pointer[index + step] and so on; see `load4`"""
    if not literal(count):
        return None
    number = count.literal_value

    def generate(context, builder, signature, arguments):
        source, index, step, _ = arguments
        element = source.type.pointee
        found = ir.Constant(ir.ArrayType(element, QUAD * number), ir.Undefined)
        for i in range(number):
            place = builder.add(index, builder.mul(step, ir.Constant(INT32, i)))
            address = _address(builder, source, place, _GLOBAL)
            vector = _read_only(builder, builder.load(as_quad(builder, address), align=_alignment(element)))
            for j in range(QUAD):
                value = builder.extract_element(vector, ir.Constant(INT32, j))
                found = builder.insert_value(found, value, QUAD * i + j)
        return found

    return types.UniTuple(pointer.dtype, QUAD * number)(pointer, types.int32, types.int32, count), generate


@intrinsic
def store(typing_context, pointer, index, value):
    """pointer[index] = value"""

    def generate(context, builder, signature, arguments):
        target, index, value = arguments
        builder.store(narrowed(builder, pointer.dtype, value), _address(builder, target, index, _GLOBAL))
        return context.get_dummy_value()

    return types.void(pointer, index, real(pointer.dtype)), generate


def _words(kind, count: int) -> bool:
    """Whether so many elements move as words of 32 bits: of smaller ones, an instruction moves four, not 16 bytes."""
    return real(kind) != kind and count % 2 == 0


@intrinsic
def store_run(typing_context, pointer, index, values, first, count):
    """pointer[index:index + count] = values[first:first + count]; aligned to the run, or to 16 bytes if it is longer"""
    if not literal(first, count):
        return None
    begin, length, kind = first.literal_value, count.literal_value, pointer.dtype

    def generate(context, builder, signature, arguments):
        address = _address(builder, arguments[0], arguments[1], _GLOBAL)
        elements = [builder.extract_value(arguments[2], begin + i) for i in range(length)]
        if _words(kind, length):
            pairs = zip(elements[::2], elements[1::2], strict=True)
            elements = [narrowed_pair(builder, kind, *pair) for pair in pairs]
        else:
            elements = [narrowed(builder, kind, element) for element in elements]
        run = ir.Constant(ir.VectorType(elements[0].type, len(elements)), ir.Undefined)
        for i, element in enumerate(elements):
            run = builder.insert_element(run, element, ir.Constant(INT32, i))
        size = length * _ELEMENTS[type(address.type.pointee)][0]
        builder.store(run, builder.bitcast(address, ir.PointerType(run.type, _GLOBAL)), align=min(16, size))
        return context.get_dummy_value()

    return types.void(pointer, index, values, first, count), generate


@intrinsic
def load_run(typing_context, pointer, index, count):
    """Tuple of pointer[index:index + count], of memory that does not change; aligned as `store_run` says"""
    if not literal(count):
        return None
    length, kind = count.literal_value, pointer.dtype

    def generate(context, builder, signature, arguments):
        address = _address(builder, arguments[0], arguments[1], _GLOBAL)
        size = length * _ELEMENTS[type(address.type.pointee)][0]
        words = _words(kind, length)
        run = ir.VectorType(INT32 if words else address.type.pointee, length // 2 if words else length)
        source = builder.bitcast(address, ir.PointerType(run, _GLOBAL))
        vector = _read_only(builder, builder.load(source, align=min(16, size)))
        found = ir.Constant(ir.ArrayType(context.get_value_type(real(kind)), length), ir.Undefined)
        loaded = [builder.extract_element(vector, ir.Constant(INT32, i)) for i in range(run.count)]
        if words:
            elements = [half for word in loaded for half in widened_pair(builder, kind, word)]
        else:
            elements = [widened(builder, kind, element) for element in loaded]
        for i, element in enumerate(elements):
            found = builder.insert_value(found, element, i)
        return found

    return types.UniTuple(real(kind), length)(pointer, index, count), generate


@intrinsic
def mark(typing_context, pointer, index):
    """pointer[index] = 1, whoever does so at the same time"""

    def generate(context, builder, signature, arguments):
        address = _address(builder, arguments[0], arguments[1], _GLOBAL)
        builder.atomic_rmw("or", address, ir.Constant(INT32, 1), "monotonic")
        return context.get_dummy_value()

    return types.void(pointer, index), generate


#: Bytes, the constraint of a register, the type in PTX, and zero there.
_ELEMENTS = {
    ir.FloatType: (4, "f", "f32", "0f00000000"),
    ir.DoubleType: (8, "d", "f64", "0d0000000000000000"),
    ir.IntType: (2, "h", "b16", "0"),  # halves
}


def _load_inside(builder, element, source, entry, inside, step, count: int, at_once: int):
    """`count` times `at_once` elements, `step` apart, at an offset; zeros unless all bits that the entry needs are set.

    In PTX, with a predicate: of a branch, the compiler would make a block of its own, which nothing moves across. The
    address is one multiply-add to one that stays in registers; left to itself, the compiler adds in three steps. From
    a load to the next, the step is added: multiples of it would be kept, two registers each.
    """
    size, register, kind, zero = _ELEMENTS[type(element)]
    offset = builder.trunc(entry, INT32)
    needed = builder.trunc(builder.lshr(entry, ir.Constant(INT64, 32)), INT32)
    missing = builder.and_(builder.not_(inside), needed)
    step = builder.sext(builder.mul(step, ir.Constant(INT32, size)), INT64)
    vector = min(at_once, 16 // size)  # elements of one load
    results = [f"${i}" for i in range(count * at_once)]
    first, place, absent, gap = (f"${len(results) + i}" for i in range(4))
    text = [
        "{ .reg .pred %all; .reg .s64 %place;",
        f"setp.eq.b32 %all, {absent}, 0;",
        f"mad.wide.s32 %place, {place}, {size}, {first};",
        *(f"mov.{kind} {result}, {zero};" for result in results),
    ]
    for begin in range(0, len(results), vector):
        if begin and begin % at_once == 0:
            text.append(f"add.s64 %place, %place, {gap};")
        into = ", ".join(results[begin : begin + vector])
        form = f".v{vector}.{kind} {{{into}}}" if vector > 1 else f".{kind} {into}"
        text.append(f"@%all ld.global.nc{form}, [%place+{begin % at_once * size}];")
    text.append("}")
    several = len(results) > 1
    result = ir.LiteralStructType([element] * len(results)) if several else element
    function_type = ir.FunctionType(result, [INT64, INT32, INT32, INT64])
    constraints = ",".join([f"=&{register}"] * len(results) + ["l", "r", "r", "l"])
    operands = [source, offset, missing, step]
    value = builder.asm(function_type, " ".join(text), constraints, operands, side_effect=False)
    return [builder.extract_value(value, i) for i in range(len(results))] if several else [value]


@intrinsic
def load_columns(typing_context, pointer, source, inside, table, place, entries, entry_step, step, count, at_once):
    """Tuple of a window's elements: those by table[place], table[place + entry_step] and so on, of so many `entries`

    By an entry, they are `at_once`, 1 or 4, and as many `step` elements further, and so on, `count` times. They are of
    the pointer's type; the first ones lie as many elements behind the address `source` as the low half of the entry
    says. All are zero unless `inside` has all bits of its high half. Four are aligned to 16 bytes, of halves to 8.
    """
    if not literal(entries, entry_step, count, at_once):
        return None
    numbers, kind = [each.literal_value for each in (entries, entry_step, count, at_once)], pointer.dtype

    def generate(context, builder, signature, arguments):
        entries, entry_step, count, at_once = numbers
        pointer, source, inside, table, place, _, _, step, *_ = arguments
        loaded = []
        for i in range(entries):
            here = builder.add(place, ir.Constant(INT32, i * entry_step))
            entry = _read_only(builder, builder.load(_address(builder, table, here, _GLOBAL)))
            loaded += _load_inside(builder, pointer.type.pointee, source, entry, inside, step, count, at_once)
        values = [widened(builder, kind, value) for value in loaded]
        found = ir.Constant(ir.ArrayType(values[0].type, len(values)), ir.Undefined)
        for i, value in enumerate(values):
            found = builder.insert_value(found, value, i)
        return found

    number, length = types.int32, numbers[0] * numbers[2] * numbers[3]
    signature = types.UniTuple(real(kind), length)(
        pointer, types.int64, number, table, number, entries, entry_step, number, count, at_once
    )
    return signature, generate

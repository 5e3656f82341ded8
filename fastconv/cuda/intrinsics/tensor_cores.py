"""Tensor cores and what feeds them: copies to shared memory that nobody waits for yet, fragments, products.

A warp multiplies two matrices whose elements lie in the registers of its 32 threads: a fragment is what one of them
holds. Which elements those are, the instruction says; with g = lane // 4 and t = lane % 4, and two halves a register:

===========  ==================================  =====================================
register     m16n8k16, of halves                 m16n8k8, of tf32
===========  ==================================  =====================================
a0           row g, columns 2t and 2t + 1        row g, column t
a1           row g + 8, columns 2t and 2t + 1    row g + 8, column t
a2           row g, columns 2t + 8 and 2t + 9    row g, column t + 4
a3           row g + 8, columns 2t + 8, 2t + 9   row g + 8, column t + 4
b0           rows 2t and 2t + 1, column g        row t, column g
b1           rows 2t + 8 and 2t + 9, column g    row t + 4, column g
c0, c1       row g, columns 2t and 2t + 1        the same
c2, c3       row g + 8, columns 2t and 2t + 1    the same
===========  ==================================  =====================================

In bytes both are the same: a register is word t of eight rows of 16 bytes, which is what `load_matrices` loads.
Source: PTX ISA, "Warp Level Matrix Multiply-Accumulate Instructions".
"""

# mypy: disable-error-code="no-untyped-def"
# What the compiler hands to an intrinsic, and takes from it, has no types.

from __future__ import annotations

from llvmlite import ir
from numba.cuda import types

from fastconv.cuda.intrinsics.emitting import INT32, INT64, literal
from fastconv.cuda.intrinsics.intrinsic import intrinsic

__all__ = [
    "address_of",
    "as_columns",
    "as_they_are",
    "commit_copies",
    "copy_async",
    "load_matrices",
    "load_transposed",
    "load_words",
    "multiply_bfloat16",
    "multiply_float16",
    "multiply_tf32",
    "put_sums",
    "rounded_to_bfloat16",
    "rounded_to_float16",
    "rounded_to_tf32",
    "shared_address",
    "store_sums",
    "wait_copies",
    "word_of_bfloat16",
    "word_of_float16",
    "word_of_tf32",
]

_GLOBAL, _SHARED = 1, 3  # address spaces
_FLOAT = ir.FloatType()
_FRAGMENTS = 4  # registers that one `ldmatrix` fills, and that hold a part of A, and sums
_OF_B = 2  # registers that hold a part of B


def _told(builder, text, constraints, operands, *, result=None, effect: bool = True, convergent: bool = False):
    """Emit PTX; what has an effect stays where it is among other accesses to memory."""
    kinds = ir.FunctionType(result or ir.VoidType(), [operand.type for operand in operands])
    if effect:
        constraints = f"{constraints},~{{memory}}" if constraints else "~{memory}"
    code = ir.InlineAsm(kinds, text, constraints, side_effect=effect)
    return builder.call(code, operands, attrs=("convergent",) if convergent else ())


def _packed(builder, values, kind):
    """Values as a tuple of Numba's."""
    found = ir.Constant(ir.ArrayType(kind, len(values)), ir.Undefined)
    for i, value in enumerate(values):
        found = builder.insert_value(found, value, i)
    return found


@intrinsic
def address_of(typing_context, pointer, index):
    """The address of pointer[index] in global memory, an int64"""

    def generate(context, builder, signature, arguments):
        pointer, index = arguments
        inside = builder.addrspacecast(pointer, ir.PointerType(pointer.type.pointee, _GLOBAL))
        return builder.ptrtoint(builder.gep(inside, [index]), INT64)

    return types.int64(pointer, index), generate


@intrinsic
def shared_address(typing_context, array):
    """The address of an array in shared memory as instructions for it take it: 32 bits"""

    def generate(context, builder, signature, arguments):
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        inside = builder.addrspacecast(data, ir.PointerType(data.type.pointee, _SHARED))
        return builder.ptrtoint(inside, INT32)

    return types.int32(array), generate


@intrinsic
def copy_async(typing_context, target, source, offset, item, missing, size):
    """Send `size` bytes, from offset * item bytes behind the address `source`, to the address `target` in shared memory

    Zeros where a bit of `missing` is set. Of 16, 8 or 4 bytes, aligned to them, which land when they are waited for;
    the hardware has no such copy of 2 bytes: these are loaded and stored.
    """
    if not literal(item, size):
        return None
    step, count = item.literal_value, size.literal_value
    place = f"setp.eq.b32 %all, $3, 0; mad.wide.s32 %place, $2, {step}, $1;"
    if count == 2:
        text = (
            f"{{ .reg .pred %all; .reg .s64 %place; .reg .b16 %value; {place} mov.b16 %value, 0; "
            "@%all ld.global.nc.b16 %value, [%place]; st.shared.b16 [$0], %value; }"
        )
    else:
        through = "cg" if count == 16 else "ca"  # past the first level cache, which takes whole 16 bytes only
        text = (
            f"{{ .reg .pred %all; .reg .s64 %place; .reg .b32 %size; {place} selp.b32 %size, {count}, 0, %all; "
            f"cp.async.{through}.shared.global [$0], [%place], {count}, %size; }}"
        )

    def generate(context, builder, signature, arguments):
        target, source, offset, _, missing, _ = arguments
        _told(builder, text, "r,l,r,r", [target, source, offset, missing])
        return context.get_dummy_value()

    return types.void(types.int32, types.int64, types.int32, item, types.int32, size), generate


@intrinsic
def commit_copies(typing_context):
    """Make the copies that were sent since the last time one group, to wait for"""

    def generate(context, builder, signature, arguments):
        _told(builder, "cp.async.commit_group;", "", [])
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic
def wait_copies(typing_context, most):
    """Wait until this thread has no more than `most` groups of copies on their way"""
    if not literal(most):
        return None
    count = most.literal_value

    def generate(context, builder, signature, arguments):
        _told(builder, f"cp.async.wait_group {count};", "", [])
        return context.get_dummy_value()

    return types.void(most), generate


@intrinsic
def load_matrices(typing_context, address, step, count):
    """Tuple of count times four registers: of matrices of eight rows of 16 bytes in shared memory

    Lane 8 m + r gives the address of row r of matrix m; from there on, each further four matrices lie `step` bytes
    behind. Of each, lane 4 r + t gets word t of row r.
    """
    if not literal(step, count):
        return None
    distance, number = step.literal_value, count.literal_value
    result = ir.LiteralStructType([INT32] * _FRAGMENTS)

    def generate(context, builder, signature, arguments):
        address, *_ = arguments
        found = []
        for i in range(number):
            text = f"ldmatrix.sync.aligned.m8n8.x4.shared.b16 {{$0, $1, $2, $3}}, [$4+{i * distance}];"
            loaded = _told(builder, text, "=r,=r,=r,=r,r", [address], result=result, convergent=True)
            found += [builder.extract_value(loaded, j) for j in range(_FRAGMENTS)]
        return _packed(builder, found, INT32)

    return types.UniTuple(types.int32, _FRAGMENTS * number)(types.int32, step, count), generate


@intrinsic
def load_transposed(typing_context, address, ahead, row, count):
    """Tuple of count times four registers: fragments of halves whose columns are the rows of shared memory

    Those are swizzled: chunk c of 16 bytes of row r is at place c ^ (r % 8). Lane 8 m + r gives the address of row r of
    matrix m, `ahead` bytes before it; each further four matrices lie two chunks behind.
    """
    if not literal(ahead, row, count):
        return None
    behind, number = ahead.literal_value, count.literal_value
    result = ir.LiteralStructType([INT32] * _FRAGMENTS)

    def generate(context, builder, signature, arguments):
        found = []
        for i in range(number):
            place = builder.xor(arguments[0], ir.Constant(INT32, i % 4 * 32))
            distance = behind + i // 4 * 128
            text = f"ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {{$0, $1, $2, $3}}, [$4+{distance}];"
            loaded = _told(builder, text, "=r,=r,=r,=r,r", [place], result=result, convergent=True)
            found += [builder.extract_value(loaded, j) for j in range(_FRAGMENTS)]
        return _packed(builder, found, INT32)

    return types.UniTuple(types.int32, _FRAGMENTS * number)(types.int32, ahead, row, count), generate


@intrinsic
def load_words(typing_context, address, ahead, row, count):
    """The same of words, which no instruction transposes: each is loaded by itself

    Chunk c of row r is at place c ^ (r % 4 * 2): four rows of eight words lie in all banks. Lane l gives the address of
    word l // 4 of row l % 4; rows have `row` bytes.
    """
    if not literal(ahead, row, count):
        return None
    behind, number, four_rows = ahead.literal_value, count.literal_value, 4 * row.literal_value

    def generate(context, builder, signature, arguments):
        found = []
        for i in range(number):
            for lower in (0, four_rows):
                for eight in (2 * i, 2 * i + 1):
                    place = builder.xor(arguments[0], ir.Constant(INT32, eight % 4 * 32))
                    text = f"ld.shared.b32 $0, [$1+{behind + lower + eight // 4 * 128}];"
                    found.append(_told(builder, text, "=r,r", [place], result=INT32))
        return _packed(builder, found, INT32)

    return types.UniTuple(types.int32, _FRAGMENTS * number)(types.int32, ahead, row, count), generate


@intrinsic
def as_columns(typing_context, factors):
    """Fragments of A as those of B: sixteen rows of one are twice eight columns of the other"""

    def generate(context, builder, signature, arguments):
        values = [builder.extract_value(arguments[0], i) for i in range(factors.count)]
        order = [first + i for first in range(0, factors.count, _FRAGMENTS) for i in (0, 2, 1, 3)]
        return _packed(builder, [values[i] for i in order], INT32)

    return factors(factors), generate


def _multiplying(shape: str):
    """An intrinsic that adds products of matrices, by the instruction of that shape and these types.

    It takes and returns sums: those of the i-th 16 rows of A and the j-th 8 columns of B are four, from
    4 * (i * columns + j) on.
    """
    words = [f"${i}" for i in range(14)]
    into, a, b, sums = (", ".join(words[first:last]) for first, last in ((0, 4), (4, 8), (8, 10), (10, 14)))
    text = f"mma.sync.aligned.{shape} {{{into}}}, {{{a}}}, {{{b}}}, {{{sums}}};"
    constraints = ",".join(["=f"] * 4 + ["r"] * 6 + ["0", "1", "2", "3"])
    result = ir.LiteralStructType([_FLOAT] * _FRAGMENTS)

    def multiply(typing_context, sums, a, b):
        rows, columns = a.count // _FRAGMENTS, b.count // _OF_B

        def generate(context, builder, signature, arguments):
            sums, a, b = arguments
            for i in range(rows):
                # There and back: the next product has a factor in common with the last one, which stays in its register
                for j in range(columns) if i % 2 == 0 else reversed(range(columns)):
                    place = _FRAGMENTS * (i * columns + j)
                    of_a = [builder.extract_value(a, _FRAGMENTS * i + k) for k in range(_FRAGMENTS)]
                    of_b = [builder.extract_value(b, _OF_B * j + k) for k in range(_OF_B)]
                    before = [builder.extract_value(sums, place + k) for k in range(_FRAGMENTS)]
                    operands = [*of_a, *of_b, *before]
                    added = _told(builder, text, constraints, operands, result=result, effect=False, convergent=True)
                    for k in range(_FRAGMENTS):
                        sums = builder.insert_value(sums, builder.extract_value(added, k), place + k)
            return sums

        return sums(sums, a, b), generate

    return intrinsic(multiply)


multiply_float16 = _multiplying("m16n8k16.row.col.f32.f16.f16.f32")
multiply_bfloat16 = _multiplying("m16n8k16.row.col.f32.bf16.bf16.f32")
multiply_tf32 = _multiplying("m16n8k8.row.col.f32.tf32.tf32.f32")


@intrinsic
def as_they_are(typing_context, factors):
    """The factors: they have the type that is multiplied"""

    def generate(context, builder, signature, arguments):
        return arguments[0]

    return factors(factors), generate


@intrinsic
def rounded_to_tf32(typing_context, factors):
    """Float32 numbers with the 11 significant bits that are multiplied, the nearest; of two, that further from zero

    Left as they are, the hardware would cut them off, which errs twice as far, and always toward zero.
    """

    def generate(context, builder, signature, arguments):
        (factors,) = arguments
        values = [builder.extract_value(factors, i) for i in range(factors.type.count)]
        text = "cvt.rna.tf32.f32 $0, $1;"
        rounded = [_told(builder, text, "=r,r", [value], result=INT32, effect=False) for value in values]
        return _packed(builder, rounded, INT32)

    return factors(factors), generate


def _rounding_pairs(kind: str):
    """An intrinsic that makes halves of float32 numbers: of four columns in a row, and of the next four.

    Of `load_matrices`, a thread has columns t and t + 4 of each eight: these become the two halves of a register, where
    the product has columns 2 t and 2 t + 1. It is a sum over columns, and so their order means nothing, if weights are
    packed in the same one: `packed_column` in `mma_packing`.
    """
    text = f"cvt.rn.{kind}x2.f32 $0, $2, $1;"  # the second operand becomes the upper half

    def rounded(typing_context, first, second):
        def generate(context, builder, signature, arguments):
            found = []
            for i in range(0, arguments[0].type.count, _FRAGMENTS):
                for part in arguments:
                    low, low_below, high, high_below = (builder.extract_value(part, i + j) for j in range(_FRAGMENTS))
                    for pair in ((low, high), (low_below, high_below)):
                        values = [builder.bitcast(value, _FLOAT) for value in pair]
                        found.append(_told(builder, text, "=r,f,f", values, result=INT32, effect=False))
            return _packed(builder, found, INT32)

        return first(first, second), generate

    return intrinsic(rounded)


rounded_to_float16 = _rounding_pairs("f16")
rounded_to_bfloat16 = _rounding_pairs("bf16")


@intrinsic
def put_sums(typing_context, array, index, sums, columns, row_step, column_step):
    """Store sums as products leave them: that of row i, column j of a warp's to array[index + i * row_step + ...]

    `index` is where this lane's first sum belongs: that of row g, column 2 t. `columns` is how many times 8 columns
    there are. Sums of columns side by side are stored as one, which lies at a multiple of two elements.
    """
    if not literal(columns, row_step, column_step):
        return None
    across, down, along = (kind.literal_value for kind in (columns, row_step, column_step))

    def generate(context, builder, signature, arguments):
        array, index, sums, *_ = arguments
        first = builder.gep(context.make_array(signature.args[0])(context, builder, array).data, [index])
        pair = ir.VectorType(first.type.pointee, 2)
        for place in range(0, sums.type.count, 2):
            tile, lower = place // _FRAGMENTS, place // 2 % 2
            distance = (tile // across * 16 + lower * 8) * down + tile % across * 8 * along
            address = builder.gep(first, [ir.Constant(INT32, distance)])
            values = [builder.extract_value(sums, place + i) for i in range(2)]
            if along == 1:
                vector = ir.Constant(pair, ir.Undefined)
                for i, value in enumerate(values):
                    vector = builder.insert_element(vector, value, ir.Constant(INT32, i))
                builder.store(vector, builder.bitcast(address, ir.PointerType(pair, address.type.addrspace)), align=8)
            else:
                for i, value in enumerate(values):
                    builder.store(value, builder.gep(address, [ir.Constant(INT32, i * along)]))
        return context.get_dummy_value()

    return types.void(array, types.int32, sums, columns, row_step, column_step), generate


@intrinsic
def store_sums(typing_context, pointer, sums, columns, row_step):
    """Store sums as products leave them: that of row i, column j of a warp's to pointer[i * row_step + j]

    `pointer` is where this lane's first sum belongs, at a multiple of two elements: that of row g, column 2 t.
    """
    if not literal(columns):
        return None
    across = columns.literal_value

    def generate(context, builder, signature, arguments):
        pointer, sums, _, row_step = arguments
        first = builder.addrspacecast(pointer, ir.PointerType(pointer.type.pointee, _GLOBAL))
        pair = ir.VectorType(first.type.pointee, 2)
        step = builder.sext(row_step, INT64)
        for place in range(0, sums.type.count, 2):
            tile, lower = place // _FRAGMENTS, place // 2 % 2
            distance = builder.mul(step, ir.Constant(INT64, tile // across * 16 + lower * 8))
            row = builder.gep(first, [distance])
            address = builder.gep(row, [ir.Constant(INT64, tile % across * 8)])
            vector = ir.Constant(pair, ir.Undefined)
            for i in range(2):
                value = builder.extract_value(sums, place + i)
                vector = builder.insert_element(vector, value, ir.Constant(INT32, i))
            builder.store(vector, builder.bitcast(address, ir.PointerType(pair, _GLOBAL)), align=8)
        return context.get_dummy_value()

    return types.void(pointer, sums, columns, types.int32), generate


def _word(text: str):
    """An intrinsic that makes a register of weights: of a lower and an upper one, or of the first alone."""
    operands = 2 if "$2" in text else 1
    constraints = ",".join(["=r", *["f"] * operands])

    def word(typing_context, low, high):
        def generate(context, builder, signature, arguments):
            return _told(builder, text, constraints, arguments[:operands], result=INT32, effect=False)

        return types.int32(types.float32, types.float32), generate

    return intrinsic(word)


word_of_float16 = _word("cvt.rn.f16x2.f32 $0, $2, $1;")
word_of_bfloat16 = _word("cvt.rn.bf16x2.f32 $0, $2, $1;")
word_of_tf32 = _word("cvt.rna.tf32.f32 $0, $1;")

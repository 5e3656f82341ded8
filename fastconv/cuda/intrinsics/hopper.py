"""What multiprocessors of compute capability 9.0 add: barriers that count bytes, copies of tiles, warpgroups' products.

A place in shared memory is here an int32, the bytes from where it begins (`shared_address`); a tensor map is an int64,
the address of its 128 bytes (`tensor_map`). `docs/tensor_cores_hopper.md` explains the instructions; NVIDIA's "PTX ISA"
defines them under "Tensor copy", "mbarrier" and "Asynchronous Warpgroup Level Matrix Instructions".
"""

# mypy: disable-error-code="no-untyped-def"
# What the compiler hands to an intrinsic, and takes from it, has no types.

from __future__ import annotations

from llvmlite import ir
from numba.cuda import cgutils, types

from fastconv.cuda.intrinsics.emitting import INT32, INT64, literal
from fastconv.cuda.intrinsics.halves import narrowed_pair, real
from fastconv.cuda.intrinsics.intrinsic import intrinsic

__all__ = [
    "announce_barriers",
    "arrive",
    "commit_products",
    "commit_stores",
    "descriptor",
    "expect",
    "fence_products",
    "fence_shared",
    "fewer_registers",
    "load_im2col",
    "load_tile",
    "make_barrier",
    "more_registers",
    "multiply_bfloat16",
    "multiply_float16",
    "multiply_tfloat32",
    "prefetch_map",
    "put_results",
    "settled",
    "store_tile",
    "tensor_map",
    "wait",
    "wait_for_products",
    "wait_for_stores",
]

_FLOAT = ir.FloatType()


def emit(builder, text: str, constraints: str, operands, result=None):
    """Inline PTX that is neither moved nor copied: all threads of a warp meet there, and it touches memory."""
    function_type = ir.FunctionType(result or ir.VoidType(), [operand.type for operand in operands])
    code = ir.InlineAsm(function_type, text, constraints, side_effect=True)
    return builder.call(code, operands, attrs=("convergent",))


def _telling(text: str, constraints: str, *kinds):
    """An intrinsic without a result: a line of PTX on numbers of these types."""
    constraints = ",".join(filter(None, (constraints, "~{memory}")))

    def generate(context, builder, signature, arguments):
        emit(builder, text, constraints, list(arguments))
        return context.get_dummy_value()

    signature = types.void(*kinds)
    typings = (
        lambda typing_context: (signature, generate),
        lambda typing_context, a: (signature, generate),
        lambda typing_context, a, b: (signature, generate),
    )
    return intrinsic(typings[len(kinds)])


_int = types.int32

#: make_barrier(barrier, arrivals): a phase of it ends once so many arrived, and all bytes that are expected came.
make_barrier = _telling("mbarrier.init.shared::cta.b64 [$0], $1;", "r,r", _int, _int)

#: Let the engine that copies see the barriers that this thread made.
announce_barriers = _telling("fence.mbarrier_init.release.cluster;", "")

#: arrive(barrier)
arrive = _telling("mbarrier.arrive.shared::cta.b64 _, [$0];", "r", _int)

#: expect(barrier, bytes): arrive, and let the phase last until so many bytes came.
expect = _telling("mbarrier.arrive.expect_tx.shared::cta.b64 _, [$0], $1;", "r,r", _int, _int)

#: wait(barrier, parity): until the phase of this parity, of 0, 1, 0, 1 and so on, has ended.
wait = _telling(
    "{ .reg .pred %done; AGAIN: mbarrier.try_wait.parity.shared::cta.b64 %done, [$0], $1; @!%done bra AGAIN; }",
    "r,r",
    _int,
    _int,
)

#: Let the engine that copies see what this thread wrote to shared memory.
fence_shared = _telling("fence.proxy.async.shared::cta;", "")

#: Read a tensor map before it is needed.
prefetch_map = _telling("prefetch.tensormap [$0];", "l", types.int64)

#: Close a group of tiles to store.
commit_stores = _telling("cp.async.bulk.commit_group;", "")

#: Order what this warpgroup did to registers and to shared memory before the products that follow.
fence_products = _telling("wgmma.fence.sync.aligned;", "")

#: Close a group of products.
commit_products = _telling("wgmma.commit_group.sync.aligned;", "")


def _counting(text: str):
    """An intrinsic whose only argument is a constant of the instruction."""

    def tell(typing_context, count):
        if not literal(count):
            return None
        number = count.literal_value

        def generate(context, builder, signature, arguments):
            emit(builder, text.format(number), "~{memory}", [])
            return context.get_dummy_value()

        return types.void(count), generate

    return intrinsic(tell)


#: wait_for_products(groups): until no more than so many of this warpgroup's are at work.
wait_for_products = _counting("wgmma.wait_group.sync.aligned {};")

#: wait_for_stores(groups): until no more than so many of this thread's are being read from shared memory.
wait_for_stores = _counting("cp.async.bulk.wait_group.read {};")

#: Give registers back, or ask for them: so many are each thread's of this warpgroup afterwards.
fewer_registers = _counting("setmaxnreg.dec.sync.aligned.u32 {};")
more_registers = _counting("setmaxnreg.inc.sync.aligned.u32 {};")


@intrinsic
def tensor_map(typing_context, parameter):
    """The address of a tensor map, which is handed over by value: `const __grid_constant__ CUtensorMap` in C++"""

    def generate(context, builder, signature, arguments):
        _hand_over_maps(builder.function, arguments[0].type)
        return builder.ptrtoint(arguments[0], INT64)

    return types.int64(parameter), generate


def _hand_over_maps(kernel, kind) -> None:
    """Let a kernel have its parameters of a type by value, where they lie, if it does not have them so already."""
    by_value = "byval "  # of the dialect that NVVM reads, without a type, as llvmlite no longer writes it
    places = [place for place, argument in enumerate(kernel.args) if argument.type == kind]
    if by_value in kernel.args[places[0]].attributes:
        return
    for place in places:
        set.add(kernel.args[place].attributes, by_value)
        kernel.args[place].attributes.align = 64
    module = kernel.module
    # NVVM counts from one, but the first argument, where a result would go, is dropped
    listed = module.add_metadata([ir.Constant(INT32, place) for place in places])
    noted = module.add_metadata([kernel, ir.MetaDataString(module, "grid_constant"), listed])
    cgutils.get_or_insert_named_metadata(module, "nvvm.annotations").add(noted)


def _listed(builder, packed):
    return [builder.extract_value(packed, i) for i in range(packed.type.count)]


def _names(first: int, count: int) -> str:
    """Operands of inline PTX, as a list."""
    return ", ".join(f"${first + i}" for i in range(count))


@intrinsic
def load_tile(typing_context, target, tensor_map, barrier, coordinates):
    """Let a tile of the map's shape be copied to shared memory, first coordinate innermost; zeros from outside

    Its bytes count at the barrier. One thread says so.
    """
    rank = len(coordinates)
    text = (
        f"cp.async.bulk.tensor.{rank}d.shared::cluster.global.mbarrier::complete_tx::bytes "
        f"[$0], [$1, {{{_names(3, rank)}}}], [$2];"
    )

    def generate(context, builder, signature, arguments):
        operands = [*arguments[:3], *_listed(builder, arguments[3])]
        emit(builder, text, "r,l,r," + "r," * rank + "~{memory}", operands)
        return context.get_dummy_value()

    return types.void(types.int32, types.int64, types.int32, coordinates), generate


@intrinsic
def load_im2col(typing_context, target, tensor_map, barrier, coordinates, offsets):
    """Let channels of a column of pixels be copied, which begins at the coordinates: a channel, then a window's place

    `offsets` say which of the window's elements, in pixels. The places that follow are those of the map's box.
    """
    rank, count = len(coordinates), len(offsets)
    halves = [f"%offset{i}" for i in range(count)]
    text = (
        f"{{ .reg .b16 {', '.join(halves)}; "
        + " ".join(f"cvt.u16.u32 {half}, ${3 + rank + i};" for i, half in enumerate(halves))
        + f" cp.async.bulk.tensor.{rank}d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes "
        f"[$0], [$1, {{{_names(3, rank)}}}], [$2], {{{', '.join(halves)}}}; }}"
    )

    def generate(context, builder, signature, arguments):
        operands = [*arguments[:3], *_listed(builder, arguments[3]), *_listed(builder, arguments[4])]
        emit(builder, text, "r,l,r," + "r," * (rank + count) + "~{memory}", operands)
        return context.get_dummy_value()

    return types.void(types.int32, types.int64, types.int32, coordinates, offsets), generate


@intrinsic
def store_tile(typing_context, source, tensor_map, coordinates):
    """Let a tile be copied from shared memory; what is outside the map's array is left out"""
    rank = len(coordinates)
    text = f"cp.async.bulk.tensor.{rank}d.global.shared::cta.bulk_group [$1, {{{_names(2, rank)}}}], [$0];"

    def generate(context, builder, signature, arguments):
        operands = [*arguments[:2], *_listed(builder, arguments[2])]
        emit(builder, text, "r,l," + "r," * rank + "~{memory}", operands)
        return context.get_dummy_value()

    return types.void(types.int32, types.int64, coordinates), generate


#: A matrix of rows of 128 bytes in the swizzle of 128 bytes: rows of eight lie 1024 bytes apart. Bits 62 and 63 say
#: which swizzle, bits 32 to 45 the distance of eight rows, bits 16 to 29, which this layout does not use, are 1.
_ROWS_OF_128 = 1 << 62 | 1024 >> 4 << 32 | 1 << 16


@intrinsic
def descriptor(typing_context, address):
    """What a product takes for a matrix in shared memory, of rows of 128 bytes, K along them

    32 bytes further along the rows is 2 more, as the address is in units of 16 bytes.
    """

    def generate(context, builder, signature, arguments):
        units = builder.lshr(builder.zext(arguments[0], INT64), ir.Constant(INT64, 4))
        return builder.or_(units, ir.Constant(INT64, _ROWS_OF_128))

    return types.int64(types.int32), generate


def _multiplying(kind: str, depth: int):
    """An intrinsic: sums + A B^T of a warpgroup, A of 64 rows, B of twice as many rows as a thread has sums.

    M is 64, N that of B's rows, K `depth`. Of 8 columns a thread has two neighbours, in two rows that lie 8 apart.
    """
    transposed = ", 0, 0" if depth == 16 else ""  # elements of four bytes have no such choice

    def multiply(typing_context, sums, a, b):
        count = len(sums)
        text = (
            f"wgmma.mma_async.sync.aligned.m64n{2 * count}k{depth}.f32.{kind}.{kind} "
            f"{{{_names(0, count)}}}, ${count}, ${count + 1}, 1, 1, 1{transposed};"
        )
        tied = [str(i) for i in range(count)]
        constraints = ",".join(["=f"] * count + ["l", "l", *tied, "~{memory}"])

        def generate(context, builder, signature, arguments):
            sums = _listed(builder, arguments[0])
            result = ir.LiteralStructType([_FLOAT] * count)
            found = emit(builder, text, constraints, [*arguments[1:], *sums], result)
            total = arguments[0]
            for i in range(count):
                total = builder.insert_value(total, builder.extract_value(found, i), i)
            return total

        return sums(sums, types.int64, types.int64), generate

    return intrinsic(multiply)


@intrinsic
def settled(typing_context, sums):
    """The sums of products that were waited for: nothing is computed of them before

    The compiler does not know that they are written later than the instruction stands.
    """

    def generate(context, builder, signature, arguments):
        (found,) = arguments
        for i, value in enumerate(_listed(builder, found)):
            found = builder.insert_value(found, emit(builder, "", "=f,0,~{memory}", [value], _FLOAT), i)
        return found

    return sums(sums), generate


multiply_float16 = _multiplying("f16", 16)
multiply_bfloat16 = _multiplying("bf16", 16)
multiply_tfloat32 = _multiplying("tf32", 8)


def _put_pair(builder, data, index, values, kind) -> None:
    """Store two neighbouring elements of a kind at an index of numbers of four bytes."""
    address = builder.gep(data, [index])
    if real(kind) != kind:
        word = narrowed_pair(builder, kind, *values)
        builder.store(builder.bitcast(word, address.type.pointee), address)
        return
    pair = ir.Constant(ir.VectorType(values[0].type, 2), ir.Undefined)
    for i, value in enumerate(values):
        pair = builder.insert_element(pair, value, ir.Constant(INT32, i))
    builder.store(pair, builder.bitcast(address, ir.PointerType(pair.type, address.type.addrspace)), align=8)


def _number(value: int):
    return ir.Constant(INT32, value)


@intrinsic
def put_results(typing_context, array, index, lane, values, pointer):
    """Put a warp's sums of a product at array[index] as elements of what the pointer points to, for `store_tile`

    They are 16 rows of 128 bytes, swizzled: the 16 bytes that are the j-th of row r lie at place j ^ (r % 8); `index`
    is a multiple of 256. The thread of a lane has, of each 8 columns, two neighbours in row lane // 4 and two in the
    row 8 further on.
    """
    kind = pointer.dtype

    def generate(context, builder, signature, arguments):
        array, index, lane, values, _ = arguments
        data = context.make_array(signature.args[0])(context, builder, array).data
        row, pair = builder.lshr(lane, _number(2)), builder.and_(lane, _number(3))
        first = builder.add(index, builder.shl(row, _number(5)))
        if real(kind) != kind:  # four words are 16 bytes, of 8 columns
            chunk, inside = _number(0), pair
        else:
            chunk = builder.lshr(pair, _number(1))
            inside = builder.shl(builder.and_(pair, _number(1)), _number(1))
        for j in range(values.type.count // 4):
            step = j if real(kind) != kind else 2 * j
            swapped = builder.xor(builder.add(chunk, _number(step)), row)
            place = builder.add(first, builder.add(builder.shl(swapped, _number(2)), inside))
            for half in range(2):
                both = [builder.extract_value(values, 4 * j + 2 * half + i) for i in range(2)]
                _put_pair(builder, data, builder.add(place, _number(256 * half)), both, kind)
        return context.get_dummy_value()

    return types.void(array, types.int32, types.int32, values, pointer), generate

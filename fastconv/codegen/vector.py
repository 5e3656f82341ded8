"""The vocabulary that generators write in: vectors of floats, their loads and stores, and loops over them."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir

from fastconv.codegen.target import Target

I1, I8, I32, I64 = (ir.IntType(bits) for bits in (1, 8, 32, 64))
POINTER = ir.PointerType()
BYTES = {"float32": 4, "float64": 8}


class VectorModule:
    """One module for one element type and vector width."""

    def __init__(self, name: str, dtype: str, target: Target) -> None:
        self.module = ir.Module(name)
        self.module.triple = llvm.get_process_triple()
        self.target = target
        self.dtype = dtype
        self.bytes = BYTES[dtype]
        self.lanes = target.lanes(dtype)
        self.element = ir.FloatType() if dtype == "float32" else ir.DoubleType()
        self.integer = ir.IntType(8 * self.bytes)
        self.vector = ir.VectorType(self.element, self.lanes)
        self.integers = ir.VectorType(self.integer, self.lanes)
        self.mask = ir.VectorType(I1, self.lanes)
        self.suffix = f"v{self.lanes}f{8 * self.bytes}"

    @property
    def width(self) -> int:
        """Bytes of a vector."""
        return self.lanes * self.bytes

    def declare(self, name: str, returns: ir.Type, arguments: Sequence[ir.Type]) -> ir.Function:
        """Return the function `name`, declared on first use."""
        known = self.module.globals.get(name)
        if isinstance(known, ir.Function):
            return known
        return ir.Function(self.module, ir.FunctionType(returns, arguments), name)

    def define(
        self, name: str, returns: ir.Type, arguments: Sequence[ir.Type], *, internal: bool = False
    ) -> tuple[ir.Function, Builder]:
        """Return a new function and a builder at its entry; an internal one is no symbol."""
        function = ir.Function(self.module, ir.FunctionType(returns, arguments), name)
        function.attributes.add("nounwind")
        if internal:
            function.linkage = "internal"
            function.attributes.add("noinline")
        return function, Builder(self, function.append_basic_block("entry"))

    def step(self, name: str, operands: int) -> tuple[Builder, list[ir.Value]]:
        """Begin a step, void f(address of its operands); return a builder, and so many operands, of 8 bytes each."""
        function, b = self.define(name, ir.VoidType(), [I64])
        return b, b.load_slots(function.args[0], operands)

    def constant(self, value: float) -> ir.Constant:
        """`value` in every lane."""
        rounded = float(np.float32(value)) if self.dtype == "float32" else float(value)
        return ir.Constant(self.vector, [rounded] * self.lanes)

    def integer_constant(self, value: int) -> ir.Constant:
        """The integer `value` in every lane."""
        return ir.Constant(self.integers, [value] * self.lanes)


class Builder(ir.IRBuilder):
    """An IR builder that speaks in vectors and in byte addresses."""

    def __init__(self, owner: VectorModule, block: ir.Block) -> None:
        super().__init__(block)
        self.owner = owner

    # -- addresses: byte offsets everywhere, so that strides are multiplied once, by the caller

    def at(self, pointer: ir.Value, offset: ir.Value | int, name: str = "") -> ir.Value:
        """The address `offset` bytes beyond `pointer`."""
        value = I64(offset) if isinstance(offset, int) else offset
        return self.gep(pointer, [value], source_etype=I8, name=name)

    def pointer(self, address: ir.Value, name: str = "") -> ir.Value:
        """An address, an i64, as a pointer."""
        return self.inttoptr(address, POINTER, name)

    def load_int(self, pointer: ir.Value, name: str = "") -> ir.Value:
        """The i64 at `pointer`."""
        return self.load(pointer, name, typ=I64)

    def load_slots(self, address: ir.Value, count: int) -> list[ir.Value]:
        """So many i64 from an address on."""
        first = self.pointer(address)
        return [self.load_int(self.at(first, 8 * slot)) for slot in range(count)]

    def positive(self, value: ir.Value) -> ir.Value:
        """Whether an i64 is more than zero."""
        return self.icmp_signed(">", value, I64(0))

    def opaque(self, value: ir.Value) -> ir.Value:
        """An i64 in a register of its own, of which nobody may know that it can be computed from others."""
        kind = ir.FunctionType(I64, [I64])
        return self.asm(kind, "", "=r,0", [value], side_effect=False)

    # -- vectors

    def load_vector(self, pointer: ir.Value, mask: ir.Value | None = None) -> ir.Value:
        """A vector from an address of any alignment; lanes outside `mask` are zero, not read."""
        own = self.owner
        if mask is None:
            return self.load(pointer, typ=own.vector, align=own.bytes)
        kinds = [POINTER, I32, own.mask, own.vector]
        load = own.declare(f"llvm.masked.load.{own.suffix}.p0", own.vector, kinds)
        return self.call(load, [pointer, I32(own.bytes), mask, own.constant(0.0)])

    def store_vector(self, value: ir.Value, pointer: ir.Value) -> None:
        """Store a vector at an address of any alignment."""
        self.store(value, pointer, align=self.owner.bytes)

    def prefetch(self, pointer: ir.Value) -> None:
        """Ask for the cache line at `pointer`, to be read."""
        function = self.owner.declare("llvm.prefetch.p0", ir.VoidType(), [POINTER, I32, I32, I32])
        self.call(function, [pointer, I32(0), I32(3), I32(1)])

    def store_lanes(self, value: ir.Value, pointer: ir.Value, count: ir.Value) -> None:
        """Store the first `count` (an i64) lanes of a vector."""
        self.call(_store_lanes(self.owner), [value, pointer, count])

    def pick(self, value: ir.Value, places: Sequence[int]) -> ir.Value:
        """The lanes of `value` at `places`, in that order."""
        return self.shuffle_vector(value, ir.Constant(value.type, ir.Undefined), self.places(places))

    def transposed(self, rows: Sequence[ir.Value]) -> list[ir.Value]:
        """The columns of a square of L vectors of L lanes.

        Round s makes of vectors i and i + 2^s two whose elements alternate between them by runs of 2^s. Up to half of
        128 bits that happens within each part of 128 bits, and then with whole parts: a shuffle each, where one that
        crosses parts at random takes two or three (an interleaving of whole vectors: 48 instead of 24 for 8 x 8).
        """
        lanes, part = self.owner.lanes, 16 // self.owner.bytes
        vectors = list(rows)
        columns = [list(range(lanes)) for _ in rows]  # of each vector's elements
        for step in (1 << bit for bit in range(lanes.bit_length() - 1)):
            low, high = _alternating(lanes, part, step)
            for i in (i for i in range(lanes) if not i & step):
                a, b = vectors[i], vectors[i + step]
                both = columns[i] + columns[i + step]
                for place, picked in ((i, low), (i + step, high)):
                    vectors[place] = self.shuffle_vector(a, b, self.places(picked))
                    columns[place] = [both[lane] for lane in picked]
        ordered = sorted(range(lanes), key=lambda i: columns[i][0])
        return [vectors[i] for i in ordered]

    def sums_across(self, vectors: Sequence[ir.Value]) -> ir.Value:
        """The sums of all lanes of each of R vectors, a power of two and L at most: lane i is that of vector i % R.

        As in `transposed`, but what two shuffles make of a pair is added: a vector is left of two, and in the end one.
        """
        lanes, part = self.owner.lanes, 16 // self.owner.bytes
        step = 1
        while len(vectors) > 1:
            low, high = map(self.places, _alternating(lanes, part, step))
            pairs = zip(vectors[::2], vectors[1::2], strict=True)
            vectors = [self.fadd(self.shuffle_vector(a, b, low), self.shuffle_vector(a, b, high)) for a, b in pairs]
            step *= 2
        (total,) = vectors
        while step < lanes:
            total = self.fadd(total, self.pick(total, [lane ^ step for lane in range(lanes)]))
            step *= 2
        return total

    @staticmethod
    def places(numbers: Sequence[int]) -> ir.Constant:
        """The constant that a shuffle takes."""
        return ir.Constant(ir.VectorType(I32, len(numbers)), list(numbers))

    def broadcast(self, pointer: ir.Value) -> ir.Value:
        """The element at `pointer` in every lane."""
        own = self.owner
        return self.splat(self.load(pointer, typ=own.element, align=own.bytes))

    def splat(self, scalar: ir.Value) -> ir.Value:
        """A scalar, float or integer, in every lane."""
        kind = ir.VectorType(scalar.type, self.owner.lanes)
        undefined = ir.Constant(kind, ir.Undefined)
        first = self.insert_element(undefined, scalar, I32(0))
        zeros = ir.Constant(ir.VectorType(I32, self.owner.lanes), None)
        return self.shuffle_vector(first, undefined, zeros)

    def first_lanes(self, count: ir.Value) -> ir.Value:
        """The mask of the first `count` (an i64) lanes."""
        kind = ir.VectorType(I32, self.owner.lanes)
        places = ir.Constant(kind, list(range(self.owner.lanes)))
        return self.icmp_signed("<", places, self.splat(self.trunc(count, I32)))

    def lanes_from(self, first: ir.Value) -> ir.Value:
        """The lanes from the i64 `first` on, as `blend` takes them: integers, of which those have all bits set.

        A window over as many zeros as lanes, and ones after them. Whatever is computed instead, LLVM knows to be a mask
        and makes blends of (see there); a vector of i1 it would widen again in every step of a loop.
        """
        own = self.owner
        beyond = self.least(first, I64(own.lanes))
        start = self.mul(self.sub(I64(own.lanes), beyond), I64(own.bytes))
        return self.load(self.at(_window(own), start), typ=own.integers, align=own.bytes)

    def blend(self, a: ir.Value, b: ir.Value, mask: ir.Value) -> ir.Value:
        """`b` in the lanes of `mask` (see `lanes_from`), `a` in the others.

        By bits: a blend by a register takes the units that multiply and add, these three operations take the others
        (a step of a tile of 6 x 2 with one joined vector: 1.18 times that of whole ones with a blend, 1.06 without).
        """
        own = self.owner
        kept = self.and_(self.bitcast(a, own.integers), self.not_(mask))
        taken = self.and_(self.bitcast(b, own.integers), mask)
        return self.bitcast(self.or_(kept, taken), own.vector)

    def load_mask(self, pointer: ir.Value) -> ir.Value:
        """The mask of lanes where the integers from an address on, each as wide as an element, are negative."""
        own = self.owner
        integers = self.load(pointer, typ=own.integers, align=own.bytes)
        return self.icmp_signed("<", integers, own.integer_constant(0))

    def all_lanes(self, mask: ir.Value) -> ir.Value:
        """Whether a mask has every lane."""
        kind = ir.IntType(self.owner.lanes)
        return self.icmp_signed("==", self.bitcast(mask, kind), ir.Constant(kind, -1))

    def multiply_add(self, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
        """a * b + c, with one rounding where the processor can (elsewhere `fma` would be a call)."""
        own = self.owner
        operation = "fma" if own.target.fused_multiply_add else "fmuladd"
        function = own.declare(f"llvm.{operation}.{own.suffix}", own.vector, [own.vector] * 3)
        return self.call(function, [a, b, c])

    def polynomial(self, x: ir.Value, coefficients: Sequence[float]) -> ir.Value:
        """Sum of coefficients[i] * x^i by Horner's rule."""
        own = self.owner
        total: ir.Value = own.constant(coefficients[-1])
        for coefficient in reversed(coefficients[:-1]):
            total = self.multiply_add(total, x, own.constant(coefficient))
        return total

    def absolute(self, x: ir.Value) -> ir.Value:
        """|x|"""
        own = self.owner
        magnitude = own.integer_constant((1 << (8 * own.bytes - 1)) - 1)
        return self.bitcast(self.and_(self.bitcast(x, own.integers), magnitude), own.vector)

    def with_sign_of(self, magnitude: ir.Value, sign: ir.Value) -> ir.Value:
        """`magnitude` (not negative) with the sign bit of `sign`."""
        own = self.owner
        bit = own.integer_constant(-(1 << (8 * own.bytes - 1)))
        signs = self.and_(self.bitcast(sign, own.integers), bit)
        return self.bitcast(self.or_(self.bitcast(magnitude, own.integers), signs), own.vector)

    def least(self, a: ir.Value, b: ir.Value) -> ir.Value:
        """The lesser of two integers."""
        return self.select(self.icmp_signed("<", a, b), a, b)

    def greatest(self, a: ir.Value, b: ir.Value) -> ir.Value:
        """The greater of two integers."""
        return self.select(self.icmp_signed(">", a, b), a, b)

    # -- control flow

    def values_if(
        self,
        condition: ir.Value,
        values: Sequence[ir.Value],
        change: Callable[[Sequence[ir.Value]], Sequence[ir.Value]],
        name: str,
    ) -> list[ir.Value]:
        """`change(values)` where `condition` holds, else `values`."""
        before = self.block
        inside = self.function.append_basic_block(name)
        after = self.function.append_basic_block(f"{name}.done")
        self.cbranch(condition, inside, after)
        self.position_at_end(inside)
        changed = change(values)
        inside_end = self.block
        self.branch(after)
        self.position_at_end(after)
        merged = []
        for old, new in zip(values, changed, strict=True):
            value = self.phi(old.type)
            value.add_incoming(old, before)
            value.add_incoming(new, inside_end)
            merged.append(value)
        return merged

    def loop(
        self,
        first: ir.Value,
        end: ir.Value,
        step: int | ir.Value,
        values: Sequence[ir.Value],
        body: Callable[[ir.Value, Sequence[ir.Value]], Sequence[ir.Value]],
        name: str,
    ) -> list[ir.Value]:
        """Run ``values = body(i, values)`` for i = first, first + step, ... below `end`; return the values."""
        before = self.block
        head = self.function.append_basic_block(name)
        inside = self.function.append_basic_block(f"{name}.body")
        after = self.function.append_basic_block(f"{name}.done")
        self.branch(head)
        self.position_at_end(head)
        i = self.phi(I64, "i")
        carried = [self.phi(value.type) for value in values]
        self.cbranch(self.icmp_signed("<", i, end), inside, after)
        self.position_at_end(inside)
        changed = body(i, carried)
        following = self.add(i, I64(step) if isinstance(step, int) else step)
        self._carry(before, [i, *carried], [first, *values], [following, *changed])
        self.branch(head)
        self.position_at_end(after)
        return carried

    def loop_once(
        self,
        first: ir.Value,
        end: ir.Value,
        step: int,
        values: Sequence[ir.Value],
        body: Callable[[ir.Value, Sequence[ir.Value]], Sequence[ir.Value]],
        name: str,
    ) -> list[ir.Value]:
        """As `loop`, where there is something to do at least once.

        What a body ends with goes nowhere else, and LLVM keeps it in registers rather than what the body reads.
        """
        before = self.block
        inside = self.function.append_basic_block(name)
        after = self.function.append_basic_block(f"{name}.done")
        self.branch(inside)
        self.position_at_end(inside)
        i = self.phi(I64, "i")
        carried = [self.phi(value.type) for value in values]
        changed = list(body(i, carried))
        following = self.add(i, I64(step))
        self._carry(before, [i, *carried], [first, *values], [following, *changed])
        self.cbranch(self.icmp_signed("<", following, end), inside, after)
        self.position_at_end(after)
        return changed

    def _carry(
        self, before: ir.Block, phis: Sequence[ir.PhiInstr], old: Sequence[ir.Value], new: Sequence[ir.Value]
    ) -> None:
        """What comes into a loop: `old` from the block before it, `new` from the one that ends here."""
        for phi, first, following in zip(phis, old, new, strict=True):
            phi.add_incoming(first, before)
            phi.add_incoming(following, self.block)

    def count_up(
        self, first: ir.Value, end: ir.Value, step: int, body: Callable[[ir.Value], None], name: str
    ) -> None:
        """Run ``body(i)`` for i = first, first + step, ... below `end`."""

        def unchanged(i: ir.Value, values: Sequence[ir.Value]) -> Sequence[ir.Value]:
            body(i)
            return values

        self.loop(first, end, step, [], unchanged, name)

    def do_if(self, condition: ir.Value, body: Callable[[], None], name: str) -> None:
        """Run `body` where `condition` holds."""

        def change(values: Sequence[ir.Value]) -> Sequence[ir.Value]:
            body()
            return values

        self.values_if(condition, [], change, name)


def _alternating(lanes: int, part: int, step: int) -> tuple[list[int], list[int]]:
    """Which lanes of two vectors make one that alternates between them by runs of `step`, and which the other one."""
    if step < part:
        half = [base + i for base in range(0, lanes, part) for i in range(part // 2)]
        runs = [half[i : i + step] for i in range(0, len(half), step)]
        low = [lane for run in runs for vector in (0, lanes) for lane in (vector + i for i in run)]
        return low, [lane + part // 2 for lane in low]
    low = [lane if not lane & step else lanes + lane - step for lane in range(lanes)]
    return low, [lane + step for lane in low]


def _window(own: VectorModule) -> ir.GlobalVariable:
    """A constant: as many integers 0 as there are lanes, then as many with all bits set."""
    known = own.module.globals.get("window")
    if isinstance(known, ir.GlobalVariable):
        return known
    kind = ir.ArrayType(own.integer, 2 * own.lanes)
    window = ir.GlobalVariable(own.module, kind, "window")
    window.initializer = ir.Constant(kind, [0] * own.lanes + [-1] * own.lanes)
    window.global_constant = True
    window.linkage = "internal"
    return window


def _store_lanes(own: VectorModule) -> ir.Function:
    """A function that stores the first lanes of a vector: store_lanes(value, pointer, lanes).

    AVX-512 has masks. Elsewhere masked stores are slow (tens of cycles) or absent, so the count is written as a sum
    of powers of two and stored in as many pieces.
    """
    known = own.module.globals.get("store_lanes")
    if isinstance(known, ir.Function):
        return known
    function, b = own.define(
        "store_lanes", ir.VoidType(), [own.vector, POINTER, I64], internal=True
    )
    value, pointer, lanes = function.args
    if own.target.native_masks:
        kinds = [own.vector, POINTER, I32, own.mask]
        masked = own.declare(f"llvm.masked.store.{own.suffix}.p0", ir.VoidType(), kinds)
        b.call(masked, [value, pointer, I32(own.bytes), b.first_lanes(lanes)])
        b.ret_void()
        return function

    whole = b.icmp_signed("==", lanes, I64(own.lanes))
    b.do_if(whole, lambda: b.store_vector(value, pointer), "whole")
    width = own.lanes
    while width > 1:
        half = width // 2
        taken = b.icmp_signed("!=", b.and_(lanes, I64(half)), I64(0))
        store = functools.partial(_store_half, b, half)
        value, pointer = b.values_if(taken, [value, pointer], store, f"store{half}")
        value = b.pick(value, range(half))
        width = half
    b.ret_void()
    return function


def _store_half(b: Builder, half: int, now: Sequence[ir.Value]) -> list[ir.Value]:
    """Store the lower half of now[0] at now[1]; return the vector with its upper half moved down."""
    value, pointer = now
    b.store(b.pick(value, range(half)), pointer, align=b.owner.bytes)
    moved = b.pick(value, [*range(half, 2 * half), *range(half)])
    return [moved, b.at(pointer, half * b.owner.bytes)]


def mantissa_bits(dtype: str) -> int:
    """Explicit bits of the significand: 23 or 52."""
    return int(math.log2(1 / np.finfo(dtype).eps))

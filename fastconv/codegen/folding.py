"""What a pooling does with the elements of a window: how they are read, combined and written.

A state is what is known of some elements: their largest or their sum, and where indices are wanted the place of the
largest. Two states are combined in the order of their elements, so that of equals the first is kept.

NaN is greater than every number, which the processor's maximum is not aware of. The quick code uses that maximum and
looks at every element once, beside; where one was NaN, all is done again by the careful code.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir

from fastconv.arguments import BFLOAT16, itemsize
from fastconv.codegen.power import power
from fastconv.codegen.target import Target
from fastconv.codegen.vector import I1, I64, Builder, VectorModule

State = tuple[ir.Value, ...]

_FLOATS = {"float16": ir.HalfType(), "float32": ir.FloatType(), "float64": ir.DoubleType()}
_HALVES = ("float16", BFLOAT16)


@dataclass(frozen=True)
class Fold:
    """What is done with elements.

    Parameters
    ----------
    kind : {"max", "magnitude", "sum"}
        How two are combined; a magnitude is a largest of numbers that are not negative.
    source, result : str
        Types of the elements that are read and written.
    before : {"", "abs", "square", "power"}
        What happens to an element that is read.
    after : {"", "divide", "sqrt", "root"}
        What happens to a result before it is written.
    exponent : float
        Of the power of magnitudes that are summed, and of which the root is taken.
    indices : bool
        Whether positions of maxima are kept, too.
    """

    kind: str
    source: str
    result: str
    before: str = ""
    after: str = ""
    indices: bool = False
    exponent: float = 0.0

    @property
    def name(self) -> str:
        """A name that says all of it."""
        words = [self.kind, self.source, self.result, self.before, self.after, "indices" if self.indices else ""]
        words.append(self.exponent.hex() if self.exponent else "")
        return "_".join(word for word in words if word)

    @property
    def computed(self) -> str:
        """The type that is computed in: that of halves is float32, and nothing beside indices is narrower.

        Powers are float64, see `fastconv.codegen.power`.
        """
        if self.exponent:
            return "float64"
        if self.source in _HALVES:
            return "float32"
        if self.indices and itemsize(self.source) < 4:
            return "uint32" if self.source.startswith("u") else "int32"
        return self.source

    @property
    def floating(self) -> bool:
        """Whether elements may be NaN."""
        return self.computed.startswith("float")

    @property
    def looks(self) -> bool:
        """Whether the quick code must look for NaN."""
        return self.kind != "sum" and self.floating and not self.indices

    @property
    def identity(self) -> float | int:
        """What changes nothing."""
        if self.kind != "max":
            return 0.0
        return -math.inf if self.floating else int(np.iinfo(self.source).min)


def lanes(fold: Fold, target: Target) -> int:
    """Elements of a vector."""
    return target.vector_bits // (8 * itemsize(fold.computed))


def element_type(dtype: str) -> ir.Type:
    """The type of an element in memory; bfloat16 is the upper half of a float32's bits."""
    return _FLOATS.get(dtype) or ir.IntType(8 * itemsize(dtype))


def _bits(kind: ir.Type) -> int:
    """Bits of a float, or of each element of a vector of them."""
    element = kind.element if isinstance(kind, ir.VectorType) else kind
    return {ir.HalfType(): 16, ir.FloatType(): 32}.get(element, 64)


def _is_integer(kind: ir.Type) -> bool:
    return isinstance(kind.element if isinstance(kind, ir.VectorType) else kind, ir.IntType)


def _like(kind: ir.Type, element: ir.Type) -> ir.Type:
    """Another type of elements, in a vector where `kind` is one."""
    return ir.VectorType(element, kind.count) if isinstance(kind, ir.VectorType) else element


class FoldModule(VectorModule):
    """A module for one fold."""

    def __init__(self, name: str, fold: Fold, target: Target) -> None:
        self.module = ir.Module(name)
        self.module.triple = llvm.get_process_triple()
        self.target, self.fold, self.dtype = target, fold, fold.computed
        self.bytes, self.source_bytes, self.result_bytes = map(itemsize, (fold.computed, fold.source, fold.result))
        self.lanes = lanes(fold, target)
        self.element = element_type(fold.computed)
        self.integer = ir.IntType(8 * self.bytes)
        self.vector, self.integers, self.mask = (
            ir.VectorType(kind, self.lanes) for kind in (self.element, self.integer, I1)
        )
        self.suffix = f"v{self.lanes}{'f' if fold.floating else 'i'}{8 * self.bytes}"
        self.parts = 2 if fold.indices else 1  # of a state

    def fill(self, value: float | int) -> ir.Constant:
        """A constant in every lane."""
        return self.constant(value) if self.fold.floating else ir.Constant(self.vector, [int(value)] * self.lanes)


class Folder(Builder):
    """A builder that reads, combines and writes states."""

    owner: FoldModule

    def __init__(self, owner: FoldModule, block: ir.Block, careful: bool) -> None:
        super().__init__(owner, block)
        self.careful = careful

    @property
    def looks(self) -> bool:
        """Whether elements are looked at for NaN."""
        return self.owner.fold.looks and not self.careful

    # -- loops

    def vectors(
        self,
        count: ir.Value | int,
        values: Sequence[ir.Value],
        body: Callable[[ir.Value, Sequence[ir.Value], bool], Sequence[ir.Value]],
        name: str,
    ) -> list[ir.Value]:
        """Run ``values = body(j, values, is_last)`` for vectors of `count` elements, which fill one or more.

        The last one overlaps the one before it, so that nothing behind the last element is touched. A count that is
        known is written out.
        """
        if isinstance(count, int):
            end = count - self.owner.lanes
            for place in range(0, end, self.owner.lanes):
                values = body(I64(place), values, False)
            return list(body(I64(end), values, True))
        last = self.sub(count, I64(self.owner.lanes))
        done = self.loop(I64(0), last, self.owner.lanes, values, lambda j, now: body(j, now, False), name)
        return list(body(last, done, True))

    # -- elements

    def read(self, pointer: ir.Value) -> ir.Value:
        """A vector of elements of the source, as they are computed with."""
        own, fold = self.owner, self.owner.fold
        stored = ir.VectorType(element_type(fold.source), own.lanes)
        return self._computed(self.load(pointer, typ=stored, align=own.source_bytes), own.vector)

    def read_one(self, pointer: ir.Value) -> ir.Value:
        """One element of the source, as it is computed with."""
        own = self.owner
        found = self.load(pointer, typ=element_type(own.fold.source), align=own.source_bytes)
        return self._computed(found, own.element)

    def _computed(self, value: ir.Value, kind: ir.Type) -> ir.Value:
        fold = self.owner.fold
        if fold.source != fold.computed:
            if fold.floating:
                value = self._converted(value, kind)
            else:
                value = self.zext(value, kind) if fold.source.startswith("u") else self.sext(value, kind)
        if fold.before == "square":
            return self.fmul(value, value)
        if fold.before in ("abs", "power"):
            suffix = self.owner.suffix if kind == self.owner.vector else f"f{8 * self.owner.bytes}"
            value = self.call(self.owner.declare(f"llvm.fabs.{suffix}", kind, [kind]), [value])
        return power(self, value, fold.exponent) if fold.before == "power" else value

    def _converted(self, value: ir.Value, kind: ir.Type) -> ir.Value:
        """A vector or an element as another type of floats; between halves and float64 processors go by float32."""
        fold, single = self.owner.fold, _like(kind, ir.FloatType())
        steps = [kind]
        if fold.source in _HALVES and fold.computed == "float64":
            steps = [single, kind]
        for step in steps:
            value = self._one_step(value, step)
        return value

    def _one_step(self, value: ir.Value, kind: ir.Type) -> ir.Value:
        if _is_integer(value.type):
            return self._widened(value, kind)
        if _is_integer(kind):
            return self._narrowed(value, kind)
        return self.fpext(value, kind) if _bits(kind) > _bits(value.type) else self.fptrunc(value, kind)

    def _widened(self, value: ir.Value, kind: ir.Type) -> ir.Value:
        """The bits of bfloat16 as float32: the upper half of its bits."""
        wide = _like(kind, ir.IntType(32))
        return self.bitcast(self.shl(self.zext(value, wide), self._all(wide, 16)), kind)

    def _narrowed(self, value: ir.Value, kind: ir.Type) -> ir.Value:
        """The bits of the bfloat16 that is nearest to a float32, of two the even one; those of NaN stay NaN's."""
        wide = _like(kind, ir.IntType(32))
        bits = self.bitcast(value, wide)
        odd = self.and_(self.lshr(bits, self._all(wide, 16)), self._all(wide, 1))
        nearest = self.add(bits, self.add(odd, self._all(wide, 0x7FFF)))  # carries into what is kept where it must
        quiet = self.or_(bits, self._all(wide, 0x400000))  # NaN whose kept bits are not those of infinity
        kept = self.select(self.fcmp_unordered("uno", value, value), quiet, nearest)
        return self.trunc(self.lshr(kept, self._all(wide, 16)), kind)

    @staticmethod
    def _all(kind: ir.Type, value: int) -> ir.Constant:
        return ir.Constant(kind, [value] * kind.count if isinstance(kind, ir.VectorType) else value)

    def write(self, value: ir.Value, pointer: ir.Value) -> None:
        """Store a vector or an element, as the result has it."""
        own, fold = self.owner, self.owner.fold
        if fold.result != fold.computed:
            kind = element_type(fold.result)
            wanted = ir.VectorType(kind, own.lanes) if value.type == own.vector else kind
            value = self._converted(value, wanted) if fold.floating else self.trunc(value, wanted)
        self.store(value, pointer, align=own.result_bytes)

    def write_indices(self, value: ir.Value, pointer: ir.Value) -> None:
        """Store a vector of indices, or one, as int64."""
        own = self.owner
        if own.bytes < 8:
            value = self.sext(value, ir.VectorType(I64, own.lanes) if value.type == own.integers else I64)
        self.store(value, pointer, align=8)

    def get(self, pointer: ir.Value, offset: ir.Value | int, part: ir.Value | int) -> State:
        """A state from `offset` bytes beyond an address of scratch; its second part lies `part` bytes further on."""
        own, at = self.owner, self.at(pointer, offset)
        value = self.load(at, typ=own.vector, align=own.bytes)
        if own.parts == 1:
            return (value,)
        return value, self.load(self.at(at, part), typ=own.integers, align=own.bytes)

    def put(self, state: State, pointer: ir.Value, offset: ir.Value | int, part: ir.Value | int) -> None:
        """Store a state, as `get` finds it."""
        at = self.at(pointer, offset)
        self.store(state[0], at, align=self.owner.bytes)
        if len(state) > 1:
            self.store(state[1], self.at(at, part), align=self.owner.bytes)

    @property
    def nothing(self) -> State:
        """The state of no elements."""
        own = self.owner
        value = own.fill(own.fold.identity)
        return (value, own.integer_constant(-1)) if own.parts > 1 else (value,)

    # -- arithmetic

    def combine(self, a: State, b: State) -> State:
        """The state of the elements of both, those of `a` being first."""
        (x, *of_x), (y, *of_y) = a, b
        fold = self.owner.fold
        if fold.kind == "sum":
            return (self.fadd(x, y),)
        if not of_x and not (fold.floating and self.careful):
            return (self.select(self._greater(y, x), y, x),)
        if fold.floating:
            wins = self.and_(self.fcmp_unordered("ugt", y, x), self.fcmp_ordered("ord", x, x))
        else:
            wins = self._greater(y, x)
        if not of_x:
            return (self.select(wins, y, x),)
        is_nothing = self.icmp_signed("<", of_x[0], ir.Constant(of_x[0].type, None))
        wins = self.or_(wins, is_nothing)
        return self.select(wins, y, x), self.select(wins, of_y[0], of_x[0])

    def combine_places(self, a: State, b: State) -> State:
        """The state of the elements of both in any order: of equals that of the least index, where there are indices.

        No element has the index -1, the largest of all as a number without a sign.
        """
        (x, *of_x), (y, *of_y) = a, b
        if not of_x:
            return self.combine(a, b)
        if self.owner.fold.floating:
            wins = self.and_(self.fcmp_unordered("ugt", y, x), self.fcmp_ordered("ord", x, x))
            loses = self.and_(self.fcmp_unordered("ugt", x, y), self.fcmp_ordered("ord", y, y))
        else:
            wins, loses = self._greater(y, x), self._greater(x, y)
        first = self.icmp_unsigned("<", of_y[0], of_x[0])
        wins = self.or_(wins, self.and_(first, self.not_(loses)))
        return self.select(wins, y, x), self.select(wins, of_y[0], of_x[0])

    def _greater(self, a: ir.Value, b: ir.Value) -> ir.Value:
        fold = self.owner.fold
        if fold.floating:
            return self.fcmp_ordered(">", a, b)
        return (self.icmp_unsigned if fold.computed.startswith("u") else self.icmp_signed)(">", a, b)

    def combined(self, states: Sequence[State]) -> State:
        """The state of several, in their order."""
        total = states[0]
        for state in states[1:]:
            total = self.combine(total, state)
        return total

    def look(self, values: Sequence[ir.Value], seen: Sequence[ir.Value]) -> list[ir.Value]:
        """What was seen of NaN, if it is looked for, after these elements too."""
        if not seen:
            return []
        (found,) = seen
        pairs = [(values[i], values[min(i + 1, len(values) - 1)]) for i in range(0, len(values), 2)]
        for a, b in pairs:
            found = self.or_(found, self.sext(self.fcmp_unordered("uno", a, b), self.owner.integers))
        return [found]

    @property
    def unseen(self) -> list[ir.Value]:
        """What `look` begins with."""
        return [self.owner.integer_constant(0)] if self.looks else []

    def was_seen(self, seen: Sequence[ir.Value]) -> ir.Value:
        """Whether there was NaN, an i64."""
        if not seen:
            return I64(0)
        own = self.owner
        lanes = self.icmp_signed("<", seen[0], own.integer_constant(0))
        kind = ir.IntType(own.lanes)
        return self.zext(self.icmp_unsigned("!=", self.bitcast(lanes, kind), kind(0)), I64)

    def finished(self, value: ir.Value, divisor: ir.Value | None) -> ir.Value:
        """What is written for a value."""
        fold, own = self.owner.fold, self.owner
        if fold.after == "divide":
            return self.fdiv(value, divisor)
        if fold.after == "sqrt":
            suffix = own.suffix if value.type == own.vector else f"f{8 * own.bytes}"
            return self.call(own.declare(f"llvm.sqrt.{suffix}", value.type, [value.type]), [value])
        return power(self, value, 1 / fold.exponent) if fold.after == "root" else value

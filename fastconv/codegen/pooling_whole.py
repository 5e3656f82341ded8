"""Pooling of whole planes whose elements follow each other: each becomes one element.

    y[plane] = fold over i of  x[plane, i]

As many planes as a vector has lanes are read one after the other, each into a vector; the square of these is
transposed, and its columns are combined. Planes of very many elements are read alone, as if they were as many planes of
which each has a part. Sums are begun anew every `BLOCK` vectors, so that their errors do not grow with the plane.

Which of two zeros is the first is lost that way. Where the largest element is 0 or NaN, the careful code looks at one
element after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from llvmlite import ir

from fastconv.codegen import jit
from fastconv.codegen import target as targets
from fastconv.codegen.folding import Fold, Folder, FoldModule
from fastconv.codegen.vector import I64

# fmt: off
#: int64 slots of a plan.
(
    PLANES,
    COUNT,      # elements of a plane
    CHANNELS,   # planes of an image
    PART,       # elements of a part of a long plane, whole vectors; what is left over is a tail
    X_PLANE,    # bytes
    Y_IMAGE, Y_CHANNEL,  # bytes
    TOGETHER,   # 1 if results follow each other
    DIVISOR,    # address
    SLOTS,
) = range(10)
# fmt: on
OPERANDS = 4  # the address of the slots, of x and y, and one that is not read

AHEAD = 1024  # bytes that are asked for before they are read
BLOCK = 128  # vectors that are summed in one register


@dataclass(frozen=True)
class Whole:
    """What the code depends on.

    Parameters
    ----------
    fold : Fold
        What is done with elements.
    alone : bool
        Whether a plane is read alone.
    count : int
        Elements of a plane, where code is written out for so many; else 0.
    """

    fold: Fold
    alone: bool
    count: int = 0

    @property
    def name(self) -> str:
        """The name of its function, which says all of it."""
        return f"pooling_whole_{self.fold.name}" + ("_alone" if self.alone else f"_{self.count}")


def address(code: Whole) -> int:
    """Return the address of the function; a task is a plane, or as many as a vector has lanes."""
    target = targets.current()
    return jit.address(code.name, lambda: str(emit(code, target)), target)


def emit(code: Whole, target: targets.Target) -> ir.Module:
    """Return the function as a module."""
    own = FoldModule(code.name, code.fold, target)
    function, start = own.define(code.name, ir.VoidType(), [I64] * 4)
    b = Folder(own, start.block, careful=False)
    operands, _, first, last = function.args
    numbers, x, y = b.load_slots(operands, 3)
    whole = _Whole(code, b, numbers, x, y)
    b.count_up(first, last, 1, whole.task, "tasks")
    b.ret_void()
    return own.module


class _Whole:
    """The parts of the function."""

    def __init__(self, code: Whole, b: Folder, numbers: ir.Value, x: ir.Value, y: ir.Value) -> None:
        self.code, self.b, self.own, self.x, self.y = code, b, b.owner, x, y
        self.get = b.load_slots(numbers, SLOTS)
        self.divisor = None
        if code.fold.after == "divide":
            self.divisor = b.load(b.pointer(self.get[DIVISOR]), typ=self.own.element, align=self.own.bytes)
        with b.goto_entry_block():
            self.results = b.pointer(b.ptrtoint(b.alloca(self.own.vector), I64), "results")

    def task(self, task: ir.Value) -> None:
        """One plane, or a vector's lanes of them."""
        b, get, lanes = self.b, self.get, self.own.lanes
        first = task if self.code.alone else b.mul(task, I64(lanes))
        planes = I64(1) if self.code.alone else b.least(I64(lanes), b.sub(get[PLANES], first))
        total, seen = self._alone(first) if self.code.alone else self._side_by_side(first, planes)
        b.store(total, self.results, align=self.own.bytes)

        def careful(i: ir.Value) -> None:
            found = self._in_order(self._plane(b.add(first, i)))
            b.store(found, b.at(self.results, b.mul(i, I64(self.own.bytes))), align=self.own.bytes)

        if b.looks:
            zero = b.sext(b.fcmp_ordered("==", total, self.own.constant(0.0)), self.own.integers)
            (now,) = seen
            doubtful = b.was_seen([b.or_(now, zero)])
            b.do_if(
                b.icmp_signed("!=", doubtful, I64(0)), lambda: b.count_up(I64(0), planes, 1, careful, "again"), "doubt"
            )
        if self.code.alone:
            self._write(first, I64(0))
            return
        full = b.and_(b.icmp_signed("==", planes, I64(lanes)), b.icmp_signed("!=", get[TOGETHER], I64(0)))
        b.do_if(full, lambda: self._write_all(first), "full")
        b.do_if(
            b.not_(full),
            lambda: b.count_up(I64(0), planes, 1, lambda i: self._write(b.add(first, i), i), "results"),
            "apart",
        )

    def _plane(self, number: ir.Value) -> ir.Value:
        b = self.b
        return b.pointer(b.add(self.x, b.mul(number, self.get[X_PLANE])))

    def _write_all(self, first: ir.Value) -> None:
        """Write a vector of results, which follow each other."""
        b, own = self.b, self.own
        to = b.add(self.y, b.mul(first, I64(own.result_bytes)))
        divisor = None if self.divisor is None else b.splat(self.divisor)
        value = b.load(self.results, typ=own.vector, align=own.bytes)
        b.write(b.finished(value, divisor), b.pointer(to))

    def _write(self, number: ir.Value, i: ir.Value) -> None:
        b, get, own = self.b, self.get, self.own
        image, channel = b.udiv(number, get[CHANNELS]), b.urem(number, get[CHANNELS])
        to = b.add(b.add(self.y, b.mul(image, get[Y_IMAGE])), b.mul(channel, get[Y_CHANNEL]))
        value = b.load(b.at(self.results, b.mul(i, I64(own.bytes))), typ=own.element, align=own.bytes)
        b.write(b.finished(value, self.divisor), b.pointer(to))

    def _side_by_side(self, first: ir.Value, planes: ir.Value) -> tuple[ir.Value, Sequence[ir.Value]]:
        b = self.b
        last = b.sub(planes, I64(1))  # stands again for planes that are missing
        starts = [self._plane(b.add(first, b.least(I64(p), last))) for p in range(self.own.lanes)]
        whole = b.mul(b.sdiv(self.get[COUNT], I64(self.own.lanes)), I64(self.own.lanes))
        totals: list[ir.Value] = []
        seen: Sequence[ir.Value] = b.unseen
        for start in starts:  # one after the other, as they lie
            if self.code.count:
                total, seen = self._written_out(start, seen)
                totals.append(total)
                continue
            total, *seen = b.loop(I64(0), whole, self.own.lanes, [b.nothing[0], *seen], self._step(start), "plane")
            totals.append(total)
        if not self.code.count:
            tails = [self._tail(start, whole) for start in starts]
            seen = b.look(tails, seen)
            totals = [b.combine((total,), (tail,))[0] for total, tail in zip(totals, tails, strict=True)]
        return b.combined([(column,) for column in b.transposed(totals)])[0], seen

    def _written_out(self, start: ir.Value, seen: Sequence[ir.Value]) -> tuple[ir.Value, Sequence[ir.Value]]:
        """A plane of few vectors, the last of which overlaps the one before it."""
        b, own, count = self.b, self.own, self.code.count
        whole = count // own.lanes * own.lanes
        places = list(range(0, whole, own.lanes))
        values = [b.read(b.at(start, place * own.source_bytes)) for place in places]
        if whole < count:
            value = b.read(b.at(start, (count - own.lanes) * own.source_bytes))
            values.append(value)
            seen = b.look(values, seen)
            if self.code.fold.kind == "sum":  # what was counted before is not counted again
                new = [whole - (count - own.lanes) <= i for i in range(own.lanes)]
                values[-1] = b.select(ir.Constant(own.mask, new), value, b.nothing[0])
        else:
            seen = b.look(values, seen)
        return b.combined([(value,) for value in values])[0], seen

    def _alone(self, plane: ir.Value) -> tuple[ir.Value, Sequence[ir.Value]]:
        b, get, own = self.b, self.get, self.own
        start, part = self._plane(plane), get[PART]
        starts = [b.at(start, b.mul(I64(p * own.source_bytes), part)) for p in range(own.lanes)]
        totals, seen = self._totals(starts, part)
        left = b.mul(part, I64(own.lanes))

        whole = b.mul(b.sdiv(get[COUNT], I64(own.lanes)), I64(own.lanes))
        total, *seen = b.loop(left, whole, own.lanes, [b.nothing[0], *seen], self._step(start), "left")
        tail = self._tail(start, whole)
        seen = b.look([tail], seen)
        total = b.combined([(each,) for each in (*totals, total, tail)])[0]
        columns = b.transposed([total] * own.lanes)  # each has one lane of it everywhere
        return b.combined([(column,) for column in columns])[0], seen

    def _step(self, start: ir.Value) -> Callable[[ir.Value, Sequence[ir.Value]], Sequence[ir.Value]]:
        """What a loop does that adds the vectors from an address on to a total."""
        b, own = self.b, self.own

        def step(j: ir.Value, now: Sequence[ir.Value]) -> Sequence[ir.Value]:
            total, *seen = now
            line = b.at(start, b.mul(j, I64(own.source_bytes)))
            b.prefetch(b.at(line, AHEAD))
            value = b.read(line)
            return [b.combine((total,), (value,))[0], *b.look([value], seen)]

        return step

    def _totals(self, starts: Sequence[ir.Value], count: ir.Value) -> tuple[list[ir.Value], Sequence[ir.Value]]:
        """What `count` elements from each address on come to, lane by lane."""
        b, own = self.b, self.own

        def vector(j: ir.Value, now: Sequence[ir.Value]) -> Sequence[ir.Value]:
            totals, seen = now[: len(starts)], now[len(starts) :]
            lines = [b.at(start, b.mul(j, I64(own.source_bytes))) for start in starts]
            values = [b.read(line) for line in lines]
            return [
                *(b.combine((total,), (value,))[0] for total, value in zip(totals, values, strict=True)),
                *b.look(values, seen),
            ]

        def block(begin: ir.Value, now: Sequence[ir.Value]) -> Sequence[ir.Value]:
            totals, seen = now[: len(starts)], now[len(starts) :]
            end = b.least(b.add(begin, I64(BLOCK * own.lanes)), count)
            found = b.loop(begin, end, own.lanes, [*nothing, *seen], vector, "vectors")
            sums = [b.combine((a,), (c,))[0] for a, c in zip(totals, found, strict=False)]
            return [*sums, *found[len(starts) :]]

        nothing = [b.nothing[0]] * len(starts)
        found = b.loop(I64(0), count, BLOCK * own.lanes, [*nothing, *b.unseen], block, "blocks")
        return found[: len(starts)], found[len(starts) :]

    def _tail(self, start: ir.Value, whole: ir.Value) -> ir.Value:
        """The last elements of a plane as a vector, after so many; lanes that were counted are of no element."""
        b, own = self.b, self.own
        place = b.sub(self.get[COUNT], I64(own.lanes))
        value = b.read(b.at(start, b.mul(place, I64(own.source_bytes))))
        if self.code.fold.kind != "sum":
            return value  # counted twice, which makes no difference
        return b.blend(b.nothing[0], value, b.lanes_from(b.sub(whole, place)))

    def _in_order(self, start: ir.Value) -> ir.Value:
        """The careful code: a scalar, element after element."""
        b, own = self.b, self.own

        def element(i: ir.Value, now: Sequence[ir.Value]) -> Sequence[ir.Value]:
            value = b.read_one(b.at(start, b.mul(i, I64(own.source_bytes))))
            wins = b.and_(b.fcmp_unordered("ugt", value, now[0]), b.fcmp_ordered("ord", now[0], now[0]))
            return [b.select(wins, value, now[0])]

        first = b.read_one(start)
        return b.loop(I64(1), self.get[COUNT], 1, [first], element, "in_order")[0]

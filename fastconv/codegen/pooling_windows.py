"""Pooling of windows along the last two axes: rows are copied with what pads them, combined along, then across.

    across[r, p] = fold over s of  padded[r, p * stride + s * dilation]
    y[q, p]      = fold over r of  across[q * stride + r * dilation, p]

A row is as long as its plane is wide, times the channels that lie side by side in channels last: "flat" below means
that an element's neighbour along the axis is so many channels further on. Windows are combined along rows first: of
equal maxima the first is then kept, in the order of the elements.

A task is a group of small planes, or a range of the rows of a large one; it is done band by band, each as large as
fits the cache, and what rows two bands share is kept. Three steps make a band:

1. "copy": rows of the input, and what pads them on all sides, into scratch. Left out where nothing pads.
2. "along": all rows of the band at once where the stride is 1, or 2 with one channel: then the output is the same
   function of the flat input everywhere, and what is computed across the ends of rows is not read. Windows of more than
   `MOST_TAPS` are put together of windows of 4, 16, ... elements.
3. "down": a row of the output is combined of rows of the band. Windows of more than `MOST_TAPS` rows take three
   combinations an element, however large they are (van Herk, Pattern Recognition Letters 13, 1992): one of what is
   below a row in its block of as many rows as a window has, from the last up; one of what is above it, from the first
   down; and one of both, the window being the end of one block and the beginning of the next.
"""

from __future__ import annotations

from collections.abc import Sequence

from llvmlite import ir

from fastconv.codegen import jit
from fastconv.codegen import target as targets
from fastconv.codegen.folding import Folder, FoldModule, State, element_type
from fastconv.codegen.pooling_along import Along
from fastconv.codegen.pooling_code import (
    AHEAD,
    BAND,
    BEFORE_H,
    BEFORE_W,
    CARRIED,
    CHANNELS,
    DILATION_H,
    DIVISORS,
    GROUP,
    HEIGHT,
    LAST_AT,
    NEW,
    OPERANDS,
    OUT_HEIGHT,
    OUT_ROW,
    PAD_PART,
    PAD_PLANE,
    PAD_ROW,
    PART_ROWS,
    PARTS,
    PLACES,
    PLANE_WIDTH,
    PLANES,
    ROW,
    ROWS_AT,
    ROWS_PART,
    ROWS_PLANE,
    ROWS_ROW,
    SLOTS,
    STRIDE_H,
    TOGETHER,
    X_PLANE,
    X_ROW,
    Y_CHANNEL,
    Y_IMAGE,
    Y_ROW,
    Context,
    Windows,
)
from fastconv.codegen.pooling_down import Down
from fastconv.codegen.vector import I64


def address(code: Windows) -> int:
    """Return the address of the function; `fastconv.codegen.launch` says how it is called."""
    target = targets.current()
    return jit.address(code.name, lambda: str(emit(code, target)), target)


def emit(code: Windows, target: targets.Target) -> ir.Module:
    """Return the function as a module."""
    own = FoldModule(code.name, code.fold, target)
    quick = _Task(own, code, "quick", careful=False).function
    careful = _Task(own, code, "careful", careful=True).function if code.fold.looks else None
    function, start = own.define(code.name, ir.VoidType(), [I64] * 4)
    b = Folder(own, start.block, careful=True)
    operands, scratch, first, last = function.args
    numbers, x, y, indices = b.load_slots(operands, OPERANDS)
    if code.padded:
        _fill(b, numbers, scratch)

    def task(i: ir.Value) -> None:
        seen = b.call(quick, [numbers, x, y, indices, scratch, i])
        if careful is not None:
            again = [numbers, x, y, indices, scratch, i]
            b.do_if(b.icmp_signed("!=", seen, I64(0)), lambda: b.call(careful, again), "seen")

    b.count_up(first, last, 1, task, "tasks")
    b.ret_void()
    return own.module


def _fill(b: Folder, numbers: ir.Value, scratch: ir.Value) -> None:
    """Write what pads all rows; copies of rows leave it as it is."""
    own = b.owner
    end = b.load_int(b.at(b.pointer(numbers), 8 * ROWS_AT))
    part = b.load_int(b.at(b.pointer(numbers), 8 * PAD_PART))
    if own.parts == 1:
        part = end
    to = b.pointer(scratch)
    b.count_up(I64(0), part, own.width, lambda i: b.put(b.nothing, to, i, part), "fill")


class _Task:
    """A function i64 task(numbers, x, y, indices, scratch, task), which returns whether it saw NaN."""

    def __init__(self, own: FoldModule, code: Windows, name: str, *, careful: bool) -> None:
        self.own, self.code = own, code
        self.function, start = own.define(name, I64, [I64] * 6, internal=True)
        self.b = b = Folder(own, start.block, careful)
        numbers, self.x, self.y, self.indices, self.scratch, task = self.function.args
        at = b.pointer(numbers)
        self.get = [b.load_int(b.at(at, 8 * slot)) for slot in range(SLOTS)]
        get = self.get
        self.context = Context(own, code, b, get, self.scratch)
        part = b.urem(task, get[PARTS])
        self.first_plane = b.mul(b.udiv(task, get[PARTS]), get[GROUP])
        self.planes = b.least(get[GROUP], b.sub(get[PLANES], self.first_plane))
        first = b.mul(part, get[PART_ROWS])
        end = b.least(b.add(first, get[PART_ROWS]), get[OUT_HEIGHT])

        def band(q: ir.Value, seen: Sequence[ir.Value]) -> Sequence[ir.Value]:
            return self.band(q, b.least(b.sub(end, q), get[BAND]), b.icmp_signed("==", q, first), seen)

        b.ret(b.was_seen(b.loop(first, end, get[BAND], b.unseen, band, "band")))

    # -- one band

    def band(self, q: ir.Value, rows: ir.Value, is_first: ir.Value, seen: Sequence[ir.Value]) -> Sequence[ir.Value]:
        """Rows `q` to `q` + `rows` - 1 of the output."""
        b, get = self.b, self.get
        window = b.add(b.mul(I64(self.code.kernel[0] - 1), get[DILATION_H]), I64(1))
        needed = b.add(b.mul(b.sub(rows, I64(1)), get[STRIDE_H]), window)
        kept = I64(0) if self.code.fused else b.select(is_first, I64(0), get[CARRIED])
        new = b.sub(needed, kept)
        top = b.add(b.mul(q, get[STRIDE_H]), kept)  # of the padded plane
        if self.code.padded:
            seen = self._copy(top, new, seen)
        if self.code.fused:
            return self._down(q, rows, seen)
        seen = self._along(top, kept, new, seen)
        self._down(q, rows, [])
        self._carry()
        return seen

    def _plane(self, number: ir.Value) -> ir.Value:
        """The address of the plane `number` of the task."""
        b, get = self.b, self.get
        return b.add(self.x, b.mul(b.add(self.first_plane, number), get[X_PLANE]))

    def _copy(self, top: ir.Value, rows: ir.Value, seen: Sequence[ir.Value]) -> Sequence[ir.Value]:
        b, get, own = self.b, self.get, self.own
        size = I64(own.bytes)
        inner = b.mul(get[BEFORE_W], size)
        above = b.sub(get[BEFORE_H], top)
        first = b.least(b.greatest(above, I64(0)), rows)  # rows that lie inside
        end = b.least(b.add(above, get[HEIGHT]), rows)

        def plane(g: ir.Value, seen: Sequence[ir.Value]) -> Sequence[ir.Value]:
            source = self._plane(g)
            to = b.add(self.scratch, b.mul(g, get[PAD_PLANE]))

            def line(r: ir.Value) -> ir.Value:
                return b.at(b.pointer(to), b.add(b.mul(r, get[PAD_ROW]), inner))

            def row(r: ir.Value, seen: Sequence[ir.Value]) -> Sequence[ir.Value]:
                place = b.sub(b.add(top, r), get[BEFORE_H])
                begin = b.add(source, b.mul(place, get[X_ROW]))
                return self._copy_row(b.pointer(begin), line(r), b.mul(place, get[PLANE_WIDTH]), seen)

            def outside(r: ir.Value) -> None:
                def store(j: ir.Value) -> None:
                    b.put(b.nothing, line(r), b.mul(j, size), get[PAD_PART])

                # a vector that reaches beyond the row meets what pads it, or the next row, which is yet to come
                b.count_up(I64(0), get[ROW], own.lanes, store, "outside")

            if not self.code.whole:  # else they are as they were filled
                b.count_up(I64(0), first, 1, outside, "above")
            seen = b.loop(first, end, 1, seen, row, "copy_rows")
            if not self.code.whole:
                b.count_up(b.greatest(end, I64(0)), rows, 1, outside, "below")
            return seen

        return b.loop(I64(0), self.planes, 1, seen, plane, "copy")

    def _copy_row(
        self, source: ir.Value, to: ir.Value, place: ir.Value, seen: Sequence[ir.Value]
    ) -> Sequence[ir.Value]:
        """Copy a row, whose first element has the position `place` in its plane."""
        b, get, own = self.b, self.get, self.own
        size, source_size = I64(own.bytes), I64(own.source_bytes)

        def whole(j: ir.Value, seen: Sequence[ir.Value], _: bool) -> Sequence[ir.Value]:
            begin = b.at(source, b.mul(j, source_size))
            b.prefetch(b.at(begin, AHEAD))
            value = b.read(begin)
            state: State = (value,)
            if own.parts > 1:
                places = b.load(b.at(b.pointer(get[PLACES]), b.mul(j, size)), typ=own.integers, align=own.bytes)
                state = value, b.add(places, b.splat(self._index(place)))
            b.put(state, to, b.mul(j, size), get[PAD_PART])
            return b.look([value], seen)

        def short(j: ir.Value, seen: Sequence[ir.Value]) -> Sequence[ir.Value]:
            value = b.read_one(b.at(source, b.mul(j, source_size)))
            at = b.at(to, b.mul(j, size))
            b.store(value, at, align=own.bytes)
            if own.parts > 1:
                pixel = b.load(b.at(b.pointer(get[PLACES]), b.mul(j, size)), typ=own.integer, align=own.bytes)
                b.store(b.add(pixel, self._index(place)), b.at(at, get[PAD_PART]), align=own.bytes)
            if not seen:
                return []
            found = b.sext(b.fcmp_unordered("uno", value, value), own.integer)
            return [b.or_(seen[0], b.splat(found))]

        if self.code.short:
            return b.loop(I64(0), get[ROW], 1, seen, short, "singles")
        return b.vectors(self.code.row or get[ROW], seen, whole, "vectors")

    def _index(self, place: ir.Value) -> ir.Value:
        """A position as wide as an element."""
        return place if self.own.bytes == 8 else self.b.trunc(place, self.own.integer)

    # -- along rows

    def _along(self, top: ir.Value, kept: ir.Value, rows: ir.Value, seen: Sequence[ir.Value]) -> Sequence[ir.Value]:
        """Combine along the new rows, behind those that are kept."""
        b, get, code = self.b, self.get, self.code
        to = b.add(b.add(self.scratch, get[ROWS_AT]), b.mul(kept, get[ROWS_ROW]))
        if code.padded:
            source, pitch, plane = self.scratch, get[PAD_ROW], get[PAD_PLANE]
            looking: Sequence[ir.Value] = []
        else:
            source = b.add(self._plane(I64(0)), b.mul(top, get[X_ROW]))
            pitch, plane, looking = get[X_ROW], get[X_PLANE], seen
        # several planes are whole ones, and follow each other in the source and in scratch
        alone = b.icmp_signed("==", self.planes, I64(1))
        all_rows = b.select(alone, rows, b.mul(self.planes, b.sdiv(plane, pitch)))
        size = self.own.bytes if code.padded else self.own.source_bytes
        if code.rowwise:

            def row(r: ir.Value, seen: Sequence[ir.Value]) -> Sequence[ir.Value]:
                begin, into = b.add(source, b.mul(r, pitch)), b.add(to, b.mul(r, get[ROWS_ROW]))
                return Along(self.context, begin, into, size).flat(get[OUT_ROW], seen)

            found = b.loop(I64(0), all_rows, 1, looking, row, "rowwise")
        elif code.step:
            length = b.sdiv(pitch, I64(size))
            count = b.add(b.sdiv(b.mul(b.sub(all_rows, I64(1)), length), I64(code.step)), get[OUT_ROW])
            found = list(Along(self.context, source, to, size).flat(count, looking))
        else:
            found = list(Along(self.context, source, to, size).strided(all_rows, pitch, looking))
        return found if looking else seen

    # -- down

    def _down(self, q: ir.Value, rows: ir.Value, seen: Sequence[ir.Value]) -> Sequence[ir.Value]:
        b, get, code = self.b, self.get, self.code
        everything = b.mul(get[OUT_HEIGHT], get[OUT_ROW])

        together = b.icmp_signed("!=", get[TOGETHER], I64(0))

        def plane(g: ir.Value, seen: Sequence[ir.Value]) -> Sequence[ir.Value]:
            number = b.add(self.first_plane, g)

            def apart(_: Sequence[ir.Value]) -> Sequence[ir.Value]:
                image, channel = b.udiv(number, get[CHANNELS]), b.urem(number, get[CHANNELS])
                return [b.add(b.mul(image, get[Y_IMAGE]), b.mul(channel, get[Y_CHANNEL]))]

            # where planes follow each other there is nothing to divide, which takes as long as a row
            following = b.mul(number, b.mul(get[OUT_HEIGHT], get[Y_ROW]))
            (offset,) = b.values_if(b.not_(together), [following], apart, "apart")
            y = b.add(b.add(self.y, offset), b.mul(q, get[Y_ROW]))
            if not code.fused:
                source = b.add(b.add(self.scratch, get[ROWS_AT]), b.mul(g, get[ROWS_PLANE]))
            elif code.padded:
                source = b.add(self.scratch, b.mul(g, get[PAD_PLANE]))
            else:
                begin = self._plane(g)
                if code.out_short:  # what is read behind its rows is the next plane, but for the last one
                    is_last = b.icmp_signed("==", b.add(number, I64(1)), get[PLANES])
                    (begin,) = b.values_if(is_last, [begin], self._copy_last, "last")
                source = b.add(begin, b.mul(b.mul(q, get[STRIDE_H]), get[X_ROW]))
            indices = b.add(self.indices, b.mul(b.add(b.mul(number, everything), b.mul(q, get[OUT_ROW])), I64(8)))
            # what may be written behind a row, as it is written again: up to the end of what this task writes
            more = b.mul(b.sub(b.sub(self.planes, g), I64(1)), get[TOGETHER])
            room = b.add(b.mul(rows, get[OUT_ROW]), b.mul(more, everything))
            down = Down(self.context, source, y, indices, b.add(get[DIVISORS], b.mul(q, I64(self.own.bytes))))
            if code.blocks:
                down.blocks(rows)
                return seen

            def row(i: ir.Value, seen: Sequence[ir.Value]) -> Sequence[ir.Value]:
                return down.row(i, b.sub(room, b.mul(i, get[OUT_ROW])), seen)

            if not code.shared:
                return b.loop(I64(0), rows, 1, seen, row, "down")
            # pairs of rows, whose second may be written beyond
            spare = I64(0)
            if code.out_short:
                following = b.icmp_signed(">=", b.mul(more, everything), I64(self.own.lanes))
                spare = b.select(following, I64(0), b.add(b.udiv(I64(self.own.lanes), get[OUT_ROW]), I64(1)))
            even = b.greatest(b.and_(b.sub(rows, spare), I64(-2)), I64(0))
            seen = b.loop(I64(0), even, 2, seen, down.pair, "pairs")
            return b.loop(even, rows, 1, seen, row, "down")

        return b.loop(I64(0), self.planes, 1, seen, plane, "planes")

    def _copy_last(self, plane: Sequence[ir.Value]) -> Sequence[ir.Value]:
        """Copy a plane to where there is room behind it."""
        b, get, own = self.b, self.get, self.own
        to = b.add(self.scratch, get[LAST_AT])
        kind, size = element_type(self.code.fold.source), own.source_bytes

        def element(i: ir.Value) -> None:
            value = b.load(b.pointer(b.add(plane[0], i)), typ=kind, align=size)
            b.store(value, b.pointer(b.add(to, i)), align=size)

        b.count_up(I64(0), get[X_PLANE], size, element, "copy_last")
        return [to]

    def _carry(self) -> None:
        """Move the rows that the next band shares to the beginning."""
        b, get, own = self.b, self.get, self.own
        to = b.add(self.scratch, get[ROWS_AT])
        source = b.pointer(b.add(to, b.mul(get[NEW], get[ROWS_ROW])))
        end = b.mul(get[CARRIED], get[ROWS_ROW])

        def move(i: ir.Value) -> None:
            b.put(b.get(source, i, get[ROWS_PART]), b.pointer(to), i, get[ROWS_PART])

        b.count_up(I64(0), end, own.width, move, "carry")

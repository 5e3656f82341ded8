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
from dataclasses import dataclass
from functools import cached_property

from llvmlite import ir

from fastconv.codegen import jit
from fastconv.codegen import target as targets
from fastconv.codegen.folding import Fold, Folder, FoldModule, State, element_type
from fastconv.codegen.vector import I64

# fmt: off
#: int64 slots of a plan. Sizes count elements unless they are said to be bytes.
(
    PLANES, GROUP,                 # planes of all images; of a task
    PARTS, PART_ROWS,              # tasks of a plane, output rows of one
    BAND,                          # output rows of a band
    CHANNELS,                      # planes of an image
    HEIGHT, ROW,                   # rows of a plane, elements of one
    OUT_HEIGHT, OUT_ROW,
    BEFORE_H, BEFORE_W,            # padding
    STRIDE_H, DILATION_H, NEW,     # rows; rows of a band that the one before it has not
    CARRIED,                       # rows that two bands share
    FLAT_STRIDE, FLAT_DILATION,    # along a row
    RUN, RUNS,                     # elements side by side, and how many times, where the stride is none of 1 and 2
    X_PLANE, X_ROW,                # bytes
    Y_IMAGE, Y_CHANNEL, Y_ROW,     # bytes
    TOGETHER,                      # 1 if planes of the output follow each other
    PAD_ROW, PAD_PLANE, PAD_PART,  # bytes in scratch: from row to row, plane to plane, part to part of a state
    ROWS_AT, ROWS_ROW, ROWS_PLANE, ROWS_PART,  # of what "along" gives
    LEVELS_AT, LEVELS_SIZE,        # of windows of 4, 16, ... elements
    MORE_AT,                       # room for a vector, and behind it for the column of blocks
    DIVISORS, LANE_DIVISORS,       # addresses, by output row and by output element of a row
    LAST_AT,                       # room for a plane
    PLACES,                        # address of the position in its row of each element of one
    PLANE_WIDTH,                   # pixels of a row
    SLOTS,
) = range(42)
# fmt: on
X, Y, INDICES, OPERANDS = 1, 2, 3, 4  # operands, behind the address of the plan's slots

MOST_TAPS = 6
AHEAD = 1024  # bytes that are asked for before they are read
_FLAGS = ("single", "fused", "rowwise", "padded", "blocks", "lane_divisors", "unit", "whole", "short", "out_short")
MANY_ROWS = 16  # that a loop goes through
MOST_FUSED = 9  # elements of a window that is combined in one step
COLUMN = 4  # vectors that blocks are combined by


@dataclass(frozen=True)
class Windows:
    """What the code depends on.

    Parameters
    ----------
    fold : Fold
        What is done with elements.
    kernel : tuple of int
        Rows and columns of a window.
    step : {1, 2, 0}
        Stride along a row: 2 is that of single channels, 0 any other.
    single : bool
        Whether there is one channel side by side.
    fused : bool
        Whether small windows are combined in one step, without rows in between.
    rowwise : bool
        Whether windows are combined row by row, as is best for long ones; the stride is 1 or 2 then.
    padded : bool
        Whether rows are copied.
    blocks : bool
        Whether windows are combined by blocks of rows.
    lane_divisors : bool
        Whether divisors differ along a row.
    unit : bool
        Whether a window's elements along a row are neighbours.
    whole : bool
        Whether each band is a whole plane.
    row, out_row : int
        Elements of a row of the input and of the output, where code is written out for so many; else 0.
    shared : int
        The stride of rows, where windows share some of them and are combined in one step two by two; else 0.
    short, out_short : bool
        Whether these rows have fewer elements than a vector.
    """

    fold: Fold
    kernel: tuple[int, int]
    step: int
    single: bool
    fused: bool
    rowwise: bool
    padded: bool
    blocks: bool
    lane_divisors: bool
    unit: bool
    whole: bool
    row: int
    out_row: int
    shared: int
    short: bool
    out_short: bool

    @cached_property
    def name(self) -> str:
        """The name of its function, which says all of it."""
        words = [f"pooling_{self.fold.name}_{self.kernel[0]}x{self.kernel[1]}_s{self.step}"]
        words += [word for word in _FLAGS if getattr(self, word)]
        return "_".join([*words, f"{self.row}_{self.out_row}_{self.shared}"])

    @property
    def levels(self) -> list[int]:
        """Sizes of the windows that are put together of others: 4, 16, ..."""
        found = [4**i for i in range(1, 32) if 4**i <= self.kernel[1]]
        return found if self.kernel[1] > MOST_TAPS else []

    @property
    def pieces(self) -> list[tuple[int, int]]:
        """Level (0 are elements) and first tap of each piece that a window is put together of."""
        width, sizes = self.kernel[1], [1, *self.levels]
        if self.fold.kind != "sum":  # may overlap
            size = sizes[-1]
            return [(len(sizes) - 1, min(first, width - size)) for first in range(0, width, size)]
        pieces, first = [], 0
        for level, size in reversed(list(enumerate(sizes))):
            while width - first >= size:
                pieces.append((level, first))
                first += size
        return pieces


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
    numbers, x, y, indices = (b.load_int(b.at(b.pointer(operands), 8 * slot)) for slot in range(OPERANDS))
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
    b.count_up(I64(0), part, own.lanes * own.bytes, lambda i: b.put(b.nothing, to, i, part), "fill")


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
                return _Along(self, begin, into, size).flat(get[OUT_ROW], seen)

            found = b.loop(I64(0), all_rows, 1, looking, row, "rowwise")
        elif code.step:
            length = b.sdiv(pitch, I64(size))
            count = b.add(b.sdiv(b.mul(b.sub(all_rows, I64(1)), length), I64(code.step)), get[OUT_ROW])
            found = list(_Along(self, source, to, size).flat(count, looking))
        else:
            found = list(_Along(self, source, to, size).strided(all_rows, pitch, looking))
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
            down = _Down(self, source, y, indices, b.add(get[DIVISORS], b.mul(q, I64(self.own.bytes))))
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

        b.count_up(I64(0), end, own.lanes * own.bytes, move, "carry")


class _Along:
    """Windows along rows, from `source` with elements of `size` bytes to `to` in scratch."""

    def __init__(self, task: _Task, source: ir.Value, to: ir.Value, size: int) -> None:
        self.task, self.b, self.get, self.own, self.code = task, task.b, task.get, task.own, task.code
        b = self.b
        self.source, self.to, self.size = b.pointer(source), b.pointer(to), size

    def _level(self, level: int) -> ir.Value:
        b, get = self.b, self.get
        start = b.add(b.add(self.task.scratch, get[LEVELS_AT]), b.mul(I64(level - 1), get[LEVELS_SIZE]))
        return b.pointer(start)

    def _load(self, level: int, j: ir.Value, tap: int, raw: list[ir.Value]) -> State:
        """The state of the piece of `level` that begins at a tap of element `j`."""
        b, get, own = self.b, self.get, self.own
        place = j
        if tap:
            place = b.add(j, I64(tap) if self.code.unit else b.mul(I64(tap), get[FLAT_DILATION]))
        if level:
            return b.get(self._level(level), b.mul(place, I64(own.bytes)), get[PAD_PART])
        if self.code.padded:
            return b.get(self.source, b.mul(place, I64(own.bytes)), get[PAD_PART])
        begin = b.at(self.source, b.mul(place, I64(self.size)))
        if not raw:
            b.prefetch(b.at(begin, AHEAD))
        value = b.read(begin)
        raw.append(value)
        return (value,)

    def _levels(self, count: ir.Value, seen: Sequence[ir.Value]) -> Sequence[ir.Value]:
        """Windows of 4, 16, ... elements at each of `count` elements."""
        b, get, own = self.b, self.get, self.own
        for level, size in enumerate(self.code.levels, 1):
            reach = b.mul(I64(self.code.kernel[1] - size), get[FLAT_DILATION])  # that pieces begin at, and no further

            def body(
                j: ir.Value, seen: Sequence[ir.Value], last: bool, level: int = level, size: int = size
            ) -> Sequence[ir.Value]:
                raw: list[ir.Value] = []
                states = [self._load(level - 1, j, tap * size // 4, raw) for tap in range(4)]
                b.put(b.combined(states), self._level(level), b.mul(j, I64(own.bytes)), get[PAD_PART])
                return b.look(raw if last else raw[:1], seen)

            seen = (
                b.vectors(self._filling(b.add(count, reach)), seen if level == 1 else [], body, f"level{level}") or seen
            )
        return seen

    def flat(self, count: ir.Value, seen: Sequence[ir.Value]) -> Sequence[ir.Value]:
        """So many elements, at every element or every other."""
        b, get, own, step = self.b, self.get, self.own, self.code.step
        if self.code.levels:
            inputs = b.add(b.mul(b.sub(count, I64(1)), I64(step)), I64(1))
            seen = self._levels(inputs, seen)
        looked = [] if self.code.levels else seen

        def body(j: ir.Value, seen: Sequence[ir.Value], last: bool) -> Sequence[ir.Value]:
            raw: list[ir.Value] = []
            if step == 1:
                state = b.combined([self._load(level, j, tap, raw) for level, tap in self.code.pieces])
                checked = raw if last else raw[:1]
            else:
                state = self.in_order(self._every_other(b.mul(j, I64(2)), raw))
                checked = raw if last else raw[:2]
            b.put(state, self.to, b.mul(j, I64(own.bytes)), get[ROWS_PART])
            return b.look(checked, seen)

        return b.vectors(self._filling(count), looked, body, "along") or seen

    def windows(self, j: ir.Value, raw: list[ir.Value]) -> State:
        """Windows of the output's elements from `j` on, not yet `in_order`; what is read goes to `raw`."""
        if self.code.step == 1:
            return self.b.combined([self._load(level, j, tap, raw) for level, tap in self.code.pieces])
        return self._every_other(self.b.mul(j, I64(2)), raw)

    def _picked_lanes(self, first: int, second: int) -> list[int]:
        """Of two vectors, every other lane from these on, part by part of 128 bits: two of one, then two of the other.

        Shuffles that stay within parts take one operation. The order is put right once, at the end.
        """
        own = self.own
        lanes, part = own.lanes, min(own.lanes, 16 // own.bytes)
        picked = []
        for base in range(0, lanes, part):
            picked += [base + first + 2 * i for i in range(part // 2)]
            picked += [lanes + base + second + 2 * i for i in range(part // 2)]
        return picked

    def in_order(self, state: State) -> State:
        """Windows in the order of the output."""
        if self.code.step == 1:
            return state
        lanes = self.own.lanes
        order = [place // 2 for place in self._picked_lanes(0, 0)]  # the window that each lane is of
        return tuple(self.b.pick(value, [order.index(i) for i in range(lanes)]) for value in state)

    def _every_other(self, j: ir.Value, raw: list[ir.Value]) -> State:
        """The windows at element `j` and every other after it.

        Two taps that are neighbours are the even and the odd elements of two vectors. For one alone the vectors share
        an element, so that nothing behind the last window is read.
        """
        b, lanes, code = self.b, self.own.lanes, self.code
        states, left = [], list(code.pieces)
        while left:
            level, tap = left.pop(0)
            pair = code.unit and left[:1] == [(level, tap + 1)]
            halves = [self._load(level, place, tap, raw) for place in (j, b.add(j, I64(lanes - (not pair))))]
            chosen = [(0, 0), (1, 1)] if pair else [(0, 1)]
            for lanes_of in chosen:
                places = b.places(self._picked_lanes(*lanes_of))
                states.append(tuple(b.shuffle_vector(x, y, places) for x, y in zip(*halves, strict=True)))
            del left[: len(chosen) - 1]
        return b.combined(states)

    def strided(self, rows: ir.Value, pitch: ir.Value, seen: Sequence[ir.Value]) -> Sequence[ir.Value]:
        """Row by row, where the stride is another one, or there are channels side by side."""
        b, get, own, code = self.b, self.get, self.own, self.code
        length = b.sdiv(pitch, I64(self.size))
        if code.levels:
            seen = self._levels(b.sub(b.mul(rows, length), self._beyond()), seen)
        if code.single:
            return self._picked(rows, length, seen)
        looked = [] if code.levels else seen

        def row(r: ir.Value, seen: Sequence[ir.Value]) -> Sequence[ir.Value]:
            line, to = b.mul(r, length), b.sdiv(b.mul(r, get[ROWS_ROW]), I64(own.bytes))

            def run(i: ir.Value, seen: Sequence[ir.Value]) -> Sequence[ir.Value]:
                begin, into = b.add(line, b.mul(i, get[FLAT_STRIDE])), b.add(to, b.mul(i, get[RUN]))

                def body(j: ir.Value, seen: Sequence[ir.Value], last: bool = False) -> Sequence[ir.Value]:
                    raw: list[ir.Value] = []
                    state = b.combined([self._load(level, b.add(begin, j), tap, raw) for level, tap in code.pieces])
                    b.put(state, self.to, b.mul(b.add(into, j), I64(own.bytes)), get[ROWS_PART])
                    return b.look(raw, seen)

                if code.padded:  # what is read and written behind a run is padding, or the next run
                    return b.loop(I64(0), get[RUN], own.lanes, seen, body, "run")
                return b.vectors(get[RUN], seen, body, "run")

            return b.loop(I64(0), get[RUNS], 1, seen, run, "runs")

        return b.loop(I64(0), rows, 1, looked, row, "rows") or seen

    def _filling(self, count: ir.Value) -> ir.Value:
        """`count`, but a vector at least: scratch has the room, and arrays are read only where there is as much."""
        return self.b.greatest(count, I64(self.own.lanes)) if self.code.padded else count

    def _beyond(self) -> ir.Value:
        """Elements by which the last window of all begins before the end of its row."""
        b, get = self.b, self.get
        return b.mul(I64(self.code.kernel[1] - 1), get[FLAT_DILATION])

    def _picked(self, rows: ir.Value, length: ir.Value, seen: Sequence[ir.Value]) -> Sequence[ir.Value]:
        """Windows at every element, and of those one by one the ones that are wanted."""
        b, get, own, code = self.b, self.get, self.own, self.code
        every = b.pointer(
            b.add(b.add(self.task.scratch, get[LEVELS_AT]), b.mul(I64(len(code.levels)), get[LEVELS_SIZE]))
        )
        count = b.sub(b.mul(rows, length), self._beyond())

        def body(j: ir.Value, seen: Sequence[ir.Value], last: bool) -> Sequence[ir.Value]:
            raw: list[ir.Value] = []
            state = b.combined([self._load(level, j, tap, raw) for level, tap in code.pieces])
            b.put(state, every, b.mul(j, I64(own.bytes)), get[PAD_PART])
            return b.look(raw if last else raw[:1], seen)

        seen = b.vectors(self._filling(count), [] if code.levels else seen, body, "everywhere") or seen
        kinds = (own.element, own.integer)[: own.parts]

        def row(r: ir.Value) -> None:
            line, to = b.mul(r, length), b.at(self.to, b.mul(r, get[ROWS_ROW]))

            def element(i: ir.Value) -> None:
                place = b.mul(b.add(line, b.mul(i, get[FLAT_STRIDE])), I64(own.bytes))
                into = b.mul(i, I64(own.bytes))
                for part, kind in enumerate(kinds):
                    source = b.at(every, b.add(place, b.mul(I64(part), get[PAD_PART])))
                    target = b.at(to, b.add(into, b.mul(I64(part), get[ROWS_PART])))
                    b.store(b.load(source, typ=kind, align=own.bytes), target, align=own.bytes)

            b.count_up(I64(0), get[OUT_ROW], 1, element, "elements")

        b.count_up(I64(0), rows, 1, row, "picked")
        return seen


@dataclass(frozen=True)
class _Line:
    """Where a row of the output goes, and what it is divided by."""

    y: ir.Value
    indices: ir.Value
    divisor: ir.Value | None


class _Down:
    """Windows of rows of a band, from `source` in scratch to `y` and `indices`."""

    def __init__(self, task: _Task, source: ir.Value, y: ir.Value, indices: ir.Value, divisors: ir.Value) -> None:
        self.task, self.b, self.get, self.own, self.code = task, task.b, task.get, task.own, task.code
        self.source, self.y, self.indices, self.divisors = source, y, indices, divisors

    def _to(self, i: ir.Value) -> _Line:
        """Where row `i` goes."""
        b, get, own = self.b, self.get, self.own
        y = b.pointer(b.add(self.y, b.mul(i, get[Y_ROW])))
        indices = b.pointer(b.add(self.indices, b.mul(b.mul(i, get[OUT_ROW]), I64(8)))) if own.parts > 1 else y
        divisor = None
        if self.code.fold.after == "divide":
            divisor = b.broadcast(b.pointer(b.add(self.divisors, b.mul(i, I64(own.bytes)))))
        return _Line(y, indices, divisor)

    def _write(self, state: State, line: _Line, j: ir.Value) -> None:
        """Write the vector at element `j` of a row."""
        b, own = self.b, self.own
        b.write(b.finished(state[0], self._divisor(line, j)), b.at(line.y, b.mul(j, I64(own.result_bytes))))
        if own.parts > 1:
            b.write_indices(state[1], b.at(line.indices, b.mul(j, I64(8))))

    def _divisor(self, line: _Line, j: ir.Value) -> ir.Value | None:
        b, own = self.b, self.own
        if line.divisor is None or not self.code.lane_divisors:
            return line.divisor
        lanes = b.at(b.pointer(self.get[LANE_DIVISORS]), b.mul(j, I64(own.bytes)))
        return b.fmul(line.divisor, b.load(lanes, typ=own.vector, align=own.bytes))

    def row(self, i: ir.Value, room: ir.Value, seen: Sequence[ir.Value]) -> Sequence[ir.Value]:
        """Row `i` of the band; behind it as many elements as `room` has more may be written."""
        b, get, own, code = self.b, self.get, self.own, self.code
        pitch = get[ROWS_ROW] if not code.fused else get[PAD_ROW] if code.padded else get[X_ROW]
        step = b.mul(get[DILATION_H], pitch)
        first = b.add(self.source, b.mul(b.mul(i, get[STRIDE_H]), pitch))
        many = code.fused and code.kernel[0] > MANY_ROWS
        lines = [b.add(first, b.mul(I64(r), step)) for r in range(1 if many else code.kernel[0])]
        size = own.bytes if code.padded else own.source_bytes
        to = self._to(i)
        along = [_Along(self.task, line, line, size) for line in lines]

        def found(j: ir.Value, seen: Sequence[ir.Value], last: bool) -> tuple[State, Sequence[ir.Value]]:
            if not code.fused:
                place = b.mul(j, I64(own.bytes))
                return b.combined([b.get(b.pointer(line), place, get[ROWS_PART]) for line in lines]), seen
            if many:

                def following(r: ir.Value, now: Sequence[ir.Value]) -> Sequence[ir.Value]:
                    state, seen = tuple(now[: own.parts]), now[own.parts :]
                    raw: list[ir.Value] = []
                    each = _Along(self.task, b.add(lines[0], b.mul(r, step)), lines[0], size)
                    return [*b.combine(state, each.windows(j, raw)), *b.look(raw, seen)]

                read: list[ir.Value] = []
                top = along[0].windows(j, read)
                values = b.loop(I64(1), I64(code.kernel[0]), 1, [*top, *b.look(read, seen)], following, "taps")
                return tuple(values[: own.parts]), values[own.parts :]
            states, looked = [], []
            for each in along:
                raw: list[ir.Value] = []
                states.append(each.windows(j, raw))
                looked += raw if last else raw[: code.step]
            return along[0].in_order(b.combined(states)), b.look(looked, seen) if looked else seen

        def whole(j: ir.Value, seen: Sequence[ir.Value], last: bool) -> Sequence[ir.Value]:
            state, seen = found(j, seen, last)
            self._write(state, to, j)
            return seen

        def spilled(seen: Sequence[ir.Value]) -> Sequence[ir.Value]:
            return whole(I64(0), seen, True)

        def narrow(seen: Sequence[ir.Value]) -> Sequence[ir.Value]:
            state, seen = found(I64(0), seen, True)
            self._narrow(state, to)
            return seen

        if not code.out_short:
            return b.vectors(code.out_row or get[OUT_ROW], seen, whole, "row")
        spills = b.icmp_signed(">=", room, I64(own.lanes))
        seen = b.values_if(spills, seen, spilled, "spills")
        return b.values_if(b.not_(spills), seen, narrow, "narrow")

    def pair(self, i: ir.Value, seen: Sequence[ir.Value]) -> Sequence[ir.Value]:
        """Rows `i` and `i` + 1, whose windows share rows, each combined along once."""
        b, get, own, code = self.b, self.get, self.own, self.code
        pitch = get[PAD_ROW] if code.padded else get[X_ROW]
        first = b.add(self.source, b.mul(b.mul(i, I64(code.shared)), pitch))
        size = own.bytes if code.padded else own.source_bytes
        lines = [b.add(first, b.mul(I64(r), pitch)) for r in range(code.shared + code.kernel[0])]
        along = [_Along(self.task, line, line, size) for line in lines]
        to = [self._to(i), self._to(b.add(i, I64(1)))]

        def vector(j: ir.Value, seen: Sequence[ir.Value], last: bool) -> Sequence[ir.Value]:
            states, looked = [], []
            for each in along:
                raw: list[ir.Value] = []
                states.append(each.windows(j, raw))
                looked += raw if last else raw[: code.step]
            for number, line in enumerate(to):
                begin = number * code.shared
                self._write(along[0].in_order(b.combined(states[begin : begin + code.kernel[0]])), line, j)
            return b.look(looked, seen)

        if code.out_short:
            return vector(I64(0), seen, True)
        return b.vectors(code.out_row or get[OUT_ROW], seen, vector, "pair")

    def _narrow(self, state: State, line: _Line) -> None:
        """Write a row of fewer elements than a vector has, one by one."""
        b, get, own = self.b, self.get, self.own
        room = b.pointer(b.add(self.task.scratch, get[MORE_AT]))
        part = own.lanes * own.bytes
        b.put((b.finished(state[0], self._divisor(line, I64(0))), *state[1:]), room, 0, part)

        def element(j: ir.Value) -> None:
            at = b.at(room, b.mul(j, I64(own.bytes)))
            value = b.load(at, typ=own.element, align=own.bytes)
            b.write(value, b.at(line.y, b.mul(j, I64(own.result_bytes))))
            if own.parts > 1:
                index = b.load(b.at(at, part), typ=own.integer, align=own.bytes)
                b.write_indices(index, b.at(line.indices, b.mul(j, I64(8))))

        b.count_up(I64(0), get[OUT_ROW], 1, element, "narrow_elements")

    def blocks(self, rows: ir.Value) -> None:
        """All rows of a band, one block of them: column by column of some vectors."""
        b, get, own = self.b, self.get, self.own
        wide = I64(COLUMN * own.lanes)
        whole = b.mul(b.sdiv(get[OUT_ROW], wide), wide)
        b.count_up(I64(0), whole, COLUMN * own.lanes, lambda j: self._column(rows, j, COLUMN), "columns")
        last = b.sub(get[OUT_ROW], I64(own.lanes))

        def single(j: ir.Value) -> None:
            self._column(rows, b.least(j, last), 1)

        b.count_up(whole, get[OUT_ROW], own.lanes, single, "column")

    def _column(self, rows: ir.Value, j: ir.Value, vectors: int) -> None:
        b, get, own = self.b, self.get, self.own
        size, part = own.lanes * own.bytes, self.code.kernel[0] * COLUMN * own.lanes * own.bytes
        line = b.pointer(b.add(self.source, b.mul(j, I64(own.bytes))))
        column = b.pointer(b.add(b.add(self.task.scratch, get[MORE_AT]), I64(2 * size)))
        below = self.code.kernel[0]

        def states(row: ir.Value) -> list[State]:
            at = b.mul(row, get[ROWS_ROW])
            return [b.get(line, b.add(at, I64(v * size)), get[ROWS_PART]) for v in range(vectors)]

        def flattened(states: Sequence[State]) -> list[ir.Value]:
            return [value for state in states for value in state]

        def grouped(values: Sequence[ir.Value]) -> list[State]:
            return [tuple(values[i : i + own.parts]) for i in range(0, len(values), own.parts)]

        def store(row: ir.Value, states: Sequence[State]) -> None:
            at = b.mul(row, I64(COLUMN * size))
            for v, state in enumerate(states):
                b.put(state, column, b.add(at, I64(v * size)), part)

        def up(i: ir.Value, now: Sequence[ir.Value]) -> Sequence[ir.Value]:
            row = b.sub(I64(below - 1), i)
            found = [b.combine(a, c) for a, c in zip(states(row), grouped(now), strict=True)]
            store(row, found)
            return flattened(found)

        last = states(I64(below - 1))
        store(I64(below - 1), last)
        top = b.loop(I64(1), I64(below), 1, flattened(last), up, "up")
        head = self._to(I64(0))
        for v, state in enumerate(grouped(top)):
            self._write(state, head, b.add(j, I64(v * own.lanes)))

        def down(i: ir.Value, now: Sequence[ir.Value]) -> Sequence[ir.Value]:
            found = [b.combine(a, c) for a, c in zip(grouped(now), states(b.add(i, I64(below - 1))), strict=True)]
            at, to = b.mul(i, I64(COLUMN * size)), self._to(i)
            for v, state in enumerate(found):
                upper = b.get(column, b.add(at, I64(v * size)), part)
                self._write(b.combine(upper, state), to, b.add(j, I64(v * own.lanes)))
            return flattened(found)

        nothing = flattened([b.nothing] * vectors)
        b.loop(I64(1), rows, 1, nothing, down, "down")

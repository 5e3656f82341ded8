"""Pooling of windows that begin and end anywhere, as tables of each axis say: no window sees an edge or padding.

    across[r, j] = fold over the rows i of window r of  x[i, j]
    y[r, p]      = fold over the columns j of window p of  across[r, j]

A volume's rows are those of its slices; a row is as long as its plane is wide, times the channels that lie side by side
in channels last. All rows of a window are combined first, in whole vectors. What is left is a row for each row of
windows, of which each vector that begins a pixel is combined with those of the pixel's window: with one channel side by
side, or few, a vector is stored for each result, whose other lanes the following ones overwrite.

That combines columns before rows: of equal maxima the first in a column is met first. Where indices are kept, the least
of equals wins. Elsewhere it makes a difference for zeros of different signs alone. The quick code looks for negative
ones as it looks for NaN, and where there are any, the task is done again by the code that keeps indices.

Sums are begun anew every `CHUNK` elements, so that their errors do not grow with the window.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from llvmlite import ir

from fastconv.codegen import jit
from fastconv.codegen import target as targets
from fastconv.codegen.folding import Fold, Folder, FoldModule, State
from fastconv.codegen.pooling_code import OPERANDS
from fastconv.codegen.vector import I64

# fmt: off
#: int64 slots of a plan. Sizes count elements unless they are said to be bytes.
(
    PLANES, CHANNELS,              # planes of all images, and of an image
    PARTS, PART_ROWS,              # tasks of a plane, output rows of one
    HEIGHT, ROW, INNER,            # rows of a slice, elements of one, channels side by side
    OUT_HEIGHT, OUT_ROWS,          # output rows of a slice, of a plane
    OUT_ROW, OUT_WIDTH,            # elements of an output row, and pixels
    STEP_D, STEP_H, STEP_W,        # from one slice, row and column of a window to the next, the last in bytes
    SLICES, ROWS, COLUMNS,         # addresses of firsts and ends, a pair for each output of an axis; alike
    X_PLANE, X_ROW,                # bytes
    Y_IMAGE, Y_CHANNEL, Y_ROW,     # bytes
    ROW_PART,                      # bytes in scratch from part to part of a state, in the row that is left
    RESULTS_AT, RESULTS_PART,      # and in the results of a task
    TAIL_AT, TAIL_ROW,             # room for the last rows of all planes, the first of which is this one
    FULL, FULL_END,                # the first window that has all its columns, the end of those that follow it
    DIVISORS,                      # address: by output element of a plane, by output pixel where results are `direct`
    PLACES, PLANE_WIDTH,           # address of the position in its row of each element of one; pixels of a row
    SLOTS,
) = range(33)
# fmt: on

MOST_VECTORS = 4  # that are combined side by side
CHUNK = 16  # elements of a sum that is begun anew


@dataclass(frozen=True)
class Pieces:
    """What the code depends on.

    Parameters
    ----------
    fold : Fold
        What is done with elements.
    volume : bool
        Whether windows have several slices.
    row_vectors, run_vectors : int
        Vectors of a row of the input, and of the channels of a pixel, which are combined side by side; 0 if they are
        more than `MOST_VECTORS`.
    short : bool
        Whether a row of the input has fewer elements than a vector.
    direct : bool
        Whether a pixel's channels fill a vector, so that results are written as they are found.
    across : bool
        Whether windows have one column, so that there is nothing to combine along rows.
    tall, wide : bool
        Whether windows have so many rows, and columns, that sums are begun anew.
    columns : int
        Columns of the windows that have all of theirs, where code is written out for them; else 0.
    taps : tuple of tuple of int
        The columns of each window of a row, where code is written out for them; else none.
    """

    fold: Fold
    volume: bool
    row_vectors: int
    run_vectors: int
    short: bool
    direct: bool
    across: bool
    tall: bool
    wide: bool
    columns: int = 0
    taps: tuple[tuple[int, ...], ...] = ()

    @property
    def name(self) -> str:
        """The name of its function, which says all of it."""
        flags = ("volume", "short", "direct", "across", "tall", "wide")
        words = [f"pooling_pieces_{self.fold.name}_{self.row_vectors}_{self.run_vectors}_{self.columns}"]
        words += [flag for flag in flags if getattr(self, flag)]
        if self.taps:  # too many to be said in the name of a file
            words.append(hashlib.sha256(repr(self.taps).encode()).hexdigest()[:16])
        return "_".join(words)


def address(code: Pieces) -> int:
    """Return the address of the function; a task is a range of rows of the output."""
    target = targets.current()
    return jit.address(code.name, lambda: str(emit(code, target)), target)


def emit(code: Pieces, target: targets.Target) -> ir.Module:
    """Return the function as a module."""
    own = FoldModule(code.name, code.fold, target)
    quick = _Task(own, code, "quick").function
    careful = None
    if code.fold.looks:  # computes what indices there would be, too, and does not write them
        kept = FoldModule(code.name, dataclasses.replace(code.fold, indices=True), target)
        kept.module = own.module
        careful = _Task(kept, code, "careful").function
    function, start = own.define(code.name, ir.VoidType(), [I64] * 4)
    b = Folder(own, start.block, careful=True)
    operands, scratch, first, last = function.args
    known = [*b.load_slots(operands, OPERANDS), scratch]

    def task(i: ir.Value) -> None:
        seen = b.call(quick, [*known, i])
        if careful is not None:
            b.do_if(b.icmp_signed("!=", seen, I64(0)), lambda: b.call(careful, [*known, i]), "seen")

    b.count_up(first, last, 1, task, "tasks")
    b.ret_void()
    return own.module


#: States of vectors side by side, and what was seen.
_Found = tuple[list[State], Sequence[ir.Value]]


class _Task:
    """A function i64 task(numbers, x, y, indices, scratch, task), which returns whether it saw what is not for it."""

    def __init__(self, own: FoldModule, code: Pieces, name: str) -> None:
        self.own, self.code = own, code
        self.function, start = own.define(name, I64, [I64] * 6, internal=True)
        self.b = b = Folder(own, start.block, careful=False)
        numbers, self.x, self.y, self.indices, self.scratch, task = self.function.args
        self.get = get = b.load_slots(numbers, SLOTS)
        self.row_at = b.pointer(self.scratch)
        self.results_at = b.pointer(b.add(self.scratch, get[RESULTS_AT]))
        self.plane = b.udiv(task, get[PARTS])
        self.source = b.add(self.x, b.mul(self.plane, get[X_PLANE]))
        if code.short:
            self.tail, self.tail_row = self._tail()
        first = b.mul(b.urem(task, get[PARTS]), get[PART_ROWS])
        end = b.least(b.add(first, get[PART_ROWS]), get[OUT_ROWS])

        def row(q: ir.Value, seen: Sequence[ir.Value]) -> Sequence[ir.Value]:
            seen = self._combine_rows(q, seen)
            if not code.across:
                self._combine_columns(q, b.sub(q, first))
            return seen

        seen = b.loop(first, end, 1, b.unseen, row, "rows")
        if not code.direct:
            self._write_results(first, end)
        b.ret(b.was_seen(seen))

    def _window(self, table: int, output: ir.Value) -> tuple[ir.Value, ir.Value]:
        """The first element and the end of a window along an axis."""
        b = self.b
        first, end = b.load_slots(b.add(self.get[table], b.mul(output, I64(16))), 2)
        return first, end

    def _blocks(
        self,
        count: ir.Value,
        vectors: int,
        seen: Sequence[ir.Value],
        body: Callable[[list[ir.Value], Sequence[ir.Value]], Sequence[ir.Value]],
    ) -> Sequence[ir.Value]:
        """Run ``seen = body(places, seen)`` for vectors of `count` elements, some at a time; the last one overlaps."""
        b, lanes = self.b, self.own.lanes
        if vectors:
            last = [b.sub(count, I64(lanes))] if vectors > 1 else [I64(0)]
            return body([I64(v * lanes) for v in range(vectors - 1)] + last, seen)
        last_block = b.sub(count, I64(MOST_VECTORS * lanes))

        def block(j: ir.Value, seen: Sequence[ir.Value]) -> Sequence[ir.Value]:
            start = b.least(j, last_block)
            return body([b.add(start, I64(v * lanes)) for v in range(MOST_VECTORS)], seen)

        return b.loop(I64(0), count, MOST_VECTORS * lanes, seen, block, "blocks")

    def _folded(
        self,
        window: tuple[ir.Value, ir.Value],
        step: ir.Value,
        before: _Found,
        element: Callable[[ir.Value], list[State]],
        combine: Callable[[State, State], State],
        *,
        anew: bool,
    ) -> _Found:
        """What the elements of a window along an axis come to, each of them some vectors side by side."""
        b = self.b
        nothing = [b.nothing] * len(before[0])

        def one(i: ir.Value, now: _Found) -> _Found:
            (totals, seen), found = now, element(i)
            sums = [combine(*pair) for pair in zip(totals, found, strict=True)]
            return sums, self._look([state[0] for state in found], seen) if seen else []

        def chunk(first: ir.Value, now: _Found) -> _Found:
            upto = b.least(b.add(first, b.mul(I64(CHUNK), step)), window[1])
            found, seen = self._loop(first, upto, step, (nothing, now[1]), one, "chunk")
            return [combine(*pair) for pair in zip(now[0], found, strict=True)], seen

        many, body = (b.mul(I64(CHUNK), step), chunk) if anew else (step, one)
        return self._loop(*window, many, before, body, "folded")

    def _loop(
        self,
        first: ir.Value,
        end: ir.Value,
        step: ir.Value,
        before: _Found,
        body: Callable[[ir.Value, _Found], _Found],
        name: str,
    ) -> _Found:
        """As `Builder.loop`, for states."""
        parts = self.own.parts
        count = len(before[0]) * parts

        def grouped(values: Sequence[ir.Value]) -> _Found:
            return [tuple(values[i : i + parts]) for i in range(0, count, parts)], values[count:]

        def flat(found: _Found) -> list[ir.Value]:
            return [*(value for state in found[0] for value in state), *found[1]]

        values = self.b.loop(first, end, step, flat(before), lambda i, now: flat(body(i, grouped(now))), name)
        return grouped(values)

    def _look(self, values: Sequence[ir.Value], seen: Sequence[ir.Value]) -> Sequence[ir.Value]:
        """As `Folder.look`, and for negative zeros, which not all orders of elements treat alike."""
        b, own = self.b, self.own
        (found,) = b.look(values, seen)
        if own.fold.kind == "max":
            zero = own.integer_constant(-(1 << (8 * own.bytes - 1)))
            for value in values:
                same = b.icmp_signed("==", b.bitcast(value, own.integers), zero)
                found = b.or_(found, b.sext(same, own.integers))
        return [found]

    # -- rows

    def _combine_rows(self, q: ir.Value, seen: Sequence[ir.Value]) -> Sequence[ir.Value]:
        """Combine the rows of the windows of output row `q`."""
        b, get, own, code = self.b, self.get, self.own, self.code
        rows = self._window(ROWS, b.urem(q, get[OUT_HEIGHT]))

        def block(places: list[ir.Value], seen: Sequence[ir.Value]) -> Sequence[ir.Value]:
            positions = [self._positions(j) for j in places]

            def of_slice(above: ir.Value, before: _Found) -> _Found:
                def line(h: ir.Value) -> list[State]:
                    return self._read_row(b.add(above, h), places, positions)

                return self._folded(rows, get[STEP_H], before, line, b.combine, anew=code.tall)

            before: _Found = [b.nothing] * len(places), seen
            if code.volume:
                states, seen = self._over_slices(q, before, of_slice)
            else:
                states, seen = of_slice(I64(0), before)
            for j, state in zip(places, states, strict=True):
                if code.across:
                    self._write(state, q, I64(0), j)
                else:
                    b.put(state, self.row_at, b.mul(j, I64(own.bytes)), get[ROW_PART])
            return seen

        return self._blocks(get[ROW], code.row_vectors, seen, block)

    def _over_slices(
        self, q: ir.Value, before: _Found, of_slice: Callable[[ir.Value, _Found], _Found]
    ) -> _Found:
        b, get = self.b, self.get
        first, end = self._window(SLICES, b.udiv(q, get[OUT_HEIGHT]))

        def body(d: ir.Value, now: _Found) -> _Found:
            return of_slice(b.mul(d, get[HEIGHT]), now)

        return self._loop(first, end, get[STEP_D], before, body, "slices")

    def _positions(self, j: ir.Value) -> ir.Value | None:
        """The positions in their row of a vector of elements, if they are wanted."""
        b, own = self.b, self.own
        if own.parts == 1:
            return None
        at = b.at(b.pointer(self.get[PLACES]), b.mul(j, I64(own.bytes)))
        return b.load(at, typ=own.integers, align=own.bytes)

    def _read_row(self, row: ir.Value, places: list[ir.Value], positions: list[ir.Value | None]) -> list[State]:
        """Vectors of a row of the plane."""
        b, get, own = self.b, self.get, self.own
        base = self.source
        if self.code.short:
            base = b.select(b.icmp_signed(">=", row, self.tail_row), self.tail, base)
        line = b.pointer(b.add(base, b.mul(row, get[X_ROW])))
        values = [b.read(b.at(line, b.mul(j, I64(own.source_bytes)))) for j in places]
        if own.parts == 1:
            return [(value,) for value in values]
        first = b.mul(row, get[PLANE_WIDTH])
        above = b.splat(first if own.bytes == 8 else b.trunc(first, own.integer))
        return [(value, b.add(position, above)) for value, position in zip(values, positions, strict=True)]

    def _tail(self) -> tuple[ir.Value, ir.Value]:
        """Copy the last rows, for a vector to be read behind them.

        Return where the plane's first row would be, and the number of the first that was copied.
        """
        b, get, own = self.b, self.get, self.own
        kind, size = ir.IntType(8 * own.source_bytes), own.source_bytes
        to, skipped = b.add(self.scratch, get[TAIL_AT]), b.mul(get[TAIL_ROW], get[X_ROW])
        first = b.sub(get[TAIL_ROW], b.mul(self.plane, b.udiv(get[X_PLANE], get[X_ROW])))
        is_near = b.icmp_signed("<", b.mul(first, get[X_ROW]), get[X_PLANE])

        def element(i: ir.Value) -> None:
            value = b.load(b.pointer(b.add(b.add(self.x, skipped), i)), typ=kind, align=size)
            b.store(value, b.pointer(b.add(to, i)), align=size)

        end = b.select(is_near, b.sub(b.mul(get[PLANES], get[X_PLANE]), skipped), I64(0))
        b.count_up(I64(0), end, size, element, "tail")
        return b.sub(b.add(to, b.mul(self.plane, get[X_PLANE])), skipped), first

    # -- columns

    def _combine_columns(self, q: ir.Value, row: ir.Value) -> None:
        """Combine the columns of each window of output row `q`, the row `row` of the task."""
        b, get, own, code = self.b, self.get, self.own, self.code

        results = b.at(self.results_at, b.mul(row, b.mul(get[OUT_ROW], I64(own.bytes))))
        pixel_bytes = b.mul(get[INNER], I64(own.bytes))

        def store(state: State, pixel: ir.Value) -> None:
            b.put(state, results, b.mul(pixel, pixel_bytes), get[RESULTS_PART])

        if code.taps:
            for pixel, taps in enumerate(code.taps):
                state: State = b.nothing
                for number, tap in enumerate(taps):
                    found = b.get(self.row_at, tap * own.bytes, get[ROW_PART])
                    state = b.combine_places(state, found) if number else found
                b.put(state, results, pixel * own.bytes, get[RESULTS_PART])
            return

        def pixels(first: ir.Value, end: ir.Value, columns: int) -> None:
            def pixel(p: ir.Value) -> None:
                window = self._window(COLUMNS, p)

                def block(places: list[ir.Value], _: Sequence[ir.Value]) -> Sequence[ir.Value]:
                    for j, state in zip(places, self._columns(window, places, columns), strict=True):
                        if code.direct:
                            self._write(state, q, p, j)
                        else:
                            store(state, p)
                    return []

                self._blocks(get[INNER], code.run_vectors, [], block)

            b.count_up(first, end, 1, pixel, "pixels")

        if not code.columns:
            return pixels(I64(0), get[OUT_WIDTH], 0)
        pixels(I64(0), get[FULL], 0)
        pixels(get[FULL], get[FULL_END], code.columns)
        return pixels(get[FULL_END], get[OUT_WIDTH], 0)

    def _columns(self, window: tuple[ir.Value, ir.Value], places: list[ir.Value], columns: int) -> list[State]:
        """Combine the columns of a window, written out if there are `columns`, for vectors side by side."""
        b, get, own = self.b, self.get, self.own

        def column(at: ir.Value) -> list[State]:
            return [b.get(self.row_at, b.add(at, b.mul(j, I64(own.bytes))), get[ROW_PART]) for j in places]

        if not columns:
            before: _Found = [b.nothing] * len(places), []
            return self._folded(window, get[STEP_W], before, column, b.combine_places, anew=self.code.wide)[0]
        states = column(window[0])
        for tap in range(1, columns):
            found = column(b.add(window[0], b.mul(I64(tap), get[STEP_W])))
            states = [b.combine_places(*pair) for pair in zip(states, found, strict=True)]
        return states

    # -- results

    def _result(self, q: ir.Value, element: ir.Value) -> tuple[ir.Value, ir.Value]:
        """Where an element of output row `q` and its index go."""
        b, get = self.b, self.get
        image, channel = b.udiv(self.plane, get[CHANNELS]), b.urem(self.plane, get[CHANNELS])
        plane = b.add(b.mul(image, get[Y_IMAGE]), b.mul(channel, get[Y_CHANNEL]))
        y = b.add(self.y, b.add(plane, b.mul(q, get[Y_ROW])))
        number = b.add(b.mul(b.add(b.mul(self.plane, get[OUT_ROWS]), q), get[OUT_ROW]), element)
        y = b.add(y, b.mul(element, I64(self.own.result_bytes)))
        return b.pointer(y), b.pointer(b.add(self.indices, b.mul(number, I64(8))))

    def _write(self, state: State, q: ir.Value, pixel: ir.Value, j: ir.Value) -> None:
        """Write a vector of channels of a pixel of output row `q`."""
        b, get, own = self.b, self.get, self.own
        y, indices = self._result(q, b.add(b.mul(pixel, get[INNER]), j))
        divisor = None
        if self.code.fold.after == "divide":
            number = b.add(b.mul(q, get[OUT_WIDTH]), pixel)
            divisor = b.broadcast(b.pointer(b.add(get[DIVISORS], b.mul(number, I64(own.bytes)))))
        b.write(b.finished(state[0], divisor), y)
        if self.code.fold.indices:
            b.write_indices(state[1], indices)

    def _write_results(self, first: ir.Value, end: ir.Value) -> None:
        """Write the results of a task, which follow each other."""
        b, get, own = self.b, self.get, self.own
        count = b.mul(b.sub(end, first), get[OUT_ROW])
        y, indices = self._result(first, I64(0))
        divisors = b.add(get[DIVISORS], b.mul(b.mul(first, get[OUT_ROW]), I64(own.bytes)))

        def write(j: ir.Value, kind: ir.Type, integers: ir.Type) -> None:
            offset, divisor = b.mul(j, I64(own.bytes)), None
            value = b.load(b.at(self.results_at, offset), typ=kind, align=own.bytes)
            if self.code.fold.after == "divide":
                divisor = b.load(b.at(b.pointer(divisors), offset), typ=kind, align=own.bytes)
            b.write(b.finished(value, divisor), b.at(y, b.mul(j, I64(own.result_bytes))))
            if self.code.fold.indices:
                at = b.at(self.results_at, b.add(offset, get[RESULTS_PART]))
                b.write_indices(b.load(at, typ=integers, align=own.bytes), b.at(indices, b.mul(j, I64(8))))

        def vector(j: ir.Value, _: Sequence[ir.Value], last: bool) -> Sequence[ir.Value]:
            write(j, own.vector, own.integers)
            return []

        def vectors() -> None:
            b.vectors(count, [], vector, "results")

        enough = b.icmp_signed(">=", count, I64(own.lanes))
        b.do_if(enough, vectors, "vectors")
        single = b.select(enough, I64(0), count)
        b.count_up(I64(0), single, 1, lambda j: write(j, own.element, own.integer), "singles")

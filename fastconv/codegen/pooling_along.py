"""Windows along rows: of all elements of some rows at once, or row by row."""

from __future__ import annotations

from collections.abc import Sequence

from llvmlite import ir

from fastconv.codegen.folding import State
from fastconv.codegen.pooling_code import (
    AHEAD,
    FLAT_DILATION,
    FLAT_STRIDE,
    LEVELS_AT,
    LEVELS_SIZE,
    OUT_ROW,
    PAD_PART,
    ROWS_PART,
    ROWS_ROW,
    RUN,
    RUNS,
    Context,
)
from fastconv.codegen.vector import I64


class Along:
    """Windows along rows, from `source` with elements of `size` bytes to `to` in scratch."""

    def __init__(self, context: Context, source: ir.Value, to: ir.Value, size: int) -> None:
        self.scratch = context.scratch
        self.b, self.get, self.own, self.code = context.b, context.get, context.own, context.code
        b = self.b
        self.source, self.to, self.size = b.pointer(source), b.pointer(to), size

    def _level(self, level: int) -> ir.Value:
        b, get = self.b, self.get
        start = b.add(b.add(self.scratch, get[LEVELS_AT]), b.mul(I64(level - 1), get[LEVELS_SIZE]))
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
        every = b.pointer(b.add(b.add(self.scratch, get[LEVELS_AT]), b.mul(I64(len(code.levels)), get[LEVELS_SIZE])))
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

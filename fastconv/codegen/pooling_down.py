"""Windows of rows, each a row of the output: of rows that were combined along, or of rows of the input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from llvmlite import ir

from fastconv.codegen.folding import State
from fastconv.codegen.pooling_along import Along
from fastconv.codegen.pooling_code import (
    COLUMN,
    DILATION_H,
    LANE_DIVISORS,
    MANY_ROWS,
    MORE_AT,
    OUT_ROW,
    PAD_ROW,
    ROWS_PART,
    ROWS_ROW,
    STRIDE_H,
    X_ROW,
    Y_ROW,
    Context,
)
from fastconv.codegen.vector import I64


@dataclass(frozen=True)
class _Line:
    """Where a row of the output goes, and what it is divided by."""

    y: ir.Value
    indices: ir.Value
    divisor: ir.Value | None


class Down:
    """Windows of rows of a band, from `source` in scratch to `y` and `indices`."""

    def __init__(self, context: Context, source: ir.Value, y: ir.Value, indices: ir.Value, divisors: ir.Value) -> None:
        self.context, self.b, self.get, self.own, self.code = context, context.b, context.get, context.own, context.code
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
        along = [Along(self.context, line, line, size) for line in lines]

        def found(j: ir.Value, seen: Sequence[ir.Value], last: bool) -> tuple[State, Sequence[ir.Value]]:
            if not code.fused:
                place = b.mul(j, I64(own.bytes))
                return b.combined([b.get(b.pointer(line), place, get[ROWS_PART]) for line in lines]), seen
            if many:

                def following(r: ir.Value, now: Sequence[ir.Value]) -> Sequence[ir.Value]:
                    state, seen = tuple(now[: own.parts]), now[own.parts :]
                    raw: list[ir.Value] = []
                    each = Along(self.context, b.add(lines[0], b.mul(r, step)), lines[0], size)
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
        along = [Along(self.context, line, line, size) for line in lines]
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
        room = b.pointer(b.add(self.context.scratch, get[MORE_AT]))
        part = own.width
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
        size, part = own.width, self.code.kernel[0] * COLUMN * own.width
        line = b.pointer(b.add(self.source, b.mul(j, I64(own.bytes))))
        column = b.pointer(b.add(b.add(self.context.scratch, get[MORE_AT]), I64(2 * size)))
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

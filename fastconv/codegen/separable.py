"""Separable planes: a kernel that is an outer product, as a pass along columns and one along rows.

    t[q, p] = sum over r of column[r] * x[q * stride + r * dilation, p]
    y[q, p] = sum over s of row[s] * t[q, p * stride + s * dilation]

The columns come first: then a row of t is needed by one row of y alone, none is computed twice, and a band of them
stays in the cache. A tile of the first pass is `rows` rows of one vector; an input row that is loaded feeds as many
products as it has output rows. Rows outside are looked up (`depthwise_table.py`), columns outside are filled in when a
row of t is there: with what the padding is of t, as the first pass does the same with every column. So no load of the
second pass has a mask. Its tiles are `lines` rows of `vectors` vectors; each of its products has a load of its own,
which is what it waits for. Both passes keep as many weights in registers as have room beside the sums.

A sum of an infinity or a NaN, or one that overflows between the passes, is not what the definition says. So the
function looks at all that it computes, and says in the end whether everything was finite.

The operands are those of `depthwise.py`, but for the weights: the columns of all filters, then their rows.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from llvmlite import ir

from fastconv.codegen import activation, jit, operands
from fastconv.codegen import depthwise_shape as slot
from fastconv.codegen import target as targets
from fastconv.codegen.depthwise import Columns, lane_order
from fastconv.codegen.depthwise_shape import most_weights
from fastconv.codegen.depthwise_table import Table
from fastconv.codegen.vector import I64, Builder, VectorModule

# The slots of a plan: those of a depthwise convolution, and these
BAND = slot.SLOTS  # bytes from the scratch to the rows of t
BAND_ROW = BAND + 1  # from one of them to the next
ROW_WEIGHTS = BAND + 2  # from the first column's weights to the first row's
SLOTS = BAND + 3

MOST_CHUNKS = 4  # of weights that are written out; more are a loop


@dataclass(frozen=True, kw_only=True)
class Passes:
    """What the code depends on.

    Parameters
    ----------
    dtype : str
        The elements' type.
    rows : int
        Of a band, which are those of a tile of the first pass.
    lines, vectors : int
        Of a tile of the second pass.
    kernel, stride, dilation : tuple of int
        Along a column and along a row.
    thin : bool
        Whether input rows are shorter than a vector.
    narrow : bool
        Whether output rows are.
    bordered, copied : bool
        As in `depthwise_shape.Planes`.
    residual : bool
        Whether there is one.
    activation : str, optional
        Applied last.
    """

    dtype: str
    rows: int
    lines: int
    vectors: int
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    thin: bool = False
    narrow: bool = False
    bordered: bool = False
    copied: bool = False
    residual: bool = False
    activation: str | None = None

    depth, deep = 1, False  # for the table of rows

    @property
    def name(self) -> str:
        """The name of its function, which says all of it."""
        pairs = (("k", self.kernel), ("s", self.stride), ("d", self.dilation))
        words = ("thin", "narrow", "bordered", "copied", "residual")
        parts = [
            f"separable_{self.dtype}_{self.rows}_{self.lines}x{self.vectors}",
            *(f"{letter}{first}x{second}" for letter, (first, second) in pairs),
            *(word for word in words if getattr(self, word)),
            self.activation or "linear",
        ]
        return "_".join(parts)

    def variant(self, residual: bool) -> Passes:
        """The code with or without a residual."""
        return dataclasses.replace(self, residual=residual)

    @property
    def meets(self) -> int:
        """Input rows from the first to the last that a band meets."""
        return (self.rows - 1) * self.stride[0] + (self.kernel[0] - 1) * self.dilation[0] + 1

    @property
    def slice_rows(self) -> int:
        """The same: there is one slice."""
        return self.meets

    def chunks(self, axis: int, target: targets.Target) -> tuple[int, int, int]:
        """Cut a factor: weights of a chunk, how many chunks there are, and weights of a smaller one behind them."""
        taps = self.kernel[axis]
        sums = self.lines * self.vectors if axis else self.rows
        size = -(-taps // -(-taps // most_weights(target, sums)))
        return size, taps // size, taps % size

    def pairs(self, weights: int) -> dict[int, list[tuple[int, int]]]:
        """For each input row that a chunk of the column meets: the rows of the tile, each with its weight."""
        found: dict[int, list[tuple[int, int]]] = {}
        for r in range(weights):
            for m in range(self.rows):
                found.setdefault(m * self.stride[0] + r * self.dilation[0], []).append((m, r))
        return dict(sorted(found.items()))


def address(passes: Passes) -> int:
    """Return the address of the machine code for the target in force."""
    target = targets.current()
    return jit.address(passes.name, lambda: str(emit(passes, target)), target)


def emit(passes: Passes, target: targets.Target) -> ir.Module:
    """Return the function as an LLVM module; ``str`` of it is readable."""
    own = VectorModule(passes.name, passes.dtype, target)
    finish = activation.declare(own, passes.activation) if passes.activation else None
    function, b = operands.begin(own)
    emitter = _Emitter(b, passes, finish)
    b.count_up(function.args[operands.FIRST], function.args[operands.LAST], 1, emitter.task, "tasks")
    b.ret(emitter.failed())
    operands.end(own, passes.name, function)
    return own.module


class _Emitter:
    """The loops from the outermost to the innermost, one method each."""

    def __init__(self, b: Builder, passes: Passes, finish: ir.Function | None) -> None:
        self.b, self.passes, self.finish = b, passes, finish
        self.table = Table(b, passes, self.slot)
        self.plan = b.pointer(b.function.args[operands.PLAN], "slots")
        self.span = passes.vectors * b.owner.lanes  # output columns of a tile of the second pass
        self.broken = b.alloca(b.owner.integers, name="zero_if_finite")
        b.store(b.owner.integer_constant(0), self.broken)

    def slot(self, number: int) -> ir.Value:
        return self.b.load_int(self.b.at(self.plan, 8 * number))

    def failed(self) -> ir.Value:
        """1 if something was not finite."""
        b = self.b
        finite = b.icmp_signed("==", b.load(self.broken, typ=b.owner.integers), b.owner.integer_constant(0))
        return b.zext(b.not_(b.all_lanes(finite)), I64)

    def task(self, number: ir.Value) -> None:
        """Some rows of one output plane."""
        b, passes, read = self.b, self.passes, self.slot
        _, x, weight, bias, residual, y = b.function.args[: operands.FIRST]
        item = b.owner.bytes
        plane, part = b.udiv(number, read(slot.PARTS), "plane"), b.urem(number, read(slot.PARTS))
        image, filter_ = b.udiv(plane, read(slot.FILTERS), "image"), b.urem(plane, read(slot.FILTERS), "filter")
        self.corner = b.add(x, b.mul(b.udiv(plane, read(slot.MULTIPLIER)), read(slot.X_PLANE)))
        self.corner = b.sub(self.corner, read(slot.X_CORNER), "corner")
        self.y = b.add(y, b.add(b.mul(image, read(slot.Y_IMAGE)), b.mul(filter_, read(slot.Y_FILTER))), "y_plane")
        self.residual = b.add(residual, b.mul(plane, read(slot.RESIDUAL_PLANE))) if passes.residual else None
        height, width = passes.kernel
        self.column = b.pointer(b.add(weight, b.mul(filter_, I64(height * item))), "column")
        rows = b.add(weight, read(ROW_WEIGHTS))
        self.row = b.pointer(b.add(rows, b.mul(filter_, I64(width * item))), "row")
        own_bias = b.add(bias, b.mul(filter_, I64(item)))
        none = b.icmp_signed("==", bias, I64(0))
        self.bias = b.broadcast(b.pointer(b.select(none, read(slot.ZERO), own_bias)))
        self.band_of_t = b.add(b.function.args[operands.SCRATCH], read(BAND), "band_of_t")
        self.table.start()
        ends = b.at(b.pointer(read(slot.PART_ROWS)), b.mul(part, I64(8)))
        b.count_up(b.load_int(ends), b.load_int(b.at(ends, 8)), passes.rows, self.band, "bands")

    def band(self, row: ir.Value) -> None:
        """`rows` output rows: both passes; the last band overlaps the one before it."""
        b, passes = self.b, self.passes
        top = b.least(row, b.sub(self.slot(slot.OUT_HEIGHT), I64(passes.rows)))
        self.table.fill(self.corner, top, I64(0))
        self.first_pass()
        b.count_up(I64(0), I64(passes.rows), 1, self.fill_in, "padding")
        last = I64(passes.rows - passes.lines)
        b.count_up(I64(0), I64(passes.rows), passes.lines, lambda i: self.second_pass(top, b.least(i, last)), "lines")

    def first_pass(self) -> None:
        """Along the columns, into the band, vector by vector."""
        b, width = self.b, self.slot(slot.WIDTH)
        if self.passes.thin:
            self.down(I64(0), b.first_lanes(width))
            return
        last = b.sub(width, I64(b.owner.lanes))
        b.count_up(I64(0), width, b.owner.lanes, lambda column: self.down(b.least(column, last), None), "down")

    def down(self, column: ir.Value, mask: ir.Value | None) -> None:
        """One vector of every row of the band."""
        b, passes = self.b, self.passes
        item = b.owner.bytes
        offset = b.mul(b.add(column, self.slot(slot.BEFORE_W)), I64(item), "offset")

        def chunk(first: ir.Value, weights: int, starts: Sequence[ir.Value]) -> list[ir.Value]:
            taps = self.weights(self.column, first, weights)
            rows = b.at(self.table.rows, b.mul(first, I64(8 * passes.dilation[0])))
            sums = list(starts)
            for i, pairs in passes.pairs(weights).items():
                value = b.load_vector(b.at(b.pointer(b.load_int(b.at(rows, 8 * i))), offset), mask)
                for m, r in pairs:
                    sums[m] = b.multiply_add(taps[r], value, sums[m])
            return sums

        zeros: list[ir.Value] = [b.owner.constant(0.0)] * passes.rows
        into, pitch = b.add(self.band_of_t, offset), self.slot(BAND_ROW)
        for m, value in enumerate(self.over_chunks(0, zeros, chunk)):
            b.store_vector(value, b.pointer(b.add(into, b.mul(pitch, I64(m)))))

    def fill_in(self, line: ir.Value) -> None:
        """The padding of a row of t."""
        b, read = self.b, self.slot
        row = b.pointer(b.add(self.band_of_t, b.mul(line, read(BAND_ROW))))

        def pad(i: ir.Value) -> None:
            place, origin = (
                b.load_int(b.at(b.pointer(read(number)), b.mul(i, I64(8)))) for number in (slot.COPY_TO, slot.COPY_FROM)
            )
            zero = b.icmp_signed("<", origin, I64(0))
            source = b.select(zero, b.pointer(read(slot.ZERO)), b.at(row, origin))
            value = b.load(source, typ=b.owner.element, align=b.owner.bytes)
            b.store(value, b.at(row, place), align=b.owner.bytes)

        b.count_up(I64(0), read(slot.COPY_PADS), 1, pad, "pads")

    def second_pass(self, top: ir.Value, line: ir.Value) -> None:
        """Along `lines` rows of the band from `line` on."""
        b, passes = self.b, self.passes
        pitch = self.slot(BAND_ROW)
        first = b.add(self.band_of_t, b.mul(line, pitch))
        self.lines = [b.pointer(b.add(first, b.mul(pitch, I64(i)))) for i in range(passes.lines)]
        row = b.add(top, line)
        if passes.narrow:
            self.along(row, I64(0))
            return
        width = self.slot(slot.OUT_WIDTH)
        last = b.sub(width, I64(self.span))
        b.count_up(I64(0), width, self.span, lambda left: self.along(row, b.least(left, last)), "along")

    def along(self, row: ir.Value, left: ir.Value) -> None:
        """A tile whose first output is at (row, left)."""
        b, passes = self.b, self.passes
        stride, dilation = passes.stride[1], passes.dilation[1]
        column = b.mul(left, I64(stride))

        def chunk(first: ir.Value, weights: int, starts: Sequence[ir.Value]) -> list[ir.Value]:
            taps = self.weights(self.row, first, weights)
            begin = b.add(column, b.mul(first, I64(dilation)))
            sums = list(starts)
            for s, tap in enumerate(taps):
                loads = Columns(b, passes.vectors, stride, 1, b.add(begin, I64(s * dilation)))
                for i, line in enumerate(self.lines):
                    (vectors,) = loads.of(b.at(line, loads.offset))
                    for v, value in enumerate(vectors):
                        at = i * passes.vectors + v
                        sums[at] = b.multiply_add(tap, value, sums[at])
            return sums

        starts = [self.bias] * (passes.lines * passes.vectors)
        self.put(self.over_chunks(1, starts, chunk), row, left)

    def weights(self, factor: ir.Value, first: ir.Value, count: int) -> list[ir.Value]:
        """`count` weights of a factor, each in every lane."""
        b = self.b
        start = b.at(factor, b.mul(first, I64(b.owner.bytes)))
        return [b.broadcast(b.at(start, i * b.owner.bytes)) for i in range(count)]

    def over_chunks(
        self,
        axis: int,
        starts: Sequence[ir.Value],
        chunk: Callable[[ir.Value, int, Sequence[ir.Value]], list[ir.Value]],
    ) -> list[ir.Value]:
        """The sums over a factor, chunk by chunk: `chunk` adds the products with so many weights from one on."""
        b = self.b
        size, count, rest = self.passes.chunks(axis, b.owner.target)
        values = list(starts)
        if count <= MOST_CHUNKS:
            for i in range(count):
                values = chunk(I64(i * size), size, values)
        else:
            values = self.loop(I64(size * count), size, values, chunk)
        return chunk(I64(count * size), rest, values) if rest else values

    def loop(
        self,
        end: ir.Value,
        size: int,
        starts: Sequence[ir.Value],
        chunk: Callable[[ir.Value, int, Sequence[ir.Value]], list[ir.Value]],
    ) -> list[ir.Value]:
        """The chunks of `size` weights below `end`, at least one."""
        b = self.b
        entry = b.block
        loop, done = b.append_basic_block("chunks"), b.append_basic_block("chunks_done")
        b.branch(loop)
        b.position_at_end(loop)
        first = b.phi(I64, "first")
        sums = [b.phi(b.owner.vector) for _ in starts]
        new = chunk(first, size, sums)
        after = b.add(first, I64(size))
        for phi, start, value in [(first, I64(0), after), *zip(sums, starts, new, strict=True)]:
            phi.add_incoming(start, entry)
            phi.add_incoming(value, loop)
        b.cbranch(b.icmp_signed("<", after, end), loop, done)
        b.position_at_end(done)
        return new

    def put(self, sums: Sequence[ir.Value], row: ir.Value, left: ir.Value) -> None:
        """Look whether the sums are finite; residual, activation, and the stores."""
        b, passes = self.b, self.passes
        order = lane_order(b, passes.stride[1])
        if order != sorted(order):
            sums = [b.pick(value, [order.index(i) for i in range(len(order))]) for value in sums]
        count = self.slot(slot.OUT_WIDTH)
        mask = b.first_lanes(count) if passes.narrow else None
        self.look(sums, mask)
        pitch = self.slot(slot.Y_ROW)
        first = b.add(b.mul(row, pitch), b.mul(left, I64(b.owner.bytes)))
        width = b.owner.width

        def places(plane: ir.Value) -> list[ir.Value]:
            starts = [b.pointer(b.add(b.add(plane, first), b.mul(pitch, I64(i)))) for i in range(passes.lines)]
            return [b.at(start, v * width) for start in starts for v in range(passes.vectors)]

        if passes.residual:
            addends = [b.load_vector(place, mask) for place in places(self.residual)]
            sums = [b.fadd(value, addend) for value, addend in zip(sums, addends, strict=True)]
        if self.finish:
            sums = [b.call(self.finish, [value]) for value in sums]
        for value, place in zip(sums, places(self.y), strict=True):
            if passes.narrow:
                b.store_lanes(value, place, count)
            else:
                b.store_vector(value, place)

    def look(self, sums: Sequence[ir.Value], mask: ir.Value | None) -> None:
        """Remember the bits of v - v, which are none unless v is no finite number."""
        b = self.b
        found = b.load(self.broken, typ=b.owner.integers)
        for value in sums:
            bits = b.bitcast(b.fsub(value, value), b.owner.integers)
            found = b.or_(found, bits if mask is None else b.select(mask, bits, b.owner.integer_constant(0)))
        b.store(found, self.broken)

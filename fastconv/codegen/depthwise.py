"""Depthwise planes: every output plane is made of one input plane, and nothing is summed over channels.

    y[q, p] = sum over r, s of w[r, s] * x[q * stride + r * dilation, p * stride + s * dilation]

No filter shares its products with another, so what pays for a load is the column of the kernel: a tile is `rows` output
rows of `vectors` vectors, a loop runs over kernel columns s, and inside it the weights of column s stay in registers
while the input rows stream by, each feeding up to as many products as the kernel is high. A tall kernel is cut into
chunks of rows, so that sums and weights fit the registers together.

Rows shorter than a vector are stored whole where the result is contiguous: what they spill is overwritten by the row
after it, and only the last row of a range of tasks is stored in pieces.

Nothing is copied. Rows outside the plane are read from a row of zeros, columns outside by masked loads, which the tiles
within the plane do without. The last tile of a row and the last band of rows overlap the ones before them.

With a dilation D of rows (coprime to the stride), output rows D apart share their input rows: they are taken together,
a class of them at a time.

The function has every loop inside it. Its operands (`fastconv.codegen.launch` says how it is called; it needs no
scratch) are the address of the plan (int64 slots, listed below; strides in bytes), of input, weights, bias (or 0),
residual (or 0) and result.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from llvmlite import ir

from fastconv.codegen import activation, jit
from fastconv.codegen import target as targets
from fastconv.codegen.vector import I64, Builder, VectorModule

# fmt: off
(
    HEIGHT, WIDTH,                      # of an input plane
    OUT_HEIGHT, OUT_WIDTH,
    BEFORE_H, BEFORE_W,                 # padding
    STRIDE_H, DILATION_H, DILATION_W,
    KERNEL_W,
    FILTERS, MULTIPLIER,                # output planes of an image, and of an input plane
    CLASSES,                            # of output rows: those that far apart share input rows
    PARTS,                              # that the rows of a plane are cut into, a task each
    X_PLANE, X_ROW,
    WEIGHT_PLANE, WEIGHT_FIRST, WEIGHT_ROW, WEIGHT_COLUMN,  # a flipped kernel begins at its end
    Y_IMAGE, Y_FILTER, Y_ROW,
    RESIDUAL_PLANE,
    ZEROS,                              # address of as many zeros as an input row has elements
    SPILLS,                             # 1: a row may be written beyond its end, as the next one is written after it
    SLOTS,
) = range(27)
# fmt: on
OPERANDS = ("plan", "x", "weight", "bias", "residual", "y")

MOST_ROWS = 14  # of a tile: more sums hide no more latency
PIPELINE = 8  # sums that keep two units of four cycles busy


@dataclass(frozen=True)
class Planes:
    """What the code of a depthwise convolution depends on."""

    dtype: str
    rows: int
    vectors: int
    kernel_height: int
    row_step: int  # input rows, of those that the kernel meets, from one output row to the next
    column_stride: int  # 1 or 2
    narrow: bool  # output rows are shorter than one vector
    activation: str | None

    @property
    def name(self) -> str:
        """The name of its function, which says all of it."""
        parts = [
            f"depthwise_{self.dtype}_{self.rows}x{self.vectors}",
            "narrow" if self.narrow else "wide",
            f"k{self.kernel_height}_s{self.row_step}x{self.column_stride}",
            self.activation or "linear",
        ]
        return "_".join(parts)

    def input_rows(self, chunk: range) -> list[int]:
        """The input rows that a chunk of kernel rows meets, counted from the first that the whole kernel does."""
        return sorted({m * self.row_step + r for m in range(self.rows) for r in chunk})

    def chunks(self, target: targets.Target) -> list[range]:
        """The kernel's rows, in chunks as equal as can be."""
        most = 7 if target.vector_registers == 16 else 15
        count = -(-self.kernel_height // most)
        ends = [self.kernel_height * i // count for i in range(count + 1)]
        return [range(*pair) for pair in itertools.pairwise(ends)]


def address(planes: Planes) -> int:
    """Return the address of the machine code for the target in force."""
    target = targets.current()
    return jit.address(planes.name, lambda: str(emit(planes, target)), target)


def most_rows(target: targets.Target, kernel_height: int, vectors: int) -> int:
    """Return how many rows a tile may have: sums, a chunk's weights, input vectors and a mask fit the registers."""
    chunk = Planes("float32", 1, 1, kernel_height, 1, 1, False, None).chunks(target)[-1]
    return max(1, min(MOST_ROWS, (target.vector_registers - 1 - len(chunk) - vectors) // vectors))


def emit(planes: Planes, target: targets.Target) -> ir.Module:
    """Return the function as an LLVM module; ``str`` of it is readable."""
    own = VectorModule(planes.name, planes.dtype, target)
    finish = activation.declare(own, planes.activation) if planes.activation else None
    function, b = own.define(planes.name, ir.VoidType(), [I64] * 4)
    given, _, first, last = function.args
    operands = [b.load_int(b.at(b.pointer(given), 8 * i), name) for i, name in enumerate(OPERANDS)]
    every = range((planes.rows - 1) * planes.row_step + planes.kernel_height)
    pointers = [b.alloca(I64, name=f"row{i}") for i in every]
    emitter = _Emitter(b, planes, operands, last, pointers, finish)
    b.count_up(first, last, 1, emitter.task, "tasks")
    b.ret_void()
    return own.module


class _Emitter:
    """The loops from the outermost to the innermost, one method each."""

    def __init__(
        self, b: Builder, planes: Planes, operands: Sequence[ir.Value], last: ir.Value,
        pointers: Sequence[ir.Value], finish: ir.Function | None,
    ) -> None:  # fmt: skip
        self.b, self.planes, self.pointers, self.finish = b, planes, pointers, finish
        self.operands, self.last = operands, last
        self.plan = b.pointer(operands[0], "slots")
        self.span = planes.vectors * b.owner.lanes  # output columns of a tile

    def slot(self, number: int) -> ir.Value:
        return self.b.load_int(self.b.at(self.plan, 8 * number))

    def task(self, number: ir.Value) -> None:
        """One part of the rows of one output plane."""
        b = self.b
        _, x, weight, bias, residual, y = self.operands
        parts, filters = self.slot(PARTS), self.slot(FILTERS)
        plane, part = b.udiv(number, parts, "plane"), b.urem(number, parts, "part")
        image, filter_ = b.udiv(plane, filters, "image"), b.urem(plane, filters, "filter")
        source = b.udiv(plane, self.slot(MULTIPLIER), "input_plane")
        self.x = b.add(x, b.mul(source, self.slot(X_PLANE)), "x_plane")
        first_weight = b.add(b.mul(filter_, self.slot(WEIGHT_PLANE)), self.slot(WEIGHT_FIRST))
        self.weight = b.pointer(b.add(weight, first_weight), "weights")
        into = b.add(b.mul(image, self.slot(Y_IMAGE)), b.mul(filter_, self.slot(Y_FILTER)))
        self.y = b.add(y, into, "y_plane")
        self.residual = b.add(residual, b.mul(plane, self.slot(RESIDUAL_PLANE)), "residual_plane")
        of_filter = b.add(bias, b.mul(filter_, I64(b.owner.bytes)))
        none = b.icmp_signed("==", bias, I64(0))
        # sums begin with the bias; without one, with one of the zeros
        self.bias = b.broadcast(b.pointer(b.select(none, self.slot(ZEROS), of_filter)))
        ends = b.icmp_signed("==", b.add(number, I64(1)), self.last, "is_last_task")
        classes = self.slot(CLASSES)

        def of_class(first_row: ir.Value) -> None:
            left = b.sub(self.slot(OUT_HEIGHT), first_row)
            count = b.udiv(b.add(left, b.sub(classes, I64(1))), classes, "rows_of_class")
            begin = b.udiv(b.mul(count, part), parts)
            end = b.udiv(b.mul(count, b.add(part, I64(1))), parts)
            last = b.sub(end, I64(self.planes.rows))

            def band(row: ir.Value) -> None:
                top = b.least(row, last)
                self.is_last = b.and_(ends, b.icmp_signed("==", top, last), "is_last_band")
                self.band(b.add(first_row, b.mul(top, classes), "top"))

            b.count_up(begin, end, self.planes.rows, band, "bands")

        b.count_up(I64(0), b.least(classes, self.slot(OUT_HEIGHT)), 1, of_class, "classes")

    def band(self, top: ir.Value) -> None:
        """`rows` output rows from `top` on: where their input rows lie, and the tiles along them."""
        b = self.b
        base = b.sub(b.mul(top, self.slot(STRIDE_H)), self.slot(BEFORE_H))
        height, dilation = self.slot(HEIGHT), self.slot(DILATION_H)
        zeros, pitch = self.slot(ZEROS), self.slot(X_ROW)
        row = base
        for pointer in self.pointers:
            inside = b.icmp_unsigned("<", row, height)  # a negative row is a huge unsigned one
            b.store(b.select(inside, b.add(self.x, b.mul(row, pitch)), zeros), pointer)
            row = b.add(row, dilation)
        width = self.slot(OUT_WIDTH)
        last = I64(0) if self.planes.narrow else b.sub(width, I64(self.span))

        def tile(column: ir.Value) -> None:
            self.tile(top, b.least(column, last))

        b.count_up(I64(0), width, self.span, tile, "tiles")

    def tile(self, top: ir.Value, left: ir.Value) -> None:
        """`rows` x `vectors` sums whose first is at (top, left), without masks where the plane goes far enough."""
        b, stride = self.b, self.planes.column_stride
        column = b.sub(b.mul(left, I64(stride)), self.slot(BEFORE_W), "column")
        reach = b.mul(b.sub(self.slot(KERNEL_W), I64(1)), self.slot(DILATION_W))
        end = b.add(b.add(column, reach), I64((self.span - 1) * stride + 1))
        within = b.and_(
            b.icmp_signed(">=", column, I64(0)), b.icmp_signed("<=", end, self.slot(WIDTH))
        )
        inner, edge, both = (b.append_basic_block(name) for name in ("inner", "edge", "sums_done"))
        b.cbranch(within, inner, edge)
        ways = []
        for block, masked in ((inner, False), (edge, True)):
            b.position_at_end(block)
            values = self.sums(column, masked)
            ways.append((values, b.block))
            b.branch(both)
        b.position_at_end(both)
        sums = [b.phi(b.owner.vector) for _ in ways[0][0]]
        for values, block in ways:
            for phi, value in zip(sums, values, strict=True):
                phi.add_incoming(value, block)
        self.put(sums, top, left)

    def sums(self, column: ir.Value, masked: bool) -> list[ir.Value]:
        """The sums over the kernel, chunk by chunk, column by column."""
        values = [self.bias] * (self.planes.rows * self.planes.vectors)
        for chunk in self.planes.chunks(self.b.owner.target):
            values = self.columns(column, chunk, values, masked)
        return values

    def columns(
        self, column: ir.Value, chunk: range, starts: Sequence[ir.Value], masked: bool
    ) -> list[ir.Value]:
        """The loop over kernel columns of one chunk of kernel rows."""
        b, planes = self.b, self.planes
        steps, step, weight_step = self.slot(KERNEL_W), self.slot(DILATION_W), self.slot(WEIGHT_COLUMN)
        row = self.slot(WEIGHT_ROW)
        lines = [b.at(self.weight, b.mul(I64(r), row)) for r in chunk]
        entry = b.block
        loop, done = b.append_basic_block("columns"), b.append_basic_block("columns_done")
        b.branch(loop)
        b.position_at_end(loop)
        counted, place, offset = b.phi(I64, "s"), b.phi(I64, "place"), b.phi(I64, "weight_offset")
        sums = [b.phi(b.owner.vector) for _ in starts]
        weights = [b.broadcast(b.at(line, offset)) for line in lines]
        loads = _Columns(b, planes, place, self.slot(WIDTH) if masked else None)
        new: list[ir.Value] = list(sums)
        for i in planes.input_rows(chunk):
            values = loads.of(b.load(self.pointers[i], typ=I64))
            for m in range(planes.rows):
                r = i - m * planes.row_step
                if r in chunk:
                    for v, value in enumerate(values):
                        at = m * planes.vectors + v
                        new[at] = b.multiply_add(weights[r - chunk.start], value, new[at])
        following = [
            (counted, I64(0), b.add(counted, I64(1))),
            (place, column, b.add(place, step)),
            (offset, I64(0), b.add(offset, weight_step)),
            *zip(sums, starts, new, strict=True),
        ]
        for phi, start, value in following:
            phi.add_incoming(start, entry)
            phi.add_incoming(value, loop)
        b.cbranch(b.icmp_signed("<", following[0][2], steps), loop, done)
        b.position_at_end(done)
        return new

    def put(self, sums: Sequence[ir.Value], top: ir.Value, left: ir.Value) -> None:
        """Residual, activation, and the stores."""
        b, planes = self.b, self.planes
        pitch = self.slot(Y_ROW)
        first = b.add(b.mul(top, pitch), b.mul(left, I64(b.owner.bytes)))
        step = b.mul(self.slot(CLASSES), pitch)
        count = self.slot(OUT_WIDTH)
        mask = b.first_lanes(count) if planes.narrow else None

        def places(plane: ir.Value) -> list[ir.Value]:
            start = b.pointer(b.add(plane, first))
            rows = [start]
            for _ in range(planes.rows - 1):
                rows.append(b.at(rows[-1], step))
            width = b.owner.lanes * b.owner.bytes
            return [b.at(row, v * width) for row in rows for v in range(planes.vectors)]

        def add(values: Sequence[ir.Value]) -> list[ir.Value]:
            addends = [b.load_vector(place, mask) for place in places(self.residual)]
            return [b.fadd(value, addend) for value, addend in zip(values, addends, strict=True)]

        wanted = b.icmp_signed("!=", self.operands[4], I64(0))
        values: Sequence[ir.Value] = b.values_if(wanted, sums, add, "residual")
        if self.finish:
            values = [b.call(self.finish, [value]) for value in values]
        stores = list(zip(values, places(self.y), strict=True))
        if planes.narrow:
            self.put_narrow(stores, count)
            return
        for value, place in stores:
            b.store_vector(value, place)

    def put_narrow(self, stores: Sequence[tuple[ir.Value, ir.Value]], count: ir.Value) -> None:
        """Store rows shorter than a vector: whole where the next row will be stored, else in pieces."""
        b = self.b
        spills = b.icmp_signed("!=", self.slot(SPILLS), I64(0))
        *before, last = stores
        for whole, some in ((spills, before), (b.and_(spills, b.not_(self.is_last)), [last])):

            def in_one(some: Sequence[tuple[ir.Value, ir.Value]] = some) -> None:
                for value, place in some:
                    b.store_vector(value, place)

            def in_pieces(some: Sequence[tuple[ir.Value, ir.Value]] = some) -> None:
                for value, place in some:
                    b.store_lanes(value, place, count)

            b.do_if(whole, in_one, "whole")
            b.do_if(b.not_(whole), in_pieces, "pieces")


class _Columns:
    """Loads of the input under one kernel column: vectors of elements `column_stride` apart."""

    def __init__(self, b: Builder, planes: Planes, place: ir.Value, width: ir.Value | None) -> None:
        self.b, self.stride = b, planes.column_stride
        lanes = b.owner.lanes
        self.offset = b.mul(place, I64(b.owner.bytes), "column_offset")
        # A vector of every other element is picked from two that share one, so that nothing behind its last is read.
        within = (0,) if self.stride == 1 else (0, lanes - 1)
        self.starts = [[v * lanes * self.stride + first for first in within] for v in range(planes.vectors)]
        self.masks: list[list[ir.Value | None]] = [
            [None if width is None else b.lanes_inside(b.add(place, I64(start)), width) for start in group]
            for group in self.starts
        ]
        half = lanes // 2
        self.even = [2 * i if i < half else lanes + 2 * i - (lanes - 1) for i in range(lanes)]

    def of(self, row: ir.Value) -> list[ir.Value]:
        """The vectors of one input row, given its address."""
        b = self.b
        pointer = b.pointer(b.add(row, self.offset))
        vectors = []
        for starts, masks in zip(self.starts, self.masks, strict=True):
            loads = [
                b.load_vector(b.at(pointer, start * b.owner.bytes), mask)
                for start, mask in zip(starts, masks, strict=True)
            ]
            vectors.append(loads[0] if self.stride == 1 else b.shuffle_vector(*loads, b.places(self.even)))
        return vectors

"""Where the input rows of a band lie, looked up: for bands of which it is not known which rows lie outside."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from llvmlite import ir

from fastconv.codegen import depthwise_shape as slot
from fastconv.codegen import operands
from fastconv.codegen.depthwise_walk import Rows
from fastconv.codegen.vector import I64, Builder


class Met(Protocol):
    """What a table has to know of the code that reads it: see `depthwise_shape.Planes`."""

    @property
    def meets(self) -> int:
        """Input rows of a tile."""

    @property
    def slice_rows(self) -> int:
        """Of one slice."""

    @property
    def depth(self) -> int:
        """Slices."""

    @property
    def deep(self) -> bool:
        """Whether planes are volumes."""

    @property
    def bordered(self) -> bool:
        """Whether the padding is not zeros."""

    @property
    def copied(self) -> bool:
        """Whether rows are copied."""


class Table:
    """The addresses of the rows that a band meets; rows of zeros stand for those outside.

    Where the padding is not zeros, the rows outside are other rows of the plane, which maps tell. Tiles at the sides
    then read strips, copies of what the rows of the band have there, padding included.

    Rows that would all fall into the same sets of the cache are copied whole, as many as a band meets: each once for
    the bands of a task, in turn, to where the row lay that is not needed any more.
    """

    def __init__(self, b: Builder, planes: Met, read: Callable[[int], ir.Value]) -> None:
        self.b, self.planes, self.read = b, planes, read
        self.rows = b.alloca(I64, I64(planes.meets), "rows")
        self.copied = b.alloca(I64, name="copied_rows")  # how many of the padded plane's, from its first on

    def at(self, i: int) -> ir.Value:
        """The address of input row i, an i64: where its padding begins."""
        return self.b.load_int(self.b.at(self.rows, 8 * i))

    def fill(self, corner: ir.Value, top: ir.Value, layer: ir.Value) -> None:
        """Look up the rows of the band from row `top` of output slice `layer` on, in a plane given by its corner."""
        b, planes, read = self.b, self.planes, self.read
        self.base = b.mul(top, read(slot.STRIDE_H))  # of the padded plane
        if planes.copied:
            self._copy(corner)
            return
        below = self.base
        for i in range(planes.slice_rows):
            self._fill(corner, below, layer, i)
            below = b.add(below, read(slot.DILATION_H))
        if planes.bordered:
            self._copy_strips()

    def _fill(self, corner: ir.Value, place: ir.Value, layer: ir.Value, i: int) -> None:
        """Look up row i of each slice that the kernel meets; `place` is where it is in the padded plane."""
        b, planes, read = self.b, self.planes, self.read
        zeros = read(slot.ZEROS)
        row, inside = self._row(corner, place)
        for z in range(planes.depth):
            address, present = row, inside
            if planes.deep:
                deep = b.add(b.mul(layer, read(slot.STRIDE_D)), b.mul(I64(z), read(slot.DILATION_D)))
                slices, in_depth = self._along(deep, slot.MAP_D, slot.BEFORE_D, slot.DEPTH)
                address = b.add(row, b.mul(slices, read(slot.X_SLICE)))
                present = b.and_(present, in_depth)
            into = b.at(self.rows, 8 * (z * planes.slice_rows + i))
            b.store(b.select(present, address, zeros), into)

    def _row(self, corner: ir.Value, place: ir.Value) -> tuple[ir.Value, ir.Value]:
        """The address of the row at a place of the padded plane, and whether it is inside."""
        b = self.b
        from_corner, inside = self._along(place, slot.MAP_H, slot.BEFORE_H, slot.HEIGHT)
        return b.add(corner, b.mul(from_corner, self.read(slot.X_ROW))), inside

    def start(self) -> None:
        """Begin a task: what was copied before belongs to others."""
        if self.planes.copied:
            self.b.store(I64(0), self.copied)

    def _copy(self, corner: ir.Value) -> None:
        """Copy the rows of a band that the band before it did not meet."""
        b, planes, read = self.b, self.planes, self.read
        count, pitch = I64(planes.meets), read(slot.COPY_ROW)
        # behind the padding a line begins: stores across two took several times as long
        skipped = b.and_(b.mul(read(slot.BEFORE_W), I64(-b.owner.bytes)), I64(63))
        scratch = b.add(b.function.args[operands.SCRATCH], skipped)
        end = b.add(self.base, count)

        def copy(place: ir.Value) -> None:
            row, inside = self._row(corner, place)
            self._copy_row(b.select(inside, row, read(slot.ZEROS)), b.add(scratch, b.mul(b.urem(place, count), pitch)))

        b.count_up(b.greatest(self.base, b.load_int(self.copied)), end, 1, copy, "copies")
        b.store(end, self.copied)
        turn = b.urem(self.base, count)
        for i in range(planes.meets):
            b.store(b.add(scratch, b.mul(turn, pitch)), b.at(self.rows, 8 * i))
            after = b.add(turn, I64(1))
            turn = b.select(b.icmp_signed("==", after, count), I64(0), after)

    def _copy_row(self, source: ir.Value, to: ir.Value) -> None:
        """Copy a row, which is no shorter than a vector; both addresses are where its padding begins."""
        b, read = self.b, self.read
        lanes, item = b.owner.lanes, I64(b.owner.bytes)
        width, before = read(slot.WIDTH), b.mul(read(slot.BEFORE_W), item)
        begin, into = (b.pointer(b.add(address, before)) for address in (source, to))
        last = b.sub(width, I64(lanes))

        def vector(column: ir.Value) -> None:
            offset = b.mul(b.least(column, last), item)
            b.store_vector(b.load_vector(b.at(begin, offset)), b.at(into, offset))

        def pad(i: ir.Value) -> None:
            place, origin = (
                b.load_int(b.at(b.pointer(read(number)), b.mul(i, I64(8)))) for number in (slot.COPY_TO, slot.COPY_FROM)
            )
            inside = b.icmp_signed(">=", origin, I64(0))
            address = b.pointer(b.select(inside, b.add(source, origin), read(slot.ZERO)))
            value = b.load(address, typ=b.owner.element, align=b.owner.bytes)
            b.store(value, b.at(b.pointer(to), place), align=b.owner.bytes)

        b.count_up(I64(0), width, lanes, vector, "copy_vectors")
        b.count_up(I64(0), read(slot.COPY_PADS), 1, pad, "copy_pads")

    def _along(self, place: ir.Value, map_: int, before: int, size: int) -> tuple[ir.Value, ir.Value]:
        """The place that has what is at a place of a padded axis, its padding counted, and whether it is inside."""
        b, read = self.b, self.read
        if self.planes.bordered:
            found = b.load_int(b.at(b.pointer(read(map_)), b.mul(place, I64(8))))
            return b.add(found, read(before)), b.icmp_signed(">=", found, I64(0))
        # a negative place is a huge unsigned one
        return place, b.icmp_unsigned("<", b.sub(place, read(before)), read(size))

    def _copy_strips(self) -> None:
        b, read = self.b, self.read
        columns, pitch = b.pointer(read(slot.STRIP_COLUMNS)), read(slot.STRIP_ROW)
        strips = b.pointer(b.function.args[operands.SCRATCH])
        item = b.owner.bytes

        def copy(i: ir.Value) -> None:
            source = b.pointer(b.load_int(b.at(self.rows, b.mul(i, I64(8)))))
            target = b.at(strips, b.mul(i, pitch))

            def element(j: ir.Value) -> None:
                offset = b.load_int(b.at(columns, b.mul(j, I64(8))))
                value = b.load(b.at(source, offset), typ=b.owner.element, align=item)
                b.store(value, b.at(target, b.mul(j, I64(item))), align=item)

            b.count_up(I64(0), read(slot.STRIP_WIDTH), 1, element, "strip")

        b.count_up(I64(0), I64(self.planes.meets), 1, copy, "strips")

    def strip(self, i: int, offset: ir.Value) -> ir.Value:
        """The address `offset` bytes along strip i."""
        b = self.b
        rows = Rows(b, b.function.args[operands.SCRATCH], self.read(slot.STRIP_ROW), self.planes.meets)
        return rows.at(i, offset)

    def meets_the_plane(self, rows: list[int]) -> ir.Value:
        """Whether some of the rows, which are in order, are in the plane."""
        b, read = self.b, self.read
        first, last = (b.add(self.base, b.mul(read(slot.DILATION_H), I64(rows[i]))) for i in (0, -1))
        end = b.add(read(slot.BEFORE_H), read(slot.HEIGHT))
        return b.and_(b.icmp_signed("<", first, end), b.icmp_signed(">=", last, read(slot.BEFORE_H)))

"""Where the input rows of a band lie, looked up: for bands of which it is not known which rows lie outside."""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir

from fastconv.codegen import depthwise_shape as slot
from fastconv.codegen import operands
from fastconv.codegen.depthwise_shape import Planes
from fastconv.codegen.depthwise_walk import Rows
from fastconv.codegen.vector import I64, Builder


class Table:
    """The addresses of the rows that a band meets; rows of zeros stand for those outside.

    Where the padding is not zeros, the rows outside are other rows of the plane, which maps tell. Tiles at the sides
    then read strips, copies of what the rows of the band have there, padding included.
    """

    def __init__(self, b: Builder, planes: Planes, read: Callable[[int], ir.Value]) -> None:
        self.b, self.planes, self.read = b, planes, read
        self.rows = b.alloca(I64, I64(planes.meets), "rows")

    def at(self, i: int) -> ir.Value:
        """The address of input row i, an i64: where its padding begins."""
        return self.b.load_int(self.b.at(self.rows, 8 * i))

    def fill(self, corner: ir.Value, top: ir.Value, layer: ir.Value) -> None:
        """Look up the rows of the band from row `top` of output slice `layer` on, in a plane given by its corner."""
        b, planes, read = self.b, self.planes, self.read
        self.base = b.mul(top, read(slot.STRIDE_H))  # of the padded plane
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
        from_corner, inside = self._along(place, slot.MAP_H, slot.BEFORE_H, slot.HEIGHT)
        row = b.add(corner, b.mul(from_corner, read(slot.X_ROW)))
        for z in range(planes.depth):
            address, present = row, inside
            if planes.deep:
                deep = b.add(b.mul(layer, read(slot.STRIDE_D)), b.mul(I64(z), read(slot.DILATION_D)))
                slices, in_depth = self._along(deep, slot.MAP_D, slot.BEFORE_D, slot.DEPTH)
                address = b.add(row, b.mul(slices, read(slot.X_SLICE)))
                present = b.and_(present, in_depth)
            into = b.at(self.rows, 8 * (z * planes.slice_rows + i))
            b.store(b.select(present, address, zeros), into)

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

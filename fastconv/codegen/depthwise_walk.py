"""How a depthwise convolution goes from plane to plane, and from row to row."""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir

from fastconv.codegen import depthwise_shape as slot
from fastconv.codegen import operands
from fastconv.codegen.depthwise_shape import Planes
from fastconv.codegen.vector import I64, Builder


class Walk:
    """Where the next task begins, in variables that move on by additions: divisions cost as much as a small plane.

    `slot` reads a slot of the plan.
    """

    def __init__(self, b: Builder, planes: Planes, read: Callable[[int], ir.Value]) -> None:
        self.b, self.planes, self.read = b, planes, read
        names = "part", "filter", "of_plane", "x", "weight", "bias", "y", "residual"
        variables = [b.alloca(I64, name=f"{name}_now") for name in names]  # before all else, where they cost nothing
        self.part, self.filter, self.of_plane, self.x, self.weight, self.bias, self.y, self.residual = variables
        x, weight, bias, residual, y, first = b.function.args[operands.X : operands.FIRST + 1]
        parts, filters, multiplier = (read(number) for number in (slot.PARTS, slot.FILTERS, slot.MULTIPLIER))
        plane, part = b.udiv(first, parts, "plane"), b.urem(first, parts)
        image, filter_ = b.udiv(plane, filters, "image"), b.urem(plane, filters)
        self.weight_plane = I64(b.owner.bytes * planes.kernel[0] * planes.kernel[1])
        none = b.icmp_signed("==", bias, I64(0))  # sums begin with the bias; without one, with a zero
        self.bias_step = b.select(none, I64(0), I64(b.owner.bytes))
        self.first_bias, self.first_weight = b.select(none, read(slot.ZERO), bias), weight
        corner = b.sub(x, read(slot.X_CORNER))
        into = b.add(b.mul(image, read(slot.Y_IMAGE)), b.mul(filter_, read(slot.Y_FILTER)))
        starts = (
            part,
            filter_,
            b.urem(plane, multiplier),
            b.add(corner, b.mul(b.udiv(plane, multiplier), read(slot.X_PLANE))),
            b.add(weight, b.mul(filter_, self.weight_plane)),
            b.add(self.first_bias, b.mul(filter_, self.bias_step)),
            b.add(y, into),
            b.add(residual, b.mul(plane, read(slot.RESIDUAL_PLANE))),
        )
        for variable, start in zip(variables, starts, strict=True):
            b.store(start, variable)

    def part_of(self, height: ir.Value) -> tuple[ir.Value, ir.Value]:
        """The first row of a task, and the end of its rows."""
        b = self.b
        if not self.planes.parted:
            return I64(0), height
        rows = b.at(b.pointer(self.read(slot.PART_ROWS)), b.mul(b.load_int(self.part), I64(8)))
        return b.load_int(rows, "begin"), b.load_int(b.at(rows, 8), "end")

    def on(self) -> None:
        """Go to the next task."""
        if self.planes.parted or self.planes.deep:
            self.b.do_if(self._count(self.part, slot.PARTS), self._next_plane, "next_plane")
        else:
            self._next_plane()

    def _next_plane(self) -> None:
        b, planes = self.b, self.planes
        self._add(self.weight, self.weight_plane)
        self._add(self.bias, self.bias_step)
        self._add(self.y, self.read(slot.Y_FILTER))
        if planes.residual:
            self._add(self.residual, self.read(slot.RESIDUAL_PLANE))
        step = self.read(slot.X_PLANE)
        if planes.repeated:
            step = b.select(self._count(self.of_plane, slot.MULTIPLIER), step, I64(0))
        self._add(self.x, step)
        b.do_if(self._count(self.filter, slot.FILTERS), self._next_image, "next_image")

    def _next_image(self) -> None:
        b, read = self.b, self.read
        b.store(self.first_weight, self.weight)
        b.store(self.first_bias, self.bias)
        self._add(self.y, b.sub(read(slot.Y_IMAGE), b.mul(read(slot.FILTERS), read(slot.Y_FILTER))))

    def _add(self, variable: ir.Value, step: ir.Value) -> None:
        self.b.store(self.b.add(self.b.load_int(variable), step), variable)

    def _count(self, variable: ir.Value, end: int) -> ir.Value:
        """Add one; return whether the end, a slot, was reached, where counting begins anew."""
        b = self.b
        after = b.add(b.load_int(variable), I64(1))
        full = b.icmp_signed("==", after, self.read(end))
        b.store(b.select(full, I64(0), after), variable)
        return full


class Rows:
    """Addresses of rows that lie a step apart.

    Every fourth is computed, and the three others are one, two and three steps from it: a processor adds two registers
    in an address for nothing, and so the addresses of many rows take few registers.
    """

    def __init__(self, b: Builder, first: ir.Value, step: ir.Value, count: int) -> None:
        self.b = b
        self.steps = [b.mul(step, I64(i)) for i in range(min(4, count))]
        self.fourths = [first]
        for _ in range((count - 1) // 4):
            self.fourths.append(b.add(self.fourths[-1], b.shl(step, I64(2))))

    def at(self, i: int, offset: ir.Value) -> ir.Value:
        """The address `offset` bytes along row i."""
        b = self.b
        return b.at(b.at(b.pointer(self.fourths[i // 4]), offset), self.steps[i % 4])

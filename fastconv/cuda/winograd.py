"""Winograd convolution on a device: the transforms of `fastconv.cpu.winograd`, and a matrix product a frequency.

An image whose result is somewhere no finite number before bias and activation is computed again by `direct`, as on
the CPU: an infinity or NaN is otherwise smeared over its tiles. The device decides that by itself, see
`fastconv.cuda.direct`.

What is moved, computed and predicted for VGG-16's layers is in docs/winograd.md.
"""

from __future__ import annotations

from fastconv.codegen import winograd_tile
from fastconv.codegen.winograd_error import relative_error
from fastconv.cuda import winograd_plan
from fastconv.cuda.algorithm import MOST_BLOCKS, MOST_ELEMENTS, Algorithm
from fastconv.cuda.driver import Device
from fastconv.cuda.geometry import geometry
from fastconv.cuda.plan import Plan, Target
from fastconv.problem import ConvProblem

MOST_TILE = 9 * 9 * 8  # bytes of a tile of inputs, which with its transform is in a thread's 255 registers of 4


class Winograd(Algorithm):
    """F(m x m, r x s)."""

    def __init__(self, outputs: int) -> None:
        self.outputs = outputs
        self.name = f"winograd_{outputs}x{outputs}"

    def supports(self, problem: ConvProblem) -> str | None:
        """Refuse what has no transform, and more than grids and indices count."""
        reason = super().supports(problem) or winograd_tile.refusal(self.name, problem, self.outputs)
        if reason is not None:
            return reason
        rows, columns = (axis.inputs for axis in winograd_tile.axes(problem, self.outputs))
        if rows * columns * problem.itemsize > MOST_TILE:
            return f"{self.name} computes tiles of at most {MOST_TILE} bytes on a device, not {rows}x{columns} elements"
        divided = winograd_plan.divide(problem, self.outputs)
        if divided.count > MOST_BLOCKS:
            most = MOST_BLOCKS * problem.groups // divided.count
            return f"{self.name} takes at most {most} groups on a device, not {problem.groups}"
        if max(divided.elements) > MOST_ELEMENTS:
            return f"{self.name} takes transformed weights and tiles of at most {MOST_ELEMENTS} elements"
        return None

    def workspace(self, problem: ConvProblem, device: Device) -> int:
        """Return the bytes of transformed weights, of tiles and products of a block, and of marks."""
        divided = winograd_plan.divide(problem, self.outputs)
        return divided.packed + divided.workspace

    def terms(self, problem: ConvProblem, machine: Device) -> dict[str, float]:
        """Predict the time of the division."""
        return winograd_plan.terms(winograd_plan.divide(problem, self.outputs), machine)

    def error_bound(self, problem: ConvProblem) -> float:
        """Return the bound of `fastconv.codegen.winograd_error`, for sums over all channels of a group."""
        axes = winograd_tile.axes(problem, self.outputs)
        return relative_error(axes, geometry(problem).group_channels, problem.dtype)

    def plan(self, problem: ConvProblem, activation: str | None, target: Target) -> Plan:
        """Return the launches."""
        return winograd_plan.plan(winograd_plan.divide(problem, self.outputs), activation, target)

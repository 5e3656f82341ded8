"""Winograd convolution: transforms of input, weights and output in exchange for fewer products.

    y = A^T [(G w G^T) * (B^T d B)] A

F(m x m, r x r) computes m x m outputs of an r x r kernel with (m + r - 1)^2 products of a channel and a filter instead
of m^2 r^2: with m = 4 and r = 3, a quarter. The matrices come from polynomials that are interpolated at m + r - 2
points and infinity (Winograd, Arithmetic Complexity of Computations, 1980; Lavin and Gray, Fast Algorithms for
Convolutional Neural Networks, 2016), here exactly (`fastconv.codegen.cook_toom`). The larger the tile, the fewer the
products, the larger the rounding errors. A kernel of one row or column is transformed along the other axis only. With a
dilation D, tiles are made of every D-th row and column.

Where a value of an image's result is no finite number before the epilogue, the image is computed again by `direct`: an
infinity or NaN in the input would otherwise be smeared over its tiles, and sums of very large numbers may overflow in
between.
"""

from __future__ import annotations

import numpy as np

from fastconv.algorithm import Machine
from fastconv.codegen import target as targets
from fastconv.codegen import winograd_tile
from fastconv.codegen.winograd_error import relative_error
from fastconv.cpu import winograd_plan
from fastconv.cpu.algorithm import AnyPlan, Planned
from fastconv.cpu.direct import Direct
from fastconv.cpu.geometry import geometry
from fastconv.cpu.plan import Request
from fastconv.problem import ConvProblem

#: Time of an element of V, M, U and the weights, in that of copying one.
INPUT_ELEMENT, OUTPUT_ELEMENT, TRANSFORMED_ELEMENT, WEIGHT_ELEMENT = 1.3, 1.3, 0.42, 0.95

#: Seconds to launch the two steps of a block.
BLOCK = 3e-6


class Winograd(Planned):
    """F(m x m, r x s)."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.outputs = outputs
        self.name = f"winograd_{outputs}x{outputs}"

    def supports(self, problem: ConvProblem) -> str | None:
        """Refuse what has no transform."""
        return super().supports(problem) or winograd_tile.refusal(self.name, problem, self.outputs)

    def terms(self, problem: ConvProblem, machine: Machine) -> dict[str, float]:
        """Predict the time of products, of beginning blocks and tiles, and of the elements that are transformed."""
        shape, cut = geometry(problem), self._tiling(problem)
        tiles = cut.rows * cut.tiles[1] * cut.phases[1]
        filters = cut.panels * cut.panel
        lanes = targets.current().lanes(problem.dtype)
        products = 2.0 * tiles * shape.channels * filters / (machine.vector_flops * lanes)
        begun = machine.tile * -(-tiles // cut.tile_rows) * cut.panels * cut.passes
        transformed = INPUT_ELEMENT * tiles * shape.channels + OUTPUT_ELEMENT * tiles * filters
        blocks = cut.blocks[0] * cut.blocks[1]
        of_weight = TRANSFORMED_ELEMENT * cut.frequencies + WEIGHT_ELEMENT * shape.taps
        frequencies = problem.groups * cut.frequencies
        element = machine.element * np.dtype(problem.dtype).itemsize / 4  # vectors have fewer of the larger ones
        return {
            "call": machine.call,
            "blocks": BLOCK * blocks,
            "products": frequencies * products,
            "tiles": frequencies * begun,
            "transforms": frequencies * element * transformed,
            "weights": problem.groups * element * of_weight * shape.channels * filters * blocks,
        }

    def error_bound(self, problem: ConvProblem) -> float:
        """Return the bound of `fastconv.codegen.winograd_error`, for sums of the sums over chunks of channels."""
        cut = self._tiling(problem)
        return relative_error(cut.axes, cut.chunk + cut.passes, problem.dtype)

    def make_plan(self, request: Request) -> AnyPlan:
        """Return the plan of a request."""
        return winograd_plan.make(request, winograd_tile.axes(request.problem, self.outputs), Direct().make_plan)

    def _tiling(self, problem: ConvProblem) -> winograd_plan.Tiling:
        """The tiles of one thread's plan."""
        request = Request(problem, None, (), 1, targets.current())
        return winograd_plan.tiling(request, geometry(problem), winograd_tile.axes(problem, self.outputs))

"""The reference as an algorithm of the table: slow, exact, and there for every problem."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from fastconv import reference
from fastconv.algorithm import Algorithm, Array, Machine
from fastconv.arguments import epsilon, is_floating
from fastconv.problem import ConvProblem
from fastconv.rounding import rounded

COPY_SECONDS = 4e-10  # of an element that is made float64

#: Copies of an image's result that there are at once behind its residual's in gelu, the activation that takes most: its
#: error function is computed from Python's floats (found with tracemalloc).
RESULTS_OF_GELU = 11


class Reference(Algorithm):
    """`fastconv.reference.conv` and its gradients, rounded once to the result's type."""

    name = "reference"

    def supports(self, problem: ConvProblem) -> str | None:
        """Refuse nothing."""
        return None

    def workspace(self, problem: ConvProblem) -> int:
        """Return the most of float64 copies that NumPy holds at once: of weights, an image, and results so far."""
        if not problem.batch:
            return 0
        if problem.direction != "forward":
            return _of_gradient(problem)
        padded, result = _elements(problem)
        image, pixels = math.prod(problem.input_shape) // problem.batch, math.prod(problem.output_size)
        of_tap = problem.channels * pixels  # what one tap sees; that of the tap before is there, or its products
        sums = padded + of_tap + result + max(of_tap, result)
        at_once = max(2 * padded, sums, RESULTS_OF_GELU * result)
        return 8 * (problem.parameters + image + at_once + problem.batch * result)

    def terms(self, problem: ConvProblem, machine: Machine) -> dict[str, float]:
        """Predict copies in float64, products, and beginning a pass of NumPy over memory for every tap."""
        return {
            "passes": 50e-6 * math.prod(problem.kernel) * problem.groups,
            "copies": COPY_SECONDS * (problem.batch * sum(_elements(problem)) + problem.parameters),
            "products": 2 * problem.multiply_adds / machine.vector_flops,
        }

    def error_bound(self, problem: ConvProblem) -> float:
        """Half a unit in the last place of the result's type: sums are float64, or exact."""
        return epsilon(problem.dtype) if is_floating(problem.dtype) else 0.0

    def run(
        self,
        problem: ConvProblem,
        x: Array,
        weight: Array,
        bias: Array | None,
        residual: Array | None,
        activation: str | None,
        out: Array,
    ) -> None:
        """Compute into `out`, rounding once.

        Image by image: NumPy's products sum in an order that depends on the shapes.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            if problem.direction == "weight_gradient":  # summed over images
                out[...] = rounded(reference.conv_weight_gradient(problem, x, weight), out.dtype)
                return
            alone = dataclasses.replace(problem, batch=1)
            images = [slice(i, i + 1) for i in range(problem.batch)]
            if problem.direction == "forward":
                results = [
                    reference.conv(alone, x[i], weight, bias, None if residual is None else residual[i], activation)
                    for i in images
                ]
            else:
                results = [reference.conv_input_gradient(alone, weight, x[i], bias) for i in images]
            for i, result in zip(images, results, strict=True):
                out[i] = rounded(result, out.dtype)


def _of_gradient(problem: ConvProblem) -> int:
    """The most bytes that NumPy holds at once of a gradient: image by image, or by the weight of all images."""
    padded, output = _elements(problem)
    of_tap = problem.channels * math.prod(problem.output_size)  # what one tap sees, or gives
    if problem.direction == "input_gradient":
        image = math.prod(problem.size) * problem.channels
        return 8 * (2 * problem.parameters + output + 2 * padded + 2 * of_tap + (2 + problem.batch) * image)
    products = math.prod(problem.weight_shape[:2])  # of a tap, before images are summed
    images = 3 * padded + output + 2 * of_tap + products
    return 8 * (3 * problem.parameters + problem.batch * images)


def _elements(problem: ConvProblem) -> tuple[int, int]:
    """Elements of the padded input and of the result of one image."""
    padded = [size + sum(pair) for size, pair in zip(problem.size, problem.padding, strict=True)]
    return problem.channels * math.prod(padded), problem.filters * math.prod(problem.output_size)

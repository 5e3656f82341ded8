"""The reference as an algorithm of the table of poolings: slow, exact, and there for every problem."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from fastconv import reference
from fastconv.algorithm import Array, Machine, PoolAlgorithm
from fastconv.arguments import epsilon
from fastconv.problem import PoolProblem
from fastconv.rounding import rounded

RESULTS = 4  # copies of the result that there are at once, where powers of windows are summed
ELEMENT_SECONDS = 4e-9  # of an element of a window, read by NumPy into float64 or compared

_FUNCTIONS: dict[str, Callable[..., Array]] = {
    "max_pool": reference.max_pool,
    "avg_pool": reference.avg_pool,
    "lp_pool": reference.lp_pool,
    "adaptive_max_pool": reference.adaptive_max_pool,
    "adaptive_avg_pool": reference.adaptive_avg_pool,
}


class PoolReference(PoolAlgorithm):
    """The functions of `fastconv.reference`, rounded once to the result's type."""

    name = "reference"

    def supports(self, problem: PoolProblem) -> str | None:
        """Refuse nothing."""
        return None

    def workspace(self, problem: PoolProblem) -> int:
        """Return the most of float64 copies that NumPy holds at once: of the input, also padded, and of the result."""
        plane, result = math.prod(problem.size), math.prod(problem.output_size)
        padded = [size + sum(pair) for size, pair in zip(problem.size, problem.padding, strict=True)]
        if not problem.adaptive:  # the last windows may reach beyond the padding
            axes = zip(problem.output_size, problem.stride, problem.kernel, problem.dilation, strict=True)
            spans = [(output - 1) * s + (taps - 1) * d + 1 for output, s, taps, d in axes]
            padded = list(map(max, padded, spans))
        return 8 * problem.batch * problem.channels * (plane + math.prod(padded) + max(plane, RESULTS * result))

    def terms(self, problem: PoolProblem, machine: Machine) -> dict[str, float]:
        """Predict a pass of NumPy over memory for every element of a window."""
        passes = math.prod(problem.output_size if problem.adaptive else problem.kernel)
        return {
            "passes": 50e-6 * passes,
            "elements": ELEMENT_SECONDS * (problem.operations + math.prod(problem.input_shape)),
        }

    def error_bound(self, problem: PoolProblem) -> float:
        """Half a unit in the last place of the result's type: sums are float64, and maxima are elements."""
        return 0.0 if problem.maxima else epsilon(problem.dtype)

    def run(self, problem: PoolProblem, x: Array, out: Array, indices: Array | None) -> None:
        """Compute into `out`, rounding once."""
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            found = _FUNCTIONS[problem.operation](x, **problem.arguments())
            if indices is not None:
                found, indices[...] = found
            out[...] = rounded(found, out.dtype)

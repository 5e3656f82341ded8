"""Which tiles Winograd's convolution takes of a problem, wherever it runs: F(m, r) along each of two axes."""

from __future__ import annotations

import math

from fastconv.problem import ConvProblem

Axis = tuple[int, int]  # (m, r) of F(m, r)

#: An axis that is left as it is.
NONE: Axis = (1, 1)

#: Inputs of a tile along each of two axes, and along a single one, at most: beyond, rounding errors grow to 1e-5.
LARGEST_TILE, LONGEST_TILE = 8, 10


def axes(problem: ConvProblem, outputs: int) -> tuple[Axis, Axis]:
    """Return F(outputs, taps) along rows and along columns; an axis of a single tap is left as it is."""
    taps = (1, *problem.kernel)[-2:]
    rows, columns = ((outputs, count) if count > 1 else NONE for count in taps)
    return rows, columns


def refusal(name: str, problem: ConvProblem, outputs: int) -> str | None:
    """Return why a problem has no transform: strides, depth, kernels that are too small or too large."""
    most = (LONGEST_TILE if min(problem.kernel) == 1 or problem.rank == 1 else LARGEST_TILE) + 1 - outputs
    if problem.rank == 3:
        return f"{name} computes one and two dimensions, not three"
    if max(problem.stride) > 1:
        return f"{name} computes a stride of 1, not {'x'.join(map(str, problem.stride))}"
    if math.prod(problem.kernel) == 1:
        return f"{name} needs a kernel of more than one element"
    if max(problem.kernel) > most:
        return f"{name} computes kernels of at most {most} elements along an axis, not {max(problem.kernel)}"
    return None

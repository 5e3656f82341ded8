"""Which tiles Winograd's convolution takes of a problem, wherever it runs: F(m, r) along each of two axes."""

from __future__ import annotations

import math
from typing import NamedTuple

from fastconv.problem import ConvProblem


class Axis(NamedTuple):
    """F(m, r) along one axis, with a stride."""

    outputs: int  # m
    taps: int  # r
    stride: int = 1

    @property
    def step(self) -> int:
        """Inputs from one tile to the next."""
        return self.stride * self.outputs

    @property
    def inputs(self) -> int:
        """Inputs of a tile, and its products."""
        return self.step - self.stride + self.taps

    @property
    def is_left(self) -> bool:
        """Whether it is left as it is."""
        return (self.outputs, self.taps) == (1, 1)


#: An axis that is left as it is.
NONE = Axis(1, 1)

#: Inputs of a tile along each of two axes, and along a single one, at most: beyond, rounding errors grow to 1e-5.
LARGEST_TILE, LONGEST_TILE = 8, 10

#: With a stride, errors are those of its first phase, which has most taps; that of all of them together is for the sake
#: of the code, which is straight.
LARGEST_STRIDED = 11
MOST_STRIDE = 2


def axes(problem: ConvProblem, outputs: int) -> tuple[Axis, Axis]:
    """Return F(outputs, taps) along rows and along columns; an axis of a single tap is left as it is."""
    taps, strides = (1, *problem.kernel)[-2:], (1, *problem.stride)[-2:]
    rows, columns = (
        Axis(outputs if count > 1 else 1, count, stride) for count, stride in zip(taps, strides, strict=True)
    )
    return rows, columns


def refusal(name: str, problem: ConvProblem, outputs: int) -> str | None:
    """Return why a problem has no transform: strides, depth, kernels that are too small or too large."""
    if problem.rank == 3:
        return f"{name} computes one and two dimensions, not three"
    if max(problem.stride) > MOST_STRIDE:
        return f"{name} computes strides of at most {MOST_STRIDE}, not {'x'.join(map(str, problem.stride))}"
    if math.prod(problem.kernel) == 1:
        return f"{name} needs a kernel of more than one element"
    largest = LONGEST_TILE if min(problem.kernel) == 1 or problem.rank == 1 else LARGEST_TILE
    for taps, stride, dilation in zip(problem.kernel, problem.stride, problem.dilation, strict=True):
        if taps > 1 and stride > 1 and dilation > 1:
            return f"{name} computes a stride without dilation, not {stride} with {dilation}"
        most, of_stride = largest + 1 - outputs, ""
        if stride > 1:
            most = min(stride * most, LARGEST_STRIDED + stride - stride * outputs)
            of_stride = f" with a stride of {stride}"
        if taps > 1 and most < stride:
            return f"{name} computes a stride of 1, not {'x'.join(map(str, problem.stride))}"
        if taps > max(1, most):
            return f"{name} computes kernels of at most {most} elements along an axis{of_stride}, not {taps}"
    return None

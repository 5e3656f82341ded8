"""A convolution's numbers as kernels take them: three spatial axes, steps in elements."""

from __future__ import annotations

from math import prod
from typing import NamedTuple

from fastconv.problem import ConvProblem

Triple = tuple[int, int, int]


class Geometry(NamedTuple):
    """Sizes and steps; axes that a problem lacks have the size 1, stride 1 and dilation 1, and no padding."""

    size: Triple
    output: Triple
    kernel: Triple
    stride: Triple
    dilation: Triple
    padding: Triple  # before
    group_channels: int
    group_filters: int
    pixel_step: int  # from an element of x to that of the next pixel
    channel_step: int  # to that of the next channel
    out_pixel_step: int
    out_filter_step: int

    @property
    def taps(self) -> int:
        """Elements of a kernel."""
        return prod(self.kernel)

    @property
    def pixels(self) -> int:
        """Of one output plane."""
        return prod(self.output)


def three(values: tuple[int, ...], missing: int) -> Triple:
    """Return numbers of axes as those of three, of which the first ones are missing."""
    first, second, third = (missing,) * (3 - len(values)) + values
    return first, second, third


def geometry(problem: ConvProblem) -> Geometry:
    """Return the numbers of a problem."""
    size, output = three(problem.size, 1), three(problem.output_size, 1)
    first = problem.layout == "channels_first"
    return Geometry(
        size,
        output,
        three(problem.kernel, 1),
        three(problem.stride, 1),
        three(problem.dilation, 1),
        three(tuple(before for before, _ in problem.padding), 0),
        problem.channels // problem.groups,
        problem.filters // problem.groups,
        1 if first else problem.channels,
        prod(size) if first else 1,
        1 if first else problem.filters,
        prod(output) if first else 1,
    )

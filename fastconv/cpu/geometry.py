"""Every forward problem in one form: three spatial axes, tables of taps, maps from padded places to input places."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import numpy.typing as npt

from fastconv.problem import ConvProblem
from fastconv.reference.padding import NUMPY_MODES

Ints = npt.NDArray[np.int64]
Triple = tuple[int, int, int]


@dataclass(frozen=True)
class Geometry:
    """Sizes of one group of one image, three axes each (depth, height, width; missing ones of size 1)."""

    channels: int
    filters: int
    size: Triple
    output: Triple
    kernel: Triple
    stride: Triple
    dilation: Triple
    padding: tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
    padding_mode: str
    flip: bool
    corner: Triple = (0, 0, 0)  # of the padded input, where the first window begins

    @property
    def taps(self) -> int:
        """Elements of the kernel."""
        return math.prod(self.kernel)

    @property
    def pixels(self) -> int:
        """Output elements of one plane."""
        return math.prod(self.output)

    @property
    def padded(self) -> bool:
        """Whether any window sees padding."""
        axes = zip(
            self.corner, self.output, self.kernel, self.stride, self.dilation, self.padding, self.size, strict=True
        )
        return any(
            corner < before or corner + (pixels - 1) * stride + (taps - 1) * dilation >= before + size
            for corner, pixels, taps, stride, dilation, (before, _), size in axes
        )

    @cached_property
    def tap_positions(self) -> Ints:
        """Where each tap, in the order of the weights, lies relative to its window's corner: taps x 3."""
        places = np.indices(self.kernel).reshape(3, -1).T
        positions: Ints = (places[::-1] if self.flip else places) * np.array(self.dilation)
        return positions

    @cached_property
    def maps(self) -> tuple[Ints, Ints, Ints]:
        """For each axis: place in the padded input, from the corner on -> place in the input, or -1 where zeros are.

        As many places as the stride follow the end: the last phase of a strided axis may look there.
        """
        axes = zip(self.size, self.padding, self.stride, strict=True)
        first, second, third = (
            _axis_map(size, pair, stride, self.padding_mode)[corner:]
            for (size, pair, stride), corner in zip(axes, self.corner, strict=True)
        )
        return first, second, third


def _axis_map(size: int, padding: tuple[int, int], stride: int, mode: str) -> Ints:
    places = np.arange(size, dtype=np.int64)
    if mode == "zeros":
        return np.pad(places, (padding[0], padding[1] + stride), constant_values=-1)
    inside: Ints = np.pad(places, padding, mode=NUMPY_MODES[mode])
    return np.append(inside, np.full(stride, -1))


@lru_cache(maxsize=256)
def geometry(problem: ConvProblem) -> Geometry:
    """Return the geometry of `problem`.

    A pointwise convolution (1x1, stride 1, no padding) is a matrix product: its pixels become one axis.
    """
    lead = 3 - problem.rank
    size = (1,) * lead + problem.size
    output = (1,) * lead + problem.output_size
    kernel = (1,) * lead + problem.kernel
    stride = (1,) * lead + problem.stride
    padding = ((0, 0),) * lead + problem.padding
    if math.prod(kernel) == 1 and math.prod(stride) == 1 and not any(map(any, padding)):
        size = output = (1, 1, math.prod(size))
    return Geometry(
        channels=problem.channels // problem.groups,
        filters=problem.filters // problem.groups,
        size=triple(size),
        output=triple(output),
        kernel=triple(kernel),
        stride=triple(stride),
        dilation=triple((1,) * lead + problem.dilation),
        padding=(padding[0], padding[1], padding[2]),
        padding_mode=problem.padding_mode,
        flip=problem.flip,
    )


def triple(values: Sequence[int]) -> Triple:
    """Three values as a tuple that types know the length of."""
    first, second, third = values
    return first, second, third


def balanced(total: int, most: int) -> tuple[int, int, int]:
    """Cut `total` into the fewest parts of at most `most`, as equal as can be.

    Returns (parts, smaller, larger_parts): the first `larger_parts` have smaller + 1 elements.

    Examples
    --------
    >>> balanced(64, 6)  # 9 of 6 and 2 of 5: no narrow remainder that would waste registers
    (11, 5, 9)
    """
    parts = -(-total // most)
    return parts, total // parts, total % parts

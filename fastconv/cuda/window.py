"""Where a pixel's window lies, and which of its elements are inside the image.

Of these there is a bit for each depth, row and column of taps.
"""

from __future__ import annotations

from collections.abc import Callable

from numba.cuda.types import int32

from fastconv.cuda.inline import inlined
from fastconv.cuda.intrinsics import quotient
from fastconv.cuda.unroll import part
from fastconv.problem import ConvProblem

_BITS = 31  # the sign bit stays free


def most_places(problem: ConvProblem) -> int:
    """Return what the sizes of a kernel may add up to: one bit each, and one for each axis that is not there."""
    return _BITS - (3 - problem.rank)


def crowded(problem: ConvProblem) -> bool:
    """Whether a window has more depths, rows and columns than there are bits."""
    return sum(problem.kernel) > most_places(problem)


def _bits(*types: object) -> Callable[..., int]:
    def bits(before: int, first: int, taps: int, dilation: int, extent: int) -> int:
        found: int = int32(0)
        for i in range(taps):
            if first + i * dilation >= 0 and first + i * dilation < extent:
                found |= int32(1) << int32(before + i)
        return found

    return bits


#: ``bits(before, first, taps, dilation, extent)`` of an axis: bit ``before + i`` is whether tap i, which lies at
#: ``first + i * dilation``, is in an image of that extent.
bits = inlined(_bits)


def _needed(*types: object) -> Callable[..., int]:
    def needed(tap: int, kernel_depth: int, kernel_height: int, kernel_width: int) -> int:
        plane = tap // (kernel_width * kernel_height)
        row = tap // kernel_width % kernel_height
        in_row = tap % kernel_width
        found: int = int32(1) << int32(kernel_depth + kernel_height + in_row)
        found |= int32(1) << int32(kernel_depth + row)
        found |= int32(1) << int32(plane)
        return found

    return needed


#: ``needed(tap, kernel_depth, kernel_height, kernel_width)``: the bits that an element under a tap needs.
needed = inlined(_needed)


def _distance(*types: object) -> Callable[..., int]:
    def distance(
        tap: int,
        kernel_height: int,
        kernel_width: int,
        dilation_depth: int,
        dilation_height: int,
        dilation_width: int,
        height: int,
        width: int,
    ) -> int:
        plane = tap // (kernel_width * kernel_height)
        row = tap // kernel_width % kernel_height
        in_row = tap % kernel_width
        far: int = int32((plane * dilation_depth * height + row * dilation_height) * width + in_row * dilation_width)
        return far

    return distance


#: How many pixels an element under a tap lies behind the window's first one.
distance = inlined(_distance)


@part(results=4)
def corner(
    pixel: int,
    image_pixels: int,
    image_multiplier: int,
    image_shift: int,
    plane_pixels: int,
    plane_multiplier: int,
    plane_shift: int,
    row_pixels: int,
    row_multiplier: int,
    row_shift: int,
    stride_depth: int,
    stride_height: int,
    stride_width: int,
    padding_depth: int,
    padding_height: int,
    padding_width: int,
) -> tuple[int, int, int, int]:
    """Return a pixel's image, and the depth, row and column where its window begins."""
    image = quotient(pixel, image_multiplier, image_shift)
    rest = int32(pixel - image * image_pixels)
    plane = quotient(rest, plane_multiplier, plane_shift)
    rest = int32(rest - plane * plane_pixels)
    row = quotient(rest, row_multiplier, row_shift)
    d = int32(plane * stride_depth - padding_depth)
    h = int32(row * stride_height - padding_height)
    w = int32((rest - row * row_pixels) * stride_width - padding_width)
    return image, d, h, w


@part()
def shown(
    d: int,
    h: int,
    w: int,
    kernel_depth: int,
    kernel_height: int,
    kernel_width: int,
    dilation_depth: int,
    dilation_height: int,
    dilation_width: int,
    depth: int,
    height: int,
    width: int,
) -> int:
    """Return the bits of the depths, rows and columns of a window that are inside its image."""
    inside: int = bits(int32(0), d, kernel_depth, dilation_depth, depth)
    inside |= bits(kernel_depth, h, kernel_height, dilation_height, height)
    inside |= bits(int32(kernel_depth + kernel_height), w, kernel_width, dilation_width, width)
    return inside

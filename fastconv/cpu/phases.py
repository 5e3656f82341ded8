"""Phases: the places of a strided input that a tap reads one after the other, for every S-th output pixel of an axis.

Taps a multiple of the stride apart share a phase and read it from different places on; or each has one of its own.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from fastconv.cpu.blocking import SHORT_ROW, joints
from fastconv.cpu.geometry import Geometry, Ints, Triple

#: Filters from which copies of an input's columns pay, as each reads them.
FILTERS_WORTH_COPIES = 48


def apart(shape: Geometry, box: Triple, lanes: int) -> tuple[bool, bool, bool]:
    """Along which axes each tap is a phase of its own: where that takes less room, or fills vectors without joints.

    Of a strided input, three columns are hardly more than two phases, and then rows follow each other without a gap:
    layers of 17 to 26 pixels a row took 4 to 9 % less time. Five columns cost what they save. With a stride of 1 they
    are copies instead of the one there is: of rows that a cache line holds, layers took 3 to 8 % less time, and a core
    with a busy neighbour up to a quarter; of longer ones, whose taps no longer share lines, up to a fifth more.
    """
    axes = zip(box, shape.kernel, shape.stride, shape.dilation, strict=True)
    depth, rows, columns = (_taps_apart(*axis) for axis in axes)
    crossed = box[2] == shape.output[2] and joints(box[1], box[2], lanes) > 0
    strided, short = shape.stride[2] > 1, shape.output[2] <= SHORT_ROW
    few = 1 < shape.kernel[2] <= (shape.stride[2] + 1 if strided else 3 if short else 1)
    return depth, rows, columns or (crossed and few and shape.filters >= FILTERS_WORTH_COPIES)


def _taps_apart(pixels: int, taps: int, stride: int, dilation: int) -> bool:
    """Whether the windows of an axis's taps on so many pixels are fewer places, each for itself, than all together."""
    phases = min(taps, stride // math.gcd(stride, dilation))
    return taps * pixels < phases * (pixels + (taps - 1) * dilation // stride)


@lru_cache(maxsize=64)
def phases_of_taps(shape: Geometry, apart: tuple[bool, bool, bool]) -> tuple[Ints, Ints, Ints]:
    """The phases in use (each a first place an axis), each tap's phase among them, and its steps within the phase.

    Along an axis whose taps lie apart each has a phase to itself.
    """
    modulus = np.where(apart, shape.tap_positions.max() + 1, shape.stride)
    phases, phase_of_tap = np.unique(shape.tap_positions % modulus, axis=0, return_inverse=True)
    return phases, phase_of_tap.reshape(-1), shape.tap_positions // modulus

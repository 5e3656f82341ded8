"""Planes convolved by filters: what every filter of signals and images comes down to.

Images are (N, G, *spatial) and filters (G, K, *kernel), in the convention of networks: the K filters of group g are
correlated with plane g of every image, and the result is (N, G, K, *output). There may be any number of spatial axes;
those of a problem are 3 at most, and code is generated for two of them best. So axes along which nothing is summed
become images, or are merged.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fastconv.arguments import Pairs
from fastconv.call import convolve
from fastconv.problem import MAX_RANK
from fastconv.reference.padding import NUMPY_MODES

#: Columns of a plane that fill vectors: innermost axes with fewer, that are not filtered, become images.
LEAST_COLUMNS = 16


@dataclass(frozen=True, slots=True)
class Border:
    """What windows see beyond an image."""

    padding: Pairs  # elements (before, after) each axis
    mode: str = "zeros"  # of `fastconv.problem.PADDING_MODES`
    value: complex = 0  # with "zeros", the number that stands in their place

    def supplied(self, size: Sequence[int]) -> bool:
        """Whether a problem may have this padding, or the image must be padded first."""
        if self.mode in ("zeros", "replicate"):
            return self.value == 0
        most = 1 if self.mode == "reflect" else 0
        return all(max(pair) <= extent - most for pair, extent in zip(self.padding, size, strict=True))


@dataclass(frozen=True, slots=True)
class Choice:
    """How `fastconv.call.convolve` chooses the algorithm."""

    algorithm: str = "auto"
    tolerance: float | None = None


def correlate_planes(images: np.ndarray, filters: np.ndarray, border: Border, choice: Choice) -> np.ndarray:
    """Return (N, G, K, *output) of the common type, which a convolution of `fastconv` must have."""
    if not border.supplied(images.shape[2:]):
        images, border = padded(images, border), Border(((0, 0),) * len(border.padding))
    if 1 in filters.shape[2:] or len(border.padding) > MAX_RANK:
        return _rearranged(images, filters, border, choice)
    return _convolved(images, filters, border, choice)


def padded(images: np.ndarray, border: Border) -> np.ndarray:
    """Return images as large as their windows reach."""
    widths = ((0, 0), (0, 0), *border.padding)
    if border.mode == "zeros":
        value = border.value if images.dtype.kind == "c" else border.value.real
        return np.pad(images, widths, constant_values=value)
    return np.pad(images, widths, mode=NUMPY_MODES[border.mode])


def _convolved(images: np.ndarray, filters: np.ndarray, border: Border, choice: Choice) -> np.ndarray:
    """Convolve along at most 3 axes, as they are."""
    groups, each, *kernel = filters.shape
    rank = len(kernel)
    weight = filters.reshape(groups * each, 1, *kernel)
    (first, _), *_ = border.padding
    alike = border.padding == ((first, first),) * rank  # as one number it is the sooner found among earlier calls
    arguments = (1, first if alike else border.padding, 1, groups, border.mode, False, "channels_first", None)
    y = convolve(rank, images, weight, None, None, (*arguments, None, choice.algorithm, choice.tolerance), None)
    return y.reshape(len(images), groups, each, *y.shape[2:])


def _rearranged(images: np.ndarray, filters: np.ndarray, border: Border, choice: Choice) -> np.ndarray:
    """Convolve after axes that are not filtered were merged, or moved to where they cost least."""
    rank = len(border.padding)
    free = [size == 1 and pair == (0, 0) for size, pair in zip(filters.shape[2:], border.padding, strict=True)]
    batch, runs = _arrangement(images.shape[2:], free)
    if len(runs) > MAX_RANK:
        return _tap_by_tap(images, filters, border, choice)
    size, moved = images.shape[2:], [axis for run in batch for axis in run]
    spatial = [axis for run in runs for axis in run]
    order = (0, *[2 + axis for axis in moved], 1, *[2 + axis for axis in spatial])
    count, groups = len(images) * math.prod([size[axis] for axis in moved]), images.shape[1]
    merged_images = images.transpose(order).reshape(
        count, groups, *[math.prod([size[axis] for axis in run]) for run in runs]
    )
    merged_filters = filters.reshape(*filters.shape[:2], *[filters.shape[2 + run[-1]] for run in runs])
    merged_border = Border(tuple([border.padding[run[-1]] for run in runs]), border.mode)
    y = _convolved(merged_images, merged_filters, merged_border, choice)

    # Back: of a run of several axes, none was filtered, and each has its own size still.
    unmerged = [
        extent
        for place, run in enumerate(runs, 3)
        for extent in ([size[axis] for axis in run] if len(run) > 1 else y.shape[place : place + 1])
    ]
    y = y.reshape(len(images), *[size[axis] for axis in moved], *y.shape[1:3], *unmerged)
    channels = 1 + len(moved)
    place = {axis: 1 + i for i, axis in enumerate(moved)}
    place |= {axis: channels + 2 + i for i, axis in enumerate(spatial)}
    return y.transpose(0, channels, channels + 1, *[place[axis] for axis in range(rank)])


def _arrangement(size: Sequence[int], free: Sequence[bool]) -> tuple[list[list[int]], list[list[int]]]:
    """Return the runs of axes that become images, and those that stay spatial axes, each merged into one."""
    runs: list[list[int]] = []
    for axis, is_free in enumerate(free):
        if is_free and runs and free[runs[-1][0]]:
            runs[-1].append(axis)
        else:
            runs.append([axis])

    def becomes_images(run: list[int]) -> bool:
        if not free[run[0]] or len(runs) == 1:
            return False
        narrow = run is runs[-1] and math.prod([size[axis] for axis in run]) < LEAST_COLUMNS
        return narrow or len(runs) > MAX_RANK or (run is runs[0] and len(runs) == MAX_RANK)

    batch = [run for run in runs if becomes_images(run)]
    rest = [run for run in runs if run not in batch]
    if len(rest) == 1:  # rows side by side are planes, which fill a register tile; images of one row do not
        return [], [[axis for run in batch for axis in run], *rest] if batch else rest
    return batch, rest


def _tap_by_tap(images: np.ndarray, filters: np.ndarray, border: Border, choice: Choice) -> np.ndarray:
    """Sum convolutions along all axes but the first that is filtered: a problem has 3 at most."""
    images, rest = padded(images, border), Border(((0, 0),) * len(border.padding))
    axis = next(axis for axis in range(2, filters.ndim) if filters.shape[axis] > 1)
    outputs = images.shape[axis] - filters.shape[axis] + 1
    total: np.ndarray | None = None
    for tap in range(filters.shape[axis]):
        place = (slice(None),) * axis
        part = correlate_planes(
            images[(*place, slice(tap, tap + outputs))], filters[(*place, slice(tap, tap + 1))], rest, choice
        )
        total = part if total is None else np.add(total, part, out=total)
    assert total is not None
    return total

"""Areas of the output that see fewer taps: near a padded border, the others meet nothing but zeros.

Of a kernel of 3 x 3 with a dilation of 36 on 65 x 65 pixels, most pixels see 4 taps and some a single one. The output
is cut along its axes where that saves more than it costs; each area is a convolution of its own, with a smaller kernel,
on the input from some corner on.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

import numpy as np

from fastconv.cpu.geometry import Geometry, Ints, Triple, triple

#: Share of the work along an axis that a cut must save: weights are read again for each area.
LEAST_SHARE = 1 / 20

#: Products that it must save: an area takes some microseconds to begin.
LEAST_PRODUCTS = 1_000_000

#: Places where an axis may be cut; of more, as for a kernel of hundreds of taps, some are considered.
MOST_PLACES = 32


@dataclass(frozen=True)
class Area:
    """A part of the output."""

    first: Triple  # its first pixel
    shape: Geometry  # the convolution that it is
    first_tap: Triple  # of the whole kernel, in the order of the weights
    kernel: Triple  # the whole one

    @property
    def taps(self) -> Ints:
        """The numbers of its taps in the whole kernel."""
        axes = [np.arange(f, f + k) for f, k in zip(self.first_tap, self.shape.kernel, strict=True)]
        numbers: Ints = np.ravel_multi_index(np.meshgrid(*axes, indexing="ij"), self.kernel).ravel()
        return numbers


@dataclass(frozen=True)
class _Segment:
    """Pixels along one axis, and the taps that one of them or more sees; ends are excluded."""

    begin: int
    end: int
    first_tap: int
    last_tap: int


@lru_cache(maxsize=256)
def areas(shape: Geometry, lanes: int) -> tuple[Area, ...]:
    """Return the areas to compute; `lanes` pixels of a row are computed at once."""
    if not shape.padded or shape.padding_mode != "zeros":
        return whole(shape)
    products = shape.channels * shape.filters * shape.pixels * shape.taps
    least = max(LEAST_SHARE, LEAST_PRODUCTS / max(1, products))
    axes = [_segments(shape, axis, lanes if axis == 2 else 1, least) for axis in range(3)]
    return tuple(_area(shape, segments) for segments in product(*axes))


def whole(shape: Geometry) -> tuple[Area, ...]:
    """Return the output as one area."""
    return (Area((0, 0, 0), shape, (0, 0, 0), shape.kernel),)


def _segments(shape: Geometry, axis: int, lanes: int, least: float) -> list[_Segment]:
    """The cheapest cut of one axis: shortest path over the places where the taps in sight change."""
    output, kernel = shape.output[axis], shape.kernel[axis]
    before, dilation = shape.padding[axis][0], shape.dilation[axis]
    corner = np.arange(output) * shape.stride[axis] - before
    # tap t reads place corner + t * dilation, which the input has from 0 to size - 1
    first = np.clip(-(corner // dilation), 0, kernel - 1)
    last = np.clip((shape.size[axis] - 1 - corner) // dilation + 1, first + 1, kernel)
    changes = np.flatnonzero(np.diff(first) | np.diff(last)) + 1
    places = [0, *changes[:: -(-len(changes) // MOST_PLACES) or 1].tolist(), output]
    firsts, lasts = np.minimum.reduceat(first, places[:-1]), np.maximum.reduceat(last, places[:-1])  # between places
    penalty = least * -(-output // lanes) * kernel
    best: list[tuple[float, int]] = [(0.0, 0)]  # up to each place: the cost, and where the last segment begins
    for j in range(1, len(places)):
        costs = []
        for i in range(j):
            pixels = places[j] - places[i]
            vectors = pixels / lanes if pixels == output else -(-pixels // lanes)  # whole rows may be joined
            taps = lasts[i:j].max() - firsts[i:j].min()
            costs.append(best[i][0] + penalty + vectors * taps)
        i = int(np.argmin(costs))
        best.append((float(costs[i]), i))
    segments = []
    j = len(places) - 1
    while j > 0:
        i = best[j][1]
        segments.append(_Segment(places[i], places[j], int(firsts[i:j].min()), int(lasts[i:j].max())))
        j = i
    return segments[::-1]


def _area(shape: Geometry, segments: tuple[_Segment, ...]) -> Area:
    kernel = [s.last_tap - s.first_tap for s in segments]
    corner = [
        c + s.begin * step + s.first_tap * dilation
        for c, s, step, dilation in zip(shape.corner, segments, shape.stride, shape.dilation, strict=True)
    ]
    # a flipped kernel lies in the weights from its end on
    first_tap = [k - s.last_tap if shape.flip else s.first_tap for k, s in zip(shape.kernel, segments, strict=True)]
    own = dataclasses.replace(
        shape,
        output=triple([s.end - s.begin for s in segments]),
        kernel=triple(kernel),
        corner=triple(corner),
    )
    return Area(triple([s.begin for s in segments]), own, triple(first_tap), shape.kernel)

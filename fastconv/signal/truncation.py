"""Filters with fractional weights and an integer result, which is cut off towards zero as `scipy.ndimage` does.

Where a sum lies within rounding of a whole number, which side of it decides: a mean of nine equal pixels may come out
as one less than the pixel. SciPy sums in float64, one tap after the other, and rounds each product. Sums by fused
multiply-adds in another order differ in their last digits, so those few that lie so close are summed again as SciPy
does.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from fastconv.reference.padding import NUMPY_MODES
from fastconv.signal.numbers import FLOAT64, correlate_sums, correlate_whole, largest_sum, wrapped
from fastconv.signal.planes import Border, Choice

#: Weights that are whole numbers after multiplication by one of these have exact sums, in any order.
SCALES = (1.0, 2.0**8, 2.0**16)

#: Offsets that share a weight, and the sign of each but the first.
Term = tuple[float, tuple[tuple[int, ...], ...], int]


def correlate_truncated(
    image: np.ndarray,
    weights: np.ndarray,
    border: Border,
    result: np.dtype[np.generic],
    choice: Choice,
    folded: bool,
) -> np.ndarray:
    """Return the correlation of an image and float64 weights, cut off to the integers of `result`.

    With `folded`, symmetric weights of one dimension are summed in pairs, as SciPy's one-dimensional filters do.
    """
    images, filters = image[None, None], weights[None, None]
    scale = _scale(image, weights, border)
    reach = largest_sum(images, filters, border)
    if scale is not None and (scale == 1 or reach * scale < 2.0**53):
        y, reach = correlate_whole(images, filters * scale, border, choice)
        y = y[0, 0, 0]
        return wrapped(y if scale == 1 else np.trunc(y / y.dtype.type(scale)), reach / scale, result)
    y = correlate_sums(images.astype(FLOAT64, copy=False), filters, border, choice)[0, 0, 0]
    # Twice what n products and sums can err by, each by half a unit in the last place of at most `reach`.
    error = 2 * (weights.size + 2) * np.finfo(np.float64).eps * reach
    nearest = np.rint(y)
    close = np.nonzero((np.abs(y - nearest) <= error) & (nearest != 0))
    if close[0].size:
        y[close] = _summed_in_order(image, weights, border, close, folded)
    return wrapped(y, reach, result)


def _scale(image: np.ndarray, weights: np.ndarray, border: Border) -> float | None:
    """Return what makes all weights whole, None unless something does and the image is whole, too."""
    if image.dtype.kind not in "biu" or border.value != np.trunc(border.value.real):
        return None
    if not np.isfinite(weights).all():
        return None
    return next((scale for scale in SCALES if np.all(weights * scale == np.trunc(weights * scale))), None)


def _summed_in_order(
    image: np.ndarray, weights: np.ndarray, border: Border, places: tuple[np.ndarray, ...], folded: bool
) -> np.ndarray:
    """Return the sums at some places of the result, product by product."""
    beyond = image.size  # a position for what lies around, where that is a constant
    flat = np.append(image.ravel().astype(np.float64), border.value.real)
    sources = [_sources(size, pair, border.mode) for size, pair in zip(image.shape, border.padding, strict=True)]
    strides = [int(np.prod(image.shape[axis + 1 :])) for axis in range(image.ndim)]

    def seen(tap: tuple[int, ...]) -> np.ndarray:
        along = [source[place + offset] for source, place, offset in zip(sources, places, tap, strict=True)]
        position = sum(index * stride for index, stride in zip(along, strides, strict=True))
        outside = np.logical_or.reduce([index < 0 for index in along])
        return flat[np.where(outside, beyond, position)]

    total = np.zeros(len(places[0]))
    for weight, (first, *others), sign in _terms(weights, folded):
        number = seen(first)
        for other in others:
            number = number + sign * seen(other)
        total += number * weight
    return total


def _sources(size: int, pair: tuple[int, int], mode: str) -> np.ndarray:
    """Return the position that each position of a padded axis shows, -1 for a constant."""
    if mode == "zeros":
        return np.pad(np.arange(size), pair, constant_values=-1)
    return np.pad(np.arange(size), pair, mode=NUMPY_MODES[mode])


def _terms(weights: np.ndarray, folded: bool) -> Iterator[Term]:
    """Yield weights in the order of their sum, with the taps that share them."""
    taps = list(itertools.product(*[range(size) for size in weights.shape]))
    line = weights.ravel()
    if not folded:
        yield from ((float(weight), (tap,), 1) for weight, tap in zip(line, taps, strict=True))
        return
    half, odd, tiny = len(line) // 2, len(line) % 2 == 1, np.finfo(np.float64).eps
    for sign in (1, -1):
        if odd and np.all(np.abs(line - sign * line[::-1])[:half] <= tiny):
            yield float(line[half]), (taps[half],), 1
            yield from ((float(line[i]), (taps[i], taps[-1 - i]), sign) for i in range(half))
            return
    last = len(line) - 1
    yield from ((float(line[i]), (taps[i],), 1) for i in (last, *range(last)))

"""Filters with fractional weights and an integer result, which is cut off towards zero as `scipy.ndimage` does.

Where a sum lies within rounding of a whole number, which side of it decides: a mean of nine equal pixels may come out
as one less than the pixel. SciPy sums in float64, one tap after the other, and rounds each product. Sums by fused
multiply-adds in another order differ in their last digits, so those few that lie so close are summed again as SciPy
does.
"""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Iterator
from functools import cached_property

import numpy as np

from fastconv.signal.numbers import EXACT_BELOW, FLOAT64, correlate_sums, correlate_whole, largest_sum, wrapped
from fastconv.signal.planes import Border, Choice, padded

#: Weights that are whole numbers after multiplication by one of these have exact sums, in any order.
SCALES = (1.0, 2.0**8, 2.0**16)

#: Results that are looked at together: their temporaries stay in the cache.
BLOCK = 1 << 15

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
    if scale == 1 or (scale is not None and largest_sum(images, filters * scale, border) < EXACT_BELOW[-1][1]):
        y, reach = correlate_whole(images, filters * scale, border, choice)
        y = y.reshape(y.shape[3:])
        return wrapped(y if scale == 1 else np.trunc(y / y.dtype.type(scale)), reach / scale, result)
    reach = largest_sum(images, filters, border)
    y = correlate_sums(images.astype(FLOAT64, copy=False), filters, border, choice)[0, 0, 0]
    # Twice what n products and sums can err by, each by half a unit in the last place of at most `reach`.
    error = 2 * (weights.size + 2) * np.finfo(np.float64).eps * reach
    return _cut_off(y, error, reach, result, _Sums(image, weights, border, folded))


def _cut_off(y: np.ndarray, error: float, reach: float, result: np.dtype[np.generic], sums: _Sums) -> np.ndarray:
    """Return sums as integers, block by block; those within `error` of a whole number are summed again."""
    whole = np.empty(y.shape, result)
    flat, flat_whole = y.reshape(-1), whole.reshape(-1)
    for start in range(0, flat.size, BLOCK):
        block = flat[start : start + BLOCK]
        above = block + error
        below = np.floor(above)
        above -= below
        close = np.flatnonzero((above <= 2 * error) & (below != 0))  # both sides of 0 become 0
        if close.size:
            block[close] = sums.at(np.unravel_index(close + start, y.shape))
        flat_whole[start : start + BLOCK] = wrapped(block, reach, result)
    return whole


class _Sums:
    """Sums in SciPy's order."""

    def __init__(self, image: np.ndarray, weights: np.ndarray, border: Border, folded: bool) -> None:
        self._arguments = image, weights, border, folded

    @cached_property
    def _padded(self) -> np.ndarray:
        """The image and what lies around it; most images are never asked for it."""
        image, _, border, _ = self._arguments
        numbers = image if border.value == 0 else image.astype(np.float64)
        around = padded(numbers[None, None], border)
        return around.reshape(around.shape[2:])

    @cached_property
    def _flat_terms(self) -> list[tuple[float, list[int], int]]:
        """Terms with positions in the padded image, from a sum's first tap."""
        _, weights, _, folded = self._arguments
        strides = [math.prod(self._padded.shape[axis + 1 :]) for axis in range(weights.ndim)]
        return [
            (weight, [sum(map(operator.mul, tap, strides)) for tap in taps], sign)
            for weight, taps, sign in _terms(weights, folded)
        ]

    def at(self, places: tuple[np.ndarray, ...]) -> np.ndarray:
        """Return the sums at some places of the result, product by product."""
        first = np.ravel_multi_index(places, self._padded.shape)
        flat = self._padded.reshape(-1)
        total = np.zeros(len(first))
        for weight, (tap, *others), sign in self._flat_terms:
            number = flat[tap:].take(first).astype(np.float64, copy=False)
            for other in others:
                number += sign * flat[other:].take(first).astype(np.float64, copy=False)
            number *= weight
            total += number
        return total


def _scale(image: np.ndarray, weights: np.ndarray, border: Border) -> float | None:
    """Return what makes all weights whole, None unless something does and the image is whole, too."""
    if image.dtype.kind not in "biu" or not float(border.value.real).is_integer() or not np.isfinite(weights).all():
        return None
    return next((scale for scale in SCALES if (weights * scale == np.trunc(weights * scale)).all()), None)


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

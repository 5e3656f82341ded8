"""Which numbers a filter computes with: floats, complex numbers as pairs of planes, and integers exactly.

Kernels compute float32 and float64. Sums of products of whole numbers are exact in those as long as none exceeds the
digits, and what the data at hand can reach at most is cheap to know. Beyond that there is the int64 of the reference,
which refuses what might not fit.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np

from fastconv.errors import UnsupportedError
from fastconv.signal.planes import Border, Choice, correlate_planes, padded

FLOAT32, FLOAT64, INT64 = np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.int64)

#: Floats that hold every whole number up to a limit, which sums have to stay below. The narrow ones are faster.
EXACT_BELOW = ((FLOAT32, 2.0**24), (FLOAT64, 2.0**53))

#: Algorithms that multiply and add, and nothing else: of whole numbers, they round none that fits.
SUMS = ("depthwise", "direct", "im2col")


def check_number(dtype: np.dtype[np.generic], name: str) -> None:
    """Raise TypeError unless arrays of `dtype` can be filtered."""
    widest = {"b": 1, "i": 8, "u": 8, "f": 8, "c": 16}.get(dtype.kind, 0)
    if dtype.itemsize > widest:
        raise TypeError(f"{name} must hold bools, integers, or floats or complex numbers of 64-bit parts, got {dtype}")


def correlate_numbers(
    images: np.ndarray, filters: np.ndarray, border: Border, result: np.dtype[np.generic], choice: Choice
) -> np.ndarray:
    """Return (N, G, K, *output) in `result`, the common type of both arrays or wider."""
    if result.kind == "c":
        return _complex(images, filters, border, result, choice)
    if result.kind == "f":
        work = FLOAT64 if result.itemsize == 8 else FLOAT32
        y = correlate_planes(images.astype(work, copy=False), filters.astype(work, copy=False), border, choice)
        return rounded(y, result)
    y, reach = correlate_whole(images, filters, border, choice)
    return wrapped(y, reach, result)


def rounded(y: np.ndarray, result: np.dtype[np.generic]) -> np.ndarray:
    """Return floats as narrower ones."""
    if y.dtype == result:
        return y
    with np.errstate(over="ignore"):
        return y.astype(result)


def _complex(
    images: np.ndarray, filters: np.ndarray, border: Border, result: np.dtype[np.generic], choice: Choice
) -> np.ndarray:
    """Convolve real and imaginary parts in one call, as images and as filters: (a + bi)(c + di) by four products."""
    work = FLOAT64 if result.itemsize == 16 else FLOAT32
    if images.dtype.kind == "c" and border.value != 0:
        images, border = padded(images, border), Border(((0, 0),) * len(border.padding))
    image_parts, filter_parts = _parts(images), _parts(filters)
    stacked = np.concatenate([part.astype(work, copy=False) for part in image_parts])
    bank = np.concatenate([part.astype(work, copy=False) for part in filter_parts], axis=1)
    y = correlate_planes(stacked, bank, border, choice)
    count, each = len(images), filters.shape[1]
    result_array = np.empty((count, y.shape[1], each, *y.shape[3:]), result)
    real, imaginary = result_array.real, result_array.imag
    first, second = y[:count, :, :each], y[count:, :, :each]
    if len(filter_parts) == 1:
        real[...], imaginary[...] = first, second
    elif len(image_parts) == 1:
        real[...], imaginary[...] = first, y[:, :, each:]
    else:
        np.subtract(first, y[count:, :, each:], out=real)
        np.add(second, y[:count, :, each:], out=imaginary)
    return result_array


def _parts(array: np.ndarray) -> list[np.ndarray]:
    return [array.real, array.imag] if array.dtype.kind == "c" else [array]


def correlate_whole(
    images: np.ndarray, filters: np.ndarray, border: Border, choice: Choice
) -> tuple[np.ndarray, float]:
    """Return the exact result for whole numbers, in a type that holds it, and what it can reach at most."""
    reach = largest_sum(images, filters, border)
    for work, limit in EXACT_BELOW:
        if reach < limit and choice.algorithm != "reference":
            whole = images.astype(work, copy=False), filters.astype(work, copy=False)
            return correlate_sums(*whole, border, choice), reach
    exact = [_as_int64(array) for array in (images, filters)]
    return correlate_planes(exact[0], exact[1], border, Choice("reference", choice.tolerance)), reach


def largest_sum(images: np.ndarray, filters: np.ndarray, border: Border) -> float:
    """Return what no sum of products exceeds: the largest number times the largest filter's absolute sum."""
    weights = np.abs(filters.astype(np.float64)).sum(axis=tuple(range(2, filters.ndim))).max()
    if images.dtype.kind in "iu" and images.dtype.itemsize <= 2:
        largest = float(limits(images.dtype)[1]) + 1  # whatever the data: no need to look
        if max(largest, abs(border.value)) * weights < EXACT_BELOW[0][1]:
            return float(max(largest, abs(border.value)) * weights)
    return float(max(_largest(images), abs(border.value)) * weights)


def _largest(array: np.ndarray) -> float:
    if array.dtype.kind == "b":
        return 1.0
    low, high = float(array.min()), float(array.max())
    return math.nan if math.isnan(low) else max(-low, high)


def correlate_sums(images: np.ndarray, filters: np.ndarray, border: Border, choice: Choice) -> np.ndarray:
    """Convolve by an algorithm that does nothing but sum products."""
    if choice.algorithm == "auto":
        try:
            return correlate_planes(images, filters, border, Choice(SUMS[0], choice.tolerance))
        except UnsupportedError:  # more taps than it sums in one register
            return correlate_planes(images, filters, border, Choice(SUMS[1], choice.tolerance))
    if choice.algorithm not in SUMS:
        from fastconv.selection import algorithm

        named = algorithm(choice.algorithm).name  # refuses what is no name
        raise UnsupportedError(f"algorithm {named!r} does not compute integers exactly: {', '.join(SUMS)} do")
    return correlate_planes(images, filters, border, choice)


def _as_int64(array: np.ndarray) -> np.ndarray:
    if array.dtype == np.uint64 and array.max() > np.iinfo(np.int64).max:
        raise OverflowError(f"integers must fit in int64, got {array.max()}")
    return array.astype(np.int64, copy=False)


def wrapped(y: np.ndarray, reach: float, result: np.dtype[np.generic]) -> np.ndarray:
    """Return whole numbers in an integer type, modulo its size where they exceed it; bools say which are not 0."""
    if result.kind == "b":
        return y.astype(np.bool_)
    lowest, highest = limits(result)
    with np.errstate(invalid="ignore"):  # NaN has no meaning as an integer, and needs no warning
        if y.dtype.kind == "f" and highest > limits(INT64)[1] and not reach <= limits(INT64)[1]:
            return np.where(y < 0, y.astype(np.int64).astype(result), y.astype(result))
        if y.dtype != result and not (lowest < 0 and reach <= highest):
            y = y.astype(np.int64, copy=False)  # a float beyond the limits has no meaning as a narrow integer
        return y.astype(result, copy=False)


@cache
def limits(integers: np.dtype[np.generic]) -> tuple[int, int]:
    """Return the least and the largest number of an integer type."""
    info = np.iinfo(integers.name)
    return int(info.min), int(info.max)

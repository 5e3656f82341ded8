"""Kernels of rank one: w[r, s] = column[r] * row[s], as far as rounding allows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from fastconv.algorithm import Array

#: What may be left of a kernel, relative to its 2-norm: the type's precision times this. A product of two factors that
#: was rounded once or twice leaves less than one.
ROUNDINGS = 16

#: Squared 2-norm of kernels whose minors are looked at: below, products of elements may be no normal numbers.
LEAST_NORM = 1e-30

#: Bytes of weights that are recognised when they come again, and how many.
MOST_BYTES, MOST_KNOWN = 1 << 16, 64


@dataclass(frozen=True)
class Factors:
    """Of all kernels, C-contiguous and of the weights' type: K x kernel height, and K x kernel width."""

    columns: Array
    rows: Array


@cache
def limit(dtype: str) -> float:
    """Return the largest 2-norm of what is left, relative to that of the kernel."""
    return ROUNDINGS * float(np.finfo(dtype).eps)


def factors(weight: Array) -> Factors | str:
    """Return the factors of kernels, shape (K, 1, height, width), or why there are none.

    A kernel of rank one is the product of the column and the row that meet in its largest element, over that element:
    a cross approximation, whose error is a few roundings where a singular value decomposition would find no more.
    """
    if weight.nbytes > MOST_BYTES:
        return _obvious(weight) or _factors(weight)
    key = weight.tobytes(), weight.shape, weight.dtype
    found = _known.get(key)
    if found is None:
        found = _obvious(weight) or _factors(weight)
        if len(_known) >= MOST_KNOWN:
            _known.clear()
        _known[key] = found
    return found


#: What was found for weights, by their bytes, shape and type.
_known: dict[tuple[bytes, tuple[int, ...], np.dtype[np.generic]], Factors | str] = {}


def clear() -> None:
    """Forget what was recognised."""
    _known.clear()


def _obvious(weight: Array) -> str | None:
    """Look at one minor of the first kernel: most that are not of rank one are found so in a microsecond.

    In a kernel that is off by at most e |w| from one of rank one, no minor of two rows and two columns is greater than
    some 4 e |w|^2.
    """
    kernel = weight[0, 0]
    height, width = kernel.shape
    i, j = height // 2, width // 2
    minor = abs(kernel.item(0, 0) * kernel.item(i, j) - kernel.item(0, j) * kernel.item(i, 0))
    norm = float(np.vdot(kernel, kernel))
    if norm > LEAST_NORM and minor > 8 * limit(weight.dtype.name) * norm:
        return f"kernel 0 is not of rank one: a minor of it is {minor / norm:.2g} of its norm squared"
    return None


def _factors(weight: Array) -> Factors | str:
    count, _, height, width = weight.shape
    kernels = weight.reshape(count, height, width).astype(np.float64)
    every = np.arange(count)
    with np.errstate(all="ignore"):
        r, s = np.divmod(np.abs(kernels).reshape(count, -1).argmax(axis=1), width)
        largest = kernels[every, r, s][:, np.newaxis]
        rows = kernels[every, r] / np.where(largest == 0, 1, largest)
        found = Factors(
            np.ascontiguousarray(kernels[every, :, s], weight.dtype), np.ascontiguousarray(rows, weight.dtype)
        )
        # in units of the largest element, whose square may be out of range
        unit = np.where(largest == 0, 1, largest)[:, :, np.newaxis]
        columns = found.columns[:, :, np.newaxis] / unit
        left = np.linalg.norm(kernels / unit - columns * found.rows[:, np.newaxis], axis=(1, 2))
        whole = np.linalg.norm(kernels / unit, axis=(1, 2))
        wrong = np.flatnonzero(~(left <= limit(weight.dtype.name) * whole))  # a NaN is wrong, too
        if len(wrong):
            k = int(wrong[0])
            share = f"{left[k] / whole[k]:.2g} of its norm is left, {limit(weight.dtype.name):.2g} at most may be"
            return f"kernel {k} is not of rank one: {share}"
    return found

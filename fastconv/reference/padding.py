"""Padding: an input made larger at its borders, and the adjoint, which folds the borders back."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from fastconv.arguments import Padding, Pairs, check_padding_mode, one_of, padding_pairs
from fastconv.problem import PADDING_MODES
from fastconv.reference._arrays import (
    from_channels_first,
    native,
    planes,
    spatial_pads,
)

# NumPy's names for these modes; pad's docstring has the table.
NUMPY_MODES: dict[str, Literal["reflect", "edge", "wrap", "symmetric"]] = {
    "reflect": "reflect",
    "replicate": "edge",
    "circular": "wrap",
    "symmetric": "symmetric",
}


def pad(
    x: npt.ArrayLike, padding: Padding, mode: str = "zeros", *, layout: str = "channels_first"
) -> np.ndarray:
    """Return `x` with its spatial axes made larger.

    Along each axis, with the padding (before, after) and ``0 <= i < before + W + after``::

        padded[i] = x[source(i - before)]

    where the mode says which element of the input a position outside of it shows:

    ============= ====================== ================== =================
    mode          padding 2 of a b c d   ``np.pad``         ``scipy.ndimage``
    ============= ====================== ================== =================
    ``zeros``     0 0 a b c d 0 0        ``constant``       ``constant``
    ``reflect``   c b a b c d c b        ``reflect``        ``mirror``
    ``replicate`` a a a b c d d d        ``edge``           ``nearest``
    ``circular``  c d a b c d a b        ``wrap``           ``grid-wrap``
    ``symmetric`` b a a b c d d c        ``symmetric``      ``reflect``
    ============= ====================== ================== =================

    Parameters
    ----------
    x : array_like
        (N, C, *spatial), or (N, *spatial, C) with ``layout="channels_last"``.
    padding : int or sequence
        An int, one int an axis, or one (before, after) pair an axis.
    mode : str, optional
        One of ``fastconv.problem.PADDING_MODES``.
    layout : str, optional
        Where the channel axis is.

    Returns
    -------
    ndarray
        Of the same data type.

    Raises
    ------
    TypeError
        If an argument is of a wrong kind.
    ValueError
        If a mode would need more of the input than there is: ``reflect`` can supply W - 1
        elements, ``circular`` and ``symmetric`` W.

    Examples
    --------
    >>> pad([[[1, 2, 3]]], 2, "reflect")
    array([[[3, 2, 1, 2, 3, 2, 1]]])
    >>> pad([[[1, 2, 3]]], [(1, 2)], "circular")
    array([[[3, 1, 2, 3, 1, 2]]])
    """
    one_of(mode, PADDING_MODES, "mode")
    first = planes(native(x, "x"), "x", layout)
    size = first.shape[2:]
    ones = (1,) * len(size)
    pairs = padding_pairs(padding, len(size), size, ones, ones, ones)
    check_padding_mode(mode, pairs, size)
    return from_channels_first(pad_planes(first, pairs, mode), layout)


def pad_planes(array: np.ndarray, padding: Pairs, mode: str) -> np.ndarray:
    """Return an array padded on its last axes, nothing checked."""
    if mode == "zeros":
        return np.pad(array, spatial_pads(array, padding))
    for axis, pair in enumerate(padding, array.ndim - len(padding)):
        array = np.take(array, _sources(array.shape[axis], pair, mode), axis=axis)
    return array


def fold_planes(gradient: np.ndarray, padding: Pairs, mode: str) -> np.ndarray:
    """Return the adjoint of :func:`pad_planes`: each border element goes back to its source.

    Padding reads ``padded[i] = x[source(i)]``, so the gradient of x[j] is the sum of gradient[i]
    over all i with source(i) = j. Zeros come from nowhere: with them the border falls away.
    """
    for axis, pair in enumerate(padding, gradient.ndim - len(padding)):
        size = gradient.shape[axis] - sum(pair)
        first = np.moveaxis(gradient, axis, 0)
        middle = first[pair[0] : pair[0] + size]
        if mode != "zeros":
            middle = middle.copy()
            for i, source in enumerate(_sources(size, pair, mode)):
                if not pair[0] <= i < pair[0] + size:
                    middle[source] += first[i]
        gradient = np.moveaxis(middle, 0, axis)
    return gradient


def _sources(size: int, pair: tuple[int, int], mode: str) -> np.ndarray:
    """Return the position in the input that each position of one padded axis shows."""
    return np.pad(np.arange(size), pair, mode=NUMPY_MODES[mode])

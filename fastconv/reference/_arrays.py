"""What every operation of the reference does to its arrays: types, layouts, windows, exactness.

Inside the reference an array is (N, C, *spatial), float64 or int64; a caller's is whatever its
layout and data type say. These functions lie between the two.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import EllipsisType
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from fastconv.arguments import MAX_INT64, Pairs, check_same_kind, dtype_name, is_floating, native_dtype, one_of
from fastconv.problem import LAYOUTS, image_shape

Index: TypeAlias = tuple[EllipsisType | slice | int, ...]


def native(value: npt.ArrayLike, name: str) -> np.ndarray:
    """Return an array of a supported type in the machine's byte order; TypeError otherwise."""
    array = np.asarray(value)
    return array.astype(native_dtype(dtype_name(array.dtype, f"{name}.dtype")), copy=False)


def accumulator(dtype: npt.DTypeLike) -> np.dtype:
    """Return the type that sums of `dtype` are kept in: float64 or int64."""
    return np.dtype(np.float64 if is_floating(dtype) else np.int64)


def operand(value: npt.ArrayLike, name: str, shape: tuple[int, ...], into: np.dtype) -> np.ndarray:
    """Return `value` as an array of the type `into`, after checking its shape and its kind.

    Raises
    ------
    TypeError
        If integers meet floats: neither is ever silently turned into the other.
    ValueError
        If the shape is another one.
    """
    array = native(value, name)
    check_same_kind(array.dtype, into, name)
    if array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {array.shape}")
    return array.astype(into, copy=False)


def floating(value: npt.ArrayLike, name: str) -> np.ndarray:
    """Return `value` in float64; integers raise TypeError, for the result would be no integer."""
    array = native(value, name)
    return operand(array, name, array.shape, np.dtype(np.float64))


def to_channels_first(array: np.ndarray, layout: str) -> np.ndarray:
    """Return a view of (N, *spatial, C) as (N, C, *spatial), or what already is one."""
    one_of(layout, LAYOUTS, "layout")
    return array if layout == "channels_first" else np.moveaxis(array, -1, 1)


def from_channels_first(array: np.ndarray, layout: str) -> np.ndarray:
    """Return (N, C, *spatial) in the caller's layout, contiguous in memory."""
    return np.ascontiguousarray(array if layout == "channels_first" else np.moveaxis(array, 1, -1))


def planes(array: np.ndarray, name: str, layout: str) -> np.ndarray:
    """Return a batch of images or volumes as (N, C, *spatial), after checking its sizes."""
    image_shape(array.shape, name, layout)
    return to_channels_first(array, layout)


def spatial_pads(array: np.ndarray, padding: Pairs) -> list[tuple[int, int]]:
    """Return np.pad's widths for an array whose last axes are the spatial ones."""
    return [(0, 0)] * (array.ndim - len(padding)) + list(padding)


def window_elements(
    tap: Sequence[int], output_size: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> Index:
    """Return the index, of the padded input, that takes element `tap` of every window.

    The window of output o begins at o * S, and its element t lies D * t further on: for all o at
    once that is a slice from D * t with the step S. There is one for each of the last axes, and
    every operation here is a loop over the taps of the kernel with such an index in it.

    Examples
    --------
    >>> np.arange(8)[window_elements((1,), (3,), stride=(2,), dilation=(3,))]  # 3 + 2 * o
    array([3, 5, 7])
    """
    axes = zip(tap, output_size, stride, dilation, strict=True)
    return (..., *(slice(t * d, t * d + (o - 1) * s + 1, s) for t, o, s, d in axes))


def largest(array: np.ndarray) -> int:
    """Return the largest magnitude in an integer array as a Python int, which cannot overflow."""
    return max(abs(int(array.max(initial=0))), abs(int(array.min(initial=0))))


def check_exact(factors: Sequence[np.ndarray], terms: int, *addends: np.ndarray | None) -> None:
    """Raise OverflowError unless sums of `terms` products surely fit in int64.

    Sums of floats pass: they round, and that is what floats do.

    Parameters
    ----------
    factors : sequence of ndarray
        One element of each is multiplied together in a term.
    terms : int
        Terms in a sum.
    *addends : ndarray or None
        Added to the sum.
    """
    if factors[0].dtype.kind == "f":
        return
    bound = terms * math.prod(largest(factor) for factor in factors)
    bound += sum(largest(addend) for addend in addends if addend is not None)
    if bound > MAX_INT64:
        raise OverflowError(
            f"integers must give a result that surely fits in int64: {terms} products and what is "
            f"added to them can reach {bound}, and 2**63 - 1 is the largest int64"
        )


def positive_number(value: object, name: str) -> float:
    """Return a real number that is more than 0, infinity included, as a float."""
    if not isinstance(value, int | float | np.integer | np.floating) or isinstance(value, bool):
        raise TypeError(f"{name} must be a real number, got {value!r}")
    if not value > 0:
        raise ValueError(f"{name} must be positive, got {value!r}")
    return float(value)


def positions_in_plane(
    indices: npt.ArrayLike, shape: tuple[int, ...], size: Sequence[int], layout: str
) -> np.ndarray:
    """Return the indices of a max pooling as one row a plane, (N * C, outputs), checked.

    Parameters
    ----------
    indices : array_like of int
        In the caller's layout.
    shape : tuple of int
        What they must have: the shape of the pooled array.
    size : sequence of int
        The plane's. An index is -1, for no element, or less than the plane's elements.
    layout : str
        Where the channel axis is.
    """
    array = operand(indices, "indices", shape, np.dtype(np.int64))
    elements = math.prod(size)
    if array.size and (array.min() < -1 or array.max() >= elements):
        raise ValueError(
            f"indices must be from -1 to {elements - 1}, the last of a plane of size "
            f"{tuple(size)}, got {array.min()} to {array.max()}"
        )
    first = to_channels_first(array, layout)
    return first.reshape(math.prod(first.shape[:2]), math.prod(first.shape[2:]))


def check_layout_shape(
    array: np.ndarray, name: str, size: Sequence[int], leading: Sequence[int] = ()
) -> None:
    """Raise ValueError unless (N, C, *spatial) has this spatial size, and begins with `leading`."""
    if array.shape[2:] != tuple(size) or array.shape[: len(leading)] != tuple(leading):
        wanted = (*leading, *("N", "C")[len(leading) :], *size)
        raise ValueError(
            f"{name} must have shape ({', '.join(map(str, wanted))}), channels first, "
            f"got {array.shape}"
        )

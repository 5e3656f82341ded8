"""Pooling over windows: the largest element, the average, the p-norm; and unpooling.

Every pooling is a loop over the elements of a window, as convolution is, with a maximum or a sum
where convolution has a product. The channels are independent of each other.

A window may lie wholly in the padding, since any padding is accepted. It then holds nothing, and
the results are those of an empty set: minus infinity (for integers the type's least value) with
the index -1, which stands for no element; an average without padding of 0; a norm of 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, overload

import numpy as np
import numpy.typing as npt

from fastconv.arguments import Padding, PerAxis, integer, is_floating, one_of, per_axis, truth
from fastconv.reference._arrays import (
    floating,
    from_channels_first,
    native,
    planes,
    positions_in_plane,
    positive_number,
)
from fastconv.reference._windows import Windows, transposed_size

POOLINGS = ("max", "average", "lp")


@overload
def max_pool(
    x: npt.ArrayLike,
    kernel_size: PerAxis,
    stride: PerAxis | None = ...,
    padding: Padding = ...,
    dilation: PerAxis = ...,
    ceil_mode: bool = ...,
    return_indices: Literal[False] = ...,
    *,
    layout: str = ...,
) -> np.ndarray: ...
@overload
def max_pool(
    x: npt.ArrayLike,
    kernel_size: PerAxis,
    stride: PerAxis | None = ...,
    padding: Padding = ...,
    dilation: PerAxis = ...,
    ceil_mode: bool = ...,
    *,
    return_indices: Literal[True],
    layout: str = ...,
) -> tuple[np.ndarray, np.ndarray]: ...
def max_pool(
    x: npt.ArrayLike,
    kernel_size: PerAxis,
    stride: PerAxis | None = None,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    *,
    layout: str = "channels_first",
) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
    """Return the largest element of each window.

    For image n, channel c and output position o, on each axis with stride S and dilation D::

        y[n, c, o] = max over t of  padded[n, c, o * S + t * D]

    where t runs over the window and the padding is less than every element, be it minus infinity.
    NaN is greater than every number. Of equal elements, NaN equal to NaN, the first in the window
    gives the index.

    Parameters
    ----------
    x : array_like
        (N, C, *spatial), or (N, *spatial, C) with ``layout="channels_last"``.
    kernel_size : int or sequence of int
        The windows' size F, one for all axes or one an axis.
    stride : int or sequence of int, optional
        Steps S between windows; `kernel_size` if None.
    padding : int, sequence or str, optional
        An int, one int an axis, a (before, after) pair an axis, ``"valid"``, ``"same"`` or
        ``"same_lower"``.
    dilation : int or sequence of int, optional
        Steps D within a window.
    ceil_mode : bool, optional
        Whether the last window may hang over the end. It must still begin inside the input or the
        padding before it.
    return_indices : bool, optional
        Whether to return the indices as well.
    layout : str, optional
        Where the channel axis is.

    Returns
    -------
    y : ndarray
        (N, C, *output) or (N, *output, C), of the type of `x`.
    indices : ndarray of int64
        If asked for, in the shape of `y`: the flat position of each maximum in its plane, which is
        the image of one channel without padding. -1 for a window that holds nothing.

    Raises
    ------
    TypeError
        If an argument is of a wrong kind.
    ValueError
        If its value is not possible, or no window fits.

    Examples
    --------
    >>> max_pool([[[1, 5, 5, 2, 7]]], 2)
    array([[[5, 5]]])
    >>> max_pool([[[1, 5, 5, 2, 7]]], 2, ceil_mode=True, return_indices=True)
    (array([[[5, 5, 7]]]), array([[[1, 2, 4]]]))
    """
    first = planes(native(x, "x"), "x", layout)
    windows = Windows.of(first.shape[2:], kernel_size, stride, padding, dilation, ceil_mode)
    y, indices = _max_of_windows(first, windows)
    y = from_channels_first(y, layout)
    if truth(return_indices, "return_indices"):
        return y, from_channels_first(indices, layout)
    return y


def _max_of_windows(x: np.ndarray, windows: Windows) -> tuple[np.ndarray, np.ndarray]:
    lowest = -np.inf if is_floating(x.dtype) else np.iinfo(x.dtype).min
    values = windows.covered(x, lowest)
    positions = windows.positions()
    best = np.full((*x.shape[:2], *windows.output_size), lowest, x.dtype)
    index = np.full(best.shape, -1, np.int64)
    for elements in windows.taps():
        value, position = values[elements], positions[elements]
        # Anything is better than nothing: minus infinity in the input, than that in the padding.
        better = (index < 0) | (value > best) | (np.isnan(value) & ~np.isnan(best))
        best = np.where(better, value, best)
        index = np.where(better, position, index)
    return best, index


def avg_pool(
    x: npt.ArrayLike,
    kernel_size: PerAxis,
    stride: PerAxis | None = None,
    padding: Padding = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
    *,
    dilation: PerAxis = 1,
    layout: str = "channels_first",
) -> np.ndarray:
    """Return the average of each window.

    For image n, channel c and output position o, on each axis with stride S and dilation D::

        y[n, c, o] = (sum over t of  padded[n, c, o * S + t * D]) / count[o]

    where t runs over the window and the padding is 0. The count is of the window's elements that
    lie in the input, or with `count_include_pad` in the padded input. What hangs over the end of
    the padding in ceil_mode is neither.

    Parameters
    ----------
    x : array_like
        (N, C, *spatial), or (N, *spatial, C) with ``layout="channels_last"``; floating.
    kernel_size, stride, padding, ceil_mode, dilation, layout : optional
        As in :func:`max_pool`.
    count_include_pad : bool, optional
        Whether padding counts.
    divisor_override : int, optional
        Divides every sum in place of the count.

    Returns
    -------
    ndarray of float64
        (N, C, *output) or (N, *output, C). 0 where nothing counts.

    Raises
    ------
    TypeError
        If an argument is of a wrong kind; if `x` holds integers, whose averages are none.
    ValueError
        If an argument's value is not possible, or no window fits.

    Examples
    --------
    >>> avg_pool([[[3.0, 6.0, 9.0]]], 2, padding=1)
    array([[[1.5, 7.5]]])
    >>> avg_pool([[[3.0, 6.0, 9.0]]], 2, padding=1, count_include_pad=False)
    array([[[3. , 7.5]]])
    """
    first = planes(floating(x, "x"), "x", layout)
    windows = Windows.of(first.shape[2:], kernel_size, stride, padding, dilation, ceil_mode)
    divisor = average_divisor(windows, count_include_pad, divisor_override)
    with np.errstate(over="ignore", invalid="ignore"):
        values = windows.covered(first, 0.0)
        total = np.zeros((*first.shape[:2], *windows.output_size))
        for elements in windows.taps():
            total += values[elements]
        return from_channels_first(total / divisor, layout)


def average_divisor(
    windows: Windows, count_include_pad: object, divisor_override: object
) -> np.ndarray:
    """Return what each window's sum is divided by; 1 where nothing counts, whose sum is 0."""
    counts = windows.counts(truth(count_include_pad, "count_include_pad"))
    if divisor_override is not None:
        return np.full_like(counts, integer(divisor_override, "divisor_override", 1))
    return np.asarray(np.maximum(counts, 1))


def lp_pool(
    x: npt.ArrayLike,
    norm_type: float,
    kernel_size: PerAxis,
    stride: PerAxis | None = None,
    ceil_mode: bool = False,
    *,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    layout: str = "channels_first",
) -> np.ndarray:
    """Return the p-norm of each window.

    For image n, channel c and output position o, on each axis with stride S and dilation D::

        y[n, c, o] = (sum over t of  |padded[n, c, o * S + t * D]| ** p) ** (1 / p)

    where t runs over the window and the padding is 0. With p = 1 this is the sum of the
    magnitudes, and with p = infinity the largest magnitude. PyTorch leaves out the magnitude,
    which differs for negative elements unless p is even; and in ceil_mode it scales a window
    that hangs over the end as if it were full. ONNX's LpPool does neither.

    Parameters
    ----------
    x : array_like
        (N, C, *spatial), or (N, *spatial, C) with ``layout="channels_last"``; floating.
    norm_type : float
        p, more than 0; infinity is accepted.
    kernel_size, stride, padding, dilation, ceil_mode, layout : optional
        As in :func:`max_pool`.

    Returns
    -------
    ndarray of float64
        (N, C, *output) or (N, *output, C).

    Raises
    ------
    TypeError
        If an argument is of a wrong kind; if `x` holds integers, whose norms are none.
    ValueError
        If an argument's value is not possible, or no window fits.

    Examples
    --------
    >>> lp_pool([[[3.0, -4.0, 6.0, 8.0]]], 2, 2)
    array([[[ 5., 10.]]])
    """
    p = positive_number(norm_type, "norm_type")
    first = planes(floating(x, "x"), "x", layout)
    windows = Windows.of(first.shape[2:], kernel_size, stride, padding, dilation, ceil_mode)
    with np.errstate(over="ignore", under="ignore"):
        magnitudes = windows.covered(np.abs(first), 0.0)
        total = np.zeros((*first.shape[:2], *windows.output_size))
        for elements in windows.taps():
            magnitude = magnitudes[elements]
            total = np.maximum(total, magnitude) if np.isinf(p) else total + magnitude**p
        return from_channels_first(total if np.isinf(p) else total ** (1 / p), layout)


def max_unpool(
    x: npt.ArrayLike,
    indices: npt.ArrayLike,
    kernel_size: PerAxis,
    stride: PerAxis | None = None,
    padding: Padding = 0,
    output_size: Sequence[int] | None = None,
    *,
    layout: str = "channels_first",
) -> np.ndarray:
    """Put maxima back where they came from, with zeros elsewhere.

    The partial inverse of :func:`max_pool`::

        y[n, c, indices[n, c, o]] = x[n, c, o]

    with y[n, c] read as a flat plane. Where several o share an index, the last is kept. The index
    -1, of windows that held nothing, is skipped.

    Parameters
    ----------
    x : array_like
        (N, C, *spatial), or (N, *spatial, C) with ``layout="channels_last"``.
    indices : array_like of int
        In the shape of `x`, as :func:`max_pool` returns them.
    kernel_size, stride, padding : optional
        Those of the pooling. They only say the size of the result where `output_size` does not.
    output_size : int or sequence of int, optional
        The spatial size of the result. If None, ``(W - 1) * S + F - before - after`` an axis, the
        least that the pooling can have had; ``W * S`` with ``"same"`` and ``"same_lower"``.
    layout : str, optional
        Where the channel axis is.

    Returns
    -------
    ndarray
        (N, C, *output_size) or (N, *output_size, C), of the type of `x`.

    Raises
    ------
    TypeError
        If an argument is of a wrong kind.
    ValueError
        If an argument's value is not possible, the shapes differ, or an index is outside.

    Examples
    --------
    >>> y, indices = max_pool([[[1, 5, 5, 2, 7]]], 2, return_indices=True)
    >>> max_unpool(y, indices, 2, output_size=[5])
    array([[[0, 5, 5, 0, 0]]])
    """
    array = native(x, "x")
    first = planes(array, "x", layout)
    rank = first.ndim - 2
    kernel = per_axis(kernel_size, rank, "kernel_size", 1)
    strides = kernel if stride is None else per_axis(stride, rank, "stride", 1)
    ones, zeros = (1,) * rank, (0,) * rank
    if output_size is None:
        size, _ = transposed_size(first.shape[2:], kernel, strides, padding, ones, zeros)
    else:
        size = per_axis(output_size, rank, "output_size", 1)
    places = positions_in_plane(indices, array.shape, size, layout)
    values = first.reshape(len(places), places.shape[1])
    flat = np.zeros((len(places), int(np.prod(size)) + 1), array.dtype)
    np.put_along_axis(flat, places, values, axis=1)  # -1 is the extra, last one
    return from_channels_first(flat[:, :-1].reshape(*first.shape[:2], *size), layout)


def channel_pool(
    x: npt.ArrayLike,
    kernel_size: int,
    stride: int | None = None,
    padding: Padding = 0,
    dilation: int = 1,
    ceil_mode: bool = False,
    *,
    kind: str = "max",
    count_include_pad: bool = True,
    norm_type: float = 2.0,
    layout: str = "channels_first",
) -> np.ndarray:
    """Pool windows of channels: each pixel's channels are the one axis that is pooled.

    A 1-D pooling along the depth of each pixel, all pixels independent of each other::

        y[n, k, pixel] = max over t of  padded[n, k * S + t * D, pixel]

    and alike for the average and the p-norm.

    Parameters
    ----------
    x : array_like
        (N, C, *spatial), or (N, *spatial, C) with ``layout="channels_last"``.
    kernel_size, stride, padding, dilation, ceil_mode : optional
        As in :func:`max_pool`, for one axis.
    kind : str, optional
        ``"max"``, ``"average"`` or ``"lp"``.
    count_include_pad : bool, optional
        As in :func:`avg_pool`; read by ``"average"`` alone.
    norm_type : float, optional
        As in :func:`lp_pool`; read by ``"lp"`` alone.
    layout : str, optional
        Where the channel axis is.

    Returns
    -------
    ndarray
        (N, windows, *spatial) or (N, *spatial, windows); of the type of `x` for ``"max"``, float64
        otherwise.

    Raises
    ------
    TypeError
        If an argument is of a wrong kind.
    ValueError
        If its value is not possible, or no window fits.

    Examples
    --------
    >>> channel_pool([[[1, 2], [8, 9], [4, 7], [6, 3]]], 2)  # 4 channels of 2 pixels
    array([[[8, 9],
            [6, 7]]])
    """
    first = planes(native(x, "x"), "x", layout)
    depths, shape = pixels_by_depth(first), first.shape
    if one_of(kind, POOLINGS, "kind") == "max":
        y = max_pool(depths, kernel_size, stride, padding, dilation, ceil_mode)
    elif kind == "average":
        y = avg_pool(
            *(depths, kernel_size, stride, padding, ceil_mode, count_include_pad),
            dilation=dilation,
        )
    else:
        y = lp_pool(
            *(depths, norm_type, kernel_size, stride, ceil_mode), padding=padding, dilation=dilation
        )
    return from_channels_first(depths_to_planes(y, shape), layout)


def pixels_by_depth(x: np.ndarray) -> np.ndarray:
    """Return (N, C, *spatial) as (N * pixels, 1, C): the channels as the one spatial axis."""
    last = np.moveaxis(x, 1, -1)
    return last.reshape(int(np.prod(last.shape[:-1])), 1, x.shape[1])


def depths_to_planes(y: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return (N * pixels, 1, channels) as (N, channels, *spatial) of a `shape` (N, C, *spatial)."""
    return np.moveaxis(y.reshape(shape[0], *shape[2:], y.shape[-1]), -1, 1)

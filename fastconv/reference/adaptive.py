"""Pooling that is told its output size: adaptive pooling, and global pooling, which is size 1.

Along an axis of W elements with O outputs, output o pools the elements from ``floor(o * W / O)``
to before ``ceil((o + 1) * W / O)``. The pieces cover the axis; where O does not divide W they
differ in size, and neighbours may share an element.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, TypeAlias, overload

import numpy as np
import numpy.typing as npt

from fastconv.arguments import per_axis, truth
from fastconv.reference._arrays import Index, floating, from_channels_first, native, planes
from fastconv.reference.pooling import lp_pool

OutputSize: TypeAlias = int | Sequence[int | None] | None


def pieces(size: Sequence[int], output_size: Sequence[int]) -> Iterator[tuple[Index, Index]]:
    """Yield the index of each output, and that of the elements which it pools.

    Examples
    --------
    >>> list(pieces((5,), (2,)))
    [((Ellipsis, 0), (Ellipsis, slice(0, 3, None))), ((Ellipsis, 1), (Ellipsis, slice(2, 5, None)))]
    """
    for output in np.ndindex(*output_size):
        axes = zip(output, size, output_size, strict=True)
        # -(-a // b) is a / b rounded up
        piece = [slice(i * w // o, -(-(i + 1) * w // o)) for i, w, o in axes]
        yield (..., *output), (..., *piece)


def resolved_output_size(output_size: object, size: Sequence[int]) -> tuple[int, ...]:
    """Return one int an axis; None stands for the input's size, on one axis or on all."""
    if output_size is None:
        return tuple(size)
    if isinstance(output_size, tuple | list) and len(output_size) == len(size):
        axes = zip(output_size, size, strict=True)
        output_size = [w if number is None else number for number, w in axes]
    return per_axis(output_size, len(size), "output_size", 1)


def adaptive_avg_pool(
    x: npt.ArrayLike, output_size: OutputSize, *, layout: str = "channels_first"
) -> np.ndarray:
    """Return the average of each of `output_size` pieces.

    For image n, channel c and output position o, on each axis of W elements with O outputs::

        y[n, c, o] = mean of  x[n, c, floor(o * W / O) : ceil((o + 1) * W / O)]

    Parameters
    ----------
    x : array_like
        (N, C, *spatial), or (N, *spatial, C) with ``layout="channels_last"``; floating.
    output_size : int, sequence of int or None, or None
        Outputs O, one for all axes or one an axis; None keeps the size of an axis.
    layout : str, optional
        Where the channel axis is.

    Returns
    -------
    ndarray of float64
        (N, C, *output_size) or (N, *output_size, C).

    Raises
    ------
    TypeError
        If an argument is of a wrong kind; if `x` holds integers, whose averages are none.
    ValueError
        If an argument's value is not possible.

    Examples
    --------
    >>> adaptive_avg_pool([[[1.0, 2.0, 3.0, 4.0, 5.0]]], 2)
    array([[[2., 4.]]])
    """
    first = planes(floating(x, "x"), "x", layout)
    sizes = resolved_output_size(output_size, first.shape[2:])
    y = np.zeros((*first.shape[:2], *sizes))
    with np.errstate(over="ignore", invalid="ignore"):
        for output, piece in pieces(first.shape[2:], sizes):
            elements = first[piece]
            y[output] = elements.mean(axis=tuple(range(2, first.ndim)))
    return from_channels_first(y, layout)


@overload
def adaptive_max_pool(
    x: npt.ArrayLike,
    output_size: OutputSize,
    return_indices: Literal[False] = ...,
    *,
    layout: str = ...,
) -> np.ndarray: ...
@overload
def adaptive_max_pool(
    x: npt.ArrayLike, output_size: OutputSize, return_indices: Literal[True], *, layout: str = ...
) -> tuple[np.ndarray, np.ndarray]: ...
def adaptive_max_pool(
    x: npt.ArrayLike,
    output_size: OutputSize,
    return_indices: bool = False,
    *,
    layout: str = "channels_first",
) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
    """Return the largest element of each of `output_size` pieces.

    For image n, channel c and output position o, on each axis of W elements with O outputs::

        y[n, c, o] = max of  x[n, c, floor(o * W / O) : ceil((o + 1) * W / O)]

    NaN is greater than every number, and the first of equals gives the index, as in
    :func:`fastconv.reference.max_pool`; :func:`fastconv.reference.max_pool_gradient` is the
    gradient of both.

    Parameters
    ----------
    x : array_like
        (N, C, *spatial), or (N, *spatial, C) with ``layout="channels_last"``.
    output_size : int, sequence of int or None, or None
        Outputs O, one for all axes or one an axis; None keeps the size of an axis.
    return_indices : bool, optional
        Whether to return the indices as well.
    layout : str, optional
        Where the channel axis is.

    Returns
    -------
    y : ndarray
        (N, C, *output_size) or (N, *output_size, C), of the type of `x`.
    indices : ndarray of int64
        If asked for, in the shape of `y`: the flat position of each maximum in its plane.

    Raises
    ------
    TypeError
        If an argument is of a wrong kind.
    ValueError
        If its value is not possible.

    Examples
    --------
    >>> adaptive_max_pool([[[1, 2, 3, 2, 1]]], 2, return_indices=True)
    (array([[[3, 3]]]), array([[[2, 2]]]))
    """
    first = planes(native(x, "x"), "x", layout)
    size, leading = first.shape[2:], first.shape[:2]
    sizes = resolved_output_size(output_size, size)
    positions = np.arange(int(np.prod(size))).reshape(size)
    y = np.empty((*leading, *sizes), first.dtype)
    indices = np.empty(y.shape, np.int64)
    for output, piece in pieces(size, sizes):
        places = positions[piece].ravel()
        elements = first[piece].reshape(*leading, len(places))
        best = elements.argmax(axis=2)  # NumPy's too is the first of equals, and NaN the greatest
        y[output] = np.take_along_axis(elements, best[:, :, None], axis=2)[:, :, 0]
        indices[output] = places[best]
    y = from_channels_first(y, layout)
    if truth(return_indices, "return_indices"):
        return y, from_channels_first(indices, layout)
    return y


def global_avg_pool(
    x: npt.ArrayLike, *, keepdims: bool = True, layout: str = "channels_first"
) -> np.ndarray:
    """Return the average of each plane, :func:`adaptive_avg_pool` of size 1.

    For image n and channel c, over all positions i::

        y[n, c] = (sum over i of  x[n, c, i]) / pixels

    Parameters
    ----------
    x : array_like
        (N, C, *spatial), or (N, *spatial, C) with ``layout="channels_last"``; floating.
    keepdims : bool, optional
        Whether the spatial axes stay, with size 1. If not, the result is (N, C).
    layout : str, optional
        Where the channel axis is.

    Returns
    -------
    ndarray of float64

    Raises
    ------
    TypeError
        If an argument is of a wrong kind; if `x` holds integers, whose averages are none.
    ValueError
        If its value is not possible.

    Examples
    --------
    >>> global_avg_pool([[[1.0, 2.0], [3.0, 6.0]]], keepdims=False)
    array([[1.5, 4.5]])
    """
    return _squeezed(adaptive_avg_pool(x, 1, layout=layout), keepdims, layout)


def global_max_pool(
    x: npt.ArrayLike, *, keepdims: bool = True, layout: str = "channels_first"
) -> np.ndarray:
    """Return the largest element of each plane, :func:`adaptive_max_pool` of size 1.

    For image n and channel c, over all positions i::

        y[n, c] = max over i of  x[n, c, i]

    Parameters
    ----------
    x : array_like
        (N, C, *spatial), or (N, *spatial, C) with ``layout="channels_last"``.
    keepdims, layout : optional
        As in :func:`global_avg_pool`.

    Returns
    -------
    ndarray
        Of the type of `x`.

    Raises
    ------
    TypeError
        If an argument is of a wrong kind.
    ValueError
        If its value is not possible.

    Examples
    --------
    >>> global_max_pool([[[1, 2], [6, 3]]])
    array([[[2],
            [6]]])
    """
    return _squeezed(adaptive_max_pool(x, 1, layout=layout), keepdims, layout)


def global_lp_pool(
    x: npt.ArrayLike,
    norm_type: float = 2.0,
    *,
    keepdims: bool = True,
    layout: str = "channels_first",
) -> np.ndarray:
    """Return the p-norm of each plane, :func:`fastconv.reference.lp_pool` of all of it.

    For image n and channel c, over all positions i::

        y[n, c] = (sum over i of  |x[n, c, i]| ** p) ** (1 / p)

    Parameters
    ----------
    x : array_like
        (N, C, *spatial), or (N, *spatial, C) with ``layout="channels_last"``; floating.
    norm_type : float, optional
        p, more than 0; infinity is accepted.
    keepdims, layout : optional
        As in :func:`global_avg_pool`.

    Returns
    -------
    ndarray of float64

    Raises
    ------
    TypeError
        If an argument is of a wrong kind; if `x` holds integers, whose norms are none.
    ValueError
        If its value is not possible.

    Examples
    --------
    >>> global_lp_pool([[[3.0, 4.0], [-6.0, 8.0]]], keepdims=False)
    array([[ 5., 10.]])
    """
    array = floating(x, "x")
    size = planes(array, "x", layout).shape[2:]
    return _squeezed(lp_pool(array, norm_type, size, layout=layout), keepdims, layout)


def _squeezed(y: np.ndarray, keepdims: object, layout: str) -> np.ndarray:
    if truth(keepdims, "keepdims"):
        return y
    begin = 2 if layout == "channels_first" else 1
    return y.squeeze(axis=tuple(range(begin, begin + y.ndim - 2)))

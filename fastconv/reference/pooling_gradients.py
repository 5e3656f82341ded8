"""Gradients of the poolings.

A loss depends on the output y, and grad_output holds its derivatives by y. Each element of a window
gets grad_output of that window, times the derivative of the window's result by that element; one
that is in several windows gets the sum. Global poolings are adaptive poolings of size 1, and their
gradients are those.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from fastconv.arguments import Padding, PerAxis, one_of, per_axis
from fastconv.reference._arrays import (
    check_layout_shape,
    floating,
    from_channels_first,
    native,
    planes,
    positions_in_plane,
    positive_number,
)
from fastconv.reference._products import per_channel
from fastconv.reference._windows import Windows
from fastconv.reference.adaptive import pieces
from fastconv.reference.pooling import (
    POOLINGS,
    average_divisor,
    depths_to_planes,
    lp_pool,
    max_pool,
    pixels_by_depth,
)


def max_pool_gradient(
    grad_output: npt.ArrayLike,
    indices: npt.ArrayLike,
    input_size: Sequence[int],
    *,
    layout: str = "channels_first",
) -> np.ndarray:
    """Return the gradient by the input of a max pooling, adaptive and global ones included.

    A maximum changes with the element that it is, and with no other::

        gradient[n, c, indices[n, c, o]] += grad_output[n, c, o]

    for all n, c and o, with gradient[n, c] read as a flat plane. The index -1, of windows that
    held nothing, is skipped.

    Parameters
    ----------
    grad_output : array_like
        (N, C, *output), or (N, *output, C) with ``layout="channels_last"``; floating.
    indices : array_like of int
        In the same shape, as the pooling returned them.
    input_size : sequence of int
        The spatial size of the pooling's input.
    layout : str, optional
        Where the channel axis is.

    Returns
    -------
    ndarray of float64
        (N, C, *input_size) or (N, *input_size, C).

    Raises
    ------
    TypeError
        If an argument is of a wrong kind.
    ValueError
        If an argument's value is not possible, the shapes differ, or an index is outside.

    Examples
    --------
    >>> max_pool_gradient([[[1.0, 2.0, 3.0]]], [[[0, 2, 2]]], [4])
    array([[[1., 0., 5., 0.]]])
    """
    gradient = floating(grad_output, "grad_output")
    first = planes(gradient, "grad_output", layout)
    size = per_axis(input_size, first.ndim - 2, "input_size", 1)
    places = positions_in_plane(indices, gradient.shape, size, layout)
    flat = np.zeros((len(places), math.prod(size) + 1))
    with np.errstate(over="ignore", invalid="ignore"):
        rows = np.arange(len(places))[:, None]
        np.add.at(flat, (rows, places), first.reshape(places.shape))  # -1 is the extra, last one
    return from_channels_first(flat[:, :-1].reshape(*first.shape[:2], *size), layout)


def avg_pool_gradient(
    grad_output: npt.ArrayLike,
    input_size: Sequence[int],
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
    """Return the gradient by the input of :func:`fastconv.reference.avg_pool`.

    Each element of a window has the same share in its average::

        padded_gradient[n, c, o * S + t * D] += grad_output[n, c, o] / count[o]

    for all n, c, o and t. Then the border is cut off.

    Parameters
    ----------
    grad_output : array_like
        (N, C, *output), or (N, *output, C) with ``layout="channels_last"``; floating.
    input_size : sequence of int
        The spatial size of the pooling's input.
    kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override, dilation, layout
        Those of the pooling.

    Returns
    -------
    ndarray of float64
        (N, C, *input_size) or (N, *input_size, C).

    Raises
    ------
    TypeError
        If an argument is of a wrong kind.
    ValueError
        If its value is not possible, or `grad_output` is not of the pooling's output size.

    Examples
    --------
    >>> avg_pool_gradient([[[2.0, 4.0]]], [3], 2, stride=1)
    array([[[1., 3., 2.]]])
    """
    first = planes(floating(grad_output, "grad_output"), "grad_output", layout)
    size = per_axis(input_size, first.ndim - 2, "input_size", 1)
    windows = Windows.of(size, kernel_size, stride, padding, dilation, ceil_mode)
    check_layout_shape(first, "grad_output", windows.output_size)
    with np.errstate(over="ignore", invalid="ignore"):
        share = first / average_divisor(windows, count_include_pad, divisor_override)
        gradient = windows.covered_zeros(first.shape[:2])
        for elements in windows.taps():
            gradient[elements] += share
    return from_channels_first(windows.uncovered(gradient), layout)


def lp_pool_gradient(
    grad_output: npt.ArrayLike,
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
    """Return the gradient by the input of :func:`fastconv.reference.lp_pool`.

    The derivative of a norm y by one of its elements x, where x is not 0, is::

        sign(x) * (|x| / y) ** (p - 1)

    Where x is 0 it is 0, or does not exist and 0 is taken. With p infinite all of grad_output goes
    to the first of the largest magnitudes.

    Parameters
    ----------
    grad_output : array_like
        (N, C, *output), or (N, *output, C) with ``layout="channels_last"``; floating.
    x : array_like
        The pooling's input, (N, C, *spatial) or (N, *spatial, C); floating.
    norm_type, kernel_size, stride, ceil_mode, padding, dilation, layout
        Those of the pooling.

    Returns
    -------
    ndarray of float64
        In the shape of `x`.

    Raises
    ------
    TypeError
        If an argument is of a wrong kind.
    ValueError
        If its value is not possible, or `grad_output` is not of the pooling's output shape.

    Examples
    --------
    >>> lp_pool_gradient([[[10.0]]], [[[3.0, -4.0]]], 2, 2)
    array([[[ 6., -8.]]])
    """
    p = positive_number(norm_type, "norm_type")
    first = planes(floating(x, "x"), "x", layout)
    gradient = planes(floating(grad_output, "grad_output"), "grad_output", layout)
    windows = Windows.of(first.shape[2:], kernel_size, stride, padding, dilation, ceil_mode)
    check_layout_shape(gradient, "grad_output", windows.output_size, first.shape[:2])
    size, arguments = first.shape[2:], (windows.kernel, windows.stride)
    with np.errstate(all="ignore"):
        if np.isinf(p):
            _, indices = max_pool(
                *(np.abs(first), *arguments, windows.padding, windows.dilation, ceil_mode),
                return_indices=True,
            )
            y = np.sign(first) * max_pool_gradient(gradient, indices, size)
            return from_channels_first(y, layout)
        values = windows.covered(first, 0.0)
        norms = lp_pool(
            *(first, p, *arguments, ceil_mode), padding=windows.padding, dilation=windows.dilation
        )
        result = windows.covered_zeros(first.shape[:2])
        for elements in windows.taps():
            value = values[elements]
            slope = np.sign(value) * (np.abs(value) / norms) ** (p - 1)
            result[elements] += np.where(value == 0, 0.0, slope * gradient)
    return from_channels_first(windows.uncovered(result), layout)


def adaptive_avg_pool_gradient(
    grad_output: npt.ArrayLike, input_size: Sequence[int], *, layout: str = "channels_first"
) -> np.ndarray:
    """Return the gradient by the input of an adaptive average pooling, or a global one.

    Each element of a piece has the same share in its average::

        gradient[n, c, floor(o * W / O) : ceil((o + 1) * W / O)] += grad_output[n, c, o] / count[o]

    for all n, c and o.

    Parameters
    ----------
    grad_output : array_like
        (N, C, *output_size), or (N, *output_size, C) with ``layout="channels_last"``; floating.
    input_size : sequence of int
        The spatial size of the pooling's input.
    layout : str, optional
        Where the channel axis is.

    Returns
    -------
    ndarray of float64
        (N, C, *input_size) or (N, *input_size, C).

    Raises
    ------
    TypeError
        If an argument is of a wrong kind.
    ValueError
        If its value is not possible.

    Examples
    --------
    >>> adaptive_avg_pool_gradient([[[3.0, 6.0]]], [5])
    array([[[1., 1., 3., 2., 2.]]])
    """
    first = planes(floating(grad_output, "grad_output"), "grad_output", layout)
    size = per_axis(input_size, first.ndim - 2, "input_size", 1)
    gradient = np.zeros((*first.shape[:2], *size))
    with np.errstate(over="ignore", invalid="ignore"):
        for output, piece in pieces(size, first.shape[2:]):
            count = math.prod(gradient[piece].shape[2:])
            gradient[piece] += per_channel(first[output] / count, len(size))
    return from_channels_first(gradient, layout)


def max_unpool_gradient(
    grad_output: npt.ArrayLike, indices: npt.ArrayLike, *, layout: str = "channels_first"
) -> np.ndarray:
    """Return the gradient by the input of :func:`fastconv.reference.max_unpool`.

    Each element is read where it was put::

        gradient[n, c, o] = grad_output[n, c, indices[n, c, o]]

    with grad_output[n, c] read as a flat plane; 0 for the index -1. Where several o share an index
    each gets all of it, as if all had been kept.

    Parameters
    ----------
    grad_output : array_like
        (N, C, *spatial), or (N, *spatial, C) with ``layout="channels_last"``; floating.
    indices : array_like of int
        Those of the unpooling.
    layout : str, optional
        Where the channel axis is.

    Returns
    -------
    ndarray of float64
        In the shape of `indices`.

    Raises
    ------
    TypeError
        If an argument is of a wrong kind.
    ValueError
        If the shapes do not fit each other, or an index is outside.

    Examples
    --------
    >>> max_unpool_gradient([[[1.0, 2.0, 3.0, 4.0]]], [[[0, 2]]])
    array([[[1., 3.]]])
    """
    first = planes(floating(grad_output, "grad_output"), "grad_output", layout)
    index = native(indices, "indices")
    pooled = planes(index, "indices", layout)
    check_layout_shape(pooled, "indices", pooled.shape[2:], first.shape[:2])
    if pooled.ndim != first.ndim:
        raise ValueError(
            f"indices must have the {first.ndim} axes of grad_output, got shape {index.shape}"
        )
    places = positions_in_plane(index, index.shape, first.shape[2:], layout)
    flat = first.reshape(len(places), math.prod(first.shape[2:]))
    extended = np.pad(flat, [(0, 0), (0, 1)])  # -1 reads the extra, last zero
    gradient = np.take_along_axis(extended, places, axis=1)
    return from_channels_first(gradient.reshape(pooled.shape), layout)


def channel_pool_gradient(
    grad_output: npt.ArrayLike,
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
    """Return the gradient by the input of :func:`fastconv.reference.channel_pool`.

    That of the 1-D pooling, along the depth of each pixel.

    Parameters
    ----------
    grad_output : array_like
        (N, windows, *spatial), or (N, *spatial, windows) with ``layout="channels_last"``; floating.
    x : array_like
        The pooling's input, (N, C, *spatial) or (N, *spatial, C); floating.
    kernel_size, stride, padding, dilation, ceil_mode, kind, count_include_pad, norm_type, layout
        Those of the pooling.

    Returns
    -------
    ndarray of float64
        In the shape of `x`.

    Raises
    ------
    TypeError
        If an argument is of a wrong kind.
    ValueError
        If its value is not possible, or `grad_output` is not of the pooling's output shape.

    Examples
    --------
    >>> channel_pool_gradient([[[1.0, 2.0]]], [[[3.0, 4.0], [5.0, 2.0]]], 2)  # 2 channels, 2 pixels
    array([[[0., 2.],
            [1., 0.]]])
    """
    first = planes(floating(x, "x"), "x", layout)
    gradient = planes(floating(grad_output, "grad_output"), "grad_output", layout)
    batch, channels, *spatial = first.shape
    windows = Windows.of((channels,), kernel_size, stride, padding, dilation, ceil_mode)
    check_layout_shape(gradient, "grad_output", spatial, (batch, *windows.output_size))
    depths, grad_depths, size = pixels_by_depth(first), pixels_by_depth(gradient), (channels,)
    if one_of(kind, POOLINGS, "kind") == "max":
        _, indices = max_pool(
            *(depths, kernel_size, stride, padding, dilation, ceil_mode), return_indices=True
        )
        result = max_pool_gradient(grad_depths, indices, size)
    elif kind == "average":
        result = avg_pool_gradient(
            *(grad_depths, size, kernel_size, stride, padding, ceil_mode, count_include_pad),
            dilation=dilation,
        )
    else:
        result = lp_pool_gradient(
            *(grad_depths, depths, norm_type, kernel_size, stride, ceil_mode),
            padding=padding,
            dilation=dilation,
        )
    return from_channels_first(depths_to_planes(result, first.shape), layout)

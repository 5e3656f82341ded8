"""Transposed convolution: a convolution's input gradient, as an operation of its own."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from fastconv.arguments import Padding, PerAxis, check_elements, integer, per_axis, truth
from fastconv.problem import MAX_RANK
from fastconv.reference._arrays import (
    accumulator,
    check_exact,
    from_channels_first,
    native,
    operand,
    planes,
)
from fastconv.reference._products import flipped, grouped, padded_size, per_channel, spread
from fastconv.reference._windows import transposed_size
from fastconv.reference.padding import fold_planes


def conv_transpose(
    x: npt.ArrayLike,
    weight: npt.ArrayLike,
    bias: npt.ArrayLike | None = None,
    *,
    stride: PerAxis = 1,
    padding: Padding = 0,
    output_padding: PerAxis = 0,
    groups: int = 1,
    dilation: PerAxis = 1,
    flip: bool = False,
    layout: str = "channels_first",
) -> np.ndarray:
    """Return the transposed convolution: the adjoint of the convolution with the same arguments.

    Where a convolution gathers a window into one element, this spreads one element over a window::

        full[n, first + c, i * S + t * D] += weight[k, c, t] * x[n, k, i]

    for all n, k, c, t and i. Then ``padding`` is *cut off* the borders of ``full``, because it was
    what the convolution had added, and the bias is added. The output is, an axis,
    ``(W - 1) * S + D * (F - 1) + 1 - before - after + output_padding``. A convolution whose stride
    is not 1 gives the same output size for several input sizes; ``output_padding`` says by how
    much more than the least the output is larger, at its end.

    Parameters
    ----------
    x : array_like
        (N, C_in, *spatial), or (N, *spatial, C_in) with ``layout="channels_last"``.
    weight : array_like
        (C_in, C_out / groups, *kernel): the weight of the convolution from C_out to C_in channels.
    bias : array_like, optional
        (C_out,).
    stride, dilation : int or sequence of int, optional
        One for all axes, or one an axis.
    padding : int, sequence or str, optional
        An int, one int an axis, or a (before, after) pair an axis. ``"valid"`` is 0. ``"same"``
        and ``"same_lower"`` are what that convolution has on an input of ``W * S`` elements, and
        the output has as many.
    output_padding : int or sequence of int, optional
        Less than the stride or less than the dilation of its axis; 0 with ``"same"``.
    groups : int, optional
        Divides C_in.
    flip : bool, optional
        Whether the convolution that this is the adjoint of reads its kernel backwards.
    layout : str, optional
        Where the channel axis of `x` and of the result is.

    Returns
    -------
    ndarray
        Float64, or int64 if `x` holds integers.

    Raises
    ------
    TypeError
        If an argument is of a wrong kind, or integers meet floats.
    ValueError
        If an argument's value is not possible, or the shapes do not fit each other.
    OverflowError
        If integers could give a result that does not fit in int64.

    Examples
    --------
    >>> conv_transpose([[[1, 2]]], [[[1, 10, 100]]], stride=2)
    array([[[  1,  10, 102,  20, 200]]])
    >>> conv_transpose([[[1, 2]]], [[[1, 10, 100]]], stride=2, padding=1, output_padding=1)
    array([[[ 10, 102,  20, 200]]])
    """
    x = native(x, "x")
    dtype = accumulator(x.dtype)
    first = planes(x, "x", layout).astype(dtype, copy=False)
    weight = native(weight, "weight")
    groups = integer(groups, "groups", 1)
    check_transposed_shapes(first.shape, weight.shape, groups)
    weight = operand(weight, "weight", weight.shape, dtype)
    filters, channels, *kernel = weight.shape
    rank = len(kernel)
    if bias is not None:
        bias = operand(bias, "bias", (channels * groups,), dtype)
    strides = per_axis(stride, rank, "stride", 1)
    dilations = per_axis(dilation, rank, "dilation", 1)
    extra = checked_output_padding(output_padding, strides, dilations)
    output_size, pairs = transposed_size(
        first.shape[2:], kernel, strides, padding, dilations, extra
    )
    check_elements("out", (len(first), channels * groups, *padded_size(output_size, pairs)))
    check_exact((first, weight), filters // groups * math.prod(kernel), bias)

    weight = weight.reshape(groups, filters // groups, channels, *kernel)
    with np.errstate(over="ignore", invalid="ignore"):
        full = spread(
            flipped(weight, rank) if truth(flip, "flip") else weight,
            grouped(first, groups),
            padded_size(output_size, pairs),
            strides,
            dilations,
        )
        full = full.reshape(len(first), groups * channels, *full.shape[3:])
        y = fold_planes(full, pairs, "zeros")
        if bias is not None:
            y = y + per_channel(bias, rank)
    return from_channels_first(y, layout)


def check_transposed_shapes(x: tuple[int, ...], weight: tuple[int, ...], groups: int) -> None:
    """Raise ValueError unless (N, C_in, *spatial) and (C_in, C_out / groups, *kernel) fit."""
    if len(weight) != len(x) or not 3 <= len(weight) <= MAX_RANK + 2 or 0 in weight:
        raise ValueError(
            f"weight must be (C_in, C_out / groups, *kernel) with the {len(x) - 2} spatial axes "
            f"of x, got shape {weight}"
        )
    if weight[0] != x[1]:
        raise ValueError(f"weight must have shape[0] = {x[1]}, the channels of x, got {weight[0]}")
    if weight[0] % groups:
        raise ValueError(f"groups must divide the {weight[0]} channels of x, got {groups}")


def checked_output_padding(
    value: object, stride: Sequence[int], dilation: Sequence[int]
) -> tuple[int, ...]:
    """Return one an axis, less than the stride or the dilation; ValueError otherwise."""
    extra = per_axis(value, len(stride), "output_padding", 0)
    for number, s, d in zip(extra, stride, dilation, strict=True):
        if number >= max(s, d):
            raise ValueError(
                f"output_padding must be less than the stride ({s}) or the dilation ({d}) of its "
                f"axis, got {number}"
            )
    return extra

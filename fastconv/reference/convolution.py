"""Convolution in 1 to 3 dimensions, and its three gradients.

With transposed convolution, its adjoint, they are one sum seen from different sides. P being the
padded input, and groups aside::

    y[n, k, o] = sum over c and t of  weight[k, c, t] * P[n, c, o * S + t * D]

and each loops over the taps t of the kernel, taking the elements of P under that tap for all o at
once (:mod:`fastconv.reference._products`). What is left for one tap is a matrix product:

====================== =========================== ========= ========= =========
function               product of one tap          M         K         N
====================== =========================== ========= ========= =========
conv                   weight @ pixels             filters   channels  pixels
conv_input_gradient    weight.T @ grad_output      channels  filters   pixels
conv_weight_gradient   grad_output @ pixels.T      filters   pixels    channels
conv_transpose         weight.T @ x                channels  filters   pixels
====================== =========================== ========= ========= =========

with the filters and channels of one group. Floats are summed in float64. Integers are exact: in
int64, and refused where their result might not fit.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from fastconv.problem import ConvProblem
from fastconv.reference._arrays import (
    accumulator,
    check_exact,
    from_channels_first,
    operand,
    to_channels_first,
)
from fastconv.reference._products import (
    correlate,
    correlate_weight,
    flipped,
    grouped,
    padded_size,
    per_channel,
    spread,
)
from fastconv.reference.activations import ACTIVATIONS, check_activation
from fastconv.reference.padding import fold_planes, pad_planes


def conv(
    problem: ConvProblem,
    x: npt.ArrayLike,
    weight: npt.ArrayLike,
    bias: npt.ArrayLike | None = None,
    residual: npt.ArrayLike | None = None,
    activation: str | None = None,
) -> np.ndarray:
    """Return ``activation(convolution + bias + residual)``.

    For image n, filter k and output position o, on each axis with stride S and dilation D::

        y[n, k, o] = sum over c, t of  weight[k, c, t] * padded[n, first + c, o * S + t * D]

    where c runs over the C / groups channels of k's group, the first of which is ``first``, and t
    over the kernel. This is the cross-correlation of signal processing; ``problem.flip`` reads the
    kernel backwards, and that is its convolution. Padding with zeros takes part like any zero: an
    infinite weight on it gives NaN.

    Parameters
    ----------
    problem : ConvProblem
        Sizes and arguments.
    x : array_like
        ``problem.input_shape``.
    weight : array_like
        ``problem.weight_shape``, (K, C / groups, *kernel).
    bias : array_like, optional
        (K,), added to every element of a filter's output.
    residual : array_like, optional
        ``problem.output_shape``, added before the activation.
    activation : str, optional
        A name in `ACTIVATIONS`; for integers ``"relu"`` or ``"relu6"``.

    Returns
    -------
    ndarray
        ``problem.output_shape``; float64, or int64 if the problem's type is an integer.

    Raises
    ------
    TypeError
        If an array's kind (floating or integer) is not the problem's.
    ValueError
        If a shape is not the problem's.
    OverflowError
        If integers could give a result that does not fit in int64.

    Examples
    --------
    >>> problem = ConvProblem.from_shapes((1, 1, 5), (1, 1, 3), "int32", stride=2, padding=1)
    >>> conv(problem, [[[1, 2, 3, 4, 5]]], [[[1, 10, 100]]], bias=[1000])
    array([[[1210, 1432, 1054]]])
    """
    dtype = accumulator(problem.dtype)
    x = operand(x, "x", problem.input_shape, dtype)
    weight = operand(weight, "weight", problem.weight_shape, dtype)
    if bias is not None:
        bias = operand(bias, "bias", (problem.filters,), dtype)
    if residual is not None:
        residual = operand(residual, "residual", problem.output_shape, dtype)
    check_activation(activation, dtype)
    check_exact((x, weight), math.prod(weight.shape[1:]), bias, residual)

    with np.errstate(over="ignore", invalid="ignore"):  # Inf and NaN are answers here
        y = correlate(
            _padded(problem, x),
            _grouped_weight(problem, weight),
            problem.output_size,
            problem.stride,
            problem.dilation,
        )
        y = y.reshape(problem.batch, problem.filters, *problem.output_size)
        if bias is not None:
            y += per_channel(bias, problem.rank)
        y = from_channels_first(y, problem.layout)
        if residual is not None:
            y += residual
    return y if activation is None else ACTIVATIONS[activation](y)


def conv_input_gradient(
    problem: ConvProblem,
    weight: npt.ArrayLike,
    grad_output: npt.ArrayLike,
    bias: npt.ArrayLike | None = None,
) -> np.ndarray:
    """Return the gradient of a loss by the input x, given that by the output.

    The convolution is linear in x, so this is its adjoint: each output element sends its gradient,
    weighted, back to the elements of the padded input that it was made of::

        padded_gradient[n, first + c, o * S + t * D] += weight[k, c, t] * grad_output[n, k, o]

    for all n, k, c, t and o. Then the border is folded back to where the padding took it from.

    Parameters
    ----------
    problem : ConvProblem
        The forward convolution's sizes and arguments.
    weight : array_like
        ``problem.weight_shape``.
    grad_output : array_like
        ``problem.output_shape``.
    bias : array_like, optional
        (C,), added to every element of a channel, as a transposed convolution does.

    Returns
    -------
    ndarray
        ``problem.input_shape``; float64 or int64.

    Raises
    ------
    TypeError, ValueError, OverflowError
        As :func:`conv`.

    Examples
    --------
    >>> problem = ConvProblem.from_shapes((1, 1, 5), (1, 1, 3), "int32", stride=2)
    >>> conv_input_gradient(problem, [[[1, 10, 100]]], [[[1, 2]]])
    array([[[  1,  10, 102,  20, 200]]])
    """
    dtype = accumulator(problem.dtype)
    weight = operand(weight, "weight", problem.weight_shape, dtype)
    gradient = operand(grad_output, "grad_output", problem.output_shape, dtype)
    # Folded back, an element collects at most what all of its copies in the padding collected.
    copies = 1
    if problem.padding_mode != "zeros":
        copies = math.prod(1 + before + after for before, after in problem.padding)
    terms = problem.filters // problem.groups * math.prod(problem.kernel) * copies
    if bias is not None:
        bias = operand(bias, "bias", (problem.channels,), dtype)
    check_exact((weight, gradient), terms, bias)

    with np.errstate(over="ignore", invalid="ignore"):
        padded = spread(
            _grouped_weight(problem, weight),
            grouped(to_channels_first(gradient, problem.layout), problem.groups),
            padded_size(problem.size, problem.padding),
            problem.stride,
            problem.dilation,
        )
        padded = padded.reshape(problem.batch, problem.channels, *padded.shape[3:])
        folded = fold_planes(padded, problem.padding, problem.padding_mode)
        if bias is not None:
            folded = folded + per_channel(bias, problem.rank)
    return from_channels_first(folded, problem.layout)


def conv_weight_gradient(
    problem: ConvProblem, x: npt.ArrayLike, grad_output: npt.ArrayLike
) -> np.ndarray:
    """Return the gradient of a loss by the weight, given that by the output.

    Each weight meets every output element of its filter, on the input element under its tap::

        gradient[k, c, t] = sum over n, o of
                            grad_output[n, k, o] * padded[n, first + c, o * S + t * D]

    Parameters
    ----------
    problem : ConvProblem
        The forward convolution's sizes and arguments.
    x : array_like
        ``problem.input_shape``.
    grad_output : array_like
        ``problem.output_shape``.

    Returns
    -------
    ndarray
        ``problem.weight_shape``; float64 or int64.

    Raises
    ------
    TypeError, ValueError, OverflowError
        As :func:`conv`.

    Examples
    --------
    >>> problem = ConvProblem.from_shapes((1, 1, 5), (1, 1, 3), "int32", stride=2)
    >>> conv_weight_gradient(problem, [[[1, 2, 3, 4, 5]]], [[[1, 10]]])
    array([[[31, 42, 53]]])
    """
    dtype = accumulator(problem.dtype)
    x = operand(x, "x", problem.input_shape, dtype)
    gradient = operand(grad_output, "grad_output", problem.output_shape, dtype)
    check_exact((x, gradient), problem.batch * math.prod(problem.output_size))

    first = to_channels_first(gradient, problem.layout)
    with np.errstate(over="ignore", invalid="ignore"):
        weight_gradient = correlate_weight(
            _padded(problem, x),
            grouped(first, problem.groups),
            problem.kernel,
            problem.stride,
            problem.dilation,
        )
    weight_gradient = weight_gradient.reshape(problem.weight_shape)
    if problem.flip:
        weight_gradient = flipped(weight_gradient, problem.rank)
    return np.ascontiguousarray(weight_gradient)


def conv_bias_gradient(problem: ConvProblem, grad_output: npt.ArrayLike) -> np.ndarray:
    """Return the gradient of a loss by the bias, given that by the output.

    A bias is added to every output element of its filter, so::

        gradient[k] = sum over n, o of  grad_output[n, k, o]

    Parameters
    ----------
    problem : ConvProblem
        The forward convolution's sizes and arguments.
    grad_output : array_like
        ``problem.output_shape``.

    Returns
    -------
    ndarray
        (K,); float64 or int64.

    Raises
    ------
    TypeError, ValueError, OverflowError
        As :func:`conv`.

    Examples
    --------
    >>> problem = ConvProblem.from_shapes((1, 1, 4), (2, 1, 3), "int32")
    >>> conv_bias_gradient(problem, [[[1, 2], [30, 40]]])
    array([ 3, 70])
    """
    gradient = operand(grad_output, "grad_output", problem.output_shape, accumulator(problem.dtype))
    check_exact((gradient,), problem.batch * math.prod(problem.output_size))
    first = to_channels_first(gradient, problem.layout)
    with np.errstate(over="ignore", invalid="ignore"):
        return np.asarray(first.sum(axis=(0, *range(2, first.ndim))))


def _padded(problem: ConvProblem, x: np.ndarray) -> np.ndarray:
    """Return the padded input as (N, G, C/G, *padded)."""
    first = to_channels_first(x, problem.layout)
    return grouped(pad_planes(first, problem.padding, problem.padding_mode), problem.groups)


def _grouped_weight(problem: ConvProblem, weight: np.ndarray) -> np.ndarray:
    """Return (K, C/G, *kernel) as (G, K/G, C/G, *kernel), each tap where it falls on the input."""
    filters = problem.filters // problem.groups
    of_groups = weight.reshape(problem.groups, filters, *weight.shape[1:])
    return flipped(of_groups, problem.rank) if problem.flip else of_groups

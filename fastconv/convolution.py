"""The convolution functions."""

from __future__ import annotations

import numpy.typing as npt

from fastconv.arguments import Padding, PerAxis
from fastconv.call import Array, clear_calls, convolve
from fastconv.docstrings import documented

_ARGUMENTS = """
    Parameters
    ----------
    x : array
        Input, shape ``(N, C, *spatial)``, or ``(N, *spatial, C)`` with ``layout="channels_last"``;
        without N, one image, whose result lacks it too. Any strides and byte order.
    weight : array
        Shape ``(K, C / groups, *kernel)`` in either layout.
    bias : array, optional
        Shape ``(K,)``, added to each output channel.
    stride : int or sequence of int
        Step between windows.
    padding : int, sequence or str
        An int; one int an axis; one (before, after) pair an axis; ``"valid"``; ``"same"``, an
        output of ``ceil(size / stride)`` with the odd element at the end; ``"same_lower"``, at
        the beginning.
    dilation : int or sequence of int
        Step between the elements of one window.
    groups : int
        Channels are cut into that many groups, convolved apart.
    padding_mode : str
        ``"zeros"``, ``"reflect"`` (edge not repeated), ``"symmetric"`` (edge repeated),
        ``"replicate"`` or ``"circular"``.
    flip : bool
        Reverse the kernel along each spatial axis: the convolution of mathematics. By default
        it is not reversed (cross-correlation), as in every network library.
    activation : str, optional
        Applied last: ``"relu"``, ``"relu6"``, ``"leaky_relu"`` (slope 0.01), ``"sigmoid"``,
        ``"tanh"``, ``"silu"``, ``"gelu"`` (by erf) or ``"hardswish"``.
    residual : array, optional
        Added before the activation; the result's shape.
    layout : str
        ``"channels_first"`` or ``"channels_last"``, of `x`, `residual` and the result.
    algorithm : str
        ``"auto"``, or a name of :func:`fastconv.algorithms`, which runs or raises.
    tolerance : float, optional
        The largest error bound, relative and in the 2-norm, of an algorithm that ``"auto"`` may
        choose; None takes that of :func:`fastconv.get_tolerance`. Where no algorithm is so accurate,
        the most accurate one runs. One that is asked for by name runs whatever its bound.
    precision : str, optional
        What the factors of products of float32 arrays may be rounded to: ``"ieee"``, to nothing, ``"tf32"``,
        ``"bf16"`` or ``"fp16"``; sums stay float32. None takes that of :func:`fastconv.get_precision`. It is a
        permission, which the processor makes no use of.
    out : array, optional
        Receives the result and is returned; its shape and type must be the result's, its strides
        may be any (a slice of channels of a larger array). It may overlap an input.

    Returns
    -------
    array
        Of the common type of `x` and `weight`; of int64, exact, if that is an integer type.
        Output size ``floor((W + before + after - D * (F - 1) - 1) / S) + 1`` an axis.

    Raises
    ------
    TypeError
        If an argument is of a wrong kind or an array of an unsupported type.
    ValueError
        If a value or shape is not possible; the message has the numbers.
    UnsupportedError
        If the algorithm asked for by name does not compute this problem.
    OverflowError
        If an exact integer result might not fit in int64.
"""

_documented = documented(arguments=_ARGUMENTS)


@_documented
def conv1d(
    x: npt.ArrayLike,
    weight: npt.ArrayLike,
    bias: npt.ArrayLike | None = None,
    stride: PerAxis = 1,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
    *,
    padding_mode: str = "zeros",
    flip: bool = False,
    activation: str | None = None,
    residual: npt.ArrayLike | None = None,
    layout: str = "channels_first",
    algorithm: str = "auto",
    tolerance: float | None = None,
    precision: str | None = None,
    out: Array | None = None,
) -> Array:
    """Convolve along one spatial axis.

    %(arguments)s

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x = np.arange(5.0).reshape(1, 1, 5)
    >>> difference = np.array([[[-1.0, 0.0, 1.0]]])
    >>> fastconv.conv1d(x, difference, padding="same", padding_mode="replicate")
    array([[[1., 2., 2., 2., 1.]]])
    """
    of_problem = (stride, padding, dilation, groups, padding_mode, flip, layout, precision)
    arguments = (*of_problem, activation, algorithm, tolerance)
    return convolve(1, x, weight, bias, residual, arguments, out)


@_documented
def conv2d(
    x: npt.ArrayLike,
    weight: npt.ArrayLike,
    bias: npt.ArrayLike | None = None,
    stride: PerAxis = 1,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
    *,
    padding_mode: str = "zeros",
    flip: bool = False,
    activation: str | None = None,
    residual: npt.ArrayLike | None = None,
    layout: str = "channels_first",
    algorithm: str = "auto",
    tolerance: float | None = None,
    precision: str | None = None,
    out: Array | None = None,
) -> Array:
    """Convolve along two spatial axes.

    %(arguments)s

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x = np.arange(9.0).reshape(1, 1, 3, 3)
    >>> fastconv.conv2d(x, np.ones((1, 1, 2, 2)), bias=[0.5])
    array([[[[ 8.5, 12.5],
             [20.5, 24.5]]]])
    """
    of_problem = (stride, padding, dilation, groups, padding_mode, flip, layout, precision)
    arguments = (*of_problem, activation, algorithm, tolerance)
    return convolve(2, x, weight, bias, residual, arguments, out)


@_documented
def conv3d(
    x: npt.ArrayLike,
    weight: npt.ArrayLike,
    bias: npt.ArrayLike | None = None,
    stride: PerAxis = 1,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
    *,
    padding_mode: str = "zeros",
    flip: bool = False,
    activation: str | None = None,
    residual: npt.ArrayLike | None = None,
    layout: str = "channels_first",
    algorithm: str = "auto",
    tolerance: float | None = None,
    precision: str | None = None,
    out: Array | None = None,
) -> Array:
    """Convolve along three spatial axes.

    %(arguments)s

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x = np.ones((2, 4, 4, 4))  # one volume of two channels, without a batch axis
    >>> fastconv.conv3d(x, np.ones((1, 2, 3, 3, 3))).shape
    (1, 2, 2, 2)
    """
    of_problem = (stride, padding, dilation, groups, padding_mode, flip, layout, precision)
    arguments = (*of_problem, activation, algorithm, tolerance)
    return convolve(3, x, weight, bias, residual, arguments, out)


def clear_cache() -> None:
    """Forget problems, choices, plans, packed weights, scratch and memory of released results; stored kernels stay.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.clear_cache()
    """
    clear_calls()

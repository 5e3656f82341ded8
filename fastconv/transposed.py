"""Transposed convolutions: the gradients by the input of convolutions, as operations of their own."""

from __future__ import annotations

import numpy.typing as npt

from fastconv.arguments import Padding, PerAxis
from fastconv.call import Array
from fastconv.docstrings import documented
from fastconv.gradient_call import TransposedRequest, compute

_ARGUMENTS = """
    Parameters
    ----------
    x : array
        Input, shape ``(N, C, *spatial)``, or ``(N, *spatial, C)`` with ``layout="channels_last"``;
        without N, one image, whose result lacks it too. Any strides and byte order.
    weight : array
        Shape ``(C, K / groups, *kernel)`` in either layout: of the convolution from K to C channels
        that this is the adjoint of.
    bias : array, optional
        Shape ``(K,)``, added to each output channel.
    stride : int or sequence of int
        Step of that convolution: elements of the result from one of the input to the next.
    padding : int, sequence or str
        Of that convolution, as in :func:`fastconv.conv2d`: so much is cut from the borders of the
        result. With ``"same"`` and ``"same_lower"`` the result has ``W * S`` elements an axis.
    output_padding : int or sequence of int
        By how much the result is larger at its end; less than the stride, or than the dilation if
        as much is padded there.
    groups : int
        Channels are cut into that many groups, convolved apart.
    dilation : int or sequence of int
        Step between the elements of one window.
    flip : bool
        Whether that convolution reads its kernel backwards.
    layout : str
        ``"channels_first"`` or ``"channels_last"``, of `x` and the result.
    algorithm : str
        ``"auto"``, or a name of :func:`fastconv.algorithms`, which runs or raises: what convolves by it
        what the result is made of, see ``docs/gradients.md``.
    tolerance, precision : optional
        As in :func:`fastconv.conv2d`.
    out : array, optional
        Receives the result and is returned; its shape and type must be the result's, its strides
        may be any. It may overlap an input.

    Returns
    -------
    array
        Of the common type of `x` and `weight`; of int64, exact, if that is an integer type. Output
        size ``(W - 1) * S + D * (F - 1) + 1 - before - after + output_padding`` an axis.

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
def conv_transpose1d(
    x: npt.ArrayLike,
    weight: npt.ArrayLike,
    bias: npt.ArrayLike | None = None,
    stride: PerAxis = 1,
    padding: Padding = 0,
    output_padding: PerAxis = 0,
    groups: int = 1,
    dilation: PerAxis = 1,
    *,
    flip: bool = False,
    layout: str = "channels_first",
    algorithm: str = "auto",
    tolerance: float | None = None,
    precision: str | None = None,
    out: Array | None = None,
) -> Array:
    """Convolve along one spatial axis, transposed: each element is spread over a window.

    %(arguments)s

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> weight = np.array([[[1.0, 10.0, 100.0]]])
    >>> fastconv.conv_transpose1d([[[1.0, 2.0]]], weight, stride=2, padding=1, output_padding=1)
    array([[[ 10., 102.,  20., 200.]]])
    """
    of_problem = (stride, padding, dilation, groups, "zeros", flip, layout, precision)
    request = TransposedRequest("input_gradient", 1, output_padding, of_problem, algorithm, tolerance)
    return compute(request, x, weight, bias, out)


@_documented
def conv_transpose2d(
    x: npt.ArrayLike,
    weight: npt.ArrayLike,
    bias: npt.ArrayLike | None = None,
    stride: PerAxis = 1,
    padding: Padding = 0,
    output_padding: PerAxis = 0,
    groups: int = 1,
    dilation: PerAxis = 1,
    *,
    flip: bool = False,
    layout: str = "channels_first",
    algorithm: str = "auto",
    tolerance: float | None = None,
    precision: str | None = None,
    out: Array | None = None,
) -> Array:
    """Convolve along two spatial axes, transposed: each element is spread over a window.

    %(arguments)s

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x = np.array([[[[1.0, 2.0], [3.0, 4.0]]]])
    >>> fastconv.conv_transpose2d(x, np.ones((1, 1, 2, 2)), bias=[0.5], stride=2)
    array([[[[1.5, 1.5, 2.5, 2.5],
             [1.5, 1.5, 2.5, 2.5],
             [3.5, 3.5, 4.5, 4.5],
             [3.5, 3.5, 4.5, 4.5]]]])
    """
    of_problem = (stride, padding, dilation, groups, "zeros", flip, layout, precision)
    request = TransposedRequest("input_gradient", 2, output_padding, of_problem, algorithm, tolerance)
    return compute(request, x, weight, bias, out)


@_documented
def conv_transpose3d(
    x: npt.ArrayLike,
    weight: npt.ArrayLike,
    bias: npt.ArrayLike | None = None,
    stride: PerAxis = 1,
    padding: Padding = 0,
    output_padding: PerAxis = 0,
    groups: int = 1,
    dilation: PerAxis = 1,
    *,
    flip: bool = False,
    layout: str = "channels_first",
    algorithm: str = "auto",
    tolerance: float | None = None,
    precision: str | None = None,
    out: Array | None = None,
) -> Array:
    """Convolve along three spatial axes, transposed: each element is spread over a window.

    %(arguments)s

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x = np.ones((1, 2, 2, 2))  # one volume of a single channel, without a batch axis
    >>> fastconv.conv_transpose3d(x, np.ones((1, 4, 3, 3, 3)), stride=2).shape
    (4, 5, 5, 5)
    """
    of_problem = (stride, padding, dilation, groups, "zeros", flip, layout, precision)
    request = TransposedRequest("input_gradient", 3, output_padding, of_problem, algorithm, tolerance)
    return compute(request, x, weight, bias, out)

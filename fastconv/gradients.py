"""Gradients of convolutions by their input and by their weight, as PyTorch's `torch.nn.grad` has them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy.typing as npt

from fastconv.arguments import Padding, PerAxis
from fastconv.call import Array
from fastconv.docstrings import documented
from fastconv.gradient_call import Request, compute

_ARGUMENTS = """
    stride, padding, dilation, groups, padding_mode, flip, layout : optional
        Of the convolution, as in :func:`fastconv.conv2d`; `layout` is that of all arrays but the weight.
    algorithm : str
        ``"auto"``, or a name of :func:`fastconv.algorithms`, which runs or raises: what convolves by it
        what the gradient is made of, see ``docs/gradients.md``.
    tolerance, precision : optional
        As in :func:`fastconv.conv2d`.
    out : array, optional
        Receives the result and is returned; its shape and type must be the result's, its strides
        may be any. It may overlap an input.

    Returns
    -------
    array
        Of the common type of both arrays; of int64, exact, if that is an integer type.

    Raises
    ------
    TypeError
        If an argument is of a wrong kind or an array of an unsupported type.
    ValueError
        If a value or shape is not possible; the message has the numbers, and calls the convolution's
        input x.
    UnsupportedError
        If the algorithm asked for by name does not compute this gradient.
    OverflowError
        If an exact integer result might not fit in int64.
"""

_BY_INPUT = """
    Parameters
    ----------
    input_size : sequence of int
        The shape of the convolution's input, and of the result: ``(N, C, *spatial)``, or
        ``(N, *spatial, C)`` with ``layout="channels_last"``; without N, one image.
    weight : array
        Shape ``(K, C / groups, *kernel)`` in either layout.
    grad_output : array
        The gradient by the convolution's output, and of its shape.
""" + _ARGUMENTS.lstrip("\n")

_BY_WEIGHT = """
    Parameters
    ----------
    x : array
        The convolution's input, ``(N, C, *spatial)``, or ``(N, *spatial, C)`` with
        ``layout="channels_last"``; without N, one image.
    weight_size : sequence of int
        The shape of the weight, and of the result: ``(K, C / groups, *kernel)`` in either layout.
    grad_output : array
        The gradient by the convolution's output, and of its shape.
""" + _ARGUMENTS.lstrip("\n")

_by_input, _by_weight = documented(arguments=_BY_INPUT), documented(arguments=_BY_WEIGHT)


@_by_input
def conv1d_input(
    input_size: Sequence[int],
    weight: npt.ArrayLike,
    grad_output: npt.ArrayLike,
    stride: PerAxis = 1,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
    *,
    padding_mode: str = "zeros",
    flip: bool = False,
    layout: str = "channels_first",
    algorithm: str = "auto",
    tolerance: float | None = None,
    precision: str | None = None,
    out: Array | None = None,
) -> Array:
    """Return the gradient of a convolution along one spatial axis by its input.

    %(arguments)s

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> weight = np.array([[[1.0, 10.0, 100.0]]])
    >>> fastconv.conv1d_input((1, 1, 5), weight, np.array([[[1.0, 2.0]]]), stride=2)
    array([[[  1.,  10., 102.,  20., 200.]]])
    """
    of_problem = (stride, padding, dilation, groups, padding_mode, flip, layout, precision)
    request = Request("input_gradient", 1, input_size, of_problem, algorithm, tolerance)
    return compute(request, grad_output, weight, None, out)


@_by_input
def conv2d_input(
    input_size: Sequence[int],
    weight: npt.ArrayLike,
    grad_output: npt.ArrayLike,
    stride: PerAxis = 1,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
    *,
    padding_mode: str = "zeros",
    flip: bool = False,
    layout: str = "channels_first",
    algorithm: str = "auto",
    tolerance: float | None = None,
    precision: str | None = None,
    out: Array | None = None,
) -> Array:
    """Return the gradient of a convolution along two spatial axes by its input.

    %(arguments)s

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> weight = np.array([[[[1.0, 2.0], [3.0, 4.0]]]])
    >>> fastconv.conv2d_input((1, 1, 3, 3), weight, np.array([[[[1.0, 0.0], [0.0, 10.0]]]]))
    array([[[[ 1.,  2.,  0.],
             [ 3., 14., 20.],
             [ 0., 30., 40.]]]])
    """
    of_problem = (stride, padding, dilation, groups, padding_mode, flip, layout, precision)
    request = Request("input_gradient", 2, input_size, of_problem, algorithm, tolerance)
    return compute(request, grad_output, weight, None, out)


@_by_input
def conv3d_input(
    input_size: Sequence[int],
    weight: npt.ArrayLike,
    grad_output: npt.ArrayLike,
    stride: PerAxis = 1,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
    *,
    padding_mode: str = "zeros",
    flip: bool = False,
    layout: str = "channels_first",
    algorithm: str = "auto",
    tolerance: float | None = None,
    precision: str | None = None,
    out: Array | None = None,
) -> Array:
    """Return the gradient of a convolution along three spatial axes by its input.

    %(arguments)s

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> grad_output = np.ones((1, 2, 2, 2))  # of one volume, without a batch axis
    >>> fastconv.conv3d_input((3, 4, 4, 4), np.ones((1, 3, 3, 3, 3)), grad_output).shape
    (3, 4, 4, 4)
    """
    of_problem = (stride, padding, dilation, groups, padding_mode, flip, layout, precision)
    request = Request("input_gradient", 3, input_size, of_problem, algorithm, tolerance)
    return compute(request, grad_output, weight, None, out)


@_by_weight
def conv1d_weight(
    x: npt.ArrayLike,
    weight_size: Sequence[int],
    grad_output: npt.ArrayLike,
    stride: PerAxis = 1,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
    *,
    padding_mode: str = "zeros",
    flip: bool = False,
    layout: str = "channels_first",
    algorithm: str = "auto",
    tolerance: float | None = None,
    precision: str | None = None,
    out: Array | None = None,
) -> Array:
    """Return the gradient of a convolution along one spatial axis by its weight.

    %(arguments)s

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x = np.array([[[1.0, 2.0, 3.0, 4.0, 5.0]]])
    >>> fastconv.conv1d_weight(x, (1, 1, 3), np.array([[[1.0, 10.0]]]), stride=2)
    array([[[31., 42., 53.]]])
    """
    of_problem = (stride, padding, dilation, groups, padding_mode, flip, layout, precision)
    request = Request("weight_gradient", 1, weight_size, of_problem, algorithm, tolerance)
    return compute(request, x, grad_output, None, out)


@_by_weight
def conv2d_weight(
    x: npt.ArrayLike,
    weight_size: Sequence[int],
    grad_output: npt.ArrayLike,
    stride: PerAxis = 1,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
    *,
    padding_mode: str = "zeros",
    flip: bool = False,
    layout: str = "channels_first",
    algorithm: str = "auto",
    tolerance: float | None = None,
    precision: str | None = None,
    out: Array | None = None,
) -> Array:
    """Return the gradient of a convolution along two spatial axes by its weight.

    %(arguments)s

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x = np.arange(9.0).reshape(1, 1, 3, 3)
    >>> fastconv.conv2d_weight(x, (1, 1, 2, 2), np.array([[[[1.0, 0.0], [0.0, 10.0]]]]))
    array([[[[40., 51.],
             [73., 84.]]]])
    """
    of_problem = (stride, padding, dilation, groups, padding_mode, flip, layout, precision)
    request = Request("weight_gradient", 2, weight_size, of_problem, algorithm, tolerance)
    return compute(request, x, grad_output, None, out)


@_by_weight
def conv3d_weight(
    x: npt.ArrayLike,
    weight_size: Sequence[int],
    grad_output: npt.ArrayLike,
    stride: PerAxis = 1,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    groups: int = 1,
    *,
    padding_mode: str = "zeros",
    flip: bool = False,
    layout: str = "channels_first",
    algorithm: str = "auto",
    tolerance: float | None = None,
    precision: str | None = None,
    out: Array | None = None,
) -> Array:
    """Return the gradient of a convolution along three spatial axes by its weight.

    %(arguments)s

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x, grad_output = np.ones((3, 4, 4, 4)), np.ones((1, 2, 2, 2))  # of one volume, without a batch axis
    >>> fastconv.conv3d_weight(x, (1, 3, 3, 3, 3), grad_output)[0, 0, 0, 0]
    array([8., 8., 8.])
    """
    of_problem = (stride, padding, dilation, groups, padding_mode, flip, layout, precision)
    request = Request("weight_gradient", 3, weight_size, of_problem, algorithm, tolerance)
    return compute(request, x, grad_output, None, out)

"""Gradients of the poolings by their input, for any number of spatial axes.

They are those of `fastconv.reference`, in the type of `grad_output`: sums are float64, and rounded once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from fastconv import reference
from fastconv.arguments import Padding, PerAxis
from fastconv.call import Array, array
from fastconv.rounding import rounded

F = TypeVar("F", bound=Callable[..., object])


def _rounded(found: Array, grad_output: object) -> Array:
    """`found`, in float64, in the type of `grad_output`."""
    dtype = array(grad_output, "grad_output").dtype.newbyteorder("=")
    with np.errstate(over="ignore", under="ignore"):
        return rounded(found, dtype).astype(dtype, copy=False)


def _as_reference(function: F) -> F:
    """Take the docstring of the reference's function of this name, but for its example."""
    text = getattr(reference, function.__name__).__doc__ or ""
    own = (function.__doc__ or "").partition("    Examples\n")
    shared = text.partition("    Examples\n")[0].replace("ndarray of float64", "ndarray, of the type of `grad_output`")
    function.__doc__ = shared + own[1] + own[2]
    return function


@_as_reference
def max_pool_gradient(
    grad_output: npt.ArrayLike,
    indices: npt.ArrayLike,
    input_size: Sequence[int],
    *,
    layout: str = "channels_first",
) -> Array:
    """Return the gradient by the input of a max pooling, adaptive and global ones included.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.max_pool_gradient([[[1.0, 2.0, 3.0]]], [[[0, 2, 2]]], [4])
    array([[[1., 0., 5., 0.]]])
    """
    return _rounded(reference.max_pool_gradient(grad_output, indices, input_size, layout=layout), grad_output)


@_as_reference
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
) -> Array:
    """Return the gradient by the input of an average pooling.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.avg_pool_gradient([[[2.0, 4.0]]], [3], 2, stride=1)
    array([[[1., 3., 2.]]])
    """
    windows = (kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)
    found = reference.avg_pool_gradient(grad_output, input_size, *windows, dilation=dilation, layout=layout)
    return _rounded(found, grad_output)


@_as_reference
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
) -> Array:
    """Return the gradient by the input of a p-norm pooling.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.lp_pool_gradient([[[10.0]]], [[[3.0, -4.0]]], 2, 2)
    array([[[ 6., -8.]]])
    """
    windows = (norm_type, kernel_size, stride, ceil_mode)
    others = {"padding": padding, "dilation": dilation}
    found = reference.lp_pool_gradient(grad_output, x, *windows, **others, layout=layout)  # type: ignore[arg-type]
    return _rounded(found, grad_output)


@_as_reference
def adaptive_avg_pool_gradient(
    grad_output: npt.ArrayLike, input_size: Sequence[int], *, layout: str = "channels_first"
) -> Array:
    """Return the gradient by the input of an adaptive average pooling, or a global one.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.adaptive_avg_pool_gradient([[[3.0, 6.0]]], [5])
    array([[[1., 1., 3., 2., 2.]]])
    """
    return _rounded(reference.adaptive_avg_pool_gradient(grad_output, input_size, layout=layout), grad_output)


@_as_reference
def max_unpool_gradient(grad_output: npt.ArrayLike, indices: npt.ArrayLike, *, layout: str = "channels_first") -> Array:
    """Return the gradient by the input of an unpooling.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.max_unpool_gradient([[[1.0, 2.0, 3.0, 4.0]]], [[[0, 2]]])
    array([[[1., 3.]]])
    """
    return _rounded(reference.max_unpool_gradient(grad_output, indices, layout=layout), grad_output)


@_as_reference
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
) -> Array:
    """Return the gradient by the input of a pooling of windows of channels.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.channel_pool_gradient([[[1.0, 2.0]]], [[[3.0, 4.0], [5.0, 2.0]]], 2)
    array([[[0., 2.],
            [1., 0.]]])
    """
    windows = (kernel_size, stride, padding, dilation, ceil_mode)
    others = {"kind": kind, "count_include_pad": count_include_pad, "norm_type": norm_type}
    found = reference.channel_pool_gradient(grad_output, x, *windows, **others, layout=layout)  # type: ignore[arg-type]
    return _rounded(found, grad_output)

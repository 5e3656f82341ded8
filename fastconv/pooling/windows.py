"""Poolings of windows: the largest element, the average, the p-norm."""

from __future__ import annotations

from typing import Literal, overload

import numpy.typing as npt

from fastconv.arguments import Padding, PerAxis
from fastconv.call import Array
from fastconv.docstrings import documented
from fastconv.pooling.call import pool
from fastconv.pooling.text import AVERAGES, MAXIMA, NORMS


@overload
def max_pool1d(
    x: npt.ArrayLike,
    kernel_size: PerAxis,
    stride: PerAxis | None = ...,
    padding: Padding = ...,
    dilation: PerAxis = ...,
    ceil_mode: bool = ...,
    return_indices: Literal[False] = ...,
    *,
    layout: str = ...,
    algorithm: str = ...,
    out: Array | None = ...,
) -> Array: ...
@overload
def max_pool1d(
    x: npt.ArrayLike,
    kernel_size: PerAxis,
    stride: PerAxis | None = ...,
    padding: Padding = ...,
    dilation: PerAxis = ...,
    ceil_mode: bool = ...,
    *,
    return_indices: Literal[True],
    layout: str = ...,
    algorithm: str = ...,
    out: Array | None = ...,
) -> tuple[Array, Array]: ...
@documented(arguments=MAXIMA)
def max_pool1d(
    x: npt.ArrayLike,
    kernel_size: PerAxis,
    stride: PerAxis | None = None,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    *,
    layout: str = "channels_first",
    algorithm: str = "auto",
    out: Array | None = None,
) -> Array | tuple[Array, Array]:
    """Return the largest element of each window along one spatial axis.

    %(arguments)s

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.max_pool1d(np.array([[[1, 5, 5, 2, 7]]]), 2, ceil_mode=True, return_indices=True)
    (array([[[5, 5, 7]]]), array([[[1, 2, 4]]]))
    """
    arguments = (kernel_size, stride, padding, dilation, ceil_mode)
    y, indices = pool("max_pool", 1, x, arguments, return_indices, layout, algorithm, out)
    return y if indices is None else (y, indices)


@overload
def max_pool2d(
    x: npt.ArrayLike,
    kernel_size: PerAxis,
    stride: PerAxis | None = ...,
    padding: Padding = ...,
    dilation: PerAxis = ...,
    ceil_mode: bool = ...,
    return_indices: Literal[False] = ...,
    *,
    layout: str = ...,
    algorithm: str = ...,
    out: Array | None = ...,
) -> Array: ...
@overload
def max_pool2d(
    x: npt.ArrayLike,
    kernel_size: PerAxis,
    stride: PerAxis | None = ...,
    padding: Padding = ...,
    dilation: PerAxis = ...,
    ceil_mode: bool = ...,
    *,
    return_indices: Literal[True],
    layout: str = ...,
    algorithm: str = ...,
    out: Array | None = ...,
) -> tuple[Array, Array]: ...
@documented(arguments=MAXIMA)
def max_pool2d(
    x: npt.ArrayLike,
    kernel_size: PerAxis,
    stride: PerAxis | None = None,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    *,
    layout: str = "channels_first",
    algorithm: str = "auto",
    out: Array | None = None,
) -> Array | tuple[Array, Array]:
    """Return the largest element of each window along two spatial axes.

    %(arguments)s

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.max_pool2d(np.arange(16.0).reshape(1, 1, 4, 4), 2)
    array([[[[ 5.,  7.],
             [13., 15.]]]])
    """
    arguments = (kernel_size, stride, padding, dilation, ceil_mode)
    y, indices = pool("max_pool", 2, x, arguments, return_indices, layout, algorithm, out)
    return y if indices is None else (y, indices)


@overload
def max_pool3d(
    x: npt.ArrayLike,
    kernel_size: PerAxis,
    stride: PerAxis | None = ...,
    padding: Padding = ...,
    dilation: PerAxis = ...,
    ceil_mode: bool = ...,
    return_indices: Literal[False] = ...,
    *,
    layout: str = ...,
    algorithm: str = ...,
    out: Array | None = ...,
) -> Array: ...
@overload
def max_pool3d(
    x: npt.ArrayLike,
    kernel_size: PerAxis,
    stride: PerAxis | None = ...,
    padding: Padding = ...,
    dilation: PerAxis = ...,
    ceil_mode: bool = ...,
    *,
    return_indices: Literal[True],
    layout: str = ...,
    algorithm: str = ...,
    out: Array | None = ...,
) -> tuple[Array, Array]: ...
@documented(arguments=MAXIMA)
def max_pool3d(
    x: npt.ArrayLike,
    kernel_size: PerAxis,
    stride: PerAxis | None = None,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    *,
    layout: str = "channels_first",
    algorithm: str = "auto",
    out: Array | None = None,
) -> Array | tuple[Array, Array]:
    """Return the largest element of each window along three spatial axes.

    %(arguments)s

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.max_pool3d(np.arange(8.0).reshape(1, 2, 2, 2), 2)  # one volume, without a batch axis
    array([[[[7.]]]])
    """
    arguments = (kernel_size, stride, padding, dilation, ceil_mode)
    y, indices = pool("max_pool", 3, x, arguments, return_indices, layout, algorithm, out)
    return y if indices is None else (y, indices)


@documented(arguments=AVERAGES)
def avg_pool1d(
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
    algorithm: str = "auto",
    out: Array | None = None,
) -> Array:
    """Return the average of each window along one spatial axis.

    %(arguments)s

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.avg_pool1d(np.array([[[3.0, 6.0, 9.0]]]), 2, padding=1, count_include_pad=False)
    array([[[3. , 7.5]]])
    """
    arguments = (kernel_size, stride, padding, dilation, ceil_mode, count_include_pad, divisor_override)
    return pool("avg_pool", 1, x, arguments, False, layout, algorithm, out)[0]


@documented(arguments=AVERAGES)
def avg_pool2d(
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
    algorithm: str = "auto",
    out: Array | None = None,
) -> Array:
    """Return the average of each window along two spatial axes.

    %(arguments)s

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.avg_pool2d(np.arange(16.0).reshape(1, 1, 4, 4), 2)
    array([[[[ 2.5,  4.5],
             [10.5, 12.5]]]])
    """
    arguments = (kernel_size, stride, padding, dilation, ceil_mode, count_include_pad, divisor_override)
    return pool("avg_pool", 2, x, arguments, False, layout, algorithm, out)[0]


@documented(arguments=AVERAGES)
def avg_pool3d(
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
    algorithm: str = "auto",
    out: Array | None = None,
) -> Array:
    """Return the average of each window along three spatial axes.

    %(arguments)s

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.avg_pool3d(np.arange(8.0).reshape(1, 2, 2, 2), 2)
    array([[[[3.5]]]])
    """
    arguments = (kernel_size, stride, padding, dilation, ceil_mode, count_include_pad, divisor_override)
    return pool("avg_pool", 3, x, arguments, False, layout, algorithm, out)[0]


@documented(arguments=NORMS)
def lp_pool1d(
    x: npt.ArrayLike,
    norm_type: float,
    kernel_size: PerAxis,
    stride: PerAxis | None = None,
    ceil_mode: bool = False,
    *,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    layout: str = "channels_first",
    algorithm: str = "auto",
    out: Array | None = None,
) -> Array:
    """Return the p-norm of each window along one spatial axis.

    %(arguments)s

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.lp_pool1d(np.array([[[3.0, -4.0, 6.0, 8.0]]]), 2, 2)
    array([[[ 5., 10.]]])
    """
    arguments = (kernel_size, stride, padding, dilation, ceil_mode, True, None, norm_type)
    return pool("lp_pool", 1, x, arguments, False, layout, algorithm, out)[0]


@documented(arguments=NORMS)
def lp_pool2d(
    x: npt.ArrayLike,
    norm_type: float,
    kernel_size: PerAxis,
    stride: PerAxis | None = None,
    ceil_mode: bool = False,
    *,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    layout: str = "channels_first",
    algorithm: str = "auto",
    out: Array | None = None,
) -> Array:
    """Return the p-norm of each window along two spatial axes.

    %(arguments)s

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.lp_pool2d(np.array([[[[1.0, -2.0], [3.0, 4.0]]]]), 1, 2)
    array([[[[10.]]]])
    """
    arguments = (kernel_size, stride, padding, dilation, ceil_mode, True, None, norm_type)
    return pool("lp_pool", 2, x, arguments, False, layout, algorithm, out)[0]


@documented(arguments=NORMS)
def lp_pool3d(
    x: npt.ArrayLike,
    norm_type: float,
    kernel_size: PerAxis,
    stride: PerAxis | None = None,
    ceil_mode: bool = False,
    *,
    padding: Padding = 0,
    dilation: PerAxis = 1,
    layout: str = "channels_first",
    algorithm: str = "auto",
    out: Array | None = None,
) -> Array:
    """Return the p-norm of each window along three spatial axes.

    %(arguments)s

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.lp_pool3d(np.ones((1, 1, 2, 2, 4)), 3.0, (2, 2, 2)).shape
    (1, 1, 1, 1, 2)
    """
    arguments = (kernel_size, stride, padding, dilation, ceil_mode, True, None, norm_type)
    return pool("lp_pool", 3, x, arguments, False, layout, algorithm, out)[0]

"""Poolings that are told the size of their output: adaptive ones, and global ones, whose output is one element."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias, cast, overload

import numpy as np
import numpy.typing as npt

from fastconv.arguments import one_of, truth
from fastconv.call import Array, array
from fastconv.devices import all_on_device
from fastconv.docstrings import documented
from fastconv.pooling.call import pool
from fastconv.pooling.text import ADAPTIVE_AVERAGES, ADAPTIVE_MAXIMA, GLOBAL
from fastconv.problem import LAYOUTS, image_shape

OutputSize: TypeAlias = int | Sequence[int | None] | None


@documented(arguments=ADAPTIVE_AVERAGES)
def adaptive_avg_pool1d(
    x: npt.ArrayLike,
    output_size: OutputSize,
    *,
    layout: str = "channels_first",
    algorithm: str = "auto",
    out: Array | None = None,
) -> Array:
    """Return the average of each of `output_size` pieces along one spatial axis.

    %(arguments)s

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.adaptive_avg_pool1d(np.array([[[1.0, 2.0, 3.0, 4.0, 5.0]]]), 2)
    array([[[2., 4.]]])
    """
    return pool("adaptive_avg_pool", 1, x, (output_size,), False, layout, algorithm, out)[0]


@documented(arguments=ADAPTIVE_AVERAGES)
def adaptive_avg_pool2d(
    x: npt.ArrayLike,
    output_size: OutputSize,
    *,
    layout: str = "channels_first",
    algorithm: str = "auto",
    out: Array | None = None,
) -> Array:
    """Return the average of each of `output_size` pieces along two spatial axes.

    %(arguments)s

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.adaptive_avg_pool2d(np.ones((8, 16, 9, 9)), (4, None)).shape
    (8, 16, 4, 9)
    """
    return pool("adaptive_avg_pool", 2, x, (output_size,), False, layout, algorithm, out)[0]


@documented(arguments=ADAPTIVE_AVERAGES)
def adaptive_avg_pool3d(
    x: npt.ArrayLike,
    output_size: OutputSize,
    *,
    layout: str = "channels_first",
    algorithm: str = "auto",
    out: Array | None = None,
) -> Array:
    """Return the average of each of `output_size` pieces along three spatial axes.

    %(arguments)s

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.adaptive_avg_pool3d(np.ones((8, 16, 9, 9, 5)), 4).shape
    (8, 16, 4, 4, 4)
    """
    return pool("adaptive_avg_pool", 3, x, (output_size,), False, layout, algorithm, out)[0]


@overload
def adaptive_max_pool1d(
    x: npt.ArrayLike,
    output_size: OutputSize,
    return_indices: Literal[False] = ...,
    *,
    layout: str = ...,
    algorithm: str = ...,
    out: Array | None = ...,
) -> Array: ...
@overload
def adaptive_max_pool1d(
    x: npt.ArrayLike,
    output_size: OutputSize,
    return_indices: Literal[True],
    *,
    layout: str = ...,
    algorithm: str = ...,
    out: Array | None = ...,
) -> tuple[Array, Array]: ...
@documented(arguments=ADAPTIVE_MAXIMA)
def adaptive_max_pool1d(
    x: npt.ArrayLike,
    output_size: OutputSize,
    return_indices: bool = False,
    *,
    layout: str = "channels_first",
    algorithm: str = "auto",
    out: Array | None = None,
) -> Array | tuple[Array, Array]:
    """Return the largest element of each of `output_size` pieces along one spatial axis.

    %(arguments)s

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.adaptive_max_pool1d(np.array([[[1, 2, 3, 2, 1]]]), 2, return_indices=True)
    (array([[[3, 3]]]), array([[[2, 2]]]))
    """
    y, indices = pool("adaptive_max_pool", 1, x, (output_size,), return_indices, layout, algorithm, out)
    return y if indices is None else (y, indices)


@overload
def adaptive_max_pool2d(
    x: npt.ArrayLike,
    output_size: OutputSize,
    return_indices: Literal[False] = ...,
    *,
    layout: str = ...,
    algorithm: str = ...,
    out: Array | None = ...,
) -> Array: ...
@overload
def adaptive_max_pool2d(
    x: npt.ArrayLike,
    output_size: OutputSize,
    return_indices: Literal[True],
    *,
    layout: str = ...,
    algorithm: str = ...,
    out: Array | None = ...,
) -> tuple[Array, Array]: ...
@documented(arguments=ADAPTIVE_MAXIMA)
def adaptive_max_pool2d(
    x: npt.ArrayLike,
    output_size: OutputSize,
    return_indices: bool = False,
    *,
    layout: str = "channels_first",
    algorithm: str = "auto",
    out: Array | None = None,
) -> Array | tuple[Array, Array]:
    """Return the largest element of each of `output_size` pieces along two spatial axes.

    %(arguments)s

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.adaptive_max_pool2d(np.arange(9.0).reshape(1, 1, 3, 3), (2, 1))
    array([[[[5.],
             [8.]]]])
    """
    y, indices = pool("adaptive_max_pool", 2, x, (output_size,), return_indices, layout, algorithm, out)
    return y if indices is None else (y, indices)


@overload
def adaptive_max_pool3d(
    x: npt.ArrayLike,
    output_size: OutputSize,
    return_indices: Literal[False] = ...,
    *,
    layout: str = ...,
    algorithm: str = ...,
    out: Array | None = ...,
) -> Array: ...
@overload
def adaptive_max_pool3d(
    x: npt.ArrayLike,
    output_size: OutputSize,
    return_indices: Literal[True],
    *,
    layout: str = ...,
    algorithm: str = ...,
    out: Array | None = ...,
) -> tuple[Array, Array]: ...
@documented(arguments=ADAPTIVE_MAXIMA)
def adaptive_max_pool3d(
    x: npt.ArrayLike,
    output_size: OutputSize,
    return_indices: bool = False,
    *,
    layout: str = "channels_first",
    algorithm: str = "auto",
    out: Array | None = None,
) -> Array | tuple[Array, Array]:
    """Return the largest element of each of `output_size` pieces along three spatial axes.

    %(arguments)s

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.adaptive_max_pool3d(np.ones((8, 16, 9, 9, 5)), (None, 3, 3)).shape
    (8, 16, 9, 3, 3)
    """
    y, indices = pool("adaptive_max_pool", 3, x, (output_size,), return_indices, layout, algorithm, out)
    return y if indices is None else (y, indices)


@documented(arguments=GLOBAL)
def global_avg_pool(
    x: npt.ArrayLike,
    *,
    keepdims: bool = True,
    layout: str = "channels_first",
    algorithm: str = "auto",
    out: Array | None = None,
) -> Array:
    """Return the average of each plane or volume.

    %(arguments)s

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.global_avg_pool(np.array([[[1.0, 2.0], [3.0, 6.0]]]), keepdims=False)
    array([[1.5, 4.5]])
    """
    return _global("adaptive_avg_pool", x, None, keepdims, layout, algorithm, out)


@documented(arguments=GLOBAL)
def global_max_pool(
    x: npt.ArrayLike,
    *,
    keepdims: bool = True,
    layout: str = "channels_first",
    algorithm: str = "auto",
    out: Array | None = None,
) -> Array:
    """Return the largest element of each plane or volume; NaN is greater than every number.

    %(arguments)s

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.global_max_pool(np.array([[[1, 2], [6, 3]]]))
    array([[[2],
            [6]]])
    """
    return _global("adaptive_max_pool", x, None, keepdims, layout, algorithm, out)


@documented(arguments=GLOBAL)
def global_lp_pool(
    x: npt.ArrayLike,
    norm_type: float = 2.0,
    *,
    keepdims: bool = True,
    layout: str = "channels_first",
    algorithm: str = "auto",
    out: Array | None = None,
) -> Array:
    """Return the p-norm of each plane or volume; `norm_type` is p, more than 0, and may be infinite.

    %(arguments)s

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.global_lp_pool(np.array([[[3.0, 4.0], [-6.0, 8.0]]]), keepdims=False)
    array([[ 5., 10.]])
    """
    return _global("lp_pool", x, norm_type, keepdims, layout, algorithm, out)


def _global(
    operation: str, x: object, norm_type: object, keepdims: object, layout: str, algorithm: str, out: Array | None
) -> Array:
    if type(x) is not np.ndarray and all_on_device(x=x, out=out):
        from fastconv.cuda import pooling_call as device  # not before such an array arrives

        found = device.pool_globally(operation, x, norm_type, truth(keepdims, "keepdims"), layout, algorithm, out)
        return cast("Array", found)  # of x's library
    images = array(x, "x")
    size = image_shape(images.shape, "x", layout)[2:]
    axes = (
        tuple(range(2, images.ndim))
        if one_of(layout, LAYOUTS, "layout") == LAYOUTS[0]
        else tuple(range(1, images.ndim - 1))
    )
    kept = truth(keepdims, "keepdims")
    if out is not None and not kept:
        if not isinstance(out, np.ndarray):
            raise TypeError(f"out must be an array, got {type(out).__name__}")
        if out.ndim != 2:
            raise ValueError(f"out must have shape (N, C), got {out.shape}")
    target = out if out is None or kept else np.expand_dims(out, axes)
    y, _ = pool(operation, None, images, global_arguments(operation, size, norm_type), False, layout, algorithm, target)
    if kept:
        return y
    return y.squeeze(axes) if out is None else out


def global_arguments(operation: str, size: tuple[int, ...], norm_type: object) -> tuple[object, ...]:
    """Return the arguments of :func:`fastconv.pooling.call.pool` by which planes of a size become one element."""
    return (1,) if operation != "lp_pool" else (size, 1, 0, 1, False, True, None, norm_type)

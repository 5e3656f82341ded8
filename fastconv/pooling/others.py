"""Unpooling, and pooling of windows of channels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import numpy as np
import numpy.typing as npt

from fastconv import reference
from fastconv.arguments import Padding, PerAxis, one_of
from fastconv.call import Array, array, checked_out, dense, has_batch_axis
from fastconv.devices import all_on_device
from fastconv.docstrings import documented
from fastconv.pooling.call import pool
from fastconv.problem import LAYOUTS, image_shape

_UNPOOL = """Parameters
    ----------
    x : array
        Shape ``(N, C, *spatial)``, or ``(N, *spatial, C)`` with ``layout="channels_last"``; without N, one
        image, whose result lacks it too.
    indices : array of int
        In the shape of `x`, as the pooling returned them: flat positions in a plane of the result. The
        index -1 is skipped; where several are equal the last is kept.
    kernel_size, stride, padding : optional
        Those of the pooling. They only say the size of the result where `output_size` does not.
    output_size : int or sequence of int, optional
        The spatial size of the result. If None, ``(W - 1) * S + F - before - after`` an axis, the
        least that the pooling can have had; ``W * S`` with ``"same"`` and ``"same_lower"``.
    layout : str
        Where the channel axis is.
    out : array, optional
        Receives the result and is returned; its shape and type must be the result's.

    Returns
    -------
    array
        Of the type of `x`, 0 where no maximum was.

    Raises
    ------
    TypeError
        If an argument is of a wrong kind.
    ValueError
        If an argument's value is not possible, the shapes differ, or an index is outside."""


@documented(arguments=_UNPOOL)
def max_unpool1d(
    x: npt.ArrayLike,
    indices: npt.ArrayLike,
    kernel_size: PerAxis,
    stride: PerAxis | None = None,
    padding: Padding = 0,
    output_size: PerAxis | None = None,
    *,
    layout: str = "channels_first",
    out: Array | None = None,
) -> Array:
    """Put maxima back where they came from along one spatial axis, with zeros elsewhere.

    %(arguments)s

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> y, indices = fastconv.max_pool1d(np.array([[[1, 5, 5, 2, 7]]]), 2, return_indices=True)
    >>> fastconv.max_unpool1d(y, indices, 2, output_size=5)
    array([[[0, 5, 5, 0, 0]]])
    """
    return _unpooled(1, x, indices, (kernel_size, stride, padding, output_size), layout, out)


@documented(arguments=_UNPOOL)
def max_unpool2d(
    x: npt.ArrayLike,
    indices: npt.ArrayLike,
    kernel_size: PerAxis,
    stride: PerAxis | None = None,
    padding: Padding = 0,
    output_size: PerAxis | None = None,
    *,
    layout: str = "channels_first",
    out: Array | None = None,
) -> Array:
    """Put maxima back where they came from along two spatial axes, with zeros elsewhere.

    %(arguments)s

    Examples
    --------
    >>> import fastconv
    >>> fastconv.max_unpool2d([[[[5.0]]]], [[[[3]]]], 2)
    array([[[[0., 0.],
             [0., 5.]]]])
    """
    return _unpooled(2, x, indices, (kernel_size, stride, padding, output_size), layout, out)


@documented(arguments=_UNPOOL)
def max_unpool3d(
    x: npt.ArrayLike,
    indices: npt.ArrayLike,
    kernel_size: PerAxis,
    stride: PerAxis | None = None,
    padding: Padding = 0,
    output_size: PerAxis | None = None,
    *,
    layout: str = "channels_first",
    out: Array | None = None,
) -> Array:
    """Put maxima back where they came from along three spatial axes, with zeros elsewhere.

    %(arguments)s

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.max_unpool3d(np.ones((1, 1, 2, 2, 2)), np.arange(8).reshape(1, 1, 2, 2, 2), 2).shape
    (1, 1, 4, 4, 4)
    """
    return _unpooled(3, x, indices, (kernel_size, stride, padding, output_size), layout, out)


def _unpooled(
    rank: int,
    x: object,
    indices: object,
    arguments: tuple[PerAxis, PerAxis | None, Padding, PerAxis | None],
    layout: str,
    out: object,
) -> Array:
    values, places = array(x, "x"), array(indices, "indices")
    batched = has_batch_axis(values, rank)
    if not batched:
        values, places = values[np.newaxis], places[np.newaxis]
    kernel_size, stride, padding, output_size = arguments
    size = (output_size,) * rank if isinstance(output_size, int | np.integer) else output_size
    y = reference.max_unpool(values, places, kernel_size, stride, padding, size, layout=layout)  # type: ignore[arg-type]
    found = y if batched else y[0]
    if out is None:
        return found
    target = checked_out(out, found.shape, found.dtype)
    target[...] = found
    return target


_KINDS = {"max": "max_pool", "average": "avg_pool", "lp": "lp_pool"}


def channel_pool(
    x: npt.ArrayLike,
    kernel_size: int,
    stride: int | None = None,
    padding: str | int | Sequence[Sequence[int]] = 0,
    dilation: int = 1,
    ceil_mode: bool = False,
    *,
    kind: str = "max",
    count_include_pad: bool = True,
    norm_type: float = 2.0,
    layout: str = "channels_first",
    algorithm: str = "auto",
    out: Array | None = None,
) -> Array:
    """Pool windows of channels: the depth of each pixel is the one axis that is pooled.

    It is a 1-D pooling of the same numbers seen in another shape, and that is the problem that is solved.

    Parameters
    ----------
    x : array
        Input, shape ``(N, C, *spatial)``, or ``(N, *spatial, C)`` with ``layout="channels_last"``, of 1 to 3
        spatial axes. Any strides and byte order; floating, or for ``"max"`` integers.
    kernel_size, stride, padding, dilation, ceil_mode : optional
        As of :func:`fastconv.max_pool1d`.
    kind : str
        ``"max"``, ``"average"`` or ``"lp"``.
    count_include_pad : bool
        As of :func:`fastconv.avg_pool1d`; read by ``"average"`` alone.
    norm_type : float
        As of :func:`fastconv.lp_pool1d`; read by ``"lp"`` alone.
    layout : str
        Where the channel axis is.
    algorithm, out : optional
        As of :func:`fastconv.max_pool1d`.

    Returns
    -------
    array
        (N, windows, *spatial) or (N, *spatial, windows), of the type of `x`.

    Raises
    ------
    TypeError
        If an argument is of a wrong kind.
    ValueError
        If its value is not possible, or no window fits.
    UnsupportedError
        If the algorithm asked for by name does not compute this problem.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x = np.array([[[1, 2], [8, 9], [4, 7], [6, 3]]])  # 4 channels of 2 pixels
    >>> fastconv.channel_pool(x, 2)
    array([[[8, 9],
            [6, 7]]])
    """
    average, norm = kind == "average", kind == "lp"
    arguments = (
        *(kernel_size, stride, padding, dilation, ceil_mode),
        *(count_include_pad if average else True, None, norm_type if norm else None),
    )
    operation = _KINDS[one_of(kind, tuple(_KINDS), "kind")]
    one_of(layout, LAYOUTS, "layout")
    if type(x) is not np.ndarray and all_on_device(x=x, out=out):
        from fastconv.cuda import pooling_call as device  # not before such an array arrives

        return cast("Array", device.pool_channels(operation, x, arguments, layout, algorithm, out))  # of x's library
    images = array(x, "x")
    batch, channels, *size = image_shape(images.shape, "x", layout)
    images = dense(images, images.dtype)
    depths = images.reshape(shape_of_depths(batch, channels, size, layout))
    y, _ = pool(operation, 1, depths, arguments, False, "channels_last", algorithm, None)
    windows = y.shape[1]
    found = y.reshape((batch, windows, *size) if layout == "channels_first" else (batch, *size, windows))
    if out is None:
        return found
    target = checked_out(out, found.shape, found.dtype)
    target[...] = found
    return target


def shape_of_depths(batch: int, channels: int, size: Sequence[int], layout: str) -> tuple[int, int, int]:
    """Return the shape in which depth is the one spatial axis of images in `layout`, which lie densely.

    Where channels come first, the pixels are its channels, which lie last.
    """
    pixels = math.prod(size)
    return (batch, channels, pixels) if layout == "channels_first" else (batch * pixels, channels, 1)

"""Filters of images with the names and meanings of `scipy.ndimage`, on the package's algorithms.

Code moves over by changing the import; ``docs/signal.md`` has the few differences.

>>> from fastconv import ndimage
>>> ndimage.correlate1d([2, 8, 0, 4, 1, 9, 9, 0], weights=[1, 3])
array([ 8, 26,  8, 12,  7, 28, 36,  9])
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import SupportsIndex, TypeAlias

import numpy as np
import numpy.typing as npt

from fastconv.arguments import integer, one_of
from fastconv.docstrings import documented
from fastconv.signal.numbers import check_number, correlate_numbers, rounded
from fastconv.signal.operands import axes_of, operand, scalar
from fastconv.signal.planes import Border, Choice
from fastconv.signal.truncation import correlate_truncated

__all__ = ["convolve", "convolve1d", "correlate", "correlate1d"]

#: SciPy's names of what lies around an image, and those of `fastconv.problem.PADDING_MODES`.
MODES = {
    "reflect": "symmetric",
    "constant": "zeros",
    "nearest": "replicate",
    "mirror": "reflect",
    "wrap": "circular",
    "grid-mirror": "symmetric",
    "grid-constant": "zeros",
    "grid-wrap": "circular",
}

Origin: TypeAlias = SupportsIndex | Sequence[SupportsIndex]
#: The types that sums are computed in: real or complex, narrow or not.
_WORK: dict[tuple[str, bool], np.dtype[np.generic]] = {
    ("f", True): np.dtype(np.float32),
    ("f", False): np.dtype(np.float64),
    ("c", True): np.dtype(np.complex64),
    ("c", False): np.dtype(np.complex128),
}

#: An image, weights, and their origins.
_Filter: TypeAlias = tuple[np.ndarray, np.ndarray, list[int]]

_ARGUMENTS = """
    output : array or data type, optional
        An array of the result's shape, which receives it and is returned, and may overlap the input; or the result's
        type, by default that of `input`, or complex if `input` or `weights` are.
    mode : {'reflect', 'constant', 'nearest', 'mirror', 'wrap'}, optional
        What lies around ``a b c d``: ``d c b a | a b c d | d c b a`` for ``'reflect'``; `cval` for ``'constant'``;
        ``a a a a | a b c d | d d d d`` for ``'nearest'``; ``d c b | a b c d | c b a`` for ``'mirror'``;
        ``a b c d | a b c d | a b c d`` for ``'wrap'``. ``'grid-mirror'``, ``'grid-constant'`` and ``'grid-wrap'`` are
        the first, the second and the last of them.
    cval : scalar, optional
        Around the input with ``mode='constant'``.
"""

_ENDING = """
    algorithm : str, optional
        ``"auto"``, or a name of :func:`fastconv.algorithms`, which runs or raises.
    tolerance : float, optional
        The largest error bound of an algorithm that ``"auto"`` may choose; see :func:`fastconv.conv2d`.

    Returns
    -------
    ndarray
        The input's shape. Results for an integer type are cut off towards zero, modulo its size.

    Raises
    ------
    TypeError
        If an argument is of a wrong kind, or an array of a type that is not supported.
    ValueError
        If a value or shape is not possible.
    UnsupportedError
        If the algorithm asked for by name does not compute this.
    OverflowError
        If whole numbers, which are filtered exactly, could give a result that does not fit in int64.
"""

_WEIGHTS = """
    input : array_like
        An image of any number of dimensions: bools, integers, floats or complex numbers, of at most 64 bits a part.
    weights : array_like
        As many dimensions as the input has, or as `axes` names.
"""

_LINE = """
    input : array_like
        An image of any number of dimensions: bools, integers, floats or complex numbers, of at most 64 bits a part.
    weights : array_like
        One dimension.
    axis : int, optional
        Along which lines lie.
"""

_ONE = """
    origin : int, optional
        Where in the weights the centre is, in elements from their middle ``n // 2``.
"""

_SEVERAL = """
    origin : int or sequence of int, optional
        Where in the weights the centre is, in elements from their middle ``n // 2``: one for all axes, or one an axis.
    axes : int or sequence of int, optional
        Axes of the input that are filtered, one for each of the weights; all by default.
"""


_COMMON = {
    "weights": _WEIGHTS,
    "line": _LINE,
    "arguments": _ARGUMENTS,
    "several": _SEVERAL,
    "one": _ONE,
    "ending": _ENDING,
}


_documented = documented(**_COMMON)


@_documented
def correlate(
    input: npt.ArrayLike,
    weights: npt.ArrayLike,
    output: np.ndarray | npt.DTypeLike | None = None,
    mode: str = "reflect",
    cval: complex = 0.0,
    origin: Origin = 0,
    *,
    axes: SupportsIndex | Sequence[SupportsIndex] | None = None,
    algorithm: str = "auto",
    tolerance: float | None = None,
) -> np.ndarray:
    """Correlate an image of any number of dimensions with weights, which are conjugated.

    Parameters
    ----------
    %(weights)s
    %(arguments)s
    %(several)s
    %(ending)s

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import ndimage
    >>> ndimage.correlate(np.arange(9).reshape(3, 3), [[0, 1, 0], [1, 1, 1], [0, 1, 0]])
    array([[ 4,  8, 12],
           [16, 20, 24],
           [28, 32, 36]])
    """
    image, kernel, origins = _several(input, weights, origin, axes)
    if kernel.dtype.kind == "c":
        kernel = kernel.conj()
    return _filtered(image, kernel, origins, output, mode, cval, Choice(algorithm, tolerance))


@_documented
def convolve(
    input: npt.ArrayLike,
    weights: npt.ArrayLike,
    output: np.ndarray | npt.DTypeLike | None = None,
    mode: str = "reflect",
    cval: complex = 0.0,
    origin: Origin = 0,
    *,
    axes: SupportsIndex | Sequence[SupportsIndex] | None = None,
    algorithm: str = "auto",
    tolerance: float | None = None,
) -> np.ndarray:
    """Convolve an image of any number of dimensions with weights.

    Parameters
    ----------
    %(weights)s
    %(arguments)s
    %(several)s
    %(ending)s

    Examples
    --------
    >>> from fastconv import ndimage
    >>> ndimage.convolve([1.0, 2.0, 3.0], [1.0, 0.0, -1.0], mode="nearest")
    array([1., 2., 1.])
    >>> ndimage.convolve([1.0, 2.0, 3.0], [1.0, 0.0, -1.0], mode="constant", cval=10)
    array([-8.,  2.,  8.])
    """
    image, kernel, origins = _several(input, weights, origin, axes)
    return _filtered(image, *_turned(kernel, origins), output, mode, cval, Choice(algorithm, tolerance))


@_documented
def correlate1d(
    input: npt.ArrayLike,
    weights: npt.ArrayLike,
    axis: SupportsIndex = -1,
    output: np.ndarray | npt.DTypeLike | None = None,
    mode: str = "reflect",
    cval: complex = 0.0,
    origin: SupportsIndex = 0,
    *,
    algorithm: str = "auto",
    tolerance: float | None = None,
) -> np.ndarray:
    """Correlate the lines of an image along one axis with weights, which are conjugated.

    Parameters
    ----------
    %(line)s
    %(arguments)s
    %(one)s
    %(ending)s

    Examples
    --------
    >>> from fastconv import ndimage
    >>> ndimage.correlate1d([[1, 2, 3], [10, 20, 30]], [-1, 0, 1], axis=0)
    array([[ 9, 18, 27],
           [ 9, 18, 27]])
    """
    image, kernel, origins = _one(input, weights, axis, origin)
    if kernel.dtype.kind == "c":
        kernel = kernel.conj()
    return _filtered(image, kernel, origins, output, mode, cval, Choice(algorithm, tolerance), folded=True)


@_documented
def convolve1d(
    input: npt.ArrayLike,
    weights: npt.ArrayLike,
    axis: SupportsIndex = -1,
    output: np.ndarray | npt.DTypeLike | None = None,
    mode: str = "reflect",
    cval: complex = 0.0,
    origin: SupportsIndex = 0,
    *,
    algorithm: str = "auto",
    tolerance: float | None = None,
) -> np.ndarray:
    """Convolve the lines of an image along one axis with weights.

    Parameters
    ----------
    %(line)s
    %(arguments)s
    %(one)s
    %(ending)s

    Examples
    --------
    >>> from fastconv import ndimage
    >>> ndimage.convolve1d([2, 8, 0, 4, 1, 9, 9, 0], weights=[1, 3])
    array([14, 24,  4, 13, 12, 36, 27,  0])
    """
    image, kernel, origins = _one(input, weights, axis, origin)
    turned = _turned(kernel, origins)
    return _filtered(image, *turned, output, mode, cval, Choice(algorithm, tolerance), folded=True)


def _several(input: npt.ArrayLike, weights: npt.ArrayLike, origin: Origin, axes: object) -> _Filter:
    image, kernel = _image(input), operand(weights, "weights")
    along = axes_of(axes, image.ndim)
    if kernel.ndim != len(along):
        raise ValueError(f"weights must have {len(along)} axes, as many as are filtered, got shape {kernel.shape}")
    given = list(origin) if isinstance(origin, Sequence | np.ndarray) else [origin] * len(along)
    if len(given) != len(along):
        raise ValueError(f"origin must have length {len(along)}, one entry an axis that is filtered, got {origin!r}")
    if len(along) == image.ndim:  # in whatever order they are named, as SciPy has it
        along = list(range(image.ndim))
    return _expanded(image, kernel, along, given)


def _one(input: npt.ArrayLike, weights: npt.ArrayLike, axis: SupportsIndex, origin: SupportsIndex) -> _Filter:
    image, kernel = _image(input), operand(weights, "weights")
    if kernel.ndim != 1:
        raise ValueError(f"weights must have 1 axis, got shape {kernel.shape}")
    return _expanded(image, kernel, axes_of([axis], image.ndim, "axis"), [origin])


def _image(input: npt.ArrayLike) -> np.ndarray:
    image = operand(input, "input")
    if image.ndim == 0:
        raise ValueError("input must have at least 1 axis, got a number")
    return image


def _expanded(image: np.ndarray, kernel: np.ndarray, along: list[int], given: Sequence[object]) -> _Filter:
    """Return the image, weights of as many axes in float64 or complex128, and one origin an axis."""
    if 0 in kernel.shape:
        raise ValueError(f"weights must not be empty, got shape {kernel.shape}")
    shape, origins = [1] * image.ndim, [0] * image.ndim
    for axis, size in zip(sorted(along), kernel.shape, strict=True):
        shape[axis] = size
    for axis, origin in zip(along, given, strict=True):
        origins[axis] = integer(origin, "origin", -(shape[axis] // 2), None if len(given) == 1 else given)
        if origins[axis] > (shape[axis] - 1) // 2:
            raise ValueError(
                f"origin must be from {-(shape[axis] // 2)} to {(shape[axis] - 1) // 2} for weights of size "
                f"{shape[axis]}, got {origins[axis]}"
            )
    work = np.complex128 if kernel.dtype.kind == "c" else np.float64
    return image, kernel.astype(work, copy=False).reshape(shape), origins


def _turned(kernel: np.ndarray, origins: list[int]) -> tuple[np.ndarray, list[int]]:
    """Return the weights, and their origins, with which a correlation is the convolution."""
    turned = [-origin - (size % 2 == 0) for origin, size in zip(origins, kernel.shape, strict=True)]
    return np.flip(kernel), turned


def _filtered(
    image: np.ndarray,
    kernel: np.ndarray,
    origins: list[int],
    output: object,
    mode: object,
    cval: object,
    choice: Choice,
    folded: bool = False,
) -> np.ndarray:
    """Correlate, and put the result where it is wanted."""
    target, result = _output(output, image, kernel)
    padding_mode = MODES[one_of(mode, tuple(MODES), "mode")]
    value = _value(cval, image) if padding_mode == "zeros" else 0
    before = [size // 2 + origin for size, origin in zip(kernel.shape, origins, strict=True)]
    padding = tuple([(first, size - 1 - first) for first, size in zip(before, kernel.shape, strict=True)])
    if image.size == 0:
        y = np.empty(image.shape, result)
    else:
        y = _correlated(image, kernel, Border(padding, padding_mode, value), result, choice, folded)
    if target is None:
        return y
    with np.errstate(over="ignore"):  # as a number too large for the target's type becomes infinite
        target[...] = y
    return target


def _correlated(
    image: np.ndarray, kernel: np.ndarray, border: Border, result: np.dtype[np.generic], choice: Choice, folded: bool
) -> np.ndarray:
    if result.kind in "biu":
        return correlate_truncated(image, kernel, border, result, choice, folded)
    # float32 holds these; SciPy sums in float64 always, and rounds.
    narrow = image.dtype.char in "?bBhHefF" and result.itemsize <= (8 if result.kind == "c" else 4)
    work = _WORK["c" if "c" in (image.dtype.kind, kernel.dtype.kind) else "f", narrow]
    y = correlate_numbers(image[None, None], kernel[None, None], border, work, choice)
    return rounded(y.reshape(y.shape[3:]), result)


def _output(output: object, image: np.ndarray, kernel: np.ndarray) -> tuple[np.ndarray | None, np.dtype[np.generic]]:
    """Return the array to write to, if there is one, and the result's type."""
    complex_result = "c" in (image.dtype.kind, kernel.dtype.kind)
    target = None
    if isinstance(output, np.ndarray):
        target, dtype = output, output.dtype
        if target.shape != image.shape:
            raise ValueError(f"output must have the shape of input, {image.shape}, got {target.shape}")
        if not target.flags.writeable:
            raise ValueError("output must be writeable, got a read-only array")
    elif output is None:
        dtype = np.promote_types(image.dtype, np.complex64) if complex_result else image.dtype
    else:
        try:
            dtype = np.dtype(output)  # type: ignore[call-overload]  # refuses what is no type
        except TypeError:
            raise TypeError(f"output must be an array or a data type, got {output!r}") from None
    check_number(dtype, "output")
    if complex_result and dtype.kind != "c":
        raise TypeError(f"output must be complex for complex input or weights, got {dtype}")
    return target, dtype.newbyteorder("=")


def _value(cval: object, image: np.ndarray) -> complex:
    number = scalar(cval, "cval")
    if image.dtype.kind == "c":
        return number
    if isinstance(cval, complex | np.complexfloating):
        raise TypeError(f"cval must be real for real input, got {cval!r}")
    return number.real

"""Convolution and correlation of two arrays of any number of dimensions, as `scipy.signal` has them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import SupportsIndex

import numpy as np
import numpy.typing as npt

from fastconv import docstrings
from fastconv.arguments import integer, one_of
from fastconv.signal.linear import (
    check_mode,
    convolve_windows,
    reversed_conjugate,
    second_is_larger,
    window,
    windows_of,
)
from fastconv.signal.operands import axes_of, common_type, operands
from fastconv.signal.planes import Choice

METHODS = ("auto", "direct", "fft")

_ARGUMENTS = """
    Parameters
    ----------
    in1, in2 : array_like
        Arrays of as many axes: bools, integers, floats or complex numbers, of at most 64 bits a part.
    mode : {'full', 'valid', 'same'}, optional
        ``'full'``: all of it, ``n1 + n2 - 1`` elements an axis. ``'valid'``: where one array lies within the other;
        one of them must be at least as large as the other on every axis. ``'same'``: the size of `in1`, centred with
        respect to ``'full'``.
"""

_CHOICE = """
    algorithm : str, optional
        ``"auto"``, or a name of :func:`fastconv.algorithms`, which runs or raises.
    tolerance : float, optional
        The largest error bound of an algorithm that ``"auto"`` may choose; see :func:`fastconv.conv2d`.
"""

_RAISES = """
    Raises
    ------
    TypeError
        If an argument is of a wrong kind, or an array of a type that is not supported.
    ValueError
        If a value or shape is not possible.
    UnsupportedError
        If the algorithm asked for by name does not compute this.
    OverflowError
        If integers could give a result that does not fit in int64.
"""


documented = docstrings.documented(arguments=_ARGUMENTS, choice=_CHOICE, raises=_RAISES)


@documented
def convolve(
    in1: npt.ArrayLike,
    in2: npt.ArrayLike,
    mode: str = "full",
    method: str = "auto",
    *,
    algorithm: str = "auto",
    tolerance: float | None = None,
) -> np.ndarray:
    """Convolve two arrays of any number of dimensions.

    %(arguments)s
    method : {'auto', 'direct', 'fft'}, optional
        Taken for the sake of SciPy's callers. What runs is chosen as for :func:`fastconv.conv2d`, or named by
        `algorithm`; whatever it is, integers are exact and NaN comes out where the sum of products has it.
    %(choice)s

    Returns
    -------
    ndarray
        Of the common type of both. Integers are exact, modulo the size of that type; bools are ORs of ANDs.

    %(raises)s

    Examples
    --------
    >>> from fastconv import signal
    >>> signal.convolve([1.0, 2.0, 3.0], [0.0, 1.0, 0.5])
    array([0. , 1. , 2.5, 4. , 1.5])
    >>> signal.convolve([1.0, 2.0, 3.0], [0.0, 1.0, 0.5], mode="same")
    array([1. , 2.5, 4. ])
    """
    first, second = operands(in1, in2)
    one_of(method, METHODS, "method")
    return _convolved(first, second, check_mode(mode), Choice(algorithm, tolerance))


@documented
def correlate(
    in1: npt.ArrayLike,
    in2: npt.ArrayLike,
    mode: str = "full",
    method: str = "auto",
    *,
    algorithm: str = "auto",
    tolerance: float | None = None,
) -> np.ndarray:
    """Cross-correlate two arrays of any number of dimensions.

    ``z[k] = sum over l of in1[l] * conj(in2[l - k])`` along each axis, k from ``1 - n2`` to ``n1 - 1`` for ``'full'``:
    :func:`correlation_lags` has these k.

    %(arguments)s
    method : {'auto', 'direct', 'fft'}, optional
        As for :func:`convolve`.
    %(choice)s

    Returns
    -------
    ndarray
        As of :func:`convolve`.

    %(raises)s

    Examples
    --------
    >>> from fastconv import signal
    >>> signal.correlate([1, 2, 3], [0, 1, 5])
    array([ 5, 11, 17,  3,  0])
    >>> signal.correlate([1j, 2.0], [1j], mode="valid")
    array([1.+0.j, 0.-2.j])
    """
    first, second = operands(in1, in2)
    one_of(method, METHODS, "method")
    return _convolved(first, reversed_conjugate(second), check_mode(mode), Choice(algorithm, tolerance))


def _convolved(first: np.ndarray, second: np.ndarray, mode: str, choice: Choice) -> np.ndarray:
    if first.ndim == 0:
        return np.asarray(np.multiply(first, second))
    for array, name in ((first, "in1"), (second, "in2")):
        if array.size == 0:
            raise ValueError(f"{name} must not be empty, got shape {array.shape}")
    windows = windows_of(mode, first.shape, second.shape)
    return convolve_windows(first, second, windows, (), common_type(first, second), choice)


@documented
def fftconvolve(
    in1: npt.ArrayLike,
    in2: npt.ArrayLike,
    mode: str = "full",
    axes: SupportsIndex | Sequence[SupportsIndex] | None = None,
    *,
    algorithm: str = "auto",
    tolerance: float | None = None,
) -> np.ndarray:
    """Convolve two arrays along some of their axes, in floating point.

    :func:`oaconvolve` is the same function: which algorithm runs, Fourier transforms or not, by tiles or not, is chosen
    as for :func:`fastconv.conv2d`.

    %(arguments)s
    axes : int or sequence of int, optional
        Those to convolve along; all by default. On the others the arrays have the same size, or one of them has 1.
    %(choice)s

    Returns
    -------
    ndarray
        Of the common type of both, where integers count as float64 and float16 as float32.

    %(raises)s

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import signal
    >>> rows = np.arange(6.0).reshape(2, 3)
    >>> signal.fftconvolve(rows, [[1.0, 1.0], [1.0, -1.0]], axes=1)
    array([[ 0.,  1.,  3.,  2.],
           [ 3.,  1.,  1., -5.]])
    """
    first, second = operands(in1, in2)
    check_mode(mode)
    result = np.result_type(*[np.float64 if a.dtype.kind in "biu" else a.dtype for a in (first, second)])
    result = np.dtype(np.float32) if result.kind == "f" and result.itemsize == 2 else result.newbyteorder("=")
    if first.ndim == 0:
        return np.asarray(np.multiply(first, second, dtype=result))
    if first.size == 0 or second.size == 0:
        return np.array([])
    along = axes_of(axes, first.ndim)
    sizes = list(zip(first.shape, second.shape, strict=True))
    if any(n != m and 1 not in (n, m) for axis, (n, m) in enumerate(sizes) if axis not in along):
        raise ValueError(
            f"in1 and in2 must have the same size, or one of them 1, on axes that are not in axes={axes!r}, "
            f"got shapes {first.shape} and {second.shape}"
        )
    summed = [axis for axis in along if 1 not in sizes[axis]]
    if not summed:  # products, which SciPy leaves in their own type
        result = common_type(first, second)
    second_is_larger(mode, [first.shape[axis] for axis in summed], [second.shape[axis] for axis in summed])
    together = tuple([axis for axis, (n, m) in enumerate(sizes) if axis not in along and n == m > 1])
    windows = tuple([window(mode, n, m) for n, m in sizes])
    return convolve_windows(first, second, windows, together, result, Choice(algorithm, tolerance))


oaconvolve = fftconvolve


def correlation_lags(in1_len: int, in2_len: int, mode: str = "full") -> np.ndarray:
    """Return by how much `in2` is shifted for each element of :func:`correlate` of one-dimensional arrays.

    Parameters
    ----------
    in1_len, in2_len : int
        Sizes.
    mode : {'full', 'valid', 'same'}, optional
        As that of :func:`correlate`.

    Returns
    -------
    ndarray
        int64, one lag an element.

    Raises
    ------
    TypeError
        If an argument is of a wrong kind.
    ValueError
        If a value is not possible.

    Examples
    --------
    >>> from fastconv import signal
    >>> signal.correlation_lags(3, 2)
    array([-1,  0,  1,  2])
    """
    first, second = integer(in1_len, "in1_len", 1), integer(in2_len, "in2_len", 1)
    part = window(check_mode(mode), first, second)
    return np.arange(part.length) + (part.start + 1 - second)

"""`convolve2d` and `correlate2d` of `scipy.signal`: two dimensions, and a boundary of one's choice."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fastconv.arguments import one_of
from fastconv.signal.convolution import documented
from fastconv.signal.linear import (
    Window,
    check_mode,
    convolve_windows,
    reversed_conjugate,
    second_is_larger,
    windows_of,
)
from fastconv.signal.numbers import correlate_numbers, limits
from fastconv.signal.operands import common_type, operands, scalar
from fastconv.signal.planes import Border, Choice

#: SciPy's names, and those of `fastconv.problem.PADDING_MODES`.
BOUNDARIES = {
    "fill": "zeros",
    "wrap": "circular",
    "symm": "symmetric",
    "pad": "zeros",
    "circular": "circular",
    "symmetric": "symmetric",
}


@documented
def convolve2d(
    in1: npt.ArrayLike,
    in2: npt.ArrayLike,
    mode: str = "full",
    boundary: str = "fill",
    fillvalue: complex = 0,
    *,
    algorithm: str = "auto",
    tolerance: float | None = None,
) -> np.ndarray:
    """Convolve two arrays of two dimensions.

    %(arguments)s
    boundary : {'fill', 'wrap', 'symm'}, optional
        What lies around `in1`: `fillvalue`; `in1` again, as on a torus; its mirror image, edges repeated. For
        ``'valid'`` it has no part in the result.
    fillvalue : scalar, optional
        Around `in1` with ``boundary='fill'``. It must be a number of the result's type; fractions are cut off for
        integers.
    %(choice)s

    Returns
    -------
    ndarray
        Of the common type of both. Integers are exact, modulo the size of that type.

    %(raises)s

    Examples
    --------
    >>> from fastconv import signal
    >>> signal.convolve2d([[1, 2], [3, 4]], [[1, 1], [1, 1]])
    array([[ 1,  3,  2],
           [ 4, 10,  6],
           [ 3,  7,  4]])
    >>> signal.convolve2d([[1, 2], [3, 4]], [[1, 0, 0]], mode="same", boundary="wrap")
    array([[2, 1],
           [4, 3]])
    """
    first, second, value = _checked(in1, in2, mode, boundary, fillvalue)
    windows = windows_of(mode, first.shape, second.shape)
    return _filtered(first, second, mode, windows, boundary, value, Choice(algorithm, tolerance))


@documented
def correlate2d(
    in1: npt.ArrayLike,
    in2: npt.ArrayLike,
    mode: str = "full",
    boundary: str = "fill",
    fillvalue: complex = 0,
    *,
    algorithm: str = "auto",
    tolerance: float | None = None,
) -> np.ndarray:
    """Cross-correlate two arrays of two dimensions; `in2` is conjugated.

    %(arguments)s
        Along axes on which `in2` has an even size, that begins one element later than :func:`correlate`'s.
    boundary : {'fill', 'wrap', 'symm'}, optional
        As for :func:`convolve2d`.
    fillvalue : scalar, optional
        As for :func:`convolve2d`.
    %(choice)s

    Returns
    -------
    ndarray
        As of :func:`convolve2d`.

    %(raises)s

    Examples
    --------
    >>> from fastconv import signal
    >>> signal.correlate2d([[1, 2, 3]], [[1, 10]])
    array([[10, 21, 32,  3]])
    """
    first, second, value = _checked(in1, in2, mode, boundary, fillvalue)
    windows = windows_of(mode, first.shape, second.shape)
    if mode == "same":
        windows = tuple([Window(m // 2, n) for n, m in zip(first.shape, second.shape, strict=True)])
    backwards = reversed_conjugate(second)
    y = _filtered(first, backwards, mode, windows, boundary, value, Choice(algorithm, tolerance))
    if y.dtype.kind == "c" and second_is_larger(mode, first.shape, second.shape):
        return y.conj()  # as SciPy's, which conjugates the smaller array
    return y


def _checked(
    in1: npt.ArrayLike, in2: npt.ArrayLike, mode: object, boundary: object, fillvalue: object
) -> tuple[np.ndarray, np.ndarray, complex]:
    """Return both arrays, and the value of the fill as one of the result's type."""
    first, second = operands(in1, in2)
    for array, name in ((first, "in1"), (second, "in2")):
        if array.ndim != 2:
            raise ValueError(f"{name} must have 2 axes, got shape {array.shape}")
        if array.size == 0:
            raise ValueError(f"{name} must not be empty, got shape {array.shape}")
    result = common_type(first, second)
    if result.kind == "b":
        raise TypeError("in1 and in2 must not both hold bools")
    check_mode(mode)
    one_of(boundary, tuple(BOUNDARIES), "boundary")
    return first, second, _value(fillvalue, result)


def _value(fillvalue: object, result: np.dtype[np.generic]) -> complex:
    number = scalar(fillvalue, "fillvalue")
    if result.kind == "c":
        return number
    if number.imag != 0:
        raise ValueError(f"fillvalue must be real for a result of {result}, got {fillvalue!r}")
    if result.kind == "f":
        return number.real
    lowest, highest = limits(result)
    if not lowest <= number.real <= highest:
        raise ValueError(f"fillvalue must be from {lowest} to {highest} for a result of {result}, got {fillvalue!r}")
    return int(fillvalue) if isinstance(fillvalue, int | np.integer) else int(number.real)


def _filtered(
    first: np.ndarray,
    second: np.ndarray,
    mode: str,
    windows: tuple[Window, ...],
    boundary: str,
    value: complex,
    choice: Choice,
) -> np.ndarray:
    """Return windows of the full convolution of `first`, with what lies around it, by `second`."""
    result, padding_mode = common_type(first, second), BOUNDARIES[boundary]
    if mode == "valid" or (padding_mode == "zeros" and value == 0):
        return convolve_windows(first, second, windows, (), result, choice)
    padding = tuple(
        [
            (m - 1 - part.start, part.start + part.length - n)
            for n, m, part in zip(first.shape, second.shape, windows, strict=True)
        ]
    )
    border = Border(padding, padding_mode, value if padding_mode == "zeros" else 0)
    y = correlate_numbers(first[None, None], np.flip(second)[None, None], border, result, choice)
    return y.reshape(y.shape[3:])

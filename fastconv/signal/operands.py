"""What a user may pass as a signal, an image or a kernel."""

from __future__ import annotations

import numbers

import numpy as np
import numpy.typing as npt

from fastconv.arguments import integer
from fastconv.call import array
from fastconv.signal.numbers import check_number


def operand(value: npt.ArrayLike, name: str) -> np.ndarray:
    """Return an array of numbers, of 0 axes for a number."""
    if type(value) is np.ndarray:
        found = value
    else:
        found = np.asarray(value) if isinstance(value, numbers.Number | np.generic) else array(value, name)
    check_number(found.dtype, name)
    return found


def operands(in1: npt.ArrayLike, in2: npt.ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Return two arrays of numbers with as many axes."""
    first, second = operand(in1, "in1"), operand(in2, "in2")
    if first.ndim != second.ndim:
        raise ValueError(f"in1 and in2 must have as many axes, got shapes {first.shape} and {second.shape}")
    return first, second


def common_type(first: np.ndarray, second: np.ndarray) -> np.dtype[np.generic]:
    """Return the common type of two arrays in the machine's byte order."""
    return np.result_type(first.dtype, second.dtype).newbyteorder("=")


def axes_of(axes: object, rank: int, name: str = "axes") -> list[int]:
    """Return axes as a list of distinct ints from 0 on."""
    if axes is None:
        return list(range(rank))
    given = list(axes) if isinstance(axes, tuple | list | np.ndarray) else [axes]
    along = []
    for axis in given:
        number = integer(axis, name, -rank, None if len(given) == 1 else axes)
        if number >= rank:
            raise ValueError(f"{name} must be less than {rank}, the number of axes, got {number}")
        along.append(number % rank)
    if not along or len(set(along)) < len(along):
        raise ValueError(f"{name} must be at least one, and each only once, got {axes!r}")
    return along


def scalar(value: object, name: str) -> complex:
    """Return a number, or an array of one, as a complex number."""
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.item()
    if not isinstance(value, numbers.Number | np.bool_):
        raise TypeError(f"{name} must be a number, got {value!r} of type {type(value).__name__}")
    return complex(value)  # type: ignore[arg-type]  # Number does not say that it converts

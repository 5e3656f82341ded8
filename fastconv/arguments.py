"""What a user may write for an argument, turned into numbers or refused.

Convolutions and pooling share these. Every message starts with the argument's public name, then
says what was expected and what was given: TypeError for what an argument is, ValueError for what
it says.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import SupportsIndex, TypeAlias

import numpy as np
import numpy.typing as npt

from fastconv.errors import UnsupportedError

#: 8 bits of float32's 24, and its exponent. NumPy has no such type: in the computer's memory it is that of ml_dtypes.
BFLOAT16 = "bfloat16"
DTYPES = (
    *("float16", BFLOAT16, "float32", "float64"),
    *("int8", "int16", "int32", "int64"),
    *("uint8", "uint16", "uint32"),
)

#: What the factors of products of float32 numbers may be rounded to; the first: to nothing.
PRECISIONS = ("ieee", "tf32", "bf16", "fp16")

MAX_INT64 = 2**63 - 1  # sizes, strides and byte offsets are signed 64-bit integers in the kernels
MAX_ELEMENTS = MAX_INT64 // 8  # 8 bytes: the widest element, and the widest accumulator

PerAxis: TypeAlias = SupportsIndex | Sequence[SupportsIndex]
Padding: TypeAlias = str | SupportsIndex | Sequence[SupportsIndex] | Sequence[Sequence[int]]
Pairs: TypeAlias = tuple[tuple[int, int], ...]

_NATIVE = {name: np.dtype(name) for name in DTYPES if name != BFLOAT16}
_NAME_OF_DTYPE = {dtype: name for name, dtype in _NATIVE.items()}  # np.dtype.name takes microseconds


def integer(value: object, name: str, minimum: int, whole: object = None) -> int:
    """Return `value` as a Python int of at least `minimum` (0 or 1) that fits in 64 bits.

    Parameters
    ----------
    value : int or numpy.integer
        A bool or a float is no integer here.
    name : str
        What the message calls the argument.
    minimum : int
        The least value accepted.
    whole : object, optional
        The sequence that `value` is an element of, for the message.

    Raises
    ------
    TypeError
        If `value` is no integer.
    ValueError
        If it is out of range.
    """
    if type(value) is int:
        number = value
    elif isinstance(value, int | np.integer) and not isinstance(value, bool | np.timedelta64):
        number = int(value)
    else:
        kind = "an int" if whole is None else "ints"
        raise TypeError(f"{name} must be {kind}, got {_quoted(value, whole)}")
    if number < minimum:
        expected = {0: "must not be negative", 1: "must be positive"}.get(
            minimum, f"must be at least {minimum}"
        )
        raise ValueError(f"{name} {expected}, got {_quoted(number, whole)}")
    if number > MAX_INT64:
        raise ValueError(f"{name} must be at most 2**63 - 1, got {_quoted(number, whole)}")
    return number


def positive_number(value: object, name: str) -> float:
    """Return `value` as a Python float, which is positive and finite.

    Raises
    ------
    TypeError
        If `value` is no int or float, of Python or NumPy; a bool is none here.
    ValueError
        If it is zero, negative, infinite or no number.
    """
    if not isinstance(value, int | float | np.integer | np.floating) or isinstance(value, bool | np.timedelta64):
        raise TypeError(f"{name} must be a number, got {_quoted(value, None)}")
    try:
        number = float(value)
    except OverflowError:  # an int beyond all floats
        number = math.inf
    if not 0 < number < math.inf:
        raise ValueError(f"{name} must be a positive finite number, got {value!r}")
    return number


def _quoted(value: object, whole: object) -> str:
    kind = "" if type(value) is int else f" of type {type(value).__name__}"
    return f"{value!r}{kind}" if whole is None else f"{value!r}{kind} in {whole!r}"


def per_axis(value: object, rank: int, name: str, minimum: int) -> tuple[int, ...]:
    """Return one int an axis from an int, or from a tuple or list of `rank` ints.

    Raises
    ------
    TypeError
        If `value` is neither, or holds something that is no integer.
    ValueError
        If the length is not `rank`, or a number is less than `minimum`.

    Examples
    --------
    >>> per_axis(2, 3, "stride", 1)
    (2, 2, 2)
    >>> per_axis([2, 1], 2, "stride", 1)
    (2, 1)
    """
    if not isinstance(value, tuple | list):
        return (integer(value, name, minimum),) * rank
    check_length(value, rank, name)
    return tuple([integer(number, name, minimum, value) for number in value])


def check_length(value: Sequence[object], rank: int, name: str) -> None:
    """Raise ValueError unless `value` has one entry for each of `rank` spatial axes."""
    if len(value) != rank:
        raise ValueError(
            f"{name} must have length {rank}, one entry an axis, got length {len(value)}: {value!r}"
        )


def one_of(value: object, options: Sequence[str], name: str) -> str:
    """Return `value` if it is one of the strings in `options`.

    Raises
    ------
    TypeError
        If `value` is no string.
    ValueError
        If it is another string.
    """
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, got {_quoted(value, None)}")
    if value not in options:
        raise ValueError(f"{name} must be one of {', '.join(options)}, got {value!r}")
    return value


def truth(value: object, name: str) -> bool:
    """Return `value` as a Python bool; anything but a bool raises TypeError."""
    if not isinstance(value, bool | np.bool_):
        raise TypeError(f"{name} must be a bool, got {_quoted(value, None)}")
    return bool(value)


def dtype_name(dtype: npt.DTypeLike, name: str = "dtype") -> str:
    """Return the NumPy name of a supported data type, whatever its byte order; bfloat16 may be given by name.

    Raises
    ------
    TypeError
        If `dtype` is no data type, or none of `DTYPES`; bfloat16 is that of ml_dtypes.

    Examples
    --------
    >>> dtype_name(">f4")
    'float32'
    """
    if isinstance(dtype, str) and dtype == BFLOAT16:
        return dtype
    try:
        known = None if dtype is None else np.dtype(dtype)  # np.dtype(None) would be float64
    except (TypeError, ValueError):
        known = None
    if known in _NAME_OF_DTYPE:
        return _NAME_OF_DTYPE[known]
    if known is not None and _is_bfloat16(known):
        return BFLOAT16
    shown = repr(dtype) if known is None else known.name
    if shown in DTYPES:  # another byte order
        return shown
    raise TypeError(f"{name} must be one of {', '.join(DTYPES)}, got {shown}")


def _is_bfloat16(dtype: np.dtype[np.generic]) -> bool:
    """Return whether a type is that of ml_dtypes: who has an array of it has imported the package."""
    package = sys.modules.get("ml_dtypes")
    return package is not None and dtype.type is getattr(package, BFLOAT16, None)


def native_dtype(dtype: str) -> np.dtype[np.generic]:
    """Return the data type of that name, in the machine's byte order.

    Raises
    ------
    UnsupportedError
        If it is bfloat16 and ml_dtypes is not installed.
    """
    if dtype != BFLOAT16:
        return _NATIVE[dtype]
    try:
        bfloat16: type[np.generic] = import_module("ml_dtypes").bfloat16
    except ImportError as error:
        raise UnsupportedError(f"dtype must be a type that NumPy has, or bfloat16 with ml_dtypes: {error}") from None
    return np.dtype(bfloat16)


def numpys(dtype: npt.DTypeLike) -> np.dtype[np.generic]:
    """Return a type of NumPy's own that holds a data type's numbers: of bfloat16 float32, else that itself.

    NumPy knows neither what kind bfloat16 is of, nor its common type with most others.

    Examples
    --------
    >>> numpys("bfloat16"), numpys("int8")
    (dtype('float32'), dtype('int8'))
    """
    if isinstance(dtype, str) and dtype == BFLOAT16:
        return _NATIVE["float32"]
    found = np.dtype(dtype)
    return _NATIVE["float32"] if _is_bfloat16(found) else found


def epsilon(dtype: str) -> float:
    """Return the distance from 1 to the next number of a floating data type.

    Examples
    --------
    >>> epsilon("bfloat16"), epsilon("float16")
    (0.0078125, 0.0009765625)
    """
    return 2.0**-7 if dtype == BFLOAT16 else float(np.finfo(dtype).eps)


def itemsize(dtype: str) -> int:
    """Return the bytes of an element of the data type of that name.

    Examples
    --------
    >>> itemsize("bfloat16"), itemsize("float32")
    (2, 4)
    """
    return 2 if dtype == BFLOAT16 else np.dtype(dtype).itemsize


def is_floating(dtype: npt.DTypeLike) -> bool:
    """Return whether a data type has floating-point numbers."""
    return numpys(dtype).kind == "f"


def check_same_kind(dtype: npt.DTypeLike, other: npt.DTypeLike, name: str) -> None:
    """Raise TypeError if one data type is floating and the other holds integers.

    Neither is ever silently turned into the other.
    """
    floating = is_floating(other)
    if is_floating(dtype) != floating:
        kind = "a floating" if floating else "an integer"
        raise TypeError(f"{name} must have {kind} dtype, got {dtype}")


def shape(value: object, name: str, minimum: int = 0) -> tuple[int, ...]:
    """Return a shape, a tuple or list of ints of at least `minimum`, as a tuple of Python ints."""
    if not isinstance(value, tuple | list):
        raise TypeError(f"{name} must be a tuple of ints, got {_quoted(value, None)}")
    return per_axis(value, len(value), name, minimum)


def padding_pairs(
    padding: object,
    rank: int,
    size: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    dilation: Sequence[int],
    name: str = "padding",
) -> Pairs:
    """Return the padding before and after each axis.

    Parameters
    ----------
    padding : int, sequence or str
        An int; one int an axis; one (before, after) pair an axis; ``"valid"``, no padding;
        ``"same"``, as much as makes the output ``ceil(size / stride)``, the odd one at the end;
        ``"same_lower"``, the odd one at the beginning.
    rank : int
        The number of spatial axes.
    size, kernel, stride, dilation : sequence of int
        One int an axis, already validated. Only ``"same"`` and ``"same_lower"`` read them.
    name : str, optional
        What the message calls the argument.

    Raises
    ------
    TypeError
        If `padding` is none of these, or holds something that is no integer.
    ValueError
        If it is another string, has a wrong length or is negative.

    Examples
    --------
    >>> padding_pairs((1, 2), 2, (5, 5), (3, 3), (1, 1), (1, 1))
    ((1, 1), (2, 2))
    >>> padding_pairs("same", 2, (5, 5), (3, 4), (1, 1), (1, 1))
    ((1, 1), (1, 2))
    """
    if isinstance(padding, str):
        one_of(padding, ("valid", "same", "same_lower"), name)
        if padding == "valid":
            return ((0, 0),) * rank
        axes = zip(size, kernel, stride, dilation, strict=True)
        return tuple([_same_padding(*axis, lower=padding == "same_lower") for axis in axes])
    if not isinstance(padding, tuple | list):
        number = integer(padding, name, 0)
        return ((number, number),) * rank
    check_length(padding, rank, name)
    are_pairs = {isinstance(entry, tuple | list) for entry in padding}
    if are_pairs == {False}:
        return tuple([(number, number) for number in per_axis(padding, rank, name, 0)])
    if are_pairs != {True}:
        raise TypeError(
            f"{name} must be one int an axis or one (before, after) pair an axis, got {padding!r}"
        )
    return tuple([_pair(entry, name, padding) for entry in padding])


def _pair(entry: Sequence[object], name: str, whole: object) -> tuple[int, int]:
    if len(entry) != 2:
        raise ValueError(f"{name} must be a (before, after) pair an axis, got {entry!r}")
    before, after = entry
    return integer(before, name, 0, whole), integer(after, name, 0, whole)


def _same_padding(
    size: int, kernel: int, stride: int, dilation: int, *, lower: bool
) -> tuple[int, int]:
    """Return the padding of one axis that makes the output ``ceil(size / stride)``."""
    output = -(-size // stride)
    total = max(0, (output - 1) * stride + dilation * (kernel - 1) + 1 - size)
    smaller, larger = total // 2, total - total // 2
    return (larger, smaller) if lower else (smaller, larger)


def receptive_fields(kernel: Sequence[int], dilation: Sequence[int]) -> tuple[int, ...]:
    """Return ``D * (F - 1) + 1`` for each axis: what one window spans of the input."""
    return tuple([d * (f - 1) + 1 for f, d in zip(kernel, dilation, strict=True)])


def pooled_size(
    size: Sequence[int],
    fields: Sequence[int],
    stride: Sequence[int],
    padding: Pairs,
    *,
    ceil_mode: bool,
) -> tuple[int, ...]:
    """Return how many windows a pooling has on each axis, its output size.

    Without `ceil_mode`, ``floor((W + before + after - D * (F - 1) - 1) / S) + 1``, and each window
    lies within the padded input. With it the fraction is rounded up, so the last window may hang
    over the end; but windows that would begin in the padding after the input are dropped.

    Parameters
    ----------
    size, stride : sequence of int
        Input sizes without padding, and steps between windows, validated.
    fields : sequence of int
        What one window spans, of :func:`receptive_fields`.
    padding : tuple of tuple of int
        Elements (before, after) each axis.
    ceil_mode : bool
        Whether the last window may hang over the end.

    Raises
    ------
    ValueError
        If the input holds no window, or a window or the padding reaches too far for 64 bits.

    Examples
    --------
    >>> pooled_size((7,), (2,), (2,), ((0, 0),), ceil_mode=False)
    (3,)
    >>> pooled_size((7,), (2,), (2,), ((0, 0),), ceil_mode=True)
    (4,)
    """
    axes = zip(size, fields, stride, padding, strict=True)
    counts = tuple([_window_count(*axis, ceil_mode) for axis in axes])
    if min(counts) < 1:
        raise ValueError(
            f"x must hold one window on every axis, got size {tuple(size)} for windows that "
            f"span {tuple(fields)} with padding {padding}"
        )
    check_elements("padding", [w + sum(pair) for w, pair in zip(size, padding, strict=True)])
    check_elements("receptive field", fields)  # which ceil_mode lets hang over the padding
    return counts


def _window_count(size: int, field: int, stride: int, pair: tuple[int, int], ceil: bool) -> int:
    room = size + sum(pair) - field
    if not ceil:
        return room // stride + 1
    begin_before_the_end = -(-(size + pair[0]) // stride)
    return min(-(-room // stride) + 1, begin_before_the_end)


def check_padding_mode(mode: str, padding: Pairs, size: Sequence[int]) -> None:
    """Raise ValueError where a padding mode would need more of the input than there is.

    ``reflect`` does not repeat the edge, so it can supply ``size - 1`` elements; ``symmetric``
    and ``circular`` can supply ``size``; ``zeros`` and ``replicate`` any number.
    """
    if mode in ("zeros", "replicate"):
        return
    for axis, (pair, extent) in enumerate(zip(padding, size, strict=True)):
        most = extent - 1 if mode == "reflect" else extent
        if max(pair) > most:
            raise ValueError(
                f"padding must be at most {most} on axis {axis} of size {extent} "
                f"with padding_mode={mode!r}, got {pair}"
            )


def check_elements(name: str, sizes: Sequence[int]) -> None:
    """Raise ValueError unless an array of these sizes can be addressed in 64-bit bytes.

    An empty axis counts as one element: what strides are computed from must fit as well.
    """
    if math.prod([extent or 1 for extent in sizes]) > MAX_ELEMENTS:
        raise ValueError(
            f"{name} must fit in 2**63 - 1 bytes at 8 bytes an element, got shape {tuple(sizes)}"
        )

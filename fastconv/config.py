"""Settings: threads, tolerance, vector width, cache directory; each also a ``FASTCONV_*`` environment variable.

Variables are read when a setting is first needed, never at import.
"""

from __future__ import annotations

import hashlib
import logging
import math
import os
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TypeVar

import numpy.typing as npt

from fastconv.arguments import dtype_name, integer, positive_number

logger = logging.getLogger("fastconv")
logger.addHandler(logging.NullHandler())

T = TypeVar("T")

_threads: int | None = None


def get_num_threads() -> int:
    """Return the number of threads that a convolution may use.

    The default is ``FASTCONV_NUM_THREADS`` if set, else the processors this process may run on,
    no more than its control group's quota.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.get_num_threads() >= 1
    True
    """
    return _threads if _threads is not None else _default_threads()


def set_num_threads(count: int) -> None:
    """Set the number of threads that a convolution may use.

    Parameters
    ----------
    count : int
        At least 1. More than the machine has processors is allowed and seldom useful.

    Raises
    ------
    TypeError
        If `count` is no integer.
    ValueError
        If it is less than 1.

    Examples
    --------
    >>> import fastconv
    >>> before = fastconv.get_num_threads()
    >>> fastconv.set_num_threads(1)
    >>> fastconv.get_num_threads()
    1
    >>> fastconv.set_num_threads(before)
    """
    global _threads
    _threads = integer(count, "count", 1)


@cache
def _default_threads() -> int:
    asked = _variable("FASTCONV_NUM_THREADS", _positive_integer, "a positive integer")
    if asked is not None:
        return asked
    affinity = getattr(os, "sched_getaffinity", None)  # not on every system
    available = len(affinity(0)) if affinity else os.cpu_count() or 1
    quota = _control_group_quota()
    return available if quota is None else max(1, min(available, math.ceil(quota)))


def _control_group_quota() -> float | None:
    """Processors that the control group (version 2) grants, None where there is no limit."""
    try:
        limit, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        return int(limit) / int(period)
    except (OSError, ValueError):  # no such file, or "max" for no limit
        return None


def _variable(name: str, read: Callable[[str], T], expected: str) -> T | None:
    """Return what `read` makes of an environment variable; warn about one that it refuses by ValueError."""
    text = os.environ.get(name)
    if not text:
        return None
    try:
        return read(text)
    except ValueError:
        warnings.warn(f"{name} must be {expected}, got {text!r}: ignored", stacklevel=3)
        return None


def _positive_integer(text: str) -> int:
    if not text.isdecimal():  # int takes signs, spaces and underscores, too
        raise ValueError(text)
    return integer(int(text), "text", 1)


# Room for algorithms that round more than plain sums do: about 10, 80 and 450 units in the last place.
_TOLERANCES = {"float16": 1e-2, "float32": 3e-5, "float64": 1e-13}
_EXACT = 0.0  # integers
_tolerance: float | None = None


def get_tolerance(dtype: npt.DTypeLike = "float32") -> float:
    """Return the largest error bound of an algorithm that ``"auto"`` may choose.

    The default is ``FASTCONV_TOLERANCE`` if set, else 3e-5 for float32, 1e-13 for float64, 1e-2 for
    float16, and 0 for integers, whose results are exact. Errors are relative, in the 2-norm.

    Parameters
    ----------
    dtype : data type
        Of the problem: each has a default of its own.

    Raises
    ------
    TypeError
        If `dtype` is no data type that is computed.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.get_tolerance("float64") <= fastconv.get_tolerance("float32")
    True
    """
    return tolerance_of(dtype_name(dtype), requested_tolerance())


def set_tolerance(tolerance: float | None) -> None:
    """Set the largest error bound of an algorithm that ``"auto"`` may choose; None restores the defaults.

    It is one number for float32 and float64 alike. Error bounds of float64 are far below those of
    float32: a limit that is meant for float32 excludes nothing there.

    Parameters
    ----------
    tolerance : float or None
        Relative error in the 2-norm, positive and finite. Where no algorithm is so accurate, the
        most accurate one runs.

    Raises
    ------
    TypeError
        If `tolerance` is no number.
    ValueError
        If it is not positive and finite.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.set_tolerance(1e-3)
    >>> fastconv.get_tolerance("float32"), fastconv.get_tolerance("float64")
    (0.001, 0.001)
    >>> fastconv.set_tolerance(None)
    """
    global _tolerance
    _tolerance = None if tolerance is None else positive_number(tolerance, "tolerance")


def requested_tolerance() -> float | None:
    """Return the tolerance of `set_tolerance` or ``FASTCONV_TOLERANCE``, None where each data type has its default."""
    return _tolerance if _tolerance is not None else _tolerance_variable()


@cache
def _tolerance_variable() -> float | None:
    return _variable("FASTCONV_TOLERANCE", _positive_float, "a positive number")


def _positive_float(text: str) -> float:
    return positive_number(float(text), "text")


def tolerance_of(dtype: str, requested: object) -> float:
    """Return the tolerance that was requested, checked; the default of a data type where it is None."""
    return _TOLERANCES.get(dtype, _EXACT) if requested is None else positive_number(requested, "tolerance")


VECTOR_BITS = (128, 256, 512)
_forced_vector_bits: int | None = None


def vector_bits() -> int | None:
    """Return the vector width in bits that was asked for, or None for the processor's widest.

    ``FASTCONV_VECTOR_BITS`` or `set_vector_bits`. A width the processor lacks still computes the
    same: the compiler splits such vectors.
    """
    return _forced_vector_bits or _vector_bits_variable()


@cache
def _vector_bits_variable() -> int | None:
    asked = _variable("FASTCONV_VECTOR_BITS", _positive_integer, "a positive integer")
    if asked is None or asked in VECTOR_BITS:
        return asked
    warnings.warn(
        f"FASTCONV_VECTOR_BITS must be one of {VECTOR_BITS}, got {asked}: ignored", stacklevel=2
    )
    return None


def set_vector_bits(bits: int | None) -> None:
    """Generate kernels for vectors of `bits` (128, 256 or 512); None takes the processor's widest.

    Raises
    ------
    ValueError
        If `bits` is another number.
    """
    global _forced_vector_bits
    if bits is not None and integer(bits, "bits", 0) not in VECTOR_BITS:
        raise ValueError(f"bits must be None or one of {VECTOR_BITS}, got {bits!r}")
    _forced_vector_bits = bits


def cache_directory() -> Path | None:
    """Return the directory that compiled kernels are kept in, or None where there can be none.

    ``FASTCONV_CACHE_DIR`` or the user's cache directory; below it, one folder for each state of the package's own
    source, so that no process ever runs code compiled from another version. One that can be read but not written
    serves what it holds.
    """
    return _usable_cache_directory(os.environ.get("FASTCONV_CACHE_DIR", ""))


@cache
def _usable_cache_directory(asked: str) -> Path | None:
    base = Path(asked) if asked else _users_directory("user_cache_path", "compiled kernels are kept in memory only")
    if base is None:
        return None
    directory = base / f"kernels-{source_digest()}"
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        logger.info("cannot make %s (%s): compiled kernels stay in memory", directory, error)
        return None
    return directory


def answers_directory() -> Path | None:
    """Return the directory that measured answers are kept in, which need not exist; None where there can be none.

    ``FASTCONV_CACHE_DIR`` or the user's directory for data, not for caches: answers take minutes to measure again.
    """
    asked = os.environ.get("FASTCONV_CACHE_DIR", "")
    return Path(asked) if asked else _users_directory("user_data_path", "measured answers are kept in memory only")


@cache
def _users_directory(kind: str, without: str) -> Path | None:
    """Return one of the directories that platformdirs knows; `without` says what it means that there is none."""
    import platformdirs

    try:
        path: Path = getattr(platformdirs, kind)("fastconv", appauthor=False)
    except (OSError, RuntimeError, KeyError):  # no home directory at all
        logger.info("no home directory: %s", without)
        return None
    return path


@cache
def source_digest() -> str:
    """A digest of the files whose code ends up in compiled kernels."""
    digest = hashlib.sha256()
    package = Path(__file__).parent
    for folder in ("codegen", "cpu"):
        for path in sorted((package / folder).glob("*.py")):
            digest.update(path.name.encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]

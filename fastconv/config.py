"""Settings: threads, vector width, cache directory; each also a ``FASTCONV_*`` environment variable.

Variables are read when a setting is first needed, never at import.
"""

from __future__ import annotations

import hashlib
import logging
import math
import os
import warnings
from functools import cache
from pathlib import Path

from fastconv.arguments import integer

logger = logging.getLogger("fastconv")
logger.addHandler(logging.NullHandler())

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
    asked = _positive_int_variable("FASTCONV_NUM_THREADS")
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


def _positive_int_variable(name: str) -> int | None:
    """Return an environment variable's value; warn about one that is no positive integer."""
    text = os.environ.get(name)
    if not text:
        return None
    if text.isdecimal() and int(text) > 0:
        return int(text)
    warnings.warn(f"{name} must be a positive integer, got {text!r}: ignored", stacklevel=3)
    return None


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
    asked = _positive_int_variable("FASTCONV_VECTOR_BITS")
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
    if asked:
        base = Path(asked)
    else:
        from platformdirs import user_cache_path

        try:
            base = user_cache_path("fastconv", appauthor=False)
        except (OSError, RuntimeError, KeyError):  # no home directory at all
            logger.info("no home directory: compiled kernels are kept in memory only")
            return None
    directory = base / f"kernels-{source_digest()}"
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        logger.info("cannot make %s (%s): compiled kernels stay in memory", directory, error)
        return None
    return directory


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

"""What settings are where nobody sets them: variables ``FASTCONV_*``, and the processors that the process may use.

Variables are read when a setting is first needed, never at import, and once.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TypeVar

from fastconv import allowed
from fastconv.arguments import PRECISIONS, integer, one_of, positive_number

T = TypeVar("T")

VECTOR_BITS = (128, 256, 512)
MODES = ("predict", "measure")


@cache
def threads() -> int:
    """``FASTCONV_NUM_THREADS``, else the processors that the process may use."""
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
    return integer(_digits(text), "text", 1)


def _digits(text: str) -> int:
    if not text.isdecimal():  # int takes signs, spaces and underscores, too
        raise ValueError(text)
    return integer(int(text), "text", 0)


@cache
def tolerance() -> float | None:
    """``FASTCONV_TOLERANCE``."""
    return _variable("FASTCONV_TOLERANCE", _positive_float, "a positive number")


def _positive_float(text: str) -> float:
    return positive_number(float(text), "text")


@cache
def workspace_limit() -> int | None:
    """``FASTCONV_WORKSPACE_LIMIT``."""
    return _variable("FASTCONV_WORKSPACE_LIMIT", _digits, "a number of bytes")


@cache
def mode() -> str | None:
    """``FASTCONV_MODE``."""
    return _variable("FASTCONV_MODE", lambda text: one_of(text, MODES, "text"), " or ".join(MODES))


@cache
def precision() -> str | None:
    """``FASTCONV_PRECISION``."""
    expected = f"one of {', '.join(PRECISIONS)}"
    return _variable("FASTCONV_PRECISION", lambda text: one_of(text, PRECISIONS, "text"), expected)


@cache
def deterministic() -> bool | None:
    """``FASTCONV_DETERMINISTIC``."""
    return _variable("FASTCONV_DETERMINISTIC", lambda text: one_of(text, ("0", "1"), "text") == "1", "0 or 1")


@cache
def vector_bits() -> int | None:
    """``FASTCONV_VECTOR_BITS``."""
    asked = _variable("FASTCONV_VECTOR_BITS", _positive_integer, "a positive integer")
    if asked is None or asked in VECTOR_BITS:
        return asked
    warnings.warn(f"FASTCONV_VECTOR_BITS must be one of {VECTOR_BITS}, got {asked}: ignored", stacklevel=2)
    return None


@cache
def algorithms() -> allowed.Algorithms:
    """``FASTCONV_ALLOW`` and ``FASTCONV_DENY``: names with commas between."""

    def read(name: str) -> frozenset[str] | None:
        expected = "names of algorithms with commas between"
        return _variable(name, lambda text: allowed.names(text.split(","), name), expected)

    try:
        return allowed.checked(read("FASTCONV_ALLOW"), read("FASTCONV_DENY"))
    except ValueError as error:
        warnings.warn(f"FASTCONV_ALLOW and FASTCONV_DENY contradict each other: {error}: ignored", stacklevel=2)
        return allowed.Algorithms()

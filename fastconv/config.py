"""Settings: mode, threads, workspace, algorithms, determinism, vector width; also ``FASTCONV_*`` variables.

What an argument of a call says comes first, then the innermost `options` around it that says something, then what was
set for the process, then the variable, then the default. Variables are read when a setting is first needed, never at
import. Tolerance and precision are in `accuracy`; they are settings as the others.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from contextlib import AbstractContextManager
from typing import NamedTuple

from fastconv import environment, scopes
from fastconv.accuracy import get_precision as get_precision
from fastconv.accuracy import get_tolerance as get_tolerance
from fastconv.accuracy import precision_in_force as precision_in_force
from fastconv.accuracy import requested_tolerance as requested_tolerance
from fastconv.accuracy import set_precision as set_precision
from fastconv.accuracy import set_tolerance as set_tolerance
from fastconv.accuracy import tolerance_in_force as tolerance_in_force
from fastconv.accuracy import tolerance_of as tolerance_of
from fastconv.allowed import Algorithms, checked
from fastconv.arguments import PRECISIONS, integer, one_of, positive_number, truth
from fastconv.directories import answers_directory as answers_directory
from fastconv.directories import cache_directory as cache_directory
from fastconv.directories import source_digest as source_digest
from fastconv.environment import MODES, VECTOR_BITS

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
    scope = scopes.current()
    if scope is not None and scope.threads is not None:
        return scope.threads
    return _threads if _threads is not None else environment.threads()


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
    scopes.changed()


_workspace_limit: int | None = None


def get_workspace_limit() -> int | None:
    """Return the most bytes of scratch memory that an algorithm may allocate in a call, None where there is no limit.

    The default is ``FASTCONV_WORKSPACE_LIMIT`` if set, else None.

    Examples
    --------
    >>> import fastconv
    >>> with fastconv.options(workspace_limit=1 << 20):
    ...     fastconv.get_workspace_limit()
    1048576
    """
    scope = scopes.current()
    if scope is not None and scope.workspace_limit is not None:
        return scope.workspace_limit
    return _workspace_limit if _workspace_limit is not None else environment.workspace_limit()


def set_workspace_limit(limit: int | None) -> None:
    """Set the most bytes of scratch memory that an algorithm may allocate in a call; None restores the default.

    ``"auto"`` leaves out algorithms whose workspace for a problem, with all threads, is above the limit. One that is
    asked for by name raises `UnsupportedError` then, and so does ``"auto"`` where no algorithm is left.

    Parameters
    ----------
    limit : int or None
        Bytes, at least 0. Arguments that have to be copied, results, and the packed weights of layers do not count.

    Raises
    ------
    TypeError
        If `limit` is no integer.
    ValueError
        If it is negative.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.set_workspace_limit(1 << 20)
    >>> fastconv.get_workspace_limit()
    1048576
    >>> fastconv.set_workspace_limit(None)
    """
    global _workspace_limit
    _workspace_limit = None if limit is None else integer(limit, "limit", 0)
    scopes.changed()


_mode: str | None = None


def get_mode() -> str:
    """Return whether ``"auto"`` predicts or measures: ``"predict"``, unless ``FASTCONV_MODE`` says ``"measure"``.

    Examples
    --------
    >>> import fastconv
    >>> with fastconv.options(mode="measure"):
    ...     fastconv.get_mode()
    'measure'
    """
    scope = scopes.current()
    if scope is not None and scope.mode is not None:
        return scope.mode
    return _mode or environment.mode() or MODES[0]


def set_mode(mode: str | None) -> None:
    """Set how ``"auto"`` decides; None restores the default.

    Parameters
    ----------
    mode : {"predict", "measure"} or None
        ``"predict"`` takes what was measured before, or else the least predicted time, and never times anything.
        ``"measure"`` does what :func:`fastconv.tune` does, for a problem that has no answer yet, in the first call of a
        function, layer or plan: that call takes about as long as some hundred of them. With determinism, it raises.

    Raises
    ------
    TypeError
        If `mode` is no string.
    ValueError
        If it is another one.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.set_mode("predict")
    >>> fastconv.set_mode(None)
    """
    global _mode
    _mode = None if mode is None else one_of(mode, MODES, "mode")
    scopes.changed()


_deterministic: bool | None = None


def get_deterministic() -> bool:
    """Return whether ``"auto"`` chooses by what is shipped alone: only if ``FASTCONV_DETERMINISTIC`` is 1.

    Examples
    --------
    >>> import fastconv
    >>> with fastconv.options(deterministic=True):
    ...     fastconv.get_deterministic()
    True
    """
    scope = scopes.current()
    if scope is not None and scope.deterministic is not None:
        return scope.deterministic
    return _deterministic if _deterministic is not None else environment.deterministic() or False


def set_deterministic(deterministic: bool | None) -> None:
    """Set whether ``"auto"`` chooses by what is shipped alone; None restores the default.

    Results of one algorithm are equal by every bit, for any number of threads and any batch. Those of another differ
    by rounding, and which one is chosen depends on what was measured: by :func:`fastconv.tune`, and by
    :func:`fastconv.calibrate`. With determinism neither counts. Equal calls then give equal bits in every run, and on
    every processor with the same features and caches, as long as version and settings are the same.

    Parameters
    ----------
    deterministic : bool or None
        True contradicts the mode ``"measure"``: a call with both in force raises ValueError.

    Raises
    ------
    TypeError
        If `deterministic` is no bool.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.set_deterministic(True)
    >>> fastconv.set_deterministic(None)
    """
    global _deterministic
    _deterministic = None if deterministic is None else truth(deterministic, "deterministic")
    scopes.changed()


_forced_vector_bits: int | None = None


def vector_bits() -> int | None:
    """Return the vector width in bits that was asked for, or None for the processor's widest.

    ``FASTCONV_VECTOR_BITS`` or `set_vector_bits`. A width the processor lacks still computes the
    same: the compiler splits such vectors.
    """
    return _forced_vector_bits or environment.vector_bits()


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
    scopes.changed()


_algorithms: Algorithms | None = None


def allowed_algorithms() -> Algorithms:
    """Return which algorithms ``"auto"`` may choose."""
    scope = scopes.current()
    if scope is not None and scope.algorithms is not None:
        return scope.algorithms
    return _algorithms if _algorithms is not None else environment.algorithms()


def set_algorithms(allow: Iterable[str] | None = None, deny: Iterable[str] = ()) -> None:
    """Set which algorithms ``"auto"`` may choose; without arguments, all.

    An algorithm that is asked for by name runs all the same.

    Parameters
    ----------
    allow : iterable of str, optional
        Names of :func:`fastconv.algorithms`, or of those that devices alone have; None for all.
    deny : iterable of str, optional
        Names of those that are never chosen.

    Raises
    ------
    TypeError
        If a name is no string.
    ValueError
        If there is no such algorithm, or it is both allowed and denied.

    Examples
    --------
    >>> import fastconv
    >>> problem = fastconv.ConvProblem.parse("conv2d,n1,c8,9x9,k8,3x3,float32")
    >>> fastconv.set_algorithms(allow=["im2col"])
    >>> fastconv.select(problem)
    'im2col'
    >>> fastconv.set_algorithms()
    """
    global _algorithms
    _algorithms = checked(allow, deny)
    scopes.changed()


class Settings(NamedTuple):
    """What is in force for a call, and decides what it runs."""

    threads: int
    vector_bits: int | None
    tolerance: float | None  # None: the data type's
    algorithms: Algorithms
    workspace_limit: int | None  # None: there is none
    mode: str  # of `MODES`
    deterministic: bool
    precision: str  # of `PRECISIONS`


def settings() -> Settings:
    """Return what is in force here; ValueError if it contradicts itself."""
    inside, kept = scopes.current() is not None, scopes.outermost()
    if kept and not inside:
        return kept[0]
    now = Settings(
        get_num_threads(),
        vector_bits(),
        requested_tolerance(),
        allowed_algorithms(),
        get_workspace_limit(),
        get_mode(),
        get_deterministic(),
        get_precision(),
    )
    _refuse_both(now.mode, now.deterministic)
    if not inside:
        kept.append(now)
    return now


def _refuse_both(mode: str | None, deterministic: bool | None) -> None:
    if deterministic and mode == "measure":
        raise ValueError("deterministic must be False where mode is 'measure', got True: it ignores what is measured")


def options(
    *,
    threads: int | None = None,
    tolerance: float | None = None,
    allow: Iterable[str] | None = None,
    deny: Iterable[str] | None = None,
    workspace_limit: int | None = None,
    mode: str | None = None,
    deterministic: bool | None = None,
    precision: str | None = None,
) -> AbstractContextManager[None]:
    """Return a context manager: settings for the calls within.

    They come before what is set for the process, and after arguments of a call; of scopes within each other, the
    innermost that says something counts. They hold for this thread and for tasks of asyncio that are started within,
    not for other threads (unless Python is told that these inherit). What counts is when a function or layer is called.

    Parameters
    ----------
    threads : int, optional
        As in :func:`fastconv.set_num_threads`.
    tolerance : float, optional
        As in :func:`fastconv.set_tolerance`.
    allow, deny : iterable of str, optional
        As in :func:`fastconv.set_algorithms`. Either replaces both of what is around.
    workspace_limit : int, optional
        As in :func:`fastconv.set_workspace_limit`. A higher one than what is around counts, too.
    mode : str, optional
        As in :func:`fastconv.set_mode`.
    deterministic : bool, optional
        As in :func:`fastconv.set_deterministic`.
    precision : str, optional
        As in :func:`fastconv.set_precision`.

    Raises
    ------
    TypeError
        If an argument is of a wrong kind.
    ValueError
        If a value is not possible, an algorithm both allowed and denied, or what is deterministic is to be measured.

    Examples
    --------
    >>> import fastconv
    >>> problem = fastconv.ConvProblem.parse("conv2d,n1,c8,9x9,k8,3x3,float32")
    >>> with fastconv.options(threads=1, allow=["direct", "im2col"]):
    ...     fastconv.get_num_threads(), fastconv.select(problem) in ("direct", "im2col")
    (1, True)
    """
    scope = scopes.Scope(
        None if threads is None else integer(threads, "threads", 1),
        None if tolerance is None else positive_number(tolerance, "tolerance"),
        None if allow is None and deny is None else checked(allow, deny),
        None if workspace_limit is None else integer(workspace_limit, "workspace_limit", 0),
        None if mode is None else one_of(mode, MODES, "mode"),
        None if deterministic is None else truth(deterministic, "deterministic"),
        None if precision is None else one_of(precision, PRECISIONS, "precision"),
    )
    _refuse_both(scope.mode, scope.deterministic)
    return scopes.scoped(scope)

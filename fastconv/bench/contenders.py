"""Who takes part on a layer: the package's algorithms by name, ``auto``, ``packed``, and the other libraries."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TypeAlias, cast

from fastconv import selection
from fastconv.algorithm import P
from fastconv.bench.operations import Array, draw, operation_of, relative_error
from fastconv.bench.peers import COMPARISONS
from fastconv.bench.results import AUTO, PACKED, REFERENCE, Kind, Outcome
from fastconv.problem import ConvProblem, Problem
from fastconv.selection.place import HOST, Place

__all__ = ["Contender", "check", "contenders", "expected", "ours", "picked"]


@dataclass(frozen=True)
class Contender:
    """How to run one contender.

    Parameters
    ----------
    name : str
        An algorithm of the table, ``auto``, ``packed``, or a peer.
    kind : {"algorithm", "auto", "packed", "peer", "coarser"}
        Which of these it is.
    limit : float, optional
        Relative 2-norm by which its result may differ from the reference's.
    workspace : int, optional
        Bytes of scratch memory, for an algorithm.
    run : callable, optional
        Does the work, without arguments. None for the reference, which is called once to compare with.
    reason : str, optional
        Why there is no `run`.
    """

    name: str
    kind: Kind
    limit: float = 0.0
    workspace: int | None = None
    run: Callable[[], Array] | None = None
    reason: str | None = None


_Expected: TypeAlias = tuple[tuple[Array, ...], Array, float]


@lru_cache(maxsize=1)  # a layer is measured with several numbers of threads, one after the other
def expected(problem: Problem) -> _Expected:
    """Return the arrays of a problem, what it must give, and the seconds that the reference took."""
    arrays = draw(problem)
    start = time.perf_counter()
    right = operation_of(problem).reference(problem, *arrays)
    return arrays, right, time.perf_counter() - start


def picked(problem: Problem) -> str:
    """Return what ``auto`` stands for; the reference where no table of algorithms knows such problems."""
    known = cast("ConvProblem", problem)  # for the type checker: the kind that the table is of
    able = any(one.supports(known) is None for one in selection.table_of(known))
    return selection.select(known) if able else REFERENCE


def contenders(
    problem: Problem,
    arrays: tuple[Array, ...],
    algorithms: Collection[str] | None = None,
    peers: Collection[str] | None = None,
) -> tuple[Contender, ...]:
    """Return the algorithms, the reference last among them, ``auto``, ``packed`` where there are weights, and peers.

    Parameters
    ----------
    problem : ConvProblem or PoolProblem
        What to compute.
    arrays : tuple of numpy.ndarray
        What to compute it of.
    algorithms, peers : collection of str, optional
        Names of those that are wanted; None for all.
    """
    known = cast("ConvProblem", problem)  # for the type checker: the kind that the table is of
    own = ours(known, arrays, algorithms, HOST, lambda: picked(problem))
    return (*own, *_peers(problem, arrays, peers))


def ours(
    problem: P,
    arrays: tuple[Array, ...],
    names: Collection[str] | None,
    place: Place,
    choose: Callable[[], str],
) -> Iterator[Contender]:
    """Yield the algorithms of a table that are wanted, ``auto``, and ``packed`` where there are weights.

    Parameters
    ----------
    problem, arrays, names
        As of :func:`contenders`.
    place : Place
        Where the arrays are.
    choose : callable
        Returns the name of the algorithm that ``auto`` stands for.
    """
    operation = operation_of(problem)
    call = operation.call(problem, arrays)
    limits = {REFERENCE: operation.error_limit(problem)}
    for algorithm in place.entries(problem):
        name = algorithm.name
        reason = place.refusal(algorithm, problem)
        if reason is None and not algorithm.any_weights:
            reason = algorithm.fits(cast("ConvProblem", problem), arrays[1])
        if reason is None:
            limits[name] = algorithm.error_bound(problem) or operation.error_limit(problem)
        if name == REFERENCE or (names is not None and name not in names):
            continue
        if reason is None and call is not None:
            run = partial(call, algorithm=name)
            yield Contender(name, "algorithm", limits[name], place.workspace(algorithm, problem), run)
        else:
            yield Contender(name, "algorithm", reason=reason or _not_there(operation.function_name(problem)))
    if any(entry.name == REFERENCE for entry in place.entries(problem)) and (names is None or REFERENCE in names):
        yield Contender(REFERENCE, "algorithm")
    if call is None:
        yield Contender(AUTO, "auto", reason=_not_there(operation.function_name(problem)))
    else:
        limit = limits[choose()]
        yield Contender(AUTO, "auto", limit, run=call)
        try:
            packed = operation.packed_call(problem, arrays)
        except TypeError as error:  # layers of arrays that are elsewhere
            yield Contender(PACKED, "packed", reason=str(error))
        else:
            if packed is not None:
                yield Contender(PACKED, "packed", limit, run=packed)


def _not_there(function: str) -> str:
    return f"fastconv has no {function} yet"


def _peers(problem: Problem, arrays: tuple[Array, ...], names: Collection[str] | None) -> Iterator[Contender]:
    operation = operation_of(problem)
    for name, peer in COMPARISONS[operation.name].items():
        if names is not None and name not in names:
            continue
        try:
            run = peer(problem, *arrays)
        except Exception as exception:  # a library that is installed but broken must not end the run
            run = f"{type(exception).__name__}: {exception}"
        if isinstance(run, str):
            yield Contender(name, "peer", reason=run)
        else:
            yield Contender(name, "peer", operation.error_limit(problem), run=run)


def check(
    contender: Contender, expected: Array, error_of: Callable[[Array, Array], float] = relative_error
) -> Outcome:
    """Make a contender's first call, and compare its result with the reference's by `error_of`."""
    outcome = Outcome(contender.name, contender.kind, skipped=contender.reason, workspace=contender.workspace)
    if contender.run is None:
        return outcome
    replace = partial(dataclasses.replace, outcome, limit=contender.limit)
    start = time.perf_counter()
    try:
        found = contender.run()
    except Exception as exception:  # one that fails must not cost the others their figures
        return replace(failure=f"{type(exception).__name__}: {exception}")
    first_ms = 1e3 * (time.perf_counter() - start)
    if found.shape != expected.shape:
        return replace(first_ms=first_ms, failure=f"shape {found.shape}, expected {expected.shape}")
    error = error_of(found, expected)
    if not error <= contender.limit:  # a NaN is not
        failure = f"relative error {error:.2g}, at most {contender.limit:.2g} expected"
        return replace(first_ms=first_ms, failure=failure, error=error if math.isfinite(error) else None)
    return replace(first_ms=first_ms, error=error)



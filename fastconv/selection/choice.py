"""The choice: the cheapest algorithm, measured or predicted, among those that compute the problem accurately enough."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from logging import DEBUG
from typing import Generic, NamedTuple, Protocol, TypeVar

import numpy as np

from fastconv.algorithm import Algorithm, Array, Limits, P, PoolAlgorithm
from fastconv.arguments import one_of
from fastconv.config import Settings, get_workspace_limit, logger, settings, tolerance_in_force
from fastconv.errors import UnsupportedError
from fastconv.problem import ConvProblem, PoolProblem, Problem
from fastconv.selection import answers, constants, table
from fastconv.selection.explanation import Candidate, Explanation, too_inaccurate, too_large
from fastconv.selection.place import HOST, Place, place_of

_KINDS = ("convolution", "pooling")


def algorithms(kind: str = "convolution") -> tuple[str, ...]:
    """Return the names of the algorithms, in the table's order.

    Parameters
    ----------
    kind : str
        What they compute: ``"convolution"`` or ``"pooling"``.

    Raises
    ------
    TypeError
        If `kind` is no string.
    ValueError
        If it is another one.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.algorithms()[:4]
    ('direct', 'depthwise', 'separable', 'im2col')
    """
    entries = table.TABLE if one_of(kind, _KINDS, "kind") == "convolution" else table.POOLINGS
    return tuple(entry.name for entry in entries)


def algorithm(name: str) -> Algorithm:
    """Return the algorithm for convolutions that is called `name`.

    Raises
    ------
    TypeError
        If `name` is no string.
    ValueError
        If no algorithm has that name.
    """
    return called(name, table.TABLE)


def pool_algorithm(name: str) -> PoolAlgorithm:
    """Return the algorithm for poolings that is called `name`, see :func:`algorithm`."""
    return called(name, table.POOLINGS)


def named(problem: P, name: str, place: Place = HOST) -> Limits[P]:
    """Return the algorithm for `problem` that is called `name`, see :func:`algorithm`; it may be denied.

    Raises
    ------
    UnsupportedError
        If it does not compute the problem, or not within the limit of workspace.
    """
    entry = called(name, place.entries(problem))
    reason = place.refusal(entry, problem) or _excess(entry, problem, get_workspace_limit(), place)
    if reason is not None:
        raise UnsupportedError(f"algorithm {entry.name!r} does not compute {problem}: {reason}")
    return entry


class _Named(Protocol):
    name: str


E = TypeVar("E", bound=_Named)


def called(name: str, entries: Sequence[E]) -> E:
    """Return the one of `entries` that is called `name`, see :func:`algorithm`."""
    if not isinstance(name, str):
        raise TypeError(f"algorithm must be a str, got {name!r} of type {type(name).__name__}")
    for entry in entries:
        if entry.name == name:
            return entry
    options = ", ".join(("auto", *(entry.name for entry in entries)))
    raise ValueError(f"algorithm must be one of {options}, got {name!r}")


def select(
    problem: Problem,
    tolerance: float | None = None,
    weight: Array | None = None,
    *,
    device: int | None = None,
) -> str:
    """Return the name of the algorithm that ``algorithm="auto"`` runs for `problem`.

    That is the fastest that :func:`fastconv.tune` measured, or the cheapest by predicted time, of those
    whose error bound is at most the tolerance, and the most accurate where there is none. Where the setting
    `deterministic` is on, it is the cheapest by predicted time on the machine whose constants are shipped.

    Parameters
    ----------
    problem : ConvProblem or PoolProblem
        What to compute.
    tolerance : float, optional
        Relative error in the 2-norm; None takes that of :func:`fastconv.get_tolerance`.
    weight : array, optional
        Filters, of the problem's shape. Without them, algorithms that take only some weights do not count.
    device : int, optional
        The number of the CUDA device that computes; without it, the processor.

    Raises
    ------
    TypeError
        If `problem` is no problem, or `tolerance` no number.
    ValueError
        If `tolerance` is not positive and finite, or `weight` of another shape.
    UnsupportedError
        If no algorithm computes it.
    UnavailableError
        If there is no such device.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.select(fastconv.ConvProblem.parse("conv2d,n1,c8,9x9,k8,3x3,int32"))
    'reference'
    """
    limit = _limit(_checked(problem), tolerance)
    return chosen(problem, limit, _checked_weight(problem, weight), place_of(device)).name


def _checked(problem: Problem) -> Problem:
    if not isinstance(problem, ConvProblem | PoolProblem):
        raise TypeError(
            f"problem must be a ConvProblem or PoolProblem, got {problem!r} of type {type(problem).__name__}"
        )
    return problem


def _limit(problem: Problem, tolerance: float | None) -> float:
    return tolerance_in_force(problem, tolerance)


def contenders(problem: P, tolerance: float, now: Settings, place: Place = HOST) -> list[Limits[P]]:
    """Return what ``"auto"`` chooses among: all that are allowed and within the tolerance, or the best bound there is.

    Where even the best bound of those that take any weights is above the tolerance, those are the most accurate.
    """
    entries = place.entries(problem)
    possible = [entry for entry in entries if _refusal(entry, problem, now, place) is None]
    if not possible:
        refusals = "; ".join(f"{entry.name}: {_refusal(entry, problem, now, place)}" for entry in entries)
        raise UnsupportedError(f"no algorithm computes {problem}: {refusals}")
    bounds = {entry: entry.error_bound(problem) for entry in possible}
    least = min((bound for entry, bound in bounds.items() if entry.any_weights), default=0.0)
    return [entry for entry in possible if bounds[entry] <= max(tolerance, least)]


def _refusal(entry: Limits[P], problem: P, now: Settings, place: Place) -> str | None:
    """Return why `entry` cannot compute `problem`, or else why it may not; None if it can and may."""
    reason = place.refusal(entry, problem) or _prohibition(entry, problem, now)
    return reason or _excess(entry, problem, now.workspace_limit, place)


def _prohibition(entry: Limits[P], problem: P, now: Settings) -> str | None:
    """Return why `entry` may not be chosen; what is allowed and denied are convolutions' algorithms."""
    return now.algorithms.refusal(entry.name) if isinstance(problem, ConvProblem) else None


def _excess(entry: Limits[P], problem: P, limit: int | None, place: Place) -> str | None:
    """Return by how much `entry`, which computes `problem`, is above a limit of workspace; None if it is not."""
    return None if limit is None else too_large(place.workspace(entry, problem), limit)  # which may take a plan


class _Decision(NamedTuple, Generic[P]):
    order: tuple[Limits[P], ...]  # whose turn it is; the first that fits the weights, and the last fits any
    answer: answers.Answer | None  # None: it was predicted


def chosen(problem: P, tolerance: float, weight: Array | None = None, place: Place = HOST) -> Limits[P]:
    """Return the algorithm that ``"auto"`` runs: the contender measured to be fastest, else the cheapest predicted.

    Without a weight, it is one that takes any.
    """
    *picky, any_weights = ranked(problem, tolerance, place)
    fitting = (entry for entry in picky if weight is not None and _misfit(entry, problem, weight) is None)
    return next(fitting, any_weights)


def ranked(problem: P, tolerance: float, place: Place = HOST) -> tuple[Limits[P], ...]:
    """Return the algorithms whose turn it is with ``"auto"``, the first that fits the weights; the last fits any."""
    return _decided(problem, tolerance, settings(), place).order


@lru_cache(maxsize=4096)
def _decided(problem: P, tolerance: float, now: Settings, place: Place = HOST) -> _Decision[P]:
    """Decide with the settings in force, which are part of the key."""
    possible = contenders(problem, tolerance, now, place)
    costs = {entry: place.cost(entry, problem, now) for entry in possible}
    takers = [entry for entry in costs if entry.any_weights]
    if not takers:
        raise UnsupportedError(f"no algorithm that is allowed computes {problem} with any weights")
    names = [entry.name for entry in takers]
    answer = None
    if not now.deterministic:
        answer = answers.find(problem, place.threads(now), names, here=place.origin())
    picked = min(takers, key=costs.__getitem__) if answer is None else called(answer.fastest(names), takers)
    picky = [entry for entry in costs if not entry.any_weights and costs[entry] < costs[picked]]
    if logger.isEnabledFor(DEBUG):
        words = _in_words(problem, tolerance, now, answer, place)
        logger.debug("%s%s: %s (%s)%s", problem, place, picked.name, *words)
    return _Decision((*sorted(picky, key=costs.__getitem__), picked), answer)


def _in_words(
    problem: P, tolerance: float, now: Settings, answer: answers.Answer | None, place: Place
) -> tuple[str, str]:
    """What spoke for the pick, and what was left out for which reason."""
    candidates = _candidates(problem, tolerance, now, None, answer, place)
    how = "predicted" if answer is None else "measured"
    seconds = {each.name: each.predicted_seconds if answer is None else each.measured_seconds for each in candidates}
    listed = ", ".join(f"{name} {taken * 1e3:.3f} ms" for name, taken in seconds.items() if taken is not None)
    excluded = [each for each in candidates if each.reason and each.error_bound is not None]
    reasons = "".join(f"; {each.name}: {each.reason}" for each in excluded)
    return f"{how}: {listed}", reasons


def forget() -> None:
    """Forget choices."""
    _decided.cache_clear()


def clear_cache() -> None:
    """Forget choices, answers and constants that were read, plans and scratch memory."""
    forget()
    answers.forget()
    constants.forget()
    for convolution in table.TABLE:
        convolution.clear_cache()
    for pooling in table.POOLINGS:
        pooling.clear_cache()


def _candidates(
    problem: P,
    tolerance: float,
    now: Settings,
    weight: Array | None,
    answer: answers.Answer | None,
    place: Place,
) -> tuple[Candidate, ...]:
    """Return every algorithm's case with the settings in force."""

    def case(entry: Limits[P]) -> Candidate:
        reason = place.refusal(entry, problem)
        if reason is not None:
            return Candidate(entry.name, reason, None, None, None, None, None)
        bound, workspace = entry.error_bound(problem), place.workspace(entry, problem)
        terms = place.terms(entry, problem, now)
        limits = too_large(workspace, now.workspace_limit) or too_inaccurate(bound, tolerance)
        return Candidate(
            entry.name,
            _prohibition(entry, problem, now) or limits or _misfit(entry, problem, weight),
            workspace,
            sum(terms.values()),
            bound,
            None if answer is None else answer.seconds.get(entry.name),
            terms,
        )

    return tuple(map(case, place.entries(problem)))


def _misfit(entry: Limits[P], problem: P, weight: Array | None) -> str | None:
    if weight is not None and isinstance(problem, ConvProblem):
        return entry.fits(problem, weight)
    return None if entry.any_weights else f"{entry.name} fits some weights only, and none were given"


def _checked_weight(problem: Problem, weight: Array | None) -> Array | None:
    """Return `weight` as algorithms get it; poolings have none."""
    if weight is None or not isinstance(problem, ConvProblem):
        return None
    found = np.asarray(weight)
    if found.shape != problem.weight_shape:
        raise ValueError(f"weight must have shape {problem.weight_shape}, got {found.shape}")
    return np.require(found, problem.dtype, ["C", "A"])


def explain(
    problem: Problem,
    tolerance: float | None = None,
    weight: Array | None = None,
    *,
    device: int | None = None,
) -> Explanation:
    """Return what speaks for and against each algorithm for `problem`.

    Parameters
    ----------
    problem : ConvProblem or PoolProblem
        What to compute.
    tolerance : float, optional
        Relative error in the 2-norm; None takes that of :func:`fastconv.get_tolerance`.
    weight : array, optional
        Filters, of the problem's shape. Without them, algorithms that take only some weights do not count.
    device : int, optional
        The number of the CUDA device that computes; without it, the processor.

    Returns
    -------
    Explanation
        ``str`` of it is a table; ``as_dict`` is ready for JSON.

    Raises
    ------
    TypeError
        If `problem` is no problem, or `tolerance` no number.
    ValueError
        If `tolerance` is not positive and finite, or `weight` of another shape.
    UnsupportedError
        If no algorithm computes it.
    UnavailableError
        If there is no such device.

    Examples
    --------
    >>> import fastconv
    >>> problem = fastconv.ConvProblem.parse("conv2d,n1,c8,9x9,k8,3x3,int32")
    >>> print(fastconv.explain(problem).candidates[0].reason)
    direct computes float32 and float64, not int32
    >>> problem = fastconv.ConvProblem.parse("conv2d,n1,c8,9x9,k8,3x3,float32")
    >>> print(fastconv.explain(problem, tolerance=1e-6).candidates[0].reason)
    error bound 2e-06 is above the tolerance 1e-06
    """
    limit = _limit(_checked(problem), tolerance)
    filters, now, place = _checked_weight(problem, weight), settings(), place_of(device)
    picked, answer = chosen(problem, limit, filters, place), _decided(problem, limit, now, place).answer
    return Explanation(problem, limit, picked.name, _candidates(problem, limit, now, filters, answer, place))

"""The choice: the cheapest algorithm by predicted time, among those that compute the problem accurately enough."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from logging import DEBUG
from typing import TypeVar

from fastconv.algorithm import Algorithm, AnyAlgorithm, Machine, P, PoolAlgorithm
from fastconv.arguments import one_of
from fastconv.config import logger, requested_tolerance, tolerance_of
from fastconv.errors import UnsupportedError
from fastconv.problem import ConvProblem, PoolProblem, Problem
from fastconv.selection.explanation import Candidate, Explanation, too_inaccurate
from fastconv.selection.table import POOLINGS, TABLE

A = TypeVar("A")

_BY_NAME = {entry.name: entry for entry in TABLE}
_POOLING_BY_NAME = {entry.name: entry for entry in POOLINGS}
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
    >>> fastconv.algorithms()
    ('direct', 'depthwise', 'im2col', 'winograd_2x2', 'winograd_3x3', 'winograd_4x4', 'winograd_6x6', 'reference')
    >>> fastconv.algorithms("pooling")[-1]
    'reference'
    """
    table = TABLE if one_of(kind, _KINDS, "kind") == "convolution" else POOLINGS
    return tuple(entry.name for entry in table)


def algorithm(name: str) -> Algorithm:
    """Return the algorithm called `name`.

    Raises
    ------
    TypeError
        If `name` is no string.
    ValueError
        If no algorithm has that name.
    """
    return _named(_BY_NAME, name)


def pool_algorithm(name: str) -> PoolAlgorithm:
    """Return the algorithm for poolings that is called `name`; raises as `algorithm` does."""
    return _named(_POOLING_BY_NAME, name)


def _named(by_name: Mapping[str, A], name: str) -> A:
    if not isinstance(name, str):
        raise TypeError(f"algorithm must be a str, got {name!r} of type {type(name).__name__}")
    found = by_name.get(name)
    if found is None:
        options = ", ".join(("auto", *by_name))
        raise ValueError(f"algorithm must be one of {options}, got {name!r}")
    return found


def select(problem: Problem, tolerance: float | None = None) -> str:
    """Return the name of the algorithm that ``algorithm="auto"`` runs for `problem`.

    That is the cheapest by predicted time of those whose error bound is at most the tolerance, and
    the most accurate where there is none.

    Parameters
    ----------
    problem : ConvProblem or PoolProblem
        What to compute.
    tolerance : float, optional
        Relative error in the 2-norm; None takes that of :func:`fastconv.get_tolerance`.

    Raises
    ------
    TypeError
        If `problem` is no problem, or `tolerance` no number.
    ValueError
        If `tolerance` is not positive and finite.
    UnsupportedError
        If no algorithm computes it.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.select(fastconv.ConvProblem.parse("conv2d,n1,c8,9x9,k8,3x3,int32"))
    'reference'
    """
    limit = _limit(_checked(problem), tolerance)
    return (chosen(problem, limit) if isinstance(problem, ConvProblem) else chosen_pooling(problem, limit)).name


def _checked(problem: Problem) -> Problem:
    if not isinstance(problem, ConvProblem | PoolProblem):
        raise TypeError(
            f"problem must be a ConvProblem or PoolProblem, got {problem!r} of type {type(problem).__name__}"
        )
    return problem


def _limit(problem: Problem, tolerance: float | None) -> float:
    return tolerance_of(problem.dtype, requested_tolerance() if tolerance is None else tolerance)


@lru_cache(maxsize=4096)
def chosen(problem: ConvProblem, tolerance: float) -> Algorithm:
    """Return the algorithm that ``"auto"`` runs: the cheapest within the tolerance, or within the best bound there is.

    Where even the best bound is above the tolerance, that is the most accurate algorithm.
    """
    picked = _cheapest(TABLE, problem, tolerance)
    assert isinstance(picked, Algorithm)
    return picked


@lru_cache(maxsize=4096)
def chosen_pooling(problem: PoolProblem, tolerance: float) -> PoolAlgorithm:
    """Return the algorithm that ``"auto"`` runs for a pooling."""
    picked = _cheapest(POOLINGS, problem, tolerance)
    assert isinstance(picked, PoolAlgorithm)
    return picked


def _cheapest(table: Sequence[AnyAlgorithm[P]], problem: P, tolerance: float) -> AnyAlgorithm[P]:
    machine = Machine()
    possible = [entry for entry in table if entry.supports(problem) is None]
    if not possible:
        refusals = "; ".join(f"{entry.name}: {entry.supports(problem)}" for entry in table)
        raise UnsupportedError(f"no algorithm computes {problem}: {refusals}")
    costs = {entry: entry.cost(problem, machine) for entry in possible}
    bounds = {entry: entry.error_bound(problem) for entry in possible}
    limit = max(tolerance, min(bounds.values()))
    picked = min([entry for entry in possible if bounds[entry] <= limit], key=costs.__getitem__)
    if logger.isEnabledFor(DEBUG):
        listed = ", ".join(f"{entry.name} {cost * 1e3:.3f} ms" for entry, cost in costs.items())
        reasons = {entry.name: too_inaccurate(bounds[entry], tolerance) for entry in possible}
        excluded = "".join(f"; {name}: {why}" for name, why in reasons.items() if why is not None)
        logger.debug("%s: %s (predicted: %s)%s", problem, picked.name, listed, excluded)
    return picked


def clear_cache() -> None:
    """Forget choices, plans and scratch memory."""
    chosen.cache_clear()
    chosen_pooling.cache_clear()
    for entry in TABLE:
        entry.clear_cache()
    for pooling in POOLINGS:
        pooling.clear_cache()


def _candidate(entry: AnyAlgorithm[P], problem: P, machine: Machine, tolerance: float) -> Candidate:
    reason = entry.supports(problem)
    if reason is not None:
        return Candidate(entry.name, reason, None, None, None)
    bound = entry.error_bound(problem)
    return Candidate(
        entry.name,
        too_inaccurate(bound, tolerance),
        entry.workspace(problem),
        entry.cost(problem, machine),
        bound,
    )


def explain(problem: Problem, tolerance: float | None = None) -> Explanation:
    """Return what speaks for and against each algorithm for `problem`.

    Parameters
    ----------
    problem : ConvProblem or PoolProblem
        What to compute.
    tolerance : float, optional
        Relative error in the 2-norm; None takes that of :func:`fastconv.get_tolerance`.

    Returns
    -------
    Explanation
        ``str`` of it is a table; ``as_dict`` is ready for JSON.

    Raises
    ------
    TypeError
        If `problem` is no problem, or `tolerance` no number.
    ValueError
        If `tolerance` is not positive and finite.
    UnsupportedError
        If no algorithm computes it.

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
    limit, machine = _limit(_checked(problem), tolerance), Machine()
    if isinstance(problem, ConvProblem):
        name = chosen(problem, limit).name
        candidates = tuple(_candidate(entry, problem, machine, limit) for entry in TABLE)
    else:
        name = chosen_pooling(problem, limit).name
        candidates = tuple(_candidate(entry, problem, machine, limit) for entry in POOLINGS)
    return Explanation(problem, limit, name, candidates)

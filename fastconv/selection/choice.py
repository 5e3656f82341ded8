"""The choice: the cheapest algorithm by predicted time, among those that compute the problem accurately enough."""

from __future__ import annotations

from functools import lru_cache
from logging import DEBUG

import numpy as np

from fastconv.algorithm import Algorithm, Array, Machine
from fastconv.arguments import one_of
from fastconv.config import logger, requested_tolerance, tolerance_of
from fastconv.errors import UnsupportedError
from fastconv.problem import ConvProblem, PoolProblem, Problem
from fastconv.selection import pooling
from fastconv.selection.explanation import Candidate, Explanation, too_inaccurate
from fastconv.selection.table import POOLINGS, TABLE

_KINDS = ("convolution", "pooling")
_BY_NAME = {entry.name: entry for entry in TABLE}


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
    if not isinstance(name, str):
        raise TypeError(f"algorithm must be a str, got {name!r} of type {type(name).__name__}")
    found = _BY_NAME.get(name)
    if found is None:
        options = ", ".join(("auto", *_BY_NAME))
        raise ValueError(f"algorithm must be one of {options}, got {name!r}")
    return found


def select(problem: Problem, tolerance: float | None = None, weight: Array | None = None) -> str:
    """Return the name of the algorithm that ``algorithm="auto"`` runs for `problem`.

    That is the cheapest by predicted time of those whose error bound is at most the tolerance, and
    the most accurate where there is none.

    Parameters
    ----------
    problem : ConvProblem or PoolProblem
        What to compute.
    tolerance : float, optional
        Relative error in the 2-norm; None takes that of :func:`fastconv.get_tolerance`.
    weight : array, optional
        Filters, of the problem's shape. Without them, algorithms that take only some weights do not count.

    Raises
    ------
    TypeError
        If `problem` is no problem, or `tolerance` no number.
    ValueError
        If `tolerance` is not positive and finite, or `weight` of another shape.
    UnsupportedError
        If no algorithm computes it.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.select(fastconv.ConvProblem.parse("conv2d,n1,c8,9x9,k8,3x3,int32"))
    'reference'
    """
    limit = _limit(_checked(problem), tolerance)
    if isinstance(problem, PoolProblem):
        return pooling.chosen_pooling(problem, limit).name
    return chosen(problem, limit, _checked_weight(problem, weight)).name


def _checked(problem: Problem) -> Problem:
    if not isinstance(problem, ConvProblem | PoolProblem):
        raise TypeError(
            f"problem must be a ConvProblem or PoolProblem, got {problem!r} of type {type(problem).__name__}"
        )
    return problem


def _limit(problem: Problem, tolerance: float | None) -> float:
    return tolerance_of(problem.dtype, requested_tolerance() if tolerance is None else tolerance)


def chosen(problem: ConvProblem, tolerance: float, weight: Array | None = None) -> Algorithm:
    """Return the algorithm that ``"auto"`` runs: the cheapest within the tolerance, or within the best bound there is.

    Where even the best bound is above the tolerance, that is the most accurate algorithm. Without a weight, it is one
    that takes any.
    """
    *picky, any_weights = ranked(problem, tolerance)
    fitting = (entry for entry in picky if weight is not None and entry.fits(problem, weight) is None)
    return next(fitting, any_weights)


@lru_cache(maxsize=4096)
def ranked(problem: ConvProblem, tolerance: float) -> tuple[Algorithm, ...]:
    """Return the algorithms whose turn it is with ``"auto"``, the first that fits the weights; the last fits any."""
    machine = Machine()
    possible = [entry for entry in TABLE if entry.supports(problem) is None]
    if not possible:
        refusals = "; ".join(f"{entry.name}: {entry.supports(problem)}" for entry in TABLE)
        raise UnsupportedError(f"no algorithm computes {problem}: {refusals}")
    costs = {entry: entry.cost(problem, machine) for entry in possible}
    bounds = {entry: entry.error_bound(problem) for entry in possible}
    limit = max(tolerance, min(bound for entry, bound in bounds.items() if entry.any_weights))
    able = sorted([entry for entry in possible if bounds[entry] <= limit], key=costs.__getitem__)
    picked = next(entry for entry in able if entry.any_weights)
    if logger.isEnabledFor(DEBUG):
        listed = ", ".join(f"{entry.name} {cost * 1e3:.3f} ms" for entry, cost in costs.items())
        reasons = {entry.name: too_inaccurate(bounds[entry], tolerance) for entry in possible}
        excluded = "".join(f"; {name}: {why}" for name, why in reasons.items() if why is not None)
        logger.debug("%s: %s (predicted: %s)%s", problem, picked.name, listed, excluded)
    return (*able[: able.index(picked)], picked)


def clear_cache() -> None:
    """Forget choices, plans and scratch memory."""
    ranked.cache_clear()
    for entry in TABLE:
        entry.clear_cache()
    pooling.clear_cache()


def _candidate(
    entry: Algorithm, problem: ConvProblem, machine: Machine, tolerance: float, weight: Array | None
) -> Candidate:
    reason = entry.supports(problem)
    if reason is not None:
        return Candidate(entry.name, reason, None, None, None)
    bound = entry.error_bound(problem)
    return Candidate(
        entry.name,
        too_inaccurate(bound, tolerance) or _misfit(entry, problem, weight),
        entry.workspace(problem),
        entry.cost(problem, machine),
        bound,
    )


def _misfit(entry: Algorithm, problem: ConvProblem, weight: Array | None) -> str | None:
    if weight is not None:
        return entry.fits(problem, weight)
    return None if entry.any_weights else f"{entry.name} fits some weights only, and none were given"


def _checked_weight(problem: ConvProblem, weight: Array | None) -> Array | None:
    """Return `weight` as algorithms get it."""
    if weight is None:
        return None
    found = np.asarray(weight)
    if found.shape != problem.weight_shape:
        raise ValueError(f"weight must have shape {problem.weight_shape}, got {found.shape}")
    return np.require(found, problem.dtype, ["C", "A"])


def explain(problem: Problem, tolerance: float | None = None, weight: Array | None = None) -> Explanation:
    """Return what speaks for and against each algorithm for `problem`.

    Parameters
    ----------
    problem : ConvProblem or PoolProblem
        What to compute.
    tolerance : float, optional
        Relative error in the 2-norm; None takes that of :func:`fastconv.get_tolerance`.
    weight : array, optional
        Filters, of the problem's shape. Without them, algorithms that take only some weights do not count.

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
    if isinstance(problem, PoolProblem):
        return pooling.explain_pooling(problem, limit)
    filters, machine = _checked_weight(problem, weight), Machine()
    picked = chosen(problem, limit, filters)
    candidates = tuple(_candidate(entry, problem, machine, limit, filters) for entry in TABLE)
    return Explanation(problem, limit, picked.name, candidates)

"""The choice for poolings: the cheapest algorithm among those that are accurate enough."""

from __future__ import annotations

from functools import lru_cache

from fastconv.algorithm import Machine, PoolAlgorithm
from fastconv.config import logger
from fastconv.problem import PoolProblem
from fastconv.selection.explanation import Candidate, Explanation, too_inaccurate
from fastconv.selection.table import POOLINGS

_BY_NAME = {entry.name: entry for entry in POOLINGS}


def pool_algorithm(name: str) -> PoolAlgorithm:
    """Return the algorithm for poolings that is called `name`.

    Raises
    ------
    TypeError
        If `name` is no string.
    ValueError
        If no algorithm has that name.
    """
    if not isinstance(name, str):
        raise TypeError(f"algorithm must be a str, got {name!r} of type {type(name).__name__}")
    if name not in _BY_NAME:
        raise ValueError(f"algorithm must be one of {', '.join(('auto', *_BY_NAME))}, got {name!r}")
    return _BY_NAME[name]


@lru_cache(maxsize=4096)
def chosen_pooling(problem: PoolProblem, tolerance: float) -> PoolAlgorithm:
    """Return the algorithm that ``"auto"`` runs, as of convolutions; the reference computes all."""
    machine = Machine()
    possible = [entry for entry in POOLINGS if entry.supports(problem) is None]
    limit = max(tolerance, min(entry.error_bound(problem) for entry in possible))
    able = [entry for entry in possible if entry.error_bound(problem) <= limit]
    picked = min(able, key=lambda entry: entry.cost(problem, machine))
    logger.debug("%s: %s", problem, picked.name)
    return picked


def explain_pooling(problem: PoolProblem, tolerance: float) -> Explanation:
    """Return what speaks for and against each algorithm."""
    machine = Machine()

    def candidate(entry: PoolAlgorithm) -> Candidate:
        reason = entry.supports(problem)
        if reason is not None:
            return Candidate(entry.name, reason, None, None, None, None)
        bound = entry.error_bound(problem)
        figures = entry.workspace(problem), entry.cost(problem, machine), bound
        return Candidate(entry.name, too_inaccurate(bound, tolerance), *figures, None)

    picked = chosen_pooling(problem, tolerance).name
    return Explanation(problem, tolerance, picked, tuple(map(candidate, POOLINGS)))


def clear_cache() -> None:
    """Forget choices and plans."""
    chosen_pooling.cache_clear()
    for entry in POOLINGS:
        entry.clear_cache()

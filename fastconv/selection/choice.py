"""The choice: the cheapest algorithm of the table by predicted time, among those that compute the problem."""

from __future__ import annotations

from functools import lru_cache
from logging import DEBUG

from fastconv.algorithm import Algorithm, Machine
from fastconv.config import logger
from fastconv.errors import UnsupportedError
from fastconv.problem import ConvProblem
from fastconv.selection.explanation import Candidate, Explanation
from fastconv.selection.table import TABLE

_BY_NAME = {entry.name: entry for entry in TABLE}


def algorithms() -> tuple[str, ...]:
    """Return the names of the algorithms, in the table's order.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.algorithms()
    ('direct', 'depthwise', 'im2col', 'reference')
    """
    return tuple(entry.name for entry in TABLE)


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


def select(problem: ConvProblem) -> str:
    """Return the name of the algorithm that ``algorithm="auto"`` runs for `problem`.

    Parameters
    ----------
    problem : ConvProblem
        The convolution.

    Raises
    ------
    TypeError
        If `problem` is no ConvProblem.
    UnsupportedError
        If no algorithm computes it.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.select(fastconv.ConvProblem.parse("conv2d,n1,c8,9x9,k8,3x3,int32"))
    'reference'
    """
    return chosen(_checked(problem)).name


def _checked(problem: ConvProblem) -> ConvProblem:
    if not isinstance(problem, ConvProblem):
        raise TypeError(
            f"problem must be a ConvProblem, got {problem!r} of type {type(problem).__name__}"
        )
    return problem


@lru_cache(maxsize=4096)
def chosen(problem: ConvProblem) -> Algorithm:
    """Return the algorithm that ``"auto"`` runs: the cheapest by predicted time."""
    machine = Machine()
    possible = [entry for entry in TABLE if entry.supports(problem) is None]
    if not possible:
        reasons = "; ".join(f"{entry.name}: {entry.supports(problem)}" for entry in TABLE)
        raise UnsupportedError(f"no algorithm computes {problem}: {reasons}")
    costs = {entry: entry.cost(problem, machine) for entry in possible}
    picked = min(possible, key=costs.__getitem__)
    if logger.isEnabledFor(DEBUG):
        listed = ", ".join(f"{entry.name} {cost * 1e3:.3f} ms" for entry, cost in costs.items())
        logger.debug("%s: %s (predicted: %s)", problem, picked.name, listed)
    return picked


def clear_cache() -> None:
    """Forget choices, plans and scratch memory."""
    chosen.cache_clear()
    for entry in TABLE:
        entry.clear_cache()


def _candidate(entry: Algorithm, problem: ConvProblem, machine: Machine) -> Candidate:
    reason = entry.supports(problem)
    if reason is not None:
        return Candidate(entry.name, reason, None, None, None)
    return Candidate(
        entry.name,
        None,
        entry.workspace(problem),
        entry.cost(problem, machine),
        entry.error_bound(problem),
    )


def explain(problem: ConvProblem) -> Explanation:
    """Return what speaks for and against each algorithm for `problem`.

    Parameters
    ----------
    problem : ConvProblem
        The convolution.

    Returns
    -------
    Explanation
        ``str`` of it is a table; ``as_dict`` is ready for JSON.

    Raises
    ------
    TypeError
        If `problem` is no ConvProblem.
    UnsupportedError
        If no algorithm computes it.

    Examples
    --------
    >>> import fastconv
    >>> problem = fastconv.ConvProblem.parse("conv2d,n1,c8,9x9,k8,3x3,int32")
    >>> print(fastconv.explain(problem).candidates[0].reason)
    direct computes float32 and float64, not int32
    """
    picked = chosen(_checked(problem))
    machine = Machine()
    candidates = tuple(_candidate(entry, problem, machine) for entry in TABLE)
    return Explanation(problem, picked.name, candidates)

"""The choice: the cheapest algorithm, measured or predicted, among those that compute the problem accurately enough."""

from __future__ import annotations

from functools import lru_cache
from logging import DEBUG
from typing import NamedTuple

from fastconv.algorithm import Algorithm, Machine
from fastconv.config import Settings, allowed_algorithms, logger, requested_tolerance, settings, tolerance_of
from fastconv.errors import UnsupportedError
from fastconv.problem import ConvProblem
from fastconv.selection import answers
from fastconv.selection.explanation import Candidate, Explanation, too_inaccurate
from fastconv.selection.table import TABLE

_BY_NAME = {entry.name: entry for entry in TABLE}


def algorithms() -> tuple[str, ...]:
    """Return the names of the algorithms, in the table's order.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.algorithms()
    ('direct', 'depthwise', 'im2col', 'winograd_2x2', 'winograd_3x3', 'winograd_4x4', 'winograd_6x6',
     'fft', 'reference')
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


def select(problem: ConvProblem, tolerance: float | None = None) -> str:
    """Return the name of the algorithm that ``algorithm="auto"`` runs for `problem`.

    That is the fastest that :func:`fastconv.tune` measured, or the cheapest by predicted time, of those
    whose error bound is at most the tolerance, and the most accurate where there is none.

    Parameters
    ----------
    problem : ConvProblem
        The convolution.
    tolerance : float, optional
        Relative error in the 2-norm; None takes that of :func:`fastconv.get_tolerance`.

    Raises
    ------
    TypeError
        If `problem` is no ConvProblem, or `tolerance` no number.
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
    return chosen(problem, _limit(_checked(problem), tolerance)).name


def _checked(problem: ConvProblem) -> ConvProblem:
    if not isinstance(problem, ConvProblem):
        raise TypeError(
            f"problem must be a ConvProblem, got {problem!r} of type {type(problem).__name__}"
        )
    return problem


def _limit(problem: ConvProblem, tolerance: float | None) -> float:
    return tolerance_of(problem.dtype, requested_tolerance() if tolerance is None else tolerance)


def contenders(problem: ConvProblem, tolerance: float) -> list[Algorithm]:
    """Return what ``"auto"`` chooses among: all that are allowed and within the tolerance, or the best bound there is.

    Where even the best bound is above the tolerance, those are the most accurate.
    """
    possible = [entry for entry in TABLE if _refusal(entry, problem) is None]
    if not possible:
        refusals = "; ".join(f"{entry.name}: {_refusal(entry, problem)}" for entry in TABLE)
        raise UnsupportedError(f"no algorithm computes {problem}: {refusals}")
    bounds = {entry: entry.error_bound(problem) for entry in possible}
    limit = max(tolerance, min(bounds.values()))
    return [entry for entry in possible if bounds[entry] <= limit]


def _refusal(entry: Algorithm, problem: ConvProblem) -> str | None:
    """Return why `entry` cannot compute `problem`, or else why it may not; None if it can and may."""
    return entry.supports(problem) or allowed_algorithms().refusal(entry.name)


class _Decision(NamedTuple):
    picked: Algorithm
    answer: answers.Answer | None  # None: it was predicted


def chosen(problem: ConvProblem, tolerance: float) -> Algorithm:
    """Return the algorithm that ``"auto"`` runs: the contender measured to be fastest, else the cheapest predicted."""
    return _decided(problem, tolerance, settings()).picked


@lru_cache(maxsize=4096)
def _decided(problem: ConvProblem, tolerance: float, now: Settings) -> _Decision:
    """Decide with the settings in force, which are part of the key."""
    among, machine = contenders(problem, tolerance), Machine()
    names = [entry.name for entry in among]
    answer = answers.find(problem, now.threads, names)
    if answer is not None:
        decision = _Decision(_BY_NAME[answer.fastest(names)], answer)
    else:
        decision = _Decision(min(among, key=lambda entry: entry.cost(problem, machine)), None)
    if logger.isEnabledFor(DEBUG):
        logger.debug("%s: %s (%s)%s", problem, decision.picked.name, *_in_words(problem, tolerance, answer))
    return decision


def _in_words(problem: ConvProblem, tolerance: float, answer: answers.Answer | None) -> tuple[str, str]:
    """What spoke for the pick, and what was left out for which reason."""
    machine = Machine()
    candidates = [_candidate(entry, problem, machine, tolerance, answer) for entry in TABLE]
    how = "predicted" if answer is None else "measured"
    seconds = {each.name: each.predicted_seconds if answer is None else each.measured_seconds for each in candidates}
    listed = ", ".join(f"{name} {taken * 1e3:.3f} ms" for name, taken in seconds.items() if taken is not None)
    excluded = [each for each in candidates if each.reason and each.error_bound is not None]
    reasons = "".join(f"; {each.name}: {each.reason}" for each in excluded)
    return f"{how}: {listed}", reasons


def clear_cache() -> None:
    """Forget choices, answers that were read, plans and scratch memory."""
    _decided.cache_clear()
    answers.forget()
    for entry in TABLE:
        entry.clear_cache()


def _candidate(
    entry: Algorithm, problem: ConvProblem, machine: Machine, tolerance: float, answer: answers.Answer | None
) -> Candidate:
    reason = entry.supports(problem)
    if reason is not None:
        return Candidate(entry.name, reason, None, None, None, None)
    bound = entry.error_bound(problem)
    return Candidate(
        entry.name,
        allowed_algorithms().refusal(entry.name) or too_inaccurate(bound, tolerance),
        entry.workspace(problem),
        entry.cost(problem, machine),
        bound,
        None if answer is None else answer.seconds.get(entry.name),
    )


def explain(problem: ConvProblem, tolerance: float | None = None) -> Explanation:
    """Return what speaks for and against each algorithm for `problem`.

    Parameters
    ----------
    problem : ConvProblem
        The convolution.
    tolerance : float, optional
        Relative error in the 2-norm; None takes that of :func:`fastconv.get_tolerance`.

    Returns
    -------
    Explanation
        ``str`` of it is a table; ``as_dict`` is ready for JSON.

    Raises
    ------
    TypeError
        If `problem` is no ConvProblem, or `tolerance` no number.
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
    limit = _limit(_checked(problem), tolerance)
    picked, answer = _decided(problem, limit, settings())
    machine = Machine()
    candidates = tuple(_candidate(entry, problem, machine, limit, answer) for entry in TABLE)
    return Explanation(problem, limit, picked.name, candidates)

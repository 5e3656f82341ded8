"""What a choice costs: the time of the algorithm that is picked, over that of the fastest.

For each problem every algorithm is timed in turns with the others. The picks are judged by these times alone: that of
the prediction, and that of a measurement as :func:`fastconv.tune` makes it, which is made before and not stored.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import geometric_mean
from typing import cast

import fastconv
from fastconv import timing
from fastconv.algorithm import Algorithm
from fastconv.bench.drawn import draw_problems
from fastconv.bench.operations import draw, operation_of, relative_error
from fastconv.bench.suites import SUITES
from fastconv.problem import ConvProblem
from fastconv.selection import tuning
from fastconv.selection.answers import RIGOURS
from fastconv.selection.place import calls

__all__ = ["PICKS", "Choice", "Regrets", "judge", "problems"]

PICKS = ("predicted", "measured")
BEHIND = 2.0  # times as long as the fastest after a few rounds: no further ones


@dataclass(frozen=True)
class Choice:
    """Times of all algorithms for one problem, and who was picked.

    Parameters
    ----------
    name : str
        Where the problem is from.
    problem : str
        Its string form.
    picks : mapping of str to str
        An algorithm for each of `PICKS`.
    seconds : mapping of str to float
        By algorithm.
    """

    name: str
    problem: str
    picks: Mapping[str, str]
    seconds: Mapping[str, float]

    @property
    def best(self) -> str:
        """The fastest algorithm."""
        return min(self.seconds, key=self.seconds.__getitem__)

    def regret(self, pick: str) -> float:
        """Time of a pick / time of the fastest."""
        return self.seconds[self.picks[pick]] / self.seconds[self.best]


@dataclass(frozen=True)
class Regrets:
    """What many choices of one kind cost."""

    count: int
    best: int  # choices that were the fastest
    geometric_mean: float
    percentile_95: float
    worst: float

    @classmethod
    def of(cls, choices: Sequence[Choice], pick: str) -> Regrets:
        """Return what the picks of a kind cost; of at least one choice."""
        found = sorted(one.regret(pick) for one in choices)
        rank = math.ceil(0.95 * len(found)) - 1
        return cls(len(found), found.count(1.0), geometric_mean(found), found[rank], found[-1])


def problems(drawn: int, seed: int, *, suites: bool = True) -> dict[ConvProblem, str]:
    """Return the names of the convolutions of all suites, each once, and of so many that are drawn."""
    tables = SUITES.values() if suites else ()
    of_suites = ((layer.problem, f"{suite.name} {layer.name}") for suite in tables for layer in suite.layers())
    named = {problem: name for problem, name in of_suites if isinstance(problem, ConvProblem)}
    for number, problem in enumerate(draw_problems(drawn, seed), start=1):
        named.setdefault(problem, f"drawn {number}")
    return named


def judge(
    named: Mapping[ConvProblem, str], seconds: float, before: Callable[[str], object] = lambda _: None
) -> tuple[Choice, ...]:
    """Measure each problem for about so many seconds, with the threads in force; `before` is called with its name."""
    choices = []
    for problem, name in named.items():
        before(name)
        found = _judged(problem, name, seconds)
        if found is not None:
            choices.append(found)
    return tuple(choices)


def _judged(problem: ConvProblem, name: str, seconds: float) -> Choice | None:
    """None where there is nothing to choose."""
    tolerance = fastconv.get_tolerance(problem.dtype)
    among = cast("list[Algorithm]", tuning.hopeful(problem, tuning.contenders(problem, tolerance)))
    if len(among) < 2:
        return None
    _compare(problem, among)
    answer = tuning.sweep(problem, among, RIGOURS[0])
    assert answer is not None, "a sweep without an end is whole"
    picks = {"predicted": among[0].name, "measured": answer.fastest(list(answer.seconds))}
    return Choice(name, str(problem), picks, _times(problem, among, seconds))


def _compare(problem: ConvProblem, among: Sequence[Algorithm]) -> None:
    """Raise ArithmeticError unless all results are as close to the most accurate one as their bounds say."""
    arrays = draw(problem)
    call = operation_of(problem).call(problem, arrays)
    assert call is not None, "there is a function for each convolution"
    exact = min(among, key=lambda entry: entry.error_bound(problem))
    expected = call(algorithm=exact.name)
    for entry in among:
        limit = entry.error_bound(problem) + exact.error_bound(problem)
        error = relative_error(call(algorithm=entry.name), expected)
        if not error <= limit:
            raise ArithmeticError(f"{entry.name} differs from {exact.name} by {error:.2g} of {problem}")


def _times(problem: ConvProblem, among: Iterable[Algorithm], seconds: float) -> dict[str, float]:
    """Seconds of a call of every algorithm; those far behind have theirs from fewer rounds."""
    runs = calls(problem, among)
    first = timing.take_turns(runs, 0.0, before_turn=timing.until_idle)
    best = min(found.minimum for found in first.values())
    near = {name: found for name, found in first.items() if found.minimum <= BEHIND * best}
    again = timing.take_turns({name: runs[name] for name in near}, seconds, before=near, before_turn=timing.until_idle)
    return {name: found.minimum for name, found in (first | again).items()}

"""How many parts sums are split into, and by which tile."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from math import prod
from typing import Protocol, TypeVar

from fastconv.problem import ConvProblem

BATCHES = (1, 32)  # that sums are split for


class _Timed(Protocol):
    @property
    def seconds(self) -> float:
        """That it is predicted to take."""


D = TypeVar("D", bound=_Timed)


def split_for_any_batch(
    problem: ConvProblem,
    choices: Sequence[int],
    best: Callable[[ConvProblem, int], D | None],
    batches: Sequence[int] = BATCHES,
) -> D:
    """Return the best division of a problem, `best(problem, splits)`, with the splits that are good for any batch.

    How sums are split does not depend on the batch, and so neither does what is rounded where. One image wants more
    splits than many, which write and read all of them: what is least is the product of the times of `batches`.
    """
    problems = [replace(problem, batch=batch) for batch in batches]
    seconds: dict[int, float] = {}
    for splits in choices:
        found = [best(each, splits) for each in problems]
        if all(found):
            seconds[splits] = prod(one.seconds for one in found if one is not None)
    division = best(problem, min(seconds, key=seconds.__getitem__))
    assert division is not None  # what can be split for one batch can for another
    return division


def share(steps: int, splits: int, least: int) -> int | None:
    """Return the steps of each of so many splits; None if one would have fewer than `least`, or the last one none."""
    each = -(-steps // splits)
    return None if splits > 1 and (each < least or each * (splits - 1) >= steps) else each


def quickest(divisions: Iterable[D | None]) -> D | None:
    """Return the division that is predicted to take the least time; None if there is none."""
    return min((one for one in divisions if one is not None), key=lambda one: one.seconds, default=None)

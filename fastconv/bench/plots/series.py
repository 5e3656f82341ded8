"""Series of layers that differ in the size of their kernel alone, and where the fastest changes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fastconv.bench.results import REFERENCE, Kind, LayerResult, SuiteResult

__all__ = ["Crossover", "Series", "crossovers", "find_series"]

FEWEST_SIZES = 4
MARGIN = 0.02  # a lead by less than this part of the time is taken for noise

_SIZES = re.compile(r"[0-9]+(x[0-9]+)*")
_PADDING = re.compile(r"p[0-9].*")


@dataclass(frozen=True)
class Series:
    """Layers of a suite that are the same but for the side of their kernel.

    Parameters
    ----------
    suite : SuiteResult
        Where the layers are from.
    family : str
        What their problems have in common: the string form with ``F`` for a side of the kernel,
        and without padding.
    layers : dict of int to LayerResult
        By the kernel's side, ascending.
    """

    suite: SuiteResult
    family: str
    layers: Mapping[int, LayerResult]

    @property
    def sizes(self) -> tuple[int, ...]:
        """The kernel's sides, ascending."""
        return tuple(self.layers)

    def times(self, kind: Kind) -> dict[str, tuple[float | None, ...]]:
        """Return milliseconds by contender, one a size, None where it has no time.

        The reference is left out: it is what the others are checked against, not a choice.
        """
        found = [layer.times(kind) for layer in self.layers.values()]
        names = dict.fromkeys(name for times in found for name in times if name != REFERENCE)
        return {name: tuple(times.get(name) for times in found) for name in names}


@dataclass(frozen=True)
class Crossover:
    """From `size` on, `after` is faster than `before`, which was the fastest until there."""

    before: str
    after: str
    size: int


def crossovers(
    sizes: Sequence[int], times: Mapping[str, Sequence[float | None]], margin: float = MARGIN
) -> tuple[Crossover, ...]:
    """Return where the fastest of some contenders changes.

    Parameters
    ----------
    sizes : sequence of int
        Ascending.
    times : mapping of str to sequence
        Of each contender, a time for each size, None where it has none.
    margin : float, optional
        By which part of its time the holder of the lead must be beaten to lose it.

    Returns
    -------
    tuple of Crossover
        In the order of the sizes; at a size that nobody has a time for, the lead is kept.

    Raises
    ------
    ValueError
        If a contender has not one time a size.

    Examples
    --------
    >>> crossovers([3, 5, 9], {"direct": [1.0, 2.0, 8.0], "fft": [3.0, 3.5, 4.0]})
    (Crossover(before='direct', after='fft', size=9),)
    """
    for name, row in times.items():
        if len(row) != len(sizes):
            raise ValueError(f"times must give {name!r} one time a size, {len(sizes)}, got {len(row)}")
    found: list[Crossover] = []
    leader: str | None = None
    for index, size in enumerate(sizes):
        here = {name: time for name, row in times.items() if (time := row[index]) is not None}
        if not here:
            continue
        best = min(here, key=here.__getitem__)
        if leader in here and here[best] >= (1 - margin) * here[leader]:
            continue
        if leader is not None:
            found.append(Crossover(leader, best, size))
        leader = best
    return tuple(found)


def find_series(suites: Sequence[SuiteResult]) -> tuple[Series, ...]:
    """Return every series of at least four kernel sizes, in the order of the suites.

    Two layers belong together where the string forms of their problems differ in kernel and padding
    alone. Only kernels with equal sides count: their side is the axis of the picture. Where a
    suite has a problem twice, its first layer counts.
    """
    found = []
    for suite in suites:
        families: dict[str, dict[int, LayerResult]] = {}
        for layer in suite.layers:
            if (split := _split(layer.problem)) is not None:
                family, side = split
                families.setdefault(family, {}).setdefault(side, layer)
        for family, layers in families.items():
            if len(layers) >= FEWEST_SIZES:
                found.append(Series(suite, family, dict(sorted(layers.items()))))
    return tuple(found)


def _split(problem: str) -> tuple[str, int] | None:
    """Return a problem's family and its kernel's side, None where the sides differ."""
    tokens = problem.split(",")
    sizes = [index for index, token in enumerate(tokens) if _SIZES.fullmatch(token)]
    if len(sizes) != 2:  # the input's, then the kernel's
        return None
    sides = tokens[sizes[1]].split("x")
    if len(set(sides)) > 1:
        return None
    tokens[sizes[1]] = "x".join("F" * len(sides))
    return ",".join(token for token in tokens if not _PADDING.fullmatch(token)), int(sides[0])

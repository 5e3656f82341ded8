"""What layers say together: geometric means, the worst, and the losses by name."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from fastconv.bench.kinds import KINDS
from fastconv.bench.results import AUTO, LayerResult

__all__ = ["Mean", "Summary", "by_kind", "summarise"]


@dataclass(frozen=True)
class Mean:
    """A ratio over layers, each layer counted once.

    Parameters
    ----------
    geometric_mean : float
        Over the layers that have the ratio.
    worst : float
        The largest or the smallest, whichever is bad for this ratio.
    worst_layer : str
        Where that is.
    layers : dict of str to float
        The ratio by layer.
    """

    geometric_mean: float
    worst: float
    worst_layer: str
    layers: dict[str, float]

    @classmethod
    def of(cls, layers: Mapping[str, float | None], *, high_is_bad: bool = False) -> Mean | None:
        """Return the mean over those layers that have the ratio, None where none has.

        Examples
        --------
        >>> mean = Mean.of({"a": 0.5, "b": None, "c": 8.0})
        >>> round(mean.geometric_mean, 6), mean.worst_layer
        (2.0, 'a')
        """
        found = {layer: ratio for layer, ratio in layers.items() if ratio is not None}
        if not found:
            return None
        worst = (max if high_is_bad else min)(found, key=found.__getitem__)
        mean = math.exp(math.fsum(map(math.log, found.values())) / len(found))
        return cls(mean, found[worst], worst, found)

    @property
    def below_one(self) -> dict[str, float]:
        """The layers with a ratio under 1, the smallest first: for peer / ours, our losses."""
        below = {layer: ratio for layer, ratio in self.layers.items() if ratio < 1}
        return dict(sorted(below.items(), key=lambda item: item[1]))


@dataclass(frozen=True)
class Summary:
    """What some layers say together.

    Parameters
    ----------
    regret : Mean, optional
        Time of the picked algorithm / time of the best.
    share_of_peak : Mean, optional
        Rate of ``auto`` / the processor's peak.
    best_peer : Mean, optional
        Time of each layer's best peer / time of ``auto``.
    packed : Mean, optional
        Time of each layer's best peer / time of ``packed``.
    peers : dict of str to Mean
        Time of the peer / time of ``auto``.
    first_ms : dict of str to float
        Milliseconds of all first calls together, compiling included, by algorithm.
    wrong : int
        How many results were wrong.
    """

    regret: Mean | None
    share_of_peak: Mean | None
    best_peer: Mean | None
    packed: Mean | None
    peers: dict[str, Mean]
    first_ms: dict[str, float]
    wrong: int


def summarise(results: Sequence[LayerResult]) -> Summary:
    """Return what the results of layers with different names say together."""

    def mean(ratio: Callable[[LayerResult], float | None], *, high_is_bad: bool = False) -> Mean | None:
        return Mean.of({result.layer: ratio(result) for result in results}, high_is_bad=high_is_bad)

    names = dict.fromkeys(one.name for result in results for one in result.outcomes if one.kind == "peer")
    peers = {name: mean(_time_over_auto(name)) for name in names}
    return Summary(
        regret=mean(lambda result: result.regret, high_is_bad=True),
        share_of_peak=mean(lambda result: result[AUTO].share_of_peak),
        best_peer=mean(lambda result: result.ratio),
        packed=mean(lambda result: result.packed_ratio),
        peers={name: found for name, found in peers.items() if found is not None},
        first_ms=_first_calls(results),
        wrong=sum(len(result.failures) for result in results),
    )


def by_kind(
    results: Iterable[tuple[str, LayerResult]],
    ratio: Callable[[LayerResult], float | None] = lambda result: result.ratio,
) -> dict[str, Mean]:
    """Return best peer / ours for each class of problem that has it, in the order of the classes.

    Parameters
    ----------
    results : iterable of (str, LayerResult)
        Layers, and what to call them.
    ratio : callable, optional
        Of a layer; best peer / ``auto`` without.
    """
    ratios: dict[str, dict[str, float | None]] = {kind: {} for kind in KINDS}
    for name, result in results:
        ratios[result.kind][name] = ratio(result)
    means = {kind: Mean.of(layers) for kind, layers in ratios.items()}
    return {kind: mean for kind, mean in means.items() if mean is not None}


def _first_calls(results: Sequence[LayerResult]) -> dict[str, float]:
    totals: dict[str, float] = {}
    for result in results:
        for one in result.outcomes:
            if one.kind == "algorithm" and one.first_ms is not None:
                totals[one.name] = totals.get(one.name, 0.0) + one.first_ms
    return totals


def _time_over_auto(peer: str) -> Callable[[LayerResult], float | None]:
    def ratio(result: LayerResult) -> float | None:
        theirs, ours = result.times("peer").get(peer), result.milliseconds
        return None if theirs is None or ours is None else theirs / ours

    return ratio

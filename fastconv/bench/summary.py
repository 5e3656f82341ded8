"""What a suite's layers say together: geometric means, the worst, and the losses by name."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from fastconv.bench.run import AUTO, LayerResult

__all__ = ["Mean", "Summary", "summarise"]


@dataclass(frozen=True)
class Mean:
    """A ratio over a suite's layers, each layer counted once.

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

    @property
    def below_one(self) -> dict[str, float]:
        """The layers with a ratio under 1, the smallest first: for peer / ours, our losses."""
        below = {layer: ratio for layer, ratio in self.layers.items() if ratio < 1}
        return dict(sorted(below.items(), key=lambda item: item[1]))


@dataclass(frozen=True)
class Summary:
    """What a suite's layers say together.

    Parameters
    ----------
    regret : Mean, optional
        Time of the picked algorithm / time of the best.
    share_of_peak : Mean, optional
        Rate of ``auto`` / the processor's peak.
    peers : dict of str to Mean
        Time of the peer / time of ``auto``.
    wrong : int
        How many results were wrong.
    """

    regret: Mean | None
    share_of_peak: Mean | None
    peers: dict[str, Mean]
    wrong: int


def summarise(results: Sequence[LayerResult]) -> Summary:
    """Return what the results of one suite say together."""
    names = dict.fromkeys(
        one.name for result in results for one in result.outcomes if one.kind == "peer"
    )
    peers = {name: _mean(results, _time_over_auto(name), "smallest") for name in names}
    return Summary(
        regret=_mean(results, lambda result: result.regret, "largest"),
        share_of_peak=_mean(results, lambda result: result[AUTO].share_of_peak, "smallest"),
        peers={name: mean for name, mean in peers.items() if mean is not None},
        wrong=sum(len(result.failures) for result in results),
    )


def _time_over_auto(peer: str) -> Callable[[LayerResult], float | None]:
    def ratio(result: LayerResult) -> float | None:
        theirs, ours = result[peer].minimum_ms, result[AUTO].minimum_ms
        return None if theirs is None or ours is None else theirs / ours

    return ratio


def _mean(
    results: Sequence[LayerResult],
    ratio: Callable[[LayerResult], float | None],
    worst: Literal["smallest", "largest"],
) -> Mean | None:
    """Return the mean of a ratio over the layers that have it, None where none has."""
    layers = {result.layer: found for result in results if (found := ratio(result)) is not None}
    if not layers:
        return None
    logarithms = [math.log(value) for value in layers.values()]
    choose = min if worst == "smallest" else max
    layer = choose(layers, key=layers.__getitem__)
    mean = math.exp(math.fsum(logarithms) / len(logarithms))
    return Mean(mean, layers[layer], layer, layers)

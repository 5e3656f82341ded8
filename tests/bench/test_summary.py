"""Means over layers, by hand."""

from __future__ import annotations

import pytest

from fastconv.bench.kinds import KINDS
from fastconv.bench.results import LayerResult, Outcome
from fastconv.bench.summary import Mean, by_kind, summarise


def layer(name: str, kind: str = "3x3", picked: str = "direct", **times: float) -> LayerResult:
    """Return a layer whose contenders have these milliseconds, and a share of the peak of 1 / milliseconds."""
    kinds = {"auto": "auto", "packed": "packed", "torch": "peer", "opencv": "peer"}
    outcomes = tuple(
        Outcome(name, kinds.get(name, "algorithm"), first_ms=10 * time, minimum_ms=time, share_of_peak=1 / time)  # type: ignore[arg-type]
        for name, time in times.items()
    )
    if "auto" not in times:
        outcomes += (Outcome("auto", "auto", skipped="not there yet"),)
    return LayerResult(name, "conv1d", kind, 1, 1, 1, picked, outcomes)


LAYERS = (
    layer("a", direct=2.0, im2col=2.0, auto=2.0, packed=0.5, torch=1.0),
    layer("b", direct=4.0, im2col=1.0, auto=4.0, torch=32.0, opencv=16.0),
    layer("c", "max pooling", picked="reference", torch=1.0),
)


def test_summary_by_hand() -> None:
    found = summarise(LAYERS)
    assert found.regret is not None
    assert found.regret.layers == {"a": 1.0, "b": 4.0}
    assert found.regret.geometric_mean == pytest.approx(2)
    assert (found.regret.worst, found.regret.worst_layer) == (4.0, "b")
    assert found.share_of_peak is not None
    assert found.share_of_peak.geometric_mean == pytest.approx(8**-0.5)
    assert (found.share_of_peak.worst, found.share_of_peak.worst_layer) == (0.25, "b")
    torch = found.peers["torch"]
    assert torch.geometric_mean == pytest.approx(2)  # sqrt(1/2 * 8)
    assert (torch.worst, torch.worst_layer) == (0.5, "a")
    assert torch.below_one == {"a": 0.5}
    assert found.peers["opencv"].layers == {"b": 4.0}
    assert found.best_peer is not None
    assert found.best_peer.layers == {"a": 0.5, "b": 4.0}
    assert found.packed is not None
    assert found.packed.layers == {"a": 2.0}
    assert found.first_ms == {"direct": 60.0, "im2col": 30.0}
    assert found.wrong == 0


def test_what_nobody_has_is_left_out() -> None:
    found = summarise(LAYERS[2:])
    assert found.regret is found.share_of_peak is found.best_peer is found.packed is None
    assert found.peers == {}
    assert found.first_ms == {}


def test_wrong_results_are_counted() -> None:
    wrong = (Outcome("direct", "algorithm", failure="no"), Outcome("auto", "auto", failure="no"))
    found = summarise([LAYERS[0], LayerResult("w", "conv1d", "1-D", 1, 1, 1, "direct", wrong)])
    assert found.wrong == 2
    assert found.regret is not None
    assert set(found.regret.layers) == {"a"}


def test_a_mean_counts_every_layer_once_and_lists_losses_the_worst_first() -> None:
    mean = Mean.of({"a": 0.5, "b": 0.25, "c": None, "d": 8.0})
    assert mean is not None
    assert mean.geometric_mean == pytest.approx(1)
    assert (mean.worst, mean.worst_layer) == (0.25, "b")
    assert list(mean.below_one.items()) == [("b", 0.25), ("a", 0.5)]
    bad = Mean.of({"a": 1.0, "b": 3.0}, high_is_bad=True)
    assert bad is not None
    assert (bad.worst, bad.worst_layer, bad.below_one) == (3.0, "b", {})
    assert Mean.of({}) is None
    assert Mean.of({"a": None}) is None


def test_by_kind_is_in_the_order_of_the_kinds() -> None:
    more = layer("d", "1x1", direct=1.0, auto=1.0, torch=2.0)
    found = by_kind([(f"suite {one.layer}", one) for one in (*LAYERS, more)])
    assert list(found) == ["1x1", "3x3"]  # a class without a ratio has no row
    assert list(found) == sorted(found, key=KINDS.index)
    assert found["3x3"].layers == {"suite a": 0.5, "suite b": 4.0}
    assert found["1x1"].geometric_mean == 2

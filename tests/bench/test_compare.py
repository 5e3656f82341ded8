"""Two made-up reports side by side, with ratios that can be worked out by hand."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Mapping, Sequence

import pytest

pytest.importorskip("rich")

from rich.console import Console

from fastconv.bench.compare import Change, Comparison, compare, layer_table, mean_table, notes, show
from fastconv.bench.results import LayerResult, Outcome, Report, SuiteResult

KINDS = {"auto": "auto", "torch": "peer", "onnxruntime": "peer"}
PROBLEM = "conv2d,n1,c64,56x56,k64,3x3,p1,float32"


def layer(name: str, times: Mapping[str, float], *, wrong: Sequence[str] = (), kind: str = "3x3") -> LayerResult:
    timed = [Outcome(each, KINDS.get(each, "algorithm"), minimum_ms=time) for each, time in times.items()]
    failed = [Outcome(each, KINDS.get(each, "algorithm"), failure="relative error 1") for each in wrong]
    return LayerResult(name, f"{name} {PROBLEM}", kind, 1, 1, 1, "direct", (*timed, *failed))


def suite(*layers: LayerResult, name: str = "net", threads: int = 1) -> SuiteResult:
    return SuiteResult(name, "nowhere", 1, threads, "float32", "channels_first", None, None, layers)


def report(*suites: SuiteResult, seconds: float = 0.5, **machine: object) -> Report:
    return Report("made up", "2026-01-01T00:00:00+00:00", machine, seconds, suites)


def one_change(before: LayerResult, after: LayerResult) -> Change:
    (change,) = compare(report(suite(before)), report(suite(after))).changes
    return change


def text(comparison: Comparison) -> str:
    console = Console(file=io.StringIO(), width=160)
    show(comparison, console)
    return console.file.getvalue()


def test_ratios_are_before_by_after() -> None:
    change = one_change(
        layer("a", {"direct": 6.0, "im2col": 2.0, "auto": 6.0}), layer("a", {"direct": 3.0, "im2col": 4.0, "auto": 2.0})
    )
    assert change.ratios == {"auto": 3.0, "direct": 2.0, "im2col": 0.5}
    assert change.corrected == {}  # nobody says how the machine drifted


def test_the_drift_of_the_machine_is_taken_out() -> None:
    # everything takes twice as long, ours three times
    change = one_change(layer("a", {"auto": 2.0, "torch": 4.0}), layer("a", {"auto": 6.0, "torch": 8.0}))
    assert change.ratios["auto"] == pytest.approx(1 / 3)
    assert change.peers == {"torch": 0.5}
    assert change.corrected["auto"] == pytest.approx((8 / 6) / (4 / 2))


def test_the_best_peer_is_one_for_both_sides() -> None:
    before = {"auto": 2.0, "torch": 4.0, "onnxruntime": 3.0, "opencv": 1.0}
    after = {"auto": 2.0, "torch": 4.0, "onnxruntime": 9.0}
    for one, other in ((before, after), (after, before)):  # best by the product: 16 is less than 27
        change = one_change(layer("a", one), layer("a", other))
        assert change.best_peer == "torch"
        assert change.corrected["auto"] == 1.0


def test_contenders_on_one_side_only_have_no_ratio() -> None:
    change = one_change(layer("a", {"auto": 2.0, "old": 1.0}), layer("a", {"auto": 2.0, "new": 1.0}))
    assert change.ratios == {"auto": 1.0}


def test_a_layer_is_the_same_where_everything_but_its_times_is() -> None:
    timed = layer("a", {"auto": 2.0})
    before = report(suite(timed), suite(timed, threads=2), suite(timed, name="other"))
    for changed in (suite(timed, threads=4), suite(timed, name="new"), suite(layer("b", {"auto": 2.0}))):
        found = compare(before, report(changed))
        assert found.changes == ()
        assert len(found.only_before) == 3
        assert len(found.only_after) == 1
    found = compare(before, report(suite(timed, threads=2)))
    assert [one.suite for one in found.changes] == ["net, batch 1, 2 threads, float32, channels_first"]
    assert found.only_before == (
        "a of net, batch 1, 1 thread, float32, channels_first",
        "a of other, batch 1, 1 thread, float32, channels_first",
    )
    assert "only before: a of net, batch 1, 1 thread" in "\n".join(notes(found))


NET = "net, batch 1, 1 thread, float32, channels_first"
BEFORE = report(
    suite(
        layer("slower", {"auto": 1.0, "torch": 1.0}),
        layer("slowest", {"auto": 1.0, "torch": 1.0}, kind="1x1"),
        layer("same", {"auto": 1.0, "torch": 1.0}),
        layer("faster", {"auto": 1.0, "torch": 1.0}),
    )
)
AFTER = report(
    suite(
        layer("slower", {"auto": 2.0, "torch": 1.0}),
        layer("slowest", {"auto": 4.0, "torch": 1.0}, kind="1x1"),
        layer("same", {"auto": 2.0, "torch": 2.0}),
        layer("faster", {"auto": 0.25, "torch": 1.0}),
    )
)


def test_regressions_and_improvements_are_named_the_largest_first() -> None:
    found = compare(BEFORE, AFTER)
    assert found.regressions == {f"slowest of {NET}": 0.25, f"slower of {NET}": 0.5}
    assert found.improvements == {f"faster of {NET}": 4.0}
    swapped = compare(AFTER, BEFORE)
    assert list(swapped.regressions) == [f"faster of {NET}"]
    assert list(swapped.improvements) == [f"slowest of {NET}", f"slower of {NET}"]


@pytest.mark.parametrize("time", [0.96, 1.04])
def test_what_is_within_the_noise_is_neither(time: float) -> None:
    before, after = (layer("a", {"auto": each, "torch": 1.0}) for each in (1.0, time))
    found = compare(report(suite(before)), report(suite(after)))
    assert (found.regressions, found.improvements) == ({}, {})


def test_drift_is_the_mean_of_the_peers() -> None:
    drift = compare(BEFORE, AFTER).drift
    assert drift is not None
    assert drift.geometric_mean == pytest.approx(0.5 ** (1 / 4))
    assert set(drift.layers) == {f"torch on {name} of {NET}" for name in ("slower", "slowest", "same", "faster")}


def test_groups() -> None:
    found = compare(BEFORE, AFTER)
    assert {suite: list(changes) for suite, changes in found.by_suite().items()} == {
        NET: ["slower", "slowest", "same", "faster"]
    }
    assert {kind: len(changes) for kind, changes in found.by_kind().items()} == {"1x1": 1, "3x3": 3}


def cells(table: object) -> list[list[str]]:
    console = Console(file=io.StringIO(), width=160)
    console.print(table)
    return [line.split() for line in console.file.getvalue().splitlines()]


def test_means_by_hand() -> None:
    found = compare(BEFORE, AFTER)
    # plain: 1/2, 1/4, 1/2, 4; corrected: 1/2, 1/4, 1, 4
    expected = ["4", f"{0.25 ** (1 / 4):.2f}", f"{0.5 ** (1 / 4):.2f}", "0.25", "slowest"]
    assert cells(mean_table("suite", found.by_suite()))[-1][-5:] == expected


def test_rows_by_hand() -> None:
    rows = cells(layer_table(compare(BEFORE, AFTER).changes))
    assert ["same", "0.50", "1.00", "torch", "0.50"] in rows
    assert ["faster", "4.00", "4.00", "torch", "1.00"] in rows


def test_without_peers_nothing_is_judged() -> None:
    before, after = report(suite(layer("a", {"auto": 1.0}))), report(suite(layer("a", {"auto": 5.0})))
    found = compare(before, after)
    assert found.drift is None
    assert found.regressions == {}
    shown = text(found)
    assert "no peer has a time in both reports" in shown
    assert "corrected below" not in shown
    assert "0.20" in shown


def test_what_is_wrong_now_is_named() -> None:
    before = layer("a", {"auto": 1.0, "direct": 1.0}, wrong=["im2col"])
    after = layer("a", {"auto": 1.0}, wrong=["direct", "im2col", "torch"])
    assert one_change(before, after).broken == ("direct",)
    lines = list(notes(compare(report(suite(before)), report(suite(after)))))
    assert f"WRONG now, and not before: direct on a of {NET} (a {PROBLEM})" in lines


def test_machines_that_differ_are_named() -> None:
    before = report(cpu={"name": "old", "vector_bits": 256}, threads=1, versions={"numpy": "2.4"})
    after = report(seconds=1.0, cpu={"name": "new", "vector_bits": 256}, threads=2, versions={"numpy": "2.4", "a": "1"})
    assert compare(before, after).differences == (
        "seconds a layer: 0.5 before, 1.0 after",
        "cpu name: old before, new after",
        "threads: 1 before, 2 after",
        "versions a: none before, 1 after",
    )
    assert next(notes(compare(before, after))) == "the reports differ in seconds a layer: 0.5 before, 1.0 after"


def test_a_report_beside_itself_changed_nothing() -> None:
    found = compare(BEFORE, Report.from_json(BEFORE.to_json()))
    assert {ratio for one in found.changes for ratio in one.ratios.values()} == {1.0}
    assert (found.only_before, found.only_after, found.differences) == ((), (), ())
    shown = text(found)
    assert "slower now, corrected below 0.95: none" in shown
    assert "faster now, corrected above 1.05: none" in shown


def test_nothing_in_common_is_shown_as_such() -> None:
    empty = dataclasses.replace(AFTER, suites=())
    assert "only before: slower of" in text(compare(BEFORE, empty))

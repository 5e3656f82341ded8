"""Results as data: what follows from the outcomes, and JSON there and back."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable

import pytest

from fastconv.bench.results import ColdStart, LayerResult, Outcome, Report, SuiteResult

OUTCOMES = (
    Outcome("direct", "algorithm", error=1e-7, limit=2e-6, workspace=64, first_ms=9.0, minimum_ms=2.0, median_ms=2.5),
    Outcome("im2col", "algorithm", error=1e-7, limit=2e-6, workspace=512, minimum_ms=1.0, median_ms=1.5),
    Outcome("winograd", "algorithm", skipped="stride must be 1"),
    Outcome("wrong", "algorithm", failure="relative error 1"),
    Outcome("auto", "auto", minimum_ms=2.0, median_ms=2.25, gflops=0.5, share_of_peak=0.125),
    Outcome("packed", "packed", minimum_ms=1.25),
    Outcome("torch", "peer", minimum_ms=5.0),
    Outcome("numpy", "peer", minimum_ms=50.0),
    Outcome("scipy", "peer", skipped="no"),
)
LAYER = LayerResult("first", "conv2d,n1,c1,3x3,k1,3x3,float32", "3x3", 2, 18, 76, "direct", OUTCOMES)
WAY = {"batch": 1, "threads": 2, "dtype": "float32", "layout": "channels_first"}
SUITE = SuiteResult("small", "a book", **WAY, peak_gflops=4.0, copy_gigabytes=2.5, layers=(LAYER, LAYER))  # type: ignore[arg-type]
REPORT = Report(
    "fastconv bench",
    "2026-01-02T03:04:05+00:00",
    {"threads": 2, "versions": {"numpy": "2.1"}},
    0.5,
    (SUITE, dataclasses.replace(SUITE, peak_gflops=None, copy_gigabytes=None)),
    (ColdStart("python", 1.0, 2.0, 0.5, 0, 3),),
    {"tile": 1.5},
)


def without(*names: str) -> LayerResult:
    return dataclasses.replace(LAYER, outcomes=tuple(one for one in OUTCOMES if one.name not in names))


def test_what_follows_from_the_outcomes_by_hand() -> None:
    assert LAYER["torch"] is OUTCOMES[6]
    assert [one.name for one in LAYER.failures] == ["wrong"]
    assert LAYER.times("algorithm") == {"direct": 2.0, "im2col": 1.0}
    assert LAYER.times("peer") == {"torch": 5.0, "numpy": 50.0}
    assert LAYER.milliseconds == 2.0
    assert (LAYER.best_peer, LAYER.ratio) == ("torch", 2.5)
    assert (LAYER.packed_milliseconds, LAYER.packed_ratio) == (1.25, 4.0)
    assert (LAYER.best_algorithm, LAYER.regret) == ("im2col", 2.0)


def test_what_is_missing_is_none() -> None:
    with pytest.raises(KeyError):
        LAYER["no such contender"]
    alone = without("torch", "numpy", "scipy")
    assert alone.best_peer is alone.ratio is alone.packed_ratio is None
    assert without("packed").packed_milliseconds is without("packed").packed_ratio is None
    assert without("packed").ratio == LAYER.ratio
    assert without("auto").milliseconds is without("auto").ratio is None
    assert without("direct").regret is None  # it was picked and has no time
    assert without("direct", "im2col").best_algorithm is None


def test_json_there_and_back() -> None:
    text = REPORT.to_json()
    assert Report.from_json(text) == REPORT
    assert Report.from_json(Report.from_json(text).to_json()) == REPORT


def test_the_json_of_one_outcome() -> None:
    """What other programs read: names of fields are promises, and what is None is not there."""
    found = json.loads(REPORT.to_json())
    assert found["format"] == 1
    outcomes = found["suites"][0]["layers"][0]["outcomes"]
    assert outcomes[2] == {"name": "winograd", "kind": "algorithm", "skipped": "stride must be 1"}
    assert outcomes[4] == {
        "name": "auto",
        "kind": "auto",
        "minimum_ms": 2.0,
        "median_ms": 2.25,
        "gflops": 0.5,
        "share_of_peak": 0.125,
    }
    assert "peak_gflops" not in found["suites"][1]


def test_figures_have_six_digits() -> None:
    report = dataclasses.replace(REPORT, compile_ms={"tile": 12345.678912, "driver": 1 / 3})
    assert json.loads(report.to_json())["compile_ms"] == {"tile": 12345.7, "driver": 0.333333}


def test_a_report_of_today_is_json_and_tells_no_directory() -> None:
    report = Report.now("fastconv bench", 0.5, [SUITE])
    assert report.suites == (SUITE,)
    assert report.date.endswith("+00:00")
    assert "cache_directory" not in report.machine
    found = Report.from_json(report.to_json())
    assert (found.date, found.suites, found.cold_starts, found.compile_ms) == (report.date, (SUITE,), (), {})


@pytest.mark.parametrize("text", ["", "{", "[]", "7", "null", "{}", '{"format": 2}', '{"suites": []}'])
def test_what_is_no_report(text: str) -> None:
    with pytest.raises(ValueError, match=r"text must be a report of format 1, as|line 1 column"):
        Report.from_json(text)


DAMAGES: dict[str, Callable[[dict], object]] = {
    "no suites": lambda report: report.pop("suites"),
    "no machine": lambda report: report.pop("machine"),
    "no command": lambda report: report.pop("command"),
    "a field too many": lambda report: report.update(colour="blue"),
    "suites that are no list": lambda report: report.update(suites=7),
    "a suite that is no object": lambda report: report["suites"].append("resnet50"),
    "a suite without layers": lambda report: report["suites"][0].pop("layers"),
    "layers that are no list": lambda report: report["suites"][0].update(layers={}),
    "a layer with a field too many": lambda report: report["suites"][0]["layers"][0].update(colour="blue"),
    "a layer without a problem": lambda report: report["suites"][0]["layers"][0].pop("problem"),
    "outcomes that are no list": lambda report: report["suites"][0]["layers"][0].update(outcomes=None),
    "an outcome without a name": lambda report: report["suites"][0]["layers"][0]["outcomes"][0].pop("name"),
    "a cold start that is a number": lambda report: report.update(cold_starts=[1]),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_reports(damage: str) -> None:
    report = json.loads(REPORT.to_json())
    DAMAGES[damage](report)
    with pytest.raises(ValueError, match="text must be a report of format 1, a field is amiss"):
        Report.from_json(json.dumps(report))


def test_a_figure_that_is_no_number_cannot_be_written() -> None:
    broken = dataclasses.replace(SUITE, peak_gflops=float("nan"))
    with pytest.raises(ValueError, match="not JSON compliant"):
        dataclasses.replace(REPORT, suites=(broken,)).to_json()

"""The page and the README's table, from figures that can be checked by hand."""

from __future__ import annotations

import dataclasses
import re

import pytest

from fastconv.bench import report
from fastconv.bench.kinds import KINDS
from fastconv.bench.results import ColdStart, LayerResult, Outcome, Report, SuiteResult


def layer(name: str, ours: float | None, peer: float, kind: str = "3x3", slow: float = 4.0) -> LayerResult:
    auto = Outcome("auto", "auto", skipped="fastconv has no max_pool2d yet") if ours is None else None
    outcomes = (
        Outcome("direct", "algorithm", minimum_ms=ours),
        Outcome("im2col", "algorithm", minimum_ms=slow),
        auto or Outcome("auto", "auto", minimum_ms=ours, share_of_peak=0.5),
        Outcome("packed", "packed", minimum_ms=ours and ours / 2),
        Outcome("torch", "peer", minimum_ms=peer),
        Outcome("numpy", "peer", minimum_ms=100.0),
    )
    problem = "conv2d,n1,c64,56x56,k64,3x3,p1,float32"
    return LayerResult(name, problem, kind, 1, 231_211_008, 4_000, "direct", outcomes)


def suite(name: str, *layers: LayerResult, batch: int = 1, threads: int = 1) -> SuiteResult:
    way = {"batch": batch, "threads": threads, "dtype": "float32", "layout": "channels_first"}
    return SuiteResult(name, "a paper", **way, peak_gflops=98.0, copy_gigabytes=16.5, layers=layers)  # type: ignore[arg-type]


MACHINE = {
    "versions": {"python": "3.12", "numpy": "2.1"},
    "peers": {"torch": "2.9"},
    "cpu": {"name": "znver3", "vector_bits": 256, "available_to_process": 2},
}
SUITES = (
    suite("resnet50", layer("first", 1.0, 2.0), layer("second", 2.0, 1.0)),
    suite("resnet50", layer("first", 1.0, 4.0), layer("second", 1.0, 4.0), threads=2),
    suite("pooling", layer("pool", None, 1.0, "max pooling")),
)
FOUND = Report("fastconv report", "2026-01-02T03:04:05+00:00", MACHINE, 0.5, SUITES)


def test_the_page_has_the_suites_figures() -> None:
    page = report.page(FOUND, {})
    assert "Written by `fastconv report` on 2026-01-02" in page
    assert "| resnet50 | 1 | 1 | 2 | 1.00 | **0.50** | second | 1 of 2 | 2.00 | 50% | 1.00 |" in page
    assert "| resnet50 | 1 | 2 | 2 | 4.00 | 4.00 | first | 0 of 2 | 8.00 | 50% | 1.00 |" in page
    assert "| pooling | 1 | 1 | 1 | – | – | – | – | – | – | – |" in page
    assert "98 GFLOP/s of multiply-adds on registers, 16.5 GB/s" in page
    assert "torch 2.9" in page
    assert "| `conv2d,n1,c64,56x56,k64,3x3,p1,float32` | 231 M | 2 | 1 | direct | 50% | torch | 1 | **0.50** |" in page


def test_classes_without_a_transform_and_with_one() -> None:
    algorithms = Outcome("depthwise", "algorithm", minimum_ms=0.5), Outcome("winograd_2x2", "algorithm", minimum_ms=0.1)
    first = layer("first", 1.0, 2.0)
    first = dataclasses.replace(first, outcomes=(*algorithms, *first.outcomes))
    page = report.page(dataclasses.replace(FOUND, suites=(suite("vgg16", first), *SUITES[1:])), {})
    # on one thread peer / auto = 2, peer / the faster of direct and depthwise = 4; two threads count in the first mean
    assert "| 3x3 | 3 | 3.17 | 2.00 | vgg16 first, batch 1, 1 thread | 0 of 3 | 2.00 | 2.00 | 4.00 | 4.00 |" in page
    alone = report.page(dataclasses.replace(FOUND, suites=SUITES[1:2]), {})
    assert "| 3x3 | 2 | 4.00 | 4.00 | resnet50 first, batch 1, 2 threads | 0 of 2 | – | – | – | – |" in alone


def test_losses_are_named_and_explained() -> None:
    page = report.page(FOUND, {})
    assert f"- **3x3** (slower on 1 of 4, geometric mean of those 0.50). {report.REASONS['3x3']}" in page
    assert "- **max pooling**: fastconv has no max_pool2d yet" in page
    assert "The worst 1 of 1 losses among 5 measurements" in page
    assert "| resnet50 second, batch 1, 1 thread |" in page


def test_without_losses_there_is_no_list_of_them() -> None:
    page = report.page(dataclasses.replace(FOUND, suites=SUITES[1:2]), {})
    assert "The worst" not in page
    assert "**3x3** (" not in page


def test_every_reason_is_about_a_class() -> None:
    assert set(report.REASONS) <= set(KINDS)


def test_wrong_results_are_on_the_page() -> None:
    wrong = Outcome("direct", "algorithm", failure="relative error 1")
    one = dataclasses.replace(layer("first", 1.0, 2.0), outcomes=(wrong, Outcome("auto", "auto")))
    page = report.page(dataclasses.replace(FOUND, suites=(suite("resnet50", one),)), {})
    assert "## Wrong results" in page
    assert "relative error 1" in page
    assert "## Wrong results" not in report.page(FOUND, {})


def test_regret() -> None:
    regretted = suite("resnet50", layer("first", 2.0, 2.0, slow=1.0))
    page = report.page(dataclasses.replace(FOUND, suites=(regretted,)), {})
    assert "geometric mean 2.000, worst 2.00 (resnet50 first, batch 1, 1 thread), over 1 measurements" in page


def test_pictures_that_there_are() -> None:
    page = report.page(FOUND, {"overview": "pictures/overview.png", "ratios-resnet50": "pictures/r.png"})
    assert re.findall(r"\]\((pictures/[^)]*)\)", page) == ["pictures/overview.png", "pictures/r.png"]


def test_cold_starts() -> None:
    start = ColdStart("import numpy", 80.4, 90.0, 79.0, 0, 0)
    found = dataclasses.replace(FOUND, cold_starts=(start,), compile_ms={"tile": 30.0, "kernel": 1000.0})
    page = report.page(found, {})
    assert "| import numpy | 80 | 90 | 79 | 0 | 0 |" in page
    assert page.index("`kernel` | 1000") < page.index("`tile` | 30")
    assert "Cold starts" not in report.page(FOUND, {})


def test_readme_table() -> None:
    table = report.readme_table(FOUND, "benchmarks/RESULTS.md")
    lines = table.splitlines()
    ways = "batch 1, 1 thread | worst | batch 1, 2 threads | worst"
    assert f"| layers of | | {ways} | slower on | packed, batch 1, 1 thread |" in lines
    assert "| resnet50 | 2 | 1.00 | **0.50** | 4.00 | 4.00 | 1 of 4 | 2.00 |" in lines
    assert "| pooling | 1 | – | – | – | – | not there yet | – |" in lines
    assert "znver3, 2 cores" in table
    assert "[RESULTS.md](benchmarks/RESULTS.md)" in table
    assert "by class of problem: nowhere in the mean." in table  # 3x3: 2, 1/2, 4 and 4


def test_classes_that_lose_are_in_the_readme() -> None:
    lost = dataclasses.replace(FOUND, suites=(suite("resnet50", layer("a", 2.0, 1.0, "depthwise")),))
    assert "by class of problem: depthwise (0.50)." in report.readme_table(lost, "RESULTS.md")


@pytest.mark.parametrize("text", ["", report.BEGIN, report.END + report.BEGIN, 2 * (report.BEGIN + report.END)])
def test_a_readme_without_its_marks(text: str) -> None:
    with pytest.raises(ValueError, match="once each"):
        report.with_table(text, "table")


@pytest.mark.parametrize(
    ("number", "text"), [(999, "999"), (1_000, "1 k"), (118_013_952, "118 M"), (999_600, "1 M"), (2 * 10**12, "2 T")]
)
def test_counts(number: int, text: str) -> None:
    assert report._count(number) == text


@pytest.mark.parametrize(("ratio", "text"), [(0.994, "**0.99**"), (0.996, "1.00"), (1.0, "1.00"), (12.345, "12.35")])
def test_what_rounds_to_one_is_no_loss(ratio: float, text: str) -> None:
    assert report._bold(ratio) == text


def test_the_machine_has_the_name_that_it_gives_itself() -> None:
    cpu = {"name": "znver3", "vector_bits": 256, "available_to_process": 2}
    assert report._machine(made_up(cpu)) == "znver3, 2 cores, 256-bit vectors"
    assert report._machine(made_up({**cpu, "model": "AMD EPYC"})) == "AMD EPYC (znver3), 2 cores, 256-bit vectors"


def made_up(cpu: dict[str, object]) -> Report:
    return Report("fastconv report", "2026-01-01", {"cpu": cpu}, 1.0, ())

"""The tables and the lines under them, as text."""

from __future__ import annotations

import dataclasses

import pytest

pytest.importorskip("rich")

from rich.console import Console
from rich.table import Table

from fastconv.bench.results import LayerResult, Outcome, SuiteResult
from fastconv.bench.table import _number, _reasons, heading, kind_table, layer_table, notes

DIRECT = Outcome("direct", "algorithm", first_ms=500.0, minimum_ms=2.0, median_ms=2.5)
IM2COL = Outcome("im2col", "algorithm", first_ms=1500.0, minimum_ms=1.0, median_ms=1.5)
AUTO = Outcome("auto", "auto", minimum_ms=2.0, median_ms=2.25, share_of_peak=0.5)
TORCH = Outcome("torch channels_last", "peer", minimum_ms=0.5)
SCIPY = Outcome("scipy", "peer", skipped="one plane")
OUTCOMES = (DIRECT, IM2COL, AUTO, TORCH, SCIPY)
FIRST = LayerResult("first", "conv2d,n1,c2,6x5,k3,3x3,p1,float32", "3x3", 1, 2 * 10**9, 1, "direct", OUTCOMES)
SECOND = dataclasses.replace(
    FIRST, layer="second", problem="conv2d,n1,c2,6x5,k4,1x1,p1,float32", kind="1x1", outcomes=(DIRECT, IM2COL, AUTO)
)
WAY = {"batch": 1, "threads": 2, "dtype": "float32", "layout": "channels_first"}
SUITE = SuiteResult("small", "a book", **WAY, peak_gflops=99.6, copy_gigabytes=2.5, layers=(FIRST, SECOND))  # type: ignore[arg-type]


def text(table: Table) -> list[list[str]]:
    """Return the words of each line."""
    console = Console(width=200)
    with console.capture() as captured:
        console.print(table)
    return [line.split() for line in captured.get().splitlines()]


def test_heading() -> None:
    assert heading(SUITE) == (
        "small, batch 1, 2 threads, float32, channels_first: minimum of the rounds in milliseconds, "
        "problems conv2d,n1,c2,6x5,…,p1,float32"
    )
    assert heading(dataclasses.replace(SUITE, layers=(FIRST,))).endswith("in milliseconds")


def test_problems_with_nothing_in_common_are_shown_whole() -> None:
    pool = dataclasses.replace(SECOND, problem="max_pool2d,n1,c2,6x5,2x2,float64")
    assert "problems" not in heading(dataclasses.replace(SUITE, layers=(FIRST, pool)))
    assert text(layer_table([FIRST, pool]))[-1][1:7] == ["max_pool2d", "n1", "c2", "6x5", "2x2", "float64"]


def test_rows() -> None:
    names, first, second = text(layer_table(SUITE.layers))[-3:]
    assert names[:3] == ["layer", "problem", "GFLOP"]
    assert "scipy" not in names  # nothing to show
    assert first == ["first", "k3", "3x3", "2.00", "2.00", "1.00", "2.00", "2.25", "0.500", "direct", "2.00", "0.25"]
    assert second == ["second", "k4", "1x1", "2.00", "2.00", "1.00", "2.00", "2.25", "–", "direct", "2.00", "–"]


def test_a_wrong_result_and_one_that_was_not_run() -> None:
    broken = dataclasses.replace(DIRECT, failure="relative error 1", minimum_ms=None, median_ms=None)
    missing = Outcome("auto", "auto", skipped="not there yet")
    result = dataclasses.replace(FIRST, outcomes=(broken, IM2COL, missing))
    (row,) = text(layer_table([result]))[-1:]
    assert row[-4:] == ["WRONG", "1.00", "direct", "–"]  # and no column for auto


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0.000"), (0.0124, "0.012"), (0.9996, "1.00"), (9.996, "10.0"), (99.96, "100"), (1e4, "10000")],
)
def test_numbers_have_five_characters_at_most(value: float, shown: str) -> None:
    assert _number(value) == shown


def test_reasons_that_differ_in_numbers_or_in_the_problem_are_one() -> None:
    def skipping(reason: str) -> LayerResult:
        return dataclasses.replace(SUITE.layers[0], outcomes=(Outcome("fft", "algorithm", skipped=reason),))

    results = [skipping(f"fft needs 2 places, not {count}, in conv1d,n1,c1,{count},k1,1") for count in (1, 0)]
    assert list(_reasons([*results, skipping("no")])) == [
        "– fft: fft needs 2 places, not 1 (2 of 3 layers)",
        "– fft: no (1 of 3 layers)",
    ]


def test_notes() -> None:
    assert list(notes(SUITE)) == [
        "7 results compared with the reference: all within their limits",
        "– scipy: one plane (1 of 2 layers)",
        "first calls, compiling included, in none of the figures above: direct 1.00 s, im2col 3.00 s",
        "pick / best: geometric mean 2.00, worst 2.00 (first), 2 layers",
        "auto / peak of multiply-adds, 100 GFLOP/s: geometric mean 0.50, worst 0.50 (first), 2 layers",
        "torch channels_last / auto: geometric mean 0.25, worst 0.25 (first), 1 layer",
        "  slower than torch channels_last on 1 of 1: first 0.25",
        "best peer / auto: geometric mean 0.25, worst 0.25 (first), 1 layer",
        "  slower than best peer on 1 of 1: first 0.25",
    ]


def test_notes_name_the_ratio_with_packed_weights() -> None:
    result = dataclasses.replace(FIRST, outcomes=(*OUTCOMES, Outcome("packed", "packed", minimum_ms=0.25)))
    lines = list(notes(dataclasses.replace(SUITE, layers=(result,))))
    assert lines[-1] == "best peer / packed: geometric mean 2.00, worst 2.00 (first), 1 layer"
    assert "best peer / auto: geometric mean 0.25, worst 0.25 (first), 1 layer" in lines


def test_notes_name_what_is_wrong() -> None:
    broken = Outcome("direct", "algorithm", failure="relative error 1")
    result = dataclasses.replace(FIRST, outcomes=(broken, AUTO))
    lines = list(notes(dataclasses.replace(SUITE, layers=(result,))))
    assert lines[0] == "2 results compared with the reference: 1 WRONG"
    assert lines[1] == f"WRONG: direct on first ({FIRST.problem}): relative error 1"


def test_the_reference_is_not_compared_with_itself() -> None:
    reference = Outcome("reference", "algorithm", error=0.0, first_ms=1.0, minimum_ms=1.0)
    result = dataclasses.replace(FIRST, outcomes=(reference, AUTO))
    line = next(iter(notes(dataclasses.replace(SUITE, layers=(result,)))))
    assert line == "1 result compared with the reference: all within their limits"


def test_the_table_of_kinds() -> None:
    winner = dataclasses.replace(
        SECOND, kind="3x3", outcomes=(DIRECT, AUTO, dataclasses.replace(TORCH, minimum_ms=8.0))
    )
    rows = text(kind_table([("small first", FIRST), ("small second", winner)]))
    assert rows[-1] == ["3x3", "2", "1.00", "0.25", "small", "first", "1"]
    assert kind_table([("small second", SECOND)]).row_count == 0  # no ratio, no row

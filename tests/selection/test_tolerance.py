"""What accuracy excludes from the choice, and what tells of it."""

from __future__ import annotations

import json
import logging

import pytest

import fastconv
from fastconv import ConvProblem, selection
from fastconv.selection import TABLE

PROBLEM = ConvProblem.parse("conv2d,n1,c8,14x14,k8,3x3,p1,float32")
DOUBLE = ConvProblem.parse("conv2d,n1,c8,14x14,k8,3x3,p1,float64")
INTEGERS = ConvProblem.parse("conv2d,n1,c8,14x14,k8,3x3,p1,int32")
HALF = ConvProblem.parse("conv2d,n1,c8,14x14,k8,3x3,p1,float16")
BRAIN = ConvProblem.parse("conv2d,n1,c8,14x14,k8,3x3,p1,bfloat16")
EXACT = fastconv.select(PROBLEM)  # of the real ones, which all stay below 2e-6


@pytest.fixture
def coarse(pretend):
    """Put two quick algorithms into the table, the less accurate of them the quicker."""
    pretend("coarse", 1e-3, seconds=1e-9)
    pretend("medium", 1e-5, seconds=2e-9)


# --- the pick -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("tolerance", "picked"),
    [
        (1e6, "coarse"),
        (1e-3, "coarse"),  # a bound may be the tolerance
        (9.9e-4, "medium"),
        (1e-5, "medium"),
        (9.9e-6, EXACT),
        (2e-6, EXACT),
        (1.9e-6, "reference"),
        (1e-300, "reference"),  # nothing is so accurate: the most accurate
    ],
)
def test_the_cheapest_within_the_tolerance_is_picked(coarse, tolerance, picked):
    assert fastconv.select(PROBLEM, tolerance) == picked
    assert fastconv.select(PROBLEM, tolerance=tolerance) == picked
    assert fastconv.explain(PROBLEM, tolerance).picked == picked


def test_a_wide_tolerance_does_not_make_what_is_dear_cheap(pretend):
    pretend("dear", 1e-3, seconds=1.0)
    assert fastconv.select(PROBLEM, 0.1) == EXACT


def test_where_none_is_so_accurate_the_cheapest_of_the_most_accurate_is_picked(pretend):
    pretend("slow", 1e-9, seconds=2e-9)
    pretend("quick", 1e-9, seconds=1e-9)
    pretend("coarse", 1e-8, seconds=1e-10)
    assert fastconv.select(PROBLEM, 1e-10) == "quick"


@pytest.mark.parametrize(
    ("problem", "limit"),
    [(PROBLEM, 3e-5), (DOUBLE, 1e-13), (HALF, 1e-2), (BRAIN, 8e-2)],
    ids=["float32", "float64", "float16", "bfloat16"],
)
def test_every_data_type_has_its_tolerance(pretend, problem, limit):
    assert fastconv.get_tolerance(problem.dtype) == limit
    pretend("beyond", 1.01 * limit)
    assert fastconv.select(problem) != "beyond"
    fastconv.clear_cache()
    pretend("within", limit)
    assert fastconv.select(problem) == "within"


def test_integers_are_exact(pretend):
    pretend("coarse", 1e-300)
    assert fastconv.select(INTEGERS) == "reference"
    fastconv.clear_cache()
    pretend("exact", 0.0)
    assert fastconv.select(INTEGERS) == "exact"


def test_the_defaults_exclude_large_tiles_alone():
    for problem in (PROBLEM, DOUBLE, INTEGERS, HALF):
        for candidate, entry in zip(fastconv.explain(problem).candidates, TABLE, strict=True):
            excluded = candidate.reason != entry.supports(problem)
            assert excluded == (problem is PROBLEM and entry.name == "winograd_6x6")


def test_the_configured_tolerance_is_that_of_the_moment(coarse, set_tolerance):
    assert fastconv.select(PROBLEM) == "medium"
    set_tolerance(1e-2)
    assert fastconv.select(PROBLEM) == fastconv.select(DOUBLE) == "coarse"
    assert fastconv.explain(PROBLEM).picked == "coarse"
    assert fastconv.select(PROBLEM, 1e-6) == "reference"  # what a call asks for comes first
    set_tolerance(None)
    assert fastconv.select(PROBLEM) == "medium"
    assert fastconv.select(DOUBLE) not in ("coarse", "medium")


def test_the_log_names_what_was_too_inaccurate(coarse, caplog):
    with caplog.at_level(logging.DEBUG, "fastconv"):
        fastconv.select(PROBLEM)
        fastconv.select(PROBLEM, 1e-2)
    first, second = [record.getMessage() for record in caplog.records if str(PROBLEM) in record.getMessage()]
    assert first.startswith(f"{PROBLEM}: medium (predicted: ")
    _, excluded = first.split("); ")
    assert "coarse: error bound 0.001 is above the tolerance 3e-05" in excluded
    assert second.startswith(f"{PROBLEM}: coarse (predicted: ")
    assert "tolerance" not in second


# --- explanations ---------------------------------------------------------------------------------


def candidates(explanation):
    return {candidate.name: candidate for candidate in explanation.candidates}


def test_an_excluded_candidate_has_its_reason_and_its_figures(coarse):
    explanation = fastconv.explain(PROBLEM)
    assert explanation.tolerance == 3e-5
    excluded = candidates(explanation)["coarse"]
    assert excluded.reason == "error bound 0.001 is above the tolerance 3e-05"
    assert excluded.error_bound == 1e-3
    assert excluded.predicted_seconds == 1e-9
    assert excluded.workspace_bytes == selection.algorithm("coarse").workspace(PROBLEM) > 0
    assert candidates(explanation)["medium"].reason is None


def test_what_does_not_compute_the_problem_says_so_whatever_the_tolerance(coarse):
    for tolerance in (1e-9, 1.0):
        direct = candidates(fastconv.explain(INTEGERS, tolerance))["direct"]
        assert direct.reason == "direct computes float32 and float64, not int32"
        assert direct.error_bound is None


def test_a_pick_that_is_not_accurate_enough_says_so():
    explanation = fastconv.explain(PROBLEM, 1e-8)
    assert explanation.picked == "reference"
    reason = "error bound 1.19e-07 is above the tolerance 1e-08"
    assert candidates(explanation)["reference"].reason == reason
    line = str(explanation).splitlines()[-2]  # its sum is below
    assert line.startswith("* reference: predicted ")
    assert line.endswith(f"relative error below 1.19e-07; {reason}")


def test_the_tolerance_is_told(coarse):
    explanation = fastconv.explain(PROBLEM, 1e-4)
    head, *lines = str(explanation).splitlines()
    assert head == f"{PROBLEM} with tolerance 0.0001"
    (line,) = [line for line in lines if "coarse" in line]
    assert line.startswith("  coarse: predicted 0.000 ms, workspace ")
    assert line.endswith(" KiB, relative error below 0.001; error bound 0.001 is above the tolerance 0.0001")
    told = json.loads(json.dumps(explanation.as_dict()))
    assert told["tolerance"] == 1e-4
    (case,) = [case for case in told["candidates"] if case["name"] == "coarse"]
    assert case["reason"] == "error bound 0.001 is above the tolerance 0.0001"
    assert case["error_bound"] == 1e-3
    assert case["predicted_seconds"] == 1e-9

"""Constants of the cost model: what is measured of them, what a file may hold, and what predictions make of them."""

from __future__ import annotations

import json
import logging
import os
from dataclasses import asdict

import numpy as np
import pytest

import fastconv
from fastconv import ConvProblem
from fastconv.algorithm import Machine
from fastconv.selection import calibration, constants, files
from fastconv.selection.calibration import PROBES
from fastconv.selection.constants import FORMAT, KIND, MOST_TIMES

PROBLEM = ConvProblem.parse("conv2d,n1,c64,28x28,k64,3x3,p1,float32")
SHIPPED = Machine()
OTHERS = Machine(15e9, 10e9, 0.3e-9, 20e-9, 8e-9, 0.1e-6, 4e-6)  # of another machine, each another one


@pytest.fixture(autouse=True)
def directory(tmp_path, monkeypatch):
    """Let the user's directory be one of the test."""
    monkeypatch.setattr("fastconv.config.answers_directory", lambda: tmp_path / "user")
    monkeypatch.setattr(constants, "_unstored", {})
    fastconv.clear_cache()
    yield tmp_path / "user"
    fastconv.clear_cache()


def predicted():
    direct, *_ = fastconv.explain(PROBLEM).candidates
    return direct.predicted_seconds


# --- the fit --------------------------------------------------------------------------------------


def costs(machine):
    return [calibration._cost(probe, machine) for probe in PROBES]


@pytest.mark.parametrize("machine", [SHIPPED, OTHERS])
def test_constants_are_found_from_the_times_that_they_make(machine):
    found = asdict(calibration.fitted(costs(machine), machine.vector_flops))
    assert found == pytest.approx(asdict(machine), rel=0.05)


def test_times_that_the_model_does_not_explain_are_met_as_closely_as_it_can():
    random = np.random.default_rng(0)
    times = np.array(costs(OTHERS)) * random.uniform(0.8, 1.25, len(PROBES))
    found = calibration.fitted(times, OTHERS.vector_flops)
    errors = [np.square(costs(machine) / times - 1).sum() for machine in (found, OTHERS, SHIPPED)]
    assert errors[0] <= errors[1] < errors[2]
    assert asdict(found) == pytest.approx(asdict(OTHERS), rel=0.5)


@pytest.mark.parametrize("times", [1e-12, 1e12])
def test_whatever_was_timed_constants_stay_within_what_a_file_may_hold(times):
    seconds = [times * taken for taken in costs(SHIPPED)]
    for flops in (1.0, SHIPPED.vector_flops, 1e30):
        found = calibration.fitted(seconds, flops)
        assert constants.checked(asdict(found)) == found


def test_weights_that_seem_to_take_less_than_nothing_come_at_the_highest_rate():
    """Where products alone are predicted to take longer than the whole call did."""
    alone = costs(calibration._only("bandwidth", SHIPPED))
    seconds = [taken * (0.02 if read > 0.2 * taken else 1) for taken, read in zip(costs(SHIPPED), alone, strict=True)]
    assert calibration.fitted(seconds, SHIPPED.vector_flops).bandwidth == pytest.approx(SHIPPED.bandwidth * MOST_TIMES)


def test_each_constant_has_a_probe_that_mostly_tells_it():
    for name in asdict(SHIPPED):
        alone = costs(calibration._only(name, SHIPPED))
        assert max(np.array(alone) / costs(SHIPPED)) > 0.35, name


def test_predictions_are_linear_in_the_constants():
    """As the fit takes them to be: a sum of what each constant has a part of."""
    for probe in PROBES:
        free = calibration._cost(probe, calibration._FREE)
        parts = [calibration._cost(probe, calibration._only(name, OTHERS)) - free for name in asdict(OTHERS)]
        assert free + sum(parts) == pytest.approx(calibration._cost(probe, OTHERS), rel=1e-9)


# --- what is in force -----------------------------------------------------------------------------


@pytest.fixture
def measured(monkeypatch):
    """Let every probe take what it would on another machine."""
    monkeypatch.setattr(calibration, "_timed", lambda seconds: costs(OTHERS))
    monkeypatch.setattr(calibration, "_vector_flops", lambda: OTHERS.vector_flops)


@pytest.mark.usefixtures("measured")
def test_stored_constants_change_predictions_until_they_are_forgotten(directory):
    assert (fastconv.calibration().machine, fastconv.calibration().source) == (SHIPPED, "shipped")
    shipped = predicted()
    found = fastconv.calibrate()
    assert found == fastconv.calibration()
    assert found.source == "user"
    direct = fastconv.selection.algorithm("direct")
    assert predicted() == direct.cost(PROBLEM, found.machine) != shipped
    assert fastconv.plan(PROBLEM, algorithm="direct").predicted_seconds == predicted()
    assert sorted(path.suffix for path in directory.iterdir()) in ([".json"], [".json", ".lock"])
    assert fastconv.forget_calibration()
    assert predicted() == shipped
    assert not fastconv.forget_calibration()


@pytest.mark.usefixtures("measured")
def test_the_pick_is_by_the_constants_in_force(pretend):
    """An algorithm that nothing but calls cost, against one that takes a fixed time."""
    quick, _ = pretend("quick", 1e-9), pretend("fixed", 1e-9, 1e-9)
    quick.terms = lambda problem, machine: {"call": 2e-4 * machine.call}
    assert fastconv.select(PROBLEM) == "fixed"
    fastconv.calibrate()
    assert fastconv.select(PROBLEM) == "quick"
    fastconv.forget_calibration()
    assert fastconv.select(PROBLEM) == "fixed"


def test_another_process_sees_it_after_clear_cache(directory):
    shipped = predicted()
    stored(directory, asdict(OTHERS))  # as another process does
    assert predicted() == shipped
    fastconv.clear_cache()
    assert predicted() != shipped


@pytest.mark.usefixtures("measured")
@pytest.mark.parametrize("blocked", ["a file", "no home"])
def test_where_nothing_can_be_stored_constants_last_as_long_as_the_process(blocked, directory, monkeypatch, caplog):
    if blocked == "no home":
        monkeypatch.setattr("fastconv.config.answers_directory", lambda: None)
    else:
        directory.write_text("no directory")
    with caplog.at_level(logging.INFO, "fastconv"):
        assert fastconv.calibrate().source == "process"
        fastconv.clear_cache()
        assert fastconv.calibration().source == "process"
    assert all(record.levelno == logging.INFO for record in caplog.records)
    assert bool(caplog.records) == (blocked == "a file")
    assert fastconv.forget_calibration()
    assert fastconv.calibration().source == "shipped"


def test_a_directory_that_is_provided_counts_below_the_users(directory, tmp_path, monkeypatch):
    monkeypatch.setenv("FASTCONV_ANSWERS", str(tmp_path / "site"))
    stored(tmp_path / "site", asdict(OTHERS))
    assert (fastconv.calibration().machine, fastconv.calibration().source) == (OTHERS, "provided")
    constants.remember(SHIPPED)
    assert fastconv.calibration().source == "user"
    assert fastconv.forget_calibration()
    assert fastconv.calibration().source == "provided"


def test_a_measurement_is_one(directory):
    """All probes run, and what they take is what a machine may take."""
    found = fastconv.calibrate(seconds=0.05)
    assert found.source == "user"
    assert asdict(found.machine) != asdict(SHIPPED)
    constants.checked(asdict(found.machine))


@pytest.mark.parametrize(("seconds", "error"), [(0, ValueError), (float("nan"), ValueError), ("2", TypeError)])
def test_what_calibrate_refuses(seconds, error):
    with pytest.raises(error, match="seconds must be"):
        fastconv.calibrate(seconds)


# --- what a file may hold -------------------------------------------------------------------------


def stored(directory, values, **changes):
    """Write a file of the user's, and return its path."""
    path = directory / files.origin().file_name(KIND)
    path.parent.mkdir(exist_ok=True)
    content = {"format": FORMAT, "origin": asdict(files.origin()), KIND: values, **changes}
    path.write_text(values if isinstance(values, str) else json.dumps(content))
    return path


GOOD = asdict(OTHERS)
DAMAGED = {
    "empty": "",
    "truncated": json.dumps(GOOD)[:-20],
    "no object": "[1, 2]",
    "no constants": "{}",
    "deep nesting": "[" * 100_000,
    "a list": [1],
    "nothing": {},
    "one is missing": {name: value for name, value in GOOD.items() if name != "call"},
    "one more": {**GOOD, "memory": 1.0},
    "infinity": {**GOOD, "bandwidth": float("inf")},
    "not a number": {**GOOD, "bandwidth": float("nan")},
    "too many digits": json.dumps({"machine": GOOD}).replace("4e-06", "9" * 10_000),
    **{
        f"a call of {value!r}": {**GOOD, "call": value}
        for value in (0, -4e-6, True, "4e-6", [4e-6], {}, None, 10**400, 1.01e-5 * MOST_TIMES, 0.99e-5 / MOST_TIMES)
    },
}


@pytest.mark.parametrize("values", DAMAGED.values(), ids=[name[:30] for name in DAMAGED])
def test_what_is_damaged_is_ignored_and_said(directory, values, caplog):
    shipped, path = predicted(), stored(directory, values)
    fastconv.clear_cache()
    assert (predicted(), fastconv.calibration().source) == (shipped, "shipped")
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert str(path) in record.getMessage()
    constants.remember(OTHERS)  # replaces it
    assert fastconv.calibration().machine == OTHERS


@pytest.mark.parametrize(
    "changes", [{"format": 2}, {"format": [1]}, {"origin": None}, {"origin": {"version": "0.0"}}], ids=str
)
def test_what_another_version_or_machine_wrote_is_ignored(directory, changes, caplog):
    stored(directory, GOOD, **changes)
    with caplog.at_level(logging.INFO, "fastconv"):
        assert fastconv.calibration().source == "shipped"
    (record,) = caplog.records
    assert record.levelno == logging.INFO


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="a pipe with a name is POSIX's")
def test_a_pipe_is_not_waited_for(directory):
    directory.mkdir()
    os.mkfifo(directory / files.origin().file_name(KIND))
    assert fastconv.calibration().source == "shipped"


def test_bounds_are_those_that_are_told():
    edges = (SHIPPED.call / MOST_TIMES, SHIPPED.call * MOST_TIMES)
    for value in edges:
        assert constants.checked({**GOOD, "call": value}).call == value
    with pytest.raises(ValueError, match=r"call must be a number from 1e-07 to 0.001"):
        constants.checked({**GOOD, "call": 2 * edges[1]})

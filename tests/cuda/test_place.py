"""Which algorithm runs on a device: predicted, measured, remembered, explained."""

from __future__ import annotations

import json

import numpy as np
import pytest
from interpreted import InterpretingDriver, Launched

import fastconv
from fastconv.devices import UnavailableError
from fastconv.problem import ConvProblem
from fastconv.selection import answers

PROBLEM = ConvProblem.parse("conv2d,n1,c2,5x5,k2,3x3,p1,g2,float32")


@pytest.fixture
def driver(interpreting, monkeypatch, tmp_path):
    """A device on which a depthwise kernel takes longest, whatever is predicted; nothing is known of it."""
    monkeypatch.setattr("fastconv.config.answers_directory", lambda: tmp_path)
    monkeypatch.setattr(answers, "_unstored", {})
    slow = "fastconv_strips"
    monkeypatch.setattr(interpreting, "seconds_of", lambda one: 5e-2 if one.name == slow else 1e-2)
    monkeypatch.setattr(interpreting, "seconds", quick(interpreting))
    fastconv.clear_cache()
    yield interpreting
    fastconv.clear_cache()


def quick(driver):
    """Return what takes times as the driver does, of each kernel interpreting the first launch alone."""
    launch, run = driver.launch, set()

    def launch_once(one, ordinal, stream):
        name = one.function.name
        if name in run:
            driver.launches.append(Launched(name, one.grid, one.block, stream))
        else:
            run.add(name)
            launch(one, ordinal, stream)

    def seconds(work, ordinal, stream):
        driver.launch = launch_once
        try:
            return InterpretingDriver.seconds(driver, work, ordinal, stream)
        finally:
            driver.launch = launch

    return seconds


def call(driver, **arguments):
    """Convolve, and return the names of what was launched."""
    random = np.random.default_rng(0)
    x, weight = (random.uniform(-1, 1, shape).astype("f4") for shape in (PROBLEM.input_shape, PROBLEM.weight_shape))
    expected = fastconv.conv2d(x, weight, padding=1, groups=2, algorithm="reference")
    before = len(driver.launches)
    y = fastconv.conv2d(driver.array(x), driver.array(weight), padding=1, groups=2, **arguments)
    np.testing.assert_allclose(driver.numpy(y), expected, rtol=1e-5, atol=1e-6)
    return [one.name for one in driver.launches[before:]]


def test_what_is_measured_runs_from_then_on(driver, tmp_path):
    before = fastconv.select(PROBLEM, device=0)
    assert before == "depthwise"
    assert call(driver) == ["fastconv_strips"]
    answer = fastconv.tune(PROBLEM, device=0)[PROBLEM]
    assert not driver.held  # what was measured with is given back
    assert answer.seconds["depthwise"] == pytest.approx(5e-2)
    assert answer.seconds["direct"] == pytest.approx(1e-2)
    assert fastconv.select(PROBLEM, device=0) == "direct"
    assert call(driver) == ["fastconv_direct"]
    (file,) = tmp_path.glob("answers-*.json")
    told = json.loads(file.read_text())["origin"]
    assert told["device"] == "NVIDIA H100"
    assert told["driver"] == driver.figures.driver
    assert "NVIDIA-H100" in file.name
    assert fastconv.tune(PROBLEM, device=0)[PROBLEM] == answer  # which is not measured again
    assert answers.find(PROBLEM, 1, ["direct"]) is None  # the processor knows nothing of it


def test_another_driver_and_another_device_have_answers_of_their_own(driver):
    from dataclasses import replace

    fastconv.tune(PROBLEM, device=0)
    for other in ({"driver": 13010}, {"name": "NVIDIA H200"}):
        here = driver.figures
        driver.figures = replace(here, **other)
        assert fastconv.select(PROBLEM, device=0) == "depthwise"
        driver.figures = here
    assert fastconv.select(PROBLEM, device=0) == "direct"


def test_the_mode_measures_in_the_first_call(driver):
    with fastconv.options(mode="measure"):
        launched = call(driver)
        assert launched[-1] == "fastconv_direct"
        assert len(launched) > 4
        assert call(driver) == ["fastconv_direct"]


def test_with_determinism_nothing_that_was_measured_counts(driver):
    fastconv.tune(PROBLEM, device=0)
    with fastconv.options(deterministic=True):
        assert fastconv.select(PROBLEM, device=0) == "depthwise"


def test_answers_are_kept_as_those_of_the_processor(driver, tmp_path):
    fastconv.tune(PROBLEM, device=0)
    assert fastconv.remembered() == ()
    (entry,) = fastconv.remembered(device=0)
    assert (entry.problem, entry.threads, entry.source) == (PROBLEM, 1, "user")
    file = tmp_path / "carried.json"
    assert fastconv.export_answers(file, device=0) == 1
    assert fastconv.forget_answers(device=0) == 1
    assert fastconv.select(PROBLEM, device=0) == "depthwise"
    with pytest.raises(ValueError, match="path must hold answers of this machine"):
        fastconv.import_answers(file)
    assert fastconv.import_answers(file, device=0) == 1
    assert fastconv.select(PROBLEM, device=0) == "direct"


def test_an_explanation(driver):
    found = fastconv.explain(PROBLEM, device=0)
    cases = {case.name: case for case in found.candidates}
    assert found.picked == "depthwise"
    assert "launches" in cases["depthwise"].predicted_terms
    for case in cases.values():
        if case.predicted_terms is not None:
            assert case.predicted_seconds == pytest.approx(sum(case.predicted_terms.values()))
    assert "direct: predicted" in str(found)


def test_a_plan(driver):
    plan = fastconv.plan(PROBLEM, device=0, algorithm="direct")
    assert (plan.algorithm, plan.threads, plan.device) == ("direct", 1, 0)
    x, weight = np.ones(PROBLEM.input_shape, "f4"), np.ones(PROBLEM.weight_shape, "f4")
    y = plan(driver.array(x), driver.array(weight))
    wanted = fastconv.conv2d(x, weight, padding=1, groups=2, algorithm="reference")
    np.testing.assert_array_equal(driver.numpy(y), wanted)
    with pytest.raises(TypeError, match=r"x must be on device 0, got numpy.ndarray in the computer's memory"):
        plan(x, weight)
    with pytest.raises(ValueError, match=r"x must have the plan's shape \(1, 2, 5, 5\), got \(1, 2, 5, 4\)"):
        plan(driver.array(x[..., 1:]), driver.array(weight))
    with pytest.raises(TypeError, match="x must be an array in the computer's memory"):
        fastconv.plan(PROBLEM)(driver.array(x), driver.array(weight))


def test_what_is_no_device():
    with pytest.raises(TypeError, match="device must be an int or None, got 'cuda' of type str"):
        fastconv.select(PROBLEM, device="cuda")


def test_a_device_that_is_missing(interpreting, monkeypatch):
    def device(ordinal):
        raise RuntimeError("the CUDA driver says 101")

    monkeypatch.setattr(interpreting, "device", device)
    with pytest.raises(UnavailableError, match="there is no device 99: the CUDA driver says 101"):
        fastconv.select(PROBLEM, device=99)


def test_the_command_line(driver):
    pytest.importorskip("click")
    pytest.importorskip("rich")
    from click.testing import CliRunner

    from fastconv.cli import main

    def said(*arguments):
        result = CliRunner().invoke(main, [*arguments])
        assert result.exit_code == 0, result.output
        return result.output

    assert "* depthwise: predicted" in said("explain", str(PROBLEM), "--device", "cuda")
    assert "NVIDIA-H100" in said("tune", str(PROBLEM), "--device", "cuda")
    assert "* direct: measured 10.000 ms" in said("explain", str(PROBLEM), "--device", "cuda:0")
    assert "1 answer; " in said("answers", "show", "--device", "cuda")
    assert "1 answer forgotten" in said("answers", "clear", "--yes", "--device", "cuda")
    result = CliRunner().invoke(main, ["explain", str(PROBLEM), "--device", "gpu"])
    assert result.exit_code == 2
    assert "'gpu' is neither cpu nor cuda" in result.output


@pytest.mark.gpu
def test_measuring_on_a_device(gpu, monkeypatch, tmp_path):
    monkeypatch.setattr("fastconv.config.answers_directory", lambda: tmp_path)
    problem = ConvProblem.parse("conv2d,n8,c64,28x28,k64,3x3,p1,float32")
    answer = fastconv.tune(problem, device=0)[problem]
    measured = {name: taken for name, taken in answer.seconds.items() if taken is not None}
    assert all(1e-7 < taken < 1 for taken in measured.values())
    assert fastconv.select(problem, device=0) == min(measured, key=measured.__getitem__)
    fastconv.clear_cache()

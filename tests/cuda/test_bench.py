"""The benchmark on a device that is none: the whole command, on arrays in the computer's memory."""

from __future__ import annotations

import json

import numpy as np
import pytest
from libraries import imported

from fastconv import timing
from fastconv.bench import operations
from fastconv.bench.device import LAST, Rival, command
from fastconv.bench.device.tensor_cores import ALGORITHMS, is_rounded, precision_of
from fastconv.bench.results import Report
from fastconv.bench.run import Job
from fastconv.bench.suites import Layer
from fastconv.devices import UnavailableError
from fastconv.problem import parse

CONV = "conv2d,n1,c4,6x5,k8,3x3,p1,float32"
DEPTHWISE = "conv2d,n1,c8,6x5,k8,3x3,p1,g8,float32"
POOL = "max_pool2d,n1,c2,6x5,3x3,s2,p1,float32"
TINY = "conv2d,n1,c2,4x4,k2,3x3,float32"


class Interpreted:
    """What PyTorch is on a device, by the driver that interprets; its rivals are the reference."""

    def __init__(self, driver):
        self.driver, self.wrong, self.figures = driver, False, {"torch": "none"}

    def draw(self, problem):
        return tuple(map(self.driver.array, operations.draw(problem)))

    def ones(self, size, dtype):
        return self.driver.array(np.ones(size, dtype))

    def expected(self, problem, arrays):
        exact = [self.driver.numpy(array).astype(np.float64) for array in arrays]
        return operations.operation_of(problem).reference(problem, *exact)

    def error(self, found, expected):
        return operations.relative_error(self.driver.numpy(found), expected)

    def rivals(self, problem):
        def prepare(problem, *arrays):
            found = self.driver.array(self.expected(problem, arrays).astype(problem.dtype) + self.wrong)
            return lambda: found

        def refuse(problem, *arrays):
            return "too coarse"

        if is_rounded(problem):
            return {f"cudnn {precision_of(problem)}{LAST}": Rival("peer", 1e-2, prepare)}
        return {"cudnn": Rival("peer", 3e-5, prepare), "cudnn tf32": Rival("coarser", 2e-3, refuse)}

    def stopwatch(self, run):
        return lambda calls: timing.seconds_of(run, calls)

    def copy_bandwidth(self):
        return 1e9

    def wait(self):
        pass


@pytest.fixture
def library(interpreting, monkeypatch):
    """A library, a peak of few turns, and calls that are few."""
    from fastconv.bench.device import peak, run

    monkeypatch.setattr(peak, "_STEPS", {"float32": 2})
    monkeypatch.setattr(peak, "_BLOCKS", 1)
    monkeypatch.setattr(peak, "blocks", lambda target: 1)
    monkeypatch.setattr(peak, "THREADS", 32)
    monkeypatch.setattr(run, "MOST_SECONDS", 0.0)
    monkeypatch.setattr(run, "HOST_CALLS", 1)
    monkeypatch.setattr(run, "HOST_ROUNDS", 1)
    monkeypatch.setattr(run, "SMALL", (TINY,))
    return Interpreted(interpreting)


def measured(library, *targets, budget=600.0):
    said = []
    jobs = command.all_jobs(targets, (1,), ("channels_first",))
    return command.report(jobs, budget, said.append, library), said


def test_everything_is_compared_and_timed(library):
    from fastconv.cuda import table

    found, said = measured(library, CONV, DEPTHWISE, POOL)
    assert any("compiling" in line for line in said)
    (suite,) = found.suites
    assert (suite.device, suite.batch) == ("NVIDIA H100", 1)
    dense, depthwise, pool = suite.layers
    for layer in suite.layers:
        assert layer.failures == ()
        known = [entry.name for entry in table.table_of(parse(layer.problem))]
        packed = ["packed"] if layer is not pool else []
        assert [one.name for one in layer.outcomes] == [*known, "auto", *packed, "cudnn", "cudnn tf32"]
        for one in layer.outcomes:
            assert (one.minimum_ms is None) == (one.skipped is not None)
        assert layer["cudnn tf32"].skipped == "too coarse"
        assert layer.best_peer == "cudnn"
    assert dense["depthwise"].skipped is not None
    assert depthwise["depthwise"].error < 1e-6
    assert pool.bytes == 4 * (2 * 30 + 2 * 9)
    assert suite.peak_gflops > 0
    assert suite.copy_gigabytes == 1.0
    assert f"auto, out given: {TINY}" in found.host_us
    assert found.machine["device"]["torch"] == "none"
    assert Report.from_json(found.to_json()).suites[0].device == "NVIDIA H100"
    text = "\n".join(command.lines(found))
    for word in ("dense", "depthwise", "pooling", "auto, out given", "peak of multiply-adds"):
        assert word in text


def test_a_wrong_result_is_named_and_not_timed(library, tmp_path):
    library.wrong = True
    found, _ = measured(library, TINY)
    (layer,) = found.suites[0].layers
    assert [one.name for one in layer.failures] == ["cudnn"]
    assert layer["cudnn"].minimum_ms is None
    said = []
    assert command.write(found, tmp_path / "a.json", tmp_path / "a.txt", said.append) == 1
    assert "WRONG: cudnn" in said[0]
    assert (tmp_path / "a.txt").read_text() == said[0] + "\n"
    assert json.loads((tmp_path / "a.json").read_text())["suites"][0]["layers"][0]["problem"] == TINY


@pytest.mark.parametrize(
    ("text", "peer"),
    [
        ("conv2d,n1,c8,4x4,k8,3x3,channels_last,tf32,float32", "cudnn tf32"),
        ("conv2d,n1,c8,4x4,k8,3x3,p1,channels_last,weight_gradient,bf16,float32", "cudnn bf16"),
    ],
)
def test_rounded_factors_are_compared_with_factors_that_are_rounded_alike(library, text, peer):
    job = Job("tiny", "by hand", (Layer("one", parse(text)),), (1,), ALGORITHMS)
    found = command.report([job], 600.0, library=library)
    (suite,) = found.suites
    assert suite.peak_gflops is None  # of other units
    (layer,) = suite.layers
    assert layer.failures == ()
    packed = ["packed"] if "gradient" not in text else []
    assert [one.name for one in layer.outcomes] == [*ALGORITHMS, "auto", *packed, peer + LAST]
    assert layer["implicit_gemm_mma"].minimum_ms > 0
    lines = "\n".join(command.lines(found))
    assert f"float32, {precision_of(parse(text))}" in lines
    assert "dense" not in lines


def test_who_is_far_behind_is_timed_once(compiler):
    from fastconv.bench.device import run

    calls = {"fast": 0, "slow": 0}

    def stopwatch(name, seconds):
        def measure(count):
            calls[name] += count
            return seconds * count

        return measure

    times = run._timed({"fast": stopwatch("fast", 1e-4), "slow": stopwatch("slow", 1.0)}, 0.0)
    assert times["slow"].samples == (1.0,)
    assert calls["slow"] == 1
    assert len(times["fast"].samples) >= timing.MINIMUM_ROUNDS


def test_without_time_layers_say_so(library):
    found, _ = measured(library, TINY, POOL, budget=0.0)
    assert [layer["auto"].skipped for layer in found.suites[0].layers] == ["the budget was spent before"] * 2


def test_what_fails_does_not_end_the_run(library, monkeypatch):
    def expected(problem, arrays):
        if problem == parse(TINY):
            raise MemoryError("no room")
        return Interpreted.expected(library, problem, arrays)

    monkeypatch.setattr(library, "expected", expected)
    found, _ = measured(library, TINY, POOL)
    broken, whole = found.suites[0].layers
    assert broken["auto"].failure == "MemoryError: no room"
    assert whole.failures == ()


def test_kernels_are_compiled_before_by_several_processes(compiler, monkeypatch, tmp_path):
    from fastconv.bench.device.prepare import compile_kernels
    from fastconv.cuda.driver import Device

    monkeypatch.setenv("FASTCONV_CACHE_DIR", str(tmp_path))
    compile_kernels([(parse(TINY), ("direct",)), (parse(POOL), None)], Device(), processes=2)
    kept = {path.suffix for path in tmp_path.glob("kernels-*/cuda/*")}
    assert ".ptx" in kept


def test_kernels_that_nobody_asked_for_are_not_compiled(compiler, monkeypatch):
    from fastconv.bench.device import prepare
    from fastconv.cuda.driver import Device

    planned = []
    monkeypatch.setattr(prepare, "plan_of", lambda entry, problem, target: planned.append(entry.name))
    picked = prepare.picked(parse(TINY), prepare.DevicePlace(0, Device()))
    prepare._compile([(TINY, ("fft",))], Device())
    assert set(planned) == {"fft", picked}
    planned.clear()
    prepare._compile([(TINY, None)], Device())
    assert {"direct", "fft", "im2col"} <= set(planned)


def test_the_peak_is_multiply_adds_and_little_else(compiler):
    from machine_code import machine_code

    from fastconv.bench.device import peak
    from fastconv.cuda.driver import Device
    from fastconv.cuda.plan import Target

    class Keeping:
        def load(self, code, ordinal, shared=0):
            self.code = code

    driver = Keeping()
    peak.plan("float32", Target(driver, 0, Device()))
    code = machine_code(driver.code.machine_code)
    assert code.share("FFMA") > 0.95
    assert code.local_accesses == 0


def test_no_device(monkeypatch, capsys):
    def refuse():
        raise UnavailableError("numba.cuda cannot be imported")

    monkeypatch.setattr(command, "check_compiler", refuse)
    assert command.main([TINY]) == 2
    assert "fastconv.bench.device: numba.cuda cannot be imported" in capsys.readouterr().err
    assert command.main(["lenet"]) == 2
    assert "'lenet' is neither a suite" in capsys.readouterr().err


@pytest.mark.gpu
def test_on_a_device(gpu, tmp_path):
    imported("torch")
    file = tmp_path / "results.json"
    tf32, halves = "tf32,float32", "weight_gradient,bfloat16"
    rounded = [f"conv2d,n2,c16,8x8,k16,3x3,p1,channels_last,{kind}" for kind in (tf32, halves)]
    assert command.main([TINY, DEPTHWISE, POOL, *rounded, "--budget", "90", "--json", str(file)]) == 0
    found = Report.from_json(file.read_text())
    layers = {layer.problem: layer for suite in found.suites for layer in suite.layers}
    for problem, layer in layers.items():
        peer = "cudnn" + (" tf32" if tf32 in problem else " bfloat16" if halves in problem else "")
        assert layer.best_peer in (peer, peer + LAST)
        assert layer.ratio > 0
    for problem in rounded:
        assert layers[problem][ALGORITHMS[0]].minimum_ms > 0

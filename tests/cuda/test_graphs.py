"""Calls that become part of a CUDA graph: by a driver that refuses what a capture forbids, and on a device."""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np
import pytest
from interpreted import STREAM, InterpretingDriver
from libraries import imported

import fastconv
from fastconv.problem import ConvProblem, parse

PROBLEMS = [
    ("conv2d,n1,c3,6x7,k4,3x3,p1,float32", "direct"),
    ("conv2d,n1,c3,6x7,k4,3x3,p1,float32", "im2col"),
    ("conv2d,n1,c3,6x7,k4,3x3,p1,tf32,float32", "implicit_gemm_mma"),
    ("conv2d,n1,c8,6x7,k8,3x3,p1,channels_last,tf32,float32", "implicit_gemm_wgmma"),
    ("conv2d,n1,c3,6x7,k3,3x3,p1,g3,float32", "depthwise"),
    ("conv2d,n1,c3,6x7,k4,3x3,p1,float32", "winograd_2x2"),
    ("conv2d,n1,c3,6x7,k4,3x3,p1,float32", "fft"),
    ("max_pool2d,n1,c3,6x7,2x2,s2,float32", "auto"),
]


class CapturingDriver(InterpretingDriver):
    """A driver of which one stream may be captured: nothing waits then, nothing else runs, memory is the library's."""

    captured = False

    @contextmanager
    def capture(self):
        """Capture the stream of calls."""
        self.captured = True
        yield
        self.captured = False

    def refuse(self, what):
        if self.captured:
            raise AssertionError(f"{what} while a graph is captured")

    def capturing(self, stream):
        return self.captured and stream == STREAM

    def launch(self, launch_, ordinal, stream):
        if stream != STREAM:
            self.refuse("a launch on another stream")
        super().launch(launch_, ordinal, stream)

    def take(self, size, ordinal):
        self.refuse("memory of the driver's")
        return super().take(size, ordinal)

    def seconds(self, work, ordinal, stream):
        self.refuse("waiting")
        return super().seconds(work, ordinal, stream)

    def wait(self, ordinal, stream):
        self.refuse("waiting")

    def numpy(self, array):
        self.refuse("waiting")
        return super().numpy(array)


@pytest.fixture
def driver(compiler):
    """The driver, and the library that its arrays are of."""
    from fastconv.cuda import arrays, call, pooling_call
    from fastconv.cuda import driver as drivers

    device = CapturingDriver()
    drivers.install(device)
    arrays.register("interpreted", device)
    yield device
    call.clear()
    pooling_call.clear()
    arrays.register("interpreted", None)
    drivers.install(None)


def operands(problem, random):
    """Return the arrays of a call."""
    shapes = [problem.input_shape]
    if isinstance(problem, ConvProblem):
        shapes += [problem.weight_shape, (problem.filters,)]
    return [random.uniform(-1, 1, shape).astype(problem.dtype) for shape in shapes]


def check(found, expected, problem, loose=1):
    """Compare numbers of which the largest are some ten, as closely as the problem's precision lets."""
    limit = loose * (1e-6 if getattr(problem, "precision", "ieee") == "ieee" else 2e-3)
    np.testing.assert_allclose(found, expected, rtol=10 * limit, atol=limit)


def call_of(problem, algorithm):
    """Return the call as a function of its arrays."""
    name = f"conv{problem.rank}d" if isinstance(problem, ConvProblem) else f"{problem.operation}{problem.rank}d"
    function = getattr(fastconv, name)
    return lambda *arrays, **others: function(*arrays, **{"algorithm": algorithm, **problem.arguments(), **others})


@pytest.mark.parametrize("before", [False, True], ids=["first call", "seen before"])
@pytest.mark.parametrize(("text", "algorithm"), PROBLEMS)
def test_a_capture_is_not_disturbed(text, algorithm, before, driver):
    problem = parse(text)
    call, arrays = call_of(problem, algorithm), operands(problem, np.random.default_rng(0))
    there = [driver.array(one) for one in arrays]
    if before:
        call(*there)
    first = len(driver.launches)
    with driver.capture():
        y = call(*there)
        out = driver.array(np.zeros(problem.output_shape[::-1], "f4"))
        turned = driver.transposed(out, 3, 2, 1, 0)
        call(*there, out=turned)  # by a copy
    assert {one.stream for one in driver.launches[first:]} == {STREAM}
    expected = call_of(problem, "reference")(*arrays)
    for found in (y, turned):
        check(driver.numpy(found), expected, problem)


def test_nothing_is_measured_meanwhile(driver, monkeypatch, tmp_path):
    monkeypatch.setattr("fastconv.config.answers_directory", lambda: tmp_path)
    problem = parse(PROBLEMS[0][0])
    arrays = [driver.array(one) for one in operands(problem, np.random.default_rng(0))]
    call = call_of(problem, "auto")
    with (
        fastconv.options(mode="measure"),
        driver.capture(),
        pytest.raises(RuntimeError, match=r"cannot measure conv2d.* while a graph is captured: call once before"),
    ):
        call(*arrays)


@pytest.mark.gpu
@pytest.mark.parametrize(("text", "algorithm"), PROBLEMS)
def test_a_graph_of_pytorch(text, algorithm, gpu):
    torch = imported("torch")
    problem, random = parse(text), np.random.default_rng(0)
    call = call_of(problem, algorithm)
    first, second = (operands(problem, random) for _ in range(2))
    there = [torch.tensor(one, device="cuda") for one in first]
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        try:
            call(*there)
        except fastconv.UnsupportedError as error:  # on a device without the instructions
            pytest.skip(str(error))
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        y = call(*there)
    for arrays in (second, first):
        for target, values in zip(there, arrays, strict=True):
            target.copy_(torch.tensor(values))
        graph.replay()
        torch.cuda.synchronize()
        expected = call_of(problem, "reference")(*arrays)
        check(y.cpu().numpy(), expected, problem, loose=10)

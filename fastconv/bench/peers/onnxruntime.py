"""ONNX Runtime, on a model of one node with all its optimisations; a session may repack the weights it is given."""

from __future__ import annotations

from importlib import import_module

import fastconv
from fastconv.bench import onnx_model
from fastconv.bench.operations import Array
from fastconv.bench.peers.peer import Run, check_threads, from_channels_first, is_a_layer, to_channels_first
from fastconv.problem import ConvProblem, PoolProblem, Problem

__all__ = ["conv", "pool"]


def conv(problem: ConvProblem, x: Array, weight: Array, bias: Array) -> Run | str:
    """Return the forward convolution."""
    return _refusal(problem) or _session(problem, onnx_model.convolution(problem, weight, bias), x)


def pool(problem: PoolProblem, x: Array) -> Run | str:
    """Return max or average pooling."""
    if problem.operation == "avg_pool" and set(problem.dilation) != {1}:
        return "onnxruntime's average pooling is asked for without dilation"
    if any(max(ends) >= size for ends, size in zip(problem.padding, problem.kernel, strict=True)):
        return "onnxruntime pads by less than a window"
    return _refusal(problem) or _session(problem, onnx_model.pooling(problem), x)


def _refusal(problem: Problem) -> str:
    if not is_a_layer(problem):
        return "onnxruntime's Conv has no flipped kernels, and no padding but zeros"
    return "" if problem.dtype == "float32" else "onnxruntime is asked for float32 only"


def _session(problem: Problem, model: bytes, x: Array) -> Run:
    onnxruntime = import_module("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = fastconv.get_num_threads()
    options.inter_op_num_threads = 1
    options.log_severity_level = 3  # errors: its shape inference warns where a window of ceil_mode is left out
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    check_threads("onnxruntime", session.get_session_options().intra_op_num_threads)
    feed = {onnx_model.INPUT: to_channels_first(problem, x)}

    def run() -> Array:
        return from_channels_first(problem, session.run(None, feed)[0])

    return run

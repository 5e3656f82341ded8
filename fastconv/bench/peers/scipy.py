"""SciPy: its correlations of single planes, and the filters that are stride-1 pooling."""

from __future__ import annotations

from importlib import import_module

import numpy as np

import fastconv
from fastconv.bench.operations import Array
from fastconv.bench.peers.peer import FLOATS, Run
from fastconv.problem import ConvProblem, PoolProblem, Problem

__all__ = ["correlate", "maximum_filter", "ndimage", "oaconvolve", "uniform_filter"]

BORDERS = {  # fastconv's name -> scipy.ndimage's
    "zeros": "constant",
    "reflect": "mirror",
    "symmetric": "reflect",
    "replicate": "nearest",
    "circular": "grid-wrap",
}


def _refusal(problem: ConvProblem) -> str | None:
    """Refuse everything but an image filter: one plane, one filter, every pixel."""
    ones = {problem.batch, problem.channels, problem.filters, *problem.stride, *problem.dilation}
    if ones != {1} or problem.flip:
        return "scipy filters one plane with one kernel, every pixel"
    return None if problem.dtype in FLOATS else f"scipy is asked for {' and '.join(FLOATS)} only"


def correlate(problem: ConvProblem, x: Array, weight: Array, bias: Array) -> Run | str:
    """Return scipy.signal.correlate, which chooses between the definition and an FFT."""
    return _signal(problem, x, weight, bias, "correlate")


def oaconvolve(problem: ConvProblem, x: Array, weight: Array, bias: Array) -> Run | str:
    """Return scipy.signal.oaconvolve, an FFT by blocks, with the kernel reversed before the clock starts."""
    return _signal(problem, x, np.ascontiguousarray(np.flip(weight)), bias, "oaconvolve")


def _signal(problem: ConvProblem, x: Array, weight: Array, bias: Array, name: str) -> Run | str:
    refusal = _refusal(problem)
    if refusal or problem.padding_mode != "zeros":
        return refusal or "scipy.signal has no border but zeros for this"
    convolve = getattr(import_module("scipy.signal"), name)
    set_workers = import_module("scipy.fft").set_workers
    plane, kernel = x.reshape(problem.size), weight.reshape(problem.kernel)
    padded = any(sum(ends) for ends in problem.padding)

    def run() -> Array:
        image = np.pad(plane, problem.padding) if padded else plane
        with set_workers(fastconv.get_num_threads()):  # the rest of it has one thread
            y: Array = convolve(image, kernel, mode="valid") + bias[0]
        return y.reshape(problem.output_shape)

    return run


def _origin(problem: Problem) -> list[int] | None:
    """Return ndimage's origin: how far the window's centre is moved; None where the output is not of the input's size.

    The window of ndimage begins size // 2 + origin before its element, that of the problem `before`.
    """
    if problem.output_size != problem.size or {*problem.stride, *problem.dilation} != {1}:
        return None
    origin = [before - size // 2 for (before, _), size in zip(problem.padding, problem.kernel, strict=True)]
    allowed = all(-(size // 2) <= one <= (size - 1) // 2 for one, size in zip(origin, problem.kernel, strict=True))
    return origin if allowed else None


def ndimage(problem: ConvProblem, x: Array, weight: Array, bias: Array) -> Run | str:
    """Return scipy.ndimage.correlate, which knows every border and one thread."""
    refusal, origin = _refusal(problem), _origin(problem)
    if refusal or origin is None:
        return refusal or "scipy.ndimage gives an output of the input's size"
    filtered = import_module("scipy.ndimage").correlate
    plane, kernel = x.reshape(problem.size), weight.reshape(problem.kernel)
    mode = BORDERS[problem.padding_mode]

    def run() -> Array:
        y: Array = filtered(plane, kernel, mode=mode, origin=origin) + bias[0]
        return y.reshape(problem.output_shape)

    return run


def maximum_filter(problem: PoolProblem, x: Array) -> Run | str:
    """Return scipy.ndimage.maximum_filter, a running maximum an axis."""
    return _pool(problem, x, "maximum_filter", -np.inf)


def uniform_filter(problem: PoolProblem, x: Array) -> Run | str:
    """Return scipy.ndimage.uniform_filter, a running sum an axis."""
    if any(sum(ends) for ends in problem.padding) and not problem.count_include_pad:
        return "scipy's uniform_filter counts its border"
    return _pool(problem, x, "uniform_filter", 0.0)


def _pool(problem: PoolProblem, x: Array, name: str, border: float) -> Run | str:
    origin = _origin(problem)
    if origin is None or problem.batch * problem.channels != 1 or problem.dtype not in FLOATS:
        return f"scipy.ndimage pools one plane of {' or '.join(FLOATS)} to the same size"
    filtered = getattr(import_module("scipy.ndimage"), name)
    plane = x.reshape(problem.size)

    def run() -> Array:
        y: Array = filtered(plane, problem.kernel, mode="constant", cval=border, origin=origin)
        return y.reshape(problem.output_shape)

    return run

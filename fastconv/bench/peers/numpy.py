"""NumPy, as one would write it without another library: windows by strides, then a matrix product or a reduction."""

from __future__ import annotations

import math
from importlib import import_module

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

import fastconv
from fastconv.bench.operations import Array
from fastconv.bench.peers.peer import FLOATS, Run, check_threads, from_channels_first, to_channels_first
from fastconv.problem import ConvProblem, PoolProblem, Problem

__all__ = ["avg_pool", "conv", "max_pool"]

MOST_BYTES = 2**29  # of the matrix of windows; a user would not come this way with more
PAD_MODES = {  # fastconv's name -> numpy.pad's
    "zeros": "constant",
    "reflect": "reflect",
    "symmetric": "symmetric",
    "replicate": "edge",
    "circular": "wrap",
}


def _set_threads() -> None:
    """Give as many threads to NumPy's matrix product, and check what it says."""
    threadpoolctl = import_module("threadpoolctl")
    threadpoolctl.threadpool_limits(fastconv.get_num_threads(), user_api="blas")
    for library in threadpoolctl.threadpool_info():
        if library["user_api"] == "blas":
            check_threads(library["filepath"].rsplit("/", 1)[-1], library["num_threads"])


def _windows(problem: Problem, padded: Array) -> Array:
    """Return a view (N, C, *output, *kernel) of the padded input."""
    axes = tuple(range(2, padded.ndim))
    fields = [dilation * (size - 1) + 1 for size, dilation in zip(problem.kernel, problem.dilation, strict=True)]
    steps = [slice(None, None, stride) for stride in problem.stride]
    taps = [slice(None, None, dilation) for dilation in problem.dilation]
    return sliding_window_view(padded, fields, axis=axes)[:, :, *steps, *taps]


def conv(problem: ConvProblem, x: Array, weight: Array, bias: Array) -> Run | str:
    """Return im2col and a matrix product: for each group M = K / groups, N = pixels, K = C / groups * taps."""
    taps = problem.channels // problem.groups * math.prod(problem.kernel)
    pixels = problem.batch * math.prod(problem.output_size)
    if x.itemsize * problem.groups * taps * pixels > MOST_BYTES:
        return f"numpy's matrix of windows would take more than {MOST_BYTES >> 20} MiB"
    if problem.flip or problem.dtype not in FLOATS:
        return f"numpy is asked for correlations of {' and '.join(FLOATS)} only"
    _set_threads()
    groups, rank = problem.groups, problem.rank
    planes = to_channels_first(problem, x)
    matrices = weight.reshape(groups, -1, taps)
    ends = [(0, 0), (0, 0), *problem.padding]
    # (N, groups, C / groups, *output, *kernel) -> (groups, C / groups, *kernel, N, *output)
    order = [1, 2, *range(3 + rank, 3 + 2 * rank), 0, *range(3, 3 + rank)]

    def run() -> Array:
        windows = _windows(problem, np.pad(planes, ends, PAD_MODES[problem.padding_mode]))  # type: ignore[call-overload]
        grouped = windows.reshape(problem.batch, groups, -1, *windows.shape[2:])
        columns = grouped.transpose(order).reshape(groups, taps, pixels)
        y = matrices @ columns + bias.reshape(groups, -1, 1)  # type: ignore[operator]
        y = y.reshape(problem.filters, problem.batch, *problem.output_size)
        return from_channels_first(problem, np.moveaxis(y, 0, 1))

    return run


def max_pool(problem: PoolProblem, x: Array) -> Run | str:
    """Return the maximum over each window."""
    return _pool(problem, x, "max", -np.inf)


def avg_pool(problem: PoolProblem, x: Array) -> Run | str:
    """Return the mean over each window."""
    if any(sum(ends) for ends in problem.padding) and not problem.count_include_pad:
        return "numpy's mean counts the padding"
    return _pool(problem, x, "mean", 0.0)


def _pool(problem: PoolProblem, x: Array, name: str, border: float) -> Run | str:
    if problem.ceil_mode or problem.dtype not in FLOATS:
        return f"numpy is asked for whole windows of {' and '.join(FLOATS)} only"
    planes = to_channels_first(problem, x)
    ends = [(0, 0), (0, 0), *problem.padding]
    axes = tuple(range(-problem.rank, 0))

    def run() -> Array:
        windows = _windows(problem, np.pad(planes, ends, constant_values=border))
        return from_channels_first(problem, getattr(windows, name)(axis=axes))

    return run

"""OpenCV's filters, a plane a call: filter2D, and the morphology and box filters that are stride-1 pooling."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from types import ModuleType

import numpy as np

import fastconv
from fastconv.bench.operations import Array
from fastconv.bench.peers.peer import FLOATS, Run, check_threads, from_channels_first, to_channels_first
from fastconv.problem import ConvProblem, PoolProblem, Problem

__all__ = ["avg_pool", "conv", "max_pool"]

MOST_PLANES = 16  # of output; a Python loop over more is nobody's way to do it
BORDERS = {  # it has no circular border for filters
    "zeros": "BORDER_CONSTANT",
    "reflect": "BORDER_REFLECT_101",
    "symmetric": "BORDER_REFLECT",
    "replicate": "BORDER_REPLICATE",
}


def _refusal(problem: Problem, planes: int) -> str | None:
    """Say why not; the output of OpenCV's filters has the size of their input, and a smaller one is cut out of it."""
    ones = {*problem.stride, *problem.dilation, problem.batch}
    fits = all(
        before < size and before + after < size
        for (before, after), size in zip(problem.padding, problem.kernel, strict=True)
    )
    if problem.rank != 2 or ones != {1} or planes > MOST_PLANES:
        return f"cv2 filters one image of {MOST_PLANES} planes at most, every pixel"
    if not fits:
        return "cv2 gives an output of the input's size"
    return None if problem.dtype in FLOATS else f"cv2 is asked for {' and '.join(FLOATS)} only"


def _library() -> ModuleType:
    cv2 = import_module("cv2")
    cv2.setNumThreads(fastconv.get_num_threads())
    check_threads("cv2", cv2.getNumThreads())
    return cv2


def _plane_by_plane(problem: Problem, filters: list[Callable[[], Array]]) -> Run:
    """Return a callable that cuts out what each filter's result has of the output, and stacks them."""
    height, width = problem.output_size

    def run() -> Array:
        if len(filters) == 1:
            return filters[0]()[:height, :width].reshape(problem.output_shape)
        planes = np.empty((1, len(filters), height, width), problem.dtype)
        for index, each in enumerate(filters):
            planes[0, index] = each()[:height, :width]
        return from_channels_first(problem, planes)

    return run


def conv(problem: ConvProblem, x: Array, weight: Array, bias: Array) -> Run | str:
    """Return filter2D on every plane of an image filter: one channel a group."""
    if refusal := _refusal(problem, problem.filters):
        return refusal
    if problem.channels != problem.groups:
        return "cv2 does not add over channels"
    if problem.flip or problem.padding_mode not in BORDERS:
        return "cv2 has no circular border, and no flipped kernels are asked for"
    cv2 = _library()
    border = getattr(cv2, BORDERS[problem.padding_mode])
    (top, _), (left, _) = problem.padding
    planes = to_channels_first(problem, x)[0]
    multiplier = problem.filters // problem.channels

    def one(index: int) -> Callable[[], Array]:
        plane, kernel, delta = planes[index // multiplier], weight[index, 0], float(bias[index])
        return lambda: cv2.filter2D(plane, -1, kernel, anchor=(left, top), delta=delta, borderType=border)

    return _plane_by_plane(problem, [one(index) for index in range(problem.filters)])


def max_pool(problem: PoolProblem, x: Array) -> Run | str:
    """Return dilate with a rectangle, whose border never wins."""
    return _pool(problem, x, lambda cv2, kernel: {"op": cv2.dilate, "kernel": np.ones(kernel, np.uint8)})


def avg_pool(problem: PoolProblem, x: Array) -> Run | str:
    """Return a box filter with zeros around."""
    padded = any(sum(ends) for ends in problem.padding)
    if padded and not problem.count_include_pad:
        return "cv2's box filter counts its border"
    return _pool(
        problem, x, lambda cv2, kernel: {"op": cv2.blur, "ksize": kernel[::-1], "borderType": cv2.BORDER_CONSTANT}
    )


def _pool(
    problem: PoolProblem, x: Array, arguments: Callable[[ModuleType, tuple[int, ...]], dict[str, object]]
) -> Run | str:
    if refusal := _refusal(problem, problem.channels):
        return refusal
    if problem.ceil_mode:
        return "cv2 has no ceil_mode"
    cv2 = _library()
    named = arguments(cv2, problem.kernel)
    operation = named.pop("op")
    assert callable(operation)
    (top, _), (left, _) = problem.padding

    def one(plane: Array) -> Callable[[], Array]:
        return lambda: operation(plane, anchor=(left, top), **named)

    return _plane_by_plane(problem, [one(plane) for plane in to_channels_first(problem, x)[0]])

"""Pooling on a device, by kernels that take any windows, small ones, or whole planes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import NamedTuple

import numpy as np

from fastconv.accuracy import POOLING_ERRORS
from fastconv.arguments import is_floating
from fastconv.cuda.algorithm import HALVES, AnyAlgorithm
from fastconv.cuda.compile import Kernel
from fastconv.cuda.driver import Device
from fastconv.cuda.geometry import Triple, three
from fastconv.cuda.intrinsics import division
from fastconv.cuda.plan import Operand, Plan, Step, Target
from fastconv.cuda.pooling_steps import WARP, any_windows, strips, whole_planes
from fastconv.cuda.unroll import Constant
from fastconv.problem import PoolProblem

_FLOATS = (*HALVES, "float32", "float64")
_INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32")  # of maxima

_THREADS = 256

MOST_OUTPUTS = 2**30 - 1  # what `intrinsics.quotient` divides
MOST_PLANE = 2**31 - 1  # elements of a plane with all its channels: counted in 32 bits

_MOST_TAPS = 49  # of windows that are unrolled: 7x7
_MOST_LOADS = 72  # of a thread: of a longer loop the compiler keeps the rows in local memory
_STRIP = 4  # outputs one below the other of a thread: 3x3 windows then load half of what they would one by one
_WHOLE_ELEMENTS = 8  # of a plane, that each of the threads takes at least


class Place(IntEnum):
    """Where a pooling's plan finds the addresses of its arrays."""

    X = 0
    OUT = 1
    INDICES = 2


class Pooling(AnyAlgorithm[PoolProblem]):
    """Windows of every kind."""

    name = "windows"

    def supports(self, problem: PoolProblem) -> str | None:
        """Refuse types and sizes that no kernel takes."""
        known = (*_FLOATS, *_INTEGERS) if problem.maxima else _FLOATS
        if problem.dtype not in known:
            return f"{self.name} computes {problem.operation} of {', '.join(known)} on a device, not {problem.dtype}"
        outputs = math.prod(problem.output_shape)
        if outputs > MOST_OUTPUTS:
            return f"{self.name} computes at most {MOST_OUTPUTS} outputs on a device, not {outputs}"
        plane = math.prod(problem.size) * _lanes(problem)
        if plane > MOST_PLANE:
            return f"{self.name} takes planes of at most {MOST_PLANE} elements on a device, not {plane}"
        return None

    def workspace(self, problem: PoolProblem, device: Device) -> int:
        """Return 0: nothing lies between."""
        return 0

    def terms(self, problem: PoolProblem, machine: Device) -> dict[str, float]:
        """Predict by what is read and written."""
        elements = math.prod(problem.input_shape) + math.prod(problem.output_shape)
        memory = elements * problem.itemsize / machine.bandwidth
        return {"launches": machine.launch, "memory": memory}

    def error_bound(self, problem: PoolProblem) -> float:
        """Return that of a sum of rows, and 0 of maxima."""
        return 0.0 if problem.maxima else POOLING_ERRORS[problem.dtype]

    def plan(self, problem: PoolProblem, target: Target) -> Plan:
        """Return one launch, on operands in the order of `Place`."""
        return Plan(target, (_step(problem, target),), 0)


def _step(problem: PoolProblem, target: Target) -> Step:
    if _is_whole(problem):
        return _of_planes(problem, target)
    if _is_small(problem):
        return _of_strips(problem, target)
    return _of_any_windows(problem, target)


def _lanes(problem: PoolProblem) -> int:
    """Numbers that lie beside each other for each element of a plane."""
    return problem.channels if problem.layout == "channels_last" else 1


def _planes(problem: PoolProblem) -> int:
    return problem.batch * problem.channels // _lanes(problem)


def _fold(problem: PoolProblem) -> dict[str, Constant]:
    """Return the constants that say what is done with the elements of a window."""
    if problem.maxima:
        lowest = -math.inf if is_floating(problem.dtype) else int(np.iinfo(problem.dtype).min)
        return {"KIND": "max", "NORM": None, "NEUTRAL": lowest}
    if problem.operation != "lp_pool":
        return {"KIND": "sum", "NORM": None, "NEUTRAL": 0}
    if problem.norm_type == math.inf:
        return {"KIND": "magnitude", "NORM": 1, "NEUTRAL": 0}
    return {"KIND": "sum", "NORM": int(problem.norm_type) if problem.norm_type in (1, 2) else 0, "NEUTRAL": 0}


class _Axes(NamedTuple):
    """Three spatial axes, of which those that a problem lacks have one element."""

    size: Triple
    output: Triple
    kernel: Triple
    stride: Triple
    dilation: Triple
    before: Triple
    after: Triple


def _axes(problem: PoolProblem) -> _Axes:
    fields = (problem.size, problem.output_size, problem.kernel, problem.stride, problem.dilation)
    ends = (tuple(pair[side] for pair in problem.padding) for side in (0, 1))
    return _Axes(*(three(field, 1) for field in fields), *(three(end, 0) for end in ends))


def _counted(problem: PoolProblem) -> bool:
    """Whether windows differ in how many of their elements count."""
    if problem.operation not in ("avg_pool", "adaptive_avg_pool") or problem.divisor_override is not None:
        return False
    return problem.adaptive or problem.ceil_mode or (not problem.count_include_pad and any(map(any, problem.padding)))


def _divisor(problem: PoolProblem) -> int:
    return problem.divisor_override or math.prod(problem.kernel)


def _launch(
    target: Target,
    function: Callable[..., None],
    problem: PoolProblem,
    constants: Mapping[str, Constant],
    threads: int,
    numbers: tuple[float, ...],
) -> Step:
    """Return the launch of so many threads; `numbers` are all arguments behind the pointers."""
    kernel = Kernel(function, problem.dtype, _THREADS, constants={**_fold(problem), **constants})
    pointers = [Operand(place) for place in Place][: kernel.pointers]
    return target.step(kernel, (-(-threads // _THREADS), 1, 1), pointers, numbers)


def _of_any_windows(problem: PoolProblem, target: Target) -> Step:
    axes, lanes, counted = _axes(problem), _lanes(problem), _counted(problem)
    count = math.prod(problem.output_shape)
    divisors = (number for size in axes.output for number in division(size))
    ends = (size + after for size, after in zip(axes.size, axes.after, strict=True))
    return _launch(
        target,
        any_windows,
        problem,
        {
            "ADAPTIVE": problem.adaptive,
            "INDICES": problem.indices,
            "COUNTED": counted,
            "PADDED": counted and not problem.adaptive and problem.count_include_pad,
        },
        count,
        (
            *(count, lanes, *division(lanes), *axes.size, *axes.output, *divisors),
            *(*axes.kernel, *axes.stride, *axes.dilation, *axes.before, *ends),
            *(_divisor(problem), problem.norm_type or 1.0),
        ),
    )


def _is_small(problem: PoolProblem) -> bool:
    """Whether windows are few elements of planes, and lie so that strips of them share rows."""
    axes = _axes(problem)
    if (
        problem.adaptive
        or problem.indices
        or axes.size[0] > 1
        or axes.kernel[0] > 1
        or any(map(sum, problem.padding[:-2]))
    ):
        return False
    if problem.operation == "lp_pool" and problem.norm_type not in (1, 2, math.inf):
        return False
    return (
        set(axes.dilation) == {1}
        and math.prod(axes.kernel) <= _MOST_TAPS
        and all(stride <= kernel for stride, kernel in zip(axes.stride, axes.kernel, strict=True))
    )


def _rows(axes: _Axes) -> int:
    """How many outputs one below the other a thread computes."""
    rows = min(_STRIP, axes.output[1])
    while rows > 1 and _span(axes, rows) * axes.kernel[2] > _MOST_LOADS:
        rows -= 1
    return rows


def _span(axes: _Axes, rows: int) -> int:
    """Rows of the input that so many rows of the output see."""
    return (rows - 1) * axes.stride[1] + axes.kernel[1]


def _of_strips(problem: PoolProblem, target: Target) -> Step:
    axes, lanes, counted = _axes(problem), _lanes(problem), _counted(problem)
    rows = _rows(axes)
    per_plane = -(-axes.output[1] // rows)
    length = axes.output[2] * lanes
    count = _planes(problem) * per_plane * length
    include = problem.count_include_pad and not problem.adaptive
    begins = [-before if include else 0 for before in axes.before[1:]]
    ends = [size + (after if include else 0) for size, after in zip(axes.size[1:], axes.after[1:], strict=True)]
    return _launch(
        target,
        strips,
        problem,
        {
            "COUNTED": counted,
            "SIDE_BY_SIDE": lanes > 1,
            "ROWS": rows,
            "SPAN": _span(axes, rows),
            "KERNEL_HEIGHT": axes.kernel[1],
            "KERNEL_WIDTH": axes.kernel[2],
            "STRIDE_HEIGHT": axes.stride[1],
            "STRIDE_WIDTH": axes.stride[2],
        },
        count,
        (
            *(count, lanes, *division(lanes), *axes.size[1:], *axes.output[1:]),
            *(length, *division(length), per_plane, *division(per_plane)),
            *(*axes.before[1:], *begins, *ends, _divisor(problem)),
        ),
    )


def _is_whole(problem: PoolProblem) -> bool:
    """Whether planes of contiguous elements become one number each."""
    return (
        problem.kernel == problem.size
        and set(problem.output_size) == {1}
        and set(problem.dilation) == {1}
        and _lanes(problem) == 1
        and not problem.indices
        and not any(map(any, problem.padding))
        and (problem.operation != "lp_pool" or problem.norm_type in (1, 2, math.inf))
        and problem.dtype in _FLOATS
    )


def _of_planes(problem: PoolProblem, target: Target) -> Step:
    elements, planes = math.prod(problem.size), _planes(problem)
    partners = WARP
    while partners > 1 and elements < partners * _WHOLE_ELEMENTS:
        partners //= 2
    constants = {"PARTNERS": partners}
    return _launch(target, whole_planes, problem, constants, planes * partners, (planes, elements, _divisor(problem)))

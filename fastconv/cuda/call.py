"""From arguments as a user gives them to a run of an algorithm on a device: the counterpart of `fastconv.call`."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np

from fastconv import config
from fastconv.call import NATIVE, as_key, called, keep
from fastconv.cuda import place as places
from fastconv.cuda import plan as plans
from fastconv.cuda.algorithm import Algorithm
from fastconv.cuda.arrays import DeviceArray, Library, library_of
from fastconv.cuda.packing import copied, copy
from fastconv.cuda.plan import Plan


@dataclass(frozen=True, slots=True, eq=False)
class _Call:
    """What a call needs that its shapes, types and arguments decide."""

    shape: tuple[int, ...]  # of the result
    bias_shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    plan: Plan | None  # None: there are no images


_calls: dict[Hashable, _Call] = {}


def convolve(
    rank: int,
    x: object,
    weight: object,
    bias: object,
    residual: object,
    arguments: tuple[object, ...],
    out: object,
) -> object:
    """Do what `fastconv.call.convolve` does, where x is on a device: the result is there, and of x's library."""
    library = library_of(x)
    images = library.look(x)
    filters = operand(weight, "weight", images)
    has_bias, has_residual = bias is not None, residual is not None
    settings, device = config.settings(), images.device
    key = as_key(arguments)
    place = (rank, images.shape, filters.shape, images.dtype, key, has_bias, has_residual, device, settings)
    call = _calls.get(place)
    if call is None:
        call = keep(_calls, place, _prepare(rank, images, filters, arguments, has_bias, has_residual))
    terms = [
        None if value is None else addend(value, name, images, shape)
        for value, name, shape in ((bias, "bias", call.bias_shape), (residual, "residual", call.shape))
    ]
    (result,) = run(call.plan, library, (images, filters, *terms), [(call.shape, call.dtype)], out)
    return result


def operand(value: object, name: str, x: DeviceArray) -> DeviceArray:
    """Look at an argument that belongs to x; refuse one that is elsewhere or of another type."""
    found = beside(value, name, x)
    if found.dtype != x.dtype:
        raise TypeError(f"{name} must have the type of x, {x.dtype}, on a device, got {found.dtype}")
    return found


def beside(value: object, name: str, x: DeviceArray) -> DeviceArray:
    """Look at an argument on a device; refuse one that is on another one than x."""
    found = library_of(value).look(value)
    if found.device != x.device:
        raise ValueError(f"{name} must be on device {x.device} as x is, got one on device {found.device}")
    return found


def addend(value: object, name: str, x: DeviceArray, shape: tuple[int, ...]) -> DeviceArray:
    """Look at an argument of a known shape."""
    found = operand(value, name, x)
    if found.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {found.shape}")
    return found


def run(
    plan: Plan | None,
    library: Library,
    arguments: Sequence[DeviceArray | None],
    results: Sequence[tuple[tuple[int, ...], np.dtype[np.generic]]],
    out: object,
) -> list[object]:
    """Run a plan on arguments, results and workspace, in this order, and return the results.

    The first argument is x, on whose stream everything runs. Results are new arrays of its library with these shapes
    and types; `out`, if it is given, receives the first. Where a plan is None there is nothing to compute.
    """
    x = arguments[0]
    assert x is not None
    stream = library.stream(x)
    dense = [None if each is None else copied(each, library, stream) for each in arguments]
    if out is None:
        target = None
        written = [library.look(library.empty(x, shape, dtype)) for shape, dtype in results]
    else:
        target = checked_out(out, x, *results[0])
        held = not target.dense or any(overlap(target, each) for each in dense if each is not None)
        first = library.look(library.empty(x, *results[0])) if held else target
        written = [first, *(library.look(library.empty(x, shape, dtype)) for shape, dtype in results[1:])]
    if plan is not None:
        scratch = library.look(library.empty(x, (plan.workspace,), _BYTE)) if plan.workspace else None
        plan.run([0 if each is None else each.pointer for each in (*dense, *written, scratch)], stream)
        if target is not None and target is not written[0]:
            copy(written[0], target, stream)
    return [each.owner for each in (target or written[0], *written[1:])]


_BYTE = np.dtype(np.uint8)


def checked_out(out: object, x: DeviceArray, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> DeviceArray:
    """Look at an array that receives a result of this shape and type."""
    found = beside(out, "out", x)
    if found.shape != shape:
        raise ValueError(f"out must have shape {shape}, got {found.shape}")
    if found.dtype != dtype:
        raise TypeError(f"out must have type {dtype}, got {found.dtype}")
    return found


def overlap(one: DeviceArray, other: DeviceArray) -> bool:
    """Whether the memory that two arrays span has a byte in common."""
    (first, last), (start, stop) = one.extent, other.extent
    return max(first, start) < min(last, stop)


def _prepare(
    rank: int, x: DeviceArray, weight: DeviceArray, arguments: tuple[object, ...], bias: bool, residual: bool
) -> _Call:
    problem, batched, named, algorithm, limit = called(rank, x, weight, arguments)
    target = plans.target(x.device)
    chosen = cast("Algorithm", places.chosen(problem, algorithm, limit, target, library_of(x.owner).stream(x)))
    plan = chosen.plan(problem, named, bias, residual, target) if problem.batch else None
    shape = problem.output_shape if batched else problem.output_shape[1:]
    return _Call(shape, (problem.filters,), NATIVE[problem.dtype], plan)


def clear() -> None:
    """Forget calls."""
    _calls.clear()

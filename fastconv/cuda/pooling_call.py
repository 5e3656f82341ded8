"""From arguments as a user gives them to a pooling on a device: the counterpart of `fastconv.pooling.call`."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import cast

from fastconv import config
from fastconv.call import as_key, keep
from fastconv.cuda import place as places
from fastconv.cuda import plan as plans
from fastconv.cuda.arrays import DeviceArray, Library, library_of, seen_as
from fastconv.cuda.call import run
from fastconv.cuda.packing import copied
from fastconv.cuda.plan import Plan
from fastconv.cuda.pooling import Pooling
from fastconv.pooling.call import called
from fastconv.pooling.others import shape_of_depths
from fastconv.pooling.outputs import global_arguments
from fastconv.problem import image_shape


@dataclass(frozen=True, slots=True, eq=False)
class _Call:
    """What a call needs that its shape, type and arguments decide."""

    results: list[tuple[tuple[int, ...], str]]
    plan: Plan | None  # None: the result is empty


_calls: dict[Hashable, _Call] = {}


def clear() -> None:
    """Forget calls."""
    _calls.clear()


def pool(
    operation: str,
    rank: int | None,
    x: object,
    arguments: tuple[object, ...],
    return_indices: object,
    layout: object,
    algorithm: object,
    out: object,
) -> tuple[object, object | None]:
    """Do what `fastconv.pooling.call.pool` does, where x is on a device: the results are there, and of x's library."""
    library = library_of(x)
    return _pooled(library, library.look(x), operation, rank, arguments, return_indices, layout, algorithm, out)


def pool_globally(
    operation: str, x: object, norm_type: object, keepdims: bool, layout: object, algorithm: object, out: object
) -> object:
    """Pool whole planes; where axes are not kept the result is (N, C)."""
    library = library_of(x)
    images = library.look(x)
    batch, channels, *size = image_shape(images.shape, "x", cast("str", layout))
    arguments = global_arguments(operation, tuple(size), norm_type)
    reshaped = _as_it_is if keepdims else lambda _: (batch, channels)
    return _pooled(library, images, operation, None, arguments, False, layout, algorithm, out, reshaped)[0]


def pool_channels(
    operation: str, x: object, arguments: tuple[object, ...], layout: str, algorithm: object, out: object
) -> object:
    """Pool windows of channels: of the same numbers, seen in another shape."""
    library = library_of(x)
    images = library.look(x)
    batch, channels, *size = image_shape(images.shape, "x", layout)
    shape = shape_of_depths(batch, channels, size, layout)
    depths = seen_as(copied(images, library, library.stream(images)), shape)

    def reshaped(found: tuple[int, ...]) -> tuple[int, ...]:
        return (batch, found[1], *size) if layout == "channels_first" else (batch, *size, found[1])

    return _pooled(library, depths, operation, 1, arguments, False, "channels_last", algorithm, out, reshaped)[0]


def _as_it_is(shape: tuple[int, ...]) -> tuple[int, ...]:
    return shape


def _pooled(
    library: Library,
    images: DeviceArray,
    operation: str,
    rank: int | None,
    arguments: tuple[object, ...],
    return_indices: object,
    layout: object,
    algorithm: object,
    out: object,
    reshaped: Callable[[tuple[int, ...]], tuple[int, ...]] = _as_it_is,
) -> tuple[object, object | None]:
    """Pool; `reshaped` makes the result's shape of the problem's."""
    key = as_key((*arguments, return_indices, layout, algorithm))
    place = (operation, rank, images.shape, images.dtype, key, images.device, config.settings())
    call = _calls.get(place)
    if call is None:
        call = keep(_calls, place, _prepare(operation, rank, images, arguments, return_indices, layout, algorithm))
    results = [(reshaped(shape), dtype) for shape, dtype in call.results]
    found = run(call.plan, library, (images,), results, out)
    return found[0], found[1] if len(found) > 1 else None


def _prepare(
    operation: str,
    rank: int | None,
    x: DeviceArray,
    arguments: tuple[object, ...],
    return_indices: object,
    layout: object,
    algorithm: object,
) -> _Call:
    problem, batched = called(operation, rank, x, arguments, return_indices, layout)
    target = plans.target(x.device)
    limit = config.tolerance_in_force(problem)
    chosen = cast("Pooling", places.chosen(problem, algorithm, limit, target, library_of(x.owner).stream(x)))
    plan = None if 0 in problem.output_shape else chosen.plan(problem, target)
    found = problem.output_shape if batched else problem.output_shape[1:]
    return _Call([(found, problem.dtype), (found, "int64")][: 1 + problem.indices], plan)

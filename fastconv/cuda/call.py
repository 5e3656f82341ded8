"""From arguments as a user gives them to a run of an algorithm on a device: the counterpart of `fastconv.call`."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import cast

from fastconv import config
from fastconv.call import as_key, called, keep
from fastconv.config import Settings
from fastconv.cuda import place as places
from fastconv.cuda import plan as plans
from fastconv.cuda.algorithm import Algorithm
from fastconv.cuda.arrays import DeviceArray, Library, library_of
from fastconv.cuda.packing import copied, copy
from fastconv.cuda.plan import Plan


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """What a call needs that its shapes, types and arguments decide."""

    shape: tuple[int, ...]  # of the result
    bias_shape: tuple[int, ...]
    dtype: str
    plan: Plan | None  # None: there are no images


_calls: dict[Hashable, Call] = {}


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
    filters = operand(library_of(weight).look(weight), "weight", images)
    call = prepared(rank, images, filters, arguments, as_key(arguments), config.settings())
    term = addend(bias, "bias", images, call.bias_shape)
    added = addend(residual, "residual", images, call.shape)
    (result,) = run(call.plan, library, (images, filters, term, added), [(call.shape, call.dtype)], out)
    return result


def prepared(
    rank: int, x: DeviceArray, weight: DeviceArray, arguments: tuple[object, ...], key: Hashable, settings: Settings
) -> Call:
    """Return the call for these arrays; `key` is what `as_key` makes of the arguments."""
    place = (rank, x.shape, weight.shape, x.dtype, key, x.device, settings)
    return _calls.get(place) or keep(_calls, place, _prepare(rank, x, weight, arguments))


def operand(found: DeviceArray, name: str, x: DeviceArray, first: str = "x") -> DeviceArray:
    """Return an argument that belongs to x, called `first`; refuse one that is elsewhere or of another type."""
    beside(found, name, x, first)
    if found.dtype != x.dtype:
        raise TypeError(f"{name} must have the type of {first}, {x.dtype}, on a device, got {found.dtype}")
    return found


def beside(found: DeviceArray, name: str, x: DeviceArray, first: str = "x") -> DeviceArray:
    """Return an argument on a device; refuse one that is on another one than x."""
    if found.device != x.device:
        raise ValueError(f"{name} must be on device {x.device} as {first} is, got one on device {found.device}")
    return found


def addend(value: object, name: str, x: DeviceArray, shape: tuple[int, ...], first: str = "x") -> DeviceArray | None:
    """Look at an argument of a known shape, which may be None."""
    if value is None:
        return None
    found = operand(library_of(value).look(value), name, x, first)
    if found.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {found.shape}")
    return found


def run(
    plan: Plan | None,
    library: Library,
    arguments: Sequence[DeviceArray | None],
    results: Sequence[tuple[tuple[int, ...], str]],
    out: object,
    packed: DeviceArray | None = None,
) -> list[object]:
    """Run a plan on arguments, results, workspace and packed weights, in this order, and return the results.

    The first argument is x, on whose stream everything runs. Results are new arrays of its library with these shapes
    and types; `out`, if it is given, receives the first. Where a plan is None there is nothing to compute. Weights are
    packed first, unless they are `packed`.
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
        anew = bool(plan.packed) and packed is None
        packed = memory(library, x, plan.packed) if anew else packed
        scratch = memory(library, x, plan.workspace)
        addresses = [0 if each is None else each.pointer for each in (*dense, *written, scratch, packed)]
        if anew:
            plan.pack(addresses, stream)
        plan.run(addresses, stream)
        if target is not None and target is not written[0]:
            copy(written[0], target, stream)
    return [each.owner for each in (target or written[0], *written[1:])]


def memory(library: Library, like: DeviceArray, size: int) -> DeviceArray | None:
    """Return so many bytes on the device of an array; None if there are none."""
    return library.look(library.empty(like, (size,), "uint8")) if size else None


def checked_out(out: object, x: DeviceArray, shape: tuple[int, ...], dtype: str) -> DeviceArray:
    """Look at an array that receives a result of this shape and type."""
    found = beside(library_of(out).look(out), "out", x)
    if found.shape != shape:
        raise ValueError(f"out must have shape {shape}, got {found.shape}")
    if found.dtype != dtype:
        raise TypeError(f"out must have type {dtype}, got {found.dtype}")
    if found.read_only:
        raise ValueError("out must be writeable, got a read-only array")
    return found


def overlap(one: DeviceArray, other: DeviceArray) -> bool:
    """Whether the memory that two arrays span has a byte in common."""
    (first, last), (start, stop) = one.extent, other.extent
    return max(first, start) < min(last, stop)


def _prepare(rank: int, x: DeviceArray, weight: DeviceArray, arguments: tuple[object, ...]) -> Call:
    problem, batched, named, algorithm, limit = called(rank, x, weight, arguments)
    target = plans.target(x.device)
    chosen = cast("Algorithm", places.chosen(problem, algorithm, limit, target, library_of(x.owner).stream(x)))
    plan = chosen.plan(problem, named, target) if problem.batch else None
    shape = problem.output_shape if batched else problem.output_shape[1:]
    return Call(shape, (problem.filters,), problem.dtype, plan)


def clear() -> None:
    """Forget calls."""
    _calls.clear()

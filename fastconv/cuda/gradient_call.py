"""From the arguments of a gradient to a run on a device: the counterpart of `fastconv.gradient_call`."""

from __future__ import annotations

from collections.abc import Hashable
from typing import cast

from fastconv import config
from fastconv.call import keep
from fastconv.cuda import place as places
from fastconv.cuda import plan as plans
from fastconv.cuda.algorithm import Algorithm
from fastconv.cuda.arrays import DeviceArray, library_of
from fastconv.cuda.call import Call, addend, operand, run
from fastconv.gradient_call import Request

_calls: dict[Hashable, Call] = {}


def clear() -> None:
    """Forget calls."""
    _calls.clear()


def compute(request: Request, first: object, second: object, bias: object, out: object) -> object:
    """Do what `fastconv.gradient_call.compute` does, where the first array is on a device, and of its library."""
    name, other_name = request.names
    library = library_of(first)
    one = library.look(first)
    other = operand(library_of(second).look(second), other_name, one, name)
    place = (one.shape, other.shape, one.dtype, one.device, request.key(), config.settings())
    call = _calls.get(place) or keep(_calls, place, _prepare(request, one, other))
    term = addend(bias, "bias", one, call.bias_shape, name)
    (result,) = run(call.plan, library, (one, other, term, None), [(call.shape, call.dtype)], out)
    return result


def _prepare(request: Request, first: DeviceArray, second: DeviceArray) -> Call:
    problem, batched = request.asked(first, second)
    limit = config.tolerance_in_force(problem, request.tolerance)
    target = plans.target(first.device)
    stream = library_of(first.owner).stream(first)
    chosen = cast("Algorithm", places.chosen(problem, request.algorithm, limit, target, stream))
    shape = problem.result_shape
    plan = None if 0 in shape else chosen.plan(problem, None, target)
    if problem.direction == "input_gradient" and not batched:
        shape = shape[1:]
    return Call(shape, (problem.channels,), problem.dtype, plan)

"""From arguments as a user gives them to a run of an algorithm for poolings: what all functions here share."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np

from fastconv import config, memory, verbose
from fastconv.arguments import Padding, PerAxis, dtype_name, native_dtype, truth
from fastconv.call import (
    Array,
    Shaped,
    array,
    as_key,
    checked_out,
    dense,
    has_batch_axis,
    keep,
    needs_a_copy,
    options,
)
from fastconv.devices import all_on_device
from fastconv.problem import PoolProblem

if TYPE_CHECKING:
    from fastconv.algorithm import PoolAlgorithm, PoolRun


@dataclass(frozen=True)
class Windows:
    """The arguments of a pooling of windows, as a user gives them."""

    kernel_size: object
    stride: object = None
    padding: object = 0
    dilation: object = 1
    ceil_mode: object = False
    count_include_pad: object = True
    divisor_override: object = None
    norm_type: object = None


@dataclass(frozen=True, slots=True, eq=False)
class _Call:
    """What a call needs that its shape, type and arguments decide."""

    dtype: np.dtype[np.generic]
    shape: tuple[int, ...]  # of the result
    empty: Callable[[Array], Array]  # makes one, beside the images
    run: PoolRun | None  # None: the result is empty
    indices: bool


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
) -> tuple[Array, Array | None]:
    """Validate, make the problem, choose the algorithm (unless an earlier call did all that), run it.

    `arguments` are those of `Windows` in its order, or the output size of an adaptive pooling. Where `rank` is None
    any will do, and the batch axis must be there.
    """
    if type(x) is not np.ndarray and all_on_device(x=x, out=out):
        from fastconv.cuda import pooling_call as device  # not before such an array arrives

        on_device = device.pool(operation, rank, x, arguments, return_indices, layout, algorithm, out)
        return cast("tuple[Array, Array | None]", on_device)  # of x's library
    images = array(x, "x")
    key = as_key((*arguments, return_indices, layout, algorithm))
    place = (operation, rank, images.shape, images.dtype, key, config.settings())
    call = _calls.get(place)
    if call is None:
        call = keep(_calls, place, _prepare(operation, rank, images, arguments, return_indices, layout, algorithm))
    images = dense(images, call.dtype)
    if out is None:
        target = written = call.empty(images)
    else:
        target = written = checked_out(out, call.shape, call.dtype)
        if needs_a_copy(target, (images,)):
            written = call.empty(images)
    indices = memory.empty(call.shape, np.int64, images) if call.indices else None
    if call.run is not None:
        call.run(images, written, indices)
    if written is not target:
        target[...] = written
    return target, indices


def _prepare(
    operation: str,
    rank: int | None,
    x: Array,
    arguments: tuple[object, ...],
    return_indices: object,
    layout: object,
    algorithm: object,
) -> _Call:
    problem, batched = called(operation, rank, x, arguments, return_indices, layout)
    limit = config.tolerance_in_force(problem)
    chosen = cast("PoolAlgorithm", options(problem, algorithm, limit)[-1])
    empty = 0 in problem.output_shape
    run = None if empty else verbose.told(chosen.prepared(problem), problem, chosen.name)
    if run is not None and not batched:
        run = _with_batch_axis(run)
    shape = problem.output_shape if batched else problem.output_shape[1:]
    dtype = native_dtype(problem.dtype)
    return _Call(dtype, shape, memory.maker(shape, dtype), run, problem.indices)


def called(
    operation: str, rank: int | None, x: Shaped, arguments: tuple[object, ...], return_indices: object, layout: object
) -> tuple[PoolProblem, bool]:
    """Return the problem of the arguments of :func:`pool`, wherever x is, and whether it has a batch axis."""
    batched = rank is None or has_batch_axis(x, rank)
    shape = x.shape if batched else (1, *x.shape)
    dtype, indices = dtype_name(x.dtype, "x"), truth(return_indices, "return_indices")
    return _problem(operation, shape, dtype, arguments, indices, cast("str", layout)), batched


def _problem(
    operation: str, shape: tuple[int, ...], dtype: str, arguments: tuple[object, ...], indices: bool, layout: str
) -> PoolProblem:
    if operation.startswith("adaptive"):
        (output_size,) = arguments
        return PoolProblem.from_output_size(
            operation, shape, cast("int", output_size), dtype, layout=layout, indices=indices
        )
    windows = Windows(*arguments)
    return PoolProblem.from_shape(
        operation,
        shape,
        cast(PerAxis, windows.kernel_size),
        dtype,
        stride=cast("PerAxis | None", windows.stride),
        padding=cast(Padding, windows.padding),
        dilation=cast(PerAxis, windows.dilation),
        ceil_mode=cast(bool, windows.ceil_mode),
        count_include_pad=cast(bool, windows.count_include_pad),
        divisor_override=cast("int | None", windows.divisor_override),
        norm_type=cast("float | None", windows.norm_type),
        layout=layout,
        indices=indices,
    )


def _with_batch_axis(run: PoolRun) -> PoolRun:
    def run_one(x: Array, out: Array, indices: Array | None) -> None:
        run(x[np.newaxis], out[np.newaxis], None if indices is None else indices[np.newaxis])

    return run_one

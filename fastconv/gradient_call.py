"""From the arguments of a gradient to a run of an algorithm: what gradients and transposed convolutions share."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np

from fastconv import config, memory, verbose
from fastconv.arguments import dtype_name, integer, native_dtype, per_axis, shape
from fastconv.call import (
    Array,
    Shaped,
    array,
    as_addend,
    as_key,
    check_weight_axes,
    checked_out,
    dense,
    has_batch_axis,
    keep,
    needs_a_copy,
    options,
    problem_of,
    result_type,
)
from fastconv.devices import all_on_device
from fastconv.errors import UnsupportedError
from fastconv.problem import ConvProblem
from fastconv.reference._windows import transposed_size
from fastconv.reference.transposed import check_transposed_shapes, checked_output_padding

if TYPE_CHECKING:
    from fastconv.algorithm import Algorithm


class Asked(NamedTuple):
    """What a call asks for, wherever its arrays are."""

    problem: ConvProblem
    batched: bool  # whether arrays have a batch axis


@dataclass(frozen=True)
class Request:
    """A gradient as a user asks for it, without its arrays."""

    direction: str
    rank: int
    size: object  # of what it is by: `input_size` or `weight_size`
    of_problem: tuple[object, ...]  # the arguments from stride to precision
    algorithm: object
    tolerance: float | None

    @property
    def names(self) -> tuple[str, str]:
        """What the arrays are called, in the order of `ConvProblem.operand_shapes`."""
        return ("grad_output", "weight") if self.direction == "input_gradient" else ("x", "grad_output")

    def key(self) -> Hashable:
        """Return what tells requests apart."""
        own = self.direction, self.rank, self.size, *self.of_problem, self.algorithm, self.tolerance
        return type(self), as_key(own)

    def asked(self, first: Shaped, second: Shaped) -> Asked:
        """Validate, and return what is asked for."""
        for name, each in zip(self.names, (first, second), strict=True):
            dtype_name(each.dtype, name)
        by_input = self.direction == "input_gradient"
        size = shape(self.size, "input_size" if by_input else "weight_size")
        if by_input:
            check_weight_axes(second, self.rank)
            batched = _has_batch_axis(size, "input_size", self.rank)
            sizes = size, second.shape
        else:
            if len(size) != self.rank + 2:
                raise ValueError(
                    f"weight_size must have {self.rank + 2} numbers, (filters, channels / groups, *kernel), got {size}"
                )
            batched = has_batch_axis(first, self.rank)
            sizes = first.shape, size
        images = sizes[0] if batched else (1, *sizes[0])
        forward = problem_of(images, sizes[1], first.dtype, second.dtype, self.of_problem)
        given, wanted = (first if by_input else second).shape, forward.output_shape
        if given != (wanted if batched else wanted[1:]):
            raise ValueError(
                f"grad_output must have the output's shape {wanted if batched else wanted[1:]}, got {given}"
            )
        return Asked(replace(forward, direction=self.direction), batched)


@dataclass(frozen=True)
class TransposedRequest(Request):
    """A transposed convolution as a user asks for it: the gradient by the input of one that leaves an output like x."""

    # `size` is the output_padding

    @property
    def names(self) -> tuple[str, str]:
        """What the arrays are called."""
        return "x", "weight"

    def asked(self, first: Shaped, second: Shaped) -> Asked:
        """Validate, and return what is asked for."""
        for name, each in zip(self.names, (first, second), strict=True):
            dtype_name(each.dtype, name)
        stride, padding, dilation, groups, padding_mode, flip, layout, precision = self.of_problem
        batched = has_batch_axis(first, self.rank)
        images = first.shape if batched else (1, *first.shape)
        last = layout == "channels_last"
        size = images[1:-1] if last else images[2:]
        groups = integer(groups, "groups", 1)
        check_transposed_shapes((images[0], images[-1 if last else 1], *size), second.shape, groups)
        kernel = second.shape[2:]
        strides = per_axis(stride, self.rank, "stride", 1)
        dilations = per_axis(dilation, self.rank, "dilation", 1)
        extra = checked_output_padding(self.size, strides, dilations)
        output, pairs = transposed_size(size, kernel, strides, padding, dilations, extra)
        pairs = tuple(map(_absorbed, pairs, strides, extra))
        channels = second.shape[1] * groups
        shape_ = (images[0], *output, channels) if last else (images[0], channels, *output)
        of_problem = (strides, pairs, dilations, groups, padding_mode, flip, layout, precision)
        forward = problem_of(shape_, second.shape, first.dtype, second.dtype, of_problem)
        assert forward.output_shape == images
        return Asked(replace(forward, direction=self.direction), batched)


def _absorbed(pair: tuple[int, int], stride: int, extra: int) -> tuple[int, int]:
    """Padding of which as much is left out as a convolution would find room for one more window in."""
    before, after = pair
    too_much = max(0, extra - (stride - 1))
    if too_much > after:
        raise UnsupportedError(
            f"output_padding must be less than the stride ({stride}) and the padding after ({after}) together, got "
            f"{extra}: beyond, only fastconv.reference.conv_transpose computes it"
        )
    return before, after - too_much


def _has_batch_axis(size: tuple[int, ...], name: str, rank: int) -> bool:
    if len(size) not in (rank + 1, rank + 2):
        raise ValueError(f"{name} must have {rank + 2} numbers, or {rank + 1} for one image, got {size}")
    return len(size) == rank + 2


@dataclass(frozen=True, slots=True, eq=False)
class _Call:
    """What a call needs that its shapes, types and arguments decide."""

    operand: np.dtype[np.generic]
    result: np.dtype[np.generic]
    shape: tuple[int, ...]  # of the result
    empty: Callable[[Array], Array]  # makes one, beside the first operand
    bias_shape: tuple[int, ...]
    run: Callable[[Array, Array, Array | None, Array], None] | None  # None: the result is empty


_calls: dict[Hashable, _Call] = {}


def clear() -> None:
    """Forget calls."""
    _calls.clear()


def compute(request: Request, first: object, second: object, bias: object, out: object) -> Array:
    """Validate, make the problem, choose the algorithm (unless an earlier call did all that), run it."""
    names = request.names
    plain = type(first) is type(second) is np.ndarray
    if not plain and all_on_device(**{names[0]: first, names[1]: second}, bias=bias, out=out):
        from fastconv.cuda import gradient_call as device  # not before such an array arrives

        return cast("Array", device.compute(request, first, second, bias, out))  # of the first array's library
    one, other = array(first, names[0]), array(second, names[1])
    place = (one.shape, other.shape, one.dtype, other.dtype, request.key(), config.settings())
    call = _calls.get(place) or keep(_calls, place, _prepare(request, one, other))
    term = None if bias is None else as_addend(bias, call.bias_shape, call.result, "bias")
    one, other = dense(one, call.operand), dense(other, call.operand)
    if out is None:
        target = written = call.empty(one)
    else:
        target = written = checked_out(out, call.shape, call.result)
        if needs_a_copy(target, (one, other, term)):
            written = call.empty(one)
    if call.run is not None:
        call.run(one, other, term, written)
    if written is not target:
        target[...] = written
    return target


def _prepare(request: Request, first: Array, second: Array) -> _Call:
    problem, batched = request.asked(first, second)
    limit = config.tolerance_in_force(problem, request.tolerance)
    chosen = cast("Algorithm", options(problem, request.algorithm, limit)[-1])
    result = result_type(problem)
    shape = problem.result_shape
    run = None if 0 in shape else verbose.told(chosen.prepared(problem, None), problem, chosen.name)
    by_input = problem.direction == "input_gradient"
    if by_input and not batched:
        shape = shape[1:]

    def run_so(one: Array, other: Array, bias: Array | None, out: Array) -> None:
        assert run is not None
        if not batched:
            one, other = one[np.newaxis], other if by_input else other[np.newaxis]
            out = out[np.newaxis] if by_input else out
        run(one, other, bias, None, out)

    operand, empty = native_dtype(problem.dtype), memory.maker(shape, result)
    return _Call(operand, result, shape, empty, (problem.channels,), run and run_so)

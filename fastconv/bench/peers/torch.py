"""PyTorch, on plain tensors of one memory format.

The tensors are made in inference mode, which takes autograd out of every call on them. Entering the
mode around each call would charge PyTorch some 5 us that its users pay once.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from types import ModuleType

import fastconv
from fastconv.bench.operations import Array
from fastconv.bench.peers.peer import (
    FLOATS,
    Prepare,
    Run,
    check_threads,
    from_channels_first,
    has_equal_ends,
    is_a_layer,
    to_channels_first,
)
from fastconv.problem import ConvProblem, PoolProblem, Problem

__all__ = [
    "adaptive_avg_pool",
    "adaptive_max_pool",
    "avg_pool",
    "conv",
    "conv_input_gradient",
    "conv_weight_gradient",
    "max_pool",
]

CONTIGUOUS, CHANNELS_LAST = "contiguous_format", "channels_last"
PAD_MODES = {"zeros": "constant", "reflect": "reflect", "replicate": "replicate", "circular": "circular"}


def _refusal(problem: Problem, memory_format: str) -> str | None:
    if problem.dtype not in FLOATS:
        return f"torch is asked for {' and '.join(FLOATS)} only"
    if memory_format == CHANNELS_LAST and problem.rank != 2:
        return "torch's channels_last is for two dimensions"
    return None


def _library() -> ModuleType:
    """Return the module with its threads set."""
    torch = import_module("torch")
    torch.set_num_threads(fastconv.get_num_threads())
    check_threads("torch", torch.get_num_threads())
    return torch


def _tensors(torch: ModuleType, memory_format: str, *arrays: Array) -> list[object]:
    """Return copies in the memory format; it concerns arrays of four axes alone."""
    order = getattr(torch, memory_format)
    with torch.inference_mode():
        return [
            torch.from_numpy(array).clone(memory_format=order if array.ndim == 4 else torch.contiguous_format)
            for array in arrays
        ]


def conv(memory_format: str) -> Prepare:
    """Return the forward convolution; padding that it lacks is a call of its own, as in ``torch.nn.Conv2d``."""

    def prepare(problem: ConvProblem, x: Array, weight: Array, bias: Array) -> Run | str:
        if refusal := _refusal(problem, memory_format):
            return refusal
        if problem.flip or problem.padding_mode not in PAD_MODES:
            return "torch has no symmetric padding, and no flipped kernels"
        torch = _library()
        image, *parameters = _tensors(torch, memory_format, to_channels_first(problem, x), weight, bias)
        convolve = getattr(torch.nn.functional, f"conv{problem.rank}d")
        others = (problem.stride, _beginnings(problem), problem.dilation, problem.groups)
        if is_a_layer(problem) and has_equal_ends(problem):
            return lambda: from_channels_first(problem, convolve(image, *parameters, *others).numpy())
        ends = [end for pair in reversed(problem.padding) for end in pair]  # of the last axis first
        pad = partial(torch.nn.functional.pad, image, ends, mode=PAD_MODES[problem.padding_mode])
        valid = (problem.stride, 0, problem.dilation, problem.groups)
        return lambda: from_channels_first(problem, convolve(pad(), *parameters, *valid).numpy())

    return prepare


def _beginnings(problem: Problem) -> tuple[int, ...]:
    return tuple(before for before, _ in problem.padding)


def _backward(memory_format: str, wanted: int) -> Callable[[ConvProblem, Array | None, Array | None, Array], Run | str]:
    """Return one output of the operator that autograd calls: 0 is the input's gradient, 1 the weight's.

    The array that does not enter the result is given by its shape, all of it one element.
    """

    def prepare(problem: ConvProblem, x: Array | None, weight: Array | None, grad_output: Array) -> Run | str:
        if refusal := _refusal(problem, memory_format):
            return refusal
        if not (is_a_layer(problem) and has_equal_ends(problem)):
            return "torch has no such padding for gradients, and no flipped kernels"
        torch = _library()
        (grad,) = _tensors(torch, memory_format, to_channels_first(problem, grad_output))
        shape = (problem.batch, problem.channels, *problem.size)
        dtype = getattr(torch, problem.dtype)

        def tensor(array: Array | None, shape: tuple[int, ...]) -> object:
            if array is None:
                return torch.empty(1, dtype=dtype).expand(shape)
            return _tensors(torch, memory_format, array)[0]

        inputs = tensor(None if x is None else to_channels_first(problem, x), shape)
        weights = tensor(weight, problem.weight_shape)
        backward = torch.ops.aten.convolution_backward
        mask = [index == wanted for index in range(3)]
        others = (problem.stride, _beginnings(problem), problem.dilation, False, [0], problem.groups)
        arguments = (grad, inputs, weights, None, *others)

        def run() -> Array:
            found: Array = backward(*arguments, mask)[wanted].numpy()
            return found if wanted == 1 else from_channels_first(problem, found)

        return run

    return prepare


def conv_input_gradient(memory_format: str) -> Prepare:
    """Return the gradient by the input."""
    backward = _backward(memory_format, 0)
    return lambda problem, weight, grad_output: backward(problem, None, weight, grad_output)


def conv_weight_gradient(memory_format: str) -> Prepare:
    """Return the gradient by the weight."""
    backward = _backward(memory_format, 1)
    return lambda problem, x, grad_output: backward(problem, x, None, grad_output)


def _pool(memory_format: str, name: str) -> Prepare:
    def prepare(problem: PoolProblem, x: Array) -> Run | str:
        if refusal := _refusal(problem, memory_format):
            return refusal
        halves = all(2 * max(ends) <= size for ends, size in zip(problem.padding, problem.kernel, strict=True))
        if not (has_equal_ends(problem) and halves):
            return "torch's pooling pads by half a window at most, as much after as before"
        if name == "avg_pool" and set(problem.dilation) != {1}:
            return "torch's average pooling has no dilation"
        torch = _library()
        (tensor,) = _tensors(torch, memory_format, to_channels_first(problem, x))
        pool = getattr(torch.nn.functional, f"{name}{problem.rank}d")
        own: dict[str, object] = (
            {"count_include_pad": problem.count_include_pad} if name == "avg_pool" else {"dilation": problem.dilation}
        )
        windows = (problem.kernel, problem.stride, _beginnings(problem))
        pool = partial(pool, tensor, *windows, ceil_mode=problem.ceil_mode, **own)
        return lambda: from_channels_first(problem, pool().numpy())

    return prepare


def _adaptive(name: str) -> Prepare:
    def prepare(problem: PoolProblem, x: Array) -> Run | str:
        if refusal := _refusal(problem, CONTIGUOUS):
            return refusal
        torch = _library()
        (tensor,) = _tensors(torch, CONTIGUOUS, to_channels_first(problem, x))
        pool = partial(getattr(torch.nn.functional, f"{name}{problem.rank}d"), tensor, problem.output_size)
        return lambda: from_channels_first(problem, pool().numpy())

    return prepare


adaptive_max_pool, adaptive_avg_pool = _adaptive("adaptive_max_pool"), _adaptive("adaptive_avg_pool")


def max_pool(memory_format: str) -> Prepare:
    """Return max pooling."""
    return _pool(memory_format, "max_pool")


def avg_pool(memory_format: str) -> Prepare:
    """Return average pooling."""
    return _pool(memory_format, "avg_pool")

"""PyTorch, on plain tensors of one memory format: on the processor by oneDNN, on a CUDA device by cuDNN.

The tensors are made in inference mode, which takes autograd out of every call on them. Entering the
mode around each call would charge PyTorch some 5 us that its users pay once. On a device, arrays and
results are tensors there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from types import ModuleType
from typing import cast

import numpy as np

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
    "Way",
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


@dataclass(frozen=True)
class Way:
    """How PyTorch computes.

    Parameters
    ----------
    memory_format : str
        The name that ``torch`` has for it.
    tf32 : bool, optional
        Whether cuDNN may round factors of products to 10 bits.
    benchmark : bool, optional
        Whether cuDNN times its algorithms in the first call for some shapes, and takes the fastest.
    dtype : str, optional
        Of the tensors, which are made of the arrays before any call; None for the problem's.
    """

    memory_format: str
    tf32: bool = False
    benchmark: bool = True
    dtype: str | None = None

    def refusal(self, problem: Problem) -> str | None:
        """Return why the problem is not computed, or None."""
        if self.dtype is None and problem.dtype not in FLOATS:
            return f"torch is asked for {' and '.join(FLOATS)} only"
        if self.memory_format == CHANNELS_LAST and problem.rank != 2:
            return "torch's channels_last is for two dimensions"
        return None

    def tensors(self, torch: ModuleType, *arrays: Array) -> list[object]:
        """Return copies in the memory format and data type; the format concerns arrays of four axes alone."""
        order = getattr(torch, self.memory_format)
        with torch.inference_mode():
            tensors: list[object] = [torch.from_numpy(array) if _in_memory(array) else array for array in arrays]
            if self.dtype is not None:
                tensors = [tensor.to(getattr(torch, self.dtype)) for tensor in tensors]  # type: ignore[attr-defined]
            orders = [order if array.ndim == 4 else torch.contiguous_format for array in arrays]
            return [tensor.clone(memory_format=one) for tensor, one in zip(tensors, orders, strict=True)]  # type: ignore[attr-defined]

    def run(
        self, torch: ModuleType, problem: Problem, x: Array, compute: Callable[[], object], *, images: bool = True
    ) -> Run:
        """Return what makes of a computation a result as the caller of a peer wants it: images, or a weight."""
        if _in_memory(x):
            if not images:
                return lambda: compute().numpy()  # type: ignore[attr-defined]
            return lambda: from_channels_first(problem, compute().numpy())  # type: ignore[attr-defined]
        flags, last = torch.backends.cudnn, problem.layout == "channels_last" and images

        def run() -> Array:
            # set each time, as calls of another way come between; cuDNN's choice is kept for each value
            flags.allow_tf32, flags.benchmark = self.tf32, self.benchmark
            found = compute()
            return cast("Array", found.movedim(1, -1) if last else found)  # type: ignore[attr-defined]

        return run


def _image(problem: Problem, x: Array) -> Array:
    """Return x as (N, C, *size): an array, or a view of a tensor on a device."""
    if _in_memory(x):
        return to_channels_first(problem, x)
    return x.movedim(-1, 1) if problem.layout == "channels_last" else x  # type: ignore[attr-defined]


def _in_memory(x: object) -> bool:
    """Whether x is an array of NumPy's, and not a tensor."""
    return isinstance(x, np.ndarray)


def _library() -> ModuleType:
    """Return the module with its threads set."""
    torch = import_module("torch")
    torch.set_num_threads(fastconv.get_num_threads())
    check_threads("torch", torch.get_num_threads())
    return torch


def conv(way: Way) -> Prepare:
    """Return the forward convolution; padding that it lacks is a call of its own, as in ``torch.nn.Conv2d``."""

    def prepare(problem: ConvProblem, x: Array, weight: Array, bias: Array) -> Run | str:
        if refusal := way.refusal(problem):
            return refusal
        if problem.flip or problem.padding_mode not in PAD_MODES:
            return "torch has no symmetric padding, and no flipped kernels"
        torch = _library()
        image, *parameters = way.tensors(torch, _image(problem, x), weight, bias)
        convolve = getattr(torch.nn.functional, f"conv{problem.rank}d")
        others = (problem.stride, _beginnings(problem), problem.dilation, problem.groups)
        if is_a_layer(problem) and has_equal_ends(problem):
            return way.run(torch, problem, x, lambda: convolve(image, *parameters, *others))
        ends = [end for pair in reversed(problem.padding) for end in pair]  # of the last axis first
        pad = partial(torch.nn.functional.pad, image, ends, mode=PAD_MODES[problem.padding_mode])
        valid = (problem.stride, 0, problem.dilation, problem.groups)
        return way.run(torch, problem, x, lambda: convolve(pad(), *parameters, *valid))

    return prepare


def _beginnings(problem: Problem) -> tuple[int, ...]:
    return tuple(before for before, _ in problem.padding)


def _backward(way: Way, wanted: int) -> Callable[[ConvProblem, Array | None, Array | None, Array], Run | str]:
    """Return one output of the operator that autograd calls: 0 is the input's gradient, 1 the weight's.

    The array that does not enter the result is given by its shape: in memory all of it is one element; on a device it
    is whole, as cuDNN is chosen by how it lies.
    """

    def prepare(problem: ConvProblem, x: Array | None, weight: Array | None, grad_output: Array) -> Run | str:
        if refusal := way.refusal(problem):
            return refusal
        if not (is_a_layer(problem) and has_equal_ends(problem)):
            return "torch has no such padding for gradients, and no flipped kernels"
        torch = _library()
        (grad,) = way.tensors(torch, _image(problem, grad_output))
        shape = (problem.batch, problem.channels, *problem.size)
        kind = {"dtype": grad.dtype, "device": grad.device}  # type: ignore[attr-defined]

        def tensor(array: Array | None, shape: tuple[int, ...]) -> object:
            if array is None and _in_memory(grad_output):
                return torch.empty(1, **kind).expand(shape)
            return way.tensors(torch, torch.empty(shape, **kind) if array is None else array)[0]

        inputs = tensor(None if x is None else _image(problem, x), shape)
        weights = tensor(weight, problem.weight_shape)
        backward = torch.ops.aten.convolution_backward
        mask = [index == wanted for index in range(3)]
        others = (problem.stride, _beginnings(problem), problem.dilation, False, [0], problem.groups)
        arguments = (grad, inputs, weights, None, *others)

        def gradient() -> object:
            found: object = backward(*arguments, mask)[wanted]
            return found

        return way.run(torch, problem, grad_output, gradient, images=wanted == 0)

    return prepare


def conv_input_gradient(way: Way) -> Prepare:
    """Return the gradient by the input."""
    backward = _backward(way, 0)
    return lambda problem, weight, grad_output: backward(problem, None, weight, grad_output)


def conv_weight_gradient(way: Way) -> Prepare:
    """Return the gradient by the weight."""
    backward = _backward(way, 1)
    return lambda problem, x, grad_output: backward(problem, x, None, grad_output)


def _pool(way: Way, name: str) -> Prepare:
    def prepare(problem: PoolProblem, x: Array) -> Run | str:
        if refusal := way.refusal(problem):
            return refusal
        halves = all(2 * max(ends) <= size for ends, size in zip(problem.padding, problem.kernel, strict=True))
        if not (has_equal_ends(problem) and halves):
            return "torch's pooling pads by half a window at most, as much after as before"
        if name == "avg_pool" and set(problem.dilation) != {1}:
            return "torch's average pooling has no dilation"
        torch = _library()
        (tensor,) = way.tensors(torch, _image(problem, x))
        pool = getattr(torch.nn.functional, f"{name}{problem.rank}d")
        own: dict[str, object] = (
            {"count_include_pad": problem.count_include_pad} if name == "avg_pool" else {"dilation": problem.dilation}
        )
        windows = (problem.kernel, problem.stride, _beginnings(problem))
        pool = partial(pool, tensor, *windows, ceil_mode=problem.ceil_mode, **own)
        return way.run(torch, problem, x, pool)

    return prepare


def _adaptive(name: str) -> Prepare:
    way = Way(CONTIGUOUS)

    def prepare(problem: PoolProblem, x: Array) -> Run | str:
        if refusal := way.refusal(problem):
            return refusal
        torch = _library()
        (tensor,) = way.tensors(torch, _image(problem, x))
        pool = partial(getattr(torch.nn.functional, f"{name}{problem.rank}d"), tensor, problem.output_size)
        return lambda: from_channels_first(problem, pool().numpy())

    return prepare


adaptive_max_pool, adaptive_avg_pool = _adaptive("adaptive_max_pool"), _adaptive("adaptive_avg_pool")


def max_pool(way: Way) -> Prepare:
    """Return max pooling."""
    return _pool(way, "max_pool")


def avg_pool(way: Way) -> Prepare:
    """Return average pooling."""
    return _pool(way, "avg_pool")

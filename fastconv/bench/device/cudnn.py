"""PyTorch as the benchmark's library: arrays on a device, cuDNN, events, and results in float64."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from math import prod
from types import MappingProxyType
from typing import cast

from fastconv.bench.device import LAST, Rival
from fastconv.bench.device.tensor_cores import cudnns_arrays, precision_of
from fastconv.bench.operations import SEED, Array, operation_of
from fastconv.bench.peers import torch as peers
from fastconv.bench.peers.peer import Prepare
from fastconv.bench.peers.torch import CHANNELS_LAST, CONTIGUOUS, Way
from fastconv.bench.results import Kind
from fastconv.problem import ConvProblem, Problem
from fastconv.timing import Stopwatch

__all__ = ["PyTorch"]

_CHUNK = 2 << 30  # bytes of float64 at once, input and output together
_COPY = 1 << 30  # bytes that a copy reads
_LEAST_FLUSH = 256 << 20  # bytes, whose reading takes so long that the host is ahead of the device all the time
_FLUSHES = 4  # times the second level cache
_ROUNDS = 10

#: Of cuDNN's errors, by data type or precision: its Winograd rounds more than plain sums do.
_LIMIT = {"float32": 3e-5, "float64": 1e-13, "float16": 2e-3, "bfloat16": 1.6e-2}
_ROUNDED_LIMIT = {"tf32": 2e-3, "fp16": 1e-2, "bf16": 3e-2}

_OPERATIONS: Mapping[str, Callable[[Way], Prepare]] = MappingProxyType(
    {
        "conv": peers.conv,
        "conv_input_gradient": peers.conv_input_gradient,
        "conv_weight_gradient": peers.conv_weight_gradient,
        "max_pool": peers.max_pool,
        "avg_pool": peers.avg_pool,
        "adaptive_max_pool": lambda way: peers.adaptive_max_pool,
        "adaptive_avg_pool": lambda way: peers.adaptive_avg_pool,
    }
)


class PyTorch:
    """PyTorch's tensors on a device.

    Parameters
    ----------
    device : str, optional
        What PyTorch calls it. On ``"cpu"`` all but the time is the same.
    """

    def __init__(self, device: str = "cuda") -> None:
        self._torch = import_module("torch")
        self._device = device
        self._flushed: object | None = None

    @property
    def figures(self) -> Mapping[str, object]:
        """Return versions, and what the device says of itself."""
        torch = self._torch
        found: dict[str, object] = {"torch": torch.__version__, "cuda": torch.version.cuda}
        if self._device != "cpu":
            properties = torch.cuda.get_device_properties(self._device)
            found |= {
                "cudnn": torch.backends.cudnn.version(),
                "name": properties.name,
                "memory_bytes": properties.total_memory,
                "cache_bytes": properties.L2_cache_size,
            }
        return found

    def draw(self, problem: Problem) -> tuple[Array, ...]:
        """Return magnitudes from 0.5 to 1 with random signs, as on the processor, but made on the device."""
        torch = self._torch
        generator = torch.Generator(self._device).manual_seed(SEED)
        dtype = getattr(torch, problem.dtype)

        def array(shape: tuple[int, ...]) -> Array:
            values = torch.rand(shape, generator=generator, device=self._device, dtype=dtype) - 0.5
            return cast("Array", values + torch.copysign(torch.full_like(values, 0.5), values))

        return tuple(array(shape) for shape in operation_of(problem).shapes(problem))

    def ones(self, size: int, dtype: str) -> Array:
        """Return so many ones, on the device."""
        return cast("Array", self._torch.ones(size, dtype=getattr(self._torch, dtype), device=self._device))

    def expected(self, problem: Problem, arrays: Sequence[Array]) -> Array:
        """Return PyTorch's own result in float64, some images at a time; where it has none, the reference's."""
        torch, exact = self._torch, replace(problem, dtype="float64")
        exactly = [array.double() for array in arrays]  # type: ignore[attr-defined]
        name = operation_of(problem).name
        of_images = _OF_IMAGES.get(name, (True, False, False))
        count = max(1, _CHUNK // (8 * max(1, prod(exact.input_shape[1:]) + prod(exact.output_shape[1:]))))
        found = []
        for first in range(0, problem.batch, count):
            some = slice(first, min(first + count, problem.batch))
            parts = [array[some] if images else array for array, images in zip(exactly, of_images, strict=False)]
            prepare = _OPERATIONS.get(name, _no_such)(Way(CONTIGUOUS, benchmark=False))
            run = prepare(replace(exact, batch=some.stop - some.start), *parts)
            if isinstance(run, str):
                in_memory = [array.cpu().numpy() for array in exactly]
                right = torch.from_numpy(operation_of(exact).reference(exact, *in_memory))
                return cast("Array", right.to(exactly[0].device))
            found.append(torch.as_tensor(run()))
        return cast("Array", sum(found) if name == "conv_weight_gradient" else torch.cat(found))

    def error(self, found: Array, expected: Array) -> float:
        """Return ``||found - expected|| / ||expected||``, computed on the device."""
        norm = self._torch.linalg.vector_norm
        scale = float(norm(expected))
        return float(norm(self._torch.as_tensor(found).double() - expected)) / (scale or 1.0)

    def rivals(self, problem: Problem) -> Mapping[str, Rival]:
        """Return cuDNN in both memory formats, its factors as precise as the problem's.

        Of convolutions of float32 that rounds nothing, with rounded factors, too: as what is coarser, not as a peer.
        """
        prepare = _OPERATIONS.get(operation_of(problem).name)
        if prepare is None:
            return {}
        if not isinstance(problem, ConvProblem):
            limit = _LIMIT.get(problem.dtype, 0.0) if operation_of(problem).rounds else 0.0
            return _formats("cudnn", "peer", limit, prepare, dtype=problem.dtype if problem.dtype in _LIMIT else None)
        precision, arrays = precision_of(problem), cudnns_arrays(problem)
        if precision == "tf32":
            return _formats("cudnn tf32", "peer", _ROUNDED_LIMIT[precision], prepare, tf32=True)
        if precision != "ieee":
            return _formats(f"cudnn {arrays}", "peer", _ROUNDED_LIMIT[precision], prepare, dtype=arrays)
        found = _formats("cudnn", "peer", _LIMIT.get(problem.dtype, 0.0), prepare)
        if problem.dtype == "float32":
            found |= _formats("cudnn tf32", "coarser", _ROUNDED_LIMIT["tf32"], prepare, tf32=True)
        return found

    def stopwatch(self, run: Callable[[], object]) -> Stopwatch:
        """Return a stopwatch of events: before each call the cache is filled with something else, by reading.

        Reading takes longer than the host needs for a call, so that no launch of it comes late; and leaves
        nothing that would be written back in the time of the call.
        """
        torch = self._torch

        def measure(calls: int) -> float:
            events = [tuple(torch.cuda.Event(enable_timing=True) for _ in range(2)) for _ in range(calls)]
            self._flush()
            for begin, end in events:
                self._flush()
                begin.record()
                run()
                end.record()
            torch.cuda.synchronize()
            return 1e-3 * sum(float(begin.elapsed_time(end)) for begin, end in events)

        return measure

    def _flush(self) -> None:
        torch = self._torch
        if self._flushed is None:
            cache = torch.cuda.get_device_properties(self._device).L2_cache_size
            size = max(_LEAST_FLUSH, _FLUSHES * cache)
            self._flushed = torch.zeros(size // 4, dtype=torch.float32, device=self._device)
        torch.sum(self._flushed)

    def copy_bandwidth(self) -> float:
        """Return the best of some copies."""
        torch = self._torch
        source, target = (torch.zeros(_COPY, dtype=torch.uint8, device=self._device) for _ in range(2))
        measure = self.stopwatch(lambda: target.copy_(source))
        return 2 * _COPY / min(measure(1) for _ in range(_ROUNDS))

    def wait(self) -> None:
        """Wait for the device."""
        self._torch.cuda.synchronize()


#: Which arrays of a call have an axis of images; where nothing is said, the first alone.
_OF_IMAGES = {"conv_input_gradient": (False, True), "conv_weight_gradient": (True, True)}


def _formats(
    name: str,
    kind: Kind,
    limit: float,
    prepare: Callable[[Way], Prepare],
    *,
    tf32: bool = False,
    dtype: str | None = None,
) -> dict[str, Rival]:
    """Return one way in both memory formats."""
    orders = {name: CONTIGUOUS, f"{name}{LAST}": CHANNELS_LAST}
    return {each: Rival(kind, limit, prepare(Way(order, tf32, dtype=dtype))) for each, order in orders.items()}


def _no_such(way: Way) -> Prepare:
    return lambda problem, *arrays: "torch has no such operation"

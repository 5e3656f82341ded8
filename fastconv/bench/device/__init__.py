"""The benchmark on a CUDA device: the algorithms for it beside cuDNN; ``python -m fastconv.bench.device`` runs it.

It needs NumPy, Numba, numba-cuda and PyTorch, and nothing else: tables are plain where `rich` is missing. Nothing of
CUDA is imported with this package.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from fastconv.bench.operations import Array
from fastconv.bench.peers.peer import Prepare
from fastconv.bench.results import Kind
from fastconv.problem import Problem
from fastconv.timing import Stopwatch

__all__ = ["BATCHES", "BUDGET", "LAST", "LAYOUTS", "SUITES", "Library", "Rival"]

#: What is measured unless somebody says otherwise, in the order of its weight: time may be over before the end.
SUITES = ("resnet50", "vgg16", "mobilenet_v2", "pooling", "large_kernels", "tensor_cores", "gradients")
BATCHES = (32, 1)
LAYOUTS = ("channels_first", "channels_last")
BUDGET = 450.0  # seconds, after which nothing new is begun

LAST = " channels_last"  # ends the names of rivals whose tensors lie so


class Rival(NamedTuple):
    """One way in which another library computes on the device."""

    kind: Kind
    limit: float  # of its error
    prepare: Prepare


class Library(Protocol):
    """What has arrays on a device, computes there what is right, and tells the time."""

    @property
    def figures(self) -> Mapping[str, object]:
        """What is to know of device, driver and library, ready for JSON."""

    def draw(self, problem: Problem) -> tuple[Array, ...]:
        """Return the arrays of a problem, on the device."""

    def ones(self, size: int, dtype: str) -> Array:
        """Return so many ones, on the device."""

    def expected(self, problem: Problem, arrays: Sequence[Array]) -> Array:
        """Return what a call must give, in float64, on the device."""

    def error(self, found: Array, expected: Array) -> float:
        """Return the relative error in the 2-norm."""

    def rivals(self, problem: Problem) -> Mapping[str, Rival]:
        """Return the ways in which other libraries compute such a problem."""

    def stopwatch(self, run: Callable[[], object]) -> Stopwatch:
        """Return what makes so many calls, each with a cold cache, and returns the seconds of the device."""

    def copy_bandwidth(self) -> float:
        """Return the bytes a second that a copy reads and writes, in arrays far beyond the cache."""

    def wait(self) -> None:
        """Wait until the device has done all that it was told."""

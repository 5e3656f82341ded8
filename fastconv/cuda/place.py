"""A device as a place that a choice is made for: its table, its figures, its name for stored answers, its events."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from importlib import metadata
from math import prod
from typing import cast

from fastconv import __version__
from fastconv.algorithm import Limits, P
from fastconv.call import options
from fastconv.config import Settings, get_mode, source_digest
from fastconv.cuda import plan as plans
from fastconv.cuda import table
from fastconv.cuda.algorithm import Algorithm, AnyAlgorithm, Place
from fastconv.cuda.driver import Device
from fastconv.cuda.plan import Plan, Target
from fastconv.cuda.pooling import Pooling
from fastconv.devices import UnavailableError
from fastconv.problem import ConvProblem, PoolProblem
from fastconv.selection import place as places
from fastconv.selection.files import AnyOrigin
from fastconv.timing import Stopwatch

_STREAM = 0  # CUDA's default: nobody else's calls run beside


@dataclass(frozen=True)
class DeviceOrigin(AnyOrigin):
    """What times on a device depend on besides the problem."""

    device: str
    driver: int  # version
    compiler: str  # version of numba-cuda

    @property
    def hardware(self) -> str:
        """The device's name."""
        return self.device


@dataclass(frozen=True)
class DevicePlace(places.Place):
    """A device by its number, and its figures: predictions need nothing else."""

    ordinal: int
    device: Device

    def __str__(self) -> str:
        """Where, as the continuation of a problem."""
        return f" on {self.device.name}"

    def entries(self, problem: P) -> Sequence[Limits[P]]:
        """Return the algorithms for a problem's kind, in order."""
        return table.table_of(problem)

    def refusal(self, entry: Limits[P], problem: P) -> str | None:
        """Ask for the device, too."""
        return cast("AnyAlgorithm[P]", entry).runs_on(self.device) or entry.supports(problem)

    def terms(self, entry: Limits[P], problem: P, now: Settings) -> dict[str, float]:
        """Return the predicted seconds on the device alone."""
        return cast("AnyAlgorithm[P]", entry).terms(problem, self.device)

    def cost(self, entry: Limits[P], problem: P, now: Settings) -> float:
        """Return their sum."""
        return cast("AnyAlgorithm[P]", entry).cost(problem, self.device)

    def workspace(self, entry: Limits[P], problem: P) -> int:
        """Return the bytes of the device's memory."""
        return cast("AnyAlgorithm[P]", entry).workspace(problem, self.device)

    def origin(self) -> AnyOrigin:
        """Return the device's name with the versions of driver and package."""
        versions = __version__, source_digest("cuda")
        return DeviceOrigin(*versions, self.device.name, self.device.driver, _compiler())

    def threads(self, now: Settings) -> int:
        """Return 1: a device is told what to do by one thread."""
        return 1

    @contextmanager
    def stopwatches(
        self, problem: ConvProblem, among: Iterable[Limits[ConvProblem]]
    ) -> Iterator[Mapping[str, Stopwatch]]:
        """Return stopwatches by events of the device, of calls on operands that lie in memory of its own."""
        target = plans.target(self.ordinal)
        runs = {entry.name: plan_of(entry, problem, target) for entry in among}
        with _memory(target, _sizes(problem, runs.values())) as addresses:
            yield {name: partial(_seconds, plan, target, addresses) for name, plan in runs.items()}


@cache
def _compiler() -> str:
    return metadata.version("numba-cuda")


def device_place(ordinal: int) -> DevicePlace:
    """Return a device as a place; UnavailableError if there is none of this number."""
    try:
        return DevicePlace(ordinal, plans.target(ordinal).device)
    except UnavailableError:
        raise
    except RuntimeError as error:
        raise UnavailableError(f"there is no device {ordinal}: {error}") from error


def chosen(problem: P, name: object, tolerance: float, target: Target, stream: int = _STREAM) -> AnyAlgorithm[P]:
    """Return the algorithm that computes a problem on a device: the one that was named, or for ``"auto"``.

    RuntimeError if it is to be measured, and the stream of the call is captured: nothing runs there.
    """
    if name == "auto" and get_mode() == "measure" and target.driver.capturing(stream):
        raise RuntimeError(f"mode 'measure' cannot measure {problem} while a graph is captured: call once before")
    entries = options(problem, name, tolerance, DevicePlace(target.ordinal, target.device))
    return cast("AnyAlgorithm[P]", entries[-1])


def plan_of(entry: Limits[P], problem: P, target: Target) -> Plan:
    """Return an algorithm's plan of a call with nothing but a problem's own arrays."""
    if isinstance(entry, Algorithm):
        return entry.plan(cast("ConvProblem", problem), None, target)
    assert isinstance(entry, Pooling)
    return entry.plan(cast("PoolProblem", problem), target)


def _sizes(problem: ConvProblem, wanted: Iterable[Plan]) -> dict[Place, int]:
    """Return the bytes of what plans run on; they use one workspace in turns."""
    places = Place.X, Place.WEIGHT, Place.OUT
    shapes = dict(zip(places, (*problem.operand_shapes, problem.result_shape), strict=True))
    sizes = {place: problem.itemsize * prod(shape) for place, shape in shapes.items()}
    plans = list(wanted)
    sizes[Place.WORKSPACE] = max((plan.workspace for plan in plans), default=0)
    sizes[Place.PACKED] = max((plan.packed for plan in plans), default=0)
    return sizes


@contextmanager
def _memory(target: Target, sizes: Mapping[Place, int]) -> Iterator[list[int]]:
    """Return addresses in the order of `Place`, of memory that is given back afterwards."""
    driver, ordinal = target.driver, target.ordinal
    taken: dict[Place, int] = {}
    try:
        for place, size in sizes.items():
            taken[place] = driver.take(max(size, 1), ordinal)
        yield [taken.get(place, 0) for place in Place]
    finally:
        for address in taken.values():
            driver.give_back(address, ordinal)


def _seconds(plan: Plan, target: Target, addresses: Sequence[int], calls: int) -> float:
    """Return what the device takes for so many calls."""

    def run() -> None:
        for _ in range(calls):
            plan.pack(addresses, _STREAM)  # as functions do
            plan.run(addresses, _STREAM)

    return target.driver.seconds(run, target.ordinal, _STREAM)

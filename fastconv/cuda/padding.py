"""Padding that is not of zeros: a copy of the input with its borders, on which a convolution pads no more.

The modes are those of the table at `fastconv.reference.pad`. Algorithms have nothing to know of them: what stands in
the table of algorithms is `Bordered` around each. The copy takes time of its own, but few layers of networks pad so.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod

from numba import cuda
from numba.cuda.types import int32, int64

from fastconv.cuda import plan as plans
from fastconv.cuda.algorithm import Algorithm, Place
from fastconv.cuda.compile import Kernel, Pointer, Wide
from fastconv.cuda.driver import Device
from fastconv.cuda.geometry import geometry
from fastconv.cuda.inline import inlined
from fastconv.cuda.intrinsics import load, store
from fastconv.cuda.plan import Operand, Plan, Step, Target
from fastconv.derivation import without_border
from fastconv.problem import ConvProblem

_THREADS = 256

Source = Callable[[int, int], int]  # of a place before, in or behind an axis of so many elements, that whose it shows
Integer = Callable[[int], int]  # a type of Numba's


def _reflect(integer: Integer, _: Integer) -> Source:
    def reflect(place: int, size: int) -> int:
        if place < 0:
            return integer(-place)
        return integer(2 * (size - 1) - place) if place >= size else place

    return reflect


def _symmetric(integer: Integer, _: Integer) -> Source:
    def symmetric(place: int, size: int) -> int:
        if place < 0:
            return integer(-1 - place)
        return integer(2 * size - 1 - place) if place >= size else place

    return symmetric


def _replicate(integer: Integer, _: Integer) -> Source:
    def replicate(place: int, size: int) -> int:
        if place < 0:
            return integer(0)
        return integer(size - 1) if place >= size else place

    return replicate


def _circular(integer: Integer, _: Integer) -> Source:
    def circular(place: int, size: int) -> int:
        if place < 0:
            return integer(place + size)
        return integer(place - size) if place >= size else place

    return circular


reflect = inlined(_reflect)
symmetric = inlined(_symmetric)
replicate = inlined(_replicate)
circular = inlined(_circular)

shown = reflect  # the one that the kernel is specialised by


def _pad(
    source: Pointer,
    target: Pointer,
    count: Wide,
    lanes: int,
    depth: int,
    height: int,
    width: int,
    padded_depth: int,
    padded_height: int,
    padded_width: int,
    before_depth: int,
    before_height: int,
    before_width: int,
) -> None:
    """Copy an element of the padded planes a thread; each is `lanes` numbers."""
    place = int64(cuda.blockIdx.x) * int64(cuda.blockDim.x) + int64(cuda.threadIdx.x)
    if place < count:
        rest = place // lanes
        lane = place - rest * lanes
        by_width = rest // padded_width
        w = shown(int32(rest - by_width * padded_width - before_width), width)
        by_height = by_width // padded_height
        h = shown(int32(by_width - by_height * padded_height - before_height), height)
        plane = by_height // padded_depth
        d = shown(int32(by_height - plane * padded_depth - before_depth), depth)
        read = ((plane * depth + d) * height + h) * width + w
        store(target, place, load(source, read * lanes + lane))


class Bordered(Algorithm):
    """An algorithm that pads with zeros, and by every other mode what it computes of a copy with borders.

    Parameters
    ----------
    inside : Algorithm
        The algorithm.
    """

    def __init__(self, inside: Algorithm) -> None:
        self.inside, self.name, self.dtypes = inside, inside.name, inside.dtypes

    def supports(self, problem: ConvProblem) -> str | None:
        """Refuse what the algorithm refuses of the padded input."""
        return self.inside.supports(without_border(problem))

    def runs_on(self, device: Device) -> str | None:
        """Refuse the devices that the algorithm refuses."""
        return self.inside.runs_on(device)

    def workspace(self, problem: ConvProblem, device: Device) -> int:
        """Return the bytes that the algorithm allocates, and those of the copy."""
        return self.inside.workspace(without_border(problem), device) + room_of(problem)

    def terms(self, problem: ConvProblem, machine: Device) -> dict[str, float]:
        """Predict the algorithm's time, and that of reading and writing the copy."""
        computed = without_border(problem)
        terms = self.inside.terms(computed, machine)
        if computed is problem:
            return terms
        moved = (prod(problem.input_shape) + prod(computed.input_shape)) * problem.itemsize
        return {**terms, "border": machine.launch + moved / machine.bandwidth}

    def error_bound(self, problem: ConvProblem) -> float:
        """Return the algorithm's: copies are exact."""
        return self.inside.error_bound(without_border(problem))

    def plan(self, problem: ConvProblem, activation: str | None, target: Target) -> Plan:
        """Return the algorithm's launches, after one that copies: they read the copy, which begins the workspace."""
        plan, room = self.inside.plan(without_border(problem), activation, target), room_of(problem)
        if not room:
            return plan

        steps = plans.moved(
            plan.steps, {Place.X: Operand(Place.WORKSPACE), Place.WORKSPACE: Operand(Place.WORKSPACE, room)}
        )
        return Plan(target, [padding(problem, target), *steps], room + plan.workspace, plan.packing, plan.packed)


def room_of(problem: ConvProblem) -> int:
    """Bytes of the copy with borders; 0 where there is none."""
    padded = without_border(problem)
    return plans.aligned(0 if padded is problem else prod(padded.input_shape) * problem.itemsize)


def padding(problem: ConvProblem, target: Target) -> Step:
    """Return the launch that copies x with its borders to the beginning of the workspace."""
    before, after = geometry(problem), geometry(without_border(problem))
    count = prod(without_border(problem).input_shape)
    kernel = Kernel(
        _pad,
        f"uint{8 * problem.itemsize}",  # bits are copied, of whatever they are
        _THREADS,
        names={"shown": f"{__name__}:{problem.padding_mode}"},
    )
    lanes = problem.channels if problem.layout == "channels_last" else 1
    numbers = (count, lanes, *before.size, *after.size, *before.padding)
    pointers = Operand(Place.X), Operand(Place.WORKSPACE)
    return target.step(kernel, (-(-count // _THREADS), 1, 1), pointers, numbers)

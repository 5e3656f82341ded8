"""Gradients on a device, by algorithms that convolve: `fastconv.cpu.gradient` for arrays there.

`fastconv.derivation` says which forward problems a gradient is the results of. Operands that do not lie as these want
them are copied to the workspace first, and results from there; all of it is launched one after the other, so that
phases of strides use one workspace in turns. What is summed where does not depend on what else runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import prod
from typing import NamedTuple

from numba import cuda
from numba.cuda.types import int32, int64

from fastconv.cuda import packing, padding
from fastconv.cuda import plan as plans
from fastconv.cuda.algorithm import Algorithm, Place
from fastconv.cuda.compile import Float, Kernel, Pointer, Wide
from fastconv.cuda.driver import Device
from fastconv.cuda.geometry import geometry
from fastconv.cuda.intrinsics import is_given, load, store
from fastconv.cuda.padding import shown
from fastconv.cuda.plan import Operand, Plan, Step, Target
from fastconv.derivation import Piece, pieces, refusal, smallest, without_border
from fastconv.problem import ConvProblem
from fastconv.strided import Strided, merged

_THREADS = 256


def _fill(bias: Pointer, target: Pointer, count: Wide, channels: int, plane: int) -> None:
    """Write a channel's bias to its elements, zeros where there is none: the sums of no products; a thread one."""
    place = int64(cuda.blockIdx.x) * int64(cuda.blockDim.x) + int64(cuda.threadIdx.x)
    if place < count:
        value = Float(0)
        if is_given(bias):
            value = load(bias, place // plane % channels)
        store(target, place, value)


def _fold(
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
    """Sum an element's gradient over all places of the padded planes that show it; each is `lanes` numbers.

    Along an axis that is its own place, and some of the border: those before, then those behind.
    """
    place = int64(cuda.blockIdx.x) * int64(cuda.blockDim.x) + int64(cuda.threadIdx.x)
    if place < count:
        rest = place // lanes
        lane = place - rest * lanes
        by_width = rest // width
        w = int32(rest - by_width * width)
        by_height = by_width // height
        h = int32(by_width - by_height * height)
        plane = by_height // depth
        d = int32(by_height - plane * depth)
        total = Float(0)
        for i in range(int32(1 + padded_depth - depth)):
            at_d = d if i == 0 else int32(i - 1 - before_depth)
            if i > before_depth:
                at_d = int32(at_d + depth)
            if shown(at_d, depth) == d:
                for j in range(int32(1 + padded_height - height)):
                    at_h = h if j == 0 else int32(j - 1 - before_height)
                    if j > before_height:
                        at_h = int32(at_h + height)
                    if shown(at_h, height) == h:
                        for k in range(int32(1 + padded_width - width)):
                            at_w = w if k == 0 else int32(k - 1 - before_width)
                            if k > before_width:
                                at_w = int32(at_w + width)
                            if shown(at_w, width) == w:
                                read = (plane * padded_depth + at_d + before_depth) * padded_height
                                read = (read + at_h + before_height) * padded_width + at_w + before_width
                                total += load(source, read * lanes + lane)
        store(target, place, total)


class _Room(NamedTuple):
    """Where in the workspace things lie, in bytes: they begin where those before them end."""

    border: int  # the end of the input, or its gradient, with its border
    images: int
    weight: int
    result: int
    workspace: int  # of forward problems, packed weights behind it


class Gradient(Algorithm):
    """An algorithm that computes both gradients by another one that convolves.

    Parameters
    ----------
    inside : Algorithm
        The other one.
    direction : str
        The gradient that it is there for.
    """

    def __init__(self, inside: Algorithm, direction: str) -> None:
        self.inside, self.direction = inside, direction
        self.name, self.dtypes = inside.name, inside.dtypes

    def _convolutions(self, problem: ConvProblem) -> list[ConvProblem]:
        found = (piece.problem for piece in pieces(without_border(problem)))
        return [each for each in found if each is not None]

    def supports(self, problem: ConvProblem) -> str | None:
        """Refuse other directions, and what the algorithm refuses of the forward problems."""
        if problem.direction != self.direction:
            return f"{self.name} is there for the {self.direction}, not for {problem.direction}"
        if reason := refusal(problem):
            return reason
        refusals = ((self.inside.supports(each), each) for each in self._convolutions(problem) or (smallest(problem),))
        return next((f"{reason}, in {each}" for reason, each in refusals if reason), None)

    def runs_on(self, device: Device) -> str | None:
        """Refuse the devices that the algorithm refuses."""
        return self.inside.runs_on(device)

    def workspace(self, problem: ConvProblem, device: Device) -> int:
        """Return the bytes of copies, and of what forward problems take."""
        return self._room(problem, device).workspace

    def _room(self, problem: ConvProblem, device: Device) -> _Room:
        """Lay things out: each has room for the largest of its kind."""
        inside = [self.inside.workspace(each, device) + plans.ALIGNMENT for each in self._convolutions(problem)]
        item, found = problem.itemsize, pieces(without_border(problem))
        computed = [piece for piece in found if piece.problem is not None]
        sizes = (
            [_bytes(each.problem.input_shape, item) for each in computed if each.problem and not _as_it_lies(each)],
            [_bytes(each.weight.shape, item) for each in computed if not each.weight.is_dense],
            [_bytes(each.result.shape, item) for each in found if not each.result.is_dense],
        )
        ends = [padding.room_of(problem)]
        for size in (*sizes, inside):
            ends.append(ends[-1] + plans.aligned(max(size, default=0)))
        return _Room(*ends)

    def terms(self, problem: ConvProblem, machine: Device) -> dict[str, float]:
        """Predict the forward problems' times, and that of the copies."""
        found = pieces(without_border(problem))
        copied = [view for piece in found for view in _copied(piece)]
        moved = 2 * problem.itemsize * (sum(prod(view.shape) for view in copied) + padding.room_of(problem))
        terms = {"operands": machine.launch * len(copied) + moved / machine.bandwidth}
        for each in self._convolutions(problem):
            for name, seconds in self.inside.terms(each, machine).items():
                terms[name] = terms.get(name, 0.0) + seconds
        return terms

    def error_bound(self, problem: ConvProblem) -> float:
        """Return the largest of the forward problems' bounds: an element of the gradient is the result of one."""
        return max(map(self.inside.error_bound, self._convolutions(problem)), default=0.0)

    def plan(self, problem: ConvProblem, activation: str | None, target: Target) -> Plan:
        """Return the launches of all forward problems, with copies before and behind."""
        assert activation is None
        inner = without_border(problem)
        made = {each: self.inside.plan(each, None, target) for each in self._convolutions(problem)}
        room = self._room(problem, target.device)
        first, result = Operand(Place.X), Operand(Place.OUT)
        steps: list[Step] = []
        bordered = inner is not problem
        if bordered and self.direction == "weight_gradient":
            steps.append(padding.padding(problem, target))
            first = Operand(Place.WORKSPACE)
        elif bordered:
            result = Operand(Place.WORKSPACE)
        for piece in pieces(inner):
            plan = made[piece.problem] if piece.problem else None
            steps += _steps(problem, piece, plan, target, room, first, result)
        if bordered and self.direction == "input_gradient":
            steps.append(_folding(problem, target))
        return Plan(target, steps, room.workspace)


def _steps(
    problem: ConvProblem,
    piece: Piece,
    plan: Plan | None,
    target: Target,
    room: _Room,
    first: Operand,
    result: Operand,
) -> Iterator[Step]:
    """Yield the launches of a piece, from the operand `first` and the weights to `result`, an array of all pieces."""
    item, weight = problem.itemsize, Operand(Place.WEIGHT)
    direct = piece.result.is_dense
    found = result if direct else Operand(Place.WORKSPACE, room.weight)
    if plan is None or piece.problem is None:
        bias = None if problem.direction == "weight_gradient" else Operand(Place.BIAS)
        yield _filling(problem, target, piece.result.shape, bias, found)
    else:
        images = first
        if not _as_it_lies(piece):
            images = Operand(Place.WORKSPACE, room.border)
            if not piece.room.is_dense:
                yield _filling(problem, target, piece.problem.input_shape, None, images)
            yield from _copying(target, item, piece.images, piece.room, first, images)
        if not piece.weight.is_dense:
            weight = Operand(Place.WORKSPACE, room.images)
            placed = Strided.dense(piece.weight.shape)
            yield from _copying(target, item, piece.weight, placed, Operand(Place.WEIGHT), weight)
        own = Operand(Place.WORKSPACE, room.result)
        places: dict[int, Operand] = {
            Place.X: images,
            Place.WEIGHT: weight,
            Place.OUT: found,
            Place.WORKSPACE: own,
            Place.PACKED: Operand(Place.WORKSPACE, own.offset + plans.aligned(plan.workspace)),
        }
        yield from plans.moved((*plan.packing, *plan.steps), places)
    if not direct:
        yield from _copying(target, item, Strided.dense(piece.result.shape), piece.result, found, result)


def _copying(
    target: Target, item: int, source: Strided, placed: Strided, operand: Operand, into: Operand
) -> Iterator[Step]:
    """Yield the launch that copies a view of an operand to one of another."""
    axes = merged(source, placed)
    if not all(axis.size for axis in axes):
        return
    sizes, strides, others = (tuple(values) for values in zip(*axes, strict=True)) if axes else ((), (), ())
    places = (
        Operand(operand.place, operand.offset + item * source.offset),
        Operand(into.place, into.offset + item * placed.offset),
    )
    yield packing.copying(target, item, sizes, strides, others, places)


def _filling(
    problem: ConvProblem, target: Target, shape: tuple[int, ...], bias: Operand | None, into: Operand
) -> Step:
    """Return the launch that fills an array with a bias, or zeros."""
    count, last = prod(shape), problem.layout == "channels_last"
    plane = 1 if last else max(1, prod(shape[2:]))
    kernel = Kernel(_fill, problem.dtype, _THREADS)
    return target.step(kernel, (-(-count // _THREADS), 1, 1), (bias, into), (count, problem.channels, plane))


def _folding(problem: ConvProblem, target: Target) -> Step:
    """Return the launch that folds the border of a gradient at the beginning of the workspace back."""
    before, after = geometry(problem), geometry(without_border(problem))
    count = prod(problem.input_shape)
    names = {"shown": f"{padding.__name__}:{problem.padding_mode}"}
    lanes = problem.channels if problem.layout == "channels_last" else 1
    numbers = (count, lanes, *before.size, *after.size, *before.padding)
    pointers = Operand(Place.WORKSPACE), Operand(Place.OUT)
    kernel = Kernel(_fold, problem.dtype, _THREADS, names=names)
    return target.step(kernel, (-(-count // _THREADS), 1, 1), pointers, numbers)


def _as_it_lies(piece: Piece) -> bool:
    """Whether a forward problem reads the first operand itself."""
    return piece.images.is_dense and piece.room.is_dense


def _copied(piece: Piece) -> list[Strided]:
    """What is copied for a piece."""
    views = [view for view in (piece.weight, piece.result) if not view.is_dense]
    return views if _as_it_lies(piece) else [piece.images, *views]


def _bytes(shape: tuple[int, ...], item: int) -> int:
    return prod(shape) * item


def gradients(direction: str, among: Iterable[Algorithm]) -> tuple[Gradient, ...]:
    """Return each algorithm put to a gradient."""
    return tuple(Gradient(each, direction) for each in among)

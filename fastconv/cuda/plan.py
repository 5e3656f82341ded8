"""Plans: the launches of a problem, with all but addresses and stream decided and packed."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import NamedTuple

from fastconv.cuda import driver as drivers
from fastconv.cuda.compile import Code, Kernel, compiled, computed
from fastconv.cuda.driver import Device, Driver, Extent, Launch, Parameters
from fastconv.cuda.tensor_map import Block, TensorMap


class Operand(NamedTuple):
    """What a pointer of a kernel points to: one of a plan's operands, or some place in it."""

    place: int  # among those that the plan runs on
    offset: int = 0  # in bytes


class Mapped(NamedTuple):
    """What a tensor map of a kernel is of: how an array lies, and where it begins."""

    tensor_map: TensorMap
    operand: Operand


class Step(NamedTuple):
    """A launch, and what its pointers point to and its tensor maps are of."""

    launch: Launch
    pointers: tuple[Operand | None, ...]  # None: nothing
    maps: tuple[Mapped, ...] = ()


@dataclass(frozen=True)
class Target:
    """What a plan is made for: a device, and the driver that reaches it."""

    driver: Driver
    ordinal: int
    device: Device

    def step(
        self,
        kernel: Kernel,
        grid: Extent,
        pointers: Sequence[Operand | None],
        numbers: Sequence[float],
        shared: int = 0,
        maps: Sequence[Mapped] = (),
    ) -> Step:
        """Compile a kernel, load it and pack its parameters: pointers, tensor maps and numbers in their order.

        `shared` is the bytes of shared memory that the kernel uses besides what it declares.
        """
        (step,) = self.steps(kernel, pointers, ((grid, numbers),), shared, maps)
        return step

    def steps(
        self,
        kernel: Kernel,
        pointers: Sequence[Operand | None],
        launches: Iterable[tuple[Extent, Sequence[float]]],
        shared: int = 0,
        maps: Sequence[Mapped] = (),
    ) -> list[Step]:
        """Do what `step` does for several launches of one kernel: grids, and numbers."""
        kinds = kernel.parameters[len(pointers) + len(maps) :]
        assert (kernel.pointers, kernel.maps) == (len(pointers), len(maps))
        function = self._load(compiled(kernel, self.device.capability), shared)
        found = []
        for grid, numbers in launches:
            of_numbers = zip(numbers, kinds, strict=True)
            words = [_word(number, kind, computed(kernel.dtype)) for number, kind in of_numbers]
            parameters = Parameters(len(pointers), words, len(maps))
            launch = Launch(function, grid, (kernel.threads, 1, 1), shared, parameters)
            found.append(Step(launch, tuple(pointers), tuple(maps)))
        return found

    def _load(self, code: Code, shared: int) -> object:
        place = self.driver, self.ordinal, code, shared
        function = _functions.get(place)
        if function is None:
            function = _functions[place] = self.driver.load(code, self.ordinal, shared)
        return function


_functions: dict[tuple[Driver, int, Code, int], object] = {}


ALIGNMENT = 256  # bytes, at multiples of which what lies in a workspace begins


def aligned(size: int) -> int:
    """Return the bytes that something in a workspace takes, so that what follows is aligned."""
    return -(-size // ALIGNMENT) * ALIGNMENT


def moved(steps: Iterable[Step], places: Mapping[int, Operand]) -> list[Step]:
    """Return steps whose operands lie elsewhere, each behind what stands for its place; the others stay."""

    def elsewhere(operand: Operand) -> Operand:
        begin = places.get(operand.place)
        return operand if begin is None else Operand(begin.place, begin.offset + operand.offset)

    def step_elsewhere(step: Step) -> Step:
        pointers = tuple([None if operand is None else elsewhere(operand) for operand in step.pointers])
        maps = tuple([Mapped(tensor_map, elsewhere(operand)) for tensor_map, operand in step.maps])
        return Step(step.launch, pointers, maps)

    return list(map(step_elsewhere, steps))


def target(ordinal: int) -> Target:
    """Return the target that a device is."""
    driver = drivers.current()
    return Target(driver, ordinal, driver.device(ordinal))


def _word(number: float, kind: str, dtype: str) -> int:
    """The 64 bits of a parameter: the lower ones count where it has fewer."""
    if kind == "float":
        packed = struct.pack("<fxxxx" if dtype == "float32" else "<d", number)
        return int(struct.unpack("<q", packed)[0])
    assert isinstance(number, int)
    limit = 2**31 if kind == "int" else 2**63
    assert -limit <= number < limit, f"{number} is too large for a parameter"
    return number


class Plan:
    """Steps that compute something, one after the other on one stream.

    Those of `packing` depend on weights alone: once is enough for many calls, if what they write is kept.
    """

    def __init__(
        self, target: Target, steps: Sequence[Step], workspace: int, packing: Sequence[Step] = (), packed: int = 0
    ) -> None:
        self.workspace = workspace  # bytes of device memory that a call needs besides its arrays
        self.packed = packed  # bytes that the packing writes
        self.steps, self.packing = tuple(steps), tuple(packing)
        self._driver, self._ordinal = target.driver, target.ordinal
        self._lock = Lock()  # addresses are packed in place

    def pack(self, operands: Sequence[int], stream: int) -> None:
        """Launch the packing on the addresses of the operands, and do not wait."""
        self._launch(self.packing, operands, stream)

    def run(self, operands: Sequence[int], stream: int) -> None:
        """Launch what depends on more than weights, likewise."""
        self._launch(self.steps, operands, stream)

    def _launch(self, steps: Sequence[Step], operands: Sequence[int], stream: int) -> None:
        with self._lock:
            for launch, pointers, maps in steps:
                words = launch.parameters.words
                for i, operand in enumerate(pointers):
                    if operand is not None:
                        words[i] = operands[operand.place] + operand.offset
                for (tensor_map, operand), block in zip(maps, launch.parameters.blocks, strict=True):
                    self._map(tensor_map, block, operands[operand.place] + operand.offset)
                self._driver.launch(launch, self._ordinal, stream)

    def _map(self, tensor_map: TensorMap, block: Block, array: int) -> None:
        """Let a map be of the array at an address, which most calls find it is."""
        if array != block.array:
            if block.array:
                self._driver.move(block, array)
            else:
                self._driver.encode(tensor_map, block, array, self._ordinal)
            block.array = array

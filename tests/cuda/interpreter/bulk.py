"""Copies of tiles between global and shared memory by tensor maps: `cp.async.bulk.tensor`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from interpreter.access import address_reader
from interpreter.barriers import lanes_of
from interpreter.conversions import TYPES
from interpreter.engine import PIECE
from interpreter.errors import InterpreterError, UnknownInstructionError
from interpreter.operands import Active, Read, Step, braced, reader
from interpreter.parsing import Instruction, Kernel
from interpreter.tensor_maps import ELEMENTS, TensorMap, unpacked

if TYPE_CHECKING:
    from interpreter.machine import Machine


def copy(instruction: Instruction, kernel: Kernel) -> Step:
    """Any of them."""
    modifiers = instruction.modifiers
    if modifiers[2] == "commit_group":
        return _each(lambda machine, lane: machine.engine(lane).commit_stores(lane))
    if modifiers[2] == "wait_group":
        most = int(instruction.operands[0])
        return _each(lambda machine, lane: machine.engine(lane).wait_for_stores(lane, most))
    if modifiers[2] != "tensor":
        raise UnknownInstructionError(f"not interpreted: {instruction.text}")
    return (_load if "shared::cluster" in modifiers[4] else _store)(instruction, kernel)


def _each(act: Callable[[Machine, int], None]) -> Step:
    def step(machine: Machine, active: Active) -> None:
        for lane in lanes_of(machine, active):
            act(machine, int(lane))

    return step


def _of_map(operand: str, kernel: Kernel) -> tuple[Read, list[Read]]:
    """Return what reads the map's address and the coordinates."""
    match = re.fullmatch(r"\[\s*([%\w$]+)\s*,\s*(\{.*\})\s*\]", operand)
    if match is None:
        raise InterpreterError(f"no tensor map and coordinates: {operand}")
    return reader(match[1], kernel, TYPES["u64"]), [reader(one, kernel, TYPES["s32"]) for one in braced(match[2])]


def swizzled(addresses: np.ndarray) -> np.ndarray:
    """Where the engine puts what would lie at an address: the place in a row of 128 bytes depends on the row."""
    return addresses ^ ((addresses >> 7 & 7) << 4)


def _places(found: TensorMap, first: int, text: str) -> np.ndarray:
    """Return the places of pieces of 16 bytes in shared memory, a row for each of the tile."""
    if found.swizzle != 3 or found.row != 128:
        raise InterpreterError(f"only rows of 128 bytes, swizzled, are interpreted: {text}")
    if first % 1024:
        raise InterpreterError(f"a swizzled tile begins at {first}, no multiple of 1024: {text}")
    return swizzled(first + np.arange(found.rows)[:, None] * 128 + np.arange(0, 128, PIECE))


def _corners(found: TensorMap, coordinates: list[int], offsets: list[int]) -> Iterator[tuple[int, ...]]:
    """Return where each row of a tile begins in the array."""
    channel, *at = coordinates
    if found.box:
        for index in np.ndindex(*found.box[:0:-1]):
            yield (channel, *(one + i for one, i in zip(at, index[::-1], strict=True)))
        return
    last = [size - 1 + upper for size, upper in zip(found.sizes[1:-1], found.upper, strict=True)]
    for _ in range(found.pixels):
        yield (channel, *(one + offset for one, offset in zip(at, (*offsets, 0), strict=True)))
        for axis, step in enumerate(found.steps[1:-1]):
            at[axis] += step
            if at[axis] <= last[axis]:
                break
            at[axis] = found.lower[axis]
        else:
            at[-1] += 1


def _row(machine: Machine, found: TensorMap, corner: tuple[int, ...], text: str) -> tuple[int, int]:
    """Return the address of a row of a tile and how many of its bytes are inside the array."""
    inside = all(0 <= one < size for one, size in zip(corner[1:], found.sizes[1:], strict=True))
    count = min(found.row // found.itemsize, found.sizes[0] - corner[0]) if inside else 0
    if corner[0] < 0:
        raise InterpreterError(f"tiles that begin before the first channel are not interpreted: {text}")
    if count <= 0:
        return 0, 0
    steps = zip(corner[1:], found.strides, strict=True)
    return found.array + corner[0] * found.itemsize + sum(one * step for one, step in steps), count * found.itemsize


def _bytes(machine: Machine, address: int, size: int, text: str) -> np.ndarray:
    """Return places in global memory of so many bytes at an address, all of them allocated."""
    return machine.memory.places(address + np.arange(size), 1, None, text)


def _load(instruction: Instruction, kernel: Kernel) -> Step:
    target, source, barrier, *rest = instruction.operands
    into, counted = address_reader(target, kernel), address_reader(barrier, kernel)
    of_map, coordinates = _of_map(source, kernel)
    shifts = [reader(one, kernel, TYPES["u16"]) for one in braced(rest[0])] if rest else []
    text = instruction.text

    def step(machine: Machine, active: Active) -> None:
        for lane in map(int, lanes_of(machine, active)):
            found = unpacked(machine.parameter_bytes(int(of_map(machine)[lane]), 128))
            at = [int(one(machine)[lane]) for one in coordinates]
            offsets = [int(one(machine)[lane]) for one in shifts]
            if (found.box == ()) != ("im2col" in instruction.modifiers) or len(at) != len(found.sizes):
                raise InterpreterError(f"the map is of another kind: {text}")
            limit = {0: 1, 1: 1 << 16, 2: 1 << 8, 3: 1 << 5}[len(offsets)]
            if any(not 0 <= one < limit for one in offsets):
                raise InterpreterError(f"offsets {offsets} are not below {limit}: {text}")
            places = _places(found, int(into(machine)[lane]), text)
            if places.max() + PIECE > machine.shared_bytes:
                raise InterpreterError(f"a tile ends beyond {machine.shared_bytes} bytes of shared memory: {text}")
            rows = [_row(machine, found, corner, text) for corner in _corners(found, at, offsets)]
            memory = machine.shared[machine.shared_start(lane) :][: machine.shared_bytes]
            memory[places[..., None] + np.arange(PIECE)] = 0xFF  # until it arrives

            def land(
                found: TensorMap = found,
                rows: list[tuple[int, int]] = rows,
                places: np.ndarray = places,
                memory: np.ndarray = memory,
            ) -> None:
                tile = np.zeros((len(rows), 128), np.uint8)
                for line, (address, size) in zip(tile, rows, strict=True):
                    if size:
                        line[:size] = machine.memory.bytes[_bytes(machine, address, size, text)]
                if ELEMENTS[found.element][1]:
                    tile = rounded(tile.view(np.uint32)).view(np.uint8)
                memory[places[..., None] + np.arange(PIECE)] = tile.reshape(len(rows), -1, PIECE)

            pieces = (places // PIECE).ravel()
            machine.engine(lane).load(lane, int(counted(machine)[lane]), pieces, found.rows * 128, land, text)

    return step


def rounded(bits: np.ndarray) -> np.ndarray:
    """float32 to the nearest with 10 bits behind the point, of two the larger: tfloat32."""
    return (bits + np.uint32(0x1000)) & np.uint32(0xFFFFE000)


def _store(instruction: Instruction, kernel: Kernel) -> Step:
    target, source = instruction.operands
    of_map, coordinates = _of_map(target, kernel)
    from_, text = address_reader(source, kernel), instruction.text

    def step(machine: Machine, active: Active) -> None:
        for lane in map(int, lanes_of(machine, active)):
            found = unpacked(machine.parameter_bytes(int(of_map(machine)[lane]), 128))
            at = [int(one(machine)[lane]) for one in coordinates]
            if not found.box or len(at) != len(found.sizes):
                raise InterpreterError(f"the map is of another kind: {text}")
            places = _places(found, int(from_(machine)[lane]), text)
            rows = [_row(machine, found, corner, text) for corner in _corners(found, at, [])]
            mine = np.arange(machine.count) == lane
            first = machine.shared_start(lane)

            def read(
                rows: list[tuple[int, int]] = rows,
                places: np.ndarray = places,
                mine: np.ndarray = mine,
                first: int = first,
                lane: int = lane,
            ) -> None:
                for line, (address, size) in zip(places, rows, strict=True):
                    machine.watch_engine("shared", line + first, PIECE, lane, text, writes=False)
                    if size:
                        into = _bytes(machine, address, size, text)
                        machine.watch_engine("global", into, 1, lane, text, writes=True)
                        data = machine.shared[(line + first)[:, None] + np.arange(PIECE)].ravel()
                        machine.memory.bytes[into] = data[:size]

            machine.watch_engine("shared", places + first, PIECE, lane, text, writes=False)
            machine.engine(lane).store(lane, (places // PIECE).ravel(), read, text)

    return step


__all__ = ["copy", "rounded", "swizzled"]

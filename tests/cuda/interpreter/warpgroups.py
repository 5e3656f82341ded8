"""Instructions of four warps together: products of tiles in shared memory, and registers handed on."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from interpreter.barriers import WARPGROUP, lanes_of
from interpreter.bulk import swizzled
from interpreter.conversions import TYPES, from_bfloat16
from interpreter.engine import PIECE
from interpreter.errors import BarrierError, InterpreterError, UnknownInstructionError
from interpreter.operands import Active, Step, braced, reader, writer
from interpreter.parsing import Instruction, Kernel

if TYPE_CHECKING:
    from interpreter.machine import Machine

_ROWS = 64  # of the left factor
_STEP = 32  # bytes of each row that an instruction multiplies


def _groups(machine: Machine, active: Active, text: str) -> list[tuple[int, int]]:
    """Return the warpgroups that execute, as block and number; raise unless all of their threads do."""
    lanes = lanes_of(machine, active)
    if machine.block_size % WARPGROUP:
        raise BarrierError(f"a block has a part of a warpgroup: {text}")
    groups, counts = np.unique(lanes // WARPGROUP, return_counts=True)
    if (counts != WARPGROUP).any():
        raise BarrierError(f"not all threads of a warpgroup are there: {text}")
    of_block = machine.block_size // WARPGROUP
    return [(int(group) // of_block, int(group) % of_block) for group in groups]


def registers(instruction: Instruction, kernel: Kernel) -> Step:
    """`setmaxnreg`: registers are not counted here."""

    def step(machine: Machine, active: Active) -> None:
        _groups(machine, active, instruction.text)

    return step


def fence(instruction: Instruction, kernel: Kernel) -> Step:
    """`fence.proxy.async` and `fence.mbarrier_init`: what the engine may see; other fences order nothing here."""
    shows, announces = instruction.modifiers[:2] == ["proxy", "async"], "mbarrier_init" in instruction.modifiers

    def step(machine: Machine, active: Active) -> None:
        if not machine.engines:
            return
        lanes = lanes_of(machine, active)
        for block in np.unique(lanes // machine.block_size):
            engine = machine.engines[block]
            if shows:
                engine.show(lanes[lanes // machine.block_size == block])
            if announces:
                for barrier in engine.barriers.values():
                    barrier.announced = True

    return step


def products(instruction: Instruction, kernel: Kernel) -> Step:
    """`wgmma`."""
    operation, text = instruction.modifiers[0], instruction.text
    if operation == "mma_async":
        return _multiply(instruction, kernel)
    most = int(instruction.operands[0]) if operation == "wait_group" else 0

    def step(machine: Machine, active: Active) -> None:
        for block, group in _groups(machine, active, text):
            if operation == "commit_group":
                machine.engines[block].commit_products(group)
            elif operation == "wait_group":
                machine.engines[block].wait_for_products(group, most)

    return step


def _matrix(machine: Machine, block: int, descriptor: int, rows: int, text: str) -> tuple[np.ndarray, np.ndarray]:
    """Return 32 bytes of each of some rows that a descriptor says, and the pieces that they are."""
    start, eight = (descriptor & 0x3FFF) << 4, (descriptor >> 32 & 0x3FFF) << 4
    if descriptor >> 62 != 1 or descriptor >> 49 & 7:
        raise UnknownInstructionError(f"only rows of 128 bytes, swizzled, are interpreted: {text}")
    row = np.arange(rows)[:, None]
    places = swizzled(start + row // 8 * eight + row % 8 * 128 + np.arange(0, _STEP, PIECE))
    if places.max() + PIECE > machine.shared_bytes:
        raise InterpreterError(f"a matrix ends beyond {machine.shared_bytes} bytes of shared memory: {text}")
    memory = machine.shared[block * machine.shared_bytes :]
    return memory[places[..., None] + np.arange(PIECE)].reshape(rows, _STEP), (places // PIECE).ravel()


_NUMBERS = {
    "f16": lambda bits: bits.view(np.float16).astype(np.float64),
    "bf16": lambda bits: from_bfloat16(bits.view(np.uint16)).astype(np.float64),
    "tf32": lambda bits: (bits.view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32).astype(np.float64),
}


def _multiply(instruction: Instruction, kernel: Kernel) -> Step:
    """`wgmma.mma_async`: 64 x N sums, of which a thread has two neighbours of 8 columns in rows that lie 8 apart."""
    modifiers, text = instruction.modifiers, instruction.text
    shape = re.fullmatch(r"m64n(\d+)k(\d+)", modifiers[3])
    sums, *operands = instruction.operands
    if shape is None or modifiers[4] != "f32" or modifiers[5] not in _NUMBERS or operands[2:] not in _PLAIN:
        raise UnknownInstructionError(f"not interpreted: {text}")
    columns, numbers = int(shape[1]), _NUMBERS[modifiers[5]]
    names = braced(sums)
    reads = [reader(name, kernel, TYPES["f32"]) for name in names]
    writes = [writer(name, kernel) for name in names]
    left, right = [reader(one, kernel, TYPES["u64"]) for one in operands[:2]]
    thread = np.arange(WARPGROUP)
    rows, pairs = thread // 32 * 16 + thread % 32 // 4, thread % 4 * 2

    def step(machine: Machine, active: Active) -> None:
        found = np.stack([read(machine) for read in reads]).astype(np.float32)
        descriptors = left(machine), right(machine)
        of_block = machine.block_size // WARPGROUP
        for block, group in _groups(machine, active, text):
            lanes = (block * of_block + group) * WARPGROUP + thread
            if any((one[lanes] != one[lanes[0]]).any() for one in descriptors):
                raise InterpreterError(f"threads of a warpgroup have several descriptors: {text}")
            a, b = (int(one[lanes[0]]) for one in descriptors)
            (a, of_a), (b, of_b) = _matrix(machine, block, a, _ROWS, text), _matrix(machine, block, b, columns, text)
            machine.engines[block].multiply(group, np.concatenate((of_a, of_b)), text)
            product = numbers(a) @ numbers(b).T
            for i in range(len(names)):
                mine = product[rows + i // 2 % 2 * 8, i // 4 * 8 + pairs + i % 2]
                found[i, lanes] = found[i, lanes] + mine
        for i, write in enumerate(writes):
            write(machine, found[i], active)

    return step


_PLAIN = (["1", "1", "1", "0", "0"], ["1", "1", "1"])  # added to the sums, no signs turned, nothing transposed

__all__ = ["fence", "products", "registers"]

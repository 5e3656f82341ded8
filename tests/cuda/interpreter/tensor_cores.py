"""Products of matrices by a whole warp, and the loads that fill their fragments.

Sums are those of the exact products, rounded once: in which order a device adds, and what it cuts off on the way, it
does not say. Of tf32 the lower 13 bits of a register do not count, as on a device: who does not round, truncates.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from interpreter.access import address_reader
from interpreter.conversions import TYPES, from_bfloat16
from interpreter.errors import BarrierError, UnknownInstructionError
from interpreter.operands import WARP, Active, Step, braced, reader, writer
from interpreter.parsing import Instruction, Kernel
from interpreter.warps import in_warps

if TYPE_CHECKING:
    from interpreter.machine import Machine

_ROWS, _COLUMNS = 16, 8  # of a product
_LANES = np.arange(WARP)
_ROW, _PLACE = _LANES // 4, _LANES % 4  # g and t of the instruction's description
_REGISTERS_OF_A = ((0, 0), (8, 0), (0, 1), (8, 1))  # rows below the first, and which half of the columns


def _whole_warps(machine: Machine, active: Active, text: str) -> np.ndarray:
    """Return which warps execute; raise unless each does so with all its threads."""
    in_warps(machine, active, text, np.full(machine.count, 0xFFFFFFFF, np.uint32))
    if machine.block_size % WARP:
        raise BarrierError(f"a warp has fewer than {WARP} threads: {text}")
    here = np.ones(machine.count, bool) if active is None else active
    return np.flatnonzero(here.reshape(-1, WARP)[:, 0])


def load_matrices(instruction: Instruction, kernel: Kernel) -> Step:
    """`ldmatrix`: of each matrix, eight lanes give the addresses of eight rows of 16 bytes.

    Transposed, lane 4 r + t gets not halves 2 t and 2 t + 1 of row r, but half r of the rows 2 t and 2 t + 1.
    """
    modifiers, text = instruction.modifiers, instruction.text
    transposed = "trans" in modifiers
    writes = [writer(target, kernel) for target in braced(instruction.operands[0])]
    if len(writes) != 4 or "m8n8" not in modifiers:
        raise UnknownInstructionError(f"not interpreted: {text}")
    address = address_reader(instruction.operands[1], kernel)

    def step(machine: Machine, active: Active) -> None:
        _whole_warps(machine, active, text)
        memory, places = machine.look("shared", address(machine), 16, active, text, False)
        rows = np.where(np.ones(machine.count, bool) if active is None else active, places, 0)
        words = memory.view(np.uint32)[(rows // 4)[:, None] + np.arange(4)]
        if transposed:
            halves = words.view(np.uint16).reshape(-1, 8, 8).swapaxes(1, 2)
            words = np.ascontiguousarray(halves).view(np.uint32)
        words = words.reshape(-1, 4, 8 * 4)  # warp, matrix, lane
        for matrix, write in enumerate(writes):
            write(machine, words[:, matrix].ravel(), active)

    return step


def multiply(instruction: Instruction, kernel: Kernel) -> Step:
    """`mma`: 16 rows by 8 columns, sums of 16 products of halves or 8 of tf32."""
    modifiers, text = instruction.modifiers, instruction.text
    types = {"m16n8k16": ("f16", "bf16"), "m16n8k8": ("tf32",)}
    shape = next((one for one in modifiers if one in types), "")
    if modifiers[-4:] not in [["f32", kind, kind, "f32"] for kind in types.get(shape, ())]:
        raise UnknownInstructionError(f"not interpreted: {text}")
    kind = modifiers[-2]
    writes = [writer(one, kernel) for one in braced(instruction.operands[0])]
    of_a, of_b = ([reader(one, kernel, TYPES["b32"]) for one in braced(instruction.operands[i])] for i in (1, 2))
    of_sums = [reader(one, kernel, TYPES["f32"]) for one in braced(instruction.operands[3])]

    def step(machine: Machine, active: Active) -> None:
        warps = _whole_warps(machine, active, text)
        per_word = 1 if kind == "tf32" else 2
        half = 4 * per_word  # of the columns of A: those of one register of each lane
        a, b = np.zeros((len(warps), _ROWS, 2 * half)), np.zeros((len(warps), 2 * half, _COLUMNS))
        for read, (below, second) in zip(of_a, _REGISTERS_OF_A, strict=True):
            for i, values in enumerate(_values(read(machine).reshape(-1, WARP)[warps], kind)):
                a[:, _ROW + below, second * half + _PLACE * per_word + i] = values
        for second, read in enumerate(of_b):
            for i, values in enumerate(_values(read(machine).reshape(-1, WARP)[warps], kind)):
                b[:, second * half + _PLACE * per_word + i, _ROW] = values
        products = a @ b
        for i, (read, write) in enumerate(zip(of_sums, writes, strict=True)):
            found = read(machine).copy().reshape(-1, WARP)
            found[warps] = found[warps] + products[:, _ROW + i // 2 * 8, _PLACE * 2 + i % 2]
            write(machine, found.ravel(), active)

    return step


def _values(words: np.ndarray, kind: str) -> list[np.ndarray]:
    """Return the numbers in registers, in float64: one, or the lower and the upper half."""
    if kind == "tf32":
        return [(words & np.uint32(0xFFFFE000)).view(np.float32).astype(np.float64)]
    halves = [(words >> np.uint32(16 * i)).astype(np.uint16) for i in range(2)]
    return [(one.view(np.float16) if kind == "f16" else from_bfloat16(one)).astype(np.float64) for one in halves]

"""Instructions as functions of the machine and of the threads that execute them.

Each is made once, when a kernel is launched: its operands are looked up then, and not for every step.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from interpreter import access, barriers, bulk, tensor_cores, warpgroups, warps
from interpreter.arithmetic import Signature, signature
from interpreter.conversions import TYPES, UNSIGNED
from interpreter.errors import InterpreterError, UnknownInstructionError
from interpreter.operands import Active, Step, braced, reader, writer
from interpreter.parsing import Instruction, Kernel

if TYPE_CHECKING:
    from interpreter.machine import Machine

_NOTHING = ("membar", "prefetch", "prefetchu", "griddepcontrol", "discard", "applypriority")


def step_of(instruction: Instruction, kernel: Kernel) -> Step:
    """Return what an instruction does; branches, barriers and ends are the machine's."""
    name, modifiers, operands = instruction.name, instruction.modifiers, instruction.operands
    if name == "cp" and "bulk" in modifiers:
        return bulk.copy(instruction, kernel)
    if name in _NOTHING:
        return lambda machine, active: None
    if name in _SPECIAL:
        return _SPECIAL[name](instruction, kernel)
    found = signature(name, modifiers, len(operands) - 1)
    if found is None:
        raise UnknownInstructionError(f"not interpreted: {instruction.text}")
    return _computing(found, instruction, kernel)


def _computing(found: Signature, instruction: Instruction, kernel: Kernel) -> Step:
    target, *sources = instruction.operands
    if "|" in target:
        raise UnknownInstructionError(f"a second result is not interpreted: {instruction.text}")
    write = writer(target, kernel)
    reads = [reader(source, kernel, kind) for source, kind in zip(sources, found.operands, strict=True)]
    compute = found.compute
    if len(reads) == 2:
        first, second = reads
        return lambda machine, active: write(machine, compute(first(machine), second(machine)), active)

    def step(machine: Machine, active: Active) -> None:
        write(machine, compute(*[read(machine) for read in reads]), active)

    return step


def _move(instruction: Instruction, kernel: Kernel) -> Step:
    """`mov`: a copy, or a register put together from several, or taken apart."""
    target, source = instruction.operands
    dtype = TYPES[instruction.modifiers[-1]]
    targets, sources = braced(target), braced(source)
    if len(targets) == len(sources) == 1:
        read, write = reader(source, kernel, dtype), writer(target, kernel)
        return lambda machine, active: write(machine, read(machine), active)
    size = dtype.itemsize // max(len(targets), len(sources))
    part = UNSIGNED[size]
    reads = [reader(one, kernel, part if len(sources) > 1 else dtype) for one in sources]
    writes = [writer(one, kernel) for one in targets]

    def step(machine: Machine, active: Active) -> None:
        pieces = [read(machine) for read in reads]
        whole = np.stack(pieces, axis=1) if len(pieces) > 1 else np.ascontiguousarray(pieces[0])[:, None]
        for index, write in enumerate(writes):
            value = whole.view(part)[:, index] if len(writes) > 1 else whole.view(dtype)[:, 0]
            write(machine, value.copy(), active)

    return step


def _address_of(instruction: Instruction, kernel: Kernel) -> Step:
    """`cvta`: the spaces have the same addresses here."""
    target, source = instruction.operands
    read, write = reader(source, kernel, TYPES["u64"]), writer(target, kernel)
    return lambda machine, active: write(machine, read(machine), active)


def _trap(instruction: Instruction, kernel: Kernel) -> Step:
    def step(machine: Machine, active: Active) -> None:
        raise InterpreterError(f"the kernel gave up: {instruction.text}")

    return step


_SPECIAL: dict[str, Callable[[Instruction, Kernel], Step]] = {
    "mov": _move,
    "cvta": _address_of,
    "trap": _trap,
    "ld": access.load,
    "st": access.store,
    "atom": access.atomic,
    "red": access.atomic,
    "cp": access.copy_async,
    "ldmatrix": tensor_cores.load_matrices,
    "mma": tensor_cores.multiply,
    "shfl": warps.shuffle,
    "vote": warps.vote,
    "activemask": warps.active_mask,
    "bar": warps.warp_barrier,  # of blocks it is the machine's
    "mbarrier": barriers.mbarrier,
    "fence": warpgroups.fence,
    "setmaxnreg": warpgroups.registers,
    "wgmma": warpgroups.products,
}

"""Loads and stores, each looked at before it is done."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from interpreter.conversions import TYPES
from interpreter.errors import InterpreterError, UnknownInstructionError
from interpreter.operands import Active, Read, Step, braced, reader, writer
from interpreter.parsing import Instruction, Kernel

if TYPE_CHECKING:
    from interpreter.machine import Machine


def load(instruction: Instruction, kernel: Kernel) -> Step:
    """`ld`: from parameters, or from memory into one register, or two or four that lie together."""
    modifiers, dtype = instruction.modifiers, TYPES[instruction.modifiers[-1]]
    targets = braced(instruction.operands[0])
    writes = [writer(target, kernel) for target in targets]
    if "param" in modifiers:
        return _parameter(instruction, kernel)
    address, size = address_reader(instruction.operands[1], kernel), dtype.itemsize
    space = _space(modifiers)

    def step(machine: Machine, active: Active) -> None:
        memory, places = machine.look(space, address(machine), size * len(writes), active, instruction.text, False)
        typed, first = memory.view(dtype), places // size
        for index, write in enumerate(writes):
            write(machine, typed[first + index], active)

    return step


def store(instruction: Instruction, kernel: Kernel) -> Step:
    """`st`: the other way."""
    modifiers, dtype = instruction.modifiers, TYPES[instruction.modifiers[-1]]
    reads = [reader(source, kernel, dtype) for source in braced(instruction.operands[1])]
    address, size = address_reader(instruction.operands[0], kernel), dtype.itemsize
    space = _space(modifiers)

    def step(machine: Machine, active: Active) -> None:
        memory, places = machine.look(space, address(machine), size * len(reads), active, instruction.text, True)
        typed, first = memory.view(dtype), places // size
        for index, read in enumerate(reads):
            value = read(machine)
            if active is None:
                typed[first + index] = value
            else:
                typed[first[active] + index] = value[active]

    return step


def _space(modifiers: list[str]) -> str:
    found = [name.partition("::")[0] for name in modifiers]
    return next((space for space in ("global", "shared", "const", "local") if space in found), "generic")


def address_reader(operand: str, kernel: Kernel) -> Read:
    """Return what reads an address: a register or a variable, and a number of bytes to add."""
    match = re.fullmatch(r"\[\s*([%\w$]+)\s*(?:\+\s*(-?\w+))?\s*\]", operand)
    if match is None:
        raise InterpreterError(f"no address: {operand}")
    name, offset = match[1], int(match[2] or "0", 0)
    narrow = name.startswith("%") and kernel.width(name) == 4
    read = reader(name, kernel, TYPES["u32" if narrow else "s64"])
    return lambda machine: read(machine).astype(np.int64) + offset


def _parameter(instruction: Instruction, kernel: Kernel) -> Step:
    dtype = TYPES[instruction.modifiers[-1]]
    match = re.fullmatch(r"\[([\w$]+)(?:\+(\d+))?\]", instruction.operands[1])
    if match is None or match[1] not in kernel.parameters:
        raise UnknownInstructionError(f"not interpreted: {instruction.text}")
    offset = kernel.parameters[match[1]] + int(match[2] or 0)
    writes = [writer(target, kernel) for target in braced(instruction.operands[0])]

    def step(machine: Machine, active: Active) -> None:
        for index, write in enumerate(writes):
            value = np.frombuffer(machine.parameters, dtype, 1, offset + index * dtype.itemsize)
            write(machine, np.broadcast_to(value, machine.count), active)

    return step


def atomic(instruction: Instruction, kernel: Kernel) -> Step:
    """`atom` and `red` of sums and extremes, whose order does not matter; others use none of this."""
    modifiers, dtype = instruction.modifiers, TYPES[instruction.modifiers[-1]]
    function = next((_ATOMIC[name] for name in modifiers if name in _ATOMIC), None)
    if function is None:
        raise UnknownInstructionError(f"not interpreted: {instruction.text}")
    *targets, where, source = instruction.operands
    address, read, size = address_reader(where, kernel), reader(source, kernel, dtype), dtype.itemsize
    write = writer(targets[0], kernel) if targets else None
    space = _space(modifiers)

    def step(machine: Machine, active: Active) -> None:
        memory, places = machine.look(space, address(machine), size, active, instruction.text, None)
        typed, value = memory.view(dtype), read(machine)
        before = np.zeros(machine.count, dtype)
        for lane in range(machine.count) if active is None else np.flatnonzero(active):
            place = places[lane] // size
            before[lane] = typed[place]
            typed[place] = function(typed[place], value[lane])
        if write is not None:
            write(machine, before, active)

    return step


_ATOMIC = {"add": np.add, "max": np.maximum, "min": np.minimum, "and": np.bitwise_and, "or": np.bitwise_or}


def copy_async(instruction: Instruction, kernel: Kernel) -> Step:
    """`cp.async`: data that lands when it is waited for, and is NaN before."""
    kind = next((name for name in instruction.modifiers if name in ("commit_group", "wait_group", "wait_all")), None)
    if kind is not None:
        most = int(instruction.operands[0]) if instruction.operands else 0

        def group(machine: Machine, active: Active) -> None:
            if kind != "wait_group":
                machine.copies.commit(active)
            if kind != "commit_group":
                machine.copies.land(most, active, machine.shared)

        return group
    size = int(instruction.operands[2])
    into, source = (address_reader(one, kernel) for one in instruction.operands[:2])
    read = reader(instruction.operands[3], kernel, TYPES["u32"]) if len(instruction.operands) > 3 else None

    def step(machine: Machine, active: Active) -> None:
        shared, places = machine.look("shared", into(machine), size, active, instruction.text, True)
        wanted = np.full(machine.count, size) if read is None else read(machine).astype(np.int64)
        reading = (wanted > 0) if active is None else active & (wanted > 0)
        memory, sources = machine.look("global", source(machine), size, reading, instruction.text, False)
        lanes = np.arange(machine.count) if active is None else np.flatnonzero(active)
        targets = places[lanes, None] + np.arange(size)
        data = np.where(np.arange(size) < wanted[lanes, None], memory[sources[lanes, None] + np.arange(size)], 0)
        shared[targets] = 0xFF
        machine.copies.begin(lanes, targets, data.astype(np.uint8))

    return step

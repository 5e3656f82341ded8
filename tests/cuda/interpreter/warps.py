"""Instructions in which the threads of a warp look at each other's registers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from interpreter.conversions import TYPES
from interpreter.errors import BarrierError
from interpreter.operands import Active, Step, reader, writer
from interpreter.parsing import Instruction, Kernel

if TYPE_CHECKING:
    from interpreter.machine import Machine


def in_warps(machine: Machine, active: Active, text: str, members: np.ndarray) -> None:
    """Raise unless each warp executes with all the threads that an instruction names."""
    here = np.ones(machine.count, bool) if active is None else active
    named = (members >> machine.special["%laneid"]) & 1 == 1
    if (here & ~named).any():
        raise BarrierError(f"a thread executes what it is not a member of: {text}")
    arrived = np.zeros(machine.warps, np.uint32)
    np.bitwise_or.at(arrived, machine.warp[here], np.uint32(1) << machine.special["%laneid"][here])
    there = np.zeros(machine.warps, np.uint32)
    np.bitwise_or.at(there, machine.warp, np.uint32(1) << machine.special["%laneid"])
    if (arrived[machine.warp[here]] != (members[here] & there[machine.warp[here]])).any():
        raise BarrierError(f"not all threads of a warp are there: {text}")


def shuffle(instruction: Instruction, kernel: Kernel) -> Step:
    """`shfl`: a value from another lane of the warp."""
    target, *sources = instruction.operands
    names = target.split("|")
    writes = [writer(name, kernel) for name in names]
    read, lane, clamp, members = [reader(one, kernel, TYPES["b32"]) for one in sources]
    mode = instruction.modifiers[1]

    def step(machine: Machine, active: Active) -> None:
        in_warps(machine, active, instruction.text, members(machine))
        own = machine.special["%laneid"].astype(np.int64)
        operand, limits = lane(machine).astype(np.int64), clamp(machine).astype(np.int64)
        segment, limit = limits >> 8 & 31, limits & 31
        last = (own & segment) | (limit & ~segment)
        other = {"up": own - operand, "down": own + operand, "bfly": own ^ operand}.get(
            mode, (own & segment) | (operand & ~segment & 31)
        )
        inside = other >= last if mode == "up" else other <= last
        source = np.where(inside, other, own)
        place = np.arange(machine.count) + source - own
        inside &= place < machine.count
        values = read(machine)
        writes[0](machine, values[np.clip(place, 0, machine.count - 1)], active)
        if len(writes) > 1:
            writes[1](machine, inside, active)

    return step


def vote(instruction: Instruction, kernel: Kernel) -> Step:
    """`vote`: what the predicates of a warp are together."""
    target, predicate, members = instruction.operands
    write, read = writer(target, kernel), reader(predicate, kernel, TYPES["pred"])
    named = reader(members, kernel, TYPES["b32"])
    mode = instruction.modifiers[1]

    def step(machine: Machine, active: Active) -> None:
        in_warps(machine, active, instruction.text, named(machine))
        here = np.ones(machine.count, bool) if active is None else active
        ballots = np.zeros((2, machine.warps), np.uint32)
        bit = np.uint32(1) << machine.special["%laneid"]
        value = read(machine)
        for row, lanes in enumerate((here & value, here & ~value)):
            np.bitwise_or.at(ballots[row], machine.warp[lanes], bit[lanes])
        yes, no = ballots[:, machine.warp]
        found = {"ballot": yes, "all": no == 0, "any": yes != 0, "uni": (yes == 0) | (no == 0)}[mode]
        write(machine, found, active)

    return step


def active_mask(instruction: Instruction, kernel: Kernel) -> Step:
    write = writer(instruction.operands[0], kernel)

    def step(machine: Machine, active: Active) -> None:
        here = np.ones(machine.count, bool) if active is None else active
        mask = np.zeros(machine.warps, np.uint32)
        np.bitwise_or.at(mask, machine.warp[here], np.uint32(1) << machine.special["%laneid"][here])
        write(machine, mask[machine.warp], active)

    return step


def warp_barrier(instruction: Instruction, kernel: Kernel) -> Step:
    """`bar.warp.sync`: what a warp did before it is ordered before what it does after."""
    members = reader(instruction.operands[0], kernel, TYPES["b32"])

    def step(machine: Machine, active: Active) -> None:
        in_warps(machine, active, instruction.text, members(machine))
        machine.threads.pass_warp_barrier(slice(None) if active is None else active)

    return step

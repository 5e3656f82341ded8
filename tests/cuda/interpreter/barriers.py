"""Barriers that count arrivals and bytes (mbarrier), and who knows by them what has happened.

Some things happen again and again: a phase of a barrier ends; a warpgroup has waited for its products. Each has a row
in a table of what a thread knows: how often it has happened. A thread learns from the barriers that it waits for, and a
barrier from the threads that arrive. What the engine that copies and the tensor cores do to shared memory is allowed
only where this says that what it collides with is over. That is the order that PTX guarantees, whatever the order in
which this interpreter runs threads.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from interpreter.access import address_reader
from interpreter.conversions import TYPES
from interpreter.errors import BarrierError, InterpreterError, UnknownInstructionError
from interpreter.operands import WARP, Active, Read, Step, reader, writer
from interpreter.parsing import Instruction, Kernel

if TYPE_CHECKING:
    from interpreter.machine import Machine

WARPGROUP = 4 * WARP
MOST_BARRIERS = 64  # of a block
ROWS = 1024 // WARPGROUP + MOST_BARRIERS  # of what is known: warpgroups first


@dataclass(slots=True)
class Barrier:
    """One of a block's."""

    row: int  # of the table
    arrivals: int  # of a phase
    pending: int
    missing: int = 0  # bytes that are expected and have not come
    phase: int = 0  # phases that ended
    announced: bool = False  # to the engine that copies
    arriving: np.ndarray = field(default_factory=lambda: np.zeros(ROWS, np.int64))
    known: np.ndarray = field(default_factory=lambda: np.zeros(ROWS, np.int64))  # of those who arrived in past phases

    def passed(self, parity: int) -> bool:
        """Whether the phase of a parity, the current one or the one before, has ended."""
        return self.phase & 1 != parity

    def arrive(self, known: np.ndarray, text: str) -> None:
        """Count an arrival."""
        if not self.pending:
            raise BarrierError(f"more arrive than a barrier waits for: {text}")
        self.pending -= 1
        np.maximum(self.arriving, known, out=self.arriving)
        self.end_phase()

    def end_phase(self) -> None:
        """Begin the next phase if nothing is missing in this one."""
        if not self.pending and not self.missing:
            self.phase += 1
            self.pending = self.arrivals
            np.maximum(self.known, self.arriving, out=self.known)
            self.known[self.row] = self.phase


def lanes_of(machine: Machine, active: Active) -> np.ndarray:
    """Return the numbers of the lanes that execute."""
    return np.arange(machine.count) if active is None else np.flatnonzero(active)


def by_block(machine: Machine, lanes: np.ndarray, *values: np.ndarray) -> list[tuple[int, tuple[int, ...], np.ndarray]]:
    """Return the lanes of each block for which values are the same, with these."""
    keys = np.stack([lanes // machine.block_size, *[value[lanes].astype(np.int64) for value in values]], axis=1)
    found, places = np.unique(keys, axis=0, return_inverse=True)
    places = places.reshape(-1)
    return [(int(key[0]), tuple(int(one) for one in key[1:]), lanes[places == i]) for i, key in enumerate(found)]


def mbarrier(instruction: Instruction, kernel: Kernel) -> Step:
    """`mbarrier.init` and `mbarrier.arrive`; waiting is the machine's."""
    operation, text = instruction.modifiers[0], instruction.text
    operands = [one for one in instruction.operands if one != "_"]
    address = address_reader(operands[0], kernel)
    amount = reader(operands[1], kernel, TYPES["u32"]) if len(operands) > 1 else None
    counted = operation == "init" or "expect_tx" in instruction.modifiers
    if operation not in ("init", "arrive") or counted != (amount is not None):
        raise UnknownInstructionError(f"not interpreted: {text}")

    def step(machine: Machine, active: Active) -> None:
        places = address(machine)
        amounts = None if amount is None else amount(machine)
        for lane in lanes_of(machine, active):
            engine, place = machine.engines[lane // machine.block_size], int(places[lane])
            count = 0 if amounts is None else int(amounts[lane])
            if operation == "init":
                if place % 8 or not 0 <= place <= machine.shared_bytes - 8 or place in engine.barriers:
                    raise InterpreterError(f"no barrier can be made at {place}: {text}")
                row = ROWS - MOST_BARRIERS + len(engine.barriers)
                engine.barriers[place] = Barrier(row, count, count)
            else:
                barrier = engine.barrier(place, text)
                barrier.missing += count
                barrier.arrive(machine.known[:, lane], text)

    return step


def waiting(instruction: Instruction, kernel: Kernel) -> tuple[Read, Step]:
    """`mbarrier.try_wait`: which threads need not wait, and what those do."""
    if instruction.modifiers[:2] != ["try_wait", "parity"]:
        raise UnknownInstructionError(f"not interpreted: {instruction.text}")
    target, where, which = instruction.operands[:3]
    write, address, parity = writer(target, kernel), address_reader(where, kernel), reader(which, kernel, TYPES["u32"])

    def passed(machine: Machine) -> np.ndarray:
        found, lanes = np.zeros(machine.count, bool), np.flatnonzero(machine.asking)
        for block, (place, bit), mine in by_block(machine, lanes, address(machine), parity(machine)):
            found[mine] = machine.engines[block].barrier(place, instruction.text).passed(bit)
        return found

    def step(machine: Machine, active: Active) -> None:
        for block, (place,), mine in by_block(machine, lanes_of(machine, active), address(machine)):
            known = machine.engines[block].barrier(place, instruction.text).known
            machine.known[:, mine] = np.maximum(machine.known[:, mine], known[:, None])
        write(machine, np.ones(machine.count, bool), active)

    return passed, step

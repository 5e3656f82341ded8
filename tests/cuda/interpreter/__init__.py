"""Runs compiled PTX on the processor, and looks at every access to memory.

A test's device: kernels are compiled as for a GPU, and interpreted here. Every thread of a number of blocks is a lane
of NumPy vectors, so that an instruction costs some microseconds for thousands of threads. What is found, and raised as
an :class:`InterpreterError`:

- accesses outside every allocation, and misaligned ones (`memory.py`);
- two threads that touch the same bytes, one of them writing, with no barrier between them (`races.py`);
- barriers that some threads of a block never reach, and loops without an end (`machine.py`);
- registers that are read before they are written, and instructions that are not known here;
- tiles that are read, overwritten or stored before a barrier says that they have come, been multiplied or been written
  (`engine.py`).

Memory that nobody has written yet is NaN. What is not modelled: time, what ptxas makes of the PTX, the order of
threads between barriers, on which a program without races does not depend, and registers that warpgroups' products
have not written yet: a sum is there when the instruction was given. Products and sums of `fma` in double
precision are rounded twice.
"""

from __future__ import annotations

from interpreter.errors import (
    BarrierError,
    InterpreterError,
    MisalignedError,
    OutOfBoundsError,
    RaceError,
    UnknownInstructionError,
    UnwrittenRegisterError,
)
from interpreter.machine import launch
from interpreter.memory import Memory
from interpreter.parsing import Kernel, parse

__all__ = [
    "BarrierError",
    "InterpreterError",
    "Kernel",
    "Memory",
    "MisalignedError",
    "OutOfBoundsError",
    "RaceError",
    "UnknownInstructionError",
    "UnwrittenRegisterError",
    "launch",
    "parse",
]

"""Operands: what reads and writes registers, numbers and addresses of variables.

Each is made once, when a kernel is launched, and is then a function of the machine.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from interpreter.conversions import UNSIGNED, resized
from interpreter.errors import UnwrittenRegisterError
from interpreter.parsing import Kernel, split_operands

if TYPE_CHECKING:
    from interpreter.machine import Machine

#: Which lanes execute; None: all.
Active = np.ndarray | None
Step = Callable[["Machine", Active], None]
Read = Callable[["Machine"], np.ndarray]
Write = Callable[["Machine", np.ndarray, Active], None]

WARP = 32  # threads
PARAMETERS = 1 << 62  # the address of the first parameter


def reader(operand: str, kernel: Kernel, dtype: np.dtype[np.generic]) -> Read:
    """Return what reads an operand: a register, a number, or the address of a variable."""
    negated = operand.startswith("!")
    operand = operand.removeprefix("!")
    if not operand.startswith("%") and (constant := _constant(operand, dtype)):
        value = np.array([constant[0]])
        return lambda machine: np.broadcast_to(value, machine.count)
    if operand in kernel.variables:
        return lambda machine: np.full(machine.count, machine.addresses[operand]).astype(dtype)
    if operand in kernel.parameters:
        return lambda machine: np.full(machine.count, PARAMETERS + kernel.parameters[operand]).astype(dtype)
    if operand.startswith("%") and operand.partition(".")[0].rstrip("0123456789_") in _SPECIAL_REGISTERS:
        return lambda machine: resized(machine.special[operand], dtype)
    kernel.width(operand)  # that it was declared

    def read(machine: Machine) -> np.ndarray:
        bits = machine.registers.get(operand)
        if bits is None:
            raise UnwrittenRegisterError(f"{operand} is read before it is written")
        if bits.dtype is dtype:
            return ~bits if negated else bits
        return resized(bits, dtype)

    return read


_SPECIAL_REGISTERS = ("%tid", "%ntid", "%ctaid", "%nctaid", "%laneid", "%warpid", "%dynamic_smem_size", "%lanemask")


def _constant(text: str, dtype: np.dtype[np.generic]) -> tuple[np.generic] | None:
    """Return a number that is written out, in a tuple as it may be false."""
    if match := re.fullmatch(r"0[fF]([0-9a-fA-F]{8})", text):
        return (np.array(int(match[1], 16), np.uint32).view(np.float32).astype(dtype)[()],)
    if match := re.fullmatch(r"0[dD]([0-9a-fA-F]{16})", text):
        return (np.array(int(match[1], 16), np.uint64).view(np.float64).astype(dtype)[()],)
    if not re.fullmatch(r"-?(0[xX][0-9a-fA-F]+|\d+)U?", text):
        return None
    number = int(text.rstrip("U"), 0)
    if dtype.kind == "b":
        return (np.bool_(number),)
    unsigned = UNSIGNED[dtype.itemsize]
    return (np.array(number % 256**dtype.itemsize, unsigned).view(dtype)[()],)


def writer(operand: str, kernel: Kernel) -> Write:
    """Return what writes a register, for the lanes that execute."""
    if operand == "_":
        return lambda machine, value, active: None
    width = kernel.width(operand)

    def write(machine: Machine, value: np.ndarray, active: Active) -> None:
        if width and value.dtype.itemsize != width:  # a wider register takes the sign, or zeros
            value = value.astype(np.dtype(f"{'int' if value.dtype.kind == 'i' else 'uint'}{8 * width}"))
        registers = machine.registers
        if active is None:
            registers[operand] = value
            return
        before = registers.get(operand)
        if before is None:
            before = np.full(value.shape, -1).astype(bool if not width else UNSIGNED[width])
        registers[operand] = np.where(active, value, before if value.dtype.kind == "b" else before.view(value.dtype))

    return write


def braced(operand: str) -> list[str]:
    """Return the parts of an operand, which may be a list in braces."""
    return split_operands(operand[1:-1]) if operand.startswith("{") else [operand]

"""What a kernel can do wrong."""

from __future__ import annotations


class InterpreterError(RuntimeError):
    """A kernel did what it must not, or what is not known here."""


class OutOfBoundsError(InterpreterError):
    """An access outside every allocation."""


class MisalignedError(InterpreterError):
    """An access of so many bytes at an address that is no multiple of them."""


class RaceError(InterpreterError):
    """Two threads touch the same bytes, one of them writing, and no barrier is between them."""


class BarrierError(InterpreterError):
    """A barrier or an instruction of a whole warp that some of its threads do not reach."""


class UnknownInstructionError(InterpreterError):
    """An instruction that is not interpreted."""


class UnwrittenRegisterError(InterpreterError):
    """A register that is read before it is written."""

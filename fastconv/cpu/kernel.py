"""Drivers: Python functions over raw pointers, compiled by Numba once and from then on loaded as machine code.

A driver is the loop nest around register tiles: it packs, fills frames and calls tiles by address. Numba compiles it
to LLVM IR without arrays, exceptions or reference counts, so the machine code stands alone: it is stored beside the
tiles' and a later process runs it without importing Numba, and no call passes through Numba's argument handling.

Drivers check nothing. `@kernel` functions may call one another and the intrinsics below.
"""

from __future__ import annotations

import ctypes
import functools
import re
import types
import typing
from collections.abc import Callable
from typing import Protocol

from fastconv.codegen import jit
from fastconv.codegen import target as targets


class Ints(Protocol):
    """The address of int64 numbers: ``ints[i]`` is the i-th."""

    def __getitem__(self, place: int) -> int: ...
    def __setitem__(self, place: int, value: int) -> None: ...


class Reals(Protocol):
    """The address of numbers of the driver's element type."""

    def __getitem__(self, place: int) -> float: ...
    def __setitem__(self, place: int, value: float) -> None: ...


def call_tile(address: int, frame: Ints) -> None:
    """Call the register tile at `address` (an intrinsic: exists in compiled code only)."""
    raise NotImplementedError


def address_of(pointer: Ints | Reals) -> int:
    """Return a pointer's value as an int (an intrinsic: exists in compiled code only)."""
    raise NotImplementedError


def ints_at(address: int) -> Ints:
    """Return the int64 numbers at `address` (an intrinsic: exists in compiled code only)."""
    raise NotImplementedError


def copy_bytes(to: int, source: int, count: int) -> None:
    """Copy `count` bytes between addresses (an intrinsic: exists in compiled code only).

    The C library's memcpy: for the short rows of small planes several times as fast as a compiled loop, whose
    vectorised body starts at 32 elements and leaves the rest to one element at a time.
    """
    raise NotImplementedError


def zero_bytes(to: int, count: int) -> None:
    """Set `count` bytes to zero (an intrinsic: exists in compiled code only)."""
    raise NotImplementedError


def call_copy(function: int, to: int, source: int, count: int) -> None:
    """Call a copying function of `fastconv.codegen.copying` (an intrinsic: exists in compiled code only)."""
    raise NotImplementedError


def prefetch(address: int) -> None:
    """Ask for a cache line ahead of its use (an intrinsic: exists in compiled code only)."""
    raise NotImplementedError


_INTRINSICS = (call_tile, address_of, ints_at, copy_bytes, zero_bytes, call_copy, prefetch)


F = typing.TypeVar("F", bound=Callable[..., object])


class Kernel:
    """A function that Numba will compile when a driver that uses it is compiled."""

    def __init__(self, function: Callable[..., object]) -> None:
        self.function = function

    def resolved(self) -> Callable[..., object]:
        """The function with kernels and intrinsics in its globals replaced by what Numba understands."""
        intrinsics = _intrinsics()
        replaced: dict[str, object] = {}
        for name in self.function.__code__.co_names:
            value = self.function.__globals__.get(name)
            if isinstance(value, Kernel):
                replaced[name] = value.dispatcher
            elif value in _INTRINSICS:
                replaced[name] = intrinsics[name]
        scope = {**self.function.__globals__, **replaced}
        return types.FunctionType(self.function.__code__, scope, self.function.__name__)

    @functools.cached_property
    def dispatcher(self) -> object:
        """What Numba calls when another kernel calls this one."""
        from numba import njit

        return njit(error_model="numpy")(self.resolved())


class Driver(Kernel):
    """A kernel that is called from Python, with addresses and sizes as ints.

    Its parameters are annotated `Ints`, `Reals` or `int`. Calls release the interpreter's lock.
    """

    @functools.cached_property
    def _argument_kinds(self) -> list[object]:
        hints = typing.get_type_hints(self.function)
        return [hints[name] for name in self.function.__code__.co_varnames[: self._count]]

    @property
    def _count(self) -> int:
        return self.function.__code__.co_argcount

    def compiled(self, dtype: str) -> Callable[..., int]:
        """The machine code for elements of type `dtype`; takes ints."""
        target = targets.processor()
        name = f"{self.function.__name__}_{dtype}"
        address = jit.address(name, lambda: self._emit(name, dtype), target)
        # Numba's convention: the first two arguments receive a result and an error; there are none
        ignored = ctypes.create_string_buffer(16)
        integers = [ctypes.c_int64] * self._count
        entry = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, *integers)(address)
        at = ctypes.addressof(ignored)
        call = functools.partial(entry, at, at + 8)
        call.buffer = ignored  # type: ignore[attr-defined]  # lives as long as the partial
        return call

    def _emit(self, name: str, dtype: str) -> str:
        """The driver as LLVM IR under the symbol `name`."""
        from numba import njit
        from numba import types as numba_types

        kinds = {
            Ints: numba_types.CPointer(numba_types.int64),
            Reals: numba_types.CPointer(getattr(numba_types, dtype)),
            int: numba_types.int64,
        }
        signature = numba_types.void(*[kinds[kind] for kind in self._argument_kinds])  # type: ignore[index]
        compile_ = njit(signature, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)  # type: ignore[call-overload]
        dispatcher = compile_(self.resolved())
        text = str(dispatcher.inspect_llvm(signature.args))
        defined = re.findall(r'^define (?!linkonce_odr|internal)[^@]*@"?([^"(]+)"?\(', text, re.M)
        if len(defined) != 1:
            raise RuntimeError(f"{name}: expected one entry in Numba's output, got {defined}")
        return text.replace(defined[0], name)


def kernel(function: F) -> F:
    """Mark a function that drivers call."""
    return typing.cast(F, Kernel(function))


def driver(function: Callable[..., object]) -> Driver:
    """Mark a function that Python calls."""
    return Driver(function)


@functools.cache
def _intrinsics() -> dict[str, object]:
    from llvmlite import ir
    from numba import types as numba_types
    from numba.extending import intrinsic

    # Numba calls these with a typing context and the arguments' types
    @intrinsic
    def call_tile(context, address, frame):  # type: ignore[no-untyped-def]
        signature = numba_types.void(numba_types.int64, frame)

        def lower(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            kind = ir.FunctionType(ir.VoidType(), [ir.IntType(64)])
            tile = builder.inttoptr(arguments[0], kind.as_pointer())
            builder.call(tile, [builder.ptrtoint(arguments[1], ir.IntType(64))])
            return context.get_dummy_value()

        return signature, lower

    @intrinsic
    def address_of(context, pointer):  # type: ignore[no-untyped-def]
        def lower(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            return builder.ptrtoint(arguments[0], ir.IntType(64))

        return numba_types.int64(pointer), lower

    @intrinsic
    def ints_at(context, address):  # type: ignore[no-untyped-def]
        def lower(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

        return numba_types.CPointer(numba_types.int64)(address), lower

    def memory_intrinsic(builder, name, operands):  # type: ignore[no-untyped-def]
        pointer, i8, i1 = ir.IntType(8).as_pointer(), ir.IntType(8), ir.IntType(1)
        to, other, count = operands
        to = builder.inttoptr(to, pointer)
        if name == "llvm.memcpy":
            other = builder.inttoptr(other, pointer)
        kinds = [pointer, other.type, count.type]
        function = builder.module.declare_intrinsic(
            name, [kind for kind in kinds if kind is not i8], ir.FunctionType(ir.VoidType(), [*kinds, i1])
        )
        builder.call(function, [to, other, count, i1(0)])

    @intrinsic
    def copy_bytes(context, to, source, count):  # type: ignore[no-untyped-def]
        def lower(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            memory_intrinsic(builder, "llvm.memcpy", arguments)
            return context.get_dummy_value()

        return numba_types.void(*[numba_types.int64] * 3), lower

    @intrinsic
    def zero_bytes(context, to, count):  # type: ignore[no-untyped-def]
        def lower(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            to, count = arguments
            memory_intrinsic(builder, "llvm.memset", (to, ir.IntType(8)(0), count))
            return context.get_dummy_value()

        return numba_types.void(*[numba_types.int64] * 2), lower

    @intrinsic
    def call_copy(context, function, to, source, count):  # type: ignore[no-untyped-def]
        def lower(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            kind = ir.FunctionType(ir.VoidType(), [ir.IntType(64)] * 3)
            builder.call(builder.inttoptr(arguments[0], kind.as_pointer()), arguments[1:])
            return context.get_dummy_value()

        return numba_types.void(*[numba_types.int64] * 4), lower

    @intrinsic
    def prefetch(context, address):  # type: ignore[no-untyped-def]
        def lower(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            pointer, i32 = ir.IntType(8).as_pointer(), ir.IntType(32)
            kind = ir.FunctionType(ir.VoidType(), [pointer, i32, i32, i32])
            function = builder.module.declare_intrinsic("llvm.prefetch", [pointer], kind)
            line = builder.inttoptr(arguments[0], pointer)
            builder.call(function, [line, i32(0), i32(3), i32(1)])  # to read, into all levels, data
            return context.get_dummy_value()

        return numba_types.void(numba_types.int64), lower

    return {
        "call_copy": call_copy,
        "prefetch": prefetch,
        "call_tile": call_tile,
        "address_of": address_of,
        "ints_at": ints_at,
        "copy_bytes": copy_bytes,
        "zero_bytes": zero_bytes,
    }

"""Drivers: Python functions over raw pointers, compiled by Numba once and from then on loaded as machine code.

A driver is the loop nest around register tiles: it packs, fills frames and calls tiles by address. Numba compiles it
to LLVM IR without arrays, exceptions or reference counts, so the machine code stands alone: it is stored beside the
tiles' and a later process runs it without importing Numba, and no call passes through Numba's argument handling.

Drivers check nothing. `@kernel` functions may call one another and the intrinsics below.
"""

from __future__ import annotations

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


def copy_run(target: Reals, to: int, source: Reals, first: int, count: int) -> None:
    """target[to + j] = source[first + j] for j < count (an intrinsic: exists in compiled code only).

    The C library's memcpy: for the short rows of small planes several times as fast as a compiled loop, whose
    vectorised body starts at 32 elements and leaves the rest to one element at a time.
    """
    raise NotImplementedError


def fill_zeros(target: Reals, to: int, count: int) -> None:
    """target[to + j] = 0 for j < count (an intrinsic: exists in compiled code only)."""
    raise NotImplementedError


def call_copy(function: int, to: int, source: int, count: int) -> None:
    """Call a copying function of `fastconv.codegen.copying` (an intrinsic: exists in compiled code only)."""
    raise NotImplementedError


def call_copies(function: int, operands: int, first: int, last: int) -> None:
    """Call the function of `fastconv.codegen.copying.panels` (an intrinsic: exists in compiled code only)."""
    raise NotImplementedError


_INTRINSICS = (call_tile, address_of, ints_at, copy_run, fill_zeros, call_copy, call_copies)


class _Dispatcher(Protocol):
    """What is used here of Numba's compiled functions."""

    signatures: list[object]

    def inspect_llvm(self, signature: object) -> str: ...


#: Of the block that a driver keeps for the tiles it calls.
FRAME_SLOTS = 64

F = typing.TypeVar("F", bound=Callable[..., object])


class Kernel:
    """A function that Numba will compile when a driver that uses it is compiled.

    Its parameters are annotated `Ints`, `Reals`, `int` or `bool`, its result nothing or a tuple of `int`: the signature
    is known, so that Numba compiles it once and not again for each constant it is called with.
    """

    def __init__(self, function: Callable[..., object]) -> None:
        self.function = function
        self._dispatchers: dict[str, object] = {}

    def resolved(self, dtype: str) -> Callable[..., object]:
        """The function with kernels and intrinsics in its globals replaced by what Numba understands."""
        intrinsics = _intrinsics()
        replaced: dict[str, object] = {}
        for name in self.function.__code__.co_names:
            value = self.function.__globals__.get(name)
            if isinstance(value, Kernel):
                replaced[name] = value.dispatcher(dtype)
            elif value in _INTRINSICS:
                replaced[name] = intrinsics[name]
        scope = {**self.function.__globals__, **replaced}
        return types.FunctionType(self.function.__code__, scope, self.function.__name__)

    def dispatcher(self, dtype: str) -> object:
        """What Numba calls when another kernel calls this one."""
        if dtype not in self._dispatchers:
            self._dispatchers[dtype] = self._compile(dtype)
        return self._dispatchers[dtype]

    def _compile(self, dtype: str) -> _Dispatcher:
        from numba import njit

        # Nobody calls it from Python or C: without those wrappers it compiles in two thirds of the time
        options = {"error_model": "numpy", "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
        compiled = njit(self._signature(dtype), **options)(self.resolved(dtype))  # type: ignore[call-overload]
        return typing.cast(_Dispatcher, compiled)

    def _signature(self, dtype: str) -> object:
        from numba import types as numba_types

        kinds: dict[object, object] = {
            Ints: numba_types.CPointer(numba_types.int64),
            Reals: numba_types.CPointer(getattr(numba_types, dtype)),
            int: numba_types.int64,
            bool: numba_types.boolean,
            type(None): numba_types.void,
        }
        hints = typing.get_type_hints(self.function)
        result = hints.pop("return")
        numbers = typing.get_args(result)
        returned = numba_types.UniTuple(numba_types.int64, len(numbers)) if numbers else kinds[result]
        return returned(*[kinds[kind] for kind in hints.values()])  # type: ignore[operator]


class Driver(Kernel):
    """A kernel that tasks are handed out of, without the interpreter's lock.

    Its parameters are (plan, frame, memory, ..., first_task, last_task): a zeroed frame on the stack, the scratch of
    its worker, and the range of its tasks; the others are its operands.
    """

    def address(self, dtype: str) -> int:
        """The address of the machine code for elements of type `dtype`, which `fastconv.codegen.launch` can call."""
        name = f"{self.function.__name__}_{dtype}"
        return jit.address(name, lambda: self._emit(name, dtype), targets.processor())

    def _emit(self, name: str, dtype: str) -> str:
        """The driver and its entry as LLVM IR; the entry is the symbol `name`."""
        dispatcher = self._compile(dtype)
        text = str(dispatcher.inspect_llvm(dispatcher.signatures[0]))
        defined = re.findall(r'^define (?!linkonce_odr|internal)[^@]*@"?([^"(]+)"?\(', text, re.M)
        if len(defined) != 1:
            raise RuntimeError(f"{name}: expected one entry in Numba's output, got {defined}")
        return text.replace(defined[0], f"{name}.loops") + self._entry(name)

    def _entry(self, name: str) -> str:
        """LLVM IR of void name(operands, scratch, first, last), which calls the loops by Numba's convention.

        There the first two arguments receive a result and an error; there are none.
        """
        hints = typing.get_type_hints(self.function)
        hints.pop("return")
        kinds = {key: "ptr" if kind in (Ints, Reals) else "i64" for key, kind in hints.items()}
        given = ("frame", "memory", "first_task", "last_task")
        operands = [key for key in kinds if key not in given]
        loads = [
            line
            for i, key in enumerate(operands)
            for line in (
                f"%{key}.at = getelementptr i64, ptr %operands.at, i64 {i}",
                f"%{key} = load {kinds[key]}, ptr %{key}.at",
            )
        ]
        arguments = ", ".join(f"{kind} %{key}" for key, kind in kinds.items())
        body = [
            "%ignored = alloca [2 x ptr]",
            f"%frame = alloca [{FRAME_SLOTS} x i64], align 64",
            f"store <{FRAME_SLOTS} x i64> zeroinitializer, ptr %frame",
            "%memory = inttoptr i64 %scratch to ptr",
            "%operands.at = inttoptr i64 %operands to ptr",
            *loads,
            f"%status = call i32 @{name}.loops(ptr %ignored, ptr %ignored, {arguments})",
            "ret void",
        ]
        head = f"define void @{name}(i64 %operands, i64 %scratch, i64 %first_task, i64 %last_task) {{"
        return "\n".join(["", head, *(f"  {line}" for line in body), "}", ""])


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

    i1, i8, i64 = (ir.IntType(bits) for bits in (1, 8, 64))
    bytes_pointer = i8.as_pointer()

    def place(context, builder, kind, pointer, index):  # type: ignore[no-untyped-def]
        """The address of an element, and the bytes of one."""
        size = i64(context.get_abi_sizeof(context.get_value_type(kind.dtype)))
        address = builder.add(builder.ptrtoint(pointer, i64), builder.mul(index, size))
        return builder.inttoptr(address, bytes_pointer), size

    @intrinsic
    def copy_run(context, target, to, source, first, count):  # type: ignore[no-untyped-def]
        def lower(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            target, to, source, first, count = arguments
            into, size = place(context, builder, signature.args[0], target, to)
            out_of, _ = place(context, builder, signature.args[2], source, first)
            kinds = [bytes_pointer, bytes_pointer, i64]
            kind = ir.FunctionType(ir.VoidType(), [*kinds, i1])
            function = builder.module.declare_intrinsic("llvm.memcpy", kinds, kind)
            builder.call(function, [into, out_of, builder.mul(count, size), i1(0)])
            return context.get_dummy_value()

        integer = numba_types.int64
        return numba_types.void(target, integer, source, integer, integer), lower

    @intrinsic
    def fill_zeros(context, target, to, count):  # type: ignore[no-untyped-def]
        def lower(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            target, to, count = arguments
            into, size = place(context, builder, signature.args[0], target, to)
            kind = ir.FunctionType(ir.VoidType(), [bytes_pointer, i8, i64, i1])
            function = builder.module.declare_intrinsic("llvm.memset", [bytes_pointer, i64], kind)
            builder.call(function, [into, i8(0), builder.mul(count, size), i1(0)])
            return context.get_dummy_value()

        return numba_types.void(target, numba_types.int64, numba_types.int64), lower

    @intrinsic
    def call_copy(context, function, to, source, count):  # type: ignore[no-untyped-def]
        def lower(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            kind = ir.FunctionType(ir.VoidType(), [ir.IntType(64)] * 3)
            builder.call(builder.inttoptr(arguments[0], kind.as_pointer()), arguments[1:])
            return context.get_dummy_value()

        return numba_types.void(*[numba_types.int64] * 4), lower

    @intrinsic
    def call_copies(context, function, operands, first, last):  # type: ignore[no-untyped-def]
        def lower(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            function, operands, first, last = arguments
            kind = ir.FunctionType(ir.VoidType(), [ir.IntType(64)] * 4)
            builder.call(builder.inttoptr(function, kind.as_pointer()), [operands, i64(0), first, last])
            return context.get_dummy_value()

        return numba_types.void(*[numba_types.int64] * 4), lower

    return {
        "call_copy": call_copy,
        "call_copies": call_copies,
        "call_tile": call_tile,
        "address_of": address_of,
        "ints_at": ints_at,
        "copy_run": copy_run,
        "fill_zeros": fill_zeros,
    }

"""From a kernel in Python to PTX and machine code: compiled once, kept on disk; no device is needed.

Numba's own cache is not used: its key knows nothing of constants, of options and of the source of intrinsics, so that
it returns one kernel for another. The key here holds all of them.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Callable, Mapping, MutableSequence
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module, metadata
from pathlib import Path
from typing import NamedTuple, TypeAlias

import fastconv
from fastconv import config
from fastconv.codegen import jit
from fastconv.cuda.unroll import Constant, specialise
from fastconv.devices import UnavailableError, check_compiler
from fastconv.problem import BFLOAT16

# What the annotations of a kernel's parameters mean: `Pointer` into global memory, to elements of the kernel's type;
# `RealPointer`, to those of the type that it computes in; `IntPointer`, `WidePointer` to int32 and int64; `int`,
# 32 bits; `Wide`, 64 bits; `float`, of the type that the kernel computes in.
Pointer: TypeAlias = int
RealPointer: TypeAlias = int
IntPointer: TypeAlias = int
WidePointer: TypeAlias = int
Wide: TypeAlias = int

# What parts of kernels take besides: an array in shared memory, and a tuple of numbers, which are in registers.
Array: TypeAlias = MutableSequence[float]
Tuple: TypeAlias = tuple[float, ...]


def _absent(*values: float) -> float:
    """Stand for a name that a kernel has only once it is specialised."""
    raise NotImplementedError


#: The type that the kernel computes in, which makes a number one of it; and the `epilogue` that it was specialised for.
Float = finish = _absent

#: Numba's compiler serves one thread at a time, and so does Python's own of syntax trees: in 3.11, threads that use it
#: together may get "AST constructor recursion depth mismatch".
_lock = threading.RLock()


def computed(dtype: str) -> str:
    """Return the type that elements of a type are computed with: halves as float32."""
    return "float32" if dtype in ("float16", BFLOAT16) else dtype


@dataclass(frozen=True)
class Kernel:
    """What to compile: a function and all that its code depends on besides the device."""

    function: Callable[..., None]  # whose parameters are annotated as above, pointers first
    dtype: str  # of what pointers point to; `Float` is in the function the type that is computed in
    threads: int  # of a block
    blocks: int = 1  # that a multiprocessor should hold at once: limits registers
    constants: Mapping[str, Constant] = field(default_factory=dict)
    #: Other names of the function that mean something here: modules' attributes as "module:name".
    names: Mapping[str, str] = field(default_factory=dict)

    @property
    def parameters(self) -> tuple[str, ...]:
        """The parameters' annotations in order."""
        annotations = dict(self.function.__annotations__)
        annotations.pop("return")
        return tuple(annotations.values())

    @property
    def pointers(self) -> int:
        """How many parameters are pointers."""
        return sum(kind.endswith("Pointer") for kind in self.parameters)


class Code(NamedTuple):
    """A compiled kernel."""

    name: str  # of its entry point
    ptx: str
    machine_code: bytes  # a cubin; empty where there is no linker to make it


_codes: dict[tuple[str, tuple[int, int]], Code] = {}


def compiled(kernel: Kernel, capability: tuple[int, int]) -> Code:
    """Return a kernel's code for a compute capability, compiled if no process did so before."""
    check_compiler()
    with _lock:
        specialised = specialise(kernel.function, kernel.constants, _names(kernel))
        place = _key(kernel, specialised.source, capability), capability
        found = _codes.get(place)
        if found is None:
            found = _codes[place] = _load_or_compile(kernel, *place)
        return found


def _names(kernel: Kernel) -> dict[str, object]:
    types = import_module("numba.cuda.types")
    named = {name: _attribute(*place.split(":")) for name, place in kernel.names.items()}
    return {"Float": getattr(types, computed(kernel.dtype)), **named}


def _attribute(module: str, name: str) -> object:
    return getattr(import_module(module), name)


def _key(kernel: Kernel, source: str, capability: tuple[int, int]) -> str:
    said = (
        *(source, kernel.parameters, kernel.dtype, kernel.threads, kernel.blocks, sorted(kernel.names.items())),
        *(capability, _digest_of_helpers(), fastconv.__version__),
        *(metadata.version(name) for name in ("numba-cuda", "numba", "llvmlite")),
    )
    return hashlib.sha256(repr(said).encode()).hexdigest()[:32]


@cache
def _digest_of_helpers() -> str:
    """A digest of the source that ends up in kernels besides their own."""
    digest = hashlib.sha256()
    package = Path(fastconv.__file__).parent
    names = ("activation", "compile", "epilogue", "fourier", "inline", "padding", "transform", "unroll", "window")
    files = [package / "cuda" / f"{name}.py" for name in names]
    files += sorted((package / "cuda" / "intrinsics").glob("*.py"))
    files += [package / "codegen" / f"{name}.py" for name in ("cook_toom", "fourier", "straight_line")]
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _load_or_compile(kernel: Kernel, key: str, capability: tuple[int, int]) -> Code:
    directory = config.cache_directory()
    place = None if directory is None else directory / "cuda" / key
    stored = jit.read(place and place.with_suffix(".ptx"))
    if stored is not None:
        jit.counts["loaded"] += 1
        ptx = stored.decode()
    else:
        jit.counts["compiled"] += 1
        ptx = _ptx(kernel, capability)
        jit.write(place and place.with_suffix(".ptx"), ptx.encode())
    machine_code = jit.read(place and place.with_suffix(".cubin"))
    if machine_code is None:
        machine_code = _machine_code(ptx, capability)
        if machine_code:
            jit.write(place and place.with_suffix(".cubin"), machine_code)
    return Code(_entry_point(ptx), ptx, machine_code)


def _ptx(kernel: Kernel, capability: tuple[int, int]) -> str:
    cuda, types = import_module("numba.cuda"), import_module("numba.cuda.types")
    inline = import_module("fastconv.cuda.inline").inlined_part
    specialised = specialise(kernel.function, kernel.constants, _names(kernel), inline)
    element, real = (getattr(types, dtype) for dtype in (kernel.dtype, computed(kernel.dtype)))
    kinds = {
        "Pointer": types.CPointer(element),
        "RealPointer": types.CPointer(real),
        "IntPointer": types.CPointer(types.int32),
        "WidePointer": types.CPointer(types.int64),
        "int": types.int32,
        "Wide": types.int64,
        "float": real,
    }
    signature = types.void(*(kinds[annotation] for annotation in kernel.parameters))
    bounds = kernel.threads, kernel.blocks
    try:
        ptx, _ = cuda.compile(
            specialised.function, signature, device=False, abi="numba", cc=capability, launch_bounds=bounds
        )
    except RuntimeError as error:
        if "NVVM" in str(error) or "dynamic" in type(error).__name__.lower():
            raise UnavailableError(f"the libraries of the CUDA compiler are missing: {error}") from error
        raise
    # Numba's names count what the process compiled before: they would not be those of machine code that is kept
    return str(ptx).replace(_entry_point(ptx), f"fastconv_{kernel.function.__name__.strip('_')}")


def _entry_point(ptx: str) -> str:
    found = re.search(r"\.visible\s+\.entry\s+([\w$]+)", ptx)
    assert found is not None
    return found[1]


def _machine_code(ptx: str, capability: tuple[int, int]) -> bytes:
    """Return the cubin that NVIDIA's linker makes of PTX; nothing where it is not installed: the driver can do it."""
    try:
        linker = import_module("cuda.bindings.nvjitlink")
        major, minor = capability
        handle = linker.create(2, [f"-arch=sm_{major}{minor}", "-O3"])
    except (ImportError, RuntimeError) as error:
        config.logger.info("no machine code without nvJitLink (%s): the driver compiles", error)
        return b""
    try:
        text = ptx.encode()
        linker.add_data(handle, linker.InputType.PTX, text, len(text), "kernel")
        linker.complete(handle)
        code = bytearray(linker.get_linked_cubin_size(handle))
        linker.get_linked_cubin(handle, code)
        return bytes(code)
    finally:
        linker.destroy(handle)


def clear_cache() -> None:
    """Forget what is in memory; what is on disk stays."""
    with _lock:
        _codes.clear()

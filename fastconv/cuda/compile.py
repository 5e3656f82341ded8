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
from types import ModuleType
from typing import NamedTuple, TypeAlias

import fastconv
from fastconv import config
from fastconv.codegen import jit
from fastconv.cuda.unroll import Constant, specialise
from fastconv.devices import UnavailableError, check_compiler
from fastconv.garbage import no_garbage_collection
from fastconv.problem import BFLOAT16

# What the annotations of a kernel's parameters mean: `Pointer` into global memory, to elements of the kernel's type;
# `RealPointer`, to those of the type that it computes in; `IntPointer`, `WidePointer` to int32 and int64; `int`,
# 32 bits; `Wide`, 64 bits; `float`, of the type that the kernel computes in; `TensorMap`, 128 bytes that say how a tile
# lies in memory, of which the kernel has the address.
Pointer: TypeAlias = int
RealPointer: TypeAlias = int
IntPointer: TypeAlias = int
WidePointer: TypeAlias = int
Wide: TypeAlias = int
TensorMap: TypeAlias = int

# What parts of kernels take besides: an array in shared memory, and a tuple of numbers, which are in registers.
Array: TypeAlias = MutableSequence[float]
Tuple: TypeAlias = tuple[float, ...]


def _absent(*values: float) -> float:
    """Stand for a name that a kernel has only once it is specialised."""
    raise NotImplementedError


#: The type that the kernel computes in, which makes a number one of it; and the `epilogue` that it was specialised for.
Float = finish = finish_each = _absent

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
    suffix: str = ""  # "a" where it has instructions of one architecture alone, which later ones do not run

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

    @property
    def maps(self) -> int:
        """How many, behind the pointers, are tensor maps."""
        return self.parameters.count("TensorMap")


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
        place = _key(kernel, capability), capability
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


def _key(kernel: Kernel, capability: tuple[int, int]) -> str:
    said = (
        *(_source(kernel), kernel.parameters, kernel.dtype, kernel.threads, kernel.blocks),
        *(sorted(kernel.names.items()), capability, kernel.suffix, _digest_of_helpers(), fastconv.__version__),
        *(metadata.version(name) for name in ("numba-cuda", "numba", "llvmlite")),
    )
    return hashlib.sha256(repr(said).encode()).hexdigest()[:32]


_sources: dict[tuple[object, ...], str] = {}


def _source(kernel: Kernel) -> str:
    """Return the specialised source, which takes tens of milliseconds to make: once for a function and its constants.

    As text, the constants 1, 1.0 and True differ.
    """
    given = kernel.function, kernel.dtype, repr(sorted(kernel.constants.items())), repr(sorted(kernel.names.items()))
    found = _sources.get(given)
    if found is None:
        found = _sources[given] = specialise(kernel.function, kernel.constants, _names(kernel)).source
    return found


@cache
def _digest_of_helpers() -> str:
    """A digest of the source that ends up in kernels besides their own."""
    digest = hashlib.sha256()
    package = Path(fastconv.__file__).parent
    names = ("activation", "compile", "epilogue", "fourier", "fuse", "inline", "padding", "transform", "unroll")
    files = [package / "cuda" / f"{name}.py" for name in (*names, "window")]
    files += sorted((package / "cuda" / "intrinsics").glob("*.py"))
    files += [package / "codegen" / f"{name}.py" for name in ("cook_toom", "fourier", "straight_line")]
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _load_or_compile(kernel: Kernel, key: str, capability: tuple[int, int]) -> Code:
    directory = config.cache_directory()
    place = None if directory is None else directory / "cuda" / key
    stored = jit.read(place and place.with_suffix(".ptx"))
    machine_code = None if stored is None else jit.read(_of_ptx(place, stored))
    if stored is not None and (machine_code is not None or not kernel.suffix):
        jit.counts["loaded"] += 1
        ptx = stored.decode()
    else:
        jit.counts["compiled"] += 1
        ptx, machine_code = _compile(kernel, capability)
        jit.write(place and place.with_suffix(".ptx"), ptx.encode())
        stored = None
    if machine_code is None:
        machine_code = _linked(ptx.encode(), "PTX", capability)
        stored = None
    if machine_code and stored is None:
        jit.write(_of_ptx(place, ptx.encode()), machine_code)
    return Code(_entry_point(ptx), ptx, machine_code)


def _of_ptx(place: Path | None, ptx: bytes) -> Path | None:
    """Return where the machine code of some PTX is kept: processes that compile together may name kernels otherwise."""
    return place and place.with_name(f"{place.name}-{hashlib.sha256(ptx).hexdigest()[:16]}.cubin")


def _compile(kernel: Kernel, capability: tuple[int, int]) -> tuple[str, bytes | None]:
    """Return PTX, and machine code if that is made of something else than PTX.

    The linker compiles PTX as a part of a program, in which warpgroups cannot share out registers: `setmaxnreg` would
    be ignored. What has such instructions is handed to it as LTO-IR, of which it makes a whole program.
    """
    if kernel.suffix and _linker() is not None:
        whole = _front_end(kernel, capability, "ltoir")
        assert isinstance(whole, bytes)
        ptx = _linked(whole, "LTOIR", capability, kernel.suffix, "-ptx").rstrip(b"\0").decode()
        return ptx, _linked(whole, "LTOIR", capability, kernel.suffix)
    ptx = str(_front_end(kernel, capability, "ptx"))
    # Numba's names count what the process compiled before
    return ptx.replace(_entry_point(ptx), f"fastconv_{kernel.function.__name__.strip('_')}"), None


def _front_end(kernel: Kernel, capability: tuple[int, int], output: str) -> str | bytes:
    """Return what Numba makes of a kernel: "ptx" or "ltoir"."""
    cuda, types = import_module("numba.cuda"), import_module("numba.cuda.types")
    inline = import_module("fastconv.cuda.inline")
    made = inline.inlined_part, inline.fused
    specialised = specialise(kernel.function, kernel.constants, _names(kernel), *made)
    element, real = (getattr(types, dtype) for dtype in (kernel.dtype, computed(kernel.dtype)))
    kinds = {
        "Pointer": types.CPointer(element),
        "RealPointer": types.CPointer(real),
        "IntPointer": types.CPointer(types.int32),
        "WidePointer": types.CPointer(types.int64),
        "int": types.int32,
        "Wide": types.int64,
        "TensorMap": types.CPointer(types.UniTuple(types.int64, 16)),  # `intrinsics.tensor_map` hands it over by value
        "float": real,
    }
    signature = types.void(*(kinds[annotation] for annotation in kernel.parameters))
    bounds = kernel.threads, kernel.blocks
    target = (*capability, kernel.suffix) if kernel.suffix else capability
    try:
        with no_garbage_collection():  # what is made here is little, but each search goes through all of Numba
            code, _ = cuda.compile(
                specialised.function,
                signature,
                device=False,
                abi="numba",
                cc=target,
                launch_bounds=bounds,
                output=output,
            )
    except RuntimeError as error:
        if "NVVM" in str(error) or "dynamic" in type(error).__name__.lower():
            raise UnavailableError(f"the libraries of the CUDA compiler are missing: {error}") from error
        raise
    assert isinstance(code, str | bytes)
    return code


def _entry_point(ptx: str) -> str:
    found = re.search(r"\.visible\s+\.entry\s+([\w$]+)", ptx)
    assert found is not None
    return found[1]


def _linker() -> ModuleType | None:
    """Return NVIDIA's linker; None where it is not installed."""
    try:
        linker = import_module("cuda.bindings.nvjitlink")
        linker.version()
    except (ImportError, RuntimeError) as error:
        config.logger.info("no machine code without nvJitLink (%s): the driver compiles", error)
        return None
    return linker


def _linked(code: bytes, kind: str, capability: tuple[int, int], suffix: str = "", *options: str) -> bytes:
    """Return the cubin that the linker makes of code, or PTX if the options ask for that.

    Nothing where there is no linker: the driver can do it. What the linker has to say, such as that products wait for
    each other, is logged.
    """
    linker = _linker()
    if linker is None:
        return b""
    major, minor = capability
    flags = [f"-arch=sm_{major}{minor}{suffix}", "-O3", *(["-lto"] if kind == "LTOIR" else []), *options]
    handle = linker.create(len(flags), flags)
    try:
        linker.add_data(handle, getattr(linker.InputType, kind), code, len(code), "kernel")
        linker.complete(handle)
        if said := _said(linker, handle):
            config.logger.warning("the CUDA linker says: %s", said)
        form = "ptx" if "-ptx" in options else "cubin"
        found = bytearray(getattr(linker, f"get_linked_{form}_size")(handle))
        getattr(linker, f"get_linked_{form}")(handle, found)
        return bytes(found)
    finally:
        linker.destroy(handle)


def _said(linker: ModuleType, handle: object) -> str:
    """Return what a linker logged, less what it tells of how it works."""
    log = bytearray(linker.get_info_log_size(handle))
    linker.get_info_log(handle, log)
    lines = log.rstrip(b"\0").decode().splitlines()
    return "\n".join(line for line in lines if line.strip() and not line.startswith("INFO: "))


def clear_cache() -> None:
    """Forget what is in memory; what is on disk stays."""
    with _lock:
        _codes.clear()

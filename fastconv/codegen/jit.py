"""From LLVM IR to an address: compiled once, kept in memory for the process and on disk for the next one."""

from __future__ import annotations

import hashlib
import os
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import llvmlite.binding as llvm

from fastconv import config
from fastconv.codegen import target as targets

#: Functions "compiled" and "loaded" from disk by this process.
counts: Counter[str] = Counter()
#: Seconds that emitting a function and making machine code of it took, by the function's name, for each that this
#: process compiled; the last time counts where a function was compiled for several targets. A driver's contain the
#: import of Numba where it is the first of the process.
compile_seconds: dict[str, float] = {}

# Reentrant, because a fork may come from the thread that compiles.
_lock = threading.RLock()
if hasattr(os, "register_at_fork"):
    # A child forked while another thread compiles would inherit locks, ours and LLVM's, that nobody releases.
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)

_addresses: dict[tuple[targets.Target, str], int] = {}
# An engine owns its machine code, and LLVM crashes when one that shares a target machine is
# collected: all of them live as long as the process.
_engines: list[llvm.ExecutionEngine] = []


def address(name: str, emit: Callable[[], str], target: targets.Target) -> int:
    """Return the address of the function `name`.

    Parameters
    ----------
    name : str
        The function's name; it says everything its code depends on besides the target.
    emit : callable
        Returns the text of an LLVM module that defines it; called only if no process compiled it
        before.
    target : Target
        The processor to compile for.
    """
    found = _addresses.get((target, name))
    if found is not None:
        return found
    with _lock:
        found = _addresses.get((target, name))
        if found is None:
            found = _load_or_compile(name, emit, target)
            _addresses[target, name] = found
        return found


def _load_or_compile(name: str, emit: Callable[[], str], target: targets.Target) -> int:
    machine = targets.machine(target)
    path = _path(name, target)
    code = read(path)
    if code is None:
        counts["compiled"] += 1
        start = time.perf_counter()
        # LLVM's middle-end passes cost as much as code generation and gained nothing on code
        # that already says which vectors it wants: left out.
        code = machine.emit_object(llvm.parse_assembly(emit()))
        compile_seconds[name] = time.perf_counter() - start
        write(path, code)
    else:
        counts["loaded"] += 1
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    _engines.append(engine)
    return int(engine.get_function_address(name))


def _path(name: str, target: targets.Target) -> Path | None:
    directory = config.cache_directory()
    if directory is None:
        return None
    version = ".".join(map(str, llvm.llvm_version_info))
    key = hashlib.sha256(f"{llvm.get_process_triple()} {version} {target}".encode())
    return directory / f"{target.cpu}-{key.hexdigest()[:16]}" / f"{name}.object"


_DIGEST_BYTES = hashlib.sha256().digest_size


def read(path: Path | None) -> bytes | None:
    """Return the code stored at `path`; None if there is none or the file is damaged."""
    try:
        stored = path.read_bytes() if path else b""
    except OSError:
        return None
    digest, code = stored[:_DIGEST_BYTES], stored[_DIGEST_BYTES:]
    return code if code and hashlib.sha256(code).digest() == digest else None


def write(path: Path | None, code: bytes) -> None:
    """Store `code` at once or not at all; another process may be doing the same."""
    if path is None:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(hashlib.sha256(code).digest() + code)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        config.logger.info("cannot store %s: %s", path, error)

"""One pass of Numba's front end for all compute capabilities.

It takes most of the time that compiling takes, and makes the same LLVM IR for each of them: what depends on a
capability follows, NVVM's part and the linker's, and is done for each. `test_compile.py` compares with what is compiled
for one alone.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastconv.cuda.compile import Kernel

FrontEnd = Callable[["Kernel", tuple[int, int], str], "str | bytes"]


def lowered_once(front_end: FrontEnd, directory: Path | None) -> FrontEnd:
    """Return a front end that keeps its LLVM IR beside the package's kernels, where other processes find it as well."""
    from numba.cuda.cudadrv import nvvm

    from fastconv.codegen import jit
    from fastconv.cuda import compile

    def once(kernel: Kernel, capability: tuple[int, int], output: str) -> str | bytes:
        if output != "ptx":
            return front_end(kernel, capability, output)
        place = directory and directory / "cuda" / f"{compile._key(kernel, (0, 0))}.ir"  # which is no capability
        stored = jit.read(place)
        if stored is not None:
            modules, options = json.loads(zlib.decompress(stored))
            options["arch"] = "compute_{}{}".format(*capability)
            return nvvm.compile_ir(modules, **options).decode().strip("\0").strip()
        ptx, given = _noting(lambda: front_end(kernel, capability, output))
        jit.write(place, zlib.compress(json.dumps(given).encode(), 1))
        return ptx

    return once


def _noting(work: Callable[[], str | bytes]) -> tuple[str | bytes, tuple[list[str], dict[str, object]]]:
    """Return what some work returns, and the modules and options that it hands to NVVM."""
    from numba.cuda.cudadrv import nvvm

    compile_ir, given = nvvm.compile_ir, []

    def noted(modules: list[str], **options: object) -> bytes:
        given.append((modules, dict(options)))
        return compile_ir(modules, **options)

    nvvm.compile_ir = noted
    try:
        found = work()
    finally:
        nvvm.compile_ir = compile_ir
    (only,) = given
    return found, only

"""The processor that code is generated for: its name, features, vector width and number of vector registers."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import llvmlite.binding as llvm

from fastconv import config

if TYPE_CHECKING:
    from llvmlite.binding import TargetMachine


@dataclass(frozen=True)
class Target:
    """What a generator has to know of a processor."""

    cpu: str
    features: str
    vector_bits: int
    vector_registers: int
    fused_multiply_add: bool
    native_masks: bool

    def lanes(self, dtype: str) -> int:
        """Elements of `dtype` in one vector."""
        return self.vector_bits // {"float32": 32, "float64": 64}[dtype]


def current() -> Target:
    """The target in force: the processor's, or what the configuration makes it stand in for."""
    return _target(config.vector_bits())


def processor() -> Target:
    """The target in force at the processor's own vector width: for code that holds no vectors of ours."""
    return _target(None)


@cache
def _target(forced_bits: int | None) -> Target:
    """Describe the processor, or what Numba's variables say instead (so both compilers agree); read once."""
    cpu = os.environ.get("NUMBA_CPU_NAME", "")
    features = os.environ.get("NUMBA_CPU_FEATURES", "")
    if not features and not cpu:
        features = llvm.get_host_cpu_features().flatten()
    cpu = cpu or llvm.get_host_cpu_name()
    present = {name[1:] for name in features.split(",") if name.startswith("+")}
    arm = llvm.get_process_triple().startswith(("aarch64", "arm64"))
    widest = 512 if "avx512f" in present else 256 if "avx" in present else 128
    bits = forced_bits or widest
    return Target(
        cpu=cpu,
        features=features,
        vector_bits=bits,
        vector_registers=32 if arm or bits == 512 else 16,
        fused_multiply_add=arm or "fma" in present,
        native_masks="avx512f" in present and bits == 512,
    )


@cache
def machine(target: Target) -> TargetMachine:
    """The LLVM target machine; kept for the life of the process because engines hold on to it."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    options = {"reloc": "default", "codemodel": "jitdefault"}
    native = llvm.Target.from_triple(llvm.get_process_triple())
    return native.create_target_machine(
        cpu=target.cpu, features=target.features, opt=3, jit=True, **options
    )


def vector_bits() -> int:
    """Width in bits of the vectors that kernels are generated for."""
    return current().vector_bits


def cpu_name() -> str:
    """LLVM's name of the processor, for example ``"znver3"``."""
    return current().cpu


def has_fma() -> bool:
    """Whether the processor multiplies and adds with one rounding."""
    return current().fused_multiply_add


@dataclass(frozen=True)
class Caches:
    """Sizes in bytes of one core's first and second level data caches, and lines of a set of the first."""

    level1: int
    level2: int
    ways: int


@cache
def caches() -> Caches:
    """What Linux reports; elsewhere sizes that every processor of the last decade reaches."""
    sizes = {1: 32 * 1024, 2: 256 * 1024}
    ways = 8
    if sys.platform == "linux":
        root = "/sys/devices/system/cpu/cpu0/cache"
        for level, index in ((1, "index0"), (2, "index2")):
            try:
                with open(f"{root}/{index}/size", encoding="ascii") as file:
                    text = file.read().strip()
                sizes[level] = int(text.rstrip("K")) * 1024
            except (OSError, ValueError):
                continue
        try:
            with open(f"{root}/index0/ways_of_associativity", encoding="ascii") as file:
                ways = int(file.read()) or ways
        except (OSError, ValueError):
            pass
    return Caches(sizes[1], sizes[2], ways)

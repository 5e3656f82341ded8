"""What the figures were taken on: versions, processor, threads, tolerances, cache directory, GPU."""

from __future__ import annotations

import os
import platform
from dataclasses import asdict
from importlib import metadata

import fastconv
from fastconv import config

__all__ = ["describe"]

CORE = ("fastconv", "numpy", "numba", "llvmlite")
PEERS = ("torch", "onnxruntime", "opencv-python-headless", "opencv-python", "scipy")


def describe() -> dict[str, object]:
    """Return the machine and the software on it, ready for JSON.

    ``versions`` and ``peers`` name distributions; ``cpu`` has LLVM's name of the processor, which is
    also what kernels are generated for, and its own; cache sizes are in bytes. ``constants`` are those that
    predictions are made with, rates a second and seconds, and where they are from.
    """
    from fastconv.codegen import target  # LLVM: only where it is asked for

    directory, constants = config.cache_directory(), fastconv.calibration()
    return {
        "versions": {"python": platform.python_version(), **_versions(CORE)},
        "peers": _versions(PEERS),
        "system": platform.platform(),
        "cpu": {
            "name": target.cpu_name(),
            "model": _model(),
            "vector_bits": target.vector_bits(),
            "fused_multiply_add": target.has_fma(),
            "cache_bytes": asdict(target.caches()),
            "available_to_process": _available_processors(),
        },
        "threads": fastconv.get_num_threads(),
        "precision": fastconv.get_precision(),
        "tolerance": {dtype: fastconv.get_tolerance(dtype) for dtype in ("float32", "float64")},
        "deterministic": fastconv.get_deterministic(),
        "constants": {"source": constants.source, **asdict(constants.machine)},
        "cache_directory": None if directory is None else str(directory),
        "gpu": _gpu(),
    }


def _versions(distributions: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for name in distributions:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _model() -> str | None:
    """Return what the processor calls itself; None where it cannot be asked."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return (names[0] if names else platform.processor()) or None


def _available_processors() -> int:
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _gpu() -> str:
    """Return the first CUDA device's name and figures, or in one line why there is none."""
    from fastconv.cuda import driver  # only where it is asked for
    from fastconv.devices import UnavailableError, check_compiler

    try:
        check_compiler()
        found = driver.current().device(0)
    except UnavailableError as error:
        return f"none: {' '.join(str(error).split())}"
    major, minor = found.capability
    return f"{found.name}, compute capability {major}.{minor}, {found.multiprocessors} multiprocessors"

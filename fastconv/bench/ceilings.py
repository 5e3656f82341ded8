"""What no kernel can pass on this machine, measured in the run whose figures are related to it."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

__all__ = ["Ceilings", "copy_bandwidth", "fma_peak", "measure"]

COPY_BYTES = 2**26  # of each thread's source and of its target: far beyond the caches
COPY_ROUNDS = 5


@dataclass(frozen=True)
class Ceilings:
    """The two lines of a roofline.

    Parameters
    ----------
    gflops : float, optional
        1e9 operations a second of multiply-adds on registers; None for types without them.
    gigabytes : float
        1e9 bytes a second that a copy reads and writes, in arrays far beyond the caches.
    """

    gflops: float | None
    gigabytes: float

    def or_better(self, other: Ceilings | None) -> Ceilings:
        """Return the greater of each figure: what was measured in a bad moment is no ceiling."""
        if other is None:
            return self
        gflops = None if self.gflops is None or other.gflops is None else max(self.gflops, other.gflops)
        return Ceilings(gflops, max(self.gigabytes, other.gigabytes))


def measure(dtype: str, threads: int) -> Ceilings:
    """Return what `threads` cores can do at most with a data type."""
    peak = fma_peak(dtype, threads) / 1e9 if dtype in ("float32", "float64") else None
    return Ceilings(peak, copy_bandwidth(threads) / 1e9)


def fma_peak(dtype: str, threads: int) -> float:
    """Return the flop/s that `threads` cores reach with fused multiply-adds in registers alone.

    One core is measured, by :func:`fastconv.codegen.peak.measure`, and taken `threads` times: an
    upper end where cores that are busy together clock lower than one that is busy alone.

    Parameters
    ----------
    dtype : str
        ``"float32"`` or ``"float64"``.
    threads : int
        Cores used.

    Returns
    -------
    float
        Floating-point operations a second; a multiply-add counts as two.
    """
    from fastconv.codegen import peak  # compiles: only where it is asked for

    return threads * peak.measure(dtype)


def copy_bandwidth(threads: int) -> float:
    """Return the bytes a second that `threads` threads read and write together when they copy."""
    pairs = [(np.ones(COPY_BYTES, np.uint8), np.empty(COPY_BYTES, np.uint8)) for _ in range(threads)]
    sources, targets = zip(*pairs, strict=True)
    best = float("inf")
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(COPY_ROUNDS + 1):  # the first touches the pages
            start = time.perf_counter()
            list(pool.map(np.copyto, targets, sources))
            best = min(best, time.perf_counter() - start)
    return 2 * COPY_BYTES * threads / best

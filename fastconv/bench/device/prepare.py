"""Compile all kernels of a run before it, by several processes: kernels are kept on disk, where the run finds them."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from typing import cast

from fastconv import config
from fastconv.cuda.compile import Code
from fastconv.cuda.driver import Device, Driver
from fastconv.cuda.place import plan_of
from fastconv.cuda.plan import Target
from fastconv.cuda.table import table_of
from fastconv.errors import UnsupportedError
from fastconv.problem import Problem, parse

__all__ = ["compile_kernels"]


class _Nowhere:
    """As much of a driver as making plans takes: nobody runs them, they are made so that their kernels are compiled."""

    def load(self, code: Code, ordinal: int) -> object:
        """Return the code as it is."""
        return code


def compile_kernels(problems: Iterable[Problem], device: Device, processes: int | None = None) -> None:
    """Compile the kernels of all algorithms that compute these problems, and keep them on disk.

    Parameters
    ----------
    problems : iterable of ConvProblem or PoolProblem
        What will be computed.
    device : Device
        The figures of the device: kernels and their tiles depend on them.
    processes : int, optional
        That compile at the same time; None for as many as there are processors. Each compiles one kernel after the
        other, since Numba's compiler serves one thread.
    """
    texts = list(dict.fromkeys(map(str, problems)))
    count = min(processes or len(os.sched_getaffinity(0)), len(texts))
    if count < 2 or config.cache_directory() is None:
        return  # what is not kept on disk is of no use to others, and the run compiles by itself
    # Problems that follow each other have kernels in common: each process takes a run of them.
    parts = [texts[len(texts) * i // count : len(texts) * (i + 1) // count] for i in range(count)]
    with ProcessPoolExecutor(count, multiprocessing.get_context("spawn")) as pool:
        try:
            list(pool.map(partial(_compile, device=device), parts))
        except BrokenProcessPool as error:
            config.logger.warning("kernels are compiled when they are needed: %s", error)


def _compile(texts: Sequence[str], device: Device) -> None:
    target = Target(cast("Driver", _Nowhere()), 0, device)
    for problem in map(parse, texts):
        for entry in table_of(problem):
            try:
                if (entry.runs_on(device) or entry.supports(problem)) is None:
                    plan_of(entry, problem, target)
            except UnsupportedError:  # as the run will find, too
                continue

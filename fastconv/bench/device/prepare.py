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
from fastconv.cuda.place import DevicePlace, plan_of
from fastconv.cuda.plan import Target
from fastconv.cuda.table import table_of
from fastconv.errors import UnsupportedError
from fastconv.problem import Problem, parse
from fastconv.selection import choice

__all__ = ["compile_kernels", "picked"]


class _Nowhere:
    """As much of a driver as making plans takes: nobody runs them, they are made so that their kernels are compiled."""

    def load(self, code: Code, ordinal: int, shared: int = 0) -> object:
        """Return the code as it is."""
        return code


def compile_kernels(
    wanted: Iterable[tuple[Problem, tuple[str, ...] | None]], device: Device, processes: int | None = None
) -> None:
    """Compile the kernels of the algorithms that will compute problems, and keep them on disk.

    Parameters
    ----------
    wanted : iterable of (ConvProblem or PoolProblem, tuple of str or None)
        What will be computed, and the names of those that are wanted besides the one that ``auto`` picks; None for all.
    device : Device
        The figures of the device: kernels and their tiles depend on them.
    processes : int, optional
        That compile at the same time; None for as many as there are processors. Each compiles one kernel after the
        other, since Numba's compiler serves one thread.
    """
    texts = list(dict.fromkeys((str(problem), names) for problem, names in wanted))
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


def picked(problem: Problem, place: DevicePlace) -> str:
    """Return the algorithm that ``auto`` stands for."""
    return choice.chosen(problem, config.tolerance_in_force(problem), place=place).name


def _compile(texts: Sequence[tuple[str, tuple[str, ...] | None]], device: Device) -> None:
    target = Target(cast("Driver", _Nowhere()), 0, device)
    for text, names in texts:
        problem = parse(text)
        wanted = None if names is None else {*names, picked(problem, DevicePlace(0, device))}
        for entry in table_of(problem):
            if wanted is not None and entry.name not in wanted:
                continue
            try:
                if (entry.runs_on(device) or entry.supports(problem)) is None:
                    plan_of(entry, problem, target)
            except UnsupportedError:  # as the run will find, too
                continue

"""What a fresh process pays: for the import, and for its first convolution.

Each figure is the time from starting an interpreter to its end, taken by the process that waits for it. The programs
take turns, every other round in reverse order, because the time of a shared machine drifts by more than there is to
measure; the figure is the minimum of the rounds. An untimed round goes first: it brings files into the system's cache
and fills the warm kernel cache. Beside it stands the minimum of the processor time, which is the same figure on an
idle machine: where it is much lower, the processes had to wait for others, and the ratios in brackets are the better
ones.

The kernel caches are directories of the benchmark's own: the warm one was filled by another process, an empty one is
made anew for each run. One thread computes.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from fastconv import selection
from fastconv.arguments import integer
from fastconv.bench.results import REFERENCE, ColdStart
from fastconv.problem import ConvProblem

__all__ = ["compile_table", "compile_times", "measure", "ratios", "table"]

PYTHON, NUMPY, NUMBA = "python", "import numpy", "import numba"
IMPORT, NAME = "import fastconv", "from fastconv import conv2d"
IMPORTS = {PYTHON: "pass", **{program: program for program in (NUMPY, IMPORT, NAME, NUMBA)}}
# What a process is compared with: what a program that computes at all imports anyway; and Numba, which every program
# that is compiled by it imports before its first result.
YARDSTICKS = {PYTHON: None, NUMPY: None, NUMBA: None, IMPORT: NUMPY, NAME: NUMPY}

BEGINNING = "import sys\nimport numpy as np\nimport fastconv\n"
CALL = (
    "x, weight = np.ones({x}, {dtype!r}), np.ones({weight}, {dtype!r})\n"
    "fastconv.conv{rank}d(x, weight, algorithm={algorithm!r}, **{arguments})\n"
)
COUNTS = "from fastconv.codegen import jit\nsys.stdout.write(f\"{jit.counts['compiled']} {jit.counts['loaded']}\")\n"
# Numba sets itself up when it compiles for the first time; that is nobody's compile time.
NUMBA_READY = "from numba import njit\nnjit('void()')(lambda: None)\n"
COMPILE_SECONDS = "import json\nfrom fastconv.codegen import jit\njson.dump(jit.compile_seconds, sys.stdout)\n"


@dataclass(frozen=True)
class _Program:
    """What a fresh interpreter runs, and whether it finds a warm kernel cache or an empty one."""

    process: str
    text: str
    warm: bool = True


@dataclass(frozen=True)
class _Run:
    """One process from its start to its end: seconds, seconds of the processor, and what it wrote."""

    seconds: float
    processor_seconds: float
    written: str = ""


def measure(
    problem: ConvProblem, rounds: int, progress: Callable[[int, int], object] | None = None
) -> tuple[ColdStart, ...]:
    """Time fresh processes in turns: interpreter, imports, and each algorithm's first call.

    Parameters
    ----------
    problem : ConvProblem
        What the first call computes. The algorithms of the table that support it take part, but not the reference.
    rounds : int
        Timed runs of each program, at least 1.
    progress : callable, optional
        Called after each process with how many have ended and how many there will be.

    Returns
    -------
    tuple of ColdStart
        Interpreter and imports, then each algorithm with a warm kernel cache and with an empty one.

    Raises
    ------
    TypeError
        If `rounds` is no integer.
    ValueError
        If it is less than 1, or the problem is not a forward convolution.
    RuntimeError
        If a process fails, with what it wrote to stderr.
    """
    rounds = integer(rounds, "rounds", 1)
    programs = _programs(problem)
    runs: dict[_Program, list[_Run]] = {program: [] for program in programs}
    ended, total = 0, (rounds + 1) * len(programs)
    with tempfile.TemporaryDirectory() as warm_cache:
        for number in range(rounds + 1):
            for program in programs if number % 2 else reversed(programs):
                with tempfile.TemporaryDirectory() as empty_cache:
                    run = _run(program.text, Path(warm_cache if program.warm else empty_cache))
                if number > 0:
                    runs[program].append(run)
                ended += 1
                if progress is not None:
                    progress(ended, total)
    return tuple(_figures(program.process, taken) for program, taken in runs.items())


def compile_times(problems: Sequence[ConvProblem]) -> dict[str, float]:
    """Return the milliseconds that emitting and compiling each function takes that problems need.

    One fresh process with an empty kernel cache runs every algorithm of the table that supports a problem, the
    reference excepted, on each problem in turn. Numba was imported and has compiled something before.

    Parameters
    ----------
    problems : sequence of ConvProblem
        Forward convolutions.

    Returns
    -------
    dict of str to float
        By the function's name, which is the name of its file in the kernel cache, in the order they were compiled.
        Numba compiles what two drivers share with the first of them.

    Raises
    ------
    ValueError
        If a problem is not a forward convolution.
    RuntimeError
        If the process fails, with what it wrote to stderr.
    """
    with tempfile.TemporaryDirectory() as cache:
        return _compile_times(problems, Path(cache))


def _compile_times(problems: Sequence[ConvProblem], cache: Path) -> dict[str, float]:
    calls = [_call(problem, algorithm) for problem in problems for algorithm in _algorithms(problem)]
    run = _run("".join((NUMBA_READY, BEGINNING, *calls, COMPILE_SECONDS)), cache)
    return {name: 1e3 * seconds for name, seconds in json.loads(run.written).items()}


def _programs(problem: ConvProblem) -> list[_Program]:
    imports = [_Program(process, text) for process, text in IMPORTS.items()]
    first_calls = [
        _Program(f"{algorithm}, {cache} cache", BEGINNING + _call(problem, algorithm) + COUNTS, cache == "warm")
        for algorithm in _algorithms(problem)
        for cache in ("warm", "empty")
    ]
    return [*imports, *first_calls]


def _algorithms(problem: ConvProblem) -> list[str]:
    """Return the names of those that a first call is timed of."""
    if problem.direction != "forward":
        raise ValueError(f"problem must be a forward convolution to be run, got {problem}")
    return [one.name for one in selection.TABLE if one.name != REFERENCE and one.supports(problem) is None]


def _call(problem: ConvProblem, algorithm: str) -> str:
    return CALL.format(
        x=problem.input_shape,
        weight=problem.weight_shape,
        dtype=problem.dtype,
        rank=problem.rank,
        algorithm=algorithm,
        arguments=problem.arguments(),
    )


def _run(text: str, cache: Path) -> _Run:
    """Start an interpreter on a program and wait for its end."""
    environment = {**os.environ, "FASTCONV_CACHE_DIR": str(cache), "FASTCONV_NUM_THREADS": "1"}
    command = [sys.executable, "-c", text]
    start, processor_start = time.perf_counter(), _processor_seconds()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    end, processor_end = time.perf_counter(), _processor_seconds()
    if done.returncode:
        raise RuntimeError(f"a process ended with exit code {done.returncode}: {done.stderr.strip()}\n{text}")
    return _Run(end - start, processor_end - processor_start, done.stdout)


def _processor_seconds() -> float:
    """Return what all processes took that ended and were waited for."""
    import resource  # not on Windows, where the command line must be importable all the same

    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _figures(process: str, runs: Sequence[_Run]) -> ColdStart:
    counts = [[int(count) for count in run.written.split()] or [0, 0] for run in runs]
    return ColdStart(
        process=process,
        minimum_ms=1e3 * min(run.seconds for run in runs),
        median_ms=1e3 * statistics.median(run.seconds for run in runs),
        processor_ms=1e3 * min(run.processor_seconds for run in runs),
        compiled=max(compiled for compiled, _ in counts),
        loaded=max(loaded for _, loaded in counts),
    )


def table(found: Sequence[ColdStart]) -> Table:
    """Return one row a process: milliseconds, and how many functions it compiled and loaded."""
    result = _table("process", "minimum ms", "median ms", "processor ms", "compiled", "loaded")
    for one in found:
        times = (one.minimum_ms, one.median_ms, one.processor_ms)
        computes = one.process not in IMPORTS
        counts = (one.compiled, one.loaded) if computes else ("", "")
        result.add_row(one.process, *(f"{taken:.1f}" for taken in times), *map(str, counts))
    return result


def compile_table(milliseconds: Mapping[str, float]) -> Table:
    """Return one row a compiled function, the slowest first."""
    result = _table("function", "compile ms")
    for name, taken in sorted(milliseconds.items(), key=lambda item: -item[1]):
        result.add_row(name, f"{taken:.1f}")
    return result


def _table(first: str, *others: str) -> Table:
    result = Table(box=None, pad_edge=False)
    result.add_column(first, no_wrap=True)
    for name in others:
        result.add_column(name, justify="right")
    return result


def ratios(found: Sequence[ColdStart]) -> Iterator[str]:
    """Yield the lines under a table: ratios of minima, and in brackets of processor times.

    An import of fastconv is compared with NumPy's, a first call with the import of Numba.
    """
    by_process = {one.process: one for one in found}
    for one in found:
        under = by_process.get(YARDSTICKS.get(one.process, NUMBA) or "")
        if under is not None:
            ratio, processor = one.minimum_ms / under.minimum_ms, one.processor_ms / under.processor_ms
            yield f"{one.process} / {under.process}: {ratio:.2f} ({processor:.2f})"

"""What a fresh process pays: for the import, and for its first convolution.

Each figure is the time from starting an interpreter to its end, taken by the process that waits for
it. The programs take turns, every other round in reverse order, because the time of a shared
machine drifts by more than there is to measure; the figure is the minimum of the rounds. An
untimed round goes first: it brings files into the system's cache and fills the warm kernel cache.
Beside it stands the minimum of the processor time, which is the same figure on an idle machine: where
it is much lower, the processes had to wait for others, and the ratios in brackets are the better ones.

The kernel caches are directories of the benchmark's own: ``warm`` was filled by another process,
``empty`` is made anew for each run. One thread computes.

Examples
--------
On one core::

    taskset -c 1 python benchmarks/cold_start.py --rounds 15

"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from fastconv.problem import ConvProblem

FIRST_CALL = """
import sys
import numpy as np
import fastconv
x, weight = np.ones({x}, {dtype!r}), np.ones({weight}, {dtype!r})
fastconv.conv{rank}d(x, weight, **{arguments})
from fastconv.codegen import jit
sys.stdout.write(f"{{jit.counts['compiled']}} {{jit.counts['loaded']}}")
"""
EXAMPLE = "conv2d,n1,c64,56x56,k64,3x3,p1,float32"

PYTHON, NUMPY, NUMBA = "python", "import numpy", "import numba"
IMPORT, NAME = "import fastconv", "from fastconv import conv2d"
WARM, EMPTY = "first conv, warm cache", "first conv, empty cache"
RATIOS = ((IMPORT, NUMPY), (NAME, NUMPY), (WARM, NUMBA), (EMPTY, NUMBA))


@dataclass
class Contender:
    """A program, and what its processes took and did.

    Parameters
    ----------
    program : str
        Given to ``python -c``.
    warm : bool
        Whether its kernel cache is kept from one process to the next.
    """

    program: str
    warm: bool = True
    seconds: list[float] = field(default_factory=list)
    processor_seconds: list[float] = field(default_factory=list)
    compiled: set[int] = field(default_factory=set)
    loaded: set[int] = field(default_factory=set)

    def run(self, warm_cache: Path, *, timed: bool) -> None:
        """Start the program and wait for its end; keep the time if it is asked for."""
        with tempfile.TemporaryDirectory() as empty_cache:
            cache = str(warm_cache) if self.warm else empty_cache
            environment = {**os.environ, "FASTCONV_CACHE_DIR": cache, "FASTCONV_NUM_THREADS": "1"}
            command = [sys.executable, "-c", self.program]
            start, processor_start = time.perf_counter(), _processor_seconds()
            done = subprocess.run(command, env=environment, capture_output=True, check=True)
            end, processor_end = time.perf_counter(), _processor_seconds()
        if timed:
            self.seconds.append(end - start)
            self.processor_seconds.append(processor_end - processor_start)
            if counts := done.stdout.split():
                self.compiled.add(int(counts[0]))
                self.loaded.add(int(counts[1]))


def _processor_seconds() -> float:
    """Return what all processes took that ended and were waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def contenders(problem: ConvProblem) -> dict[str, Contender]:
    first_call = FIRST_CALL.format(
        x=problem.input_shape,
        weight=problem.weight_shape,
        dtype=problem.dtype,
        rank=problem.rank,
        arguments=problem.arguments(),
    )
    return {
        PYTHON: Contender("pass"),
        NUMPY: Contender("import numpy"),
        IMPORT: Contender("import fastconv"),
        NAME: Contender("from fastconv import conv2d"),
        NUMBA: Contender("import numba"),
        WARM: Contender(first_call),
        EMPTY: Contender(first_call, warm=False),
    }


def measure(problem: ConvProblem, rounds: int) -> dict[str, Contender]:
    """Let all programs run in turns, `rounds` times."""
    found = contenders(problem)
    with tempfile.TemporaryDirectory() as directory:
        for number in range(rounds + 1):
            entries = list(found.values())
            for contender in entries if number % 2 else reversed(entries):
                contender.run(Path(directory), timed=number > 0)
    return found


def table(found: dict[str, Contender]) -> Table:
    result = Table(box=None, pad_edge=False)
    result.add_column("process", no_wrap=True)
    for name in ("minimum ms", "median ms", "processor ms", "compiled", "loaded"):
        result.add_column(name, justify="right")
    for name, contender in found.items():
        times = contender.seconds
        figures = min(times), statistics.median(times), min(contender.processor_seconds)
        counts = (_counts(each) for each in (contender.compiled, contender.loaded))
        result.add_row(name, *(f"{1e3 * seconds:.1f}" for seconds in figures), *counts)
    return result


def _counts(seen: set[int]) -> str:
    """Return the number of functions, each number if the processes differed."""
    return " or ".join(map(str, sorted(seen)))


def ratios(found: dict[str, Contender]) -> Iterator[str]:
    for over, under in RATIOS:
        ratio = min(found[over].seconds) / min(found[under].seconds)
        processor = min(found[over].processor_seconds) / min(found[under].processor_seconds)
        yield f"{over} / {under}: {ratio:.2f} ({processor:.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description="Time fresh processes, in turns.")
    parser.add_argument("--rounds", type=int, default=15, help="runs of each program (15)")
    parser.add_argument("--problem", type=ConvProblem.parse, default=EXAMPLE, help=EXAMPLE)
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error(f"--rounds must be positive, got {options.rounds}")
    found = measure(options.problem, options.rounds)
    console = Console()
    console.print(f"{options.problem}, {options.rounds} rounds", highlight=False)
    console.print(table(found), highlight=False)
    console.print()
    for line in ratios(found):
        console.print(line, highlight=False)


if __name__ == "__main__":
    main()

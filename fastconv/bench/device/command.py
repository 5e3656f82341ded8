"""The one command: all suites, one JSON and one table, within a budget."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from io import StringIO
from pathlib import Path
from typing import TextIO

from fastconv import config
from fastconv.bench import plain, table
from fastconv.bench.device import BATCHES, BUDGET, LAYOUTS, SUITES, Library
from fastconv.bench.device.classes import class_table
from fastconv.bench.device.tensor_cores import TARGETS, precision_table
from fastconv.bench.jobs import jobs_of
from fastconv.bench.results import Report
from fastconv.bench.run import Job
from fastconv.devices import UnavailableError, check_compiler
from fastconv.problem import DTYPES, parse

__all__ = ["all_jobs", "lines", "main", "report", "write"]


def all_jobs(
    targets: Sequence[str] = SUITES,
    batches: Sequence[int] = BATCHES,
    layouts: Sequence[str] = LAYOUTS,
    dtype: str = "float32",
) -> list[Job]:
    """Return the suites and problems in the order of their weight: first all with one batch.

    What `fastconv.bench.device.tensor_cores` adds to suites has data types of its own, and is there for the first of
    the batches alone.

    Raises
    ------
    ValueError
        If a target is neither a suite nor a problem.
    OSError
        If a file of problems cannot be read.
    """
    found: list[Job] = []
    of_suites = [target for target in targets if target not in TARGETS]
    for batch in batches:
        for layout in layouts:
            found += [job for job in jobs_of(of_suites, batch, dtype, layout, "forward", 1) if job not in found]
        if batch == batches[0]:
            for more in [TARGETS[target] for target in targets if target in TARGETS]:
                found += more(batch, layouts)
    return found


def report(
    jobs: Sequence[Job], budget: float, say: Callable[[str], object] = lambda _: None, library: Library | None = None
) -> Report:
    """Measure, and return all that was found.

    Parameters
    ----------
    jobs : sequence of Job
        What to measure.
    budget : float
        Seconds for everything, compiling included.
    say : callable, optional
        Gets a line about what comes next.
    library : Library, optional
        That has arrays on the device; PyTorch by default.

    Raises
    ------
    UnavailableError
        If there is no device, or something is missing to use it.
    """
    end = time.perf_counter() + budget
    check_compiler()
    # What imports the compiler for devices, not before it is known to be there.
    from fastconv.bench.device.prepare import compile_kernels
    from fastconv.bench.device.run import SMALL, host_microseconds, measure
    from fastconv.cuda.plan import target

    at = target(0)
    library = library or _pytorch()
    with _somewhere_for_kernels():
        say(f"{at.device.name}: compiling kernels")
        layers = [(layer.problem, job.algorithms) for job in jobs for layer in job.layers]
        compile_kernels([*((parse(each), None) for each in SMALL), *layers], at.device)
        host = host_microseconds(library, at)
        suites = measure(jobs, library, at, end - time.perf_counter(), say)
    found = Report.now("fastconv bench --device cuda", budget, suites)
    figures = {**asdict(at.device), **library.figures}
    return replace(found, machine={**found.machine, "device": figures}, host_us=host)


def _pytorch() -> Library:
    try:
        from fastconv.bench.device.cudnn import PyTorch

        return PyTorch()
    except ImportError as error:
        raise UnavailableError(f"the benchmark on a device needs PyTorch: {error}") from error


@contextmanager
def _somewhere_for_kernels() -> Iterator[None]:
    """Keep compiled kernels in a directory for this run where there is none: processes share them through it."""
    if config.cache_directory() is not None:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="fastconv-") as directory:
        os.environ["FASTCONV_CACHE_DIR"] = directory
        try:
            yield
        finally:
            del os.environ["FASTCONV_CACHE_DIR"]


def lines(found: Report) -> Iterator[str]:
    """Yield the lines of the table: each suite, then the classes, then what a call takes of the host."""
    for suite in found.suites:
        yield table.heading(suite)
        yield _as_text(table.layer_table(suite.layers))
        yield ""
        yield from table.notes(suite)
        yield ""
    for judged in (class_table(found.suites), precision_table(found.suites)):
        if judged.row_count:
            yield str(judged)
            yield ""
    for gflops, gigabytes in sorted({(suite.peak_gflops or 0, suite.copy_gigabytes or 0) for suite in found.suites}):
        peak = f"peak of multiply-adds {gflops:.0f} GFLOP/s, " if gflops else ""
        yield f"{peak}copies {gigabytes:.0f} GB/s, in this run"
    yield "microseconds that a call seen before takes of the host:"
    for name, taken in found.host_us.items():
        yield f"  {taken:6.1f} {name}"


def _as_text(shown: object) -> str:
    """Return a table's lines, each as long as it is."""
    if isinstance(shown, plain.Table):
        return str(shown)
    from rich.console import Console

    console = Console(file=StringIO(), width=_WIDEST)
    with console.capture() as capture:
        console.print(shown)
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


_WIDEST = 1000  # columns: no line of a table is broken


def write(found: Report, json_file: Path | None, table_file: Path | None, say: Callable[[str], object]) -> int:
    """Write a report to files, and its table to `say`; return the exit code: 1 if any result is wrong."""
    text = "\n".join(lines(found))
    say(text)
    if json_file is not None:
        json_file.write_text(found.to_json() + "\n", encoding="utf-8")
    if table_file is not None:
        table_file.write_text(text + "\n", encoding="utf-8")
    return int(any(layer.failures for suite in found.suites for layer in suite.layers))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command without the packages that ``fastconv bench`` needs; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m fastconv.bench.device", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="SUITE|PROBLEM|@FILE", help=f"default: {' '.join(SUITES)}")
    parser.add_argument("--budget", type=float, default=BUDGET, help="seconds for everything (default %(default)s)")
    parser.add_argument("--batch", type=int, nargs="+", default=BATCHES, help="images a call, in suites")
    parser.add_argument("--layout", choices=LAYOUTS, nargs="+", default=LAYOUTS, help="in suites")
    parser.add_argument("--dtype", choices=DTYPES, default="float32", help="in suites")
    parser.add_argument("--json", type=Path, help="results to a file")
    parser.add_argument("--table", type=Path, help="the table to a file, too")
    asked = parser.parse_args(arguments)
    try:
        jobs = all_jobs(asked.targets or SUITES, asked.batch, asked.layout, asked.dtype)
        found = report(jobs, asked.budget, _say_on(sys.stderr))
    except (OSError, ValueError, UnavailableError) as error:
        sys.stderr.write(f"{parser.prog}: {' '.join(str(error).split())}\n")
        return 2
    return write(found, asked.json, asked.table, _say_on(sys.stdout))


def _say_on(stream: TextIO) -> Callable[[str], object]:
    return lambda text: stream.write(f"{text}\n")

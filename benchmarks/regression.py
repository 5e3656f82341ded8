"""Is one version of the package slower than another? Both are timed now, on this machine, in turns.

No figure is stored: absolute times of different days and machines do not compare. A process runs each version, and
on each layer the two take turns, every other round in reverse order; the minimum of the rounds counts. A layer on
which they differ is measured again with more rounds, and the second measurement counts. The results of both are
compared as well, for it is no gain to be fast and wrong.

Each process has a kernel cache of its own that is empty at first; compiling is in no figure.

The exit code is 1 only where ``--fail-above`` is given, and the geometric mean of head / base over a suite exceeds it,
or head computes something else than base, or cannot compute what base can.

Examples
--------
The working tree against the last commit, as continuous integration may do it::

    python benchmarks/regression.py HEAD --suite resnet50 --suite mobilenet_v2 --fail-above 1.10

One layer, against another checkout::

    python benchmarks/regression.py ../other --suite conv2d,n1,c64,56x56,k64,3x3,p1,float32

"""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import click
import numpy as np
from rich.table import Table

from fastconv.bench.operations import draw, operation_of, relative_error
from fastconv.bench.suites import SUITES, Layer
from fastconv.bench.summary import Mean
from fastconv.cli import problems
from fastconv.cli.output import console, progress, show_table
from fastconv.problem import Problem
from fastconv.timing import stopwatches_in_turns

WORKER = Path(__file__).with_name("regression_worker.py")
CHECKOUT = Path(__file__).parents[1]
BASE, HEAD = "base", "head"

ERROR_LIMIT = 1e-5  # relative 2-norm: rounding in another order, in float32
SUSPICIOUS = 1.05  # head / base from this on, and to its inverse, is measured again
AGAIN = 4  # times the budget


class CannotComputeError(Exception):
    """A version does not compute a problem."""


class Contender(Protocol):
    """One version of the package."""

    def prepare(self, problem: Problem) -> np.ndarray:
        """Make the first call on a problem and return its result; raise CannotComputeError if there is none."""

    def time(self, calls: int) -> float:
        """Make so many calls on that problem, and return the seconds that they took together."""


class Worker:
    """A process that computes with the version of the package that a directory holds."""

    def __init__(self, directory: Path, scratch: Path, threads: int) -> None:
        self.scratch = scratch
        path = os.pathsep.join(filter(None, (str(directory), os.environ.get("PYTHONPATH"))))
        environment = {**os.environ, "PYTHONPATH": path, "FASTCONV_CACHE_DIR": str(scratch / "cache")}
        self._process = subprocess.Popen(
            [sys.executable, str(WORKER), str(threads)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=scratch,
        )
        imported = Path(self._answer()["package"])
        if not imported.is_relative_to(directory):
            self.close()
            raise click.UsageError(f"a process for {directory} imported {imported}")

    def prepare(self, problem: Problem) -> np.ndarray:
        operation, arrays = operation_of(problem), draw(problem)
        call = (operation.function_name(problem), operation.positional(problem, arrays), problem.arguments())
        call_file, result_file = self.scratch / "call.pickle", self.scratch / "result.npy"
        call_file.write_bytes(pickle.dumps(call))
        self._ask({"call": str(call_file), "result": str(result_file)})
        return np.load(result_file)

    def time(self, calls: int) -> float:
        return float(self._ask({"calls": calls})["seconds"])

    def close(self) -> None:
        """End the process."""
        self._process.communicate()

    def _ask(self, request: Mapping[str, object]) -> dict[str, str]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        answer = self._answer()
        if "error" in answer:
            raise CannotComputeError(answer["error"])
        return answer

    def _answer(self) -> dict[str, str]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise click.ClickException(f"a process ended with exit code {self._process.wait()}, its error is above")
        answer: dict[str, str] = json.loads(line)
        return answer


@dataclass(frozen=True)
class Row:
    """What one layer showed: milliseconds, why head is wrong, or why base cannot be compared with."""

    suite: str
    layer: str
    base_ms: float | None = None
    head_ms: float | None = None
    again: bool = False
    failure: str | None = None
    skipped: str | None = None

    @property
    def ratio(self) -> float | None:
        """Time of head / time of base: above 1, head is slower."""
        return None if self.base_ms is None or self.head_ms is None else self.head_ms / self.base_ms


def measure(suite: str, layer: Layer, base: Contender, head: Contender, seconds: float) -> Row:
    """Compare the results of both versions on a layer, then time them in turns; again if they differ."""
    try:
        expected = base.prepare(layer.problem)
    except CannotComputeError as error:
        return Row(suite, layer.name, skipped=f"base: {error}")
    try:
        found = head.prepare(layer.problem)
    except CannotComputeError as error:
        return Row(suite, layer.name, failure=f"head: {error}")
    if found.shape != expected.shape or found.dtype != expected.dtype:
        failure = f"{found.dtype} {found.shape}, base has {expected.dtype} {expected.shape}"
        return Row(suite, layer.name, failure=failure)
    error = relative_error(found, expected)
    if not error <= ERROR_LIMIT:  # a NaN is not
        return Row(suite, layer.name, failure=f"differs from base by {error:.2g}, at most {ERROR_LIMIT:.2g} expected")
    stopwatches = {BASE: base.time, HEAD: head.time}
    times = stopwatches_in_turns(stopwatches, seconds)
    ratio = times[HEAD].minimum / times[BASE].minimum
    again = not 1 / SUSPICIOUS < ratio < SUSPICIOUS
    if again:
        times = stopwatches_in_turns(stopwatches, AGAIN * seconds)
    return Row(suite, layer.name, 1e3 * times[BASE].minimum, 1e3 * times[HEAD].minimum, again)


def means(rows: Sequence[Row]) -> dict[str, Mean]:
    """Return head / base of each suite that has a time."""
    found = {
        suite: Mean.of({row.layer: row.ratio for row in rows if row.suite == suite}, high_is_bad=True)
        for suite in dict.fromkeys(row.suite for row in rows)
    }
    return {suite: mean for suite, mean in found.items() if mean is not None}


def failed(rows: Sequence[Row], limit: float) -> bool:
    """Whether head is wrong somewhere, or slower on a suite than `limit` allows."""
    return any(row.failure for row in rows) or any(mean.geometric_mean > limit for mean in means(rows).values())


def table(rows: Sequence[Row]) -> Table:
    """Return one row a layer."""
    result = Table(box=None, pad_edge=False)
    for name in ("suite", "layer"):
        result.add_column(name, no_wrap=True)
    for name in ("base ms", "head ms", "head / base"):
        result.add_column(name, justify="right", no_wrap=True)
    result.add_column("")
    for row in rows:
        if row.base_ms is None or row.head_ms is None:
            figures = ("–", "–", "–")
        else:
            figures = (f"{row.base_ms:.4g}", f"{row.head_ms:.4g}", f"{row.head_ms / row.base_ms:.2f}")
        remark = f"WRONG: {row.failure}" if row.failure else row.skipped or ("measured again" if row.again else "")
        result.add_row(row.suite, row.layer, *figures, remark)
    return result


def notes(rows: Sequence[Row]) -> Iterator[str]:
    """Yield the lines under the table: means, and what a second measurement confirmed."""
    for suite, mean in means(rows).items():
        yield (
            f"{suite}: head / base: geometric mean {mean.geometric_mean:.3f}, "
            f"worst {mean.worst:.2f} ({mean.worst_layer}), {len(mean.layers)} measured"
        )
    confirmed = {f"{row.layer} of {row.suite}": row.ratio for row in rows if row.again and row.ratio is not None}
    slower = [f"{name} {ratio:.2f}" for name, ratio in confirmed.items() if ratio >= SUSPICIOUS]
    faster = [f"{name} {ratio:.2f}" for name, ratio in confirmed.items() if ratio <= 1 / SUSPICIOUS]
    yield f"slower in both measurements: {', '.join(slower) or 'none'}"
    yield f"faster in both measurements: {', '.join(faster) or 'none'}"


@contextmanager
def directory_of(version: str, checkout: Path = CHECKOUT) -> Iterator[Path]:
    """Lend the directory that holds a version of the package: a directory, or a revision of `checkout` in git."""
    with ExitStack() as stack:
        directory = Path(version).resolve()
        if not directory.is_dir():
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory())).resolve() / "tree"
            _git(checkout, "worktree", "add", "--quiet", "--detach", str(directory), version)
            stack.callback(_git, checkout, "worktree", "remove", "--force", str(directory))
        if not (directory / "fastconv" / "__init__.py").is_file():
            raise click.UsageError(f"{version!r} must hold the package, found no fastconv/__init__.py")
        yield directory


def _git(checkout: Path, *arguments: str) -> None:
    done = subprocess.run(["git", "-C", str(checkout), *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise click.UsageError(f"git {' '.join(arguments)}: {done.stderr.strip()}")


@contextmanager
def worker_of(version: str, threads: int) -> Iterator[Worker]:
    """Lend a process that computes with a version of the package."""
    with directory_of(version) as directory, tempfile.TemporaryDirectory() as scratch:
        worker = Worker(directory, Path(scratch), threads)
        try:
            yield worker
        finally:
            worker.close()


def layers_of(targets: Sequence[str], batch: int) -> list[tuple[str, Layer]]:
    """Return the layers of suites by name, and of problems as text."""
    found: list[tuple[str, Layer]] = []
    for target in targets:
        if target in SUITES:
            found += [(target, layer) for layer in SUITES[target].layers(batch)]
        elif "," in target:
            found.append(("problems", Layer(target, problems.problem(target))))
        else:
            raise click.UsageError(f"--suite must be one of {', '.join(SUITES)} or a problem, got {target!r}")
    return found


def measure_all(
    layers: Sequence[tuple[str, Layer]],
    base: Contender,
    head: Contender,
    seconds: float,
    before_layer: Callable[[str, int], object] = lambda name, done: None,
) -> list[Row]:
    """Measure every layer, calling `before_layer` with its name and how many are done."""
    rows = []
    for done, (suite, layer) in enumerate(layers):
        before_layer(f"{suite} {layer.name}", done)
        rows.append(measure(suite, layer, base, head, seconds))
    return rows


@click.command()
@click.argument("base")
@click.option("--head", default=".", show_default=True, help="As BASE.")
@click.option("--suite", "targets", multiple=True, default=("resnet50",), help="Or a problem; may be repeated.")
@click.option("--batch", type=click.IntRange(min=1), default=1, show_default=True, help="Images a call, in suites.")
@click.option("--threads", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--seconds", type=click.FloatRange(min=0), default=0.5, show_default=True, help="For one layer.")
@click.option("--fail-above", type=click.FloatRange(min=0), help="Exit code 1 if a suite's head / base exceeds it.")
@click.pass_context
def main(
    context: click.Context,
    base: str,
    head: str,
    targets: tuple[str, ...],
    batch: int,
    threads: int,
    seconds: float,
    fail_above: float | None,
) -> None:
    """Time two versions of the package against each other, layer by layer.

    BASE is a directory that holds the package, or a revision that git knows.
    """
    layers = layers_of(targets, batch)
    with worker_of(base, threads) as old, worker_of(head, threads) as new, progress() as bar:
        task = bar.add_task("layers", total=len(layers))
        rows = measure_all(
            layers, old, new, seconds, lambda name, done: bar.update(task, description=name, completed=done)
        )
    target = console()
    show_table(target, table(rows))
    target.print()
    for line in notes(rows):
        target.print(line, markup=False, highlight=False)
    context.exit(1 if fail_above is not None and failed(rows, fail_above) else 0)


if __name__ == "__main__":
    main()

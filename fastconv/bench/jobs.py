"""What a user asks to be measured: suites by name, problems as text, files of them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from fastconv.bench.run import Job
from fastconv.bench.suites import SUITES, Layer
from fastconv.problem import Problem, parse, read

__all__ = ["EXAMPLE", "jobs_of"]

EXAMPLE = "conv2d,n1,c64,56x56,k64,3x3,p1,float32"


def jobs_of(targets: Iterable[str], batch: int, dtype: str, layout: str, direction: str, threads: int) -> list[Job]:
    """Return the suites named, and one more job for each way in which problems were written out, here or in files.

    Parameters
    ----------
    targets : iterable of str
        Names of suites, problems' string forms, and files after an ``@``.
    batch, dtype, layout, direction
        Of the layers of suites.
    threads : int
        Of all jobs.

    Raises
    ------
    ValueError
        If a target is none of these, or a suite refuses one of the values.
    OSError
        If a file cannot be read.
    """
    jobs: list[Job] = []
    written_out: dict[tuple[str, str, int], list[Layer]] = {}
    numbers = itertools.count(1)
    for target in targets:
        if target in SUITES:
            suite = SUITES[target]
            try:
                layers = suite.layers(batch, dtype, layout, direction)
            except (TypeError, ValueError) as error:  # an average of integers, a pooling's gradient
                raise ValueError(f"{target}: {error}") from None
            jobs.append(Job(target, suite.source, layers, (threads,)))
            continue
        for problem in _written_out(target):
            alike = written_out.setdefault((problem.dtype, problem.layout, problem.batch), [])
            alike.append(Layer(f"problem {next(numbers)}", problem))
    return [
        *jobs,
        *(Job("problems", "the command line", tuple(alike), (threads,)) for alike in written_out.values()),
    ]


def _written_out(target: str) -> tuple[Problem, ...]:
    """Return the problem that a target is, or those of the file that it names."""
    if target.startswith("@"):
        return read(target[1:])
    if "," not in target:
        raise ValueError(
            f"{target!r} is neither a suite ({', '.join(SUITES)}) nor a problem such as {EXAMPLE} nor @FILE"
        )
    try:
        return (parse(target),)
    except TypeError as error:
        raise ValueError(str(error)) from None

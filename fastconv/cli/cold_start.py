"""``fastconv cold-start``: what fresh processes pay for the import and for their first convolution."""

from __future__ import annotations

from typing import TextIO

import click

from fastconv.bench import cold_start as processes
from fastconv.bench.results import ColdStart, Report
from fastconv.cli import problems
from fastconv.cli.output import console, progress, show_table
from fastconv.problem import ConvProblem

__all__ = ["cold_start"]


@click.command("cold-start")
@click.argument("problem", default=problems.EXAMPLE)
@click.option("--rounds", type=click.IntRange(min=1), default=15, show_default=True, help="Runs of each program.")
@click.option(
    "--json",
    "json_file",
    type=click.File("w", encoding="utf-8", lazy=False),  # nobody should wait to learn that it cannot be written
    help="Results to a file; - is stdout.",
)
def cold_start(problem: str, rounds: int, json_file: TextIO | None) -> None:
    """Time fresh processes: the import, and each algorithm's first call.

    PROBLEM is what the first call computes, such as conv2d,n1,c64,56x56,k64,3x3,p1,float32, which is the default. A
    warm kernel cache holds what the call needs; with an empty one all of it is compiled.
    """
    parsed = problems.forward_convolution(problem)
    found, compile_ms = _measure(parsed, rounds)
    target = console(stderr=json_file is not None and json_file.name == "<stdout>")
    target.print(f"{parsed}: minimum of {rounds} rounds", highlight=False)
    show_table(target, processes.table(found))
    target.print()
    for line in processes.ratios(found):
        target.print(line, highlight=False)
    target.print()
    show_table(target, processes.compile_table(compile_ms))
    if json_file is not None:
        command = f"fastconv cold-start {parsed} --rounds {rounds}"
        click.echo(Report.now(command, 0.0, (), found, compile_ms).to_json(), file=json_file)


def _measure(problem: ConvProblem, rounds: int) -> tuple[tuple[ColdStart, ...], dict[str, float]]:
    """Measure with a progress bar on stderr."""
    with progress() as bar:
        task = bar.add_task("compiling", total=None)
        compile_ms = processes.compile_times([problem])
        bar.update(task, description="processes, in turns")
        found = processes.measure(problem, rounds, lambda ended, total: bar.update(task, completed=ended, total=total))
    return found, compile_ms

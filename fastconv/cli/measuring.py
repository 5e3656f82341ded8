"""Measuring with a progress bar."""

from __future__ import annotations

from collections.abc import Sequence

from fastconv.bench import run
from fastconv.bench.results import SuiteResult
from fastconv.cli.output import progress

__all__ = ["exit_code", "measure"]


def measure(jobs: Sequence[run.Job], settings: run.Settings) -> tuple[SuiteResult, ...]:
    """Measure every layer, with a progress bar on stderr that says what is measured and what time is left."""
    with progress() as bar:
        task = bar.add_task("compiling", total=run.number_of_steps(jobs, settings))
        done = -1

        def before_step(description: str) -> None:
            nonlocal done
            done += 1
            bar.update(task, description=description, completed=done)

        return run.measure(jobs, settings, before_step)


def exit_code(suites: Sequence[SuiteResult]) -> int:
    """Return 1 if any result is wrong."""
    return int(any(layer.failures for suite in suites for layer in suite.layers))

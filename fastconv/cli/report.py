"""``fastconv report``: runs every suite beside the other libraries and writes the page of results."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

import fastconv
from fastconv.bench import cold_start, report, run
from fastconv.bench.results import Report
from fastconv.bench.suites import SUITES, Layer
from fastconv.cli import problems
from fastconv.cli.measuring import exit_code, measure
from fastconv.cli.output import console
from fastconv.cli.reading import read_report

__all__ = ["report_command"]

COMMAND = "fastconv report"
PAGE, DATA, PICTURES = "RESULTS.md", "results.json", "pictures"
QUICK_LAYERS = 6  # of a suite, spread over its table
QUICK_OPERATIONS = 2.5e9  # of a layer at most, if a suite has QUICK_FEWEST that are no heavier
QUICK_FEWEST = 4
SECONDS, QUICK_SECONDS = 0.8, 1.2  # a layer; a mean of fewer layers needs better figures
PASSES, QUICK_PASSES = 2, 6
ROUNDS = 5  # of cold starts


@click.command("report")
@click.option("--quick", is_flag=True, help="Some layers of each suite, one image, one thread, no cold starts.")
@click.option(
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("benchmarks"),
    show_default=True,
    help=f"Where {PAGE}, {DATA} and {PICTURES}/ go.",
)
@click.option(
    "--readme",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("README.md"),
    show_default=True,
    help="Where the short table goes, between its marks, if all suites were run in full.",
)
@click.option(
    "--from",
    "source",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Measure nothing, and write the page of an earlier --json or results.json.",
)
@click.option("--suite", "names", multiple=True, type=click.Choice(list(SUITES)), help="Only this; may be repeated.")
@click.pass_context
def report_command(
    context: click.Context, quick: bool, directory: Path, readme: Path, source: Path | None, names: tuple[str, ...]
) -> None:
    """Measure every suite beside the other libraries, and write the page of results with its pictures.

    All suites run with one image on one thread and on all threads, and where it is worth it with
    eight images on all threads. This takes an hour on two cores, --quick less than five minutes.
    Exit code 1 if any result is wrong.
    """
    try:
        from fastconv.bench import pictures
    except ImportError as error:
        raise click.UsageError(f"the report needs {error.name}: pip install 'fastconv[plot]'") from None
    found = _measured(names, quick) if source is None else read_report(source)
    directory.mkdir(parents=True, exist_ok=True)
    if source is None:
        (directory / DATA).write_text(found.to_json() + "\n", encoding="utf-8")
    drawn = pictures.draw(found, directory / PICTURES)
    text = report.page(found, {name: f"{PICTURES}/{file}" for name, file in drawn.items()})
    (directory / PAGE).write_text(text, encoding="utf-8")
    click.echo(f"{directory / PAGE} is written")
    if found.command == COMMAND:
        for line in _readme_lines(readme, found, directory):
            click.echo(line)
    context.exit(exit_code(found.suites))


def _measured(names: Sequence[str], quick: bool) -> Report:
    seconds, passes = (QUICK_SECONDS, QUICK_PASSES) if quick else (SECONDS, PASSES)
    settings = run.Settings(peers=True, seconds=seconds, passes=passes)
    suites = measure(_jobs(names or tuple(SUITES), quick), settings)
    command = " ".join((COMMAND, *(["--quick"] if quick else []), *(f"--suite {name}" for name in names)))
    if quick:
        return Report.now(command, seconds, suites)
    with console(stderr=True).status("cold starts"):
        example = problems.forward_convolution(problems.EXAMPLE)
        cold_starts = cold_start.measure(example, ROUNDS)
        compile_ms = cold_start.compile_times([example])
    return Report.now(command, seconds, suites, cold_starts, compile_ms)


def _jobs(names: Sequence[str], quick: bool) -> list[run.Job]:
    """Return one thread and all threads for single images, all threads for eight."""
    every = fastconv.get_num_threads()
    jobs = []
    for suite in (SUITES[name] for name in names):
        for batch in (1,) if quick else suite.batches:
            layers = suite.layers(batch)
            threads = (1,) if quick else (1, every) if batch == 1 else (every,)
            chosen = _spread(_lightest(layers), QUICK_LAYERS) if quick else layers
            jobs.append(run.Job(suite.name, suite.source, chosen, tuple(dict.fromkeys(threads))))
    return jobs


def _lightest(layers: Sequence[Layer]) -> list[Layer]:
    """Return the layers that are quick to measure, and the least heavy in any case."""
    weights = sorted(run.operations(layer.problem) for layer in layers)
    limit = max(QUICK_OPERATIONS, weights[min(QUICK_FEWEST, len(weights)) - 1])
    return [layer for layer in layers if run.operations(layer.problem) <= limit]


def _spread(layers: Sequence[Layer], count: int) -> tuple[Layer, ...]:
    """Return so many of the layers, evenly spread from the first to the last."""
    if len(layers) <= count:
        return tuple(layers)
    return tuple(layers[round(index * (len(layers) - 1) / (count - 1))] for index in range(count))


def _readme_lines(readme: Path, found: Report, directory: Path) -> Iterator[str]:
    """Exchange the README's table where there is one, and yield what was done."""
    if not readme.is_file():
        return
    link = Path(os.path.relpath(directory / PAGE, readme.parent)).as_posix()
    try:
        text = report.with_table(readme.read_text(encoding="utf-8"), report.readme_table(found, link))
    except ValueError as error:
        yield f"{readme} is left as it was: {error}"
        return
    readme.write_text(text, encoding="utf-8")
    yield f"{readme} has the new table"

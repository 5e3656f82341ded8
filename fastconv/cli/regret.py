"""``fastconv regret``: how far the dispatcher's picks are from the fastest algorithms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TextIO

import click
from rich.table import Table

import fastconv
from fastconv.bench import regret as regrets
from fastconv.bench.regret import PICKS, Choice, Regrets
from fastconv.cli.bench import check_picture
from fastconv.cli.output import as_text, console, progress, show_table

__all__ = ["regret"]

WORST = 12  # named


@click.command()
@click.option("--threads", type=click.IntRange(min=1), help="The configuration's by default.")
@click.option("--drawn", type=click.IntRange(min=0), default=150, show_default=True, help="Problems drawn at random.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of these.")
@click.option("--suites/--no-suites", default=True, show_default=True, help="All layers of the suites.")
@click.option("--seconds", type=click.FloatRange(min=0), default=0.2, show_default=True, help="Time for one problem.")
@click.option(
    "--json", "json_file", type=click.File("w", encoding="utf-8", lazy=False), help="Results to a file; - is stdout."
)
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), help="A picture, to a .png or .svg file.")
def regret(
    threads: int | None,
    drawn: int,
    seed: int,
    suites: bool,
    seconds: float,
    json_file: TextIO | None,
    plot: Path | None,
) -> None:
    """Judge what "auto" picks: the time of the pick over that of the fastest algorithm.

    Every algorithm is timed on every layer of the benchmark's suites and on problems drawn at random. That of the least
    predicted time is one pick, and what fastconv tune finds is another. Some twenty minutes on one thread.
    """
    if plot is not None:
        check_picture(plot)
    named = regrets.problems(drawn, seed, suites=suites)
    if not named:
        raise click.UsageError("there are no problems: --drawn is 0, and --no-suites")
    with fastconv.options(threads=threads), progress() as bar:
        task = bar.add_task("", total=len(named))
        choices = regrets.judge(named, seconds, lambda name: bar.update(task, description=name, advance=1))
    if not choices:
        raise click.UsageError("there is nothing to choose: one algorithm alone may compute each problem")
    target = console(stderr=json_file is not None and json_file.name == "<stdout>")
    show_table(target, _summary(choices))
    for pick in PICKS:
        show_table(target, _worst(choices, pick))
    if json_file is not None:
        click.echo(as_text([asdict(one) for one in choices]), file=json_file)
    if plot is not None:
        from fastconv.bench import plots

        figure = plots.new_figure(plots.WIDTH, 4.5)
        plots.pick_curves(figure.subplots(), {pick: [one.regret(pick) for one in choices] for pick in PICKS})
        plots.save(figure, plot)


def _summary(choices: Sequence[Choice]) -> Table:
    table = Table("pick")
    for name in ("problems", "fastest", "geometric mean", "95th percentile", "worst"):
        table.add_column(name, justify="right")
    for pick in PICKS:
        found = Regrets.of(choices, pick)
        ratios = (f"{ratio:.3f}" for ratio in (found.geometric_mean, found.percentile_95, found.worst))
        table.add_row(pick, str(found.count), str(found.best), *ratios)
    return table


def _worst(choices: Sequence[Choice], pick: str) -> Table:
    table = Table("worst picks", "problem", pick, "fastest")
    for name in ("ms", "ratio"):
        table.add_column(name, justify="right")
    for one in sorted(choices, key=lambda one: -one.regret(pick))[:WORST]:
        milliseconds = f"{1e3 * one.seconds[one.best]:.3f}"
        table.add_row(one.name, one.problem, one.picks[pick], one.best, milliseconds, f"{one.regret(pick):.2f}")
    return table

"""``fastconv tune``: measure which algorithm is fastest for problems, or what the machine takes, and remember it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

import click
from rich.table import Table

import fastconv
from fastconv.cli.bench import jobs_of
from fastconv.cli.device import device_option
from fastconv.cli.output import as_text, console, progress, show_table
from fastconv.devices import UnavailableError
from fastconv.problem import DTYPES, LAYOUTS, ConvProblem
from fastconv.selection import answers, constants
from fastconv.selection.answers import RIGOURS, Answer
from fastconv.selection.place import place_of

__all__ = ["tune"]


@click.command()
@click.argument("targets", nargs=-1, metavar="[SUITE|PROBLEM|@FILE]...")
@click.option("--machine", is_flag=True, help="Measure the constants of predictions instead, in a few seconds.")
@click.option("--threads", type=click.IntRange(min=1), help="That answers are for; the configuration's by default.")
@click.option("--batch", type=click.IntRange(min=1), default=1, help="Images a call, in suites.")
@click.option("--layout", type=click.Choice(LAYOUTS), default=LAYOUTS[0], help="In suites.")
@click.option("--dtype", type=click.Choice(DTYPES), default="float32", help="In suites.")
@click.option("--seconds", type=click.FloatRange(min=0), help="The budget for all together; without limit by default.")
@click.option("--rigour", type=click.Choice(RIGOURS), default=RIGOURS[0], show_default=True)
@click.option("--tolerance", type=float, help="The largest error bound to choose; the configuration's by default.")
@device_option
@click.option("--again", is_flag=True, help="Measure what is known, too.")
@click.option("--json", "as_json", is_flag=True, help="JSON instead of a table.")
def tune(
    targets: tuple[str, ...],
    machine: bool,
    threads: int | None,
    batch: int,
    layout: str,
    dtype: str,
    seconds: float | None,
    rigour: str,
    tolerance: float | None,
    device: int | None,
    again: bool,
    as_json: bool,
) -> None:
    """Measure which algorithm is fastest, and remember it for calls to come.

    A SUITE is a table of layers, such as resnet50; a PROBLEM is text, such as
    conv2d,n1,c64,56x56,k64,3x3,p1,float32; a FILE has one a line, and # begins a comment. Each
    answer is stored as soon as it is whole, so that a run that is interrupted can be continued.
    --machine takes none of these, and of the options --seconds and --json.
    """
    if machine == bool(targets):
        raise click.UsageError("give either SUITEs, PROBLEMs and FILEs, or --machine")
    if machine:
        _calibrate(seconds, as_json=as_json)
        return
    problems = _problems(targets, batch, dtype, layout)
    try:
        with fastconv.options(threads=threads, tolerance=tolerance):
            predicted = {problem: fastconv.select(problem, device=device) for problem in problems}
            found = _measure(problems, seconds, rigour, device, again=again)
            now = {problem: fastconv.select(problem, device=device) for problem in found}
            _show(found, predicted, now, as_json=as_json)
            stored = answers.users_file(place_of(device).origin())
    except (ValueError, UnavailableError, fastconv.UnsupportedError) as error:
        raise click.UsageError(str(error)) from None
    left = len(problems) - len(found)
    click.echo(f"stored in {stored}{f'; no time for {left} problems' if left else ''}", err=True)


def _calibrate(seconds: float | None, *, as_json: bool) -> None:
    """Measure the machine's constants, and show them beside those that are shipped."""
    try:
        found = fastconv.calibrate() if seconds is None else fastconv.calibrate(seconds)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    measured, shipped = asdict(found.machine), asdict(constants.SHIPPED.machine)
    if as_json:
        click.echo(as_text({name: {"shipped": shipped[name], "measured": measured[name]} for name in shipped}))
    else:
        table = Table("constant")
        for name in ("shipped", "measured"):
            table.add_column(name, justify="right")
        for name, value in measured.items():
            table.add_row(name.replace("_", " "), f"{shipped[name]:.3g}", f"{value:.3g}")
        show_table(console(), table)
    where = constants.users_file() if found.source == "user" else "this process alone"
    click.echo(f"stored in {where}", err=True)


def _problems(targets: Sequence[str], batch: int, dtype: str, layout: str) -> tuple[ConvProblem, ...]:
    """Return the convolutions of all targets, each once; poolings have nothing to choose."""
    jobs = jobs_of(targets, batch, dtype, layout, "forward", fastconv.get_num_threads())
    problems = [layer.problem for job in jobs for layer in job.layers]
    found = tuple(dict.fromkeys(problem for problem in problems if isinstance(problem, ConvProblem)))
    if not found:
        raise click.UsageError(f"there are no convolutions in {' '.join(targets)}")
    return found


def _measure(
    problems: Sequence[ConvProblem], seconds: float | None, rigour: str, device: int | None, *, again: bool
) -> dict[ConvProblem, Answer]:
    """Measure with a progress bar on stderr."""
    with progress() as bar:
        task = bar.add_task("", total=len(problems))

        def before(problem: ConvProblem, done: int, total: int) -> None:
            bar.update(task, description=str(problem), completed=done, total=total)

        return fastconv.tune(problems, seconds=seconds, rigour=rigour, again=again, before=before, device=device)


def _show(
    found: Mapping[ConvProblem, Answer],
    predicted: Mapping[ConvProblem, str],
    now: Mapping[ConvProblem, str],
    *,
    as_json: bool,
) -> None:
    rows = [_row(problem, answer, predicted[problem], now[problem]) for problem, answer in found.items()]
    if as_json:
        click.echo(as_text(rows))
        return
    table = Table("problem", "before", "now")
    for name in ("ms", "was slower by"):
        table.add_column(name, justify="right")
    for row in rows:
        ratio = row["ratio"]
        cells = str(row["problem"]), str(row["before"]), str(row["now"]), f"{float(str(row['seconds'])) * 1e3:.3f}"
        table.add_row(*cells, "" if ratio is None or ratio == 1.0 else f"{float(str(ratio)):.2f}")
    show_table(console(), table)


def _row(problem: ConvProblem, answer: Answer, before: str, now: str) -> dict[str, object]:
    """Return what ran before and what runs now; ``ratio`` is between their times, if both were measured."""
    best, other = answer.seconds[now], answer.seconds.get(before)
    ratio = None if best is None or other is None else other / best
    return {"problem": str(problem), "before": before, "now": now, "seconds": best, "ratio": ratio}

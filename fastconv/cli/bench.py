"""``fastconv bench``: every algorithm against the reference for correctness, and side by side for speed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TextIO

import click
from click.core import ParameterSource

import fastconv
from fastconv.bench import compare, jobs, run, table
from fastconv.bench.device import BATCHES, BUDGET, SUITES, command
from fastconv.bench.device import LAYOUTS as DEVICE_LAYOUTS
from fastconv.bench.results import Report, SuiteResult
from fastconv.cli.device import device_option
from fastconv.cli.measuring import exit_code, measure
from fastconv.cli.output import console, show_table
from fastconv.cli.reading import read_report
from fastconv.devices import UnavailableError
from fastconv.problem import DIRECTIONS, DTYPES, LAYOUTS

__all__ = ["bench", "check_picture", "jobs_of"]

PICTURES = (".png", ".svg")


@click.command()
@click.argument("targets", nargs=-1, metavar="[SUITE|PROBLEM|@FILE]...")
@click.option("--peers", is_flag=True, help="Add the other libraries that are installed.")
@click.option("--threads", type=click.IntRange(min=1), help="For fastconv and for every peer.")
@click.option("--batch", type=click.IntRange(min=1), default=1, help="Images a call, in suites.")
@click.option("--layout", type=click.Choice(LAYOUTS), default=LAYOUTS[0], help="In suites.")
@click.option("--dtype", type=click.Choice(DTYPES), default="float32", help="In suites.")
@click.option("--direction", type=click.Choice(DIRECTIONS), default=DIRECTIONS[0], help="In suites.")
@click.option("--algorithm", "names", multiple=True, help="Only this one; may be repeated.")
@click.option(
    "--seconds",
    type=click.FloatRange(min=0),
    default=0.5,
    show_default=True,
    help="Time for one layer, all contenders together.",
)
@click.option(
    "--json",
    "json_file",
    type=click.File("w", encoding="utf-8", lazy=False),  # nobody should wait to learn that it cannot be written
    help="Results to a file; - is stdout.",
)
@click.option(
    "--plot", type=click.Path(dir_okay=False, path_type=Path), help="A picture of them, to a .png or .svg file."
)
@device_option
@click.option(
    "--budget",
    type=click.FloatRange(min=0),
    default=BUDGET,
    show_default=True,
    help="Seconds for everything, on a CUDA device.",
)
@click.option(
    "--compare",
    "compared",
    nargs=2,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="A.json B.json",
    help="Run nothing, and compare two files of --json.",
)
@click.pass_context
def bench(
    context: click.Context,
    targets: tuple[str, ...],
    peers: bool,
    threads: int | None,
    batch: int,
    layout: str,
    dtype: str,
    direction: str,
    names: tuple[str, ...],
    seconds: float,
    json_file: TextIO | None,
    plot: Path | None,
    device: int | None,
    budget: float,
    compared: tuple[Path, Path] | None,
) -> None:
    """Check every algorithm against the reference and time them side by side.

    A SUITE is a table of layers (resnet50 is the default; `fastconv bench nothing` lists them); a
    PROBLEM is one layer as text, such as conv2d,n1,c64,56x56,k64,3x3,p1,float32; a FILE has one a
    line, and # begins a comment.

    The table gives the minimum of the rounds in milliseconds, the algorithm that is picked, and
    its time divided by the best one's; with --peers, the best peer's time divided by that of
    auto: above 1, fastconv is faster. Exit code 1 if any result is wrong.

    With --device cuda, the algorithms for arrays on a device run there, beside cuDNN through PyTorch; by default on
    several suites, with batch 32 and 1, in both layouts. Two more SUITEs are there: tensor_cores, networks in float16,
    bfloat16 and by rounded factors beside cuDNN of the same precision, and gradients of some layers. Of the other
    options, --batch, --layout, --dtype, --json and --budget count. `python -m fastconv.bench.device` does the same
    without the packages of the command line.
    """
    if compared is not None:
        before, after = map(read_report, compared)
        compare.show(compare.compare(before, after), console(), show_table)
        return
    if device is not None:
        given = {
            name: context.get_parameter_source(name) is not ParameterSource.DEFAULT for name in ("batch", "layout")
        }
        batches, layouts = (batch,) if given["batch"] else BATCHES, (layout,) if given["layout"] else DEVICE_LAYOUTS
        context.exit(_on_device(targets or SUITES, batches, layouts, dtype, device, budget, json_file))
    threads = threads or fastconv.get_num_threads()
    wanted = jobs_of(targets or ("resnet50",), batch, dtype, layout, direction, threads)
    _check_algorithms(names)
    if plot is not None:
        check_picture(plot)
    suites = measure(wanted, run.Settings(names or None, peers, seconds))
    _show(suites, to_stderr=json_file is not None and json_file.name == "<stdout>")
    if json_file is not None:
        click.echo(Report.now("fastconv bench", seconds, suites).to_json(), file=json_file)
    if plot is not None:
        from fastconv.bench import plots

        plots.save(plots.sheet(suites), plot)
    context.exit(exit_code(suites))


def _on_device(
    targets: Sequence[str],
    batches: Sequence[int],
    layouts: Sequence[str],
    dtype: str,
    device: int,
    budget: float,
    json_file: TextIO | None,
) -> int:
    """Measure on a device, and return the exit code."""
    if device:
        raise click.UsageError(f"--device must be cpu or cuda, the first device, got cuda:{device}")
    try:
        wanted = command.all_jobs(targets, batches, layouts, dtype)
        found = command.report(wanted, budget, lambda text: click.echo(text, err=True))
    except (OSError, ValueError, UnavailableError) as error:
        raise click.UsageError(" ".join(str(error).split())) from None
    on_stdout = json_file is not None and json_file.name == "<stdout>"
    code = command.write(found, None, None, lambda text: click.echo(text, err=on_stdout))
    if json_file is not None:
        click.echo(found.to_json(), file=json_file)
    return code


def jobs_of(
    targets: Iterable[str], batch: int, dtype: str, layout: str, direction: str, threads: int
) -> list[run.Job]:
    """Return what a command's targets are, see :func:`fastconv.bench.jobs.jobs_of`.

    Raises
    ------
    click.UsageError
        If one of them is nothing that can be measured.
    """
    try:
        return jobs.jobs_of(targets, batch, dtype, layout, direction, threads)
    except (OSError, ValueError) as error:
        raise click.UsageError(str(error)) from None


def _check_algorithms(names: Iterable[str]) -> None:
    known = fastconv.algorithms()
    for name in names:
        if name not in known:
            raise click.UsageError(f"--algorithm must be one of {', '.join(known)}, got {name!r}")


def check_picture(path: Path) -> None:
    """Refuse before anything is measured what could not be drawn after it."""
    if path.suffix not in PICTURES:
        raise click.UsageError(f"--plot must end in {' or '.join(PICTURES)}, got {str(path)!r}")
    if not path.parent.is_dir():
        raise click.FileError(str(path), hint="No such file or directory")
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise click.UsageError("--plot needs matplotlib: pip install 'fastconv[plot]'") from None


def _show(suites: Sequence[SuiteResult], *, to_stderr: bool) -> None:
    """Print a table and its notes for each suite, and the classes of problem of all together."""
    target = console(stderr=to_stderr)
    for suite in suites:
        target.print(table.heading(suite), highlight=False)
        show_table(target, table.layer_table(suite.layers))
        target.print()
        for line in table.notes(suite):
            target.print(line, markup=False, highlight=False)
        target.print()
    named = [(f"{suite.name} {layer.layer}", layer) for suite in suites for layer in suite.layers]
    kinds = table.kind_table(named)
    if kinds.row_count:
        show_table(target, kinds)
        target.print()

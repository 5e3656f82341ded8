"""``fastconv answers``: what was measured and is remembered: shown, carried to other machines, forgotten."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

import click
from rich.table import Table

import fastconv
from fastconv.cli import problems
from fastconv.cli.device import device_option
from fastconv.cli.output import as_text, console, show_table
from fastconv.devices import UnavailableError
from fastconv.selection import constants
from fastconv.selection.answers import users_file
from fastconv.selection.files import AnyOrigin
from fastconv.selection.keeping import Remembered
from fastconv.selection.place import place_of

__all__ = ["answers"]

T = TypeVar("T")


@click.group()
def answers() -> None:
    """Show, export, import and clear what `fastconv tune` measured."""


@answers.command()
@device_option
@click.option("--json", "as_json", is_flag=True, help="JSON instead of a table.")
def show(device: int | None, as_json: bool) -> None:
    """Show what is remembered for this machine and this version.

    The last column is from the fastest algorithm to the slowest; it lacks those that did not run,
    since their prediction is hopeless. Where the constants of predictions are from is said below;
    `fastconv info` has them.
    """
    here = _origin(device)
    found = _tried(lambda: fastconv.remembered(device=device))
    source = _tried(lambda: fastconv.calibration().source)
    if as_json:
        click.echo(as_text([_row(entry) for entry in found]))
        return
    _show(found)
    click.echo(f"{_count(len(found))}; the user's file is {users_file(here)}", err=True)
    click.echo(f"constants of predictions: {source}", err=True)


@answers.command("export")
@click.argument("file")
@device_option
def export(file: str, device: int | None) -> None:
    """Write what is remembered to FILE, for other machines of this kind.

    FILE can be imported there, or be provided by FASTCONV_ANSWERS. In a directory, it gets a name of
    its own.
    """
    count = _tried(lambda: fastconv.export_answers(file, device=device))
    click.echo(f"{_count(count)} written to {file}", err=True)


@answers.command("import")
@click.argument("file")
@device_option
def import_(file: str, device: int | None) -> None:
    """Add the answers of FILE to the user's."""
    count = _tried(lambda: fastconv.import_answers(file, device=device))
    click.echo(f"{_count(count)} of {file} stored in {users_file(_origin(device))}", err=True)


@answers.command()
@click.argument("problem", required=False)
@click.option("--machine", is_flag=True, help="The constants that `fastconv tune --machine` measured, and no answers.")
@device_option
@click.option("--yes", is_flag=True, help="Do not ask.")
def clear(problem: str | None, machine: bool, device: int | None, yes: bool) -> None:
    """Forget what is remembered, or what is of one PROBLEM, or of the machine.

    What FASTCONV_ANSWERS provides stays.
    """
    if machine:
        if problem is not None:
            raise click.UsageError("give either a PROBLEM or --machine")
        _clear_machine(yes)
        return
    wanted = None if problem is None else problems.problem(problem)
    if not yes:
        what = "all measured answers" if wanted is None else f"the measured answers of {wanted}"
        click.confirm(f"Forget {what} in {users_file(_origin(device))}?", abort=True, err=True)
    count = _tried(lambda: fastconv.forget_answers(wanted, device=device))
    click.echo(f"{_count(count)} forgotten", err=True)


def _clear_machine(yes: bool) -> None:
    if not yes:
        click.confirm(f"Forget this machine's constants in {constants.users_file()}?", abort=True, err=True)
    found = _tried(lambda: int(fastconv.forget_calibration()))
    click.echo("constants forgotten" if found else "there were no constants", err=True)


def _origin(device: int | None) -> AnyOrigin:
    try:
        return place_of(device).origin()
    except UnavailableError as error:
        raise click.UsageError(str(error)) from None


def _tried(call: Callable[[], T]) -> T:
    """Return what a call does; a file that is not what it should be is a wrong argument, and so are such settings."""
    try:
        return call()
    except (OSError, ValueError, UnavailableError) as error:
        raise click.UsageError(str(error)) from None


def _count(number: int) -> str:
    return f"{number} answer{'' if number == 1 else 's'}"


def _row(entry: Remembered) -> dict[str, object]:
    return {
        "problem": str(entry.problem),
        "threads": entry.threads,
        "rigour": entry.rigour,
        "source": entry.source,
        "seconds": dict(entry.seconds),
    }


def _show(found: Sequence[Remembered]) -> None:
    table = Table("problem")
    table.add_column("threads", justify="right")
    for name in ("rigour", "source", "ms"):
        table.add_column(name)
    for entry in found:
        table.add_row(
            str(entry.problem), str(entry.threads), entry.rigour, entry.source, _in_order(entry.seconds)
        )
    show_table(console(), table)


def _in_order(seconds: Mapping[str, float | None]) -> str:
    """Return what ran, the fastest first."""
    measured = {name: taken for name, taken in seconds.items() if taken is not None}
    return ", ".join(f"{name} {measured[name] * 1e3:.3f}" for name in sorted(measured, key=measured.__getitem__))

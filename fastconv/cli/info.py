"""``fastconv info``: what figures would be taken on."""

from __future__ import annotations

import click

from fastconv.bench.machine import describe
from fastconv.cli.output import as_text

__all__ = ["info"]


@click.command()
@click.option("--json", "as_json", is_flag=True, help="JSON instead of text.")
def info(as_json: bool) -> None:
    """Show versions, processor, threads, tolerances, constants of the cost model, cache directory and GPU."""
    try:
        found = describe()
    except ValueError as error:  # settings that contradict each other
        raise click.UsageError(str(error)) from None
    if as_json:
        click.echo(as_text(found))
        return
    for name, value in found.items():
        _echo_value(name.replace("_", " "), value, indent=0)


def _echo_value(name: str, value: object, indent: int) -> None:
    label = " " * indent + name
    if not isinstance(value, dict):
        shown = f"{value:.4g}" if isinstance(value, float) else "none" if value is None else value
        click.echo(f"{label:28}{shown}")
        return
    click.echo(label if value else f"{label:28}none")
    for key, entry in value.items():
        _echo_value(key.replace("_", " "), entry, indent + 2)

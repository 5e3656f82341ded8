"""What all commands share of their output: consoles, progress bars, JSON."""

from __future__ import annotations

import json

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

__all__ = ["as_text", "console", "progress", "show_table"]

FILE_COLUMNS = 160  # a table that goes to a file or a pipe has no terminal's width to fit into


def console(*, stderr: bool = False) -> Console:
    """Return a console that is as wide as its terminal, or as a file allows."""
    found = Console(stderr=stderr)
    return found if found.is_terminal else Console(stderr=stderr, width=FILE_COLUMNS)


def progress() -> Progress:
    """Return a progress bar on stderr, with the time left, that leaves nothing behind."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console(stderr=True),
        transient=True,
    )


def show_table(target: Console, table: Table) -> None:
    """Print a table; a terminal that is too narrow breaks lines, which is better than figures without ends."""
    narrowest = target.measure(table, options=target.options.update(width=1000)).minimum
    target.width = max(target.width, narrowest)
    target.print(table)


def as_text(value: object) -> str:
    """Return JSON."""
    return json.dumps(value, indent=2, allow_nan=False)

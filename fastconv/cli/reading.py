"""Reports that were written before."""

from __future__ import annotations

from pathlib import Path

import click

from fastconv.bench.results import Report

__all__ = ["read_report"]


def read_report(path: Path) -> Report:
    """Return the report in a file.

    Raises
    ------
    click.UsageError
        If the file cannot be read or holds something else.
    """
    try:
        return Report.from_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise click.UsageError(f"{path}: {error}") from None

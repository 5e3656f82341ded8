"""Problems as a user writes them on the command line."""

from __future__ import annotations

import click

from fastconv.bench.jobs import EXAMPLE
from fastconv.problem import ConvProblem, Problem, parse, read

__all__ = ["EXAMPLE", "forward_convolution", "of_file", "problem"]


def problem(text: str) -> Problem:
    """Return the problem that a text is the string form of.

    Raises
    ------
    click.UsageError
        If it is none.
    """
    try:
        return parse(text)
    except (TypeError, ValueError) as error:
        raise click.UsageError(str(error)) from None


def forward_convolution(text: str) -> ConvProblem:
    """Return the forward convolution that a text is the string form of.

    Raises
    ------
    click.UsageError
        If it is none.
    """
    found = problem(text)
    if not isinstance(found, ConvProblem) or found.direction != "forward":
        raise click.UsageError(f"only forward convolutions can be run, got {text!r}")
    return found


def of_file(path: str) -> tuple[Problem, ...]:
    """Return the problems of a text file, see :func:`fastconv.problem.read`.

    Raises
    ------
    click.UsageError
        If it cannot be read, or a line is no problem.
    """
    try:
        return read(path)
    except (OSError, ValueError) as error:
        raise click.UsageError(str(error)) from None

"""Problems: what is to be computed, without its numbers; the one currency of the package.

A problem knows its shapes and counts, was validated when it was made, and has one string form,
which :func:`parse` reads whatever the kind of problem.
"""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import TypeAlias

from fastconv.arguments import BFLOAT16, DTYPES
from fastconv.problem.base import LAYOUTS, MAX_RANK, image_shape
from fastconv.problem.convolution import ACTIVATIONS, DIRECTIONS, PADDING_MODES, ConvProblem
from fastconv.problem.pooling import POOLINGS, PoolProblem

__all__ = [
    "ACTIVATIONS",
    "BFLOAT16",
    "DIRECTIONS",
    "DTYPES",
    "LAYOUTS",
    "MAX_RANK",
    "PADDING_MODES",
    "POOLINGS",
    "ConvProblem",
    "PoolProblem",
    "Problem",
    "image_shape",
    "parse",
    "read",
]

Problem: TypeAlias = ConvProblem | PoolProblem


def parse(text: str) -> Problem:
    """Read the string form of a problem of either kind.

    Parameters
    ----------
    text : str
        As :func:`str` gives it.

    Raises
    ------
    TypeError
        If `text` is no string.
    ValueError
        If its first token names no operation, or as :meth:`ConvProblem.parse` and
        :meth:`PoolProblem.parse` say.

    Examples
    --------
    >>> parse("conv2d,n1,c8,9x9,k8,3x3,float32").output_shape
    (1, 8, 7, 7)
    >>> parse("max_pool2d,n1,c8,9x9,3x3,s2,float32").output_shape
    (1, 8, 4, 4)
    """
    if not isinstance(text, str):
        raise TypeError(f"text must be a str, got {text!r}")
    if text.startswith(POOLINGS):
        return PoolProblem.parse(text)
    if text.startswith("conv"):
        return ConvProblem.parse(text)
    raise ValueError(f"text must begin with conv, {' or '.join(POOLINGS)}, got {text!r}")


def read(path: str | PathLike[str]) -> tuple[Problem, ...]:
    r"""Read the problems of a text file: a string form a line; ``#`` begins a comment.

    Parameters
    ----------
    path : str or path
        The file, in UTF-8.

    Raises
    ------
    OSError
        If it cannot be read.
    ValueError
        If a line is no problem (the message has its number), or the file is no text.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     path = Path(directory, "problems.txt")
    ...     _ = path.write_text("# the first layers\n\nconv2d,n1,c8,9x9,k8,3x3,float32\n")
    ...     [problem.output_shape for problem in read(path)]
    [(1, 8, 7, 7)]
    """
    found = []
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text: {error}") from None
    for number, line in enumerate(lines, start=1):
        text = line.partition("#")[0].strip()
        if not text:
            continue
        try:
            found.append(parse(text))
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path}, line {number}: {error}") from None
    return tuple(found)

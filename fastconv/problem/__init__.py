"""Problems: what is to be computed, without its numbers; the one currency of the package.

A problem knows its shapes and counts, was validated when it was made, and has one string form,
which :func:`parse` reads whatever the kind of problem.
"""

from __future__ import annotations

from typing import TypeAlias

from fastconv.arguments import DTYPES
from fastconv.problem.base import LAYOUTS, MAX_RANK, image_shape
from fastconv.problem.convolution import ACTIVATIONS, DIRECTIONS, PADDING_MODES, ConvProblem
from fastconv.problem.pooling import POOLINGS, PoolProblem

__all__ = [
    "ACTIVATIONS",
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

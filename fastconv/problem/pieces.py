"""What a pooling is told besides its windows: the pieces of an adaptive one, the p of a norm."""

from __future__ import annotations

import math
from collections.abc import Sequence

from fastconv.arguments import per_axis, positive_number


def norm(value: object) -> float:
    """Return the p of a norm, a real number that is more than 0, infinity included, as a float.

    Raises
    ------
    TypeError
        If it is no number.
    ValueError
        If it is not more than 0.
    """
    return math.inf if value == math.inf else positive_number(value, "norm_type")


def resolved_outputs(output_size: object, size: Sequence[int]) -> tuple[int, ...]:
    """Return one int an axis; None stands for the input's size, on one axis or on all."""
    if output_size is None:
        return tuple(size)
    if isinstance(output_size, tuple | list) and len(output_size) == len(size):
        output_size = [w if number is None else number for number, w in zip(output_size, size, strict=True)]
    return per_axis(output_size, len(size), "output_size", 1)


def pieces(size: int, outputs: int) -> list[tuple[int, int]]:
    """Return the first element and the end of each output of an adaptive pooling along one axis.

    Examples
    --------
    >>> pieces(5, 2)
    [(0, 3), (2, 5)]
    """
    return [(o * size // outputs, -(-(o + 1) * size // outputs)) for o in range(outputs)]


def largest_pieces(size: Sequence[int], outputs: Sequence[int]) -> tuple[int, ...]:
    """Return the most elements that an output of an adaptive pooling has, an axis."""
    # a piece begins at most O - gcd(W, O) parts of an element, of O each, behind an element's beginning
    return tuple([-(-(w + o - math.gcd(w, o)) // o) for w, o in zip(size, outputs, strict=True)])

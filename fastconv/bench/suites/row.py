"""What a table of layers is made of: rows, which are text, and the layers that they become."""

from __future__ import annotations

from dataclasses import dataclass

from fastconv.problem import Problem, parse

__all__ = ["Layer", "Row", "Suite"]


@dataclass(frozen=True)
class Row:
    """One distinct layer, with batch, layout and data type left open.

    Parameters
    ----------
    name : str
        What the network calls it.
    problem : str
        A problem's string form without ``n``, layout and data type: ``conv2d,c64,56x56,k64,3x3,p1``.
    count : int, optional
        How often the network has this layer.
    """

    name: str
    problem: str
    count: int = 1


@dataclass(frozen=True)
class Layer:
    """A layer as a problem, and how often the network has it."""

    name: str
    problem: Problem
    count: int = 1


@dataclass(frozen=True)
class Suite:
    """A table of layers, and where they are written down.

    Parameters
    ----------
    name : str
        What the command line calls it.
    title : str
        What people call it.
    source : str
        Paper and table, or the code, that the rows are from.
    rows : tuple of Row
        Each distinct layer once, in the order the network runs them.
    batches : tuple of int, optional
        The batches that are worth timing: layers that fill the machine with one image, or that are
        about a single call, are not worth the time of eight.
    """

    name: str
    title: str
    source: str
    rows: tuple[Row, ...]
    batches: tuple[int, ...] = (1, 8)

    def layers(
        self,
        batch: int = 1,
        dtype: str = "float32",
        layout: str = "channels_first",
        direction: str = "forward",
    ) -> tuple[Layer, ...]:
        """Return the rows as problems.

        Parameters
        ----------
        batch : int, optional
            Images a call.
        dtype : str, optional
            NumPy name of the element type.
        layout : {"channels_first", "channels_last"}, optional
            Where the channel axis is.
        direction : {"forward", "input_gradient", "weight_gradient"}, optional
            What to compute. Only convolutions have another direction than forward.

        Returns
        -------
        tuple of Layer
            One for each row.

        Raises
        ------
        ValueError
            If a problem refuses one of the values.

        Examples
        --------
        >>> from fastconv.bench.suites import suite
        >>> first = suite("resnet50").layers(batch=8)[0]
        >>> first.name, str(first.problem), first.count
        ('conv1', 'conv2d,n8,c3,224x224,k64,7x7,s2,p3,float32', 1)
        """
        ending = (layout, dtype) if direction == "forward" else (layout, direction, dtype)
        return tuple(Layer(row.name, _problem(row, batch, ending), row.count) for row in self.rows)


def _problem(row: Row, batch: int, ending: tuple[str, ...]) -> Problem:
    kind, *sizes = row.problem.split(",")
    return parse(",".join([kind, f"n{batch}", *sizes, *ending]))

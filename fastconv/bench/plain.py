"""Tables as plain text, where `rich` is not installed: as much of its `Table` and `Text` as results need."""

from __future__ import annotations

__all__ = ["Table", "Text"]


class Text(str):
    """A text; styles are dropped."""

    __slots__ = ()

    def __new__(cls, text: str, style: str = "") -> Text:
        """Return the text."""
        return super().__new__(cls, text)


class Table:
    r"""Columns under their headers, each as wide as its widest cell.

    Examples
    --------
    >>> table = Table()
    >>> table.add_column("layer")
    >>> table.add_column("best\nms", justify="right")
    >>> table.add_row("conv1", "0.25")
    >>> print(table)
          best
    layer   ms
    conv1 0.25
    """

    def __init__(self, **_: object) -> None:
        self._headers: list[list[str]] = []
        self._right: list[bool] = []
        self._rows: list[tuple[str, ...]] = []

    @property
    def row_count(self) -> int:
        """The number of rows below the headers."""
        return len(self._rows)

    def add_column(self, header: str, *, justify: str = "left", **_: object) -> None:
        """Add a column; what else `rich` knows of columns is ignored."""
        self._headers.append(header.split("\n"))
        self._right.append(justify == "right")

    def add_row(self, *cells: str) -> None:
        """Add a row: a cell for each column."""
        self._rows.append(cells)

    def __str__(self) -> str:
        """The lines; headers of several lines end together."""
        height = max((len(header) for header in self._headers), default=0)
        columns = [[""] * (height - len(header)) + header for header in self._headers]
        lines = [*zip(*columns, strict=True), *self._rows]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join(self._line(line, widths) for line in lines)

    def _line(self, cells: tuple[str, ...], widths: list[int]) -> str:
        padded = (
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(cells, widths, self._right, strict=True)
        )
        return " ".join(padded).rstrip()

"""What all pictures share: sizes, colours, markers, ticks of ratios, and how a figure is written."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, LogLocator, NullFormatter, NullLocator
from matplotlib.transforms import ScaledTranslation

from fastconv.bench.kinds import KINDS
from fastconv.bench.results import SuiteResult

__all__ = [
    "BLACK",
    "BLUE",
    "FAINT",
    "GREY",
    "HEADLINE",
    "NORMAL",
    "ORANGE",
    "PLATE",
    "SMALL",
    "WIDTH",
    "Mark",
    "contender_marks",
    "dress",
    "figure_of",
    "kind_handles",
    "kind_mark",
    "legend_below",
    "legend_beside",
    "limits",
    "name_rows",
    "new_figure",
    "note_beside",
    "plain_logarithmic",
    "ratio_axis",
    "save",
    "shorten",
    "split_configurations",
    "spread",
]

WIDTH = 9.0  # inches, of every figure
SMALL, NORMAL, HEADLINE = 8.5, 9.5, 11.0  # points

# Okabe, Ito: Color Universal Design (2008), without its yellow, which is too light for lines.
BLACK, BLUE, ORANGE, GREEN = "#000000", "#0072B2", "#D55E00", "#009E73"
PINK, SKY, AMBER = "#CC79A7", "#56B4E9", "#E69F00"
GREY, FAINT = "#595959", "#D9D9D9"

PLATE: dict[str, Any] = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}  # behind text that crosses lines

# A mark each of the classes of problems, in the order of KINDS; "+" is a filled marker, "-" a hollow
# one. Colours repeat, marks do not.
KIND_MARKERS = ["4+", "<+", ">+", "D-", "D+", "d+", "X+", "^-", "^+", "o+", "P+", "*+", "s+", "s-", "v+", "v-"]
KIND_COLOURS = (BLUE, ORANGE, GREEN, PINK, AMBER, SKY, GREY)

ALGORITHM_MARKERS, ALGORITHM_COLOURS = ("o", "s", "^", "D", "v", "p", "h"), (BLUE, ORANGE, GREEN, PINK, AMBER, SKY)
PEER_MARKERS, PEER_COLOURS = ("o", "s", "^", "D", "v", "X", "P"), (BLACK, GREY, "#8C8C8C")
PEER_LINES = ("--", ":", "-.", (0, (6, 1.5, 1, 1.5, 1, 1.5)), (0, (8, 3)))

FEWEST_TICKS = 4
SHORT_DECADES = 3  # an axis of fewer has room for 1, 2 and 5 of each
TICK_LADDERS = tuple(  # of ratios, from coarse to fine: some a decade, then steps
    tuple(10.0**decade * each for decade in range(-6, 7) for each in within)
    for within in ((1.0,), (1.0, 2.0, 5.0), (1.0, 1.5, 2.0, 3.0, 5.0, 7.0))
) + tuple(tuple(step * each for each in range(1, 400)) for step in (0.5, 0.25, 0.1, 0.05, 0.02, 0.01))


@dataclass(frozen=True)
class Mark:
    """How the points of one class or one contender look.

    Parameters
    ----------
    marker : str
        Of matplotlib.
    colour : str
        Of lines and edges.
    line : str or tuple
        Line style of matplotlib.
    filled : bool
        Whether the marker is; the algorithms' are, the peers' are hollow.
    """

    marker: str
    colour: str
    line: str | tuple[float, tuple[float, ...]] = "-"
    filled: bool = True

    def point(self, size: float = 6.0) -> dict[str, Any]:
        """Return what ``plot`` must be given for the marker."""
        return {
            "marker": self.marker,
            "markersize": size * (1.5 if self.marker in "*4" else 1),  # which are mostly air
            "markerfacecolor": self.colour if self.filled else "white",
            # A white edge tells points apart that overlap; a cross is nothing but edge.
            "markeredgecolor": "white" if self.filled and self.marker not in "x4" else self.colour,
            "markeredgewidth": 0.6 if self.filled else 1.2,
        }


def kind_mark(kind: str) -> Mark:
    """Return the mark of a class of problems, a cross for one that is not of `KINDS`."""
    index = KINDS.index(kind) if kind in KINDS else len(KINDS)
    if index >= len(KIND_MARKERS):
        return Mark("x", BLACK)
    marker = KIND_MARKERS[index]
    return Mark(marker[0], KIND_COLOURS[index % len(KIND_COLOURS)], filled=marker[1] == "+")


def kind_handles(kinds: Iterable[str], notes: Mapping[str, str] | None = None) -> list[Line2D]:
    """Return legend entries for classes of problems, each once, in the order of `KINDS`; others last."""
    order = {kind: index for index, kind in enumerate(KINDS)}
    chosen = sorted(dict.fromkeys(kinds), key=lambda kind: order.get(kind, len(KINDS)))
    return [
        Line2D([], [], linestyle="", label=(notes or {}).get(kind, kind), **kind_mark(kind).point()) for kind in chosen
    ]


def contender_marks(algorithms: Iterable[str], peers: Iterable[str]) -> dict[str, Mark]:
    """Return a mark by name: filled on full lines for algorithms, hollow on broken lines for peers."""
    marks = {
        name: Mark(ALGORITHM_MARKERS[i % len(ALGORITHM_MARKERS)], ALGORITHM_COLOURS[i % len(ALGORITHM_COLOURS)])
        for i, name in enumerate(dict.fromkeys(algorithms))
    }
    for i, name in enumerate(dict.fromkeys(peers)):
        marker, colour = PEER_MARKERS[i % len(PEER_MARKERS)], PEER_COLOURS[i % len(PEER_COLOURS)]
        marks[name] = Mark(marker, colour, PEER_LINES[i % len(PEER_LINES)], filled=False)
    return marks


def split_configurations(suites: Sequence[SuiteResult]) -> tuple[str, list[str]]:
    """Return what suites have in common in the way they were measured, and what each has not."""
    parts = [suite.configuration for suite in suites]
    shared = [len(set(column)) == 1 for column in zip(*parts, strict=True)]

    def pick(row: tuple[str, ...], wanted: bool) -> str:
        return ", ".join(part for part, is_shared in zip(row, shared, strict=True) if is_shared == wanted)

    return pick(parts[0], True), [pick(row, False) for row in parts]


def shorten(name: str, length: int = 32) -> str:
    """Return a name of at most `length` characters: a long one loses its middle.

    Examples
    --------
    >>> shorten("/features/features.0/Conv", 15)
    '/featur….0/Conv'
    """
    if len(name) <= length:
        return name
    tail = length // 2
    return f"{name[: length - tail - 1]}…{name[-tail:]}"


def new_figure(width: float, height: float) -> Figure:
    """Return an empty white figure of a size in inches, whose parts make room for each other."""
    layout = ConstrainedLayoutEngine(h_pad=0.1)  # inches, around each part
    return Figure(figsize=(width, height), layout=layout, facecolor="white")


def figure_of(axes: Axes) -> Figure:
    """Return the whole figure that axes are in, whatever part of it they are in."""
    figure = axes.get_figure(root=True)
    if figure is None:
        raise ValueError("axes must be in a figure, got axes that were removed from theirs")
    return figure


def dress(axes: Axes, title: str, detail: str, x: str, y: str, room: float = 0) -> None:
    """Set what every picture has: a title, a line of detail under it, the axes' labels, few lines.

    Under the detail, `room` points are left for what a picture writes there.
    """
    axes.set_title(detail, loc="left", fontsize=SMALL, color=GREY, pad=6 + room, parse_math=False)
    axes.annotate(
        title,
        (0, 1),
        (0, 20 + room),  # above the detail
        xycoords="axes fraction",
        textcoords="offset points",
        fontsize=HEADLINE,
        fontweight="bold",
        parse_math=False,
    )
    axes.set_xlabel(x, fontsize=NORMAL)
    axes.set_ylabel(y, fontsize=NORMAL)
    axes.tick_params(which="both", labelsize=SMALL, color=GREY, length=3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(GREY)
    axes.grid(visible=True, color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)


def note_beside(axes: Axes, row: float | None, text: str, points: float = 8, colour: str = GREY) -> None:
    """Write to the right of the axes, so many points from them: beside a row, or above all rows."""
    axes.annotate(
        text,
        (1, 1 if row is None else row),
        (points, 3 if row is None else 0),
        xycoords="axes fraction" if row is None else axes.get_yaxis_transform(),
        textcoords="offset points",
        va="baseline" if row is None else "center",
        fontsize=SMALL,
        color=colour,
        parse_math=False,
    )


def name_rows(axes: Axes, labels: Sequence[str], room: float) -> None:
    """Set a row a label, the first above, and `room` rows of space above and below."""
    axes.set_ylim(len(labels) - 1 + room, -room)
    axes.set_yticks(range(len(labels)), labels, fontsize=SMALL, parse_math=False)
    axes.tick_params(axis="y", length=0)
    axes.grid(visible=False, axis="y")


def legend_below(axes: Axes, handles: Sequence[Artist], columns: int) -> None:
    """Put a legend under the label of the horizontal axis."""
    below = axes.transAxes + ScaledTranslation(0, -0.5, figure_of(axes).dpi_scale_trans)
    axes.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(0, 0),
        bbox_transform=below,
        ncols=columns,
        fontsize=SMALL,
        frameon=False,
        borderaxespad=0,
        handletextpad=0.4,
        columnspacing=1.6,
    )


def legend_beside(axes: Axes, handles: Sequence[Artist], title: str) -> None:
    """Put a legend to the right of the axes."""
    axes.legend(
        handles=handles,
        title=title,
        loc="upper left",
        bbox_to_anchor=(1.01, 1.02),
        alignment="left",
        fontsize=SMALL,
        title_fontsize=SMALL,
        frameon=False,
        borderaxespad=0,
        handletextpad=0.4,
    )


def limits(values: Iterable[float], margin: float) -> tuple[float, float]:
    """Return limits of a logarithmic axis that leave a factor of `margin` around positive values."""
    values = tuple(values)
    return min(values) / margin, max(values) * margin


def plain_logarithmic(axis: Axis) -> None:
    """Give an axis, whose limits are set, logarithmic ticks that read as plain numbers."""
    low, high = axis.get_view_interval()
    short = high / low < 10**SHORT_DECADES
    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if short else (1.0,)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def ratio_axis(axes: Axes, low: float, high: float) -> None:
    """Make the horizontal axis logarithmic, with ticks at plain ratios."""
    inside = [[tick for tick in ladder if low <= tick <= high] for ladder in TICK_LADDERS]
    ticks = next((each for each in inside if len(each) >= FEWEST_TICKS), inside[-1])
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))


def spread(wanted: Sequence[float], gap: float) -> list[float]:
    """Return positions at least `gap` apart, in the same order, as near to the wanted ones as can be.

    The sum of the squared shifts is the least possible: positions less the gaps before them must
    not fall, and pooling neighbours that do (isotonic regression) gives the nearest such.

    Examples
    --------
    >>> spread([5.0, 0.0, 0.2], 1.0)
    [5.0, -0.4, 0.6]
    """
    order = sorted(range(len(wanted)), key=wanted.__getitem__)
    pools: list[list[float]] = []
    for rank, index in enumerate(order):
        pools.append([wanted[index] - rank * gap])
        while len(pools) > 1 and _mean(pools[-2]) > _mean(pools[-1]):
            last = pools.pop()
            pools[-1] += last
    levels = [_mean(pool) for pool in pools for _ in pool]
    placed = [0.0] * len(wanted)
    for rank, index in enumerate(order):
        placed[index] = levels[rank] + rank * gap
    return placed


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def save(figure: Figure, *paths: str | os.PathLike[str]) -> None:
    """Write a figure to files, each in the format that its name ends with.

    The same data give the same bytes. The layout is settled by this: draw first, then save. Text in
    an SVG file is drawn as outlines, because the fonts of the reader, which a page cannot choose,
    would be of another width.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        What to write.
    *paths : path
        Ending in ``.png`` or ``.svg``.

    Raises
    ------
    ValueError
        If a path ends otherwise; nothing is written then.
    """
    metadata = {".png": {"Software": None}, ".svg": {"Date": None, "Creator": None}}
    formats = [Path(path).suffix.lower() for path in paths]
    for path, suffix in zip(paths, formats, strict=True):
        if suffix not in metadata:
            raise ValueError(f"path must end in .png or .svg, got {os.fspath(path)!r}")
    _settle(figure)
    with matplotlib.rc_context({"svg.hashsalt": "fastconv", "svg.fonttype": "path"}):
        for path, suffix in zip(paths, formats, strict=True):
            figure.savefig(path, format=suffix[1:], dpi=144, metadata=metadata[suffix])


def _settle(figure: Figure) -> None:
    """Lay a figure out once and for all, to places of few digits.

    The last digits that the solver of the layout finds vary from run to run, and would be in the
    names inside an SVG file.
    """
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axes in figure.axes:
        left, bottom, width, height = axes.get_position().bounds
        axes.set_position((round(left, 6), round(bottom, 6), round(width, 6), round(height, 6)))

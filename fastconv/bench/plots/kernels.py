"""Time over the size of the kernel, and where the fastest contender changes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from fastconv.bench.plots.series import Crossover, Series, crossovers
from fastconv.bench.plots.style import (
    BLACK,
    FAINT,
    GREY,
    PLATE,
    SMALL,
    contender_marks,
    dress,
    figure_of,
    limits,
    plain_logarithmic,
    spread,
)
from fastconv.bench.results import AUTO

__all__ = ["PANEL_INCHES", "kernel_panel"]

PANEL_INCHES = 2.6  # height of a panel's axes
LABEL_PART = 0.045  # of the axis' width, that a number needs
LINE_POINTS = 1.25 * SMALL  # from one line of text to the next


def kernel_panel(axes: Axes, series: Series) -> None:
    """Draw the milliseconds of every algorithm and every peer over the kernel's side.

    Full lines with filled marks are algorithms, broken lines with hollow marks are peers, the wide
    grey band is ``auto``. Above the lines stands where the fastest contender changes.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        To draw on; `PANEL_INCHES` is high enough.
    series : Series
        What to draw, see :func:`~fastconv.bench.plots.find_series`.

    Raises
    ------
    ValueError
        If the series has no time at all.
    """
    algorithms, peers = series.times("algorithm"), series.times("peer")
    lines = {**algorithms, **peers}
    every = [time for row in lines.values() for time in row if time is not None]
    if not every:
        raise ValueError(f"series must have a time, got none in {series.family!r} of {series.suite.name!r}")
    detail = f"{series.suite.name}, {', '.join(series.suite.configuration)}"
    dress(axes, f"Time by kernel size: {series.family}", detail, "side F of the kernel", "milliseconds a call")
    found = crossovers(series.sizes, lines)
    _scales(axes, series, every, len(found))
    auto = series.times("auto").get(AUTO, (None,) * len(series.sizes))
    _line(axes, series, auto, color=FAINT, linewidth=7, solid_capstyle="round", zorder=1.5)
    marks = contender_marks(algorithms, peers)
    for name, row in lines.items():
        mark = marks[name]
        _line(axes, series, row, color=mark.colour, linestyle=mark.line, linewidth=1.4, zorder=3, **mark.point(5.5))
    for place, crossover in enumerate(found):
        _mark_crossover(axes, series, lines, crossover, place)
    _name_lines(axes, series.sizes, {**lines, AUTO: auto})


def _scales(axes: Axes, series: Series, every: list[float], texts: int) -> None:
    """Set logarithmic axes with room for so many lines of text above the times."""
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(limits(series.sizes, 1.08))
    axes.xaxis.set_major_locator(FixedLocator([float(size) for size in series.sizes]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FixedFormatter(_size_labels(series.sizes)))
    low, high = limits(every, 1.3)
    part = min(0.5, texts * LINE_POINTS / _height_points(axes))
    axes.set_ylim(low, high * (high / low) ** (part / (1 - part)))
    plain_logarithmic(axes.yaxis)


def _size_labels(sizes: Sequence[int]) -> list[str]:
    """Return a label by size, empty where it would touch the one before on a logarithmic axis."""
    least = LABEL_PART * math.log(sizes[-1] / sizes[0])
    labels: list[str] = []
    shown = 0.0
    for size in sizes:
        touches = shown and math.log(size / shown) < least
        labels.append("" if touches else str(size))
        shown = shown if touches else size
    return labels


def _height_points(axes: Axes) -> float:
    """Return about how high the axes will be: the layout is not settled before the figure is drawn."""
    return 72 * axes.get_window_extent().height / figure_of(axes).dpi


def _line(axes: Axes, series: Series, times: Sequence[float | None], **style: Any) -> None:  # noqa: ANN401
    pairs = [(size, time) for size, time in zip(series.sizes, times, strict=True) if time is not None]
    axes.plot([size for size, _ in pairs], [time for _, time in pairs], **style)


def _mark_crossover(
    axes: Axes, series: Series, lines: Mapping[str, Sequence[float | None]], crossover: Crossover, place: int
) -> None:
    """Tie the new leader's point to a line of text at the top, each in a row of its own."""
    time = lines[crossover.after][series.sizes.index(crossover.size)]
    assert time is not None
    left = crossover.size <= math.sqrt(series.sizes[0] * series.sizes[-1])
    axes.annotate(
        f" {crossover.before} → {crossover.after} at {crossover.size} ",
        (crossover.size, time),
        (crossover.size, 1 - (place + 0.5) * LINE_POINTS / _height_points(axes)),
        textcoords=axes.get_xaxis_transform(),
        ha="left" if left else "right",
        va="center",
        fontsize=SMALL,
        arrowprops={
            "arrowstyle": "-",
            "linestyle": ":",
            "color": BLACK,
            "relpos": (0 if left else 1, 0.5),  # a vertical line, along the text's end
            "shrinkA": 0,
            "shrinkB": 3,
        },
        bbox=PLATE,  # over the lines of those above
        zorder=5,
        parse_math=False,
    )


def _name_lines(axes: Axes, sizes: Sequence[int], lines: Mapping[str, Sequence[float | None]]) -> None:
    """Write the names to the right of the axes, each tied to the last point of its line."""
    ends = {
        name: [(size, time) for size, time in zip(sizes, row, strict=True) if time is not None][-1]
        for name, row in lines.items()
        if any(time is not None for time in row)
    }
    low, high = axes.get_ylim()
    heights = [math.log(time / low) / math.log(high / low) for _, time in ends.values()]
    placed = spread(heights, LINE_POINTS / _height_points(axes))
    for (name, end), height in zip(ends.items(), placed, strict=True):
        axes.annotate(
            name,
            end,
            (1.05, height),
            textcoords="axes fraction",
            va="center",
            fontsize=SMALL,
            arrowprops={"arrowstyle": "-", "color": GREY, "linewidth": 0.5, "relpos": (0, 0.5), "shrinkB": 4},
            parse_math=False,
        )

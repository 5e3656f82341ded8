"""One row a layer: how a suite's layers compare with the best peer, or what each algorithm takes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from fastconv.bench.plots.style import (
    BLACK,
    BLUE,
    FAINT,
    GREY,
    ORANGE,
    PLATE,
    SMALL,
    contender_marks,
    dress,
    legend_below,
    limits,
    name_rows,
    note_beside,
    plain_logarithmic,
    ratio_axis,
    shorten,
)
from fastconv.bench.results import LayerResult, SuiteResult
from fastconv.bench.summary import Mean

__all__ = ["LOSS_HATCH", "ROW_INCHES", "ratio_bars", "time_dots"]

ROW_INCHES = 0.19  # height of a layer's row: a line of text at its size
LOSS_HATCH = "////"
EDGE = 0.12  # of the axis, where a text in the middle of its place would stand out
RING: dict[str, Any] = {"marker": "o", "markersize": 10.5, "markerfacecolor": "none", "markeredgecolor": BLACK}


def ratio_bars(axes: Axes, suite: SuiteResult) -> None:
    """Draw a bar a layer: time of the best peer / time of ``auto``, on a logarithmic axis around 1.

    Bars to the right are layers where fastconv is faster, hatched bars to the left are those where
    it is not. The peer is named on the right.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        To draw on; `ROW_INCHES` a layer is high enough.
    suite : SuiteResult
        Its layers keep their order, from above.

    Raises
    ------
    ValueError
        If no layer has a time of ``auto`` and of a peer.
    """
    mean = Mean.of({layer.layer: layer.ratio for layer in suite.layers})
    if mean is None:
        raise ValueError(f"suite must have a layer with times of auto and of a peer, got none in {suite.name!r}")
    label = "time of the best peer / time of fastconv (hatched, below 1: the peer is faster)"
    dress(axes, f"{suite.name}: fastconv beside the best peer", ", ".join(suite.configuration), label, "", room=14)
    low, high = limits([1.0, *mean.layers.values()], 1.02)
    room = max(1.06, (high / low) ** 0.09)  # for the values at the bars' ends
    ratio_axis(axes, low / room if mean.worst < 1 else low, high * room)
    _rows(axes, suite, "best peer", [layer.best_peer or "" for layer in suite.layers])
    for row, layer in enumerate(suite.layers):
        _bar(axes, row, layer)
    axes.axvline(1, color=BLACK, linewidth=1, zorder=5)
    _mean_line(axes, mean.geometric_mean)


def _mean_line(axes: Axes, mean: float) -> None:
    """Draw a mean over all rows, its text above them and inside the axes' width."""
    axes.axvline(mean, color=BLACK, linewidth=1.2, linestyle=(0, (5, 3)), zorder=2)
    low, high = axes.get_xlim()
    part = math.log(mean / low) / math.log(high / low)
    axes.annotate(
        f"geometric mean {mean:.2f}",
        (mean, 1),
        (0, 2),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        ha="left" if part < EDGE else "right" if part > 1 - EDGE else "center",
        fontsize=SMALL,
        fontweight="bold",
    )


def _bar(axes: Axes, row: int, layer: LayerResult) -> None:
    """Draw a layer's bar and its value, or say what is missing."""
    ratio = layer.ratio
    if ratio is None:
        missing = "no time of fastconv" if layer.milliseconds is None else "no time of a peer"
        low, high = axes.get_xlim()
        _value(axes, row, 1.0, missing, GREY, side=1 if low * high >= 1 else -1)  # where there is more room
    elif ratio >= 1:
        axes.barh(row, ratio - 1, left=1, height=0.72, color=BLUE, zorder=3)
        _value(axes, row, ratio, f"{ratio:.2f}", BLACK)
    else:
        axes.barh(row, ratio - 1, left=1, height=0.72, facecolor="white", edgecolor=ORANGE, hatch=LOSS_HATCH, zorder=3)
        _value(axes, row, ratio, f"{ratio:.2f}", BLACK, side=-1)


def _value(axes: Axes, row: int, x: float, text: str, colour: str, side: int = 1) -> None:
    """Write at the end of a bar, over a mean line that may pass there."""
    axes.annotate(
        text,
        (x, row),
        (3 * side, 0),
        textcoords="offset points",
        ha="left" if side > 0 else "right",
        va="center",
        fontsize=SMALL,
        color=colour,
        bbox=PLATE,
        zorder=4,
    )


def time_dots(axes: Axes, suite: SuiteResult) -> None:
    """Draw a row a layer with the milliseconds of every algorithm, for a suite without peers.

    A ring is around the algorithm that ``auto`` stands for. Such times differ by orders of magnitude
    and need a logarithmic axis, which has no zero that a bar could start from: hence dots.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        To draw on; `ROW_INCHES` a layer is high enough.
    suite : SuiteResult
        Its layers keep their order, from above.

    Raises
    ------
    ValueError
        If no layer has a time of an algorithm.
    """
    found = [layer.times("algorithm") for layer in suite.layers]
    every = [time for times in found for time in times.values()]
    if not every:
        raise ValueError(f"suite must have a layer with a time of an algorithm, got none in {suite.name!r}")
    dress(axes, f"{suite.name}: time of each algorithm", ", ".join(suite.configuration), "milliseconds a call", "")
    axes.set_xscale("log")
    axes.set_xlim(limits(every, 1.25))
    plain_logarithmic(axes.xaxis)
    _rows(axes, suite, "fastest", [layer.best_algorithm or "none" for layer in suite.layers])
    marks = contender_marks((name for times in found for name in times), ())
    for row, (layer, times) in enumerate(zip(suite.layers, found, strict=True)):
        if times:
            axes.plot([min(times.values()), max(times.values())], [row, row], color=FAINT, linewidth=3, zorder=2)
        for name, time in times.items():
            axes.plot([time], [row], linestyle="", zorder=4, **marks[name].point())
        if layer.picked in times:
            axes.plot([times[layer.picked]], [row], linestyle="", zorder=3, **RING)
    handles = [Line2D([], [], linestyle="", label=name, **mark.point()) for name, mark in marks.items()]
    handles.append(Line2D([], [], linestyle="", label="picked by auto", **RING))
    legend_below(axes, handles, columns=5)


def _rows(axes: Axes, suite: SuiteResult, header: str, notes: Sequence[str]) -> None:
    """Set a row a layer, its name on the left and a note on the right."""
    name_rows(axes, [shorten(layer.layer) for layer in suite.layers], 0.6)
    note_beside(axes, None, header)
    for row, note in enumerate(notes):
        note_beside(axes, row, shorten(note, 24))

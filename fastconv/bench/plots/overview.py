"""All suites at once: one row each, with the ratio to the best peer of every layer."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from fastconv.bench.plots.style import (
    BLACK,
    BLUE,
    FAINT,
    ORANGE,
    dress,
    legend_below,
    limits,
    name_rows,
    note_beside,
    ratio_axis,
    shorten,
    split_configurations,
)
from fastconv.bench.results import SuiteResult
from fastconv.bench.summary import Mean

__all__ = ["SUITE_INCHES", "ratio_overview"]

SUITE_INCHES = 0.42  # height of a suite's row: two lines of text
WORST_POINTS = 42.0  # from the axes to the column that names the worst layer

STYLES: tuple[dict[str, Any], ...] = (
    {"label": "a layer", "marker": "o", "markersize": 5.5, "markerfacecolor": BLUE, "markeredgecolor": "white"},
    {
        "label": "a layer where the peer is faster",
        "marker": "<",
        "markersize": 6,
        "markerfacecolor": "white",
        "markeredgecolor": ORANGE,
        "markeredgewidth": 1.3,
    },
    {"label": "median", "marker": "|", "markersize": 15, "markeredgecolor": BLACK, "markeredgewidth": 1.5},
    {"label": "geometric mean", "marker": "D", "markersize": 7, "markerfacecolor": BLACK, "markeredgecolor": "white"},
)


def ratio_overview(axes: Axes, suites: Sequence[SuiteResult]) -> None:
    """Draw a row a suite: time of the best peer / time of ``auto``, a point a layer.

    Losses are hollow triangles. A diamond is the geometric mean, a bar the median; the mean and the
    layer with the least ratio are written on the right. Suites without a ratio have no row.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        To draw on; `SUITE_INCHES` a suite is high enough.
    suites : sequence of SuiteResult
        From above.

    Raises
    ------
    ValueError
        If no layer of any suite has a time of ``auto`` and of a peer.
    """
    means = [(suite, Mean.of({layer.layer: layer.ratio for layer in suite.layers})) for suite in suites]
    measured = [(suite, mean) for suite, mean in means if mean is not None]
    if not measured:
        raise ValueError(f"suites must have a layer with times of auto and of a peer, got none in {len(suites)} suites")
    common, own = split_configurations([suite for suite, _ in measured])
    names = [shorten(suite.name) for suite, _ in measured]
    labels = [f"{name}\n{rest}" if rest else name for name, rest in zip(names, own, strict=True)]
    label = "time of the best peer / time of fastconv (above 1, fastconv is faster)"
    dress(axes, "fastconv beside the best peer, all suites", common, label, "")
    ratio_axis(axes, *limits([1.0, *(ratio for _, mean in measured for ratio in mean.layers.values())], 1.08))
    name_rows(axes, labels, 0.6)
    axes.axvline(1, color=BLACK, linewidth=1, zorder=1.5)
    note_beside(axes, None, "mean")
    note_beside(axes, None, "worst layer", WORST_POINTS)
    for row, (_, mean) in enumerate(measured):
        _row(axes, row, mean)
    legend_below(axes, [Line2D([], [], linestyle="", **style) for style in STYLES], columns=4)


def _row(axes: Axes, row: int, mean: Mean) -> None:
    """Draw one suite's range, points, median and mean, and write what stands out."""
    values = sorted(mean.layers.values())
    points = (
        [ratio for ratio in values if ratio >= 1],
        [ratio for ratio in values if ratio < 1],
        [median(values)],
        [mean.geometric_mean],
    )
    axes.plot([values[0], values[-1]], [row, row], color=FAINT, linewidth=7, solid_capstyle="butt", zorder=2)
    for order, (x, style) in enumerate(zip(points, STYLES, strict=True)):
        axes.plot(x, [row] * len(x), linestyle="", zorder=3 + order, **style)
    note_beside(axes, row, f"{mean.geometric_mean:.2f}", colour=BLACK)
    note_beside(axes, row, f"{mean.worst:.2f}  {shorten(mean.worst_layer, 24)}", WORST_POINTS)

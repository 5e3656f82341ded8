"""One figure of all that some suites have to show."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fastconv.bench.plots.choices import regret_curve
from fastconv.bench.plots.kernels import PANEL_INCHES, kernel_panel
from fastconv.bench.plots.layers import ROW_INCHES, ratio_bars, time_dots
from fastconv.bench.plots.overview import SUITE_INCHES, ratio_overview
from fastconv.bench.plots.rates import roofline
from fastconv.bench.plots.series import find_series
from fastconv.bench.plots.style import WIDTH, new_figure
from fastconv.bench.results import SuiteResult

__all__ = ["sheet"]

FRAME_INCHES = 1.3  # height of a picture's title, axis, label and legend


@dataclass(frozen=True)
class _Picture:
    """What draws on axes, and how many inches high it wants them to be."""

    height: float
    draw: Callable[[Axes], None]


def sheet(suites: Sequence[SuiteResult]) -> Figure:
    """Return a figure of everything that some suites have to show, one picture below the other.

    All suites at once where peers were measured on more than one; each suite's layers, beside the
    best peer or, without peers, with every algorithm's time; time by kernel size where there are
    series; the roofline; the dispatcher's regret. What nothing was measured for is left out.

    Parameters
    ----------
    suites : sequence of SuiteResult
        What was measured.

    Returns
    -------
    matplotlib.figure.Figure
        For :func:`save`; it grows with the number of layers.

    Raises
    ------
    ValueError
        If there is nothing to show: no layer has a time.
    """
    pictures = _pictures(suites)
    if not pictures:
        raise ValueError(f"suites must have a layer with a time, got none in {len(suites)} suites")
    heights = [picture.height for picture in pictures]
    figure = new_figure(WIDTH, sum(heights) + FRAME_INCHES * len(pictures))
    rows = figure.subplots(len(pictures), height_ratios=heights, squeeze=False)
    for axes, picture in zip(rows[:, 0], pictures, strict=True):
        picture.draw(axes)
    return figure


def _pictures(suites: Sequence[SuiteResult]) -> list[_Picture]:
    every = [layer for suite in suites for layer in suite.layers]
    compared = [suite for suite in suites if any(layer.ratio is not None for layer in suite.layers)]
    pictures = []
    if len(compared) > 1:
        pictures.append(_Picture(SUITE_INCHES * len(compared), partial(ratio_overview, suites=compared)))
    for suite in suites:
        height = ROW_INCHES * len(suite.layers)
        if suite in compared:
            pictures.append(_Picture(height, partial(ratio_bars, suite=suite)))
        elif any(layer.times("algorithm") for layer in suite.layers):
            pictures.append(_Picture(height, partial(time_dots, suite=suite)))
    for series in find_series(suites):
        if any(series.times(kind) for kind in ("algorithm", "peer")):
            pictures.append(_Picture(PANEL_INCHES, partial(kernel_panel, series=series)))
    if any(layer.milliseconds and layer.operations for layer in every):
        pictures.append(_Picture(3.3, partial(roofline, suites=suites)))
    if any(layer.regret is not None for layer in every):
        pictures.append(_Picture(2.4, partial(regret_curve, suites=suites)))
    return pictures

"""The pictures of a report, as files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fastconv.bench import plots
from fastconv.bench.results import Report, SuiteResult

__all__ = ["SUFFIXES", "draw"]

SUFFIXES = (".png", ".svg")  # the first is what the page shows
ROW = 0.24  # inches, of a bar with its label

T = TypeVar("T")


def draw(report: Report, directory: Path) -> dict[str, str]:
    """Write every picture that a report has data for, and return the names of the first files by picture.

    Parameters
    ----------
    report : Report
        What was measured.
    directory : Path
        Made if it is not there.
    """
    directory.mkdir(parents=True, exist_ok=True)
    written = {}
    for name, figure in _figures(report):
        for suffix in SUFFIXES:
            plots.save(figure, directory / f"{name}{suffix}")
        written[name] = f"{name}{SUFFIXES[0]}"
    return written


def _figures(report: Report) -> Iterator[tuple[str, Figure]]:
    if not report.suites:
        return
    first = _alike(report.suites[0], report.suites)
    with_ratios = [suite for suite in first if any(layer.ratio is not None for layer in suite.layers)]
    if with_ratios:
        yield "overview", _one(plots.ratio_overview, with_ratios, 1.6 + 0.5 * len(with_ratios))
    if any(layer.milliseconds is not None for suite in first for layer in suite.layers):
        yield "roofline", _one(plots.roofline, first, 6.5)
    if any(layer.regret is not None for suite in report.suites for layer in suite.layers):
        yield "regret", _one(plots.regret_curve, report.suites, 4.5)
    if series := plots.find_series(first):
        figure = plots.new_figure(plots.WIDTH, 3.6 * len(series))
        for axes, one in zip(figure.subplots(len(series), 1, squeeze=False)[:, 0], series, strict=True):
            plots.kernel_panel(axes, one)
        yield "kernels", figure
    for suite in with_ratios:
        yield f"ratios-{suite.name}", _one(plots.ratio_bars, suite, 1.5 + ROW * len(suite.layers))


def _one(drawing: Callable[[Axes, T], object], data: T, height: float) -> Figure:
    """Return a figure of one picture."""
    figure = plots.new_figure(plots.WIDTH, height)
    drawing(figure.subplots(), data)
    return figure


def _alike(one: SuiteResult, suites: Sequence[SuiteResult]) -> list[SuiteResult]:
    """Return the suites that were measured as this one was: a picture should not mix ways."""
    return [suite for suite in suites if (suite.batch, suite.threads) == (one.batch, one.threads)]

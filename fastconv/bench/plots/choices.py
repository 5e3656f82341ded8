"""The dispatcher's regret: how much longer its picks take than the best algorithms would."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import geometric_mean

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import PercentFormatter

from fastconv.bench.plots.style import (
    BLACK,
    BLUE,
    GREY,
    PLATE,
    SMALL,
    dress,
    kind_handles,
    kind_mark,
    legend_beside,
    ratio_axis,
    shorten,
)
from fastconv.bench.results import LayerResult, SuiteResult

__all__ = ["pick_curves", "regret_curve"]

NAMED = 3  # of the worst picks
LEAST_RANGE = 1.1  # of the axis, so that picks that are all good look good
DATA_PART = 0.6  # of the axis; the rest is for names


def regret_curve(axes: Axes, suites: Sequence[SuiteResult]) -> None:
    """Draw the share of layers whose picked algorithm takes at most so many times the best one's time.

    Points are layers with another pick than the best, marked by class; the worst are named, and the
    legend gives the geometric mean of each class.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        To draw on.
    suites : sequence of SuiteResult
        All layers whose picked algorithm has a time.

    Raises
    ------
    ValueError
        If there is no such layer.
    """
    layers = [(layer.regret, layer) for suite in suites for layer in suite.layers if layer.regret is not None]
    if not layers:
        raise ValueError(f"suites must have a layer with a time of the pick, got none in {len(suites)} suites")
    layers.sort(key=lambda pair: pair[0])
    regrets = [regret for regret, _ in layers]
    best = sum(regret == 1 for regret in regrets)
    detail = f"best choice on {best} of {len(layers)} layers, geometric mean {geometric_mean(regrets):.3f}"
    dress(axes, "What the choice of an algorithm costs", detail, "time of the pick / time of the best", "layers")
    last = max(LEAST_RANGE, regrets[-1])
    ratio_axis(axes, last**-0.04, last ** (1 / DATA_PART))
    axes.set_ylim(0, 1.04)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    shares = _curve(axes, regrets, BLACK)
    points = [(regret, share, layer) for (regret, layer), share in zip(layers, shares, strict=True) if regret > 1]
    for regret, share, layer in points:
        axes.plot([regret], [share], linestyle="", zorder=3, **kind_mark(layer.kind).point(7))
    _name(axes, points[-NAMED:])
    by_kind: dict[str, list[float]] = {}
    for regret, layer in layers:
        by_kind.setdefault(layer.kind, []).append(regret)
    notes = {kind: f"{kind}: {geometric_mean(found):.3f}" for kind, found in by_kind.items()}
    legend_beside(axes, kind_handles(by_kind, notes), "mean by class")


def pick_curves(axes: Axes, regrets: Mapping[str, Sequence[float]]) -> None:
    """Draw the share of problems whose pick takes at most so many times the fastest one's time, a curve for each kind.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        To draw on.
    regrets : mapping of str to sequence of float
        By kind of pick; at least one each.
    """
    counts = {len(found) for found in regrets.values()}
    title, detail = "What the choice of an algorithm costs", f"{max(counts)} problems"
    dress(axes, title, detail, "time of the pick / time of the fastest", "problems")
    ratio_axis(axes, 0.99, max(LEAST_RANGE, *map(max, regrets.values())))
    axes.set_ylim(0, 1.04)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    colours = dict(zip(regrets, (BLACK, BLUE), strict=False))
    for pick, found in regrets.items():
        _curve(axes, sorted(found), colours[pick])
    labels = {pick: f"{pick}: {geometric_mean(found):.3f}" for pick, found in regrets.items()}
    legend_beside(axes, [Line2D([], [], color=colours[pick], label=labels[pick]) for pick in regrets], "geometric mean")


def _curve(axes: Axes, rising: Sequence[float], colour: str) -> list[float]:
    """Draw the share of values up to each, and return these shares."""
    shares = [(index + 1) / len(rising) for index in range(len(rising))]
    axes.step([1, *rising, axes.get_xlim()[1]], [0, *shares, 1], where="post", color=colour, linewidth=1.4, zorder=2)
    return shares


def _name(axes: Axes, worst: Sequence[tuple[float, float, LayerResult]]) -> None:
    """Name layers, given by rising regret, to the right of the last point, the worst above."""
    for place, (regret, share, layer) in enumerate(reversed(worst)):
        axes.annotate(
            f"{shorten(layer.layer, 24)}: {layer.picked} {regret:.2f} × {layer.best_algorithm}",
            (regret, share),
            (DATA_PART + 0.08, 0.86 - 0.085 * place),
            textcoords="axes fraction",
            va="center",
            fontsize=SMALL,
            arrowprops={"arrowstyle": "-", "color": GREY, "linewidth": 0.7, "relpos": (0, 0.5), "shrinkB": 4},
            bbox=PLATE,
            parse_math=False,
        )

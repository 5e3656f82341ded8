"""The roofline: how fast layers run, over how often they can use a byte."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from fastconv.bench.plots.style import (
    BLACK,
    GREY,
    PLATE,
    SMALL,
    dress,
    kind_handles,
    kind_mark,
    legend_beside,
    limits,
    plain_logarithmic,
    split_configurations,
)
from fastconv.bench.results import LayerResult, SuiteResult

__all__ = ["roofline"]

MOST_NAMES = 4  # of suites, in a line of text
KNEE = 6.0  # how far below its end the diagonal begins at most, for its text

PEER: dict[str, Any] = {"marker": "_", "markersize": 8, "markeredgewidth": 1.6, "color": GREY}


def roofline(axes: Axes, suites: Sequence[SuiteResult]) -> None:
    """Draw the rate of ``auto`` over operations per byte, a point a layer, under the machine's limits.

    The best peer's rate is a grey tick, tied to ours by a thin line. The model is that of Williams,
    Waterman, Patterson: Roofline (2009); bytes are those of input, weight and output, once each.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        To draw on.
    suites : sequence of SuiteResult
        All layers with a time of ``auto``; where known, the peaks of multiply-adds are level lines
        and what a copy in memory reaches is a diagonal.

    Raises
    ------
    ValueError
        If no layer has a time of ``auto`` and operations to count.
    """
    layers = [one for suite in suites for one in suite.layers if one.milliseconds and one.operations]
    if not layers:
        raise ValueError(f"suites must have a layer with a time of auto, got none in {len(suites)} suites")
    dress(axes, "Rate of each layer under the machine's limits", _detail(suites), "operations per byte", "GFLOP/s")
    axes.set_xscale("log")
    axes.set_yscale("log")
    for layer in layers:
        _point(axes, layer)
    peaks = _ceilings([(suite.peak_gflops, suite) for suite in suites])
    copies = _ceilings([(suite.copy_gigabytes, suite) for suite in suites])
    top = max(peaks, default=math.inf)
    _scales(axes, layers, peaks, [top / gigabytes for gigabytes in copies if peaks])
    for peak, whose in peaks.items():
        _level(axes, peak, f"FMA peak{whose}: {peak:.0f} GFLOP/s")
    for gigabytes, whose in copies.items():
        _diagonal(axes, gigabytes, f"copy in memory{whose}: {gigabytes:.0f} GB/s", top)
    tick = Line2D([], [], linestyle="", label="its best peer", **PEER)
    handles = kind_handles(layer.kind for layer in layers)
    legend_beside(axes, [*handles, tick] if any(map(_peer, layers)) else handles, "a layer, by class")


def _detail(suites: Sequence[SuiteResult]) -> str:
    """Return what was measured, and how where that is the same for all."""
    names = list(dict.fromkeys(suite.name for suite in suites))
    what = ", ".join(names) if len(names) <= MOST_NAMES else f"{len(names)} suites"
    common, _ = split_configurations(suites)
    return f"{what}; {common}" if common else what


def _intensity(layer: LayerResult) -> float:
    return layer.operations / layer.bytes


def _rate(layer: LayerResult, milliseconds: float) -> float:
    """Return GFLOP/s."""
    return layer.operations / milliseconds / 1e6


def _peer(layer: LayerResult) -> float | None:
    return min(layer.times("peer").values(), default=None)


def _point(axes: Axes, layer: LayerResult) -> None:
    assert layer.milliseconds is not None
    x, ours, mark = _intensity(layer), _rate(layer, layer.milliseconds), kind_mark(layer.kind)
    if (time := _peer(layer)) is not None:
        theirs = _rate(layer, time)
        axes.plot([x, x], [ours, theirs], color=GREY, linewidth=0.7, zorder=2)
        axes.plot([x], [theirs], linestyle="", zorder=3, **PEER)
    axes.plot([x], [ours], linestyle="", zorder=4, **mark.point())


def _ceilings(found: Sequence[tuple[float | None, SuiteResult]]) -> dict[float, str]:
    """Return the distinct limits of the machine, and whose each is where there is more than one."""
    whose = {limit: ", " + ", ".join(suite.configuration[1:3]) for limit, suite in found if limit is not None}
    return whose if len(whose) > 1 else dict.fromkeys(whose, "")


def _scales(axes: Axes, layers: Sequence[LayerResult], peaks: Iterable[float], knees: Sequence[float]) -> None:
    """Set axes that hold all layers, all peaks and the upper end of each diagonal."""
    rates = [_rate(layer, time) for layer in layers for time in (layer.milliseconds, _peer(layer)) if time]
    axes.set_xlim(limits([*map(_intensity, layers), *(knee / KNEE for knee in knees), *knees], 1.6))
    axes.set_ylim(limits([*rates, *peaks, *(peak / KNEE for peak in peaks)], 1.5))
    plain_logarithmic(axes.xaxis)
    plain_logarithmic(axes.yaxis)


def _level(axes: Axes, rate: float, label: str) -> None:
    """Draw the limit that arithmetic sets."""
    axes.axhline(rate, color=BLACK, linewidth=1.4, zorder=1.5)
    left = axes.get_xlim()[0]
    axes.annotate(label, (left, rate), (4, 3), textcoords="offset points", fontsize=SMALL, bbox=PLATE, zorder=3)


def _diagonal(axes: Axes, gigabytes: float, label: str, top: float) -> None:
    """Draw the limit that memory sets, up to where arithmetic sets a lower one."""
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    start, end = max(left, low / gigabytes), min(right, min(high, top) / gigabytes)
    if start >= end:
        return  # arithmetic limits every layer
    axes.plot([start, end], [start * gigabytes, end * gigabytes], color=BLACK, linewidth=1.4, linestyle=(0, (6, 2)))
    axes.text(
        end / 1.3,
        end / 1.3 * gigabytes * 1.08,  # a little above the line
        label,
        ha="right",
        rotation=math.degrees(math.atan(gigabytes)),
        rotation_mode="anchor",
        transform_rotates_text=True,  # the slope in the axes' own, logarithmic, lengths
        fontsize=SMALL,
    )

"""The benchmark's pictures, drawn with matplotlib from the data of :mod:`fastconv.bench.results`.

Every function draws on axes that it is given; :func:`sheet` makes a whole figure of what there is
to show, and :func:`save` writes one. Nothing here keeps state or asks for a screen.
"""

from __future__ import annotations

from fastconv.bench.plots.choices import pick_curves, regret_curve
from fastconv.bench.plots.composition import sheet
from fastconv.bench.plots.kernels import kernel_panel
from fastconv.bench.plots.layers import ratio_bars, time_dots
from fastconv.bench.plots.overview import ratio_overview
from fastconv.bench.plots.rates import roofline
from fastconv.bench.plots.series import Crossover, Series, crossovers, find_series
from fastconv.bench.plots.style import WIDTH, new_figure, save

__all__ = [
    "WIDTH",
    "Crossover",
    "Series",
    "crossovers",
    "find_series",
    "kernel_panel",
    "new_figure",
    "pick_curves",
    "ratio_bars",
    "ratio_overview",
    "regret_curve",
    "roofline",
    "save",
    "sheet",
    "time_dots",
]

"""What layers say together, by the classes that a device's kernels are made for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from fastconv.bench.device.tensor_cores import is_rounded
from fastconv.bench.kinds import LARGE, kind_of
from fastconv.bench.plain import Table
from fastconv.bench.results import LayerResult, SuiteResult
from fastconv.bench.summary import Mean
from fastconv.bench.table import NOT_RUN, ratio_text
from fastconv.problem import PoolProblem, Problem, parse

__all__ = ["CLASSES", "WINOGRAD", "class_of", "class_table"]

CLASSES = ("dense", "grouped", "depthwise", "large kernels", "pooling", "input gradient", "weight gradient")
WINOGRAD = "winograd, VGG's 3x3"


def class_of(problem: Problem) -> str:
    """Return which of `CLASSES` a problem is.

    Examples
    --------
    >>> class_of(parse("conv2d,n1,c3,224x224,k64,7x7,s2,p3,float32"))  # of an image, whatever its windows
    'dense'
    >>> class_of(parse("conv2d,n1,c128,56x56,k128,31x31,p15,g128,float32"))
    'large kernels'
    """
    if isinstance(problem, PoolProblem):
        return "pooling"
    if problem.direction != "forward":
        return problem.direction.replace("_", " ")
    kind = kind_of(problem)
    if max(problem.kernel) >= LARGE and kind != "few channels":
        return "large kernels"
    if problem.channels == problem.groups:
        return "depthwise"
    return "grouped" if problem.groups > 1 else "dense"


@dataclass(frozen=True)
class _Layer:
    """A layer, and what it was measured in."""

    suite: SuiteResult
    result: LayerResult

    @property
    def name(self) -> str:
        return f"{self.suite.name} {self.result.layer}, batch {self.suite.batch}, {self.suite.layout}"

    @property
    def ratio(self) -> float | None:
        return self.result.ratio

    @property
    def coarser(self) -> float | None:
        """Time of the fastest that rounds more coarsely / time of ``auto``."""
        times, own = self.result.times("coarser"), self.result.milliseconds
        return None if own is None or not times else min(times.values()) / own

    @property
    def bandwidth(self) -> float | None:
        """Bytes that a call cannot avoid a second / those of a copy."""
        own, copy = self.result.milliseconds, self.suite.copy_gigabytes
        return None if own is None or copy is None else 1e-6 * self.result.bytes / own / copy

    @property
    def winograd(self) -> float | None:
        """Time of the best peer / time of the fastest of the package's own Winograd algorithms."""
        times = [ms for name, ms in self.result.times("algorithm").items() if name.startswith("winograd")]
        peer = self.result.best_peer
        return None if peer is None or not times else self.result.times("peer")[peer] / min(times)


def class_table(suites: Sequence[SuiteResult]) -> Table:
    """Return a row for each class, and for each of its batches and layouts; ratios above 1 are ours.

    Where factors are rounded a layer is in none: see `precision_table`.
    """
    table = Table()
    table.add_column("class")
    for name in ("layers", "cuDNN / auto\ngeometric mean", "\nworst", "\nlosses"):
        table.add_column(name, justify="right")
    table.add_column("\nwhere")
    for name in ("cuDNN TF32\n/ auto", "share of copy\nbandwidth"):
        table.add_column(name, justify="right")
    layers = [
        _Layer(suite, result) for suite in suites for result in suite.layers if not is_rounded(parse(result.problem))
    ]
    for title, rows in _groups(layers):
        table.add_row(*_row(title, rows, lambda one: one.ratio))
    fit = [one for one in layers if one.suite.name == "vgg16" and one.winograd is not None]
    if fit:
        table.add_row(*_row(WINOGRAD, fit, lambda one: one.winograd))
    return table


def _groups(layers: Sequence[_Layer]) -> Iterator[tuple[str, list[_Layer]]]:
    """Yield each class, then what it was measured in if that is more than one thing."""
    for name in CLASSES:
        alike = [one for one in layers if class_of(parse(one.result.problem)) == name]
        if not alike:
            continue
        yield name, alike
        ways = dict.fromkeys((one.suite.batch, one.suite.layout) for one in alike)
        if len(ways) > 1:
            for batch, layout in ways:
                part = [one for one in alike if (one.suite.batch, one.suite.layout) == (batch, layout)]
                yield f"  batch {batch}, {layout}", part


def _row(title: str, layers: Sequence[_Layer], ratio: Callable[[_Layer], float | None]) -> tuple[str, ...]:
    mean = Mean.of({one.name: ratio(one) for one in layers})
    coarser = Mean.of({one.name: one.coarser for one in layers})
    bandwidth = Mean.of({one.name: one.bandwidth for one in layers})
    judged = (NOT_RUN,) * 4
    if mean is not None:
        losses = f"{len(mean.below_one)} of {len(mean.layers)}"
        judged = (f"{mean.geometric_mean:.2f}", f"{mean.worst:.2f}", losses, mean.worst_layer)
    others = (ratio_text(None if one is None else one.geometric_mean) for one in (coarser, bandwidth))
    return (title, str(len(layers)), *judged, *others)

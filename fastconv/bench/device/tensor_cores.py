"""Products of rounded factors beside cuDNN's of factors that are rounded alike: what is measured, and what it says.

A ratio is always between two of one precision, which is what the factors of products are rounded to: that of the arrays
if they are halves, else what the problem permits. Where PyTorch has a precision for arrays of halves alone, cuDNN is
given such arrays, made before the time: it then reads and writes half the bytes, and the table says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from types import MappingProxyType

from fastconv.bench.device import LAST
from fastconv.bench.plain import Table
from fastconv.bench.results import LayerResult, SuiteResult
from fastconv.bench.run import Job
from fastconv.bench.suites import Layer, suite
from fastconv.bench.summary import Mean
from fastconv.bench.table import NOT_RUN
from fastconv.problem import DIRECTIONS, ConvProblem, Problem, parse

__all__ = ["ALGORITHMS", "TARGETS", "cudnns_arrays", "is_rounded", "precision_of", "precision_table"]

ALGORITHMS = ("implicit_gemm_mma", "implicit_gemm_wgmma")

#: Data types and precisions, in the order of their weight.
KINDS = (
    *(("float32", "tf32"), ("bfloat16", "ieee"), ("float16", "ieee")),
    *(("float32", "bf16"), ("float32", "fp16")),
)
NETWORKS = ("resnet50", "vgg16")

#: Layers of ResNet-50 whose gradients are measured: 3x3, with a stride and without, and 1x1 that expand and project.
GRADIENTS_OF = ("conv2_1b", "conv3_1b", "conv4_1c", "conv4_2b", "conv5_1p")
GRADIENT_KINDS = (("float32", "ieee"), *KINDS[:2])

_HALVES = {"float16": "fp16", "bfloat16": "bf16"}
_ARRAYS = {precision: dtype for dtype, precision in _HALVES.items()}


def precision_of(problem: Problem) -> str:
    """Return what the factors of a problem's products are rounded to, by the arrays or by permission.

    Examples
    --------
    >>> precision_of(parse("conv2d,n1,c8,9x9,k8,3x3,bfloat16"))
    'bf16'
    >>> precision_of(parse("conv2d,n1,c8,9x9,k8,3x3,tf32,float32"))
    'tf32'
    """
    if not isinstance(problem, ConvProblem):  # without products
        return "ieee"
    return _HALVES.get(problem.dtype, problem.precision)


def is_rounded(problem: Problem) -> bool:
    """Return whether factors are rounded, as tensor cores take them."""
    return precision_of(problem) != "ieee"


def cudnns_arrays(problem: Problem) -> str:
    """Return the data type of the arrays of which cuDNN computes with a problem's precision.

    Examples
    --------
    >>> cudnns_arrays(parse("conv2d,n1,c8,9x9,k8,3x3,bf16,float32"))
    'bfloat16'
    """
    return _ARRAYS.get(precision_of(problem), problem.dtype)


def _of_networks(batch: int, layouts: Sequence[str]) -> list[Job]:
    """All layers of the networks, in every precision."""
    return [
        _job(name, suite(name).layers(batch, dtype, layout), precision, ALGORITHMS)
        for (dtype, precision), layout, name in product(KINDS, layouts, NETWORKS)
    ]


def _of_gradients(batch: int, layouts: Sequence[str]) -> list[Job]:
    """Both gradients of some layers."""
    found = []
    for (dtype, precision), layout, direction in product(GRADIENT_KINDS, layouts, DIRECTIONS[1:]):
        layers = suite("resnet50").layers(batch, dtype, layout, direction)
        some = tuple(layer for layer in layers if layer.name in GRADIENTS_OF)
        algorithms = ("im2col",) if (dtype, precision) == ("float32", "ieee") else ALGORITHMS
        found.append(_job(f"resnet50 {direction}", some, precision, algorithms))
    return found


def _job(name: str, layers: Sequence[Layer], precision: str, algorithms: tuple[str, ...]) -> Job:
    found = []
    for layer in layers:
        assert isinstance(layer.problem, ConvProblem)
        found.append(replace(layer, problem=replace(layer.problem, precision=precision)))
    shown = name if precision == "ieee" else f"{name} {precision}"
    return Job(shown, suite(name.split()[0]).source, tuple(found), (1,), algorithms)


#: What may be asked for as a suite may, by a batch and layouts.
TARGETS: Mapping[str, Callable[[int, Sequence[str]], list[Job]]] = MappingProxyType(
    {"tensor_cores": _of_networks, "gradients": _of_gradients}
)


@dataclass(frozen=True)
class _Figure:
    """An algorithm on a layer, and cuDNN on it with the same precision."""

    suite: SuiteResult
    result: LayerResult
    algorithm: str

    @property
    def name(self) -> str:
        one = self.suite
        return f"{one.name} {self.result.layer}, batch {one.batch}, {one.layout}"

    def ratio(self, *, any_layout: bool) -> float | None:
        """Time of cuDNN, in this layout or in its fastest, / time of the algorithm."""
        own = self.result.times("algorithm").get(self.algorithm)
        last = self.suite.layout == "channels_last"
        theirs = [ms for name, ms in self.result.times("peer").items() if any_layout or name.endswith(LAST) == last]
        return None if own is None or not theirs else min(theirs) / own

    @property
    def bounds(self) -> str:
        """What the algorithm makes of the device: products and, in bytes that it cannot avoid, memory."""
        one = self.result[self.algorithm]
        assert one.minimum_ms is not None
        rate = f"{1e-3 * (one.gflops or 0.0):.0f} TFLOP/s"
        if self.suite.copy_gigabytes is None:
            return rate
        share = 1e-6 * self.result.bytes / one.minimum_ms / self.suite.copy_gigabytes
        return f"{rate}, {share:.2f} of copies"


def precision_table(suites: Sequence[SuiteResult]) -> Table:
    """Return a row for each kind of arrays, precision, direction, algorithm and layout; ratios above 1 are ours."""
    table = Table()
    for header in ("arrays\nand precision", "cuDNN's arrays\nand precision", "\nwhat", "\nalgorithm"):
        table.add_column(header)
    for header in ("\nlayers", "cuDNN, same layout / it\ngeometric mean", "cuDNN's best layout\n/ it, mean", "\nbest"):
        table.add_column(header, justify="right")
    table.add_column("\nwhere")
    table.add_column("\nworst", justify="right")
    table.add_column("\nwhere")
    for key, figures in _grouped(suites).items():
        row = _row(figures)
        if row is not None:
            table.add_row(*key, *row)
    return table


def _grouped(suites: Iterable[SuiteResult]) -> dict[tuple[str, ...], list[_Figure]]:
    """What is judged together, by how a row begins: all of one precision on both sides."""
    groups: dict[tuple[str, ...], list[_Figure]] = {}
    for one, result, problem in _rounded(suites):
        precision = precision_of(problem)
        ours, theirs = (f"{dtype}, {precision}" for dtype in (problem.dtype, cudnns_arrays(problem)))
        what = "" if problem.direction == "forward" else f"{problem.direction}, "
        for algorithm in ALGORITHMS:
            key = (ours, theirs, f"{what}{problem.layout}", algorithm)
            groups.setdefault(key, []).append(_Figure(one, result, algorithm))
    return groups


def _rounded(suites: Iterable[SuiteResult]) -> Iterator[tuple[SuiteResult, LayerResult, ConvProblem]]:
    for one in suites:
        for result in one.layers:
            problem = parse(result.problem)
            if isinstance(problem, ConvProblem) and is_rounded(problem):
                yield one, result, problem


def _row(figures: Sequence[_Figure]) -> tuple[str, ...] | None:
    """What figures of one kind say together; None where no layer has the algorithm."""
    by_name = {one.name: one for one in figures}
    same = Mean.of({name: one.ratio(any_layout=False) for name, one in by_name.items()})
    best = Mean.of({name: one.ratio(any_layout=True) for name, one in by_name.items()})
    if best is None:
        return None
    faster = f"{best.geometric_mean:.2f}"
    if same is None:
        return (str(len(best.layers)), NOT_RUN, faster, *(NOT_RUN,) * 4)
    first = max(same.layers, key=same.layers.__getitem__)
    ends = [
        cell
        for name in (first, same.worst_layer)
        for cell in (f"{same.layers[name]:.2f}", f"{name} ({by_name[name].bounds})")
    ]
    return (str(len(same.layers)), f"{same.geometric_mean:.2f}", faster, *ends)

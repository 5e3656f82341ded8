"""Where the time of a Winograd convolution goes: its steps, by what is saved when one is left out.

Each step is a function that the kernel calls by its address. A call whose plan has an empty function in place of one
takes its turn with whole calls, in one process and on the minimum of many rounds; the difference is the step's time.
Products are related to the FMA peak measured in the same run. One thread, weights transformed within the call.

Examples
--------
Four layers of ResNet-50::

    python benchmarks/winograd_parts.py

Others, and another size of tile::

    python benchmarks/winograd_parts.py --algorithm winograd_6x6 conv2d,n1,c128,112x112,k128,3x3,p1,float32

"""

from __future__ import annotations

import time
from collections.abc import Callable

import click
import numpy as np
from llvmlite import ir
from rich.table import Table

import fastconv
from fastconv import ConvProblem
from fastconv.bench.ceilings import fma_peak
from fastconv.bench.operations import draw
from fastconv.cli.output import console, show_table
from fastconv.codegen import jit
from fastconv.codegen import target as targets
from fastconv.codegen.vector import I64, VectorModule
from fastconv.cpu import plan as at
from fastconv.cpu import winograd_steps as step
from fastconv.cpu.winograd_plan import WinogradPlan
from fastconv.selection import algorithm as algorithm_of

LAYERS = [f"conv2d,n1,c{c},{size}x{size},k{c},3x3,p1,float32" for c, size in ((64, 56), (128, 28), (256, 14), (512, 7))]

TILES = tuple(range(at.TILE_ADDRESSES, at.FIRST_OWN_SLOT))

#: What is left out for each column: slots of the plan that hold addresses.
PARTS = {
    "input": (step.INTO, step.INPUT_FIRST, step.INPUT_LAST),
    "weights": (at.PANELS, step.WEIGHTS),
    "products": TILES,
    "output": (step.OUTPUT, step.OUT_OF),
}


def nothing() -> int:
    """Return the address of a function that does nothing."""
    target = targets.current()

    def emit() -> str:
        own = VectorModule("nothing", "float32", target)
        _, b = own.define("nothing", ir.VoidType(), [I64])
        b.ret_void()
        return str(own.module)

    return jit.address("nothing", emit, target)


def call(plan: WinogradPlan, arrays: list[np.ndarray], without: tuple[int, ...]) -> Callable[[], None]:
    """Return a call of `plan` with the functions in some slots replaced."""
    for _, numbers in plan.steps(step.AS_THEY_LIE):
        used = [slot for slot in without if numbers[slot]]
        numbers[used] = nothing()
    x, weight, out = arrays
    return lambda: plan.run(x, weight, None, None, out)


def measure(problem: ConvProblem, name: str, seconds: float) -> dict[str, float]:
    """Return the seconds of a whole call and of its parts."""
    x, weight = draw(problem)[:2]
    arrays = [x, weight, np.empty(problem.output_shape, problem.dtype)]
    calls = {}
    for part, slots in {"whole": (), **PARTS}.items():
        fastconv.clear_cache()  # a plan of its own for each
        plan = algorithm_of(name).plan(problem)  # type: ignore[attr-defined]
        calls[part] = call(plan, arrays, slots)
    best = dict.fromkeys(calls, float("inf"))
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        for part, run in calls.items():
            run()  # brings the caches back
            start = time.perf_counter()
            run()
            best[part] = min(best[part], time.perf_counter() - start)
    return {"whole": best["whole"], **{part: best["whole"] - best[part] for part in PARTS}}


def rate(problem: ConvProblem, name: str, seconds: float) -> float:
    """Return the flop/s of the products."""
    cut = algorithm_of(name).plan(problem).tiling  # type: ignore[attr-defined]
    multiply_adds = cut.frequencies * cut.rows * cut.tiles[1] * problem.channels * problem.filters / problem.groups
    return float(2 * multiply_adds / seconds)


@click.command(help=__doc__.split("\n")[0])
@click.argument("layers", nargs=-1)
@click.option("--algorithm", default="winograd_4x4", show_default=True, help="Which size of tile.")
@click.option("--seconds", default=3.0, show_default=True, help="Time for each layer.")
def main(layers: tuple[str, ...], algorithm: str, seconds: float) -> None:
    fastconv.set_num_threads(1)
    table = Table(title=f"{algorithm}, one thread: shares of the time")
    for column in ("layer", "ms", *PARTS, "transforms", "products / peak"):
        table.add_column(column, justify="left" if column == "layer" else "right")
    for text in layers or LAYERS:
        problem = ConvProblem.parse(text)
        times = measure(problem, algorithm, seconds)
        shares = {part: times[part] / times["whole"] for part in PARTS}
        peak = fma_peak(problem.dtype, 1)
        table.add_row(
            text,
            f"{times['whole'] * 1e3:.3f}",
            *(f"{share:.1%}" for share in shares.values()),
            f"{sum(shares.values()) - shares['products']:.1%}",
            f"{rate(problem, algorithm, times['products']) / peak:.1%}",
        )
    show_table(console(), table)


if __name__ == "__main__":
    main()

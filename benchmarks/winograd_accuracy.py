"""How exact each size of Winograd's tiles is: measured on random data, beside the bound that the choice is made by.

Relative errors in the 2-norm against a reference in float64, of normal inputs and weights, the largest of some seeds.

Examples
--------
The table of the documentation::

    python benchmarks/winograd_accuracy.py

"""

from __future__ import annotations

import click
import numpy as np
from rich.table import Table

import fastconv
from fastconv import ConvProblem
from fastconv.cli.output import console, show_table
from fastconv.selection import algorithm as algorithm_of

CHANNELS = (64, 256, 512)
KERNELS = ("3x3", "5x5", "1x7")
ALGORITHMS = ("direct", "winograd_2x2", "winograd_3x3", "winograd_4x4", "winograd_6x6")


def error(problem: ConvProblem, name: str, seed: int) -> float:
    """Return the relative error of one call."""
    random = np.random.default_rng(seed)
    x, weight = (random.standard_normal(s).astype(problem.dtype) for s in (problem.input_shape, problem.weight_shape))
    arguments = problem.arguments()
    exact = fastconv.conv2d(
        x.astype(np.float64), weight.astype(np.float64), algorithm="direct", **arguments
    )  # in float64 its errors are a billionth of what is measured
    found = fastconv.conv2d(x, weight, algorithm=name, **arguments)
    return float(np.linalg.norm(found - exact) / np.linalg.norm(exact))


@click.command(help=__doc__.split("\n")[0])
@click.option("--seeds", default=3, show_default=True)
def main(seeds: int) -> None:
    table = Table(title="relative error, float32: largest measured / bound")
    table.add_column("")
    for channels in CHANNELS:
        table.add_column(f"{channels} channels", justify="right")
    for kernel in KERNELS:
        for name in ALGORITHMS:
            cells = []
            for channels in CHANNELS:
                padding = "x".join(str(int(size) // 2) for size in kernel.split("x"))
                problem = ConvProblem.parse(f"conv2d,n1,c{channels},24x24,k16,{kernel},p{padding},float32")
                algorithm = algorithm_of(name)
                if algorithm.supports(problem) is None:
                    largest = max(error(problem, name, seed) for seed in range(seeds))
                    cells.append(f"{largest:.1e} / {algorithm.error_bound(problem):.0e}")
            if cells:
                table.add_row(f"{name} {kernel}", *cells)
    show_table(console(), table)


if __name__ == "__main__":
    main()

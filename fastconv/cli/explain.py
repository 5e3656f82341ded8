"""``fastconv explain``: a problem's arithmetic, and which algorithm would run and why."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import click

import fastconv
from fastconv.arguments import PRECISIONS
from fastconv.cli.device import device_option
from fastconv.cli.output import as_text
from fastconv.cli.problems import problem as as_problem
from fastconv.devices import UnavailableError
from fastconv.problem import DTYPES, LAYOUTS, PADDING_MODES, ConvProblem, PoolProblem, Problem

__all__ = ["explain"]


@click.command()
@click.argument("problem", required=False)
@click.option("--input", "input_shape", metavar="N,C,H,W", help="Input shape, with the batch.")
@click.option("--weight", "weight_shape", metavar="K,C,R,S", help="Weight shape, C is C/groups.")
@click.option("--stride", default="1", help="One int, or one an axis: 2 or 2,1.")
@click.option("--padding", default="0", help="1 or 1,2 or 0:1,2:2 (before:after) or same.")
@click.option("--dilation", default="1", help="One int, or one an axis.")
@click.option("--groups", type=int, default=1)
@click.option("--padding-mode", type=click.Choice(PADDING_MODES), default=PADDING_MODES[0])
@click.option("--flip", is_flag=True, help="The mathematical convolution.")
@click.option("--layout", type=click.Choice(LAYOUTS), default=LAYOUTS[0])
@click.option("--dtype", type=click.Choice(DTYPES), default="float32")
@click.option("--precision", type=click.Choice(PRECISIONS), default=PRECISIONS[0], help="Of factors of float32.")
@click.option("--tolerance", type=float, help="The largest error bound to choose; the configuration's by default.")
@device_option
@click.option("--json", "as_json", is_flag=True, help="JSON instead of text.")
def explain(
    problem: str | None,
    input_shape: str | None,
    weight_shape: str | None,
    tolerance: float | None,
    device: int | None,
    as_json: bool,
    **arguments: str | int | bool,
) -> None:
    """Show a problem's arithmetic, and which algorithm would run and why.

    Give either a PROBLEM, such as conv2d,n1,c64,56x56,k64,3x3,p1,float32 or
    max_pool2d,n1,c64,112x112,3x3,s2,p1,float32, or --input and --weight of a convolution.
    """
    if problem is not None and input_shape is None and weight_shape is None:
        parsed: Problem = as_problem(problem)
    elif problem is None and input_shape is not None and weight_shape is not None:
        parsed = _from_options(input_shape, weight_shape, arguments)
    else:
        raise click.UsageError("give either a PROBLEM, or both --input and --weight")
    try:
        explanation = fastconv.explain(parsed, tolerance, device=device)
    except (ValueError, UnavailableError) as error:
        raise click.UsageError(str(error)) from None
    if isinstance(parsed, PoolProblem):
        click.echo(as_text(explanation.as_dict()) if as_json else _of_pooling(parsed))
        if not as_json:
            click.echo(str(explanation))
        return
    if as_json:
        report = {**explanation.as_dict(), "arithmetic": _arithmetic(parsed)}
        click.echo(as_text(report))
        return
    for line in _picture(parsed):
        click.echo(line)
    click.echo()
    click.echo(str(explanation))


def _of_pooling(problem: PoolProblem) -> str:
    """Return the lines that show what a pooling reads and writes."""
    width = problem.itemsize
    shapes = {"input": problem.input_shape, "output": problem.output_shape}
    lines = [
        f"{name:8}{' × '.join(map(str, shape)):30}{_bytes(width * math.prod(shape))}" for name, shape in shapes.items()
    ]
    return "\n".join([str(problem), "", *lines, "", f"elements of windows  {problem.operations:,}", ""])


def _from_options(
    input_shape: str, weight_shape: str, arguments: Mapping[str, str | int | bool]
) -> ConvProblem:
    values: dict[str, object] = dict(arguments)
    try:
        for name in ("stride", "dilation"):
            values[name] = _one_or_more(str(values[name]))
        if values["padding"] not in ("valid", "same", "same_lower"):
            values["padding"] = _one_or_more(str(values["padding"]))
        dtype = values.pop("dtype")
        shapes = _ints(input_shape), _ints(weight_shape)
        return ConvProblem.from_shapes(*shapes, dtype, **values)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise click.UsageError(str(error)) from None


def _ints(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(","))


def _one_or_more(text: str) -> object:
    """Return ``2`` as an int, ``2,1`` as ints an axis, ``0:1,2:2`` as pairs an axis."""
    parts = [_ints(part.replace(":", ",")) for part in text.split(",")]
    if any(len(part) > 1 for part in parts):
        return tuple(parts)
    return parts[0][0] if len(parts) == 1 else tuple(part[0] for part in parts)


def _arithmetic(problem: ConvProblem) -> dict[str, object]:
    """Return the counts that the picture shows."""
    width = problem.itemsize
    shapes = {
        "input": problem.input_shape,
        "weight": problem.weight_shape,
        "output": problem.output_shape,
    }
    sizes = {name: width * math.prod(shape) for name, shape in shapes.items()}
    total = sum(sizes.values())
    return {
        **{f"{name}_shape": list(shape) for name, shape in shapes.items()},
        **{f"{name}_bytes": size for name, size in sizes.items()},
        "parameters": problem.parameters,
        "multiply_adds": problem.multiply_adds,
        "operations_a_byte": 2 * problem.multiply_adds / total if total else 0.0,
        "receptive_field": list(problem.receptive_field),
    }


def _picture(problem: ConvProblem) -> Iterator[str]:
    """Yield the lines that show where every number of the arithmetic comes from."""
    counts = _arithmetic(problem)
    yield str(problem)
    yield ""
    for name in ("input", "weight", "output"):
        shape = getattr(problem, f"{name}_shape")
        yield f"{name:8}{' × '.join(map(str, shape)):30}{_bytes(counts[f'{name}_bytes'])}"
    yield ""
    yield "output size = floor((W + before + after - D * (F - 1) - 1) / S) + 1"
    for axis in range(problem.rank):
        yield from _axis_picture(problem, axis)
    products = problem.channels // problem.groups * math.prod(problem.kernel)
    elements = math.prod(problem.output_shape)
    kernel = " × ".join(map(str, problem.kernel))
    group = f" / {problem.groups} groups" if problem.groups > 1 else ""
    yield ""
    yield f"an output element   {problem.channels} channels{group} × {kernel} = {products} products"
    yield (
        f"multiply-adds       {elements:,} × {products} = {problem.multiply_adds:,} "
        f"({2e-9 * problem.multiply_adds:.3g} GFLOP)"
    )
    yield f"receptive field     {' × '.join(map(str, problem.receptive_field))}"
    yield (
        f"intensity           {counts['operations_a_byte']:.3g} operations for each byte of input, "
        "weight and output"
    )


def _axis_picture(problem: ConvProblem, axis: int, columns: int = 48) -> Iterator[str]:
    """Yield one axis: the formula with its numbers, and its first two windows under the padded row.

    A dot is padding, a box an input element, a caret what the window reads.
    """
    size, kernel = problem.size[axis], problem.kernel[axis]
    stride, dilation = problem.stride[axis], problem.dilation[axis]
    before, after = problem.padding[axis]
    yield (
        f"  axis {axis}: floor(({size} + {before} + {after} - {dilation} * ({kernel} - 1) - 1) / "
        f"{stride}) + 1 = {problem.output_size[axis]}"
    )
    row = "·" * before + "□" * size + "·" * after
    window = (" " * (dilation - 1)).join("^" * kernel)
    if stride + len(window) > columns:
        return
    yield f"          {row if len(row) <= columns else row[:columns] + '…'}"
    yield f"          {window}"
    if problem.output_size[axis] > 1:
        yield f"          {' ' * stride}{window}"


def _bytes(count: object) -> str:
    """Return a number of bytes in the unit that suits it."""
    value, unit = float(str(count)), "B"
    for larger in ("KiB", "MiB", "GiB", "TiB"):
        if value < 1024:
            break
        value, unit = value / 1024, larger
    return f"{value:.4g} {unit}"

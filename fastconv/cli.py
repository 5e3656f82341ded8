"""The command line: ``fastconv bench``, ``fastconv explain``, ``fastconv info``."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime

try:
    import click
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
except ImportError as error:
    sys.stderr.write(f"The command line needs {error.name}: pip install 'fastconv[cli]'\n")
    raise SystemExit(2) from None

import numpy as np

import fastconv
from fastconv.bench import run, table, timing
from fastconv.bench.machine import describe
from fastconv.bench.networks import NETWORKS, Layer, layers
from fastconv.bench.summary import Summary, summarise
from fastconv.problem import DTYPES, LAYOUTS, PADDING_MODES, ConvProblem

__all__ = ["main"]

FILE_COLUMNS = 160  # a table that goes to a file or a pipe has no terminal's width to fit into
EXAMPLE = "conv2d,n1,c64,56x56,k64,3x3,p1,float32"


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="fastconv")
def main() -> None:
    """Fast convolution and pooling for NumPy arrays."""


# --------------------------------------------------------------------------------------- bench


@dataclasses.dataclass(frozen=True)
class Suite:
    """Layers that share a table."""

    name: str
    source: str
    layers: tuple[Layer, ...]


@main.command()
@click.argument("targets", nargs=-1, metavar="[SUITE|PROBLEM]...")
@click.option("--peers", is_flag=True, help="Add the other libraries that are installed.")
@click.option("--threads", type=click.IntRange(min=1), help="For fastconv and for every peer.")
@click.option("--batch", type=click.IntRange(min=1), default=1, help="Images a call, in suites.")
@click.option("--layout", type=click.Choice(LAYOUTS), default=LAYOUTS[0], help="In suites.")
@click.option("--dtype", type=click.Choice(DTYPES), default="float32", help="In suites.")
@click.option("--algorithm", "names", multiple=True, help="Only this one; may be repeated.")
@click.option(
    "--seconds",
    type=click.FloatRange(min=0),
    default=0.5,
    show_default=True,
    help="Time for one layer, all contenders together.",
)
@click.option(
    "--json",
    "json_path",
    type=click.Path(dir_okay=False, allow_dash=True),
    help="Results to a file; - is stdout.",
)
@click.pass_context
def bench(
    context: click.Context,
    targets: tuple[str, ...],
    peers: bool,
    threads: int | None,
    batch: int,
    layout: str,
    dtype: str,
    names: tuple[str, ...],
    seconds: float,
    json_path: str | None,
) -> None:
    """Check every algorithm against the reference and time them side by side.

    A SUITE is a network's layers (resnet50, the default, vgg16, mobilenet_v2); a PROBLEM is one
    layer as text, such as conv2d,n1,c64,56x56,k64,3x3,p1,float32.

    The table gives the minimum of the rounds in milliseconds, the algorithm that is picked, and
    its time divided by the best one's. Exit code 1 if any result is wrong.
    """
    suites = _suites(targets or ("resnet50",), batch, dtype, layout)
    _check_algorithms(names)
    if threads is not None:
        fastconv.set_num_threads(threads)
    json_file = None
    if json_path is not None:  # opened now: nobody should wait to learn that it cannot be written
        try:
            json_file = context.with_resource(click.open_file(json_path, "w", encoding="utf-8"))
        except OSError as error:
            raise click.FileError(json_path, hint=error.strerror or str(error)) from None
    settings = run.Settings(names or None, peers, seconds)
    settings, results = _measure(suites, settings)
    summaries = [summarise(rows) for rows in results]

    console = _console(stderr=json_path == "-")
    for suite, rows, summary in zip(suites, results, summaries, strict=True):
        console.print(table.heading(suite.name, rows), highlight=False)
        layer_table = table.layer_table(rows)
        # a terminal that is too narrow breaks lines, which is better than figures without ends
        narrowest = console.measure(layer_table, options=console.options.update(width=1000)).minimum
        console.width = max(console.width, narrowest)
        console.print(layer_table)
        console.print()
        for line in table.notes(rows, summary):
            console.print(line, markup=False, highlight=False)
        console.print()
    if json_file is not None:
        click.echo(_json(_report(suites, settings, results, summaries)), file=json_file)
    context.exit(1 if any(summary.wrong for summary in summaries) else 0)


def _suites(targets: Iterable[str], batch: int, dtype: str, layout: str) -> list[Suite]:
    """Return the suites named, and one more with the problems that were written out."""
    suites: list[Suite] = []
    problems: list[Layer] = []
    for target in targets:
        if target in NETWORKS:
            rows = layers(target, batch, dtype, layout)
            suites.append(Suite(target, NETWORKS[target].source, rows))
        elif target.startswith("conv"):
            problems.append(Layer(f"problem {len(problems) + 1}", _parse(target)))
        else:
            raise click.UsageError(
                f"{target!r} is neither a suite ({', '.join(NETWORKS)}) nor a problem such as "
                f"{EXAMPLE}"
            )
    if problems:
        suites.append(Suite("problems", "the command line", tuple(problems)))
    return suites


def _parse(text: str) -> ConvProblem:
    try:
        problem = ConvProblem.parse(text)
    except (TypeError, ValueError) as error:
        raise click.UsageError(str(error)) from None
    if problem.direction != "forward":
        raise click.UsageError(f"only forward convolutions can be run, got {text!r}")
    return problem


def _check_algorithms(names: Iterable[str]) -> None:
    known = fastconv.algorithms()
    for name in names:
        if name not in known:
            raise click.UsageError(f"--algorithm must be one of {', '.join(known)}, got {name!r}")


def _measure(
    suites: Sequence[Suite], settings: run.Settings
) -> tuple[run.Settings, list[list[run.LayerResult]]]:
    """Measure the peak and then every layer, with a progress bar on stderr."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    dtypes = {layer.problem.dtype for suite in suites for layer in suite.layers}
    with Progress(*columns, console=_console(stderr=True), transient=True) as progress:
        task = progress.add_task("peak", total=sum(len(suite.layers) for suite in suites))
        threads = fastconv.get_num_threads()
        peaks = {
            dtype: timing.fma_peak(dtype, threads)
            for dtype in sorted(dtypes & {"float32", "float64"})
        }
        settings = dataclasses.replace(settings, peaks=peaks)
        results: list[list[run.LayerResult]] = []
        for suite in suites:
            results.append([])
            for layer in suite.layers:
                progress.update(task, description=f"{suite.name} {layer.name}")
                results[-1].append(run.measure_layer(layer, settings))
                progress.advance(task)
    return settings, results


def _report(
    suites: Sequence[Suite],
    settings: run.Settings,
    results: Sequence[Sequence[run.LayerResult]],
    summaries: Sequence[Summary],
) -> dict[str, object]:
    """Return everything that was found, ready for JSON; times are in milliseconds."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": describe(),
        "settings": dataclasses.asdict(settings),
        "suites": [
            {
                "name": suite.name,
                "source": suite.source,
                "layers": [dataclasses.asdict(result) for result in rows],
                "summary": dataclasses.asdict(summary),
            }
            for suite, rows, summary in zip(suites, results, summaries, strict=True)
        ],
    }


# ------------------------------------------------------------------------------------- explain


@main.command()
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
@click.option("--json", "as_json", is_flag=True, help="JSON instead of text.")
def explain(
    problem: str | None,
    input_shape: str | None,
    weight_shape: str | None,
    as_json: bool,
    **arguments: str | int | bool,
) -> None:
    """Show a convolution's arithmetic, and which algorithm would run and why.

    Give either a PROBLEM, such as conv2d,n1,c64,56x56,k64,3x3,p1,float32, or --input and --weight.
    """
    if problem is not None and input_shape is None and weight_shape is None:
        parsed = _parse(problem)
    elif problem is None and input_shape is not None and weight_shape is not None:
        parsed = _from_options(input_shape, weight_shape, arguments)
    else:
        raise click.UsageError("give either a PROBLEM, or both --input and --weight")
    explanation = fastconv.explain(parsed)
    if as_json:
        report = {**explanation.as_dict(), "arithmetic": _arithmetic(parsed)}
        click.echo(_json(report))
        return
    for line in _picture(parsed):
        click.echo(line)
    click.echo()
    click.echo(str(explanation))


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
    width = np.dtype(problem.dtype).itemsize
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


# ---------------------------------------------------------------------------------------- info


@main.command()
@click.option("--json", "as_json", is_flag=True, help="JSON instead of text.")
def info(as_json: bool) -> None:
    """Show versions, processor, threads, cache directory and GPU."""
    found = describe()
    if as_json:
        click.echo(_json(found))
        return
    for name, value in found.items():
        _echo_value(name.replace("_", " "), value, indent=0)


def _echo_value(name: str, value: object, indent: int) -> None:
    label = " " * indent + name
    if not isinstance(value, dict):
        click.echo(f"{label:28}{'none' if value is None else value}")
        return
    click.echo(label if value else f"{label:28}none")
    for key, entry in value.items():
        _echo_value(key.replace("_", " "), entry, indent + 2)


# -------------------------------------------------------------------------------------- output


def _console(*, stderr: bool = False) -> Console:
    """Return a console that is as wide as its terminal, or as a file allows."""
    console = Console(stderr=stderr)
    return console if console.is_terminal else Console(stderr=stderr, width=FILE_COLUMNS)


def _json(value: object) -> str:
    return json.dumps(value, indent=2, allow_nan=False)

"""Results as text: the table of a suite and the lines under it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

try:
    from rich.table import Table
    from rich.text import Text
except ImportError:  # the benchmark of devices is to run where nothing can be installed
    from fastconv.bench.plain import Table, Text  # type: ignore[assignment]

from fastconv.bench.results import AUTO, REFERENCE, LayerResult, Outcome, SuiteResult
from fastconv.bench.summary import Mean, Summary, by_kind, summarise

__all__ = ["NOT_RUN", "WRONG", "heading", "kind_table", "layer_table", "notes", "ratio_text"]

NOT_RUN = "–"
WRONG = "WRONG"
DIGITS = 5  # of a number, with its point
_NUMBER = re.compile(r"\d+")


def heading(suite: SuiteResult) -> str:
    """Return the line above a suite's table, with what its rows leave out of their problems."""
    tokens = _tokens(suite.layers)
    before, after = _common_ends(tokens)
    shared = ",".join((*tokens[0][:before], "…", *tokens[0][len(tokens[0]) - after :]))
    problem = "" if before == after == 0 else f", problems {shared}"
    return f"{suite.name}, {', '.join(suite.configuration)}: minimum of the rounds in milliseconds{problem}"


def layer_table(results: Sequence[LayerResult]) -> Table:
    """Return one row a layer: milliseconds of every contender, the pick, how far it is off, the best peer's ratio."""
    tokens = _tokens(results)
    before, after = _common_ends(tokens)
    names = _names_shown(results)
    with_peers = any(result.ratio is not None for result in results)
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    widest = max(len(result.layer) for result in results)
    table.add_column("layer", no_wrap=True, min_width=widest)  # rich would count a word alone
    cells = [own[before : len(own) - after] for own in tokens]
    longest = max(len(token) for cell in (["problem"], *cells) for token in cell)
    table.add_column("problem", min_width=longest)  # a narrow terminal breaks between tokens
    for name in ("GFLOP", *names):
        header = name.replace(" ", "\n").replace("_", "\n")
        table.add_column(header, justify="right", overflow="fold", min_width=DIGITS)
        if name == AUTO:
            table.add_column("auto\nmedian", justify="right", no_wrap=True, min_width=len("median"))
    table.add_column("pick", no_wrap=True)
    table.add_column("pick\n/ best", justify="right", no_wrap=True, min_width=len("/ best"))
    if with_peers:
        table.add_column("peer\n/ auto", justify="right", no_wrap=True, min_width=len("/ auto"))
    for result, cell in zip(results, cells, strict=True):
        table.add_row(
            result.layer,
            " ".join(cell),
            _number(1e-9 * result.operations),
            *_times(result, names),
            result.picked,
            ratio_text(result.regret),
            *((ratio_text(result.ratio),) if with_peers else ()),
        )
    return table


def kind_table(results: Sequence[tuple[str, LayerResult]]) -> Table:
    """Return one row a class of problem: the geometric mean of best peer / auto, the worst, the losses.

    Parameters
    ----------
    results : sequence of (str, LayerResult)
        Layers, and what to call them.
    """
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("best peer / auto by class", no_wrap=True)
    for name in ("layers", "geometric\nmean", "worst"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("where", no_wrap=True)
    table.add_column("losses", justify="right", no_wrap=True)
    for kind, mean in by_kind(results).items():
        row = (str(len(mean.layers)), f"{mean.geometric_mean:.2f}", f"{mean.worst:.2f}", mean.worst_layer)
        table.add_row(kind, *row, str(len(mean.below_one)))
    return table


def _names_shown(results: Sequence[LayerResult]) -> list[str]:
    """Return the contenders that have something to show in some row, in their order."""
    names = dict.fromkeys(one.name for result in results for one in result.outcomes)
    shown = {
        one.name
        for result in results
        for one in result.outcomes
        if one.failure is not None or one.minimum_ms is not None
    }
    return [name for name in names if name in shown]


def _times(result: LayerResult, names: Sequence[str]) -> Iterator[Text]:
    """Yield the milliseconds of each contender, after those of ``auto`` its median."""
    outcomes = {one.name: one for one in result.outcomes}
    for name in names:
        one = outcomes.get(name)
        yield Text(NOT_RUN, style="dim") if one is None else _milliseconds(one)
        if name == AUTO:
            median = None if one is None else one.median_ms
            yield Text(NOT_RUN if median is None else _number(median), style="dim")


def ratio_text(value: float | None) -> str:
    """Return a ratio as tables show it."""
    return NOT_RUN if value is None else f"{value:.2f}"


def _tokens(results: Sequence[LayerResult]) -> list[list[str]]:
    return [result.problem.split(",") for result in results]


def _common_ends(rows: Sequence[Sequence[str]]) -> tuple[int, int]:
    """Return how many tokens all rows share at their beginning, and at their end."""
    if len(rows) == 1:
        return 0, 0
    before = _shared(rows)
    return before, _shared([row[before:][::-1] for row in rows])


def _shared(rows: Sequence[Sequence[str]]) -> int:
    count = 0
    for tokens in zip(*rows, strict=False):
        if len(set(tokens)) > 1:
            break
        count += 1
    return count


def _milliseconds(outcome: Outcome) -> Text:
    if outcome.failure is not None:
        return Text(WRONG, style="bold red")
    if outcome.minimum_ms is None:
        return Text(NOT_RUN, style="dim")
    return Text(_number(outcome.minimum_ms))


def _number(value: float) -> str:
    """Return a number in five characters at most below 100 000: 0.012, 1.23, 12.3, 123."""
    decimals = 3 if value < 0.9995 else 2 if value < 9.995 else 1 if value < 99.95 else 0
    return f"{value:.{decimals}f}"


def notes(suite: SuiteResult) -> Iterator[str]:
    """Yield the lines under a table: what was wrong or not run, means, the worst, losses."""
    results = suite.layers
    summary = summarise(results)
    compared = [one for result in results for one in result.outcomes if one.skipped is None and one.name != REFERENCE]
    wrong = f"{summary.wrong} {WRONG}" if summary.wrong else "all within their limits"
    yield f"{len(compared)} result{'s' * (len(compared) != 1)} compared with the reference: {wrong}"
    for result in results:
        for outcome in result.failures:
            yield f"{WRONG}: {outcome.name} on {result.layer} ({result.problem}): {outcome.failure}"
    yield from _reasons(results)
    if summary.first_ms:
        totals = ", ".join(f"{name} {_number(total / 1e3)} s" for name, total in summary.first_ms.items())
        yield f"first calls, compiling included, in none of the figures above: {totals}"
    if summary.regret is not None:
        yield f"pick / best: {_mean(summary.regret)}"
    if summary.share_of_peak is not None:
        yield f"auto / peak of multiply-adds, {suite.peak_gflops or 0:.0f} GFLOP/s: {_mean(summary.share_of_peak)}"
    yield from _peer_notes(summary)


def _peer_notes(summary: Summary) -> Iterator[str]:
    best = {} if summary.best_peer is None else {"best peer": summary.best_peer}
    for peer, mean in {**summary.peers, **best}.items():
        yield f"{peer} / auto: {_mean(mean)}"
        if losses := mean.below_one:
            named = ", ".join(f"{layer} {ratio:.2f}" for layer, ratio in losses.items())
            yield f"  slower than {peer} on {len(losses)} of {len(mean.layers)}: {named}"
    if summary.packed is not None:
        yield f"best peer / packed: {_mean(summary.packed)}"


def _mean(mean: Mean) -> str:
    return (
        f"geometric mean {mean.geometric_mean:.2f}, worst {mean.worst:.2f} ({mean.worst_layer}), "
        f"{len(mean.layers)} layer{'' if len(mean.layers) == 1 else 's'}"
    )


def _reasons(results: Sequence[LayerResult]) -> Iterator[str]:
    """Yield why contenders were not run, a reason once, with the number of layers it held for.

    Reasons that differ in numbers, or in the problems that a gradient is made of, are one; the first of them stands.
    """
    first: dict[tuple[str, str], str] = {}
    layers: Counter[tuple[str, str]] = Counter()
    for result in results:
        for outcome in result.outcomes:
            if outcome.skipped is not None:
                reason, *_ = outcome.skipped.split(", in ")
                kind = outcome.name, _NUMBER.sub("", reason)
                layers[kind] += 1
                first.setdefault(kind, reason)
    for kind, reason in first.items():
        name, count = kind[0], layers[kind]
        where = "" if count == len(results) else f" ({count} of {len(results)} layers)"
        yield f"{NOT_RUN} {name}: {reason}{where}"

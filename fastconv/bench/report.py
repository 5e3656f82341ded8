"""The page of results and the README's table, both written from a report and never by hand.

What is typed here is how figures are taken and why some are bad; every number comes from the report.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath

from fastconv.bench.kinds import KINDS
from fastconv.bench.results import AUTO, LayerResult, Report, SuiteResult, threads_in_words
from fastconv.bench.suites import SUITES
from fastconv.bench.summary import Mean, by_kind, summarise

__all__ = ["BEGIN", "END", "REASONS", "page", "readme_table", "with_table"]

BEGIN, END = "<!-- results: written by `fastconv report` -->", "<!-- results: end -->"
WORST_LOSSES = 20  # named on the page, over all suites
NONE = "–"

# Why a class of problems loses, as far as measurements tell; shown only where it does.
REASONS: Mapping[str, str] = {
    "3x3": (
        "At 7 x 7 an eighth of the lanes stays empty, and at 14 x 14 and below the weights are most of the data; "
        "ONNX Runtime has packed them with filters in the lanes before the clock starts. Above, packing the input "
        "and adding up partial sums take 5 to 10 %."
    ),
    "1x1": (
        "The input is packed for as many multiply-adds as there are filters: with 16 to 64 of them that takes a "
        "tenth of the time (to read it where it lies takes as long), and at 7 x 7 the last of 49 pixels takes a "
        "vector of its own. The others are at 0.8 to 0.9 of the peak, ONNX Runtime with weights that it packed before "
        "the clock starts."
    ),
    "strided": (
        "Each phase of the stride is packed for itself, and each has a window of its own in the first level cache."
    ),
    "few channels": (
        "With three channels a tile ends after some thirty steps, a fifth of its time; 3x3 layers at high "
        "resolution wait for memory."
    ),
    "depthwise": (
        "With stride 2 every vector is picked from two loads, and a plane of 14 x 14 and less is done before the "
        "loops around it have paid for themselves."
    ),
    "grouped": (
        "With 32 filters a group, packing a strided input takes a quarter of the time; at 7 x 7 lanes stay empty."
    ),
    "dilated": "Areas of the output that see few taps have short rows, and each packs its weights.",
    "large kernel": (
        "Planes of 14 x 14 and less are hardly larger than the window: most of a transform is spent on padding, and "
        "most products of the sum are left out."
    ),
    "image filter": "3x3 and 5x5 filters of large images wait for memory; the smallest images are all call.",
    "max pooling": "The smallest inputs take as long as the call, some microseconds in Python.",
    "average pooling": "The smallest inputs take as long as the call, some microseconds in Python.",
    "1xN and Nx1": (
        "The rows that a kernel of 7x1 has in the padding are computed (one in ten at 17 x 17), which ONNX Runtime "
        "leaves out."
    ),
    "other kernel": "As for 3x3 at small planes; the smallest layers are mostly the call.",
    "1-D": "A signal with a single filter of few taps fills one row of a register tile.",
    "3-D": "Small volumes have short rows, which leave lanes of the vectors empty.",
}


def page(report: Report, pictures: Mapping[str, str]) -> str:
    """Return the page of results as Markdown.

    Parameters
    ----------
    report : Report
        What was measured.
    pictures : mapping of str to str
        Paths of the PNG files relative to the page, by the names that :func:`fastconv.bench.pictures.draw` gives them.
    """
    sections = (
        _opening(report),
        _wrong(report),
        _overview(report, pictures),
        _classes(report),
        _losses(report),
        _choices(report, pictures),
        _kernel_sizes(pictures),
        _cold_starts(report),
        _suites(report, pictures),
    )
    return "\n".join(line for section in sections for line in section).rstrip() + "\n"


def readme_table(report: Report, link: str) -> str:
    """Return the README's short table, with who, what and how around it.

    Parameters
    ----------
    report : Report
        What was measured.
    link : str
        Path of the page of results.
    """
    ways = _ways(report)
    wide = "".join(f" {_way(way)} | worst |" for way in ways)
    first = _way(ways[0]) if ways else NONE
    lines = [
        f"Time of the fastest other library on each layer / time of fastconv, {report.date[:10]}, {_machine(report)}.",
        "Geometric means over distinct layers: above 1, fastconv is faster. Bold is a loss.",
        "",
        f"| layers of | |{wide} slower on | packed, {first} |",
        f"|---|---:|{'---:|---:|' * len(ways)}---:|---:|",
    ]
    for name, suites in _by_name(report).items():
        cells = [name, str(len(suites[0].layers))]
        for way in ways:
            suite = next((one for one in suites if (one.batch, one.threads) == way), None)
            mean = None if suite is None else summarise(suite.layers).best_peer
            cells += [NONE, NONE] if mean is None else [_bold(mean.geometric_mean), _bold(mean.worst)]
        ratios = [layer.ratio for suite in suites for layer in suite.layers if layer.ratio is not None]
        cells.append(f"{sum(ratio < 1 for ratio in ratios)} of {len(ratios)}" if ratios else "not there yet")
        cells.append(_packed(suites[0]))
        lines.append(f"| {' | '.join(cells)} |")
    named = _named(report)
    worst = sorted((mean.geometric_mean, kind) for kind, mean in by_kind(named).items())
    losing = ", ".join(f"{kind} ({ratio:.2f})" for ratio, kind in worst if _is_loss(ratio))
    others = ", ".join(f"{name} {version}" for name, version in _versions(report, "peers").items())
    lines += [
        "",
        f"Against {others}. Each layer was checked against the reference and then timed in one process, all",
        "libraries in turns with the same number of threads, on the minimum of the rounds; weights are plain arrays,",
        "packed by fastconv within each call; in the last column a layer (`fastconv.Conv2d`) packed them before.",
        f"Where we lose, by class of problem: {losing or 'nowhere in the mean'}.",
        f"[{PurePosixPath(link).name}]({link}) has every layer, the pictures, and why.",
    ]
    return "\n".join(lines)


def with_table(text: str, table: str) -> str:
    r"""Return a README's text with the table between its two marks exchanged.

    Raises
    ------
    ValueError
        If the text does not have both marks once, in order.

    Examples
    --------
    >>> with_table(f"a {BEGIN}old{END} z", "new") == f"a {BEGIN}\n\nnew\n\n{END} z"
    True
    """
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise ValueError(f"text must have {BEGIN} and then {END}, once each")
    before, after = text.split(BEGIN)[0], text.split(END)[1]
    return f"{before}{BEGIN}\n\n{table}\n\n{END}{after}"


# ------------------------------------------------------------------------------------ sections


def _opening(report: Report) -> Iterator[str]:
    yield "# Results"
    yield ""
    yield f"Written by `{report.command}` on {report.date[:10]}; no figure here was typed."
    yield ""
    yield f"- Machine: {_machine(report)}; {report.machine.get('system', '')}"
    for what in ("versions", "peers"):
        named = ", ".join(f"{name} {version}" for name, version in _versions(report, what).items())
        yield f"- {'Software' if what == 'versions' else 'Other libraries'}: {named or 'none'}"
    peaks = {(suite.threads, suite.peak_gflops, suite.copy_gigabytes) for suite in report.suites}
    for threads, peak, copied in sorted(peaks, key=str):
        yield (
            f"- {threads_in_words(threads)}: {peak or 0:.0f} GFLOP/s of multiply-adds on registers, "
            f"{copied or 0:.1f} GB/s read and written by a copy, both measured in the same run"
        )
    yield ""
    yield (
        "Every contender's result was compared with the reference before it was timed. All contenders of a layer run "
        "in one process, in turns, each with the same number of threads; a figure is the minimum of its rounds. "
        "[README.md](README.md) says what is in a figure. A ratio is the time of the fastest other library, in "
        "whichever layout it likes best, divided by that of `fastconv` on arrays as NumPy has them, with plain "
        "weights: **above 1 fastconv is faster**. `packed` is the same with a layer (`fastconv.Conv2d`) that packed "
        "the weights before. Absolute times of different runs should not be compared."
    )
    yield ""


def _wrong(report: Report) -> Iterator[str]:
    wrong = [(name, layer, one) for name, layer in _named(report) for one in layer.failures]
    if wrong:
        yield "## Wrong results"
        yield ""
        for name, layer, one in wrong:
            yield f"- {one.name} on {name}, `{layer.problem}`: {one.failure}"
        yield ""


def _overview(report: Report, pictures: Mapping[str, str]) -> Iterator[str]:
    yield "## Suites"
    yield ""
    yield (
        "| suite | batch | threads | layers | geometric mean | worst | on | slower on | packed | share of peak "
        "| pick / best |"
    )
    yield "|---|---:|---:|---:|---:|---:|---|---:|---:|---:|---:|"
    for suite in report.suites:
        found = summarise(suite.layers)
        mean = found.best_peer
        cells = [suite.name, str(suite.batch), str(suite.threads), str(len(suite.layers))]
        cells += (
            [NONE] * 4
            if mean is None
            else [
                _bold(mean.geometric_mean),
                _bold(mean.worst),
                mean.worst_layer,
                f"{len(mean.below_one)} of {len(mean.layers)}",
            ]
        )
        cells.append(_packed(suite))
        share = found.share_of_peak
        cells.append(NONE if share is None else f"{share.geometric_mean:.0%}")
        cells.append(NONE if found.regret is None else f"{found.regret.geometric_mean:.2f}")
        yield f"| {' | '.join(cells)} |"
    yield ""
    for name, caption in (
        ("overview", "Every layer of every suite: best other library / fastconv"),
        ("roofline", "Rates against the operations that a layer has for each byte it must touch"),
    ):
        yield from _picture(pictures, name, caption)


def _classes(report: Report) -> Iterator[str]:
    yield "## Classes of problem"
    yield ""
    yield (
        "All batches and numbers of threads; then single images on one thread, and of these what `direct` and "
        "`depthwise` make of them, without a transform."
    )
    yield ""
    yield "| class | layers | geometric mean | worst | on | slower on | 1 thread | worst | direct, 1 thread | worst |"
    yield "|---|---:|---:|---:|---|---:|---:|---:|---:|---:|"
    single = _named(report, lambda suite: suite.threads == suite.batch == 1)
    alone, direct = by_kind(single), by_kind(single, lambda layer: layer.direct_ratio)
    for kind, mean in by_kind(_named(report)).items():
        losses = f"{len(mean.below_one)} of {len(mean.layers)}"
        cells = [kind, str(len(mean.layers)), *_two(mean), mean.worst_layer, losses]
        cells += [*_two(alone.get(kind)), *_two(direct.get(kind))]
        yield f"| {' | '.join(cells)} |"
    yield ""


def _two(mean: Mean | None) -> tuple[str, str]:
    return (NONE, NONE) if mean is None else (_bold(mean.geometric_mean), _bold(mean.worst))


def _losses(report: Report) -> Iterator[str]:
    """Yield why each class loses, and the worst of all layers by name."""
    yield "## Where we lose, and why"
    yield ""
    named = _named(report)
    for kind, mean in by_kind(named).items():
        if losses := mean.below_one:
            count = f"slower on {len(losses)} of {len(mean.layers)}, geometric mean of those {_mean_of(losses):.2f}"
            yield f"- **{kind}** ({count}). {REASONS.get(kind, 'Not looked into yet.')}"
    missing = {layer.kind: layer[AUTO].skipped for _, layer in named if layer[AUTO].skipped}
    for kind in (kind for kind in KINDS if kind in missing):
        yield f"- **{kind}**: {missing[kind]}; the other libraries' times are below all the same."
    lost = sorted((layer.ratio, name, layer) for name, layer in named if layer.ratio is not None and layer.ratio < 1)
    if not lost:
        return
    yield ""
    yield f"The worst {min(len(lost), WORST_LOSSES)} of {len(lost)} losses among {len(named)} measurements:"
    yield ""
    yield "| layer | problem | fastconv ms | best other | ms | ratio |"
    yield "|---|---|---:|---|---:|---:|"
    for ratio, name, layer in lost[:WORST_LOSSES]:
        yield f"| {name} | `{layer.problem}` | {_number(layer.milliseconds)} | {_theirs(layer)} | {ratio:.2f} |"
    yield ""


def _choices(report: Report, pictures: Mapping[str, str]) -> Iterator[str]:
    named = {name: layer.regret for name, layer in _named(report)}
    if (mean := Mean.of(named, high_is_bad=True)) is None:
        return
    yield "## The dispatcher's regret"
    yield ""
    yield (
        f"Time of the algorithm that `auto` picks / time of the best: geometric mean {mean.geometric_mean:.3f}, worst "
        f"{mean.worst:.2f} ({mean.worst_layer}), over {len(mean.layers)} measurements. A few percent are noise: the "
        "two take their turns apart."
    )
    yield ""
    yield from _picture(pictures, "regret", "Share of layers by how far the pick is from the best")


def _kernel_sizes(pictures: Mapping[str, str]) -> Iterator[str]:
    if "kernels" in pictures:
        yield "## Time by kernel size"
        yield ""
        yield from _picture(pictures, "kernels", "The same problem with growing kernels, and where the fastest changes")


def _cold_starts(report: Report) -> Iterator[str]:
    if not report.cold_starts:
        return
    yield "## Cold starts"
    yield ""
    yield "Fresh processes from start to end, in turns; milliseconds."
    yield ""
    yield "| process | minimum | median | processor time | compiled | loaded |"
    yield "|---|---:|---:|---:|---:|---:|"
    for one in report.cold_starts:
        times = " | ".join(f"{value:.0f}" for value in (one.minimum_ms, one.median_ms, one.processor_ms))
        yield f"| {one.process} | {times} | {one.compiled} | {one.loaded} |"
    yield ""
    if report.compile_ms:
        yield "What is compiled on the first call of all, with an empty cache:"
        yield ""
        yield "| function | milliseconds |"
        yield "|---|---:|"
        for name, milliseconds in sorted(report.compile_ms.items(), key=lambda item: -item[1]):
            yield f"| `{name}` | {milliseconds:.0f} |"
        yield ""


def _suites(report: Report, pictures: Mapping[str, str]) -> Iterator[str]:
    yield "## Every layer"
    yield ""
    for name, suites in _by_name(report).items():
        yield f"### {SUITES[name].title if name in SUITES else name}"
        yield ""
        yield f"{suites[0].source[:1].upper()}{suites[0].source[1:]}."
        yield ""
        yield from _picture(pictures, f"ratios-{name}", f"{name}: best other library / fastconv")
        for suite in suites:
            yield f"<details><summary>{', '.join(suite.configuration)}</summary>"
            yield ""
            yield "| layer | problem | operations | fastconv ms | packed ms | by | of peak | best other | ms | ratio |"
            yield "|---|---|---:|---:|---:|---|---:|---|---:|---:|"
            for layer in suite.layers:
                share = layer[AUTO].share_of_peak
                cells = [
                    layer.layer,
                    f"`{layer.problem}`",
                    _count(layer.operations),
                    _number(layer.milliseconds),
                    _number(layer.packed_milliseconds),
                    layer.picked,
                    NONE if share is None else f"{share:.0%}",
                    _theirs(layer),
                    NONE if layer.ratio is None else _bold(layer.ratio),
                ]
                yield f"| {' | '.join(cells)} |"
            yield ""
            yield "</details>"
            yield ""


# -------------------------------------------------------------------------------------- pieces


def _picture(pictures: Mapping[str, str], name: str, caption: str) -> Iterator[str]:
    if name in pictures:
        yield f"![{caption}]({pictures[name]})"
        yield ""


def _count(number: int) -> str:
    """Return a number with three digits and its thousands as a letter: 118 M."""
    value, letter = float(number), ""
    for larger in ("k", "M", "G", "T"):
        if value < 999.5:
            break
        value, letter = value / 1000, f" {larger}"
    return f"{value:.3g}{letter}"


def _number(milliseconds: float | None) -> str:
    return NONE if milliseconds is None else f"{milliseconds:.3g}"


def _packed(suite: SuiteResult) -> str:
    """Return the geometric mean of best peer / ours with packed weights."""
    mean = summarise(suite.layers).packed
    return NONE if mean is None else _bold(mean.geometric_mean)


def _theirs(layer: LayerResult) -> str:
    """Return two cells: the best peer's name and milliseconds."""
    if layer.best_peer is None:
        return f"{NONE} | {NONE}"
    return f"{layer.best_peer} | {layer.times('peer')[layer.best_peer]:.3g}"


def _bold(ratio: float) -> str:
    return f"**{ratio:.2f}**" if _is_loss(ratio) else f"{ratio:.2f}"


def _is_loss(ratio: float) -> bool:
    """Return whether a ratio is below 1 in the digits that are shown."""
    return round(ratio, 2) < 1


def _mean_of(ratios: Mapping[str, float]) -> float:
    mean = Mean.of(ratios)
    return 0.0 if mean is None else mean.geometric_mean


def _ways(report: Report) -> tuple[tuple[int, int], ...]:
    """Return each (batch, threads) that a suite was measured with, once."""
    return tuple(dict.fromkeys((suite.batch, suite.threads) for suite in report.suites))


def _way(way: tuple[int, int]) -> str:
    batch, threads = way
    return f"batch {batch}, {threads_in_words(threads)}"


def _by_name(report: Report) -> dict[str, list[SuiteResult]]:
    found: dict[str, list[SuiteResult]] = {}
    for suite in report.suites:
        found.setdefault(suite.name, []).append(suite)
    return found


def _named(
    report: Report, wanted: Callable[[SuiteResult], bool] = lambda _: True
) -> Sequence[tuple[str, LayerResult]]:
    """Return the layers of all suites or some, each called by its suite, its name and the way it was measured."""
    return [
        (f"{suite.name} {layer.layer}, {_way((suite.batch, suite.threads))}", layer)
        for suite in report.suites
        if wanted(suite)
        for layer in suite.layers
    ]


def _machine(report: Report) -> str:
    cpu = report.machine.get("cpu")
    if not isinstance(cpu, Mapping):
        return "unknown"
    cores = cpu.get("available_to_process")
    named = f"{cpu['model']} ({cpu.get('name')})" if cpu.get("model") else cpu.get("name")
    return f"{named}, {cores} cores, {cpu.get('vector_bits')}-bit vectors"


def _versions(report: Report, what: str) -> Mapping[str, object]:
    found = report.machine.get(what)
    return found if isinstance(found, Mapping) else {}

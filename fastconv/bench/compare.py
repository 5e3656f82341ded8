"""Two reports side by side: what became faster, what slower, and what only the machine did.

Times of different runs do not compare on a machine that others use too: between two runs all of them drift. The
peers did not change, so what their times changed by is the machine's doing. A ratio is therefore also given with
that of the best peer taken out, and judged by that one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from fastconv.bench.kinds import KINDS
from fastconv.bench.results import AUTO, LayerResult, Report, SuiteResult
from fastconv.bench.summary import Mean
from fastconv.bench.table import NOT_RUN, WRONG, ratio_text

__all__ = ["Change", "Comparison", "compare", "layer_table", "mean_table", "notes", "show"]

NOISE = 0.95  # corrected ratios from this to its inverse say nothing: two runs of one version differ by as much


@dataclass(frozen=True)
class Change:
    """One layer in two reports. Ratios are time before / time after: above 1, it is faster now.

    Parameters
    ----------
    suite : str
        The suite, and how it was measured.
    layer, problem, kind : str
        The layer, as in :class:`~fastconv.bench.results.LayerResult`.
    ratios : dict of str to float
        Of ``auto`` and of each algorithm that has a time in both.
    peers : dict of str to float
        Of each peer that has a time in both.
    best_peer : str, optional
        The fastest of these.
    broken : tuple of str
        Who of fastconv computes a wrong result now, and did not before.
    """

    suite: str
    layer: str
    problem: str
    kind: str
    ratios: dict[str, float]
    peers: dict[str, float]
    best_peer: str | None
    broken: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What to call the layer among those of all suites."""
        return _name(self.suite, self.layer)

    @property
    def corrected(self) -> dict[str, float]:
        """The ratios divided by that of the best peer: without the drift of the machine. Empty without a peer.

        The same is (peer / ours after) / (peer / ours before).
        """
        if self.best_peer is None:
            return {}
        return {name: ratio / self.peers[self.best_peer] for name, ratio in self.ratios.items()}


@dataclass(frozen=True)
class Comparison:
    """What two reports say together.

    Parameters
    ----------
    changes : tuple of Change
        The layers that both have, in the order of the first.
    only_before, only_after : tuple of str
        The layers that one of them has alone.
    differences : tuple of str
        In what the machines, the versions or the settings differ.
    """

    changes: tuple[Change, ...]
    only_before: tuple[str, ...]
    only_after: tuple[str, ...]
    differences: tuple[str, ...]

    @property
    def drift(self) -> Mean | None:
        """Time before / time after of every peer on every layer; None without peers."""
        return Mean.of({f"{name} on {one.name}": ratio for one in self.changes for name, ratio in one.peers.items()})

    @property
    def regressions(self) -> dict[str, float]:
        """The layers whose corrected ratio is below `NOISE`, the worst first."""
        found = {name: ratio for name, ratio in self._corrected().items() if ratio < NOISE}
        return dict(sorted(found.items(), key=lambda item: item[1]))

    @property
    def improvements(self) -> dict[str, float]:
        """The layers whose corrected ratio is above ``1 / NOISE``, the best first."""
        found = {name: ratio for name, ratio in self._corrected().items() if ratio > 1 / NOISE}
        return dict(sorted(found.items(), key=lambda item: -item[1]))

    def _corrected(self) -> dict[str, float]:
        return {one.name: one.corrected[AUTO] for one in self.changes if AUTO in one.corrected}

    def by_suite(self) -> dict[str, dict[str, Change]]:
        """Return each suite's changes by layer, in the order of the first report."""
        suites: dict[str, dict[str, Change]] = {}
        for one in self.changes:
            suites.setdefault(one.suite, {})[one.layer] = one
        return suites

    def by_kind(self) -> dict[str, dict[str, Change]]:
        """Return the changes of each class of problem by layer and suite, in the order of the classes."""
        kinds: dict[str, dict[str, Change]] = {kind: {} for kind in KINDS}
        for one in self.changes:
            kinds.setdefault(one.kind, {})[one.name] = one
        return {kind: changes for kind, changes in kinds.items() if changes}


def compare(before: Report, after: Report) -> Comparison:
    """Compare two reports layer by layer.

    A layer is the same in both where its suite, batch, threads, data type, layout and problem are.

    Parameters
    ----------
    before, after : Report
        Of the older and the newer version.

    Returns
    -------
    Comparison
        Ratios are time before / time after: above 1, it is faster now.
    """
    old, new = _layers(before), _layers(after)
    return Comparison(
        changes=tuple(_change(key[0], layer, new[key]) for key, layer in old.items() if key in new),
        only_before=tuple(_name(key[0], layer.layer) for key, layer in old.items() if key not in new),
        only_after=tuple(_name(key[0], layer.layer) for key, layer in new.items() if key not in old),
        differences=tuple(_differences(before, after)),
    )


def _layers(report: Report) -> dict[tuple[str, str], LayerResult]:
    """Return each layer by what identifies it: its suite, with how it was measured, and its problem."""
    return {(_suite_name(suite), layer.problem): layer for suite in report.suites for layer in suite.layers}


def _suite_name(suite: SuiteResult) -> str:
    return ", ".join((suite.name, *suite.configuration))


def _name(suite: str, layer: str) -> str:
    return f"{layer} of {suite}"


def _change(suite: str, before: LayerResult, after: LayerResult) -> Change:
    peers = _ratios(before.times("peer"), after.times("peer"))
    # one peer for both sides: the fastest over both, or a change of peers would look like one of ours
    both = {name: before.times("peer")[name] * after.times("peer")[name] for name in peers}
    wrong_before = {one.name for one in before.failures}
    return Change(
        suite=suite,
        layer=after.layer,
        problem=after.problem,
        kind=after.kind,
        ratios=_ratios(
            {**before.times("auto"), **before.times("algorithm")}, {**after.times("auto"), **after.times("algorithm")}
        ),
        peers=peers,
        best_peer=min(both, key=both.__getitem__) if both else None,
        broken=tuple(one.name for one in after.failures if one.kind != "peer" and one.name not in wrong_before),
    )


def _ratios(before: Mapping[str, float], after: Mapping[str, float]) -> dict[str, float]:
    return {name: before[name] / after[name] for name in before if name in after}


def _differences(before: Report, after: Report) -> Iterator[str]:
    """Yield where the reports' machines and settings differ."""
    old, new = ({"seconds a layer": one.seconds, **_flat(one.machine)} for one in (before, after))
    for name in dict.fromkeys((*old, *new)):
        if old.get(name) != new.get(name):
            yield f"{name}: {old.get(name, 'none')} before, {new.get(name, 'none')} after"


def _flat(value: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Return a tree's leaves, named by the path to them."""
    leaves: dict[str, object] = {}
    for key, entry in value.items():
        name = f"{prefix}{key.replace('_', ' ')}"
        leaves.update(_flat(entry, f"{name} ") if isinstance(entry, Mapping) else {name: entry})
    return leaves


def show(
    comparison: Comparison, console: Console, print_table: Callable[[Console, Table], object] = Console.print
) -> None:
    """Print the tables of a comparison and the lines under them.

    Parameters
    ----------
    comparison : Comparison
        What to print.
    console : rich.console.Console
        Where to.
    print_table : callable, optional
        ``print_table(console, table)`` prints a table.
    """
    for suite, changes in comparison.by_suite().items():
        console.print(f"{suite}: time before / time after, above 1 is faster now", highlight=False)
        print_table(console, layer_table(tuple(changes.values())))
        console.print()
    for title, groups in (("suite", comparison.by_suite()), ("class", comparison.by_kind())):
        if groups:
            print_table(console, mean_table(title, groups))
            console.print()
    for line in notes(comparison):
        console.print(line, markup=False, highlight=False)


def layer_table(changes: Sequence[Change]) -> Table:
    """Return one row a layer: every ratio, then the corrected ones, then the peer that they were corrected by."""
    names = list(dict.fromkeys(name for one in changes for name in one.ratios))
    with_peers = any(one.corrected for one in changes)
    table = _table("layer", *names)
    if with_peers:
        for name in names:
            _add_number(table, f"{name} corrected")
        table.add_column("peer", no_wrap=True)
        _add_number(table, "peer's own")
    for one in changes:
        row = [one.layer, *(ratio_text(one.ratios.get(name)) for name in names)]
        if with_peers:
            drift = None if one.best_peer is None else one.peers[one.best_peer]
            row += [ratio_text(one.corrected.get(name)) for name in names]
            row += [one.best_peer or NOT_RUN, ratio_text(drift)]
        table.add_row(*row)
    return table


def mean_table(title: str, groups: Mapping[str, Mapping[str, Change]]) -> Table:
    """Return one row a group of layers: the geometric mean of ``auto``, plain and corrected, and the worst.

    Parameters
    ----------
    title : str
        What the groups are.
    groups : mapping of str to mapping of str to Change
        The layers of each, by what to call them there.
    """
    table = _table(title, "layers", "geometric mean", "corrected mean", "corrected worst")
    table.add_column("where", no_wrap=True)
    for group, changes in groups.items():
        plain = Mean.of({name: one.ratios.get(AUTO) for name, one in changes.items()})
        corrected = Mean.of({name: one.corrected.get(AUTO) for name, one in changes.items()})
        mean = NOT_RUN if plain is None else ratio_text(plain.geometric_mean)
        judged = (NOT_RUN,) * 3
        if corrected is not None:
            judged = (ratio_text(corrected.geometric_mean), ratio_text(corrected.worst), corrected.worst_layer)
        table.add_row(group, str(len(changes)), mean, *judged)
    return table


def notes(comparison: Comparison) -> Iterator[str]:
    """Yield the lines under the tables: what differs, the drift, regressions, improvements, what is on one side."""
    for difference in comparison.differences:
        yield f"the reports differ in {difference}"
    drift = comparison.drift
    if drift is None:
        yield (
            "no peer has a time in both reports: these ratios contain what the machine drifted by between the runs, "
            "and nothing is judged by them"
        )
    else:
        yield (
            f"the peers' own time before / after: geometric mean {drift.geometric_mean:.2f}, "
            f"{min(drift.layers.values()):.2f} to {max(drift.layers.values()):.2f}: what the machine drifted by "
            "between the runs; corrected ratios are divided by the best peer's"
        )
        yield f"slower now, corrected below {NOISE:.2f}: {_listed(comparison.regressions)}"
        yield f"faster now, corrected above {1 / NOISE:.2f}: {_listed(comparison.improvements)}"
    for one in comparison.changes:
        if one.broken:
            yield f"{WRONG} now, and not before: {', '.join(one.broken)} on {one.name} ({one.problem})"
    for when, layers in (("before", comparison.only_before), ("after", comparison.only_after)):
        if layers:
            yield f"only {when}: {'; '.join(layers)}"


def _listed(ratios: Mapping[str, float]) -> str:
    return "; ".join(f"{name} {ratio:.2f}" for name, ratio in ratios.items()) or "none"


def _table(first: str, *numbers: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column(first, no_wrap=True)
    for name in numbers:
        _add_number(table, name)
    return table


def _add_number(table: Table, name: str) -> None:
    table.add_column(name.replace(" ", "\n").replace("_", " "), justify="right", no_wrap=True)

"""What a benchmark found, as data: outcomes, layers, suites, a whole report; to JSON and back."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, TypeAlias

from fastconv.bench.machine import describe

__all__ = [
    "AUTO",
    "DIRECT",
    "PACKED",
    "REFERENCE",
    "ColdStart",
    "Kind",
    "LayerResult",
    "Outcome",
    "Report",
    "SuiteResult",
    "threads_in_words",
]

#: ``coarser`` is a library that rounds products to fewer digits than the type has: timed beside the peers, never one.
Kind: TypeAlias = Literal["algorithm", "auto", "packed", "peer", "coarser"]

AUTO = "auto"
DIRECT = ("direct", "depthwise")  # the sum as it stands, by what is made for the problem's kind
PACKED = "packed"
REFERENCE = "reference"
FORMAT = 1  # of the JSON; another number is another meaning of its fields
DIGITS = 6  # of figures in the JSON: more than any measurement has


def threads_in_words(count: int) -> str:
    """Return ``1 thread``, ``2 threads`` and so on."""
    return f"{count} thread{'s' * (count != 1)}"


@dataclass(frozen=True)
class Outcome:
    """What one contender did on one layer.

    Parameters
    ----------
    name : str
        An algorithm of the table, ``auto``, ``packed``, or a peer.
    kind : {"algorithm", "auto", "packed", "peer", "coarser"}
        Which of these it is.
    skipped : str, optional
        Why it was not run.
    failure : str, optional
        Why its result counts as wrong.
    error : float, optional
        Relative 2-norm of the difference to the reference; None where it is not a finite number.
    limit : float, optional
        What `error` may be.
    workspace : int, optional
        Bytes of scratch memory, for an algorithm.
    first_ms : float, optional
        Milliseconds of the first call, which may compile.
    minimum_ms, median_ms : float, optional
        Milliseconds a call, over the rounds.
    gflops : float, optional
        1e9 operations a second at the minimum; a multiply-add counts as two.
    share_of_peak : float, optional
        Part of the processor's peak of multiply-adds that is.
    """

    name: str
    kind: Kind
    skipped: str | None = None
    failure: str | None = None
    error: float | None = None
    limit: float | None = None
    workspace: int | None = None
    first_ms: float | None = None
    minimum_ms: float | None = None
    median_ms: float | None = None
    gflops: float | None = None
    share_of_peak: float | None = None


@dataclass(frozen=True)
class LayerResult:
    """The outcomes on one layer.

    Parameters
    ----------
    layer : str
        The layer's name.
    problem : str
        The string form of its problem.
    kind : str
        The class of the problem, such as ``"3x3"`` or ``"depthwise"``.
    count : int
        How often the network has it.
    operations : int
        Of one call by the definition; a multiply-add counts as two.
    bytes : int
        Of input, weight and output together: what a call cannot avoid to touch.
    picked : str
        The algorithm that ``auto`` stands for.
    outcomes : tuple of Outcome
        Algorithms in the table's order, ``auto``, ``packed``, peers.
    """

    layer: str
    problem: str
    kind: str
    count: int
    operations: int
    bytes: int
    picked: str
    outcomes: tuple[Outcome, ...]

    def __getitem__(self, name: str) -> Outcome:
        """Return the outcome of a contender by name."""
        return {one.name: one for one in self.outcomes}[name]

    @property
    def failures(self) -> tuple[Outcome, ...]:
        """The outcomes that count as wrong."""
        return tuple(one for one in self.outcomes if one.failure is not None)

    def times(self, kind: Kind) -> dict[str, float]:
        """Return the milliseconds of those contenders of a kind that have a time, by name."""
        return {one.name: one.minimum_ms for one in self.outcomes if one.kind == kind and one.minimum_ms is not None}

    @property
    def milliseconds(self) -> float | None:
        """The time of ``auto``: what a user of fastconv waits for."""
        return self.times("auto").get(AUTO)

    @property
    def best_peer(self) -> str | None:
        """The name of the fastest peer, None where no peer has a time."""
        times = self.times("peer")
        return min(times, key=times.__getitem__) if times else None

    @property
    def ratio(self) -> float | None:
        """Time of the best peer / time of ``auto``: above 1, fastconv is faster."""
        return self._best_peer_over(self.milliseconds)

    @property
    def packed_milliseconds(self) -> float | None:
        """The time of ``packed``: a layer with ``auto``'s algorithm, whose weights were packed before."""
        return self.times("packed").get(PACKED)

    @property
    def packed_ratio(self) -> float | None:
        """Time of the best peer / time of ``packed``."""
        return self._best_peer_over(self.packed_milliseconds)

    @property
    def direct_ratio(self) -> float | None:
        """Time of the best peer / time of the faster of `DIRECT`: what no transform has a part in."""
        times = self.times("algorithm")
        return self._best_peer_over(min((times[name] for name in DIRECT if name in times), default=None))

    def _best_peer_over(self, ours: float | None) -> float | None:
        peer = self.best_peer
        return None if ours is None or peer is None else self.times("peer")[peer] / ours

    @property
    def best_algorithm(self) -> str | None:
        """The name of the fastest algorithm."""
        times = self.times("algorithm")
        return min(times, key=times.__getitem__) if times else None

    @property
    def regret(self) -> float | None:
        """Time of the picked algorithm / time of the best one: 1 is the best choice; None where there is none."""
        times = self.times("algorithm")
        return times[self.picked] / min(times.values()) if self.picked in times and len(times) > 1 else None


@dataclass(frozen=True)
class SuiteResult:
    """A suite's layers, measured in one way.

    Parameters
    ----------
    name, source : str
        The suite and where its layers are written down.
    batch, threads : int
        Images a call; threads of fastconv and of every peer.
    dtype, layout : str
        Of the arrays that fastconv is given.
    peak_gflops : float, optional
        The processor's peak of multiply-adds with so many threads, measured in the same run; None
        where the type has none.
    copy_gigabytes : float, optional
        1e9 bytes a second that so many threads read and write when they copy large arrays.
    layers : tuple of LayerResult
        In the suite's order.
    device : str, optional
        The GPU that computed, launched from one thread; None for the processor.
    """

    name: str
    source: str
    batch: int
    threads: int
    dtype: str
    layout: str
    peak_gflops: float | None
    copy_gigabytes: float | None
    layers: tuple[LayerResult, ...]
    device: str | None = None

    @property
    def configuration(self) -> tuple[str, ...]:
        """How it was measured, in words: batch, threads or device, data type, layout.

        Examples
        --------
        >>> SuiteResult("vgg16", "", 1, 2, "float32", "channels_last", None, None, ()).configuration
        ('batch 1', '2 threads', 'float32', 'channels_last')
        """
        return f"batch {self.batch}", self.device or threads_in_words(self.threads), self.dtype, self.layout


@dataclass(frozen=True)
class ColdStart:
    """What fresh processes took, see :mod:`fastconv.bench.cold_start`.

    Parameters
    ----------
    process : str
        What the process did.
    minimum_ms, median_ms, processor_ms : float
        From its start to its end: minimum and median of the rounds, and least processor time.
    compiled, loaded : int
        Functions that it compiled, and that it loaded from the kernel cache.
    """

    process: str
    minimum_ms: float
    median_ms: float
    processor_ms: float
    compiled: int
    loaded: int


@dataclass(frozen=True)
class Report:
    """Everything that one run found.

    Parameters
    ----------
    command : str
        What was run.
    date : str
        ISO 8601, in UTC.
    machine : mapping
        As :func:`fastconv.bench.machine.describe` gives it.
    seconds : float
        Budget of timing one layer, all contenders together.
    suites : tuple of SuiteResult
        In the order they ran.
    cold_starts : tuple of ColdStart
        Empty where they were not measured.
    compile_ms : mapping of str to float
        Milliseconds that emitting and compiling a function took, by its name.
    host_us : mapping of str to float
        Microseconds that a call on a device takes of the host, its launches included, by what is called.
    """

    command: str
    date: str
    machine: Mapping[str, object]
    seconds: float
    suites: tuple[SuiteResult, ...]
    cold_starts: tuple[ColdStart, ...] = ()
    compile_ms: Mapping[str, float] = field(default_factory=dict)
    host_us: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def now(
        cls,
        command: str,
        seconds: float,
        suites: Sequence[SuiteResult],
        cold_starts: Sequence[ColdStart] = (),
        compile_ms: Mapping[str, float] | None = None,
    ) -> Report:
        """Return a report of today, on this machine; where its files lie is nobody's business."""
        date = datetime.now(UTC).isoformat(timespec="seconds")
        machine = {name: value for name, value in describe().items() if name != "cache_directory"}
        return cls(command, date, machine, seconds, tuple(suites), tuple(cold_starts), compile_ms or {})

    def to_json(self) -> str:
        """Return the text that :meth:`from_json` reads; what is None is left out, figures have six digits."""
        value = {"format": FORMAT, **dataclasses.asdict(self)}
        return json.dumps(_plain(value), indent=1, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Report:
        """Read a report back.

        Raises
        ------
        ValueError
            If the text is not JSON, or not a report of this format.
        """
        found = json.loads(text)
        if not isinstance(found, dict) or found.pop("format", None) != FORMAT:
            raise ValueError(f"text must be a report of format {FORMAT}, as `fastconv bench --json` writes it")
        try:
            suites = tuple(map(_suite, _entries(found.pop("suites"))))
            cold_starts = tuple(ColdStart(**each) for each in _entries(found.pop("cold_starts")))  # type: ignore[arg-type]
            return cls(suites=suites, cold_starts=cold_starts, **found)
        except (AttributeError, KeyError, TypeError) as error:
            raise ValueError(f"text must be a report of format {FORMAT}, a field is amiss: {error}") from None


def _suite(fields: dict[str, object]) -> SuiteResult:
    layers = tuple(map(_layer, _entries(fields.pop("layers"))))
    return SuiteResult(**{"peak_gflops": None, "copy_gigabytes": None, **fields, "layers": layers})  # type: ignore[arg-type]


def _layer(fields: dict[str, object]) -> LayerResult:
    outcomes = tuple(Outcome(**one) for one in _entries(fields.pop("outcomes")))  # type: ignore[arg-type]
    return LayerResult(**fields, outcomes=outcomes)  # type: ignore[arg-type]


def _entries(value: object) -> list[dict[str, object]]:
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise TypeError(f"expected a list of objects, got {value!r:.40}")
    return value


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _plain(entry) for key, entry in value.items() if entry is not None}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value

"""Fresh processes timed in turns: a real one that compiles and one that loads, and made-up ones for the rest."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import pytest

pytest.importorskip("rich")
pytest.importorskip("resource")

from rich.console import Console
from rich.table import Table

from fastconv import selection
from fastconv.bench import cold_start
from fastconv.bench.cold_start import compile_table, compile_times, measure, ratios, table
from fastconv.bench.results import ColdStart, Report
from fastconv.problem import ConvProblem

TINY = ConvProblem.parse("conv2d,n1,c3,6x6,k4,3x3,p1,float32")
IMPORTS = ["python", "import numpy", "import fastconv", "from fastconv import conv2d", "import numba"]
TILED = [one.name for one in selection.TABLE if one.name != "reference" and one.supports(TINY) is None]
CACHES = [f"{name}, {cache} cache" for name in TILED for cache in ("warm", "empty")]


def text(shown: Table) -> list[list[str]]:
    """Return the words of each line."""
    console = Console(file=io.StringIO(), width=100)
    console.print(shown)
    return [line.split() for line in console.file.getvalue().splitlines()]


def only_direct(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(selection, "TABLE", tuple(one for one in selection.TABLE if one.name == "direct"))


def start(process: str, cache: Path) -> ColdStart:
    (program,) = (one for one in cold_start._programs(TINY) if one.process == process)
    return cold_start._figures(process, [cold_start._run(program.text, cache)])


def test_what_one_process_compiles_is_stored_by_name_and_the_next_one_loads(tmp_path, monkeypatch) -> None:
    only_direct(monkeypatch)
    milliseconds = cold_start._compile_times([TINY], tmp_path)
    assert set(milliseconds) == {path.stem for path in tmp_path.rglob("*.object")} != set()
    assert min(milliseconds.values()) > 0
    warm = start("direct, warm cache", tmp_path)
    assert (warm.compiled, warm.loaded) == (0, len(milliseconds))
    assert warm.minimum_ms > 0
    assert warm.processor_ms > 0


def test_where_no_algorithm_supports_the_problem_imports_are_left(machine: Machine) -> None:
    assert [one.process for one in measure(dataclasses.replace(TINY, dtype="int32"), 1)] == IMPORTS


class Machine:
    """In the place of the processes: each writes down its cache and takes a time of its own."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.caches: list[Path] = []

    def run(self, program: str, cache: Path) -> cold_start._Run:
        """A process takes 1 s, the next 2 s, and so on, a tenth of it on the processor.

        It compiles a function where its cache is empty, and keeps it there.
        """
        self.texts.append(program)
        self.caches.append(cache)
        seconds = float(len(self.texts))
        if "jit.counts" not in program:
            return cold_start._Run(seconds, seconds / 10)
        stored = list(cache.iterdir())
        (cache / "tile").touch()
        return cold_start._Run(seconds, seconds / 10, "0 1" if stored else "1 0")


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine()
    monkeypatch.setattr(cold_start, "_run", made.run)
    return made


def test_every_algorithm_has_a_warm_and_an_empty_cache(machine: Machine) -> None:
    found = {one.process: one for one in measure(TINY, 1)}
    assert list(found) == [*IMPORTS, *CACHES]
    for process, one in found.items():
        expected = (0, 0) if process in IMPORTS else (0, 1) if "warm" in process else (1, 0)
        assert (one.compiled, one.loaded) == expected
    assert not any(cache.exists() for cache in machine.caches)


def test_programs_take_turns_in_alternating_order(machine: Machine) -> None:
    measure(TINY, 2)
    count = len(IMPORTS) + len(CACHES)
    untimed, first, second = (machine.texts[number * count : (number + 1) * count] for number in range(3))
    assert untimed == first[::-1] == second


def test_figures_are_of_the_timed_rounds(machine: Machine) -> None:
    python, *_, last = measure(TINY, 3)
    count = len(IMPORTS) + len(CACHES)
    # the interpreter alone is first in the odd rounds, last in the others; the untimed round is last
    taken = [count + 1, 3 * count, 3 * count + 1]
    assert python.minimum_ms == 1e3 * taken[0]
    assert python.median_ms == 1e3 * taken[1]
    assert python.processor_ms == pytest.approx(1e2 * taken[0])
    assert last.minimum_ms == 1e3 * 2 * count


def test_counts_that_differ_are_the_largest() -> None:
    runs = [cold_start._Run(1.0, 1.0, "2 3"), cold_start._Run(1.0, 1.0, "4 1")]
    one = cold_start._figures("direct, warm cache", runs)
    assert (one.compiled, one.loaded) == (4, 3)


def test_progress_counts_every_process(machine: Machine) -> None:
    seen: list[tuple[int, int]] = []
    measure(TINY, 1, lambda ended, total: seen.append((ended, total)))
    total = 2 * (len(IMPORTS) + len(CACHES))
    assert seen == [(number, total) for number in range(1, total + 1)]


def test_a_process_that_fails_is_an_error_with_its_message(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"exit code 1: .*ZeroDivisionError"):
        cold_start._run("import sys; sys.tracebacklimit = 0; 1 / 0", tmp_path)


def test_what_cannot_be_measured_is_refused() -> None:
    with pytest.raises(ValueError, match="rounds must be positive, got 0"):
        measure(TINY, 0)
    gradient = dataclasses.replace(TINY, direction="input_gradient")
    for job in (lambda: measure(gradient, 1), lambda: compile_times([gradient])):
        with pytest.raises(ValueError, match="problem must be a forward convolution"):
            job()


MADE_UP = (
    ColdStart("import numpy", 100.0, 110.0, 80.0, 0, 0),
    ColdStart("import fastconv", 25.0, 30.0, 20.0, 0, 0),
    ColdStart("import numba", 400.0, 440.0, 200.0, 0, 0),
    ColdStart("direct, empty cache", 1000.0, 1234.56, 900.0, 3, 1),
)


def test_ratios_by_hand() -> None:
    assert list(ratios(MADE_UP)) == [
        "import fastconv / import numpy: 0.25 (0.25)",
        "direct, empty cache / import numba: 2.50 (4.50)",
    ]


def test_a_table_has_a_row_a_process_and_counts_where_something_computes() -> None:
    header, *rows = text(table(MADE_UP))
    assert " ".join(header) == "process minimum ms median ms processor ms compiled loaded"
    assert rows[0] == ["import", "numpy", "100.0", "110.0", "80.0"]
    assert rows[3] == ["direct,", "empty", "cache", "1000.0", "1234.6", "900.0", "3", "1"]


def test_the_slowest_function_is_first() -> None:
    assert text(compile_table({"tile": 12.34, "driver": 2000.0}))[1:] == [["driver", "2000.0"], ["tile", "12.3"]]


def test_the_command_shows_and_stores_what_was_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    testing = pytest.importorskip("click.testing")
    from fastconv.cli.cold_start import cold_start as command

    asked = []
    monkeypatch.setattr(cold_start, "measure", lambda *arguments: asked.append(arguments) or MADE_UP)
    monkeypatch.setattr(cold_start, "compile_times", lambda problems: {"tile": 12.34})
    file = tmp_path / "results.json"
    result = testing.CliRunner().invoke(command, [str(TINY), "--rounds", "3", "--json", str(file)])
    assert result.exit_code == 0, result.output
    assert asked[0][:2] == (TINY, 3)
    for shown in ("import fastconv / import numpy: 0.25 (0.25)", "direct, empty cache", "tile", "12.3"):
        assert shown in result.stdout
    stored = Report.from_json(file.read_text(encoding="utf-8"))
    assert stored.command == f"fastconv cold-start {TINY} --rounds 3"
    assert (stored.cold_starts, stored.compile_ms) == (MADE_UP, {"tile": 12.34})
    assert testing.CliRunner().invoke(command, ["conv2d"]).exit_code == 2

"""Measured answers as a user keeps them: what is listed, exported, imported and forgotten, and what is refused."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest

import fastconv
from fastconv import ConvProblem
from fastconv.selection import answers, files
from fastconv.selection.answers import Answer
from fastconv.selection.keeping import Remembered

PROBLEM = ConvProblem.parse("conv2d,n1,c8,14x14,k8,3x3,p1,int32")
OTHER = replace(PROBLEM, batch=2)
ANSWER = Answer({"direct": 2e-3, "im2col": 1e-3, "reference": None}, "measure")
PATIENT = Answer({"direct": 3e-3}, "patient")


@pytest.fixture(autouse=True)
def _directory(tmp_path, monkeypatch):
    """Let nothing be known."""
    monkeypatch.setattr("fastconv.config.answers_directory", lambda: tmp_path / "user")
    monkeypatch.setattr(answers, "_unstored", {})
    fastconv.clear_cache()
    yield
    fastconv.clear_cache()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "exported.json"


def key(problem, threads=1):
    return f"{problem} threads={threads}"


def keep_in_the_process(problem, answer, threads=1):
    answers.update_unstored(files.origin(), lambda entries: {**entries, key(problem, threads): (answer,)})


def provide(monkeypatch, path, problem, answer):
    answers.merge(path, files.origin(), {key(problem): (answer,)})
    monkeypatch.setenv("FASTCONV_ANSWERS", str(path))
    fastconv.clear_cache()


def text_of(**changes):
    content = {"format": 1, "origin": asdict(files.origin()), "answers": {key(PROBLEM): [asdict(ANSWER)]}}
    return json.dumps({**content, **changes})


def stored():
    return answers.read(answers.users_file(), files.origin())


# --- what is remembered ---------------------------------------------------------------------------


def test_nothing_is_remembered_at_first():
    assert fastconv.remembered() == ()


def test_what_is_remembered_says_where_it_is_from(monkeypatch, tmp_path):
    provide(monkeypatch, tmp_path / "site.json", OTHER, PATIENT)
    answers.remember(PROBLEM, 2, ANSWER)
    answers.remember(PROBLEM, 2, PATIENT)
    keep_in_the_process(PROBLEM, ANSWER)
    assert fastconv.remembered() == (
        Remembered(PROBLEM, 1, ANSWER.seconds, "measure", "process"),
        Remembered(PROBLEM, 2, ANSWER.seconds, "measure", "user"),
        Remembered(PROBLEM, 2, PATIENT.seconds, "patient", "user"),
        Remembered(OTHER, 1, PATIENT.seconds, "patient", "provided"),
    )


def test_what_another_process_stored_is_seen():
    assert fastconv.remembered() == ()
    answers.merge(answers.users_file(), files.origin(), {key(PROBLEM): (ANSWER,)})
    assert [entry.problem for entry in fastconv.remembered()] == [PROBLEM]


@pytest.mark.parametrize(
    "entry",
    ["", "another", str(PROBLEM), f"{PROBLEM} threads=0", f"{PROBLEM} threads=01", f"{PROBLEM},g1 threads=1",
     f"{PROBLEM} threads=1 ", f"{PROBLEM} threads={'9' * 5000}", "avg_pool2d,n1,c2,6x5,3x3,int32 threads=1"],
)  # fmt: skip
def test_what_nobody_can_ask_for_is_neither_listed_nor_exported_nor_imported(entry, path):
    answers.merge(answers.users_file(), files.origin(), {entry: (ANSWER,), key(PROBLEM): (ANSWER,)})
    assert [found.problem for found in fastconv.remembered()] == [PROBLEM]
    assert fastconv.export_answers(path) == 1
    with pytest.raises(ValueError, match="path must hold answers for problems, got"):
        fastconv.import_answers(answers.users_file())


# --- export and import ----------------------------------------------------------------------------


def test_an_export_holds_all_that_is_remembered(monkeypatch, tmp_path, path):
    own = Answer({"direct": 5e-3, "im2col": 6e-3, "reference": None}, "measure")
    provide(monkeypatch, tmp_path / "site.json", PROBLEM, ANSWER)
    answers.remember(PROBLEM, 1, own)  # which counts more
    answers.remember(OTHER, 1, ANSWER)
    keep_in_the_process(OTHER, PATIENT, threads=2)
    assert fastconv.export_answers(path) == 3
    assert answers.load(path, files.origin()) == {
        key(PROBLEM): (own,),
        key(OTHER): (ANSWER,),
        key(OTHER, 2): (PATIENT,),
    }
    assert sorted(each.name for each in tmp_path.iterdir()) == ["exported.json", "site.json", "site.json.lock", "user"]


def test_what_was_exported_can_be_imported_where_nothing_is_known(path):
    answers.remember(PROBLEM, 1, ANSWER)
    answers.remember(OTHER, 2, PATIENT)
    before = fastconv.remembered()
    assert fastconv.export_answers(str(path)) == 2
    assert fastconv.forget_answers() == 2
    assert fastconv.remembered() == ()
    assert fastconv.import_answers(str(path)) == 2
    assert fastconv.remembered() == before
    assert stored() == {key(PROBLEM): (ANSWER,), key(OTHER, 2): (PATIENT,)}


def test_an_import_replaces_what_it_makes_superfluous_and_nothing_else(path):
    answers.remember(PROBLEM, 1, Answer({"direct": 9.0}, "measure"))
    answers.remember(PROBLEM, 1, PATIENT)
    answers.remember(OTHER, 1, ANSWER)
    path.write_text(text_of())
    assert fastconv.import_answers(path) == 1
    assert stored() == {key(PROBLEM): (PATIENT, ANSWER), key(OTHER): (ANSWER,)}


def test_an_import_comes_before_what_the_process_could_not_store(path):
    keep_in_the_process(PROBLEM, Answer({"direct": 1.0, "im2col": 2.0}, "measure"))
    keep_in_the_process(OTHER, PATIENT)
    path.write_text(text_of())
    fastconv.import_answers(path)
    assert answers.find(PROBLEM, 1, ["direct", "im2col"]) == ANSWER
    assert answers.find(OTHER, 1, ["direct"]) == PATIENT


def test_a_directory_has_a_file_for_each_machine(tmp_path, monkeypatch):
    answers.remember(PROBLEM, 1, ANSWER)
    site = tmp_path / "site"
    site.mkdir()
    fastconv.export_answers(site)
    assert [path.name for path in site.iterdir()] == [files.origin().file_name("answers")]
    fastconv.forget_answers()
    assert fastconv.import_answers(site) == 1
    fastconv.forget_answers()
    monkeypatch.setenv("FASTCONV_ANSWERS", str(site))
    assert [entry.source for entry in fastconv.remembered()] == ["provided"]


def test_an_export_replaces_what_a_link_leads_to(tmp_path, path):
    link = tmp_path / "link.json"
    path.write_text("old")
    link.symlink_to(path)
    fastconv.export_answers(link)
    assert link.is_symlink()
    assert answers.load(path, files.origin()) == {}


def calls_of(entry, x, weight):
    before = entry.calls
    fastconv.conv2d(x, weight, padding=1)
    return entry.calls - before


def test_calls_that_were_ready_take_up_what_is_imported_and_forgotten(pretend, operands_of, path):
    first, second = pretend("first", 0.0, 1e-9), pretend("second", 0.0, 2e-9)
    x, weight, *_ = operands_of(PROBLEM)
    assert (calls_of(first, x, weight), calls_of(second, x, weight)) == (1, 0)
    names = [entry for entry in fastconv.algorithms() if entry in ("first", "second", "reference")]
    seconds = {**dict.fromkeys(names, 1.0), "second": 0.5}
    threads = fastconv.get_num_threads()
    path.write_text(text_of(answers={key(PROBLEM, threads): [{"seconds": seconds, "rigour": "measure"}]}))
    fastconv.import_answers(path)
    assert fastconv.select(PROBLEM) == "second"
    assert (calls_of(first, x, weight), calls_of(second, x, weight)) == (0, 1)
    fastconv.forget_answers(PROBLEM)
    assert fastconv.select(PROBLEM) == "first"
    assert (calls_of(first, x, weight), calls_of(second, x, weight)) == (1, 0)


# --- what is no such file -------------------------------------------------------------------------

DAMAGED = {
    "empty": ("", "Expecting value"),
    "truncated": (None, "Unterminated|Expecting"),
    "no object": ("[1, 2]", "it has no answers"),
    "no answers": ("{}", "it has no answers"),
    "deep nesting": ("[" * 100_000, "recursion|Expecting"),
    "no text": (b"\x80" * 10, "decode"),
}


@pytest.mark.parametrize(("content", "message"), DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_file_is_refused(path, content, message):
    content = text_of()[:-30] if content is None else content
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=f"path must be a file of measured answers, got '{path}': .*({message})"):
        fastconv.import_answers(path)
    assert not answers.users_file().exists()


@pytest.mark.parametrize(
    "bad",
    ["fast", [], ["fast"], [{"rigour": "measure", "seconds": {"direct": -1}}], [asdict(ANSWER), {"rigour": "measure"}]],
)
def test_of_a_file_that_is_damaged_in_part_nothing_is_imported(path, bad):
    path.write_text(text_of(answers={key(PROBLEM): [asdict(ANSWER)], key(OTHER): bad}))
    with pytest.raises(ValueError, match=f"path must be a file without damage, got '{path}': '{OTHER} threads=1'"):
        fastconv.import_answers(path)
    assert not answers.users_file().exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 2}, "format is 2, and 1 here"),
        ({"origin": {"version": "0.0"}}, "version is '0.0', and '.*' here"),
        ({"origin": {"cpu": "x", "vector_bits": 64}}, "cpu is 'x', and '.*' here; vector_bits is 64, and [0-9]+ here"),
        ({"origin": {"more": 1}}, "more is 1, and None here"),
        ({"origin": None}, "it does not say where it is from"),
    ],
)
def test_what_another_version_or_machine_wrote_is_refused(path, changes, message):
    if isinstance(changes.get("origin"), dict):
        changes = {"origin": {**asdict(files.origin()), **changes["origin"]}}
    path.write_text(text_of(**changes))
    expected = f"path must hold answers of this machine and version, got '{path}': {message}$"
    with pytest.raises(ValueError, match=expected):
        fastconv.import_answers(path)
    assert not answers.users_file().exists()


def test_what_is_no_file_is_refused(tmp_path, path):
    with pytest.raises(FileNotFoundError, match=str(path)):
        fastconv.import_answers(path)
    with pytest.raises(FileNotFoundError, match=files.origin().file_name("answers")):
        fastconv.import_answers(tmp_path)
    with pytest.raises(FileNotFoundError, match=str(tmp_path / "nowhere" / "file.json")):
        fastconv.export_answers(tmp_path / "nowhere" / "file.json")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="a pipe with a name is POSIX's")
def test_a_pipe_is_neither_waited_for_nor_replaced(path):
    """It stands for devices, too, which are never to be tried: root would replace them if the check were gone."""
    os.mkfifo(path)
    with pytest.raises(OSError, match=f"no file of at most [0-9]+ bytes: '{path}'"):
        fastconv.import_answers(path)
    with pytest.raises(OSError, match=f"no file: '{path}'"):
        fastconv.export_answers(path)
    assert path.is_fifo()


@pytest.mark.parametrize("call", [fastconv.export_answers, fastconv.import_answers])
@pytest.mark.parametrize("path", [3, None, b"bytes"])
def test_what_is_no_path_is_refused(call, path):
    with pytest.raises(TypeError, match="path must be a str or a path, got"):
        call(path)


# --- forgetting -----------------------------------------------------------------------------------


def test_the_answers_of_one_problem_are_forgotten():
    longer = ConvProblem.parse("conv2d,n1,c8,14x14,k8,3x3,p1,g8,int32")
    for problem, threads in [(PROBLEM, 1), (PROBLEM, 2), (OTHER, 1), (longer, 1)]:
        answers.remember(problem, threads, ANSWER)
    answers.remember(PROBLEM, 1, PATIENT)
    keep_in_the_process(PROBLEM, PATIENT, threads=3)
    assert fastconv.forget_answers(str(PROBLEM)) == 4
    assert {entry.problem for entry in fastconv.remembered()} == {OTHER, longer}
    assert fastconv.forget_answers(OTHER) == 1
    assert fastconv.forget_answers(OTHER) == 0
    assert stored() == {key(longer): (ANSWER,)}


def test_what_is_provided_stays(monkeypatch, tmp_path):
    provide(monkeypatch, tmp_path / "site.json", PROBLEM, ANSWER)
    content = (tmp_path / "site.json").read_bytes()
    answers.remember(PROBLEM, 1, PATIENT)
    assert fastconv.forget_answers() == 1
    assert [entry.source for entry in fastconv.remembered()] == ["provided"]
    assert (tmp_path / "site.json").read_bytes() == content


def test_where_nothing_was_stored_forgetting_makes_no_file(tmp_path):
    assert fastconv.forget_answers() == 0
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_file_is_forgotten(caplog):
    path = answers.users_file()
    path.parent.mkdir()
    path.write_text("damaged")
    assert fastconv.forget_answers() == 0
    assert answers.load(path, files.origin()) == {}
    assert [record.levelname for record in caplog.records] == ["WARNING"]


@pytest.mark.parametrize(
    ("problem", "error", "message"),
    [
        (3, TypeError, "problem must be a problem or a str, got 3 of type int"),
        ("resnet50", ValueError, "text must begin with conv"),
        ("conv2d,n1", ValueError, "conv2d,n1"),
    ],
)
def test_what_forgetting_refuses(problem, error, message):
    answers.remember(PROBLEM, 1, ANSWER)
    with pytest.raises(error, match=message):
        fastconv.forget_answers(problem)
    assert len(fastconv.remembered()) == 1


# --- where nothing can be written -----------------------------------------------------------------


def test_without_a_directory_an_import_is_refused(monkeypatch, path):
    monkeypatch.setattr("fastconv.config.answers_directory", lambda: None)
    path.write_text(text_of())
    with pytest.raises(OSError, match="there is no directory to store measured answers in: FASTCONV_CACHE_DIR"):
        fastconv.import_answers(path)
    answers.remember(PROBLEM, 1, ANSWER)
    assert fastconv.export_answers(path) == 1
    assert fastconv.forget_answers() == 1
    assert fastconv.remembered() == ()


def test_a_lock_that_is_held_too_long_is_told(monkeypatch, path):
    from filelock import FileLock

    answers.remember(PROBLEM, 1, ANSWER)
    fastconv.export_answers(path)
    monkeypatch.setattr(files, "LOCK_SECONDS", 0.05)
    with FileLock(f"{answers.users_file()}.lock"):
        for call in (fastconv.forget_answers, lambda: fastconv.import_answers(path)):
            with pytest.raises(TimeoutError):
                call()
    assert len(fastconv.remembered()) == 1


# Root may write everywhere until it gives up its capabilities (capget(2): version 3, 64 bits).
READ_ONLY = """
import ctypes, sys
import fastconv
header, none = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
assert ctypes.CDLL(None).capset(header, none) == 0
exported, directory = sys.argv[1:]
for call, argument in (
    (fastconv.import_answers, exported), (fastconv.forget_answers, None), (fastconv.export_answers, directory),
):
    try:
        call(argument)
    except PermissionError as error:
        assert directory in str(error), error
    else:
        raise AssertionError(call)
assert len(fastconv.remembered()) == 1
"""


@pytest.mark.skipif(sys.platform != "linux", reason="capset is called by its name")
def test_a_directory_that_cannot_be_written_is_told(tmp_path, path):
    directory = tmp_path / "user"
    answers.remember(PROBLEM, 1, ANSWER)
    fastconv.export_answers(path)
    (lock,) = directory.glob("*.lock")
    lock.unlink()
    before = answers.users_file().read_bytes()
    directory.chmod(0o555)
    try:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", READ_ONLY, str(path), str(directory)],
            **{"env": {**os.environ, "FASTCONV_CACHE_DIR": str(directory)}, "timeout": 120},
            **{"capture_output": True, "text": True, "check": False},
        )
    finally:
        directory.chmod(0o755)
    assert done.returncode == 0, done.stderr
    assert answers.users_file().read_bytes() == before


# --- several processes ----------------------------------------------------------------------------

IMPORTER = """
import sys
import fastconv
for path in sys.argv[1:]:
    assert fastconv.import_answers(path) == 1
"""
FORGETTER = """
import sys
import fastconv
for problem in sys.argv[1:]:
    assert fastconv.forget_answers(problem) == 1
"""


def test_processes_that_import_and_forget_at_once_lose_nothing(tmp_path):
    problems = [replace(PROBLEM, batch=number) for number in range(1, 13)]
    for problem in problems[:6]:
        answers.remember(problem, 1, ANSWER)
    for number, problem in enumerate(problems):
        content = text_of(answers={key(problem): [asdict(ANSWER)]})
        Path(tmp_path / f"{number}.json").write_text(content)
    arguments = [
        *((FORGETTER, *map(str, problems[first : first + 2])) for first in (0, 2, 4)),
        *((IMPORTER, *(str(tmp_path / f"{number}.json") for number in (first, first + 1))) for first in (6, 8, 10)),
    ]
    environment = {**os.environ, "FASTCONV_CACHE_DIR": str(tmp_path / "user")}
    environment.pop("FASTCONV_ANSWERS", None)
    running = [
        subprocess.Popen([sys.executable, "-W", "error", "-c", *each], env=environment, stderr=subprocess.PIPE)
        for each in arguments
    ]
    for one in running:
        errors = one.communicate(timeout=120)[1]
        assert one.returncode == 0, errors
    assert set(stored()) == {key(problem) for problem in problems[6:]}

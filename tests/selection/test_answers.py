"""Measured answers: whom they serve, what a file may hold, and who may write it at once."""

from __future__ import annotations

import json
import logging
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace

import pytest

from fastconv import ConvProblem
from fastconv.selection import answers, files
from fastconv.selection.answers import Answer, Origin

HERE = Origin("1.0", "digest", "a-processor", "+avx2", 256)
ANSWER = Answer({"direct": 2e-3, "im2col": 1e-3, "reference": None}, "measure")
PROBLEM = ConvProblem.parse("conv2d,n1,c8,14x14,k8,3x3,p1,float32")
KEY = f"{PROBLEM} threads=1"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "answers" / "file.json"


@pytest.fixture(autouse=True)
def _directory(tmp_path, monkeypatch):
    """Let the user's directory be one of the test."""
    monkeypatch.setattr("fastconv.config.answers_directory", lambda: tmp_path / "user")
    monkeypatch.setattr(answers, "_unstored", {})
    answers.forget()
    yield
    answers.forget()


# --- whom an answer serves ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "fastest"),
    [
        (["direct", "im2col", "reference"], "im2col"),
        (["direct", "im2col"], "im2col"),
        (["direct"], "direct"),
        (["direct", "reference"], "direct"),
        (["direct", "fft"], None),  # nobody knows about fft
        (["reference"], None),  # nobody measured it
        ([], None),
    ],
)
def test_an_answer_serves_a_choice_among_what_was_measured(names, fastest):
    assert ANSWER.serves(names, "measure") == (fastest is not None)
    if fastest is not None:
        assert ANSWER.fastest(names) == fastest


def test_an_answer_serves_a_request_of_no_more_rigour():
    patient = replace(ANSWER, rigour="patient")
    assert patient.serves(["direct"], "measure")
    assert patient.serves(["direct"], "patient")
    assert not ANSWER.serves(["direct"], "patient")


def test_problems_and_numbers_of_threads_have_answers_of_their_own():
    answers.remember(PROBLEM, 1, ANSWER)
    assert answers.find(PROBLEM, 1, ["direct"]) == ANSWER
    assert answers.find(PROBLEM, 2, ["direct"]) is None
    assert answers.find(replace(PROBLEM, batch=2), 1, ["direct"]) is None


def test_a_new_answer_replaces_what_it_makes_superfluous():
    newer = Answer({"direct": 1e-3, "im2col": 2e-3, "reference": None}, "measure")
    narrow = Answer({"direct": 5e-3}, "measure")
    patient = Answer({"direct": 6e-3}, "patient")
    for given, expected in [
        ([ANSWER, newer], (newer,)),
        ([ANSWER, narrow], (ANSWER, narrow)),
        ([narrow, ANSWER], (ANSWER,)),
        ([patient, ANSWER], (patient, ANSWER)),
        ([narrow, patient], (patient,)),
    ]:
        merged = {}
        for answer in given:
            merged = answers.merged(merged, {"key": (answer,)})
        assert merged["key"] == expected


def test_the_most_patient_answer_is_found():
    patient = Answer({"direct": 6e-3}, "patient")
    for answer in (patient, ANSWER):
        answers.remember(PROBLEM, 1, answer)
    assert answers.find(PROBLEM, 1, ["direct"]) == patient
    assert answers.find(PROBLEM, 1, ["direct", "im2col"]) == ANSWER


# --- the user's file and the provided one ---------------------------------------------------------


def provide(monkeypatch, path, *given):
    answers.merge(path, files.origin(), {KEY: given})
    monkeypatch.setenv("FASTCONV_ANSWERS", str(path))
    answers.forget()


def test_the_users_answers_come_before_the_provided(monkeypatch, path):
    provide(monkeypatch, path, ANSWER)
    assert answers.find(PROBLEM, 1, ["direct", "im2col"]) == ANSWER
    own = Answer({"direct": 1e-3, "im2col": 2e-3}, "measure")
    answers.remember(PROBLEM, 1, own)
    assert answers.find(PROBLEM, 1, ["direct", "im2col"]) == own
    assert answers.find(PROBLEM, 1, ["direct", "reference"]) == ANSWER
    assert answers.read(path, files.origin()) == {KEY: (ANSWER,)}  # never written


def test_a_directory_may_provide_for_several_machines(monkeypatch, tmp_path):
    provide(monkeypatch, tmp_path / "site" / files.origin().file_name("answers"), ANSWER)
    monkeypatch.setenv("FASTCONV_ANSWERS", str(tmp_path / "site"))
    assert answers.find(PROBLEM, 1, ["direct"]) == ANSWER


def test_origins_have_files_of_their_own():
    others = [{"version": "1.1"}, {"kernels": "x"}, {"cpu": "x"}, {"features": "+avx512f"}, {"vector_bits": 512}]
    assert len({HERE.file_name("answers"), *(replace(HERE, **other).file_name("answers") for other in others)}) == 6


@pytest.mark.parametrize("blocked", ["a file", "no home"])
def test_where_nothing_can_be_stored_answers_last_as_long_as_the_process(blocked, tmp_path, monkeypatch, caplog):
    if blocked == "no home":
        monkeypatch.setattr("fastconv.config.answers_directory", lambda: None)
    else:
        (tmp_path / "user").write_text("no directory")
    with caplog.at_level(logging.INFO, "fastconv"):
        answers.remember(PROBLEM, 1, ANSWER)
        answers.forget()
        assert answers.find(PROBLEM, 1, ["direct"]) == ANSWER
    assert all(record.levelno == logging.INFO for record in caplog.records)
    assert bool(caplog.records) == (blocked == "a file")


ALONE = """
import logging, sys
from fastconv import ConvProblem
from fastconv.selection import answers, files
logging.basicConfig(level=logging.INFO, stream=sys.stdout)
{prelude}
problem = ConvProblem.parse("conv2d,n1,c8,14x14,k8,3x3,p1,float32")
answers.remember(problem, 1, answers.Answer({{"direct": 1.0}}, "measure"))
assert answers.find(problem, 1, ["direct"]) is not None
"""
NOBODY = """
import pwd
def getpwuid(number):
    raise KeyError(number)
pwd.getpwuid = getpwuid
"""
# Root may write everywhere until it gives up its capabilities (capget(2): version 3, 64 bits).
WITHOUT_PRIVILEGES = """
import ctypes
header, none = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
assert ctypes.CDLL(None).capset(header, none) == 0
"""


def run_alone(prelude, cwd, **variables):
    """Return what a process says that has nothing in its environment but where packages are."""
    path = os.pathsep.join(entry for entry in sys.path if entry)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", ALONE.format(prelude=prelude)],
        **{"env": {"PYTHONPATH": path, **variables}, "cwd": cwd},
        **{"capture_output": True, "text": True, "check": False, "timeout": 120},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(os.name != "posix", reason="HOME is POSIX's")
def test_no_home_at_all(tmp_path):
    said = run_alone(NOBODY, tmp_path)
    assert "INFO:fastconv:no home directory: measured answers are kept in memory only" in said
    assert list(tmp_path.iterdir()) == []  # no directory called "~"


@pytest.mark.skipif(sys.platform != "linux", reason="capset is called by its name")
@pytest.mark.parametrize("variable", ["HOME", "FASTCONV_CACHE_DIR"])
def test_a_directory_that_cannot_be_written(tmp_path, variable):
    home = tmp_path / "home"
    home.mkdir()
    home.chmod(0o555)
    try:
        said = run_alone(WITHOUT_PRIVILEGES, tmp_path, **{variable: str(home)})
    finally:
        home.chmod(0o755)
    assert said.startswith("INFO:fastconv:cannot store measured answers in ")
    assert list(home.iterdir()) == []


# --- what a file may hold -------------------------------------------------------------------------


def text_of(**changes):
    content = {"format": answers.FORMAT, "origin": asdict(HERE), "answers": {KEY: [asdict(ANSWER)]}}
    return json.dumps({**content, **changes})


def with_answers(*given):
    return text_of(answers={KEY: list(given)})


GOOD = {"rigour": "measure", "seconds": {"direct": 1.0}}
DAMAGED = {
    "empty": "",
    "truncated": text_of()[:-20],
    "no object": "[1, 2]",
    "no answers": "{}",
    "answers that are a list": text_of(answers=[1]),
    "deep nesting": "[" * 100_000,
    "deep objects": '{"answers":' * 100_000,
    "deep and whole": "[" * 100_000 + "]" * 100_000,
    "a number of too many digits": '{"answers": {}, "format": ' + "9" * 10_000 + "}",
    "no text": b"\xff\xfe\x00" * 10,
}
ANOTHERS = {
    "another format": text_of(format=2),
    "format of another type": text_of(format=[1]),
    "another version": text_of(origin=asdict(replace(HERE, version="0.9"))),
    "another processor": text_of(origin=asdict(replace(HERE, cpu="x"))),
    "no origin": text_of(origin=None),
}
PARTLY_DAMAGED = {
    "answers of a wrong type": text_of(answers={KEY: "fast"}),
    "an answer of a wrong type": with_answers("fast", 1, None, []),
    "no seconds": with_answers({"rigour": "measure"}, {"rigour": "measure", "seconds": {}}),
    "no rigour": with_answers({"seconds": {"direct": 1.0}}, {"rigour": ["measure"], "seconds": {"direct": 1.0}}),
    **{
        f"seconds {value}"[:30]: with_answers(GOOD).replace(": 1.0", f": {value}")
        for value in ("0", "-1", "NaN", "Infinity", "1e999", "true", '"1"', "[1]", "{}", "9" * 400, "1e300")
    },
}


def stored(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


@pytest.mark.parametrize("content", [*DAMAGED.values(), *PARTLY_DAMAGED.values()], ids=[*DAMAGED, *PARTLY_DAMAGED])
def test_what_is_damaged_is_ignored_and_said(path, caplog, content):
    stored(path, content)
    assert answers.read(path, HERE) == {}
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert str(path) in record.getMessage()


@pytest.mark.parametrize("content", ANOTHERS.values(), ids=ANOTHERS)
def test_what_another_version_or_machine_wrote_is_ignored(path, caplog, content):
    stored(path, content)
    with caplog.at_level(logging.INFO, "fastconv"):
        assert answers.read(path, HERE) == {}
    (record,) = caplog.records
    assert record.levelno == logging.INFO


def test_a_damaged_entry_takes_no_other_along(path):
    content = json.loads(text_of())
    content["answers"]["another"] = [{"rigour": "measure", "seconds": {"direct": -1}}, asdict(ANSWER)]
    content["answers"]["a third"] = 3
    stored(path, json.dumps(content))
    assert answers.read(path, HERE) == {KEY: (ANSWER,), "another": (ANSWER,)}


@pytest.mark.parametrize("content", [*DAMAGED.values(), *ANOTHERS.values()], ids=[*DAMAGED, *ANOTHERS])
def test_a_damaged_file_is_replaced_by_the_next_answer(path, content):
    stored(path, content)
    assert answers.merge(path, HERE, {KEY: (ANSWER,)})
    assert answers.read(path, HERE) == {KEY: (ANSWER,)}


def test_a_truncated_file_never_raises(path):
    whole = text_of(answers={KEY: [asdict(ANSWER)], "another": [GOOD]})
    for length in range(0, len(whole), 7):
        stored(path, whole[:length])
        assert answers.read(path, HERE) == {}
    stored(path, whole)
    assert len(answers.read(path, HERE)) == 2


def test_what_is_no_file_is_neither_read_nor_replaced(path, monkeypatch):
    path.mkdir(parents=True)
    assert answers.read(path, HERE) == {}
    assert not answers.merge(path, HERE, {KEY: (ANSWER,)})
    assert path.is_dir()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="a pipe with a name is POSIX's")
def test_a_pipe_is_not_waited_for(path):
    path.parent.mkdir()
    os.mkfifo(path)
    assert answers.read(path, HERE) == {}


def test_a_file_that_is_too_large_is_not_read(path, monkeypatch):
    stored(path, text_of())
    monkeypatch.setattr(files, "MOST_BYTES", 100)
    assert answers.read(path, HERE) == {}
    assert not answers.merge(path, HERE, {KEY: (ANSWER,)})


def test_a_lock_that_is_held_too_long_loses_nothing(path, monkeypatch):
    from filelock import FileLock

    answers.merge(path, HERE, {KEY: (ANSWER,)})
    monkeypatch.setattr(files, "LOCK_SECONDS", 0.05)
    with FileLock(f"{path}.lock"):
        assert not answers.merge(path, HERE, {"another": (ANSWER,)})
    assert answers.read(path, HERE) == {KEY: (ANSWER,)}


# --- several processes ----------------------------------------------------------------------------

WRITER = """
import sys
from pathlib import Path
from fastconv.selection import answers, files
path, name, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
here = answers.Origin("1.0", "digest", "a-processor", "+avx2", 256)
for number in range(count):
    assert answers.merge(path, here, {f"{name} {number}": (answers.Answer({"direct": 1e-3}, "measure"),)})
    print(number, flush=True)
"""


def writer(path, name, count):
    return subprocess.Popen([sys.executable, "-c", WRITER, str(path), name, str(count)], stdout=subprocess.PIPE)


def test_ten_processes_that_write_at_once_lose_nothing(path):
    writers = [writer(path, f"process {number}", 8) for number in range(10)]
    for one in writers:
        one.communicate(timeout=120)
        assert one.returncode == 0
    expected = {f"process {number} {entry}" for number in range(10) for entry in range(8)}
    assert set(answers.read(path, HERE)) == expected


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="SIGKILL is POSIX's")
def test_a_process_that_is_killed_loses_nothing_that_it_stored(path):
    moments, expected = random.Random(0), set()
    for number in range(10):
        one = writer(path, f"process {number}", 100_000)
        one.stdout.readline()  # it is writing now
        time.sleep(moments.uniform(0, 0.03))
        one.kill()
        told = one.communicate(timeout=60)[0].splitlines()
        expected |= {f"process {number} {entry}" for entry in range(1 + len(told))}
        found = set(answers.read(path, HERE))
        assert expected <= found  # and perhaps one whose number was not told
        assert len(found - expected) <= 1
        expected = found
    assert answers.merge(path, HERE, {KEY: (ANSWER,)})  # the lock of the dead is free
    assert set(answers.read(path, HERE)) == {*expected, KEY}

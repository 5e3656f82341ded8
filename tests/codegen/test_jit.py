"""Compiled code: kept in memory, kept on disk, and never believed when it is damaged."""

from __future__ import annotations

import ctypes
import subprocess
import sys
import threading

import pytest

from fastconv import config
from fastconv.codegen import jit
from fastconv.codegen import target as targets


def answer(name, value):
    """Return the text of a function that takes nothing and returns `value`."""
    return f"define i64 @{name}() {{\n  ret i64 {value}\n}}\n"


def never():
    pytest.fail("compiled although it need not have been")


def call(address):
    return ctypes.CFUNCTYPE(ctypes.c_int64)(address)()


@pytest.fixture
def directory(tmp_path, monkeypatch):
    """An empty cache directory."""
    monkeypatch.setenv("FASTCONV_CACHE_DIR", str(tmp_path))
    return config.cache_directory()


@pytest.fixture
def counted(monkeypatch):
    """Begin as a new process does; return a function that says (compiled, loaded) since then."""
    monkeypatch.setattr(jit, "_addresses", {})
    monkeypatch.setattr(jit, "counts", type(jit.counts)())
    return lambda: (jit.counts["compiled"], jit.counts["loaded"])


@pytest.fixture
def next_process(monkeypatch):
    """Call it to forget what is kept in memory, as in a new process."""
    return lambda: monkeypatch.setattr(jit, "_addresses", {})


def stored(directory, name):
    (path,) = directory.rglob(f"{name}.object")
    return path


def test_compiled_once_then_remembered(directory, counted):
    target = targets.current()
    first = jit.address("remembered", lambda: answer("remembered", 42), target)
    assert call(first) == 42
    assert jit.address("remembered", never, target) == first
    assert counted() == (1, 0)


def test_a_later_process_loads(directory, counted, next_process):
    target = targets.current()
    jit.address("loaded", lambda: answer("loaded", 43), target)
    next_process()
    assert call(jit.address("loaded", never, target)) == 43
    assert counted() == (1, 1)


def test_what_compiling_took_is_kept_by_name(directory, counted, next_process, monkeypatch):
    monkeypatch.setattr(jit, "compile_seconds", {})
    target = targets.current()
    jit.address("timed", lambda: answer("timed", 45), target)
    assert list(jit.compile_seconds) == ["timed"]
    assert jit.compile_seconds.pop("timed") > 0
    next_process()
    jit.address("timed", never, target)
    assert jit.compile_seconds == {}  # loaded, not compiled


def test_another_process_compiles_nothing(directory, counted):
    jit.address("shared", lambda: answer("shared", 44), targets.current())
    program = """
import ctypes
from fastconv.codegen import jit, target
address = jit.address("shared", lambda: 1 / 0, target.current())
assert ctypes.CFUNCTYPE(ctypes.c_int64)(address)() == 44
assert dict(jit.counts) == {"loaded": 1}
"""
    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True, timeout=120)


@pytest.mark.parametrize(
    "damage",
    [
        lambda code: b"",
        lambda code: code[:20],
        lambda code: code[: len(code) // 2],
        lambda code: code[:-1],
        lambda code: code + b"\0",
        lambda code: code[:100] + bytes([code[100] ^ 1]) + code[101:],
        lambda code: bytes([code[0] ^ 1]) + code[1:],
        lambda code: b"\x7fELF" + bytes(500),
    ],
    ids=["empty", "short", "half", "one byte less", "one byte more", "one bit of the code",
         "one bit of the digest", "another file"],
)  # fmt: skip
def test_a_damaged_file_is_compiled_again(directory, counted, next_process, damage):
    target = targets.current()
    jit.address("damaged", lambda: answer("damaged", 1), target)
    path = stored(directory, "damaged")
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    next_process()
    assert call(jit.address("damaged", lambda: answer("damaged", 2), target)) == 2
    assert counted() == (2, 0)
    next_process()  # and stored again
    assert call(jit.address("damaged", never, target)) == 2
    assert counted() == (2, 1)


def test_nothing_but_whole_files_is_left(directory, counted):
    jit.address("whole", lambda: answer("whole", 5), targets.current())
    names = [path.name for path in directory.rglob("*") if path.is_file()]
    assert names == ["whole.object"]


def test_a_directory_that_cannot_be_written(tmp_path, monkeypatch, counted, next_process):
    # Permissions do not stop every user: a file stands where the directory would be.
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("FASTCONV_CACHE_DIR", str(tmp_path / "file"))
    assert config.cache_directory() is None
    for value in (6, 7):
        found = jit.address("unwritable", lambda v=value: answer("unwritable", v),
                            targets.current())  # fmt: skip
        assert call(found) == value
        next_process()
    assert counted() == (2, 0)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_directory_that_is_lost_later(directory, counted, next_process):
    target = targets.current()
    jit.address("kept", lambda: answer("kept", 8), target)
    folder = stored(directory, "kept").parent
    stored(directory, "kept").unlink()
    folder.rmdir()
    folder.write_text("in the way")
    next_process()
    assert call(jit.address("kept", lambda: answer("kept", 9), target)) == 9
    assert counted() == (2, 0)


def test_each_vector_width_has_its_own_code(directory, counted):
    found = []
    for bits in config.VECTOR_BITS:
        config.set_vector_bits(bits)
        try:
            target = targets.current()
        finally:
            config.set_vector_bits(None)
        assert target.vector_bits == bits
        code = answer("width", bits)
        found.append(call(jit.address("width", lambda c=code: c, target)))
    assert found == list(config.VECTOR_BITS)
    assert counted() == (3, 0)
    assert len(list(directory.rglob("width.object"))) == 3


def test_threads_that_ask_at_once_compile_once(directory, counted):
    target, gate, found = targets.current(), threading.Barrier(8), []

    def ask():
        gate.wait(60)
        found.append(jit.address("contended", lambda: answer("contended", 10), target))

    askers = [threading.Thread(target=ask) for _ in range(8)]
    for asker in askers:
        asker.start()
    for asker in askers:
        asker.join()
    assert len(found) == 8
    assert len(set(found)) == 1
    assert counted() == (1, 0)


def test_code_that_is_no_code_is_an_error_and_is_not_kept(directory, counted):
    target = targets.current()
    with pytest.raises(RuntimeError, match="expected"):
        jit.address("wrong", lambda: "this is not LLVM IR", target)
    assert not list(directory.rglob("wrong.object"))
    assert call(jit.address("wrong", lambda: answer("wrong", 11), target)) == 11

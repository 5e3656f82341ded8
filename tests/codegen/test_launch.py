"""The emitted hand-out on one thread, where it can be checked by hand; tests/cpu/test_threads.py has helpers."""

from __future__ import annotations

import ctypes

import pytest

from fastconv.codegen import launch
from fastconv.codegen import target as targets
from fastconv.cpu.native import Slots

Calls = list[tuple[int, int, int, int]]


def launched(tasks: int, threads: int, memory: int = 0, pitch: int = 0) -> tuple[Slots, Slots, Calls]:
    """Launch a job that records its calls, with a mailbox that nobody looks at."""
    calls: Calls = []

    @ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 4)
    def record(*arguments: int) -> None:
        calls.append(arguments)

    mailbox, job = Slots(launch.MAILBOX_SLOTS), Slots(launch.JOB_SLOTS)
    job[launch.FUNCTION] = ctypes.cast(record, ctypes.c_void_p).value
    job[launch.SCRATCH], job[launch.PITCH] = memory, pitch
    job[launch.TASKS], job[launch.THREADS] = tasks, threads
    ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 2)(launch.launch())(mailbox.address, job.address)
    return mailbox, job, calls


def slot(slots: Slots, number: int) -> int:
    return slots.memory[slots.offset // 8 + number]


@pytest.mark.parametrize(
    ("tasks", "threads", "ranges"),
    [
        (0, 2, []),
        (1, 2, [(0, 1)]),
        (3, 1, [(0, 1), (1, 2), (2, 3)]),
        (8, 2, [(0, 2), (2, 3), (3, 4), (4, 5), (5, 6), (6, 7), (7, 8)]),
        (20, 2, [(0, 5), (5, 8), (8, 11), (11, 13), *((i, i + 1) for i in range(13, 20))]),
        (20, 5, [(0, 2), *((i, i + 1) for i in range(2, 20))]),
    ],
)
def test_ranges_are_half_a_fair_share_of_what_is_left(tasks, threads, ranges):
    _, _, calls = launched(tasks, threads)
    assert [call[2:] for call in calls] == ranges


def test_the_caller_is_worker_zero():
    _, job, calls = launched(4, 3, memory=5000, pitch=64)
    assert {call[:2] for call in calls} == {(job.address + 8 * launch.OPERANDS, 5000)}


def test_a_job_is_published_and_closed():
    mailbox, job, _ = launched(4, 3)
    assert slot(mailbox, launch.JOB) == job.address
    assert slot(mailbox, launch.PUBLISHED) == 1
    assert slot(job, launch.PLACES) == 0


def test_words_of_several_threads_have_lines_of_their_own():
    words = {launch.NEXT, launch.PLACES, launch.LEFT, launch.OPERANDS}
    assert len({word // launch.LINE for word in words}) == len(words)
    assert all(word % launch.LINE == 0 for word in words)
    assert launch.LEFT_LOCK < launch.NEXT


@pytest.mark.parametrize(
    ("triple", "pause"),
    [
        ("x86_64-unknown-linux-gnu", "llvm.x86.sse2.pause"),
        ("aarch64-unknown-linux-gnu", "llvm.aarch64.isb"),
        ("arm64-apple-darwin", "llvm.aarch64.isb"),
        ("riscv64-unknown-linux-gnu", None),
    ],
)
def test_a_loop_that_waits_says_so_where_the_processor_can_hear_it(monkeypatch, triple, pause):
    monkeypatch.setattr(launch.llvm, "get_process_triple", lambda: triple)
    for emit in (launch._emit_launch, launch._emit_serve):
        text = str(emit("name", targets.processor()))
        assert ("pause" in text or "isb" in text) == (pause is not None)
        assert pause is None or text.count(pause) > 1

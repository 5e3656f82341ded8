"""Threads: every task once, the serial result bit by bit, and life after a fork."""

from __future__ import annotations

import ctypes
import itertools
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np
import pytest

import fastconv
from fastconv import selection
from fastconv.codegen import launch
from fastconv.cpu import scratch, threads
from fastconv.cpu.native import Slots, held_lock
from fastconv.problem import ConvProblem

TILED = tuple(name for name in fastconv.algorithms() if name != "reference")


def able(problem: ConvProblem) -> list[str]:
    """Those of them that compute `problem`."""
    return [name for name in TILED if selection.algorithm(name).supports(problem) is None]


@pytest.fixture
def _two_threads(always_threads):
    """Give every call, however small, two threads."""
    always_threads(2)


# ------------------------------------------------------------------------------- handing out

ENTRY = ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 4)
JOB = Slots(launch.JOB_SLOTS)
JOB[launch.LEFT_LOCK] = held_lock()


def hand_out(work: Callable[[int, int], object], tasks: int, count: int, job: Slots = JOB) -> None:
    """Hand tasks out of a Python function, which machine code can call as well as any other."""
    hand_out_entry(lambda operands, memory, first, last: work(first, last), tasks, count, job)


def hand_out_entry(
    work: Callable[[int, int, int, int], object],
    tasks: int,
    count: int,
    job: Slots = JOB,
    operands: tuple[int, ...] = (),
    memory: int = 0,
    pitch: int = 0,
) -> None:
    def nothing_returned(*arguments: int) -> None:
        work(*arguments)

    entry = ENTRY(nothing_returned)
    address = ctypes.cast(entry, ctypes.c_void_p).value
    assert address is not None
    threads.Launch(address, len(operands), tasks, count).run(job, operands, memory, pitch)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7, 16])
@pytest.mark.parametrize("tasks", [0, 1, 2, 3, 5, 8, 17, 64, 100, 1000])
def test_each_task_is_done_exactly_once(tasks, count):
    ranges: list[tuple[int, int]] = []
    hand_out(lambda first, last: ranges.append((first, last)), tasks, count)
    done = sorted(itertools.chain.from_iterable(range(first, last) for first, last in ranges))
    assert done == list(range(tasks))


@pytest.mark.parametrize(
    ("units", "threads_", "expected"),
    [(0, 4, 1), (1, 4, 1), (1.9, 4, 1), (2, 4, 2), (3.5, 4, 3), (4, 4, 4), (100, 4, 4), (100, 1, 1), (0.1, 1, 1)],
)
def test_little_work_is_not_worth_many_threads(units, threads_, expected):
    assert threads.worth(units * threads.WORTH_A_THREAD, threads_) == expected


def test_one_thread_does_everything_in_one_piece():
    calls = []
    hand_out(lambda *tasks: calls.append((tasks, threading.current_thread())), 100, 1)
    assert calls == [((0, 100), threading.current_thread())]


@pytest.mark.parametrize("count", [2, 3, 5])
def test_that_many_threads_work_at_the_same_time(count):
    meeting = threading.Barrier(count)  # nobody passes before all are there
    hand_out(lambda first, last: meeting.wait(60), count, count)
    assert not meeting.broken


def test_no_more_threads_than_asked_for():
    hand_out(lambda first, last: None, 500, 6)  # so many helpers exist
    workers: set[int] = set()
    hand_out(lambda first, last: workers.add(threading.get_ident()), 500, 3)
    assert 1 <= len(workers) <= 3


def test_each_worker_has_scratch_of_its_own_and_all_have_the_operands():
    meeting = threading.Barrier(4)
    scratch_of: dict[int, int] = {}
    seen = []

    def work(operands: int, memory: int, first: int, last: int) -> None:
        meeting.wait(60)
        scratch_of[threading.get_ident()] = memory
        seen.append(list((ctypes.c_int64 * 3).from_address(operands)))

    hand_out_entry(work, 4, 4, operands=(7, -8, 9), memory=1000, pitch=64)
    assert scratch_of[threading.get_ident()] == 1000
    assert sorted(scratch_of.values()) == [1000, 1064, 1128, 1192]
    assert seen == [[7, -8, 9]] * 4


@pytest.mark.parametrize("count", [2, 4])
def test_helpers_come_whether_awake_or_asleep(count):
    """Pauses of about the time that a helper stays awake: none may sleep through a call."""
    random = np.random.default_rng(1)
    for pause in [0.0, 0.02, *random.uniform(0, 1e-3, 300)]:
        time.sleep(pause)
        meeting = threading.Barrier(count)
        hand_out(lambda first, last, meeting=meeting: meeting.wait(60), count, count)
        assert not meeting.broken


def test_the_caller_waits_for_a_helper_that_is_late():
    """Longer than it spins: it sleeps until the last one leaves."""
    caller, meeting, finished = threading.get_ident(), threading.Barrier(4), []

    def work(first: int, last: int) -> None:
        meeting.wait(60)
        if threading.get_ident() != caller:
            time.sleep(0.01 * (1 + first))
        finished.append(first)

    for _ in range(10):
        hand_out(work, 4, 4)
        assert sorted(finished) == [0, 1, 2, 3]
        finished.clear()


def test_a_call_within_a_call():
    """As from a signal's handler: it has a job of its own."""
    done: list[int] = []
    inner = scratch.take()

    def work(first: int, last: int) -> None:
        done.append(first)
        if first == 0:
            hand_out(lambda first, last: done.extend(range(100 + first, 100 + last)), 20, 2, inner.job)

    hand_out(work, 4, 2)
    scratch.give(inner)
    assert sorted(done) == [0, 1, 2, 3, *range(100, 120)]


def test_callers_share_the_pool_without_waiting_for_each_other_for_ever():
    """More callers than workers: a caller whose helper never starts does the work itself."""

    def call(number: int) -> list[int]:
        done: list[int] = []
        workspace = scratch.take()
        hand_out(lambda first, last: done.extend(range(first, last)), 40, 2, workspace.job)
        scratch.give(workspace)
        return sorted(done)

    with ThreadPoolExecutor(8) as pool:
        assert all(done == list(range(40)) for done in pool.map(call, range(200)))


# -------------------------------------------------------------------------- the serial result

PROBLEMS = [
    ConvProblem.parse(text)
    for text in (
        "conv1d,n2,c5,301,k7,9,p4,float32",
        "conv2d,n1,c8,8x8,k8,3x3,p1,float32",
        "conv2d,n1,c16,33x31,k40,3x3,p1,float32",
        "conv2d,n3,c16,20x21,k19,3x3,s2,p1,reflect,channels_last,float32",
        "conv2d,n1,c24,17x40,k24,5x5,p2,g24,float32",
        "conv2d,n1,c1,150x61,k1,7x7,p3,float32",
        "conv2d,n2,c5,31x40,k10,3x3,s2,d3,p2,g5,float64",
        "conv2d,n1,c12,28x28,k30,1x1,channels_last,float64",
        "conv2d,n2,c6,19x23,k12,3x2,d2,g3,flip,float64",
        "conv3d,n1,c3,9x10x11,k10,3x3x3,p1,symmetric,float32",
    )
]
CONVOLVE = {1: fastconv.conv1d, 2: fastconv.conv2d, 3: fastconv.conv3d}


def call(problem: ConvProblem, algorithm: str) -> bytes:
    """Return the bytes of a call's result; the same arguments each time."""
    random = np.random.default_rng(3)
    shapes = problem.input_shape, problem.weight_shape, (problem.filters,)
    x, weight, bias = (random.uniform(-1, 1, shape).astype(problem.dtype) for shape in shapes)
    if problem.rank == 2:
        weight = weight[..., :1] * weight[..., :1, :]  # of rank one, which every algorithm computes
    result = CONVOLVE[problem.rank](
        x, weight, bias, activation="relu", algorithm=algorithm, **problem.arguments()
    )
    return result.tobytes()


@pytest.fixture(scope="module")
def serial() -> dict[tuple[ConvProblem, str], bytes]:
    before = fastconv.get_num_threads()
    fastconv.set_num_threads(1)
    try:
        return {
            (problem, name): call(problem, name)
            for problem in PROBLEMS
            for name in able(problem)
        }
    finally:
        fastconv.set_num_threads(before)


def mixed(serial: dict[tuple[ConvProblem, str], bytes], calls: int) -> list[tuple]:
    """Return keys of `serial` in a random order, so that different problems run side by side."""
    keys = list(serial)
    order = np.random.default_rng(5).integers(0, len(keys), calls)
    return [keys[place] for place in order]


@pytest.mark.parametrize("count", [2, 3, 8])
def test_the_result_does_not_depend_on_the_number_of_threads(serial, always_threads, count):
    always_threads(count)
    wrong = [key for key, expected in serial.items() if call(*key) != expected]
    assert wrong == []


def test_calls_from_several_threads_at_once(serial, set_threads):
    """Each call is serial: they share plans, code and nothing that they write."""
    set_threads(1)
    keys = mixed(serial, 300)
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda key: call(*key), keys))
    assert [key for key, got in zip(keys, results, strict=True) if got != serial[key]] == []


@pytest.mark.usefixtures("_two_threads")
def test_threaded_calls_from_several_threads_at_once(serial):
    keys = mixed(serial, 300)
    with ThreadPoolExecutor(6) as pool:
        results = list(pool.map(lambda key: call(*key), keys))
    assert [key for key, got in zip(keys, results, strict=True) if got != serial[key]] == []


@pytest.mark.usefixtures("_two_threads")
def test_forgetting_everything_while_others_compute(serial):
    keys = mixed(serial, 200)
    finished = threading.Event()

    def forget() -> int:
        times = 0
        while not finished.wait(0.003):
            fastconv.clear_cache()
            times += 1
        return times

    with ThreadPoolExecutor(5) as pool:
        forgetting = pool.submit(forget)
        try:
            results = list(pool.map(lambda key: call(*key), keys))
        finally:
            finished.set()
    assert forgetting.result() > 0
    assert [key for key, got in zip(keys, results, strict=True) if got != serial[key]] == []


def test_threads_that_start_together_compile_together(serial):
    """A process in which several threads make the first call of all, each of another problem."""
    program = """
import sys, threading
from concurrent.futures import ThreadPoolExecutor
import numpy as np
import fastconv

start = threading.Barrier(4)
def first_call(filters):
    start.wait(60)
    y = fastconv.conv2d(np.ones((1, 2, 5, 40), "f4"), np.ones((filters, 2, 3, 3), "f4"))
    return y.shape == (1, filters, 3, 38) and bool((y == 18).all())
with ThreadPoolExecutor(4) as pool:
    assert all(pool.map(first_call, (3, 3, 7, 8)))
"""
    assert run_python(program) == (0, "")


# --------------------------------------------------------------------------- other processes


def run_python(program: str) -> tuple[int, str]:
    """Run a program in a fresh process; return its exit status and what it complained about."""
    command = [sys.executable, "-W", "error", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    return done.returncode, done.stderr


FORK = """
import os, threading, warnings
import numpy as np
import fastconv
from fastconv.cpu import threads

warnings.filterwarnings("ignore", "This process", DeprecationWarning)  # Python 3.12 on fork
threads.WORTH_A_THREAD = 0.0
fastconv.set_num_threads(2)
random = np.random.default_rng(0)
x = random.uniform(-1, 1, (2, 16, 30, 30)).astype("float32")
column, row = random.uniform(-1, 1, (32, 1, 3, 1)), random.uniform(-1, 1, (32, 1, 1, 3))
weight = (column * row).astype("float32")  # of rank one, which every algorithm computes

def results():
    return [fastconv.conv2d(x, weight, groups=16, algorithm=name).tobytes() for name in {names}]

def helpers():
    return [thread for thread in threading.enumerate() if thread.name.startswith("fastconv")]

before = results()
assert helpers(), "the calls were serial: nothing is shown"
child = os.fork()
if child == 0:
    status = 2
    try:
        assert not helpers()
        status = int(results() != before or not helpers())
    finally:
        os._exit(status)
assert results() == before
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert results() == before
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork is POSIX's")
def test_a_fork_after_use():
    names = able(ConvProblem.parse("conv2d,n2,c16,30x30,k32,3x3,g16,float32"))
    assert run_python(FORK.replace("{names}", repr(names))) == (0, "")


FORK_WHILE_COMPILING = """
import os, signal, threading, time, warnings
import numpy as np
import fastconv
from fastconv.codegen import jit, target

warnings.filterwarnings("ignore", "This process", DeprecationWarning)  # Python 3.12 on fork
os.environ["FASTCONV_CACHE_DIR"] = os.devnull  # or it would be loaded the next time
started = threading.Event()

def emit():
    started.set()
    time.sleep(0.5)
    return "define void @slow() { ret void }"

slow = threading.Thread(target=jit.address, args=("slow", emit, target.current()))
slow.start()
started.wait()
child = os.fork()
if child == 0:
    y = fastconv.conv2d(np.ones((1, 1, 3, 3), "f4"), np.ones((1, 1, 3, 3), "f4"))
    os._exit(int(y.item() != 9))
slow.join()
for _ in range(600):
    finished, status = os.waitpid(child, os.WNOHANG)
    if finished:
        break
    time.sleep(0.1)
else:
    os.kill(child, signal.SIGKILL)
    raise SystemExit("the child waits for a lock that its parent's thread held")
assert os.waitstatus_to_exitcode(status) == 0
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="fork is POSIX's")
def test_a_fork_while_another_thread_compiles():
    assert run_python(FORK_WHILE_COMPILING) == (0, "")


def test_spawned_processes(serial):
    problem = next(problem for problem in PROBLEMS if problem.rank == 2)
    random = np.random.default_rng(3)
    x, weight = (
        random.uniform(-1, 1, shape).astype(problem.dtype)
        for shape in (problem.input_shape, problem.weight_shape)
    )
    expected = [fastconv.conv2d(x, weight, algorithm=name) for name in able(problem)]
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        pending = [pool.submit(fastconv.conv2d, x, weight, algorithm=name) for name in able(problem)]
        for one, wanted in zip(pending, expected, strict=True):
            np.testing.assert_array_equal(one.result(240), wanted)


SHUTDOWN = """
import atexit, threading, time
import numpy as np
import fastconv
from fastconv.cpu import threads

threads.WORTH_A_THREAD = 0.0
fastconv.set_num_threads(2)
x, weight = np.ones((1, 8, 20, 20), "f4"), np.ones((8, 8, 3, 3), "f4")

def call():
    assert (fastconv.conv2d(x, weight) == 72).all()

call()
{late}
"""
LATE = {
    "a thread that outlives the main one": """
def later():
    threading.main_thread().join()
    call()
threading.Thread(target=later).start()
""",
    "an exit handler": "atexit.register(call)",
}


@pytest.mark.parametrize("late", LATE)
def test_a_call_while_the_interpreter_shuts_down(late):
    """The pool takes no work any more: the caller does all of it."""
    assert run_python(SHUTDOWN.replace("{late}", LATE[late])) == (0, "")

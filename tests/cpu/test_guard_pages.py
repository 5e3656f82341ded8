"""Kernels are given addresses: here every array lies against a page that may not be touched.

An array ends where an unreadable page begins, or begins where one ends, so that one element too
many is a segmentation fault and not a wrong number somewhere else. Inputs may not even be written.
Around the arrays, where the fault cannot be provoked, lie NaNs that must neither reach the result
nor be overwritten. Scratch memory is guarded too, and so are the packed weights of layers.

The problems run in a process of their own, which this file is the program of::

    python tests/cpu/test_guard_pages.py 512 channels_first 0 40

"""

from __future__ import annotations

import ctypes
import math
import mmap
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from types import ModuleType

import numpy as np
import pytest

import fastconv
from fastconv import reference
from fastconv.cpu.fft_plan import Tiling
from fastconv.problem import ACTIVATIONS, DIRECTIONS, LAYOUTS, PADDING_MODES, ConvProblem
from fastconv.selection import TABLE, algorithm
from fastconv.selection.table import GRADIENTS

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="mprotect is called by its name")

PROBLEMS = 46  # for each of three vector widths and two layouts
SIDES = ("guard behind", "guard before")
TILED = tuple(name for name in fastconv.algorithms() if name != "reference")
TOLERANCE = {"float32": 2e-6, "float64": 1e-14}


# ------------------------------------------------------------------------------ guarded memory

NOTHING, READ = 0, 1  # PROT_NONE and PROT_READ of sys/mman.h
FILL = 0xFF  # a number of such bytes is NaN


class Guarded:
    """An array in memory of its own that touches an unreadable page."""

    def __init__(self, shape: tuple[int, ...], dtype: str, side: str) -> None:
        size = math.prod(shape) * np.dtype(dtype).itemsize
        inner = max(1, -(-size // mmap.PAGESIZE)) * mmap.PAGESIZE
        memory = mmap.mmap(-1, mmap.PAGESIZE + inner + mmap.PAGESIZE)
        everything = np.frombuffer(memory, np.uint8)
        self.inner = everything[mmap.PAGESIZE : mmap.PAGESIZE + inner]
        self.inner[:] = FILL
        for guard in (everything[: mmap.PAGESIZE], everything[mmap.PAGESIZE + inner :]):
            protect(guard, NOTHING)
        first = inner - size if side == "guard behind" else 0
        self.surroundings = self.inner[:first], self.inner[first + size :]
        self.array = np.ndarray(shape, dtype, memory, mmap.PAGESIZE + first)

    def untouched(self) -> bool:
        """Return whether nothing was written beside the array, as far as it could be."""
        return all((part == FILL).all() for part in self.surroundings)


def protect(pages: np.ndarray, allowed: int) -> None:
    """Let the process do to whole pages only what is allowed."""
    mprotect = ctypes.CDLL(None, use_errno=True).mprotect
    mprotect.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    if mprotect(pages.ctypes.data, pages.nbytes, allowed):
        raise OSError(ctypes.get_errno(), "mprotect")


def guarded_input(values: np.ndarray | None, side: str) -> np.ndarray | None:
    """Copy `values` against a guard; the copy can be read only."""
    if values is None:
        return None
    copy = Guarded(values.shape, values.dtype.name, side)
    copy.array[...] = values
    protect(copy.inner, READ)
    return copy.array


# ---------------------------------------------------------------------------- random problems


@dataclass(frozen=True)
class Case:
    """A call with random arguments, in all but the algorithm and the side of the guard."""

    problem: ConvProblem
    activation: str | None
    bias: bool
    residual: bool
    other_channels: int  # in the array that `out` is a slice of
    threads: int

    def __str__(self) -> str:
        words = [str(self.problem), f"activation={self.activation}"]
        words += [name for name in ("bias", "residual") if getattr(self, name)]
        return " ".join([*words, f"others={self.other_channels}", f"threads={self.threads}"])


#: What is seldom drawn: Winograd's tiles with a stride, cut at both ends, of groups, and by one axis alone; filters on
#: small planes whose taps are left out, and looked at by more vectors than are written out; short rows of which every
#: column has a copy.
SELDOM = (
    "conv2d,n2,c9,13x18,k11,3x3,s2,p1,float32",
    "conv2d,n1,c6,11x9,k10,3x5,s2x1,p1x2:0,g2,flip,float32",
    "conv2d,n2,c5,3x31,k7,1x3,s2,p0x1,float64",
    "conv2d,n2,c3,7x6,k3,13x13,p6,g3,float32",
    "conv2d,n1,c3,7x8,k3,15x13,s2,p7x6,g3,float64",
    "conv2d,n1,c5,13x13,k49,3x3,p1,float32",
)


def seldom_drawn(number: int, layout: str) -> ConvProblem | None:
    """Return which of those the case of a number is, the first of both halves; None for the others."""
    number %= PROBLEMS // 2
    return replace(ConvProblem.parse(SELDOM[number]), layout=layout) if number < len(SELDOM) else None


def random_problem(random: np.random.Generator, layout: str) -> ConvProblem:
    """Draw a problem of any rank that takes the reference some milliseconds."""
    rank = int(random.integers(1, 4))
    most_size, most_kernel = {1: (150, 9), 2: (31, 5), 3: (11, 3)}[rank]
    while True:
        groups = int(random.choice([1, 1, 1, 2, 3, 7, 33]))
        channels = int(random.choice([1, 1, 1, 1, 2, 3, 5, 8, 17, 33, 67, 130]))
        filters = int(random.choice([1, 1, 2, 3, 5, 8, 13, 17, 31, 65]))
        kernel = random.integers(1, most_kernel + 1, rank)
        most_steps = int(random.choice([1, 3]))  # of 1 alone is what some algorithms compute
        stride, dilation = (np.minimum(random.choice([1, 1, 1, 2, 3], rank), most_steps) for _ in range(2))
        mode = str(random.choice(["zeros", *PADDING_MODES]))
        size = random.integers(1, most_size + 1, rank)
        limit = {"reflect": size - 1, "circular": size, "symmetric": size}.get(mode, size + 4)
        padding = random.integers(0, np.minimum(limit, 4) + 1, (2, rank)) * random.integers(0, 2)
        span = dilation * (kernel - 1) + 1
        size += np.maximum(0, span - size - padding.sum(axis=0))
        batch = int(random.choice([1, 1, 2, 3]))
        shape = (batch, groups * channels, *size)
        problem = ConvProblem.from_shapes(
            shape if layout == "channels_first" else (shape[0], *shape[2:], shape[1]),
            (groups * filters, channels, *kernel),
            str(random.choice(list(TOLERANCE))),
            stride=tuple(stride),
            padding=padding.T.tolist(),
            dilation=tuple(dilation),
            groups=groups,
            padding_mode=mode,
            flip=bool(random.integers(0, 2)),
            layout=layout,
        )
        if problem.multiply_adds <= 2_000_000 and groups * filters <= 130:
            return problem


def random_case(random: np.random.Generator, layout: str, problem: ConvProblem | None = None) -> Case:
    """Draw a problem, unless it is given, and how it is called."""
    return Case(
        problem=problem or random_problem(random, layout),
        activation=None if random.random() < 0.6 else str(random.choice(ACTIVATIONS)),
        bias=random.random() < 0.5,
        residual=random.random() < 0.4,
        other_channels=int(random.choice([0, 0, 1, 3, 16])),
        threads=int(random.choice([1, 2])),
    )


# ----------------------------------------------------------------------- the guarded process


def guarded_process(bits: int, layout: str, first: int, last: int) -> None:
    """Run cases `first` to `last` - 1, each named before it runs, and say what was wrong."""
    from fastconv import config
    from fastconv.cpu import areas, depthwise, direct, fft_plan, inner_product, scratch, threads, winograd_plan

    config.set_vector_bits(bits)
    threads.WORTH_A_THREAD = 0.0
    cuts = fft_plan.candidates
    only(fft_plan, cuts, planes=True)
    for number in range(first, last):
        random = np.random.default_rng([bits, LAYOUTS.index(layout), number])
        case = random_case(random, layout, seldom_drawn(number, layout))
        if number == (first + last) // 2:  # from now on: panels and copies, outputs cut more often
            direct.PIXELS_WORTH_PANELS = areas.LEAST_PRODUCTS = 0
            areas.LEAST_SHARE = 1e-9
            areas.areas.cache_clear()
            winograd_plan.BLOCK_TILES = 7
            inner_product.FEWEST_STEPS, inner_product.MOST_STEPS = 5, 23
            inner_product.CACHE_SHARE = 1e-3
            winograd_plan.MOST_TRANSFORMED = 0
            depthwise.crowded = lambda count, step: True
            depthwise.CROWDED_ROW = 1e9
            depthwise._tile.cache_clear()
            only(fft_plan, cuts, planes=False)
            fft_plan._block_pairs = lambda cut, problem, shape: min(3, problem.batch * cut.pairs)
        fastconv.set_num_threads(case.threads)
        arrays, expected, limit = expectation(case, random)
        for name in capable(case.problem):
            for side in SIDES:
                say(f"run {number}: {name} {case}, {side}")
                fastconv.clear_cache()  # for scratch memory of just this problem's size
                scratch.allocate = lambda size, side=side: guarded_scratch(size, side)
                for complaint in run(case, arrays, name, side, expected, limit):
                    say(f"wrong {number}: {name} {case}, {side}: {complaint}")
        for direction in DIRECTIONS[1:]:
            problem = replace(case.problem, direction=direction)
            names = [one.name for one in GRADIENTS[direction][:-1] if one.supports(problem) is None]
            name, side = names[number % len(names)], SIDES[number // len(names) % 2]
            fastconv.clear_cache()
            scratch.allocate = lambda size, side=side: guarded_scratch(size, side)
            say(f"gradient {number}: {name} {problem}, {side}")
            for complaint in run_gradient(problem, random, name, side):
                say(f"wrong {number}: {name} {problem}, {side}: {complaint}")
    say("end")


def only(fft_plan: ModuleType, cuts: Callable[..., Iterable[Tiling]], *, planes: bool) -> None:
    """Have spectra cut with tiles in the lanes, or with channels, whatever is cheaper."""
    fft_plan.candidates = lambda *arguments: (cut for cut in cuts(*arguments) if cut.planes == planes)
    fft_plan.best.cache_clear()


def capable(problem: ConvProblem) -> list[str]:
    """Return the algorithms with kernels that compute `problem`."""
    return [entry.name for entry in TABLE if entry.name in TILED and entry.supports(problem) is None]


def say(line: str) -> None:
    """Write a line that is not lost in a crash."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def guarded_scratch(size: int, side: str) -> np.ndarray:
    block = Guarded((size,), "uint8", side).array
    block[:] = 0
    return block


def expectation(
    case: Case, random: np.random.Generator
) -> tuple[list[np.ndarray | None], np.ndarray, float]:
    """Return x, weight, bias and residual; the result; the largest 2-norm of an error.

    The limit is relative to the result that the magnitudes alone would give: terms that happen to
    cancel in a result of few elements are no error.
    """
    problem = case.problem
    shapes = problem.input_shape, problem.weight_shape, (problem.filters,), problem.output_shape
    arrays = [
        random.uniform(-1, 1, shape).astype(problem.dtype) if wanted else None
        for shape, wanted in zip(shapes, (True, True, case.bias, case.residual), strict=True)
    ]
    if algorithm("separable").supports(problem) is None:
        arrays[1] = arrays[1][..., :1] * arrays[1][..., :1, :]  # which all algorithms compute
    magnitudes = [None if array is None else np.abs(array) for array in arrays]
    scale = np.linalg.norm(fastconv.reference.conv(problem, *magnitudes))
    expected = fastconv.reference.conv(problem, *arrays, case.activation)
    return arrays, expected, float(TOLERANCE[problem.dtype] * scale)


def run(
    case: Case,
    arrays: list[np.ndarray | None],
    name: str,
    side: str,
    expected: np.ndarray,
    limit: float,
) -> Iterator[str]:
    """Call a function and a layer with everything against guards and yield what was wrong with them."""
    problem = case.problem
    x, weight, bias, residual = (guarded_input(array, side) for array in arrays)
    axis = 1 if problem.layout == "channels_first" else problem.rank + 1
    shape = list(problem.output_shape)
    shape[axis] += case.other_channels
    cut = case.other_channels if side == "guard behind" else problem.filters
    arguments = {"activation": case.activation, "algorithm": name, **problem.arguments()}
    convolve = getattr(fastconv, f"conv{problem.rank}d")
    layer = getattr(fastconv, f"Conv{problem.rank}d")(weight, bias, **arguments)
    calls = {
        "function": lambda out: convolve(x, weight, bias, residual=residual, out=out, **arguments),
        "layer": lambda out: layer(x, residual, out),
    }
    for way, call in calls.items():
        whole = Guarded(tuple(shape), problem.dtype, side)
        parts = np.split(whole.array, [cut], axis)
        others, out = parts if side == "guard behind" else parts[::-1]
        if call(out) is not out:
            yield f"{way}: the result is not out"
        error = np.linalg.norm(out - expected)
        if not error <= limit:
            yield f"{way}: error {error} is over {limit}"
        if not np.isnan(others).all():
            yield f"{way}: other channels were written"
        if not whole.untouched():
            yield f"{way}: memory beside out was written"


def run_gradient(problem: ConvProblem, random: np.random.Generator, name: str, side: str) -> Iterator[str]:
    """Call a gradient with everything against guards and yield what was wrong with it."""
    one, other = (random.uniform(0.5, 1, shape).astype(problem.dtype) for shape in problem.operand_shapes)
    by_input = problem.direction == "input_gradient"
    in_reference = reference.conv_input_gradient if by_input else reference.conv_weight_gradient
    expected = in_reference(problem, *((other, one) if by_input else (one, other)))
    function = getattr(fastconv, f"conv{problem.rank}d_{'input' if by_input else 'weight'}")
    first, second = (guarded_input(array, side) for array in (one, other))
    operands = (problem.input_shape, second, first) if by_input else (first, problem.weight_shape, second)
    whole = Guarded(problem.result_shape, problem.dtype, side)
    function(*operands, **problem.arguments(), algorithm=name, out=whole.array)
    error, limit = np.linalg.norm(whole.array - expected), TOLERANCE[problem.dtype] * np.linalg.norm(expected)
    if not error <= limit:
        yield f"error {error} is over {limit}"
    if not whole.untouched():
        yield "memory beside out was written"


def reach(what: str) -> None:
    """Read or write an element at the edge of guarded memory, or the one beyond it."""
    side = "guard before" if "before" in what else "guard behind"
    array = Guarded((100,), "uint8", side).array if "read" in what else None
    if array is None:
        array = guarded_input(np.zeros(100, np.uint8), side)
    assert array is not None
    edge = {"guard before": 0, "guard behind": 99}[side]
    beyond = {"guard before": -1, "guard behind": 1}[side] if "beyond" in what else 0
    element = ctypes.c_uint8.from_address(array.ctypes.data + edge + beyond)
    if "read" in what:
        say(str(element.value))
    else:
        element.value = 1


# ---------------------------------------------------------------------------------- the tests


def in_a_process(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", __file__, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)


@pytest.mark.parametrize("side", ["before", "behind"])
def test_the_guard_faults_one_element_beyond_and_not_earlier(side):
    assert in_a_process("reach", f"read {side}").stdout == f"{FILL}\n"
    assert in_a_process("reach", f"read beyond {side}").returncode == -signal.SIGSEGV


def test_an_input_cannot_be_written():
    assert in_a_process("reach", "write behind").returncode == -signal.SIGSEGV


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("bits", [512, 256, 128])
def test_kernels_stay_inside_their_arrays(bits, layout):
    done = in_a_process(bits, layout, 0, PROBLEMS)
    lines = done.stdout.splitlines()
    runs = [line for line in lines if line.startswith("run ")]
    last = runs[-1] if runs else "no problem"
    assert done.returncode == 0, f"exit status {done.returncode} in {last}\n{done.stderr}"
    assert [line for line in lines if line.startswith("wrong ")] == []
    assert {line.split()[1] for line in runs} == {f"{number}:" for number in range(PROBLEMS)}
    refused = {"separable"} if layout == "channels_last" else set()
    assert {line.split()[2] for line in runs} == set(TILED) - refused
    assert lines[-1] == "end"


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_random_problems_are_of_every_kind(layout):
    cases = [
        random_case(np.random.default_rng([bits, LAYOUTS.index(layout), number]), layout)
        for bits in (512, 256, 128)
        for number in range(PROBLEMS)
    ]
    problems = [case.problem for case in cases]
    assert {problem.rank for problem in problems} == {1, 2, 3}
    assert {problem.dtype for problem in problems} == set(TOLERANCE)
    padded = [problem for problem in problems if any(map(any, problem.padding))]
    assert len(padded) < len(problems)
    assert {problem.padding_mode for problem in padded} == set(PADDING_MODES)
    assert {case.activation for case in cases} == {None, *ACTIVATIONS}
    assert {(case.bias, case.residual) for case in cases} == {
        (bias, residual) for bias in (False, True) for residual in (False, True)
    }
    for kind in ("stride", "dilation"):
        assert {step for problem in problems for step in getattr(problem, kind)} == {1, 2, 3}
    assert any(1 < problem.groups == problem.channels for problem in problems)  # depthwise
    assert any(1 < problem.groups < problem.channels for problem in problems)
    assert any(case.other_channels for case in cases)


if __name__ == "__main__":
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash is an answer, not a core dump
    if sys.argv[1] == "reach":
        reach(sys.argv[2])
    else:
        guarded_process(int(sys.argv[1]), sys.argv[2], *map(int, sys.argv[3:]))

"""The comparison table: every operation of every library against the reference, or a refusal with a reason."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastconv
from fastconv.bench.operations import OPERATIONS, Array, draw, operation_of, relative_error
from fastconv.bench.peers import COMPARISONS, Peer, peers
from fastconv.bench.peers.peer import check_threads
from fastconv.problem import ConvProblem, PoolProblem, Problem, parse

TORCH = {"torch", "torch channels_last"}
LAYERS = {*TORCH, "onnxruntime", "numpy"}  # who computes what networks are made of
SIGNAL = {"scipy", "scipy oaconvolve"}
FILTERS = {"opencv", "scipy ndimage"}
EVERYBODY = LAYERS | SIGNAL | FILTERS

# Small problems, and who must be able to compute them: exactly these.
ABLE: dict[str, set[str]] = {
    # convolutions as networks have them
    "conv2d,n2,c6,9x8,k4,3x3,p1,float32": LAYERS,
    "conv2d,n2,c6,9x8,k4,3x3,p1,channels_last,float32": LAYERS,
    "conv2d,n1,c6,9x8,k4,3x3,p1,float64": LAYERS - {"onnxruntime"},
    "conv2d,n1,c6,9x8,k4,3x2,s2x1,p1x0,d1x2,g2,float32": LAYERS,
    "conv2d,n1,c5,7x7,k5,3x3,s2,p1,g5,float32": LAYERS,
    "conv2d,n1,c4,9x9,k6,3x3,s2,p0:1,float32": LAYERS,
    "conv2d,n1,c4,9x9,k6,4x4,p1:2,channels_last,float32": LAYERS,
    "conv1d,n1,c3,12,k4,5,p2,float32": LAYERS - {"torch channels_last"},
    "conv1d,n2,c4,12,k4,3,p2:0,d2,g4,channels_last,float64": {"torch", "numpy"},
    "conv3d,n1,c2,5x4x6,k3,2x3x1,float32": LAYERS - {"torch channels_last"},
    "conv3d,n2,c4,5x4x6,k2,3x3x3,s2x1x1,p1,g2,channels_last,float32": LAYERS - {"torch channels_last"},
    # filters of images and signals
    "conv2d,n1,c1,12x11,k1,3x5,p1x2,float32": EVERYBODY,
    "conv2d,n1,c1,12x11,k1,4x3,float32": EVERYBODY - {"scipy ndimage"},
    "conv2d,n1,c1,12x11,k1,4x2,p1:2x0:1,float32": EVERYBODY,
    "conv2d,n1,c1,12x11,k1,4x2,p2:1x1:0,channels_last,float32": EVERYBODY,
    "conv2d,n1,c1,12x11,k1,5x5,p2x1:3,float64": EVERYBODY - {"onnxruntime"},
    "conv2d,n1,c1,12x11,k1,4x4,p3,float32": EVERYBODY - FILTERS,  # larger than its input
    "conv2d,n1,c1,12x11,k1,5x5,p2,reflect,float32": {*TORCH, *FILTERS, "numpy"},
    "conv2d,n1,c1,12x11,k1,5x4,p2x1:2,reflect,channels_last,float64": {*TORCH, *FILTERS, "numpy"},
    "conv2d,n1,c1,12x11,k1,5x5,p2,symmetric,float32": {*FILTERS, "numpy"},
    "conv2d,n1,c1,12x11,k1,5x5,p2,replicate,float32": {*TORCH, *FILTERS, "numpy"},
    "conv2d,n1,c1,12x11,k1,5x5,p2,circular,float32": {*TORCH, "numpy", "scipy ndimage"},
    "conv2d,n2,c4,9x8,k6,3x3,s2,p2,g2,circular,float32": {*TORCH, "numpy"},
    "conv2d,n1,c1,12x11,k8,3x3,p1,float32": {*LAYERS, "opencv"},  # a bank
    "conv2d,n1,c1,12x11,k8,3x3,p1,reflect,channels_last,float32": {*TORCH, "numpy", "opencv"},
    "conv2d,n1,c3,12x11,k3,5x3,p2x1,g3,float32": {*LAYERS, "opencv"},
    "conv2d,n1,c3,12x11,k6,5x3,p2x1,g3,reflect,channels_last,float64": {*TORCH, "numpy", "opencv"},
    "conv1d,n1,c1,40,k1,7,p6:0,float32": {*SIGNAL, "torch", "onnxruntime", "numpy", "scipy ndimage"},
    "conv1d,n1,c1,40,k1,8,s4,float32": {"torch", "onnxruntime", "numpy"},
    "conv3d,n1,c1,6x5x7,k1,3x3x3,p1,reflect,float32": {"torch", "numpy", "scipy ndimage"},
    # what nobody is asked for
    "conv2d,n1,c1,8x8,k1,3x3,p1,flip,float32": set(),
    "conv2d,n1,c1,8x8,k1,3x3,p1,float16": set(),
    "conv2d,n1,c1,8x8,k1,3x3,p1,bfloat16": set(),
    "conv2d,n1,c1,8x8,k1,3x3,p1,int32": set(),
    # gradients
    "conv2d,n2,c6,9x8,k4,3x3,p1,input_gradient,float32": TORCH,
    "conv2d,n2,c6,9x8,k4,3x3,p1,weight_gradient,float32": TORCH,
    "conv2d,n1,c6,9x8,k4,3x2,s2x1,p1x0,d1x2,g2,channels_last,input_gradient,float64": TORCH,
    "conv2d,n1,c6,9x8,k4,3x2,s2x1,p1x0,d1x2,g2,channels_last,weight_gradient,float64": TORCH,
    "conv1d,n2,c3,12,k4,5,p2,input_gradient,float32": {"torch"},
    "conv1d,n2,c3,12,k4,5,s2,p2,weight_gradient,float32": {"torch"},
    "conv3d,n1,c4,5x4x6,k4,2x3x1,g4,input_gradient,float32": {"torch"},
    "conv3d,n1,c4,5x4x6,k4,2x3x1,g4,weight_gradient,float32": {"torch"},
    "conv2d,n1,c2,9x8,k4,3x3,p0:1,input_gradient,float32": set(),
    "conv2d,n1,c2,9x8,k4,3x3,p1,reflect,weight_gradient,float32": set(),
    "lp_pool2d,n1,c2,9x8,3x3,norm2,float32": set(),
    "adaptive_max_pool2d,n2,c3,9x8,3x4,o4x3,float32": {"torch"},
    "adaptive_avg_pool2d,n2,c3,9x8,3x4,o4x3,channels_last,float64": {"torch"},
    "adaptive_avg_pool2d,n2,c3,9x8,3x4,o4x3,float16": set(),
    "adaptive_avg_pool2d,n2,c3,9x8,3x4,o4x3,bfloat16": set(),
    # pooling as networks have it
    "max_pool2d,n2,c3,9x8,3x3,s2,p1,float32": LAYERS,
    "max_pool2d,n2,c3,9x8,3x3,s2,p1,channels_last,float64": LAYERS - {"onnxruntime"},
    "max_pool2d,n1,c3,8x8,3x3,s2,ceil,float32": LAYERS - {"numpy"},
    "max_pool2d,n1,c3,6x7,3x2,s2,p1,ceil,float32": LAYERS - {"numpy"},
    "max_pool2d,n1,c20,9x8,3x2,s1x2,p1x0,d1x2,float32": LAYERS,
    "max_pool1d,n1,c3,12,3,s2,p1,float32": LAYERS - {"torch channels_last"},
    "max_pool3d,n1,c2,5x6x7,3x2x2,s2,p1x0x1,channels_last,float32": LAYERS - {"torch channels_last"},
    "max_pool2d,n1,c3,9x8,3x3,p0:2,float32": {"onnxruntime", "numpy", "opencv"},
    "max_pool2d,n1,c3,9x8,3x3,p1,int32": set(),
    "avg_pool2d,n2,c3,9x8,3x3,s2,p1,float32": LAYERS,
    "avg_pool2d,n2,c3,9x8,3x3,s2,p1,channels_last,float64": LAYERS - {"onnxruntime"},
    "avg_pool2d,n2,c3,9x8,3x3,s2,p1,exclude_pad,float32": LAYERS - {"numpy"},
    "avg_pool2d,n1,c3,8x8,3x3,s2,ceil,float32": LAYERS - {"numpy"},
    "avg_pool2d,n1,c3,8x7,3x2,s2,p1,ceil,exclude_pad,float32": LAYERS - {"numpy"},
    "avg_pool2d,n1,c20,7x7,7x7,float32": LAYERS,
    "avg_pool1d,n1,c3,12,4,s2,p2,float32": LAYERS - {"torch channels_last"},
    "avg_pool3d,n1,c2,5x6x7,3x2x2,s2,p1x0x1,channels_last,float32": LAYERS - {"torch channels_last"},
    "avg_pool2d,n2,c3,9x8,3x2,d2,float32": {"numpy"},
    "avg_pool2d,n1,c3,9x8,3x3,p1,float16": set(),
    "avg_pool2d,n1,c3,9x8,3x3,p1,bfloat16": set(),
    # pooling as images have it
    "max_pool2d,n1,c3,9x8,3x5,p1x2,float32": {*LAYERS, "opencv"},
    "max_pool2d,n1,c3,9x8,4x2,channels_last,float64": {*TORCH, "numpy", "opencv"},
    "max_pool2d,n1,c1,9x8,3x3,p1,float32": {*LAYERS, *FILTERS},
    "max_pool2d,n1,c1,9x8,4x2,p1:2x0:1,float32": {"onnxruntime", "numpy", *FILTERS},
    "max_pool2d,n1,c1,9x8,4x2,p2:1x1:0,channels_last,float64": {"numpy", *FILTERS},
    "max_pool3d,n1,c1,4x5x6,3x3x3,p1,float32": {"torch", "onnxruntime", "numpy", "scipy ndimage"},
    "avg_pool2d,n1,c3,9x8,3x5,p1x2,float32": {*LAYERS, "opencv"},
    "avg_pool2d,n1,c3,9x8,4x2,exclude_pad,channels_last,float64": {*TORCH, "numpy", "opencv"},
    "avg_pool2d,n1,c1,9x8,3x3,p1,float32": {*LAYERS, *FILTERS},
    "avg_pool2d,n1,c1,9x8,3x3,p1,exclude_pad,float32": {*TORCH, "onnxruntime"},
    "avg_pool2d,n1,c1,9x8,4x2,p2:1x1:0,float32": {"onnxruntime", "numpy", *FILTERS},
}
EACH = [(text, name) for text in ABLE for name in COMPARISONS[operation_of(parse(text)).name]]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = fastconv.get_num_threads()
    fastconv.set_num_threads(1)
    yield
    fastconv.set_num_threads(before)


@lru_cache(maxsize=1)  # the libraries of a problem follow one another
def checked_data(problem: Problem) -> tuple[tuple[Array, ...], Array]:
    arrays = draw(problem)
    return arrays, operation_of(problem).reference(problem, *arrays)


def agrees(problem: Problem, name: str) -> bool:
    """Return whether a library computes the problem; what it computes must be right."""
    arrays, expected = checked_data(problem)
    operation = operation_of(problem)
    run = COMPARISONS[operation.name][name](problem, *arrays)
    if isinstance(run, str):
        assert len(run.split()) > 2, "a reason is a sentence"
        return False
    for _ in range(2):  # what was prepared once serves every call
        found = run()
        assert found.shape == problem_shape(problem)
        assert found.dtype == problem.dtype
        assert relative_error(found, expected) <= operation.error_limit(problem)
    return True


def problem_shape(problem: Problem) -> tuple[int, ...]:
    if isinstance(problem, ConvProblem) and problem.direction != "forward":
        return problem.input_shape if problem.direction == "input_gradient" else problem.weight_shape
    return problem.output_shape


def test_every_operation_and_every_library_is_tested() -> None:
    assert set(COMPARISONS) == set(OPERATIONS)
    for operation, libraries in COMPARISONS.items():
        used = set().union(*(able for text, able in ABLE.items() if operation_of(parse(text)).name == operation))
        assert used == set(libraries)
    assert set(peers()) == EVERYBODY


@pytest.mark.parametrize(("text", "name"), EACH)
def test_a_library_agrees_with_the_reference_or_says_why_not(text: str, name: str) -> None:
    problem = parse(text)
    peer = COMPARISONS[operation_of(problem).name][name]
    if peer.missing:
        pytest.skip(f"{peer.missing} is not installed")
    assert agrees(problem, name) == (name in ABLE[text])


@st.composite
def convolutions(draw: st.DrawFn, directions: tuple[str, ...]) -> ConvProblem:
    rank = draw(st.integers(1, 3))
    groups = draw(st.integers(1, 3))
    modes = ("zeros", "zeros", "reflect", "replicate", "circular", "symmetric")
    return ConvProblem(
        **windows(draw, rank),
        channels=groups * draw(st.integers(1, 2)),
        filters=groups * draw(st.sampled_from((1, 2, 8))),
        groups=groups,
        padding_mode=draw(st.sampled_from(modes)) if directions == ("forward",) else "zeros",
        direction=draw(st.sampled_from(directions)),
    )


@st.composite
def poolings(draw: st.DrawFn, operation: str) -> PoolProblem:
    return PoolProblem(
        operation=operation,
        **windows(draw, draw(st.integers(1, 3))),
        channels=draw(st.integers(1, 3)),
        ceil_mode=draw(st.booleans()),
        count_include_pad=operation == "max_pool" or draw(st.booleans()),
    )


def windows(draw: st.DrawFn, rank: int) -> dict[str, object]:
    """Return what both kinds of problem have, so that a window fits, and none lies in the padding alone."""

    def axes(least: int, most: int) -> tuple[int, ...]:
        return tuple(draw(st.integers(least, most)) for _ in range(rank))

    kernel = axes(1, 5)
    plain = draw(st.booleans())  # or else hardly any problem would be a filter's
    same_ends = draw(st.booleans())
    before = tuple(draw(st.integers(0, size // 2)) for size in kernel)
    after = before if same_ends else tuple(draw(st.integers(0, size // 2)) for size in kernel)
    return {
        "dtype": draw(st.sampled_from(("float32", "float32", "float64"))),
        "batch": draw(st.integers(1, 2)),
        "size": axes(9, 12),
        "kernel": kernel,
        "stride": (1,) * rank if plain else axes(1, 3),
        "padding": tuple(zip(before, after, strict=True)),
        "dilation": (1,) * rank if plain else axes(1, 2),
        "layout": draw(st.sampled_from(("channels_first", "channels_last"))),
    }


RANDOM = {
    "conv": convolutions(("forward",)),
    "gradients": convolutions(("input_gradient", "weight_gradient")),
    "max_pool": poolings("max_pool"),
    "avg_pool": poolings("avg_pool"),
}


@pytest.mark.parametrize("name", RANDOM)
@settings(max_examples=200)
@given(data=st.data())
def test_random_problems(name: str, data: st.DataObject) -> None:
    problem = data.draw(RANDOM[name])
    for library, peer in COMPARISONS[operation_of(problem).name].items():
        if not peer.missing:
            agrees(problem, library)


def test_a_missing_library() -> None:
    peer = Peer(("numpy", "no_such_library"), lambda *_: pytest.fail("must not be prepared"))
    problem = parse("conv2d,n1,c1,3x3,k1,3x3,float32")
    assert peer.missing == "no_such_library"
    assert peer(problem, *draw(problem)) == "no_such_library is not installed"


def test_an_installed_library_is_not_missing() -> None:
    assert Peer(("numpy",), lambda *_: "no").missing is None
    assert Peer((), lambda *_: "no").missing is None
    assert all((peer.missing is None) == all(map(importlib.util.find_spec, peer.modules)) for peer in peers().values())


def test_threads_that_a_library_did_not_take() -> None:
    check_threads("library", fastconv.get_num_threads())
    with pytest.raises(RuntimeError, match="library must use 1 threads as fastconv does, it says 7"):
        check_threads("library", 7)


@pytest.mark.parametrize("threads", [1, 2])
def test_every_library_gets_as_many_threads(threads: int) -> None:
    """The check itself is made while preparing, and raises."""
    fastconv.set_num_threads(threads)
    for text in ("conv2d,n1,c1,6x6,k1,3x3,p1,float32", "max_pool2d,n1,c1,6x6,3x3,p1,float32"):
        problem = parse(text)
        arrays = draw(problem)
        for peer in COMPARISONS[operation_of(problem).name].values():
            assert peer.missing or not isinstance(peer(problem, *arrays), str)


def test_large_windows_of_numpy_are_refused_before_memory_is_taken() -> None:
    problem = parse("conv2d,n1,c64,512x512,k1,9x9,p4,float32")
    arrays = tuple(np.broadcast_to(np.float32(1), shape) for shape in operation_of(problem).shapes(problem))
    found = COMPARISONS["conv"]["numpy"](problem, *arrays)
    assert isinstance(found, str)
    assert "512 MiB" in found or "threadpoolctl" in found

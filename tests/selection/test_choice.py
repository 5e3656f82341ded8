"""What is picked, what explains it, and that workspaces are what is allocated."""

from __future__ import annotations

import json
import logging
import tracemalloc

import numpy as np
import pytest

import fastconv
from fastconv import ConvProblem, PoolProblem, UnsupportedError, config, selection
from fastconv.algorithm import AnyAlgorithm, Machine
from fastconv.bench.drawn import draw_problems
from fastconv.bench.suites import SUITES
from fastconv.selection import TABLE

PROBLEM = ConvProblem.parse("conv2d,n1,c8,14x14,k8,3x3,p1,g8,float32")  # which every algorithm computes
INTEGERS = ConvProblem.parse("conv2d,n1,c8,14x14,k8,3x3,p1,int32")
TILED = [entry for entry in TABLE if entry.name != "reference"]
MIB = 2**20


def operands(problem, seed=0):
    """Whole numbers; each kernel is constant, so that all algorithms compute it."""
    random = np.random.default_rng(seed)
    x = random.integers(-4, 5, problem.input_shape)
    weight = random.integers(-4, 5, (*problem.weight_shape[:2], *[1] * problem.rank))
    return x.astype(problem.dtype), np.broadcast_to(weight, problem.weight_shape).astype(problem.dtype)


def convolve(problem, algorithm="auto", **arguments):
    function = getattr(fastconv, f"conv{problem.rank}d")
    x, weight = operands(problem)
    return function(x, weight, algorithm=algorithm, **problem.arguments(), **arguments)


@pytest.fixture
def runs(monkeypatch):
    """The names of the algorithms that ran, in order; nothing is computed."""
    names = []
    for entry in TABLE:

        def prepared(problem, activation, name=entry.name):
            return lambda *arrays: names.append(name)

        monkeypatch.setattr(entry, "prepared", prepared)
    fastconv.clear_cache()  # calls that are ready
    yield names
    fastconv.clear_cache()


# --- the table and the pick -----------------------------------------------------------------------


def test_names_in_the_order_of_the_table():
    names = fastconv.algorithms()
    assert names == tuple(entry.name for entry in TABLE)
    assert len(set(names)) == len(names)
    assert names[-1] == "reference"
    assert {"direct", "im2col"} <= set(names)


def test_named_means_named(runs):
    for entry in TABLE:
        convolve(PROBLEM, entry.name)
    assert runs == list(fastconv.algorithms())


def test_named_never_falls_back(runs):
    for entry in TABLE:
        reason = entry.supports(INTEGERS)
        if reason is None:
            convolve(INTEGERS, entry.name)
            continue
        with pytest.raises(UnsupportedError) as raised:
            convolve(INTEGERS, entry.name)
        assert str(raised.value) == f"algorithm {entry.name!r} does not compute {INTEGERS}: {reason}"
    assert runs == ["reference"]


def test_auto_runs_what_select_says(runs):
    problems = [
        PROBLEM,
        INTEGERS,
        ConvProblem.parse("conv1d,n2,c3,100,k5,7,s2,channels_last,float64"),
    ]
    for problem in problems:
        convolve(problem)
    assert runs == [fastconv.select(problem) for problem in problems]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "int8", "uint8", "int16", "int32", "uint32", "int64"])
def test_only_the_reference_computes_other_types(dtype):
    problem = ConvProblem.parse(f"conv2d,n1,c8,14x14,k8,3x3,{dtype}")
    assert fastconv.select(problem) == "reference"


def test_floats_do_not_run_on_the_reference():
    for text in (
        "conv2d,n1,c64,56x56,k64,3x3,p1,float32",
        "conv2d,n1,c256,14x14,k64,1x1,channels_last,float64",
        "conv3d,n1,c3,9x30x30,k8,3x3x3,float32",
        "conv2d,n1,c2048,1x1,k256,1x1,float32",  # all weights, of which the reference makes copies
        "conv2d,n1,c4,1x1,k4,1x1,float32",
    ):
        assert fastconv.select(ConvProblem.parse(text)) != "reference"


def test_the_pick_is_the_cheapest(monkeypatch):
    for cheap in TABLE:
        for entry in TABLE:
            seconds = 1e-9 if entry is cheap else 1.0
            monkeypatch.setattr(entry, "cost", lambda *_, seconds=seconds: seconds)
        fastconv.clear_cache()
        assert fastconv.select(PROBLEM, 1.0, operands(PROBLEM)[1]) == cheap.name
        assert fastconv.select(INTEGERS) == "reference"  # however dear
    monkeypatch.undo()
    fastconv.clear_cache()


def test_the_first_of_equals_is_picked(monkeypatch):
    for entry in TABLE:
        monkeypatch.setattr(entry, "cost", lambda *_: 1.0)
    fastconv.clear_cache()
    assert fastconv.select(PROBLEM) == TABLE[0].name
    monkeypatch.undo()
    fastconv.clear_cache()


def test_the_choice_is_logged_once_with_its_reasons(caplog):
    fastconv.clear_cache()
    with caplog.at_level(logging.DEBUG, "fastconv"):
        picked = fastconv.select(PROBLEM)
        assert fastconv.select(PROBLEM) == picked
    (record,) = [record for record in caplog.records if str(PROBLEM) in record.getMessage()]
    assert record.levelno == logging.DEBUG
    assert f": {picked} (predicted: " in record.getMessage()
    for name in fastconv.algorithms():
        assert name in record.getMessage()


def test_a_choice_is_made_by_the_settings_that_it_is_kept_for():
    """Those of whoever asks, even where others are in force by the time that they are looked at."""
    decided, now = selection.choice._decided, config.settings()
    alone = now._replace(algorithms=config.Algorithms(allow=frozenset({"im2col"})))
    (picked,) = decided(PROBLEM, 1.0, alone).order
    assert picked.name == "im2col"
    too_little = alone._replace(workspace_limit=picked.workspace(PROBLEM) - 1)
    with pytest.raises(UnsupportedError, match="bytes is above the limit"):
        decided(PROBLEM, 1.0, too_little)


def test_an_algorithm_by_name():
    for entry in TABLE:
        assert selection.algorithm(entry.name) is entry


# --- explanations ---------------------------------------------------------------------------------


@pytest.mark.parametrize("problem", [PROBLEM, INTEGERS], ids=str)
def test_explanations_are_ready_for_json(problem):
    weight = operands(problem)[1]
    explanation = fastconv.explain(problem, weight=weight)
    told = json.loads(json.dumps(explanation.as_dict()))
    assert told == explanation.as_dict()
    assert ConvProblem.parse(told["problem"]) == problem
    assert told["picked"] == fastconv.select(problem, weight=weight) == explanation.picked
    assert told["tolerance"] == fastconv.get_tolerance(problem.dtype)
    assert [candidate["name"] for candidate in told["candidates"]] == list(fastconv.algorithms())
    for candidate, entry in zip(told["candidates"], TABLE, strict=True):
        assert set(candidate) == {
            "name", "reason", "workspace_bytes", "predicted_seconds", "predicted_terms", "error_bound",
            "measured_seconds",
        }  # fmt: skip
        supported = entry.supports(problem) is None
        if supported and entry.error_bound(problem) > told["tolerance"]:
            assert candidate["reason"].startswith("error bound")
        else:
            assert candidate["reason"] == entry.supports(problem)
        if supported:
            assert candidate["workspace_bytes"] == entry.workspace(problem)
            assert candidate["predicted_seconds"] == sum(candidate["predicted_terms"].values()) > 0
            assert candidate["error_bound"] == entry.error_bound(problem)
        else:
            figures = ("workspace_bytes", "predicted_seconds", "error_bound", "predicted_terms")
            assert [candidate[figure] for figure in figures] == [None] * 4


def test_explanations_can_be_read():
    problem, *lines, terms = str(fastconv.explain(INTEGERS)).splitlines()
    assert problem == f"{INTEGERS} with tolerance 0"
    assert terms.strip() == fastconv.explain(INTEGERS).candidates[-1].made_of
    assert len(lines) == len(TABLE)
    for line, entry in zip(lines, TABLE, strict=True):
        assert line[0] == ("*" if entry.name == "reference" else " ")
        assert line[2:].startswith(f"{entry.name}: ")
    assert lines[0].endswith("no: direct computes float32 and float64, not int32")
    assert "workspace" in lines[-1]


def test_a_predicted_time_is_shown_with_what_it_is_made_of(monkeypatch):
    terms = {"call": 10e-6, "products": 0.2e-3, "tiles": 0.4e-6, "copies": 0.0}
    monkeypatch.setattr(TABLE[0], "terms", lambda *_: terms)
    explanation = fastconv.explain(PROBLEM)
    assert explanation.candidates[0].predicted_terms == terms
    _, first, its_sum, *_ = str(explanation).splitlines()
    assert f"{TABLE[0].name}: predicted 0.210 ms, " in first
    assert its_sum == "      0.200 products + 0.010 call"  # 0.4 microseconds are none


@pytest.mark.parametrize("constants", [Machine(), Machine(3e9, 1e9, 1e-9, 2e-9, 3e-9, 4e-9, 5e-9)])
def test_a_prediction_is_the_sum_of_its_terms(constants):
    """Of convolutions of all suites' kinds and of poolings, with any constants."""
    convolutions = draw_problems(40, 0)
    poolings = [layer.problem for layer in SUITES["pooling"].layers()]
    for problem in (*convolutions, *poolings):
        for entry in selection.table_of(problem):
            if entry.supports(problem) is None:
                terms = entry.terms(problem, constants)
                assert entry.cost(problem, constants) == sum(terms.values()) > 0
                assert all(seconds >= 0 for seconds in terms.values()), terms
    for entry in (*TABLE, *selection.POOLINGS):
        assert type(entry).cost is AnyAlgorithm.cost  # the arithmetic is in one place


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_errors_stay_below_their_bounds(algorithm, dtype):
    problem = ConvProblem.parse(f"conv2d,n1,c67,9x11,k19,3x3,p1,{dtype}")
    random = np.random.default_rng(0)
    x, weight = (random.standard_normal(shape).astype(dtype) for shape in (problem.input_shape, problem.weight_shape))
    y = fastconv.conv2d(x, weight, padding=1, algorithm=algorithm)
    exact = fastconv.conv2d(x.astype(np.float64), weight.astype(np.float64), padding=1, algorithm="reference")
    error = np.linalg.norm(y - exact) / np.linalg.norm(exact)
    limit = 1e-4 if algorithm.startswith("winograd") else 1e-5 if algorithm == "fft" else 2e-6
    assert error <= selection.algorithm(algorithm).error_bound(problem) <= limit


# --- workspaces -----------------------------------------------------------------------------------


SHAPES = [
    "conv1d,n1,c1,1,k1,1",
    "conv1d,n1,c3,5000,k2,301,p150",
    "conv1d,n2,c5,1000,k7,9,s3,d2,circular",
    "conv2d,n1,c1,60x70,k1,11x11,p5,reflect",
    "conv2d,n1,c3,64x64,k32,7x7,s2,p3",
    "conv2d,n2,c64,14x14,k64,3x3,p1",
    "conv2d,n1,c64,14x14,k200,1x1",
    "conv2d,n1,c700,7x7,k64,1x1",
    "conv2d,n1,c300,7x7,k33,3x3,p1",
    "conv2d,n1,c67,9x11,k67,3x3,g67",
    "conv2d,n1,c48,20x20,k96,3x3,s2,p1,g4",
    "conv2d,n1,c2,5x6,k500,5x6",
    "conv3d,n1,c4,6x7x8,k10,3x3x3,p1",
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("entry", TILED, ids=lambda entry: entry.name)
def test_the_workspace_is_what_is_allocated(allocated, always_threads, entry, count, layout, dtype):
    always_threads(count)
    for shape in SHAPES:
        problem = ConvProblem.parse(f"{shape},{layout},{dtype}")
        if entry.supports(problem) is not None:
            continue
        fastconv.clear_cache()
        allocated.clear()
        convolve(problem, entry.name)
        assert sum(allocated) == entry.workspace(problem), problem


@pytest.mark.parametrize("entry", TILED, ids=lambda entry: entry.name)
def test_a_second_call_allocates_nothing(allocated, set_threads, entry):
    set_threads(1)
    fastconv.clear_cache()
    convolve(PROBLEM, entry.name)
    assert bool(allocated) == (entry.workspace(PROBLEM) > 0)
    allocated.clear()
    convolve(PROBLEM, entry.name)
    assert not allocated


@pytest.mark.parametrize("entry", TILED, ids=lambda entry: entry.name)
def test_no_images_need_no_workspace(entry):
    assert entry.workspace(ConvProblem.parse("conv2d,n0,c8,14x14,k8,3x3,float32")) == 0


SLACK = 16 * 1024  # bytes of Python's own objects


@pytest.mark.parametrize("activation", [None, "gelu"])
@pytest.mark.parametrize(
    "text",
    [
        "conv1d,n1,c1,5000,k1,100,float32",
        "conv2d,n1,c8,64x64,k8,3x3,p1,float32",
        "conv2d,n3,c16,28x28,k64,1x1,channels_last,float32",
        "conv2d,n2,c8,64x64,k1,3x3,p20,reflect,float32",
        "conv2d,n1,c64,7x7,k512,3x3,p1,float64",
        "conv2d,n1,c8,64x64,k8,3x3,s2,p1,float16",
        "conv2d,n1,c8,64x64,k8,3x3,s2,p1,bfloat16",
        "conv2d,n1,c8,64x64,k8,3x3,p1,g8,int8",
    ],
)
def test_numpy_takes_no_more_than_the_reference_says(operands_of, text, activation):
    problem, entry = ConvProblem.parse(text), selection.algorithm("reference")
    if activation is not None and problem.dtype == "int8":
        pytest.skip("floats alone")
    x, weight, bias, residual = operands_of(problem, bias=True, residual=True)
    out = np.empty(problem.output_shape, np.int64 if problem.dtype == "int8" else problem.dtype)

    def call():
        entry.run(problem, x, weight, bias, residual, activation, out)

    peak = peak_of(call)
    assert peak <= entry.workspace(problem) + SLACK
    if activation is not None and problem.dtype == "float32":
        assert peak >= 0.9 * entry.workspace(problem)


@pytest.mark.parametrize(
    "text",
    [
        "max_pool2d,n2,c8,64x64,3x3,p1,indices,float32",
        "avg_pool2d,n2,c64,8x64,3x3,p1,channels_last,float32",
        "lp_pool2d,n2,c8,64x64,3x3,s2,p1,norm2,float32",
        "avg_pool2d,n2,c8,64x64,3x3,s2,p1,d2,ceil,float16",
        "avg_pool2d,n2,c8,64x64,3x3,s2,p1,d2,ceil,bfloat16",
        "adaptive_avg_pool2d,n2,c8,64x64,10x10,o7x7,float32",
    ],
)
def test_numpy_takes_no_more_than_the_reference_of_poolings_says(text):
    problem, entry = PoolProblem.parse(text), selection.choice.pool_algorithm("reference")
    x, out = (np.ones(shape, problem.dtype) for shape in (problem.input_shape, problem.output_shape))
    indices = np.empty(problem.output_shape, np.int64) if problem.indices else None
    assert peak_of(lambda: entry.run(problem, x, out, indices)) <= entry.workspace(problem) + SLACK


def peak_of(call):
    """Return the most bytes of Python and NumPy that there were at once, in a second call."""
    call()
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


EXTREMES = [
    "conv2d,n1,c3,20000x20000,k64,3x3,p1",
    "conv2d,n1,c3,20000x20000,k64,7x7,s2,p3",
    "conv2d,n1,c16384,7x7,k16,1x1",
    "conv2d,n1,c8192,14x14,k8192,3x3,p1",
    "conv2d,n1,c2048,7x7,k2048,3x3,p1",
    "conv2d,n1,c1,1000x1000,k1,101x101",
    "conv2d,n1,c64,300x300,k512,101x101,p50",
    "conv2d,n64,c3,224x224,k100000,1x1",
    "conv2d,n1,c4096,64x64,k4096,3x3,g4096",
    "conv2d,n1,c1,3x1000000,k1,3x3",
    "conv2d,n1,c1,1000000x3,k1,3x3",
    "conv1d,n1,c1,1000000,k1,65536",
    "conv1d,n1,c2,1000000,k300,65536,d3,s2",
    "conv3d,n1,c64,200x200x200,k64,5x5x5,p2",
]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
@pytest.mark.parametrize("count", [1, 2, 16])
def test_im2col_needs_a_few_mib_a_thread_whatever_the_shape(set_threads, count, layout, dtype):
    set_threads(count)
    im2col = selection.algorithm("im2col")
    for shape in EXTREMES:
        problem = ConvProblem.parse(f"{shape},{layout},{dtype}")
        workspace = im2col.workspace(problem)
        assert 0 < workspace <= 4 * MIB * count, f"{problem}: {workspace / MIB:.1f} MiB"
    fastconv.clear_cache()

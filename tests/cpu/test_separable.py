"""Separable filters: by hand, then random ones of every kind; what is refused, the choice, and what is not finite."""

from __future__ import annotations

import dataclasses
import pickle

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fastconv
from fastconv import UnsupportedError, selection
from fastconv.codegen import target as targets
from fastconv.codegen.separable import Passes
from fastconv.cpu import rank_one
from fastconv.cpu.depthwise import DepthwisePlan
from fastconv.problem import ACTIVATIONS, PADDING_MODES, ConvProblem

SEPARABLE = selection.algorithm("separable")
TOLERANCE = {"float32": 2e-6, "float64": 1e-14}
SPECIALS = (np.nan, np.inf, -np.inf)
IMAGE = ConvProblem.parse("conv2d,n1,c1,600x500,k1,15x15,p7,float32")  # where two passes are the cheapest


def rank_one_weight(problem: ConvProblem, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    filters, _, height, width = problem.weight_shape
    column, row = random.uniform(-1, 1, (filters, 1, height, 1)), random.uniform(-1, 1, (filters, 1, 1, width))
    return (column * row).astype(problem.dtype)


def image_of(problem: ConvProblem, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, problem.input_shape).astype(problem.dtype)


@pytest.fixture(autouse=True)
def no_spectra():
    """Leave it to `separable` and `depthwise`: by spectra, the image is dearer than in two passes, and cheaper than as
    it lies.
    """
    with fastconv.options(deny="fft"):
        yield


@pytest.fixture
def picked(monkeypatch):
    """The names of the algorithms that made plans for calls, in order."""
    names = []
    for entry in (SEPARABLE, selection.algorithm("depthwise"), selection.algorithm("direct")):

        def prepared(problem, activation, entry=entry, original=entry.prepared):
            run = original(problem, activation)
            return lambda *arrays: (names.append(entry.name), run(*arrays))[1]

        monkeypatch.setattr(entry, "prepared", prepared)
    fastconv.clear_cache()
    yield names
    fastconv.clear_cache()


# ------------------------------------------------------------------------------------ by hand


def test_sobel() -> None:
    x = np.array([[[[0, 0, 1, 1], [0, 0, 1, 3], [0, 0, 1, 1]]]], np.float32)
    sobel = np.outer([1, 2, 1], [-1, 0, 1]).astype(np.float32)[np.newaxis, np.newaxis]
    y = fastconv.conv2d(x, sobel, padding=((0, 0), (1, 1)), algorithm="separable")
    assert y.tolist() == [[[[0, 4, 8, -4]]]]


def test_rows_and_columns_outside_are_zeros() -> None:
    x = np.ones((1, 1, 2, 3), np.float32)
    weight = np.outer([1, 8, 64], [1, 2, 4]).astype(np.float32)[np.newaxis, np.newaxis]
    y = fastconv.conv2d(x, weight, padding=1, algorithm="separable")
    assert y[0, 0].tolist() == [[72 * 6, 72 * 7, 72 * 3], [9 * 6, 9 * 7, 9 * 3]]


@pytest.mark.parametrize("width", [4, 9, 50])
@pytest.mark.parametrize("mode", PADDING_MODES[1:])
def test_borders_repeat_the_plane(mode: str, width: int) -> None:
    x = np.arange(4 * width, dtype=np.float32).reshape(1, 1, 4, width)
    corners = np.zeros((1, 1, 5, 5), np.float32)
    corners[0, 0, ::4, ::4] = 1, 1024
    padded = np.pad(x[0, 0], 2, mode={"replicate": "edge", "circular": "wrap"}.get(mode, mode))
    y = fastconv.conv2d(x, corners, padding=2, padding_mode=mode, algorithm="separable")
    expected = padded[:-4, :-4] + padded[4:, :-4] + 1024 * (padded[:-4, 4:] + padded[4:, 4:])
    np.testing.assert_array_equal(y[0, 0], expected)


def test_each_filter_has_its_own_channel_and_bias() -> None:
    x = np.stack([np.ones((6, 20)), np.full((6, 20), 10.0)])[np.newaxis]
    weight = np.ones((4, 1, 2, 3)) * np.arange(1, 5).reshape(4, 1, 1, 1)
    y = fastconv.conv2d(x, weight, [0, 1, 2, 3], groups=2, algorithm="separable")
    assert [set(plane.flat) for plane in y[0]] == [{6.0}, {13.0}, {182.0}, {243.0}]


# ------------------------------------------------------------------------------------- random


@st.composite
def problems(draw: st.DrawFn) -> ConvProblem:
    """Draw planes narrower and wider than vectors, and factors of one chunk and of several."""
    kernel = [draw(st.sampled_from((2, 3, 4, 5, 7, 8, 9, 16, 31, 66))) for _ in range(2)]
    dilation = [draw(st.sampled_from((1, 1, 2, 3))) for _ in range(2)]
    stride = [draw(st.sampled_from((1, 1, 1, 2, 3, 5))) for _ in range(2)]
    mode = draw(st.sampled_from(("zeros", *PADDING_MODES)))
    size = [draw(st.integers(2, 80)) for _ in range(2)]
    most = {"zeros": 40, "reflect": 1, "circular": 2, "symmetric": 2, "replicate": 40}[mode]
    padding = [(draw(st.integers(0, most)), draw(st.integers(0, most))) for _ in range(2)]
    size = [
        max(n, (k - 1) * d + 1 - sum(pair)) for n, k, d, pair in zip(size, kernel, dilation, padding, strict=True)
    ]
    channels, multiplier, batch = (draw(st.integers(1, most)) for most in (3, 2, 2))
    return ConvProblem.from_shapes(
        (batch, channels, *size),
        (channels * multiplier, 1, *kernel),
        draw(st.sampled_from(tuple(TOLERANCE))),
        stride=tuple(stride),
        padding=padding,
        dilation=tuple(dilation),
        groups=channels,
        flip=draw(st.booleans()),
        padding_mode=mode,
    )


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    problem=problems(),
    activation=st.sampled_from((None, *ACTIVATIONS[:2])),
    threads=st.integers(1, 2),
    terms=st.tuples(st.booleans(), st.booleans()),
    cut=st.booleans(),
    crowded=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_random_planes(
    monkeypatch, vector_bits, always_threads, problem, activation, threads, terms, cut, crowded, seed
) -> None:
    always_threads(threads)
    random = np.random.default_rng(seed)
    shapes = problem.input_shape, (problem.filters,), problem.output_shape
    x, bias, residual = (random.uniform(-1, 1, shape).astype(problem.dtype) for shape in shapes)
    bias, residual = (term if wanted else None for term, wanted in zip((bias, residual), terms, strict=True))
    weight = rank_one_weight(problem, seed)
    batch, filters, *size = problem.output_shape
    out, rest = np.split(np.full((batch, filters + cut, *size), np.nan, problem.dtype), [filters], 1)
    with monkeypatch.context() as patch:
        if crowded:  # rows are copied
            patch.setattr("fastconv.cpu.depthwise.crowded", lambda count, step: True)
        fastconv.clear_cache()
        fastconv.conv2d(
            x, weight, bias, residual=residual, activation=activation, out=out, algorithm="separable",
            **problem.arguments(),
        )  # fmt: skip
    expected = fastconv.reference.conv(problem, x, weight, bias, residual, activation)
    magnitudes = [None if term is None else np.abs(term) for term in (x, weight, bias, residual)]
    scale = np.linalg.norm(fastconv.reference.conv(problem, *magnitudes))
    assert np.linalg.norm(out - expected) <= TOLERANCE[problem.dtype] * scale
    assert np.isnan(rest).all()


def test_rows_that_share_cache_sets_are_copied() -> None:
    problem = ConvProblem.parse("conv2d,n2,c2,60x1024,k2,13x12,p7:5x4:8,g2,reflect,float32")
    assert SEPARABLE.plan(problem).code.copied
    assert not SEPARABLE.plan(dataclasses.replace(problem, size=(60, 1008))).code.copied
    x, weight = image_of(problem), rank_one_weight(problem)
    y = fastconv.conv2d(x, weight, algorithm="separable", **problem.arguments())
    expected = fastconv.reference.conv(problem, x, weight)
    assert np.linalg.norm(y - expected) <= 2e-6 * np.linalg.norm(expected)


@pytest.mark.parametrize("mode", PADDING_MODES)
def test_neither_batch_nor_threads_change_a_bit(always_threads, mode: str) -> None:
    problem = ConvProblem.parse(f"conv2d,n3,c2,91x130,k4,9x6,p4x3,g2,{mode},float32")
    x, weight = image_of(problem), rank_one_weight(problem)
    results = []
    for threads in (1, 2, 3):
        always_threads(threads)
        results.append(fastconv.conv2d(x, weight, algorithm="separable", **problem.arguments()))
        assert SEPARABLE.plan(problem).tasks > 12 or threads == 1
    one_by_one = [
        fastconv.conv2d(image, weight, algorithm="separable", **problem.arguments()) for image in x
    ]
    assert {result.tobytes() for result in (*results, np.stack(one_by_one))} == {results[0].tobytes()}


# ----------------------------------------------------------------------- what it refuses, and fits


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("conv2d,n1,c8,9x9,k8,3x3,float32", "separable reads one channel a filter, not 8"),
        ("conv1d,n1,c8,9,k8,3,g8,float32", "separable computes two dimensions, not 1"),
        ("conv3d,n1,c8,9x9x9,k8,3x3x3,g8,float32", "separable computes two dimensions, not 3"),
        ("conv2d,n1,c8,9x9,k8,3x3,g8,channels_last,float32", "separable computes planes, which channels_last has not"),
        ("conv2d,n1,c8,9x9,k8,1x3,g8,float32", "separable needs kernels of two rows and two columns at least"),
        ("conv2d,n1,c1,9x9000,k1,3x5000,float32", "separable sums 4096 taps at most, not 5000"),
        ("conv2d,n1,c8,9x9,k8,3x3,g8,int32", "separable computes float32 and float64, not int32"),
    ],
)
def test_refusals_have_reasons(text: str, reason: str) -> None:
    assert SEPARABLE.supports(ConvProblem.parse(text)) == reason


def test_named_it_refuses_kernels_of_rank_two() -> None:
    x, weight = image_of(IMAGE), rank_one_weight(IMAGE)
    weight[0, 0, 3, 4] += 0.5
    reason = SEPARABLE.fits(IMAGE, weight)
    assert reason.startswith("kernel 0 is not of rank one: ")
    assert reason.endswith(f" of its norm is left, {rank_one.limit('float32'):.2g} at most may be")
    layer = fastconv.Conv2d(weight, padding=7, algorithm="separable")
    for call in (lambda: fastconv.conv2d(x, weight, padding=7, algorithm="separable"), lambda: layer(x)):
        with pytest.raises(UnsupportedError) as raised:
            call()
        assert str(raised.value) == f"algorithm 'separable' does not compute {IMAGE}: {reason}"


def test_near_rank_one_at_the_limit() -> None:
    x, weight = image_of(IMAGE), rank_one_weight(IMAGE).astype(np.float64)
    exact = dataclasses.replace(IMAGE, dtype="float64")
    noise = np.random.default_rng(5).standard_normal(weight.shape)
    noise *= rank_one.limit("float32") * np.linalg.norm(weight) / np.linalg.norm(noise)
    # what a cross approximation leaves of noise is up to some times as much
    assert isinstance(rank_one.factors((weight + 20 * noise).astype(np.float32)), str)
    near = (weight + 0.2 * noise).astype(np.float32)
    y = fastconv.conv2d(x, near, padding=7, algorithm="separable")
    expected = fastconv.reference.conv(exact, x.astype(np.float64), near.astype(np.float64))
    assert np.linalg.norm(y - expected) <= SEPARABLE.error_bound(IMAGE) * np.linalg.norm(expected)


# ------------------------------------------------------------------------------ what is picked


def test_auto_asks_the_weights(picked: list[str]) -> None:
    x, weight = image_of(IMAGE), rank_one_weight(IMAGE)
    other = weight.copy()
    other[0, 0, 0, 0] += 1
    for filters, name in ((weight, "separable"), (other, "depthwise"), (weight, "separable")):
        y = fastconv.conv2d(x, filters, padding=7)
        assert picked.pop() == name
        assert y.tobytes() == fastconv.conv2d(x, filters, padding=7, algorithm=name).tobytes()
        picked.clear()
        assert fastconv.select(IMAGE, weight=filters) == name
    assert fastconv.select(IMAGE) == "depthwise"  # for whatever weights
    small = ConvProblem.parse("conv2d,n1,c1,9x9,k1,3x3,float32")
    assert fastconv.select(small, weight=rank_one_weight(small)) != "separable"


def test_auto_keeps_the_tolerance(picked: list[str]) -> None:
    x, weight = image_of(IMAGE), rank_one_weight(IMAGE)
    bound = SEPARABLE.error_bound(IMAGE)
    assert selection.algorithm("depthwise").error_bound(IMAGE) < bound < 1e-5
    for tolerance, name in ((bound, "separable"), (0.99 * bound, "depthwise")):
        fastconv.conv2d(x, weight, padding=7, tolerance=tolerance)
        assert picked.pop() == name


def test_explanations_ask_the_weights() -> None:
    weight = rank_one_weight(IMAGE)
    number = fastconv.algorithms().index("separable")
    unknown = fastconv.explain(IMAGE)
    assert unknown.picked == "depthwise"
    assert unknown.candidates[number].reason == "separable fits some weights only, and none were given"
    known = fastconv.explain(IMAGE, weight=weight)
    assert known.picked == "separable"
    assert known.candidates[number].reason is None
    other = fastconv.explain(IMAGE, weight=weight + np.eye(15, dtype=np.float32))
    assert other.picked == "depthwise"
    assert "not of rank one" in other.candidates[number].reason
    with pytest.raises(ValueError, match=r"weight must have shape \(1, 1, 15, 15\), got \(15, 15\)"):
        fastconv.explain(IMAGE, weight=weight[0, 0])


def test_layers() -> None:
    x, weight = image_of(IMAGE), rank_one_weight(IMAGE)
    for algorithm in ("auto", "separable"):
        layer = fastconv.Conv2d(weight, [0.5], padding=7, activation="relu", algorithm=algorithm)
        y = fastconv.conv2d(x, weight, [0.5], padding=7, activation="relu", algorithm="separable")
        assert layer(x).tobytes() == y.tobytes() == pickle.loads(pickle.dumps(layer))(x).tobytes()
        assert layer(x[0]).tobytes() == y.tobytes()
        x[0, 0, 5, 5] += 1
    other = weight.copy()
    other[0, 0, 0, 0] += 1
    expected = fastconv.conv2d(x, other, padding=7, algorithm="depthwise")
    assert fastconv.Conv2d(other, padding=7)(x).tobytes() == expected.tobytes()


def test_weights_that_change_in_place_are_others() -> None:
    x, weight = image_of(IMAGE), rank_one_weight(IMAGE)
    first = fastconv.conv2d(x, weight, padding=7, algorithm="separable")
    for factor in (2, 3, 4, 5, 6):  # more than are kept
        again = fastconv.conv2d(x, weight * np.float32(factor), padding=7, algorithm="separable")
        np.testing.assert_allclose(again, factor * first, rtol=1e-4, atol=1e-4)
    weight *= 2
    assert not np.array_equal(fastconv.conv2d(x, weight, padding=7, algorithm="separable"), first)


# ------------------------------------------------------------------------- what is not finite


@pytest.fixture
def repaired(monkeypatch):
    """How often planes were computed again."""
    calls, repair = [], type(SEPARABLE.plan(IMAGE)).repair

    def count(self, *arguments):
        calls.append(self)
        repair(self, *arguments)

    monkeypatch.setattr(type(SEPARABLE.plan(IMAGE)), "repair", count)
    return calls


@pytest.mark.parametrize("special", SPECIALS)
def test_it_reaches_its_windows_alone(repaired: list[object], special: float) -> None:
    x = np.zeros((2, 3, 9, 40), np.float32)
    x[1, 2, 4, 17] = special
    y = fastconv.conv2d(x, np.ones((3, 1, 3, 3), np.float32), padding=1, groups=3, algorithm="separable")
    expected = np.zeros_like(x)
    expected[1, 2, 3:6, 16:19] = special
    np.testing.assert_array_equal(y, expected)
    assert len(repaired) == 1


@pytest.mark.parametrize("text", ["n1,c1,50x70,k1", "n3,c2,50x70,k4", "n2,c1,50x5,k1"])
@pytest.mark.parametrize("threads", [1, 2])
def test_planes_that_have_one_are_those_of_depthwise(always_threads, threads: int, text: str) -> None:
    always_threads(threads)
    groups = text.split("c")[1][0]
    problem = ConvProblem.parse(f"conv2d,{text},5x4,p2,g{groups},flip,float32")
    weight = rank_one_weight(problem)
    weight[0, 0, 2] = 0  # a row of zeros: zero times infinity is NaN
    arguments = problem.arguments()
    clean = image_of(problem)
    finite = fastconv.conv2d(clean, weight, algorithm="separable", **arguments)
    for number, special in enumerate(SPECIALS):
        image, channel = number % problem.batch, number % problem.channels
        x = clean.copy()
        x[image, channel, 20 + number, 3] = special
        y = fastconv.conv2d(x, weight, algorithm="separable", **arguments)
        defined = fastconv.conv2d(x, weight, algorithm="depthwise", **arguments)
        of_channel = problem.filters // problem.channels
        planes = np.s_[image, channel * of_channel : (channel + 1) * of_channel]
        assert not np.isfinite(y[planes]).all()
        np.testing.assert_array_equal(y[planes], defined[planes])
        y[planes] = finite[planes]
        assert y.tobytes() == finite.tobytes()  # no other plane


def test_sums_that_only_overflow_between_the_passes(repaired: list[object]) -> None:
    x = np.zeros((1, 1, 20, 30), np.float32)
    x[0, 0, 9:11, 7] = 3e38
    x[0, 0, 12, 7] = 3e38
    weight = np.full((1, 1, 4, 2), 0.25, np.float32)
    y = fastconv.conv2d(x, weight, algorithm="separable")
    assert np.isfinite(y).all()
    np.testing.assert_allclose(y, fastconv.conv2d(x, weight, algorithm="depthwise"), rtol=1e-6)
    weight *= 4e30  # the first pass overflows, and the second would make NaN of it
    x *= np.float32(1e-30)
    x[0, 0, :, 8] = -x[0, 0, :, 7]
    y = fastconv.conv2d(x, weight, algorithm="separable")
    np.testing.assert_array_equal(y, fastconv.conv2d(x, weight, algorithm="depthwise"))


def test_a_residual_that_is_not_finite_needs_no_repair(repaired: list[object]) -> None:
    x, weight = image_of(IMAGE), rank_one_weight(IMAGE)
    residual = np.zeros(IMAGE.output_shape, np.float32)
    residual[0, 0, 1, 2] = np.nan
    y = fastconv.conv2d(x, weight, padding=7, residual=residual, algorithm="separable")
    assert np.flatnonzero(np.isnan(y)).tolist() == [IMAGE.output_size[1] + 2]
    assert repaired == []


def test_scratch_that_is_not_finite_is_nobodys(repaired: list[object]) -> None:
    """Lanes behind a narrow row compute on what an earlier call left there."""
    wide = ConvProblem.parse("conv2d,n1,c1,40x900,k1,5x5,p2,float32")
    nothing = np.full(wide.input_shape, np.nan, np.float32)
    fastconv.conv2d(nothing, rank_one_weight(wide), padding=2, algorithm="separable")
    assert len(repaired) == 1
    for width in range(5, 40):
        narrow = dataclasses.replace(wide, size=(40, width), padding=((2, 2), (0, 0)))
        x, weight = image_of(narrow), rank_one_weight(narrow)
        y = fastconv.conv2d(x, weight, padding=(2, 0), algorithm="separable")
        expected = fastconv.reference.conv(narrow, x, weight)
        assert np.linalg.norm(y - expected) <= 2e-6 * max(1, np.linalg.norm(expected))
    assert len(repaired) == 1


# -------------------------------------------------------------------------------------- plans


def test_the_scratch_is_a_band(allocated: list[int]) -> None:
    fastconv.clear_cache()
    large = ConvProblem.parse("conv2d,n1,c1,3000x4000,k1,25x25,p12,float32")
    assert SEPARABLE.workspace(large) < 1 << 20
    x, weight = image_of(IMAGE), rank_one_weight(IMAGE)
    allocated.clear()
    fastconv.conv2d(x, weight, padding=7, algorithm="separable")
    assert sum(allocated) == SEPARABLE.workspace(IMAGE)


def test_sums_and_weights_fit_the_registers(vector_bits: int) -> None:
    target = targets.current()
    for text in ("600x500,k1,15x15", "600x500,k1,66x3", "6x5,k1,3x4", "40x50,k1,3x31"):
        code = SEPARABLE.plan(ConvProblem.parse(f"conv2d,n1,c1,{text},p2,float32")).code
        for axis, sums in ((0, code.rows), (1, code.lines * code.vectors)):
            size, count, rest = code.chunks(axis, target)
            assert size * count + rest == code.kernel[axis]
            assert sums + size <= target.vector_registers


def test_a_chunk_meets_each_row_once() -> None:
    code = Passes(dtype="float32", rows=2, lines=1, vectors=1, kernel=(3, 3))
    assert code.pairs(3) == {0: [(0, 0)], 1: [(1, 0), (0, 1)], 2: [(1, 1), (0, 2)], 3: [(1, 2)]}
    apart = dataclasses.replace(code, stride=(3, 1), dilation=(2, 1))
    assert apart.pairs(2) == {0: [(0, 0)], 2: [(0, 1)], 3: [(1, 0)], 5: [(1, 1)]}
    assert apart.meets == 8


def test_the_name_says_all() -> None:
    code = Passes(dtype="float32", rows=3, lines=1, vectors=1, kernel=(5, 5))
    changes = {
        "dtype": "float64", "rows": 4, "lines": 2, "vectors": 2, "kernel": (4, 5), "stride": (1, 2),
        "dilation": (2, 1), "thin": True, "narrow": True, "bordered": True, "copied": True, "residual": True,
        "activation": "relu",
    }  # fmt: skip
    assert set(changes) == {field.name for field in dataclasses.fields(Passes)}
    names = {dataclasses.replace(code, **{name: value}).name for name, value in changes.items()}
    assert len(names | {code.name}) == 1 + len(changes)


def test_planes_are_computed_again_by_depthwise() -> None:
    assert isinstance(SEPARABLE.plan(IMAGE).exact, DepthwisePlan)

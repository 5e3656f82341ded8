"""Depthwise planes: by hand, then random ones of every kind that the algorithm takes, and what it refuses."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fastconv
from fastconv import selection
from fastconv.codegen import depthwise as codegen
from fastconv.codegen import target as targets
from fastconv.codegen.depthwise_shape import Planes
from fastconv.cpu.depthwise import _code, planes_plan
from fastconv.cpu.plan import Request, natural_strides
from fastconv.problem import ACTIVATIONS, LAYOUTS, PADDING_MODES, ConvProblem

DEPTHWISE = selection.algorithm("depthwise")
TOLERANCE = {"float32": 2e-6, "float64": 1e-14}


def request(text: str, threads: int = 1) -> Request:
    problem = ConvProblem.parse(text)
    return Request(problem, None, natural_strides(problem), threads, targets.current())


# ------------------------------------------------------------------------------------ by hand


def test_each_filter_reads_its_own_channel() -> None:
    x = np.arange(2 * 3 * 3, dtype=np.float32).reshape(1, 2, 3, 3)
    weight = np.array([[[[1.0]]], [[[10.0]]], [[[100.0]]], [[[1000.0]]]], np.float32)
    y = fastconv.conv2d(x, weight, groups=2, algorithm="depthwise")
    assert (y[0] == np.stack([x[0, 0], 10 * x[0, 0], 100 * x[0, 1], 1000 * x[0, 1]])).all()


def test_rows_and_columns_outside_are_zeros() -> None:
    x = np.ones((1, 1, 2, 3), np.float32)
    weight = np.array([[[[1, 2, 4], [8, 16, 32], [64, 128, 256]]]], np.float32)
    y = fastconv.conv2d(x, weight, padding=1, algorithm="depthwise")
    middle = 16 + 32 + 128 + 256
    assert y[0, 0].tolist() == [
        [middle, middle + 8 + 64, 8 + 16 + 64 + 128],
        [2 + 4 + 16 + 32, 1 + 2 + 4 + 8 + 16 + 32, 1 + 2 + 8 + 16],
    ]


@pytest.mark.parametrize("width", [4, 9, 50])
def test_borders_repeat_the_plane(width: int) -> None:
    x = np.arange(4 * width, dtype=np.float32).reshape(1, 1, 4, width)
    corners = np.zeros((1, 1, 5, 5), np.float32)
    corners[0, 0, ::4, ::4] = 1, 1000  # (the upper left + the lower left) + 1000 (the upper right + the lower right)
    for mode in PADDING_MODES[1:]:
        padded = np.pad(x[0, 0], 2, mode={"replicate": "edge", "circular": "wrap"}.get(mode, mode))
        y = fastconv.conv2d(x, corners, padding=2, padding_mode=mode, algorithm="depthwise")
        expected = padded[:-4, :-4] + padded[4:, :-4] + 1000 * (padded[:-4, 4:] + padded[4:, 4:])
        np.testing.assert_array_equal(y[0, 0], expected)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("size", [3, 7, 40])
@pytest.mark.parametrize("kernel", [3, 31])
@pytest.mark.parametrize("special", [np.nan, np.inf])
def test_padding_times_what_is_not_finite_is_not_left_out(
    layout: str, size: int, kernel: int, special: float
) -> None:
    x = np.ones((2, 2, size, size) if layout == "channels_first" else (2, size, size, 2), np.float32)
    weight = np.zeros((2, 1, kernel, kernel), np.float32)
    weight[1, 0, -1, -1] = special  # of windows at the bottom and at the right, it meets the padding
    y = fastconv.conv2d(x, weight, padding=kernel // 2, groups=2, layout=layout, algorithm="depthwise")
    if layout == "channels_last":
        y = np.moveaxis(y, -1, 1)
    expected = np.full((size, size), special)
    expected[max(0, size - kernel // 2) :] = np.nan
    expected[:, max(0, size - kernel // 2) :] = np.nan
    assert (y[:, 0] == 0).all()
    np.testing.assert_array_equal(y[:, 1], [expected] * 2)


@pytest.mark.parametrize(
    "text",
    [
        "conv1d,n2,c1,40,k1,5,s2,p2,channels_last,float32",
        "conv2d,n3,c1,17x19,k1,3x3,p2,reflect,channels_last,float32",
        "conv3d,n2,c1,9x10x11,k1,3x3x3,p1,channels_last,float64",
    ],
)
def test_the_pixels_of_a_single_channel_are_a_plane_in_either_layout(text: str, operands_of) -> None:
    problem = ConvProblem.parse(text)
    x, weight, *_ = operands_of(problem)
    convolve, arguments = getattr(fastconv, f"conv{problem.rank}d"), problem.arguments()
    y = convolve(x, weight, algorithm="depthwise", **arguments)
    planes = convolve(np.moveaxis(x, -1, 1), weight, algorithm="depthwise", **arguments | {"layout": "channels_first"})
    assert y.tobytes() == planes.tobytes()
    among_others = np.zeros((*y.shape[:-1], 3), y.dtype)
    convolve(x, weight, algorithm="depthwise", out=among_others[..., 1:2], **arguments)
    assert among_others[..., 1:2].tobytes() == y.tobytes()
    assert not among_others[..., ::2].any()


@pytest.mark.parametrize("size", [7, 40])
def test_a_weight_that_is_not_finite_changes_no_bit_of_other_filters(size: int) -> None:
    random = np.random.default_rng(size)
    x, weight = random.standard_normal((1, 5, size, size)), random.standard_normal((5, 1, 31, 31))
    finite = fastconv.conv2d(x, weight, padding=15, groups=5, algorithm="depthwise")
    weight[2] = np.nan
    y = fastconv.conv2d(x, weight, padding=15, groups=5, algorithm="depthwise")
    others = [0, 1, 3, 4]
    assert y[:, others].tobytes() == finite[:, others].tobytes()
    assert np.isnan(y[:, 2]).all()


# ------------------------------------------------------------------------------------- random


@st.composite
def problems(draw: st.DrawFn) -> ConvProblem:
    """Draw what the algorithm takes: planes narrower and wider than vectors, kernels of one chunk and of several."""
    layout = draw(st.sampled_from(LAYOUTS))
    first = layout == "channels_first"
    mode = draw(st.sampled_from(("zeros", "zeros", *PADDING_MODES[1:]))) if first else "zeros"
    rank = draw(st.integers(1, 3 if first else 2))
    kernel = [draw(st.integers(1, {1: 17, 2: 17, 3: 3}[rank])) for _ in range(rank)]
    dilation = [draw(st.sampled_from((1, 1, 2, 3))) for _ in range(rank)]
    stride = [draw(st.sampled_from((1, 1, 2, 2, 3, 4, 9))) for _ in range(rank)]
    size = [draw(st.integers(1 if mode in ("zeros", "replicate") else 2, 13 if rank == 3 else 45)) for _ in range(rank)]
    most = {"zeros": 9, "reflect": 1, "circular": 2, "symmetric": 2, "replicate": 9}[mode]
    padding = [(draw(st.integers(0, most)), draw(st.integers(0, most))) for _ in range(rank)]
    size = [
        max(n, (k - 1) * d + 1 - sum(pair)) for n, k, d, pair in zip(size, kernel, dilation, padding, strict=True)
    ]
    channels, multiplier = draw(st.integers(1, 5 if first else 40)), draw(st.integers(1, 3 if first else 1))
    batch = draw(st.integers(1, 2))
    return ConvProblem.from_shapes(
        (batch, channels, *size) if first else (batch, *size, channels),
        (channels * multiplier, 1, *kernel),
        draw(st.sampled_from(tuple(TOLERANCE))),
        stride=tuple(stride),
        padding=padding,
        dilation=tuple(dilation),
        groups=channels,
        flip=draw(st.booleans()),
        layout=layout,
        padding_mode=mode,
    )


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    problem=problems(),
    activation=st.sampled_from((None, *ACTIVATIONS[:2])),
    threads=st.integers(1, 2),
    bias=st.booleans(),
    residual=st.booleans(),
    cut=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_random_planes(vector_bits, always_threads, problem, activation, threads, bias, residual, cut, seed) -> None:
    always_threads(threads)
    random = np.random.default_rng(seed)
    shapes = problem.input_shape, problem.weight_shape, (problem.filters,), problem.output_shape
    x, weight, offset, addend = (random.uniform(-1, 1, shape).astype(problem.dtype) for shape in shapes)
    terms = offset if bias else None, addend if residual else None
    axis = 1 if problem.layout == "channels_first" else -1
    wider = list(problem.output_shape)
    wider[axis] += cut
    whole = np.full(wider, np.nan, problem.dtype)
    out, rest = np.split(whole, [problem.filters], axis)
    convolve = (fastconv.conv1d, fastconv.conv2d, fastconv.conv3d)[problem.rank - 1]
    convolve(
        x, weight, terms[0], residual=terms[1], activation=activation, out=out, algorithm="depthwise",
        **problem.arguments(),
    )  # fmt: skip
    expected = fastconv.reference.conv(problem, x, weight, *terms, activation)
    magnitudes = [None if term is None else np.abs(term) for term in (x, weight, *terms)]
    scale = np.linalg.norm(fastconv.reference.conv(problem, *magnitudes))
    assert np.linalg.norm(out - expected) <= TOLERANCE[problem.dtype] * scale
    assert np.isnan(rest).all()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33])
@pytest.mark.parametrize("kernel", [1, 2, 3, 5, 7, 8, 13, 16, 31])
def test_every_size_of_plane_and_kernel(kernel: int, size: int, layout: str) -> None:
    channels = 3 if layout == "channels_first" else size
    shape = (1, 3, size, size + 1) if layout == "channels_first" else (1, size, size + 1, channels)
    problem = ConvProblem.from_shapes(
        shape, (channels, 1, kernel, kernel), "float32", padding=(kernel // 2 + 1,) * 2, groups=channels, layout=layout
    )
    random = np.random.default_rng(kernel)
    x, weight = (random.uniform(-1, 1, shape).astype("f4") for shape in (problem.input_shape, problem.weight_shape))
    y = fastconv.conv2d(x, weight, algorithm="depthwise", **problem.arguments())
    expected = fastconv.reference.conv(problem, x, weight)
    assert np.linalg.norm(y - expected) <= 2e-6 * np.linalg.norm(expected)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("stride", [1, 2, (3, 1)])
@pytest.mark.parametrize("mode", PADDING_MODES)
def test_rows_that_share_cache_sets_are_copied(always_threads, mode: str, stride: int, threads: int) -> None:
    always_threads(threads)
    random = np.random.default_rng(3)
    x = random.standard_normal((2, 2, 60, 1024), dtype=np.float32)
    weight = random.standard_normal((4, 1, 13, 12), dtype=np.float32)
    arguments = {"stride": stride, "padding": ((7, 5), (4, 8)), "padding_mode": mode, "groups": 2}
    problem = ConvProblem.from_shapes(x.shape, weight.shape, **arguments)
    plan = DEPTHWISE.plan(problem)
    assert plan.code.copied
    assert plan.code.parted == (threads > 1)
    y = fastconv.conv2d(x, weight, algorithm="depthwise", **arguments)
    expected = fastconv.reference.conv(problem, x, weight)
    assert np.linalg.norm(y - expected) <= 2e-6 * np.linalg.norm(expected)


def test_rows_apart_are_not_copied() -> None:
    for text in (
        "conv2d,n1,c1,60x1008,k1,13x12,p6,float32",  # 4032 bytes a row: each in a set of its own
        "conv2d,n1,c1,60x1024,k1,3x3,p1,float32",  # few rows
        "conv2d,n1,c1,60x100,k1,13x13,p6,float32",
    ):
        assert not DEPTHWISE.plan(ConvProblem.parse(text)).code.copied


# ----------------------------------------------------------------------------- what it refuses


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("conv2d,n1,c8,9x9,k8,3x3,float32", "depthwise reads one channel a filter, not 8"),
        ("conv2d,n1,c8,9x9,k8,3x3,g4,float32", "depthwise reads one channel a filter, not 2"),
        ("conv2d,n1,c8,9x9,k16,3x3,g8,channels_last,float32", "depthwise computes one filter a channel in"),
        (
            "conv3d,n1,c8,9x9x9,k8,3x3x3,g8,channels_last,float32",
            "depthwise computes one and two dimensions in channels_last, not 3",
        ),
        (
            "conv2d,n1,c8,9x9,k8,3x3,p1,g8,reflect,channels_last,float32",
            "depthwise pads with zeros in channels_last, not by reflect",
        ),
        ("conv1d,n1,c8,9000,k8,5000,g8,float32", "depthwise sums 4096 taps at most, not 5000"),
        ("conv2d,n1,c8,9x9,k8,3x3,g8,int32", "depthwise computes float32 and float64, not int32"),
        ("conv2d,n1,c8,9x9,k8,3x3,g8,input_gradient,float32", "depthwise computes the forward direction, not input_gr"),
    ],
)
def test_refusals_have_reasons(text: str, reason: str) -> None:
    assert str(DEPTHWISE.supports(ConvProblem.parse(text))).startswith(reason)


def test_a_mode_of_padding_without_padding_is_nothing() -> None:
    assert DEPTHWISE.supports(ConvProblem.parse("conv2d,n1,c8,9x9,k8,3x3,g8,reflect,channels_last,float32")) is None


# -------------------------------------------------------------------------------------- plans


def test_nothing_is_copied_but_what_borders_repeat() -> None:
    assert DEPTHWISE.workspace(ConvProblem.parse("conv2d,n4,c32,200x200,k32,9x9,p4,g32,float32")) == 0
    strips = DEPTHWISE.workspace(ConvProblem.parse("conv2d,n4,c32,200x2000,k32,9x9,p4,g32,reflect,float32"))
    assert 0 < strips < 32 * 1024 * fastconv.get_num_threads()


def test_few_planes_are_cut_for_threads() -> None:
    assert planes_plan(request("conv2d,n1,c1,1000x1000,k1,5x5,p2,float32", threads=1)).tasks == 1
    cut = planes_plan(request("conv2d,n1,c1,1000x1000,k1,5x5,p2,float32", threads=4))
    assert cut.tasks >= 4
    assert 1000 // cut.tasks >= cut.code.rows
    assert planes_plan(request("conv2d,n1,c1,3x1000,k1,5x5,p2,float32", threads=4)).tasks <= 3
    assert planes_plan(request("conv2d,n1,c64,56x56,k64,5x5,p2,g64,float32", threads=2)).tasks == 64


@pytest.mark.parametrize("kernel", range(1, 65))
def test_tiles_fit_the_registers(vector_bits: int, kernel: int) -> None:
    target = targets.current()
    for size in (1, 6, 7, 14, 28, 56, 100):
        problem = ConvProblem.parse(f"conv2d,n1,c2,{size}x{size},k2,{kernel}x3,p{kernel}x1,g2,float32")
        code = _code(Request(problem, None, natural_strides(problem), 1, target))
        chunks = code.chunks(None, target)
        assert [row for chunk in chunks for row in chunk] == list(range(kernel))
        assert max(map(len, chunks)) - min(map(len, chunks)) <= 1
        assert code.rows * code.vectors + max(map(len, chunks)) <= target.vector_registers


def test_a_chunk_meets_only_the_rows_that_it_needs() -> None:
    code = Planes(dtype="float32", rows=3, vectors=1, kernel=(5, 5))
    assert code.input_rows(range(5), None) == [0, 1, 2, 3, 4, 5, 6]
    assert code.input_rows(range(5), (2, 1)) == [2, 3, 4, 5]
    assert code.input_rows(range(3, 5), None) == [3, 4, 5, 6]
    apart = dataclasses.replace(code, row_step=3)
    assert apart.input_rows(range(2), None) == [0, 1, 3, 4, 6, 7]


def test_kernel_rows_that_meet_nothing_are_left_out() -> None:
    code = Planes(dtype="float32", rows=2, vectors=1, kernel=(9, 9))
    (whole,) = code.chunks(None, dataclasses.replace(targets.current(), vector_registers=32))
    assert whole == range(9)
    (some,) = code.chunks((4, 3), targets.current())  # input rows 4, 5 and 6 of 10
    assert some == range(3, 7)
    assert code.chunks((10, 0), targets.current()) == []


def test_the_name_says_all() -> None:
    code = Planes(dtype="float32", rows=3, vectors=1, kernel=(5, 5))
    changes = {
        "dtype": "float64", "rows": 4, "vectors": 2, "kernel": (4, 5), "depth": 5, "deep": True, "bordered": True,
        "copied": True,
        "flip": True, "row_step": 2, "stride": 2,
        "dilation": 2, "kinds": ((1, 0),), "height": 7, "classes": True, "parted": True, "repeated": True,
        "narrow": True, "spills": True, "edges": False, "inner": False, "leaves_out": True, "residual": True,
        "activation": "relu",
    }  # fmt: skip
    assert set(changes) == {field.name for field in dataclasses.fields(Planes)}
    names = {dataclasses.replace(code, **{name: value}).name for name, value in changes.items()}
    assert len(names | {code.name}) == 1 + len(changes)


def test_sums_stay_in_registers() -> None:
    """In tiles of 3x3, next to nothing is put aside: a mask, but not sums."""
    target = targets.current()
    if target.vector_bits < 256:
        pytest.skip("LLVM takes masked loads apart where the processor has none")
    code = _code(request("conv2d,n1,c8,56x56,k8,3x3,p1,g8,float32"))
    text = targets.machine(target).emit_assembly(codegen_module(code))
    stores = [line for line in text.splitlines() if "vmov" in line and line.rstrip().endswith("(%rsp)")]
    assert len([line for line in stores if "ymm" in line or "zmm" in line]) <= 2 * len(code.kinds)


def codegen_module(code: Planes) -> object:
    import llvmlite.binding as llvm

    return llvm.parse_assembly(str(codegen.emit(code, targets.current())))

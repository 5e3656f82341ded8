"""Convolution by spectra of tiles: by hand, random ones of every kind that it takes, and what it refuses."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fastconv
from fastconv import selection
from fastconv.cpu import fft_plan
from fastconv.cpu.exact import Exact
from fastconv.problem import LAYOUTS, PADDING_MODES, ConvProblem

layouts = pytest.mark.parametrize("layout", LAYOUTS)


def convolve(problem, operands, algorithm="fft", **others):
    """Call as a user does; `operands` are x, weight and maybe bias and residual."""
    function = getattr(fastconv, f"conv{problem.rank}d")
    return function(*operands[:3], residual=(*operands, None, None)[3], algorithm=algorithm, **problem.arguments(),
                    **others)  # fmt: skip


@pytest.fixture
def only(monkeypatch):
    """Cut problems only in ways that a condition holds for."""
    candidates = fft_plan.candidates

    def restrict(condition):
        fastconv.clear_cache()
        fft_plan.best.cache_clear()
        monkeypatch.setattr(fft_plan, "candidates", lambda *given: filter(condition, candidates(*given)))

    yield restrict
    monkeypatch.undo()
    fft_plan.best.cache_clear()
    fastconv.clear_cache()


@pytest.fixture(params=["planes", "channels"])
def kind(request, only):
    """What lanes are."""
    only(lambda cut: cut.planes == (request.param == "planes"))
    return request.param


def plan(problem):
    return selection.algorithm("fft").plan(problem)


# ------------------------------------------------------------------------------------ by hand


@pytest.mark.usefixtures("kind")
@layouts
@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_delta_kernel_copies(layout, flip, dtype):
    """The one in the corner of 4 x 6: the image, shifted."""
    image = np.arange(1, 36, dtype=dtype).reshape(5, 7)
    x = image[None, None] if layout == "channels_first" else image[None, :, :, None]
    weight = np.zeros((1, 1, 4, 6), dtype)
    weight[..., 0, 0] = 1
    y = fastconv.conv2d(x, weight, padding=((2, 1), (1, 4)), flip=flip, layout=layout, algorithm="fft")
    padded = np.pad(image, ((2, 1), (1, 4)))
    expected = padded[3:, 5:] if flip else padded[:-3, :-5]
    np.testing.assert_allclose(y.reshape(expected.shape), expected, atol=1e-5)


@pytest.mark.usefixtures("kind")
def test_channels_are_summed_and_filters_are_apart():
    x = np.float32([[[[1, 2, 3]] * 3, [[4, 5, 6]] * 3]])
    weight = np.zeros((2, 2, 3, 3), np.float32)
    weight[:, :, 1, 1] = [[10, 1], [1000, 100]]
    y = fastconv.conv2d(x, weight, padding=1, algorithm="fft")
    np.testing.assert_allclose(y[0], [[[14, 25, 36]] * 3, [[1400, 2500, 3600]] * 3], atol=2e-3)


@pytest.mark.usefixtures("kind")
@layouts
@pytest.mark.parametrize("flip", [False, True])
def test_the_slices_of_a_volume_are_summed(layout, flip):
    """A kernel that has a number in the middle of each slice: slices times these. One window is of padding."""
    image = np.random.default_rng(0).integers(0, 9, (4, 5, 6)).astype(np.float32)
    x = np.stack([image, 10 * image], 0 if layout == "channels_first" else -1)[None]
    weight = np.zeros((1, 2, 3, 3, 3), np.float32)
    weight[:, 0, :, 1, 1] = weight[:, 1, :, 1, 1] = 1, 2, 3
    arguments = {"stride": (2, 1, 1), "padding": ((4, 1), (1, 1), (1, 1)), "layout": layout}
    y = fastconv.conv3d(x, weight, flip=flip, algorithm="fft", **arguments)
    a, b, c = (3, 2, 1) if flip else (1, 2, 3)
    expected = [0 * image[0], c * image[0], a * image[0] + b * image[1] + c * image[2], a * image[2] + b * image[3]]
    np.testing.assert_allclose(y.reshape(4, 5, 6), 11 * np.array(expected), atol=2e-3)


@pytest.mark.usefixtures("kind")
def test_one_axis_and_many_tiles():
    """The sum of eleven samples, of samples that count up: eleven times the one in the middle."""
    x = np.arange(1000, dtype=np.float32)[None, None]
    y = fastconv.conv1d(x, np.ones((1, 1, 11), np.float32), algorithm="fft")
    np.testing.assert_allclose(y[0, 0], 11 * np.arange(5, 995), rtol=1e-5)


# ------------------------------------------------------------------------------------- random


@st.composite
def problems(draw):
    """Draw what the algorithm takes: windows larger than planes and smaller, one tile and many."""
    layout, mode = draw(st.sampled_from(LAYOUTS)), draw(st.sampled_from(("zeros", "zeros", *PADDING_MODES)))
    rank = draw(st.integers(1, 3))
    kernel = [draw(st.integers(1 if rank > 1 else 2, 13)) for _ in range(rank)]
    if rank == 3:
        kernel[0] = draw(st.integers(1, 4))
    kernel[-1] += max(kernel[-2:]) == 1
    dilation = [draw(st.integers(1, 3)) for _ in range(rank)]
    stride = [draw(st.sampled_from((1, 1, 1, 2, 3, 7))) for _ in range(rank)]
    size = [draw(st.one_of(st.integers(1, 12), st.integers(1, 90))) for _ in range(rank)]
    if rank == 3:
        size = [draw(st.integers(1, 6)), *(min(n, 40) for n in size[1:])]
    limits = {"reflect": [n - 1 for n in size], "zeros": [30] * rank, "replicate": [30] * rank}.get(mode, size)
    if rank == 3:
        limits = [min(limit, 4) for limit in limits]
    padding = [[draw(st.integers(0, min(limit, 30))) for _ in range(2)] for limit in limits[:rank]]
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    size = [max(n, span - sum(pair)) for n, span, pair in zip(size, spans, padding, strict=True)]
    groups = draw(st.sampled_from((1, 1, 2, 3, 20)))
    few = groups > 2 or rank == 3
    channels, filters = (draw(st.sampled_from((1, 1, 2, 5))) if few else draw(st.integers(1, 20)) for _ in range(2))
    shape = (draw(st.integers(1, 3)), groups * channels, *size)
    return ConvProblem.from_shapes(
        shape if layout == "channels_first" else (shape[0], *size, shape[1]),
        (groups * filters, channels, *kernel),
        draw(st.sampled_from(("float32", "float64"))),
        stride=tuple(stride),
        padding=padding,
        dilation=tuple(dilation),
        groups=groups,
        padding_mode=mode,
        flip=draw(st.booleans()),
        layout=layout,
    )


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
@pytest.mark.usefixtures("kind")
def test_random_convolutions(vector_bits, always_threads, operands_of, data):
    problem = data.draw(problems(), "problem")
    activation = data.draw(st.sampled_from((None, "relu")), "activation")
    bias, residual = (data.draw(st.booleans(), name) for name in ("bias", "residual"))
    operands = operands_of(problem, bias, residual, data.draw(st.integers(0, 2**32 - 1), "seed"))
    always_threads(data.draw(st.integers(1, 3), "threads"))
    axis = 1 if problem.layout == "channels_first" else -1
    wider = list(problem.output_shape)
    wider[axis] += data.draw(st.integers(0, 2), "filters of another")
    out, rest = np.split(np.full(wider, np.nan, problem.dtype), [problem.filters], axis)
    convolve(problem, operands, activation=activation, out=out)
    assert np.isnan(rest).all()
    magnitudes = [None if each is None else np.abs(each) for each in operands]
    # an error is relative to a tile, also where a result sees little of it
    scale = np.linalg.norm(fastconv.reference.conv(problem, *magnitudes))
    scale = max(scale, np.linalg.norm(operands[0]) * np.linalg.norm(operands[1]))
    expected = fastconv.reference.conv(replace(problem, dtype="float64"),
                                       *[None if each is None else each.astype("f8") for each in operands],
                                       activation)  # fmt: skip
    limit = selection.algorithm("fft").error_bound(problem)
    assert np.linalg.norm(out - expected) <= limit * scale


LAYERS = [
    "conv2d,n2,c5,40x70,k7,5x7,p3,float32",
    "conv2d,n3,c24,17x60,k24,9x9,p4,g24,float32",
    "conv2d,n2,c9,33x20,k40,4x11,p5,channels_last,float32",
    "conv1d,n2,c3,900,k3,33,p16,float64",
    "conv2d,n2,c4,50x61,k4,7x9,s2x3,p4,g2,float32",
    "conv3d,n2,c4,5x33x20,k9,3x5x4,p2,float32",
    "conv3d,n2,c4,5x33x20,k4,2x5x4,s2x1x1,p2,g4,channels_last,float32",
]


@pytest.mark.parametrize("text", LAYERS)
@pytest.mark.usefixtures("kind")
def test_any_batch_threads_and_layer(always_threads, operands_of, text):
    """The bits of an image depend neither on the others, nor on threads, nor on when weights were transformed."""
    problem = ConvProblem.parse(text)
    x, weight, bias, residual = operands_of(problem, bias=True, residual=True)
    always_threads(1)
    expected = convolve(problem, (x, weight, bias, residual))
    for threads in (2, 3):
        always_threads(threads)
        assert convolve(problem, (x, weight, bias, residual)).tobytes() == expected.tobytes()
    layer = getattr(fastconv, f"Conv{problem.rank}d")(weight, bias, algorithm="fft", **problem.arguments())
    assert layer(x, residual).tobytes() == expected.tobytes()
    for image in range(problem.batch):
        alone = convolve(problem, (x[image], weight, bias, residual[image]))
        assert alone.tobytes() == expected[image].tobytes()


def test_blocks_of_pairs(only, operands_of, monkeypatch):
    """Where spectra would take too much memory, they are computed block by block: the same bits."""
    only(lambda cut: not cut.planes)
    problem = ConvProblem.parse("conv2d,n3,c5,40x70,k7,5x7,p3,float32")
    operands = operands_of(problem)
    expected = convolve(problem, operands)
    assert plan(problem).block_pairs > 2
    for most, pairs in ((1, 1), (plan(problem)._sizes[2] - 1, plan(problem).block_pairs - 1)):  # the last is shorter
        fastconv.clear_cache()
        monkeypatch.setattr(fft_plan, "MOST_INPUT", most)
        assert plan(problem).block_pairs == pairs
        assert convolve(problem, operands).tobytes() == expected.tobytes()


def test_weights_that_are_too_large_are_not_kept(only, operands_of, monkeypatch):
    only(lambda cut: not cut.planes)
    problem = ConvProblem.parse("conv2d,n1,c5,20x20,k7,5x7,p3,float32")
    x, weight, *_ = operands_of(problem)
    kept = fastconv.Conv2d(weight, padding=3, algorithm="fft")(x)
    monkeypatch.setattr(fft_plan, "MOST_WEIGHTS", 1)
    assert fastconv.Conv2d(weight, padding=3, algorithm="fft")(x).tobytes() == kept.tobytes()


@layouts
@pytest.mark.usefixtures("kind")
@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("shape", ["conv2d,n3,c4,30x40,k4,5x5,p2", "conv3d,n3,c4,3x10x40,k4,2x5x5,p2"])
def test_what_is_not_finite(layout, special, shape, monkeypatch, operands_of):
    """The image is computed again as the sum stands; the others keep their bits."""
    problem = ConvProblem.parse(f"{shape},{layout},float32")
    operands = operands_of(problem, bias=True, residual=True)
    clean = convolve(problem, operands)
    operands[0][1].reshape(-1)[777] = special
    repaired, repair = [], Exact.again

    def count(self, images, *arrays):
        repaired.extend(images)
        repair(self, images, *arrays)

    monkeypatch.setattr(Exact, "again", count)
    y, direct = convolve(problem, operands), convolve(problem, operands, "direct")
    assert repaired == [1]
    assert np.array_equal(y[1], direct[1], equal_nan=True)
    assert not np.isfinite(y[1]).all()
    assert y[0].tobytes() == clean[0].tobytes()
    assert y[2].tobytes() == clean[2].tobytes()


# -------------------------------------------------------------------------- limits and promises

_LONG = "fft computes windows of at most 256 elements along an axis, not 300"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("conv2d,n1,c1,9x9,k1,1x1,float32", "fft needs a kernel of more than one element"),
        ("conv3d,n1,c1,9x9x9,k1,3x1x1,float32", "fft needs a kernel of more than one element a slice"),
        ("conv3d,n1,c1,9x9x900,k1,3x3x300,float64", _LONG),
        ("conv2d,n1,c1,900x9,k1,300x3,float32", _LONG),
        ("conv2d,n1,c1,9x9,k1,3x3,int32", "fft computes float32 and float64, not int32"),
    ],
)
def test_reasons(text, reason):
    assert selection.algorithm("fft").supports(ConvProblem.parse(text)) == reason


def test_the_largest_windows():
    for text in ("conv2d,n1,c1,260x300,k1,256x200,p9,float32", "conv1d,n1,c1,140000,k1,131072,p3,float32"):
        problem = ConvProblem.parse(text)
        x, weight = np.zeros(problem.input_shape, "f4"), np.zeros(problem.weight_shape, "f4")
        x.reshape(-1)[1000:1003], weight.reshape(-1)[[0, -1]] = (1, 2, 3), (1, 10)
        expected = convolve(problem, (x, weight), "direct")
        np.testing.assert_allclose(convolve(problem, (x, weight)), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("text", "planes"),
    [
        ("conv2d,n1,c1,1024x1024,k1,41x41,p20,float32", True),
        ("conv2d,n1,c128,56x56,k128,31x31,p15,g128,float32", False),
        ("conv2d,n1,c64,56x56,k64,15x15,p7,float32", False),
    ],
)
def test_what_lanes_are(text, planes):
    problem = ConvProblem.parse(text)
    assert plan(problem).tiling.planes == planes


@pytest.mark.parametrize("text", LAYERS)
@pytest.mark.usefixtures("kind")
def test_the_workspace_is_what_a_call_allocates(allocated, operands_of, text):
    problem = ConvProblem.parse(text)
    operands = operands_of(problem)
    fastconv.clear_cache()
    expected = selection.algorithm("fft").workspace(problem)
    allocated.clear()
    convolve(problem, operands)
    assert sum(allocated) == expected

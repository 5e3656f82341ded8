"""What a call of Winograd's does besides its sums: blocks and tasks that nobody sees, images that are computed again.

An image whose result would hold NaN or infinity is `direct`'s, bit by bit, and no other image is.
"""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fastconv
from fastconv import selection
from fastconv.cpu import winograd_plan
from fastconv.cpu.exact import Exact
from fastconv.cpu.winograd import Winograd
from fastconv.problem import LAYOUTS, PADDING_MODES, ConvProblem
from fastconv.selection import TABLE

ALGORITHMS = [entry.name for entry in TABLE if isinstance(entry, Winograd)]
SPECIALS = (np.nan, np.inf, -np.inf)
CONVOLVE = {1: fastconv.conv1d, 2: fastconv.conv2d}

names = pytest.mark.parametrize("name", ALGORITHMS)
layouts = pytest.mark.parametrize("layout", LAYOUTS)


def convolve(problem, operands, algorithm, **others):
    """Call as a user does; `operands` are x, weight and maybe bias and residual."""
    return CONVOLVE[problem.rank](*operands[:3], residual=(*operands, None, None)[3], algorithm=algorithm,
                                  **problem.arguments(), **others)  # fmt: skip


def same(one, other):
    """Whether two arrays have the same bits; every NaN is the same."""
    return np.array_equal(one, other, equal_nan=True) and np.array_equal(np.signbit(one), np.signbit(other))


@pytest.fixture
def repaired(monkeypatch):
    """Images that were computed again, in lists of one for each call that had any."""
    calls, repair = [], Exact.again

    def count(self, images, *arrays):
        calls.append([int(image) for image in images])
        repair(self, calls[-1], *arrays)

    monkeypatch.setattr(Exact, "again", count)
    return calls


@pytest.fixture
def few_tiles(monkeypatch):
    """Set the tiles of a block and the channels of a pass; all plans are made anew."""

    def set_them(tiles, channels=None):
        monkeypatch.setattr(winograd_plan, "BLOCK_TILES", tiles)
        if channels:
            monkeypatch.setattr(winograd_plan, "CHUNK", channels)
            monkeypatch.setattr(winograd_plan, "CHUNK_OF_FEW", channels)
        fastconv.clear_cache()

    yield set_them
    fastconv.clear_cache()


# ------------------------------------------------------------------------- one image that is not finite


@names
@layouts
@pytest.mark.parametrize("mode", ["zeros", "reflect"])
def test_a_special_value_anywhere_in_an_image(repaired, name, layout, mode, operands_of):
    """Corners, edges, borders of tiles: wherever it is, its image is direct's and the other two are what they were."""
    problem = ConvProblem.parse(f"conv2d,n3,c3,7x9,k2,3x3,p1,{mode},{layout},float32")
    x, weight, *_ = operands_of(problem)
    clean = convolve(problem, (x, weight), name)
    assert repaired == []
    for number, (row, column) in enumerate(np.ndindex(7, 9)):
        image, channel, special = number % 3, number // 3 % 3, SPECIALS[number // 9 % 3]
        changed = x.copy()
        changed[(image, channel, row, column) if layout == "channels_first" else (image, row, column, channel)] = (
            special
        )
        y = convolve(problem, (changed, weight), name)
        assert repaired.pop() == [image]
        assert not repaired
        direct = convolve(problem, (changed, weight), "direct")
        assert same(y[image], direct[image])
        assert not np.isfinite(direct[image]).all()
        others = [other for other in range(3) if other != image]
        assert y[others].tobytes() == clean[others].tobytes()


@names
@pytest.mark.parametrize("special", SPECIALS)
def test_it_reaches_its_windows_alone(name, special):
    """One of 9 x 40 pixels: nine results of each filter, of one image of two."""
    x = np.zeros((2, 3, 9, 40), np.float32)
    x[1, 2, 4, 17] = special
    y = fastconv.conv2d(x, np.ones((4, 3, 3, 3), np.float32), padding=1, algorithm=name)
    expected = np.zeros((2, 4, 9, 40), np.float32)
    expected[1, :, 3:6, 16:19] = special
    np.testing.assert_array_equal(y, expected)


@names
@layouts
@pytest.mark.parametrize("special", SPECIALS)
def test_weights_that_are_not_finite(repaired, name, layout, special, operands_of):
    """They are in every image's sums: all images are direct's."""
    problem = ConvProblem.parse(f"conv2d,n2,c5,7x9,k20,3x3,p1,{layout},float32")
    x, weight, *_ = operands_of(problem)
    for filter_, channel, tap in ((0, 0, (1, 1)), (19, 4, (0, 2)), (7, 2, (2, 2))):
        changed = weight.copy()
        changed[filter_, channel][tap] = special
        assert same(convolve(problem, (x, changed), name), convolve(problem, (x, changed), "direct"))
        assert repaired.pop() == [0, 1]


@names
@layouts
def test_what_is_not_finite_leaves_nothing_behind(repaired, name, layout, operands_of):
    """In scratch, which the next call computes in: lanes and tiles that it does not fill among it."""
    large = ConvProblem.parse(f"conv2d,n2,c40,20x21,k40,3x3,p1,{layout},float32")
    small = [
        ConvProblem.parse(f"{text},{layout},float32")
        for text in ("conv2d,n1,c3,5x4,k3,3x3,p1", "conv2d,n1,c41,9x9,k33,3x3", "conv1d,n2,c3,11,k3,2,p1",
                     "conv2d,n2,c6,13x3,k9,3x1,replicate,p1x0,g3")
    ]  # fmt: skip
    clean = [convolve(problem, operands_of(problem), name) for problem in small]
    for problem, expected in zip(small, clean, strict=True):
        x, weight, *_ = operands_of(large)
        x[:], weight[:] = np.nan, np.inf
        convolve(large, (x, weight), name)
        repaired.clear()
        assert convolve(problem, operands_of(problem), name).tobytes() == expected.tobytes()
        assert not repaired


@names
def test_with_an_epilogue_and_into_part_of_an_array(name, operands_of):
    """The image that is computed again has the same bias, residual, activation and place."""
    problem = ConvProblem.parse("conv2d,n3,c4,8x9,k5,3x3,p1,float32")
    operands = operands_of(problem, bias=True, residual=True)
    operands[0][1, 2, 3, 4] = np.nan
    results = []
    for algorithm in (name, "direct"):
        around = np.full((3, 9, 8, 9), 77, np.float32)
        convolve(problem, operands, algorithm, activation="relu", out=around[:, 2:7])
        assert (around[:, [0, 1, 7, 8]] == 77).all()
        results.append(around[:, 2:7])
    assert same(results[0][1], results[1][1])
    np.testing.assert_allclose(results[0][[0, 2]], results[1][[0, 2]], rtol=0, atol=1e-4)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(ALGORITHMS),
    layout=st.sampled_from(LAYOUTS),
    mode=st.sampled_from(PADDING_MODES),
    size=st.tuples(st.integers(2, 20), st.integers(2, 20)),
    kernel=st.sampled_from(("3x3", "1x3", "2x1")),
    groups=st.integers(1, 3),
    channels=st.integers(1, 18),
    specials=st.lists(st.sampled_from(SPECIALS), min_size=1, max_size=3),
    holder=st.sampled_from((0, 0, 0, 1)),
    threads=st.integers(1, 3),
    tiles=st.sampled_from((3, 10, 224)),
    seed=st.integers(0, 2**32 - 1),
)
def test_random_convolutions_of_what_is_not_finite(
    always_threads, few_tiles, name, layout, mode, size, kernel, groups, channels, specials, holder, threads,
    tiles, seed, operands_of,
):  # fmt: skip
    shape = f"n4,c{groups * channels},{size[0]}x{size[1]},k{groups * 5},{kernel}"
    problem = ConvProblem.parse(f"conv2d,{shape},p1,g{groups},{mode},{layout},float32")
    random = np.random.default_rng(seed)
    always_threads(threads)
    few_tiles(tiles)
    operands = operands_of(problem, bias=True, seed=seed)
    clean = convolve(problem, operands, name)
    held = operands[holder].reshape(-1)
    held[random.integers(held.size, size=len(specials))] = specials
    y, direct = (convolve(problem, operands, algorithm) for algorithm in (name, "direct"))
    for image in range(4):
        broken = not np.isfinite(direct[image]).all()
        assert same(y[image], (direct if broken else clean)[image])


# ---------------------------------------------------------------------------- numbers that are large


@names
@layouts
@pytest.mark.parametrize(
    ("pixels", "weights", "finite"),
    [
        (3e38, 1e-3, True),  # differences of pixels overflow
        (3e38, 1.0, False),  # sums, too
        (1e-3, 3e38, True),  # sums of weights
        (1e20, 1e20, False),  # products
        (1e19, 1e18, True),  # products and their sums are just below
        (3e38, 0.0, True),  # infinity times zero
    ],
)
def test_where_transforms_overflow_direct_decides(name, layout, pixels, weights, finite, operands_of):
    """All of one size, and random signs: neighbours are far apart. Half of the images are smaller."""
    problem = ConvProblem.parse(f"conv2d,n4,c2,9x11,k3,3x3,p1,{layout},float32")
    x, weight, *_ = operands_of(problem)
    x, weight = np.float32(pixels) * np.sign(x), np.float32(weights) * np.sign(weight)
    x[1::2] *= np.float32(1e-30)
    y, direct = convolve(problem, (x, weight), name), convolve(problem, (x, weight), "direct")
    assert np.isfinite(direct[::2]).all() == finite
    assert np.isfinite(direct[1::2]).all()
    for which in (np.isnan, np.isposinf, np.isneginf):
        np.testing.assert_array_equal(which(y), which(direct))


@names
@pytest.mark.parametrize("scale", [1e-40, 1e-30, 1e30])
def test_large_and_small_numbers_alone_are_no_reason(repaired, name, scale, operands_of):
    """Products are of order one; with 1e-40, which has few digits, of 1e-10."""
    problem = ConvProblem.parse("conv2d,n2,c9,9x11,k8,3x3,p1,float32")
    x, weight, *_ = operands_of(problem)
    y = convolve(problem, (x * np.float32(scale), weight / np.float32(max(scale, 1e-30))), name)
    assert np.isfinite(y).all()
    assert repaired == []


@names
@layouts
@pytest.mark.parametrize("special", SPECIALS)
def test_bias_and_residual_are_no_reason(repaired, name, layout, special, operands_of):
    """Everything may be infinite that the transform does not see."""
    problem = ConvProblem.parse(f"conv2d,n2,c9,9x11,k10,3x3,p1,{layout},float32")
    for axis in (2, 3):
        operands = operands_of(problem, bias=True, residual=True)
        clean = convolve(problem, operands, name)
        changed = operands[axis].reshape(-1)
        changed[3] = changed[-1] = special
        y, direct = convolve(problem, operands, name), convolve(problem, operands, "direct")
        finite = np.isfinite(direct)
        assert not finite.all()
        assert same(y[~finite], direct[~finite])
        assert same(y[finite], clean[finite])
        for activation in ("relu", "sigmoid", "tanh"):
            convolve(problem, operands, name, activation=activation)
    assert repaired == []


@names
def test_nothing_is_computed_again_for_a_weight_of_another_call(repaired, name, operands_of):
    problem = ConvProblem.parse("conv2d,n2,c9,9x11,k10,3x3,p1,float32")
    x, weight, *_ = operands_of(problem)
    clean = convolve(problem, (x, weight), name)
    convolve(problem, (x, weight * np.float32(np.nan)), name)
    assert repaired == [[0, 1]]
    assert convolve(problem, (x, weight), name).tobytes() == clean.tobytes()
    assert repaired == [[0, 1]]


# --------------------------------------------------------------- what a result does not depend on

PROBLEMS = [
    "conv2d,n5,c9,13x11,k20,3x3,p1",
    "conv2d,n3,c20,30x9,k7,3x3,p1,reflect",
    "conv2d,n4,c12,10x17,k18,3x2,g3,flip",
    "conv2d,n2,c3,5x60,k40,1x3,p0x1",
    "conv2d,n7,c70,6x6,k33,3x3,p1",
    "conv1d,n5,c6,100,k70,3,p1",
    "conv2d,n3,c8,40x3,k9,3x1,circular,p1x0",
    "conv2d,n3,c20,31x18,k19,3x3,s2,p1",
]
CASES = [f"{text},{layout},float32" for text, layout in itertools.product(PROBLEMS, LAYOUTS)]


def supported(texts):
    """Names and texts, but for strides of two that tiles of six have not."""
    return [
        (name, text)
        for name, text in itertools.product(ALGORITHMS, texts)
        if selection.algorithm(name).supports(ConvProblem.parse(text)) is None
    ]


assert len(supported(CASES)) == len(ALGORITHMS) * len(CASES) - len(LAYOUTS)


@pytest.mark.parametrize(("name", "text"), supported(CASES))
def test_any_batch_blocks_and_threads(always_threads, few_tiles, name, text, operands_of):
    """Each image alone, by one thread, in blocks of the usual size: the same bits whatever else it is computed with."""
    problem = ConvProblem.parse(text)
    operands = operands_of(problem, bias=True, residual=True)
    always_threads(1)
    one = replace(problem, batch=1)
    alone = [
        convolve(one, [operands[0][i : i + 1], *operands[1:3], operands[3][i : i + 1]], name, activation="relu")
        for i in range(problem.batch)
    ]
    expected = np.concatenate(alone).tobytes()
    for tiles in (1, 4, 7, 30, 224):
        few_tiles(tiles)
        for threads in (1, 2, 3, 8):
            always_threads(threads)
            assert convolve(problem, operands, name, activation="relu").tobytes() == expected, (tiles, threads)


def test_those_problems_are_cut_in_every_way(always_threads, few_tiles):
    """Several blocks along both axes, a last one of fewer tiles, of several images; parts of blocks and of groups."""
    found = set()
    for tiles, threads, (name, text) in itertools.product((1, 4, 7, 30), (1, 2, 3, 8), supported(CASES)):
        few_tiles(tiles)
        always_threads(threads)
        cut = selection.algorithm(name).plan(ConvProblem.parse(text)).tiling
        found |= {
            "one block" if cut.blocks == (1, 1) else "blocks",
            "blocks side by side" * (cut.blocks[1] > 1),
            "blocks of rows" * (cut.blocks[0] > 1),
            "a last block of fewer rows" * (cut.rows % cut.block[0] > 0),
            "a last block of fewer columns" * (cut.tiles[1] % cut.block[1] > 0),
            "a block of several images" * (cut.block[0] > cut.tiles[0]),
            "a block that begins within an image" * (cut.blocks[0] > 1 and cut.block[0] % cut.tiles[0] > 0),
            "parts of a block" * (cut.parts > 1),
            "a last part of fewer rows" * (cut.block[0] % cut.part_rows > 0),
            "a part that the last block lacks" * (
                cut.parts * cut.part_rows - (cut.rows - (cut.blocks[0] - 1) * cut.block[0]) >= cut.part_rows
            ),
            "tasks of some panels" * (cut.task_panels < cut.panels),
            "a last task of fewer panels" * (cut.panels % cut.task_panels > 0),
        }  # fmt: skip
        assert cut.most_tiles <= tiles
    assert found - {""} == {
        "one block", "blocks", "blocks side by side", "blocks of rows", "a last block of fewer rows",
        "a last block of fewer columns", "a block of several images", "a block that begins within an image",
        "parts of a block", "a last part of fewer rows", "a part that the last block lacks", "tasks of some panels",
        "a last task of fewer panels",
    }  # fmt: skip


@names
@layouts
@pytest.mark.parametrize("channels", [1, 8, 40])
def test_channels_summed_in_several_passes(few_tiles, name, layout, channels, operands_of):
    """The sum of a pass is added to those before it; the last pass may have fewer channels."""
    problem = ConvProblem.parse(f"conv2d,n2,c45,9x8,k20,3x3,p1,{layout},float64")
    operands = operands_of(problem)
    few_tiles(10, channels)
    algorithm = selection.algorithm(name)
    passes = algorithm.plan(problem).tiling.passes
    assert passes > 1
    expected = fastconv.reference.conv(problem, *operands)
    error = np.linalg.norm(convolve(problem, operands, name) - expected)
    assert error <= 1e-13 * np.linalg.norm(expected)


@names
@pytest.mark.parametrize(
    "text", ["conv2d,n64,c9,13x11,k20,3x3,p1", "conv1d,n64,c9,50,k20,3", "conv2d,n64,c90,4x4,k99,2x2"]
)
def test_what_a_sum_is_made_of_depends_on_no_batch_and_no_threads(always_threads, name, text):
    cuts = []
    for batch, threads in itertools.product((1, 3, 64), (1, 2, 8)):
        always_threads(threads)
        problem = replace(ConvProblem.parse(f"{text},float32"), batch=batch)
        cut = selection.algorithm(name).plan(problem).tiling
        cuts.append((cut.chunk, cut.passes))
        assert selection.algorithm(name).error_bound(problem) == selection.algorithm(name).error_bound(
            replace(problem, batch=1)
        )
    assert len(set(cuts)) == 1


# --------------------------------------------------------------------------- weights that are kept

LAYERS = {1: fastconv.Conv1d, 2: fastconv.Conv2d}


@pytest.fixture(params=["transformed", "in panels"])
def kept(request, monkeypatch):
    """Keep the weights of layers in one form or the other, whatever their size."""
    most = 2**40 if request.param == "transformed" else 0
    monkeypatch.setattr(winograd_plan, "MOST_TRANSFORMED", most)
    fastconv.clear_cache()
    yield request.param
    fastconv.clear_cache()


@pytest.mark.usefixtures("kept")
@pytest.mark.parametrize(("name", "text"), supported([*CASES, "conv2d,n1,c45,9x8,k70,3x3,p1,float64"]))
def test_a_layer_has_the_bits_of_the_function(always_threads, few_tiles, name, text, operands_of):
    """Several passes over channels and blocks of few tiles among them."""
    problem = ConvProblem.parse(text)
    x, weight, bias, residual = operands_of(problem, bias=True, residual=True)
    for tiles, channels, threads in ((224, None, 1), (7, 8, 1), (7, 8, 3)):
        always_threads(threads)
        few_tiles(tiles, channels)
        layer = LAYERS[problem.rank](weight, bias, algorithm=name, **problem.arguments())
        expected = convolve(problem, (x, weight, bias, residual), name)
        for _ in range(2):
            assert layer(x, residual).tobytes() == expected.tobytes()


@pytest.mark.usefixtures("kept")
@names
@layouts
def test_images_of_a_layer_that_are_not_finite(repaired, name, layout, operands_of):
    """They are computed again with the weights as they were."""
    problem = ConvProblem.parse(f"conv2d,n3,c5,9x8,k20,3x3,p1,g5,{layout},float32")
    x, weight, bias, _ = operands_of(problem, bias=True)
    layer = fastconv.Conv2d(weight, bias, algorithm=name, **problem.arguments())
    clean = layer(x)
    x[1].reshape(-1)[100] = np.inf
    y, direct = layer(x), convolve(problem, (x, weight, bias), "direct")
    assert repaired == [[1]]
    assert same(y[1], direct[1])
    assert y[[0, 2]].tobytes() == clean[[0, 2]].tobytes()
    weight[3, 0, 1, 1] = np.nan
    broken = fastconv.Conv2d(weight, bias, algorithm=name, **problem.arguments())
    assert same(broken(x), convolve(problem, (x, weight, bias), "direct"))
    assert repaired == [[1], [0, 1, 2]]

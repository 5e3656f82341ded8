"""Areas of the output that see fewer taps, by hand and against the reference."""

from __future__ import annotations

import numpy as np
import pytest

import fastconv
from fastconv import selection
from fastconv.cpu import areas as module
from fastconv.cpu.areas import areas, whole
from fastconv.cpu.geometry import geometry
from fastconv.cpu.plan import Plans
from fastconv.problem import LAYOUTS, ConvProblem

WIDE = ConvProblem.parse("conv2d,n1,c64,65x65,k64,3x3,p36,d36,float32")


@pytest.fixture
def eager(monkeypatch):
    """Cut wherever that saves a product."""
    monkeypatch.setattr(module, "LEAST_PRODUCTS", 0)
    monkeypatch.setattr(module, "LEAST_SHARE", 1e-9)
    areas.cache_clear()
    fastconv.clear_cache()
    yield
    areas.cache_clear()
    fastconv.clear_cache()


@pytest.mark.usefixtures("eager")
def test_a_wide_dilation_by_hand():
    # rows and columns: 0 to 28 see taps 1 and 2, 29 to 35 tap 1, 36 to 64 taps 0 and 1
    found = areas(geometry(WIDE), 1)
    corners = [(area.first[1:], area.shape.output[1:], area.taps.tolist()) for area in found]
    assert corners == [
        ((0, 0), (29, 29), [4, 5, 7, 8]),
        ((0, 29), (29, 7), [4, 7]),
        ((0, 36), (29, 29), [3, 4, 6, 7]),
        ((29, 0), (7, 29), [4, 5]),
        ((29, 29), (7, 7), [4]),
        ((29, 36), (7, 29), [3, 4]),
        ((36, 0), (29, 29), [1, 2, 4, 5]),
        ((36, 29), (29, 7), [1, 4]),
        ((36, 36), (29, 29), [0, 1, 3, 4]),
    ]
    assert not any(area.shape.padded for area in found)


@pytest.mark.usefixtures("eager")
def test_areas_cover_the_output_once_and_leave_out_only_padding():
    for text in ("9x14,k1,4x3,s2,d3,p5:8x2", "5x5,k1,9x9,p4", "12x7,k1,3x3,p9,d6,flip", "8x40,k1,3x5,s3x1,p2"):
        problem = ConvProblem.parse(f"conv2d,n1,c1,{text},float32")
        shape = geometry(problem)
        seen = np.zeros((*shape.output, shape.taps), bool)
        for area in areas(shape, 1):
            place = tuple(slice(f, f + n) for f, n in zip(area.first, area.shape.output, strict=True))
            box = seen[place]
            assert not box.any()
            box[..., area.taps] = True
        assert seen.any(axis=-1).all()
        x = np.ones((1, 1, *problem.size), np.float32)
        for tap in range(shape.taps):  # where a tap sees anything, it is not left out
            weight = np.zeros((1, 1, shape.taps), np.float32)
            weight[0, 0, tap] = 1
            weight = weight.reshape(1, 1, *problem.kernel)
            y = fastconv.reference.conv(problem, x, weight)[0, 0]
            assert seen[0, ..., tap][y != 0].all(), (text, tap)


def test_nothing_is_cut_where_little_is_saved():
    for text in ("56x56,k64,3x3,p1", "65x65,k64,3x3,p36,d36,reflect", "65x65,k64,3x3,d9"):
        shape = geometry(ConvProblem.parse(f"conv2d,n1,c64,{text},float32"))
        assert areas(shape, 8) == whole(shape)


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("text", ["30x31,k9,3x3,p12,d12", "33x40,k20,3x4,s2x1,p9,d7,flip", "29x30,k14,5x5,p8,d5,g2"])
def test_against_the_reference(vector_bits, always_threads, layout, text):
    problem = ConvProblem.parse(f"conv2d,n2,c6,{text},{layout},float32")
    direct = selection.algorithm("direct")
    random = np.random.default_rng(1)
    arguments = (problem.stride, problem.padding, problem.dilation, problem.groups)
    shapes = (problem.input_shape, problem.weight_shape, (problem.filters,))
    x, weight, bias = (random.integers(-4, 5, shape).astype("f4") for shape in shapes)
    results = [
        fastconv.conv2d(x, weight, bias, *arguments, flip=problem.flip, layout=layout, algorithm=name)
        for name in ("direct", "reference")
    ]
    np.testing.assert_array_equal(*results)
    assert isinstance(direct.plan(problem), Plans)
    always_threads(2)
    again = fastconv.conv2d(x, weight, bias, *arguments, flip=problem.flip, layout=layout, algorithm="direct")
    np.testing.assert_array_equal(again, results[1])


@pytest.mark.parametrize("special", [np.nan, np.inf])
def test_an_infinite_weight_meets_the_zeros_of_the_padding(special):
    problem = WIDE
    assert isinstance(selection.algorithm("direct").plan(problem), Plans)
    x, weight = np.ones(problem.input_shape, np.float32), np.ones(problem.weight_shape, np.float32)
    weight[3, 5, 0, 2] = special
    y = fastconv.conv2d(x, weight, padding=36, dilation=36, algorithm="direct")
    expected = fastconv.conv2d(x, weight, padding=36, dilation=36, algorithm="reference")
    assert np.isnan(expected[0, 3, 0, 0])
    np.testing.assert_array_equal(y, expected)

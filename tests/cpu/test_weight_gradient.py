"""The gradient by the weight in blocks: whatever they are, the sums are those of the definition."""

from __future__ import annotations

import numpy as np
import pytest

from fastconv import reference
from fastconv.cpu import weight_gradient
from fastconv.cpu.weight_gradient import divide
from fastconv.problem import ConvProblem
from fastconv.selection import table


def problem_of(text):
    return ConvProblem.parse(f"{text},weight_gradient,float64")


@pytest.fixture
def blocks(monkeypatch):
    """Divide into blocks of so many pixels, and of patches of so many bytes."""

    def set_blocks(pixels, size):
        monkeypatch.setattr(weight_gradient, "PIXELS", pixels)
        monkeypatch.setattr(weight_gradient, "SHARE", size / weight_gradient.targets.caches().level2)
        divide.cache_clear()

    yield set_blocks
    divide.cache_clear()


def test_blocks(blocks):
    blocks(40, 8 * 9 * 36 * 2)  # bytes of patches of two channels at 36 pixels
    found = divide(problem_of("conv2d,n2,c5,10x12,k4,3x3,p1"))
    assert [each.places for each in found.pixels] == 2 * [24, 36, 24, 36]  # rows of 12
    assert {tuple(each.images) for each in found.pixels} == {(0,), (1,)}
    assert [tuple(each.channels) for each in found.channels] == [(0,), (1, 2), (3, 4)]
    found = divide(problem_of("conv2d,n5,c6,4x4,k6,3x3,p1,g3"))  # whole images, and whole groups
    assert [(tuple(each.images), each.places) for each in found.pixels] == [((0,), 16), ((1, 2), 32), ((3, 4), 32)]
    assert [(tuple(each.groups), tuple(each.channels)) for each in found.channels] == [
        ((0,), (0, 1)), ((1,), (0, 1)), ((2,), (0, 1)),
    ]  # fmt: skip


@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
def test_patches_that_are_the_input_are_read_where_they_lie(layout, blocks, monkeypatch):
    monkeypatch.setattr(weight_gradient, "FEWEST_PIXELS", 20)
    blocks(40, 1000)
    problem, random = problem_of(f"conv2d,n3,c5,6x7,k4,1x1,{layout}"), np.random.default_rng(0)
    (entry,) = (one for one in table.GRADIENTS["weight_gradient"] if one.name == "direct")
    x, grad = (random.integers(-4, 5, shape).astype("f8") for shape in problem.operand_shapes)
    compute = weight_gradient._Product(problem, entry.inside)
    assert all(step.gather is None for step in compute._steps)
    out = np.empty(problem.weight_shape)
    compute(x, grad, out)
    np.testing.assert_array_equal(out, reference.conv_weight_gradient(problem, x, grad))


@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
@pytest.mark.parametrize("text", [
    "conv2d,n3,c5,10x12,k4,3x3,p1",
    "conv2d,n2,c6,9x8,k4,3x2,s2,p1,d2,g2,flip",
    "conv1d,n5,c4,30,k6,5,p2,g2",
    "conv3d,n2,c2,4x5x6,k3,2x2x3,p0x1x1,replicate",
    "conv2d,n4,c7,5x5,k7,3x3,g7",
])  # fmt: skip
@pytest.mark.parametrize(("pixels", "size"), [(1, 1), (20, 3000), (64, 1), (50, 10**6)])
def test_any_blocks(text, layout, pixels, size, blocks):
    blocks(pixels, size)
    problem, random = problem_of(f"{text},{layout}"), np.random.default_rng(0)
    x, grad = (random.integers(-4, 5, shape).astype("f8") for shape in problem.operand_shapes)
    wanted = reference.conv_weight_gradient(problem, x, grad)
    for entry in table.GRADIENTS["weight_gradient"]:
        if entry.name in ("direct", "im2col", "inner_product"):
            out = np.full(problem.weight_shape, np.nan)
            entry.run(problem, x, grad, None, None, None, out)
            np.testing.assert_array_equal(out, wanted)

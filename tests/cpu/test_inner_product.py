"""Inner products along rows of weights: by hand, and against the reference where blocks of rows and of steps end."""

from __future__ import annotations

import numpy as np
import pytest

import fastconv
from fastconv import selection
from fastconv.codegen import inner_product as codegen
from fastconv.cpu import inner_product, threads
from fastconv.cpu.geometry import geometry
from fastconv.problem import ConvProblem

INNER_PRODUCT = selection.algorithm("inner_product")


@pytest.fixture
def small_blocks(monkeypatch):
    """Cut steps and rows into many blocks."""
    monkeypatch.setattr(inner_product, "FEWEST_STEPS", 5)
    monkeypatch.setattr(inner_product, "MOST_STEPS", 23)
    monkeypatch.setattr(inner_product, "CACHE_SHARE", 1e-3)
    fastconv.clear_cache()
    yield
    fastconv.clear_cache()


def test_a_fully_connected_layer_by_hand():
    x = np.array([[1, 2, 3], [4, 5, 6]], "f4").reshape(2, 3, 1, 1)
    weight = np.array([[1, 0, 0], [1, 1, 1], [0, 10, -1]], "f4").reshape(3, 3, 1, 1)
    y = fastconv.conv2d(x, weight, [0, 0, 0.5], algorithm="inner_product")
    assert y.reshape(2, 3).tolist() == [[1, 6, 17.5], [4, 15, 44.5]]


@pytest.mark.parametrize(
    ("text", "gather"),
    [
        ("n2,c8,1x1,k4,1x1", codegen.RUNS),  # one pixel
        ("n2,c8,4x3,k4,4x3", codegen.RUNS),  # one window, which is the image
        ("n2,c8,4x3,k4,4x3,flip", codegen.TAPS_APART),
        ("n2,c8,4x3,k4,1x1", codegen.COLUMNS),
        ("n2,c8,4x3,k4,1x1,s2", codegen.COLUMNS),  # runs of one pixel
        ("n2,c8,4x3,k4,1x1,p1", codegen.TAPS_APART),  # zeros are no columns
        ("n2,c8,4x3,k4,3x3", codegen.TAPS_APART),
        ("n2,c8,4x3,k4,1x1,channels_last", codegen.RUNS),
        ("n2,c8,4x3,k4,1x1,s2,channels_last", codegen.RUNS),
        ("n2,c8,4x3,k4,1x1,g2,channels_last", codegen.RUNS),
        ("n2,c8,4x3,k4,4x3,channels_last", codegen.PIXELS),  # whose weights have the channels first
        ("n2,c8,4x3,k4,3x3,p1,g2,channels_last", codegen.PIXELS),
        ("n1,c1,9x9,k4,1x3", codegen.RUNS),
        ("n1,c1,9x9,k4,1x3,d2", codegen.TAPS_APART),
        ("n1,c1,9x9,k4,3x1", codegen.TAPS_APART),
        ("n1,c1,9x9,k4,2x9", codegen.RUNS),
        ("n1,c2,9x9,k4,2x9", codegen.TAPS_APART),  # channels do not follow each other
    ],
)
def test_how_inputs_are_copied(text, gather):
    problem = ConvProblem.parse(f"conv2d,{text},float32")
    assert inner_product._gather(problem, geometry(problem)) == gather
    random = np.random.default_rng(0)
    x, weight = (random.integers(-9, 9, shape).astype("f4") for shape in (problem.input_shape, problem.weight_shape))
    results = [
        fastconv.conv2d(x, weight, algorithm=name, **problem.arguments()) for name in ("inner_product", "reference")
    ]
    np.testing.assert_array_equal(*results)


@pytest.mark.usefixtures("vector_bits", "small_blocks")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
@pytest.mark.parametrize(
    "text", ["n1,c101,1x1,k9,1x1", "n5,c37,7x7,k13,1x1", "n2,c7,6x5,k5,3x3,p1", "n90,c10,3x3,k2,3x3,g2"]
)
def test_blocks_of_rows_and_steps(text, layout, dtype):
    problem = ConvProblem.parse(f"conv2d,{text},{layout},{dtype}")
    shape = geometry(problem)
    row_block, block = inner_product._blocks(shape, problem.batch * shape.pixels, dtype)
    assert block < shape.channels
    assert row_block < problem.batch * shape.pixels or problem.batch == 1
    random = np.random.default_rng(0)
    shapes = problem.input_shape, problem.weight_shape, (problem.filters,), problem.output_shape
    x, weight, bias, residual = (random.integers(-9, 9, shape).astype(dtype) for shape in shapes)
    for count in (1, 2):
        with fastconv.options(threads=count):
            results = [
                fastconv.conv2d(
                    x, weight, bias, residual=residual, activation="relu", algorithm=name, **problem.arguments()
                )
                for name in ("inner_product", "reference")
            ]
        np.testing.assert_array_equal(*results)


def test_blocks_of_steps_do_not_depend_on_the_batch():
    one, many = (
        ConvProblem.parse(f"conv2d,n{batch},c3000,4x4,k64,1x1,float32") for batch in (1, 50)
    )
    blocks = [inner_product._blocks(geometry(p), p.batch * geometry(p).pixels, p.dtype) for p in (one, many)]
    assert blocks[0][1] == blocks[1][1]
    assert blocks[1][0] < 50 * 16


def test_tiles_are_as_equal_as_can_be():
    assert inner_product._tile_rows({49}, 3) == (3, 2)  # 15 of 3 rows and 2 of 2: none of a single row
    assert inner_product._tile_rows({64, 1}, 3) == (3, 2, 1)
    assert inner_product._tile_rows({1}, 1) == (1,)


def test_threads_share_the_filters_of_a_group(monkeypatch):
    monkeypatch.setattr(threads, "WORTH_A_THREAD", 0.0)
    problem = ConvProblem.parse("conv2d,n1,c64,1x1,k100,1x1,float32")
    fastconv.clear_cache()
    with fastconv.options(threads=2):
        plan = INNER_PRODUCT.plan(problem)
        assert (plan.tasks, plan.working) == (2, 2)
    fastconv.clear_cache()


def test_weights_are_read_as_they_lie():
    problem = ConvProblem.parse("conv2d,n1,c2048,1x1,k1000,1x1,float32")  # 8 MB of weights
    assert INNER_PRODUCT.workspace(problem) < 64 * 1024  # a row of inputs a thread
    weight = np.ones(problem.weight_shape, "f4")
    layer = fastconv.Conv2d(weight, algorithm="inner_product")
    layer(np.ones(problem.input_shape, "f4"))
    assert layer.nbytes == weight.nbytes


@pytest.mark.parametrize("text", ["n1,c2048,1x1,k1000,1x1", "n8,c512,1x1,k512,1x1", "n1,c512,7x7,k4096,7x7"])
def test_it_is_what_runs_where_there_are_more_weights_than_pixels(text):
    assert fastconv.select(ConvProblem.parse(f"conv2d,{text},float32")) == "inner_product"


def test_it_refuses_large_tables():
    problem = ConvProblem.parse("conv2d,n1,c3,200x200,k8,3x3,float32")
    with pytest.raises(fastconv.UnsupportedError, match=r"looks up 131072 rows, .* at most, not 352836"):
        fastconv.plan(problem, algorithm="inner_product")

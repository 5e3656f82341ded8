"""A real photograph through every algorithm, against SciPy and the reference."""

from __future__ import annotations

import importlib.util
import itertools
from functools import cache
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image
from scipy import signal

import fastconv
from fastconv.problem import PADDING_MODES, ConvProblem

EXAMPLE = Path(__file__).parents[1] / "examples" / "photograph.py"
LIMIT = {"float32": 2e-6, "float64": 1e-14}


def _example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("photograph", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


example = _example()


@cache
def photo(dtype: str) -> np.ndarray:
    return example.photograph(dtype)


@cache
def plane(dtype: str) -> np.ndarray:
    return example.luminance(photo(dtype))


# ------------------------------------------------------------------------------ by hand


def test_it_is_a_photograph():
    image = photo("float32")
    assert image.shape == (512, 512, 3)
    assert image.dtype == np.float32
    assert image.min() == 0
    assert image.max() == 1
    assert image.std() > 0.2


def test_a_flat_surface_has_no_edges():
    maps = example.edge_maps(np.full((20, 30), 0.7))
    assert maps.shape == (7, 20, 30)
    assert np.abs(maps).max() < 1e-15


def test_a_vertical_step_is_an_edge_in_x_and_none_in_y():
    step = np.zeros((20, 30))
    step[:, 15:] = 1
    maps = dict(zip(example.filter_bank(), example.edge_maps(step), strict=True))
    # all that lies right of the middle column is 1: half the magnitudes of the filter
    assert maps["Sobel x"][10, 15] == pytest.approx(0.5)
    assert maps["Sobel x"][10, 5] == 0
    assert np.abs(maps["Sobel y"]).max() < 1e-15
    assert np.abs(maps["Gabor 0°"]).max() > 0.3
    assert np.abs(maps["Gabor 90°"]).max() < 1e-15


# ---------------------------------------------------------------------- against the others


@pytest.mark.parametrize("dtype", LIMIT)
@pytest.mark.parametrize("algorithm", fastconv.algorithms())
def test_edges_as_scipy_and_the_reference_find_them(algorithm, dtype):
    image = plane(dtype)
    maps = example.edge_maps(image, algorithm)
    assert maps.dtype == dtype
    assert maps.shape == (7, 512, 512)
    assert example.relative_error(maps, expected_edges(dtype)) < LIMIT[dtype]
    assert example.relative_error(maps, reference_edges(dtype)) < LIMIT[dtype]


@cache
def expected_edges(dtype: str) -> np.ndarray:
    return example.scipy_edge_maps(plane(dtype))


@cache
def reference_edges(dtype: str) -> np.ndarray:
    weight = np.stack([*example.filter_bank().values()])[:, np.newaxis].astype(dtype)
    image = plane(dtype)[np.newaxis, np.newaxis]
    problem = ConvProblem.from_shapes(
        image.shape, weight.shape, dtype, padding=3, padding_mode="symmetric"
    )
    return fastconv.reference.conv(problem, image, weight)[0]


@pytest.mark.parametrize("padding_mode", PADDING_MODES)
@pytest.mark.parametrize("algorithm", fastconv.algorithms())
def test_what_lies_beyond_the_border_is_what_scipy_takes(algorithm, padding_mode):
    image = plane("float32")[100:197, 200:333]
    maps = example.edge_maps(image, algorithm, padding_mode)
    expected = example.scipy_edge_maps(image, padding_mode)
    assert example.relative_error(maps, expected) < LIMIT["float32"]
    frame = np.s_[:, [0, 1, 2, -3, -2, -1]]  # a wrong border would hardly show in the whole
    assert example.relative_error(maps[frame], expected[frame]) < LIMIT["float32"]


@pytest.mark.parametrize("algorithm", fastconv.algorithms())
def test_the_mathematical_convolution_is_scipys(algorithm):
    image = plane("float64")[:90, :100]
    weight = np.stack([*example.filter_bank().values()])[:, np.newaxis]
    maps = fastconv.conv2d(image[np.newaxis], weight, flip=True, algorithm=algorithm)
    expected = np.stack([signal.convolve2d(image, kernel[0], mode="valid") for kernel in weight])
    assert example.relative_error(maps, expected) < LIMIT["float64"]


@pytest.mark.parametrize("dtype", LIMIT)
@pytest.mark.parametrize("algorithm", fastconv.algorithms())
def test_the_first_layer_as_scipy_and_the_reference_compute_it(algorithm, dtype):
    layer = example.first_layer(photo(dtype), algorithm)
    assert layer.dtype == dtype
    assert layer.shape == (256, 256, 64)
    assert 0.1 < (layer == 0).mean() < 0.9  # ReLU has something to do
    some, expected = expected_layer(dtype)
    assert example.relative_error(layer[..., some], expected) < LIMIT[dtype]
    assert example.relative_error(layer, reference_layer(dtype)) < LIMIT[dtype]


@cache
def expected_layer(dtype: str) -> tuple[list[int], np.ndarray]:
    some = [0, 1, 21, 42, 63]
    return some, example.scipy_first_layer(photo(dtype), some)


@cache
def reference_layer(dtype: str) -> np.ndarray:
    image = photo(dtype)[np.newaxis]
    weight, bias = example.first_layer_weights(dtype)
    problem = ConvProblem.from_shapes(
        image.shape, weight.shape, dtype, stride=2, padding=3, layout="channels_last"
    )
    return fastconv.reference.conv(problem, image, weight, bias, activation="relu")[0]


@pytest.mark.parametrize("algorithm", fastconv.algorithms())
def test_the_layouts_agree_on_the_first_layer(algorithm):
    image = photo("float32")[:128, :160]
    weight, bias = example.first_layer_weights()
    first = fastconv.conv2d(
        np.moveaxis(image, -1, 0), weight, bias, 2, 3, activation="relu", algorithm=algorithm
    )
    last = example.first_layer(image, algorithm)
    assert example.relative_error(np.moveaxis(first, 0, -1), last) < LIMIT["float32"]


# ------------------------------------------------------------------------------ the picture


def test_the_picture(tmp_path, capsys):
    path = tmp_path / "edges.png"
    example.main([str(path)])
    written = capsys.readouterr().out
    assert all(name in written for name in fastconv.algorithms())  # with a difference, or with a reason
    assert all(name in written for name in example.filter_bank())
    with Image.open(path) as image:
        assert image.format == "PNG"
        assert image.size == (4 * 512, 2 * 512)  # the photograph and seven edge maps
        pixels = np.asarray(image)
    panels = [
        pixels[row : row + 512, column : column + 512]
        for row in (0, 512)
        for column in range(0, 2048, 512)
    ]
    np.testing.assert_allclose(panels[0], 255 * plane("float32"), atol=0.51)
    for panel in panels[1:]:
        assert panel.max() == 255
        assert np.median(panel) < 64  # edges are few
        assert panel.std() > 20
    for panel, other in itertools.pairwise(panels):
        assert (panel != other).mean() > 0.5

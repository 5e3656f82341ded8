"""How axes are arranged, and that images are not copied."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from fastconv import ndimage, signal
from fastconv.signal import planes
from fastconv.signal.planes import Border, Choice, correlate_planes


@pytest.fixture
def shapes(monkeypatch):
    """Shapes of images and weights that were convolved since."""
    seen, convolve = [], planes.convolve

    def spy(rank, images, weight, *others):
        seen.append((images.shape, weight.shape))
        return convolve(rank, images, weight, *others)

    monkeypatch.setattr(planes, "convolve", spy)
    return seen


@pytest.mark.parametrize(
    ("size", "kernel", "images", "weight"),
    [
        ((6, 40), (3, 3), (1, 1, 6, 40), (1, 1, 3, 3)),
        ((6, 40), (1, 3), (1, 1, 6, 40), (1, 1, 1, 3)),
        ((6, 40), (3, 1), (1, 1, 6, 40), (1, 1, 3, 1)),
        ((40, 6), (3, 1), (1, 1, 6, 40), (1, 1, 1, 3)),  # too few columns for vectors
        ((2, 6, 40), (1, 1, 3), (1, 1, 12, 40), (1, 1, 1, 3)),
        ((6, 2, 40), (3, 1, 1), (1, 1, 6, 80), (1, 1, 3, 1)),
        ((2, 6, 40), (1, 3, 1), (2, 1, 6, 40), (1, 1, 3, 1)),
        ((6, 40, 3), (3, 3, 1), (3, 1, 6, 40), (1, 1, 3, 3)),  # three colours
        ((2, 6, 40), (1, 3, 3), (2, 1, 6, 40), (1, 1, 3, 3)),
        ((2, 3, 6, 5, 40), (1, 1, 3, 1, 3), (30, 1, 6, 40), (1, 1, 3, 3)),  # three axes at most
        ((4,), (1,), (1, 1, 4), (1, 1, 1)),
    ],
)
def test_arrangement(shapes, size, kernel, images, weight):
    rng = np.random.default_rng(0)
    image, taps = rng.integers(0, 9, size), rng.integers(0, 9, kernel)
    result = ndimage.correlate(image, taps, mode="nearest")
    padded = np.pad(image, [(n // 2, n - 1 - n // 2) for n in kernel], mode="edge")
    views = np.lib.stride_tricks.sliding_window_view(padded, kernel)
    assert np.array_equal(result, (views * taps).sum(axis=tuple(range(-len(size), 0))))
    assert shapes == [(images, weight)]


def test_more_than_three_axes(shapes):
    image = np.arange(2.0**5).reshape((2,) * 5)
    result = ndimage.correlate(image, np.ones((2,) * 5), mode="constant")
    assert result[(1,) * 5] == image.sum()
    assert result[(0,) * 5] == 0
    assert len(shapes) == 4  # two axes are summed over, tap by tap


def test_groups_and_filters():
    images = np.arange(12.0).reshape(2, 2, 3)  # two images of two planes
    filters = np.array([[[1.0, 0.0], [0.0, 1.0]], [[1.0, 1.0], [0.0, 0.0]]])  # two for each
    y = correlate_planes(images, filters, Border(((0, 0),)), Choice())
    assert y.shape == (2, 2, 2, 2)
    assert y[1, 0].tolist() == [[6, 7], [7, 8]]
    assert y[1, 1].tolist() == [[19, 21], [0, 0]]


@pytest.mark.parametrize(
    ("mode", "size", "supplied"),
    [("symmetric", 3, True), ("symmetric", 2, False), ("circular", 3, True), ("circular", 2, False),
     ("reflect", 4, True), ("reflect", 3, False), ("replicate", 1, True), ("zeros", 1, True)],
)  # fmt: skip
def test_what_a_problem_can_supply(mode, size, supplied):
    assert Border(((3, 0),), mode).supplied((size,)) is supplied
    y = correlate_planes(np.ones((1, 1, size)), np.ones((1, 1, 4)), Border(((3, 0),), mode), Choice())
    assert y[0, 0, 0, 0] == (1 if mode == "zeros" else 4)


def test_images_are_not_copied():
    image, kernel = np.ones((1000, 1000), np.float32), np.ones((5, 5), np.float32)
    calls = {
        "convolve": lambda: signal.convolve(image, kernel, "same"),
        "convolve2d": lambda: signal.convolve2d(image, kernel, "same", "symm"),
        "correlate2d": lambda: signal.correlate2d(image, kernel, "full", "wrap"),
        "correlate": lambda: ndimage.correlate(image, kernel),
        "convolve1d": lambda: ndimage.convolve1d(image, kernel[0], 0, mode="mirror"),
    }
    for name, call in calls.items():
        call()  # plans are made
        tracemalloc.start()
        result = call()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 1.1 * result.nbytes, name

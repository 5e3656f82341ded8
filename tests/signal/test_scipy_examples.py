"""The examples of SciPy's documentation, run with its functions and with those of the same names here.

Where one shows a picture, which SciPy downloads, there is a synthetic one.
"""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal
from scipy.signal import windows

from fastconv import ndimage, signal

rng = np.random.default_rng


def picture(height, width):
    """Smooth light and shade, and some edges, as integers from 0 to 255."""
    y, x = np.mgrid[:height, :width]
    shade = 90 * np.sin(x / 17) * np.cos(y / 29) + 110 + 40 * ((x // 23 + y // 31) % 2)
    return shade.astype(np.uint8)


def convolve(module):
    sig = np.repeat([0.0, 1.0, 0.0], 100)
    win = windows.hann(50)
    return module.convolve(sig, win, mode="same") / sum(win)


def matched_filter(module):
    sig = np.repeat([0.0, 1.0, 1.0, 0.0, 1.0, 0.0, 0.0, 1.0], 128)
    sig_noise = sig + rng(0).standard_normal(len(sig))
    return module.correlate(sig_noise, np.ones(128), mode="same") / 128


def lag(module):
    x = np.arange(128) / 128
    sig = np.sin(2 * np.pi * x)
    sig_noise = sig + rng(0).standard_normal(len(sig))
    corr = module.correlate(sig_noise, sig)
    lags = module.correlation_lags(len(sig), len(sig_noise))
    corr /= np.max(corr)
    return np.stack([lags, corr])


def autocorrelation(module):
    sig = rng(0).standard_normal(1000)
    return module.fftconvolve(sig, sig[::-1], mode="full")


def gaussian_blur(module):
    face = picture(300, 400)
    kernel = np.outer(windows.gaussian(70, 8), windows.gaussian(70, 8))
    return module.fftconvolve(face, kernel, mode="same")


def overlap_add(module):
    sig = rng(0).standard_normal(100000)
    filt = scipy.signal.firwin(512, 0.01)
    return module.oaconvolve(sig, filt)


def scharr_gradient(module):
    ascent = picture(200, 256)
    scharr = np.array([[-3 - 3j, 0 - 10j, +3 - 3j],
                       [-10 + 0j, 0 + 0j, +10 + 0j],
                       [-3 + 3j, 0 + 10j, +3 + 3j]])  # Gx + j*Gy  # fmt: skip
    grad = module.convolve2d(ascent, scharr, boundary="symm", mode="same")
    return np.stack([np.absolute(grad), np.angle(grad + 1e-3)])


def template(module):
    face = picture(200, 220) - picture(200, 220).mean()
    face += 30 * np.exp(-((np.mgrid[:200, :220].T - [90, 120]) ** 2).sum(axis=-1).T / 50)  # what there is but once
    template = np.copy(face[75:105, 100:135])
    template -= template.mean()
    face = face + rng(0).standard_normal(face.shape) * 5
    corr = module.correlate2d(face, template, boundary="symm", mode="same")
    y, x = np.unravel_index(np.argmax(corr), corr.shape)
    return np.append(corr.ravel(), [y, x])


EXAMPLES = (
    convolve,
    matched_filter,
    lag,
    autocorrelation,
    gaussian_blur,
    overlap_add,
    scharr_gradient,
    template,
)


@pytest.mark.parametrize("example", EXAMPLES)
def test_signal(example):
    expected = example(scipy.signal)
    actual = example(signal)
    assert actual.dtype == expected.dtype
    assert np.abs(actual - expected).max() <= 1e-11 * np.abs(expected).max()


def test_ndimage_convolve():
    a = np.array([[1, 2, 0, 0], [5, 3, 0, 4], [0, 0, 0, 7], [9, 3, 0, 0]])
    k = np.array([[1, 1, 1], [1, 1, 0], [1, 0, 0]])
    expected = [[11, 10, 7, 4], [10, 3, 11, 11], [15, 12, 14, 7], [12, 3, 7, 0]]
    assert ndimage.convolve(a, k, mode="constant", cval=0.0).tolist() == expected
    expected = [[13, 11, 8, 7], [11, 3, 11, 14], [16, 12, 14, 10], [15, 6, 10, 5]]
    assert ndimage.convolve(a, k, mode="constant", cval=1.0).tolist() == expected

    b = np.array([[2, 0, 0], [1, 0, 0], [0, 0, 0]])
    k = np.array([[0, 1, 0], [0, 1, 0], [0, 1, 0]])
    assert ndimage.convolve(b, k, mode="reflect").tolist() == [[5, 0, 0], [3, 0, 0], [1, 0, 0]]
    k = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1]])
    assert ndimage.convolve(b, k).tolist() == [[4, 2, 0], [3, 2, 0], [1, 1, 0]]

    c = np.array([[2, 0, 1], [1, 0, 0], [0, 0, 0]])
    k = np.array([[0, 1, 0], [0, 1, 0], [0, 1, 0], [0, 1, 0], [0, 1, 0]])
    assert ndimage.convolve(c, k, mode="nearest").tolist() == [[7, 0, 3], [5, 0, 2], [3, 0, 1]]


def test_ndimage_correlate():
    input_img = np.arange(25).reshape(5, 5)
    weights = [[0, 1, 0], [1, 1, 1], [0, 1, 0]]
    assert ndimage.correlate(input_img, weights).tolist() == [
        [6, 10, 15, 20, 24],
        [26, 30, 35, 40, 44],
        [51, 55, 60, 65, 69],
        [76, 80, 85, 90, 94],
        [96, 100, 105, 110, 114],
    ]


def test_ndimage_in_one_dimension():
    line = [2, 8, 0, 4, 1, 9, 9, 0]
    assert ndimage.correlate1d(line, weights=[1, 3]).tolist() == [8, 26, 8, 12, 7, 28, 36, 9]
    assert ndimage.convolve1d(line, weights=[1, 3]).tolist() == [14, 24, 4, 13, 12, 36, 27, 0]

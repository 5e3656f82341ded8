"""Edges of a photograph, and a network's first layer on it, by every algorithm.

The photograph comes with scikit-image. One plane and several odd filters is what image filters
are; three channels, a stride of two and many filters is how most networks begin. Every
algorithm's result is compared with SciPy's, and the edges are written as a picture::

    python examples/photograph.py edges.png

"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage
from skimage import data

import fastconv

Array = npt.NDArray[np.floating]

SIZE = 7  # of every filter, so that they share a call
#: SciPy's names of what lies beyond the border.
NDIMAGE_MODES = {
    "zeros": "constant",
    "reflect": "mirror",
    "symmetric": "reflect",
    "replicate": "nearest",
    "circular": "wrap",
}


def photograph(dtype: npt.DTypeLike = np.float32) -> Array:
    """Return Eileen Collins, photographed by NASA: (512, 512, 3), from 0 to 1."""
    return data.astronaut().astype(dtype) / np.array(255, dtype)


def luminance(photo: Array) -> Array:
    """Return the brightness of a colour photograph: (height, width); weights of ITU-R BT.601."""
    return photo @ np.array([0.299, 0.587, 0.114], photo.dtype)


# --------------------------------------------------------------------------------- edge filters


def filter_bank() -> dict[str, Array]:
    """Return filters of `SIZE` x `SIZE`, each of which sums to zero: a flat surface has no edges.

    Sobel's pair smooths along the edge by binomial coefficients and differentiates across it; the
    Laplacian of a Gaussian responds to edges of every direction; Gabor's filters are a wave
    under a Gaussian, so each prefers one direction.
    """
    smooth = np.array([1.0, 6.0, 15.0, 20.0, 15.0, 6.0, 1.0])
    slope = np.convolve([1.0, 4.0, 6.0, 4.0, 1.0], [-1.0, 0.0, 1.0])
    bank = {
        "Sobel x": np.outer(smooth, slope),
        "Sobel y": np.outer(slope, smooth),
        "Laplacian": _laplacian_of_gaussian(sigma=1.2),
    }
    for degrees in (0, 45, 90, 135):
        bank[f"Gabor {degrees}°"] = _gabor(np.deg2rad(degrees), wavelength=5.0, sigma=1.8)
    return {name: kernel / np.abs(kernel).sum() for name, kernel in bank.items()}


def _places() -> tuple[Array, Array]:
    """Return y and x of a filter's elements, zero in the middle."""
    places = np.arange(SIZE, dtype=np.float64) - SIZE // 2
    return places[:, np.newaxis], places[np.newaxis, :]


def _laplacian_of_gaussian(sigma: float) -> Array:
    y, x = _places()
    squared = (x**2 + y**2) / sigma**2
    kernel = (squared - 2) * np.exp(-squared / 2)
    return kernel - kernel.mean()


def _gabor(angle: float, wavelength: float, sigma: float) -> Array:
    """Return an odd wave, which responds to edges, that travels along `angle`."""
    y, x = _places()
    along = x * np.cos(angle) + y * np.sin(angle)
    return np.sin(2 * np.pi * along / wavelength) * np.exp(-(x**2 + y**2) / (2 * sigma**2))


def edge_maps(plane: Array, algorithm: str = "auto", padding_mode: str = "symmetric") -> Array:
    """Return the response to each filter of the bank: (filters, height, width)."""
    weight = np.stack([*filter_bank().values()])[:, np.newaxis].astype(plane.dtype)
    return fastconv.conv2d(
        plane[np.newaxis], weight, padding="same", padding_mode=padding_mode, algorithm=algorithm
    )


def scipy_edge_maps(plane: Array, padding_mode: str = "symmetric") -> Array:
    """Return what `edge_maps` should, in float64."""
    mode = NDIMAGE_MODES[padding_mode]
    image = plane.astype(np.float64)
    kernels = np.stack([*filter_bank().values()]).astype(plane.dtype).astype(np.float64)
    return np.stack([ndimage.correlate(image, kernel, mode=mode) for kernel in kernels])


# ---------------------------------------------------------------------------------- first layer


def first_layer_weights(dtype: npt.DTypeLike = np.float32) -> tuple[Array, Array]:
    """Return weights (64, 3, 7, 7) and biases (64,) of a layer that was never trained."""
    random = np.random.default_rng(0)
    weight = random.standard_normal((64, 3, SIZE, SIZE)) / np.sqrt(3 * SIZE * SIZE)
    return weight.astype(dtype), random.uniform(-0.1, 0.1, 64).astype(dtype)


def first_layer(photo: Array, algorithm: str = "auto") -> Array:
    """Return ReLU of the layer, (height / 2, width / 2, 64): photographs are channels-last."""
    weight, bias = first_layer_weights(photo.dtype)
    return fastconv.conv2d(
        photo, weight, bias, stride=2, padding=3, activation="relu", layout="channels_last",
        algorithm=algorithm,
    )  # fmt: skip


def scipy_first_layer(photo: Array, filters: Iterable[int]) -> Array:
    """Return what `first_layer` should for some of its filters, in float64."""
    weight, bias = (each.astype(np.float64) for each in first_layer_weights(photo.dtype))
    planes = np.moveaxis(photo.astype(np.float64), -1, 0)
    sums = [_correlate_planes(planes, weight[k]) + bias[k] for k in filters]
    return np.maximum(np.stack(sums, axis=-1)[::2, ::2], 0)


def _correlate_planes(planes: Array, kernels: Array) -> Array:
    """Return the sum over the channels, zeros beyond the border."""
    pairs = zip(planes, kernels, strict=True)
    return np.sum([ndimage.correlate(*pair, mode="constant") for pair in pairs], axis=0)


# ---------------------------------------------------------------------------------- the picture


def picture(plane: Array, maps: Mapping[str, Array]) -> Image.Image:
    """Return the photograph and the strength of its edges side by side, four in a row."""
    panels = [plane, *(_visible(response) for response in maps.values())]
    panels += [np.zeros_like(plane)] * (-len(panels) % 4)
    rows = [np.concatenate(panels[first : first + 4], axis=1) for first in range(0, len(panels), 4)]
    grey = np.concatenate(rows, axis=0)
    return Image.fromarray(np.round(255 * np.clip(grey, 0, 1)).astype(np.uint8))


def _visible(response: Array) -> Array:
    """Return magnitudes from 0 to 1, the strongest hundredth of them white."""
    magnitude = np.abs(response)
    return magnitude / np.percentile(magnitude, 99)


def relative_error(result: Array, expected: Array) -> float:
    """Return the 2-norm of the difference, in units of the expected 2-norm."""
    return float(np.linalg.norm(result - expected) / np.linalg.norm(expected))


def main(arguments: list[str] | None = None) -> None:
    """Compare every algorithm with SciPy and write the picture."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("path", type=Path, help="where to write the picture, for example edges.png")
    path = parser.parse_args(arguments).path

    photo = photograph()
    plane = luminance(photo)
    shown = range(0, 64, 16)
    expected_edges, expected_layer = scipy_edge_maps(plane), scipy_first_layer(photo, shown)
    sys.stdout.write("relative difference from SciPy   edges  first layer\n")
    for algorithm in fastconv.algorithms():
        try:
            edges = relative_error(edge_maps(plane, algorithm), expected_edges)
            layer = relative_error(first_layer(photo, algorithm)[..., shown], expected_layer)
        except fastconv.UnsupportedError as refusal:
            sys.stdout.write(f"{refusal}\n")
        else:
            sys.stdout.write(f"{algorithm:30}{edges:8.0e}{layer:13.0e}\n")

    names = [*filter_bank()]
    picture(plane, dict(zip(names, edge_maps(plane), strict=True))).save(path)
    sys.stdout.write(f"{path}: luminance, {', '.join(names)}\n")


if __name__ == "__main__":
    main()

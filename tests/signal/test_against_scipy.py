"""Thousands of random calls of each function, beside SciPy's of the same name.

``FASTCONV_SIGNAL_CALLS`` says how many of each, ``FASTCONV_SIGNAL_SEED`` which. ``"auto"`` would compile code for every
other shape here, which is most of a call's time, so most go by an algorithm whose code does not depend on sizes;
``FASTCONV_SIGNAL_ALGORITHM`` names another.
"""

from __future__ import annotations

import os
import warnings

import numpy as np
import pytest
import scipy.ndimage
import scipy.signal

from fastconv import ndimage, signal

CALLS = int(os.environ.get("FASTCONV_SIGNAL_CALLS", "1500"))
SEED = int(os.environ.get("FASTCONV_SIGNAL_SEED", "0"))
ALGORITHM = os.environ.get("FASTCONV_SIGNAL_ALGORITHM", "im2col")

REALS = ("float32", "float64")
INTEGERS = ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64")
COMPLEX = ("complex64", "complex128")
MODES = ("full", "same", "valid")
RTOL = {"float32": 1e-5, "complex64": 1e-5, "float64": 1e-12, "complex128": 1e-12}

SIZES = {1: (1, 2, 3, 5, 16, 40, 129), 2: (1, 2, 3, 4, 7, 20), 3: (1, 2, 3, 6), 4: (1, 2, 3)}
KERNELS = {1: (1, 2, 3, 4, 9, 33), 2: (1, 2, 3, 5, 6), 3: (1, 2, 3, 4), 4: (1, 2, 3)}
RANKS = (1, 1, 2, 2, 2, 3, 3, 4)

# Of shapes that are left to "auto", there are few: those of the array and the kernel.
COMMON = {
    1: [((40,), (3,)), ((40,), (9,)), ((129,), (4,))],
    2: [((20, 20), (3, 3)), ((20, 20), (5, 2)), ((7, 20), (1, 6)), ((4, 3), (3, 5))],
    3: [((6, 6, 6), (3, 3, 3)), ((2, 6, 20), (1, 3, 2))],
    4: [((3, 2, 6, 6), (1, 2, 3, 3))],
}


def shapes(rng, rank):
    """Return the shapes of an array and a kernel, and the algorithm that is asked for."""
    if ALGORITHM != "auto" and rng.random() < 0.2:
        return *COMMON[rank][rng.integers(len(COMMON[rank]))], "auto"
    size, kernel = ([int(n) for n in rng.choice(sizes[rank], rank)] for sizes in (SIZES, KERNELS))
    return tuple(size), tuple(kernel), ALGORITHM


def numbers(rng, size, dtype, largest=None):
    """Return random numbers: floats of order 1, integers up to `largest` or of all that the type has."""
    kind = np.dtype(dtype).kind
    if kind == "b":
        return rng.random(size) < 0.4
    if kind in "iu":
        info = np.iinfo(dtype)
        high = info.max if largest is None else min(info.max, largest)
        return rng.integers(max(info.min, -high), high, size, dtype, endpoint=True)
    if kind == "c":
        return (rng.standard_normal(size) + 1j * rng.standard_normal(size)).astype(dtype)
    return rng.standard_normal(size).astype(dtype)


def laid_out(rng, array):
    """Return the same array as a user may have it: reversed, Fortran-ordered, a slice, in another byte order."""
    choice = rng.integers(8)
    if choice == 0:
        return np.flip(np.flip(array).copy())
    if choice == 1:
        return np.asfortranarray(array)
    if choice == 2:
        wide = np.repeat(array, 2, axis=-1)
        return wide[..., ::2]
    if choice == 3:
        return array.astype(array.dtype.newbyteorder())
    return array


def pair(rng, rank, dtypes, exact_below=None):
    """Return two arrays, of one type or two, integers up to a limit, and the algorithm."""
    first, second = (str(dtype) for dtype in rng.choice(dtypes, 2))
    if rng.random() < 0.6:
        second = first
    *sizes, algorithm = shapes(rng, rank)
    a, b = (numbers(rng, size, dtype, exact_below) for size, dtype in zip(sizes, (first, second), strict=True))
    if algorithm != "auto" and rng.random() < 0.2:
        a, b = b, a
    return laid_out(rng, a), laid_out(rng, b), algorithm


def check(actual, expected, scale, what, tolerance=None):
    """Compare types, and values within the result type's tolerance, relative to what the sums' terms add up to."""
    assert actual.dtype == expected.dtype, what
    assert actual.shape == expected.shape, what
    if expected.dtype.kind in "biu":
        assert np.array_equal(actual, expected), what
        return
    error = np.abs(actual - expected).max(initial=0)
    assert error <= (tolerance or RTOL[expected.dtype.name]) * scale, (what, error)


def scale_of(a, b):
    """Return what no sum of products exceeds."""
    few, many = sorted((a, b), key=np.size)
    return max(float(np.abs(few.astype(complex)).sum() * np.abs(many.astype(complex)).max(initial=0)), 1e-30)


def tolerance_of_transforms(*arrays):
    """SciPy transforms each array in its own type, and errs more than sums do."""
    return 10 * max([1e-12, *(RTOL.get(array.dtype.newbyteorder("=").name, 0) for array in arrays)])


def both(name, module, arguments, keywords, algorithm, scale, tolerance=None):
    """Call SciPy's function and ours; where SciPy's refuses, so must ours."""
    ours = getattr(signal if module is scipy.signal else ndimage, name)
    what = (name, [(a.shape, a.dtype.str) for a in arguments], keywords, algorithm)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            expected = getattr(module, name)(*arguments, **keywords)
        except ValueError:
            with pytest.raises((TypeError, ValueError)):
                ours(*arguments, **keywords, algorithm=algorithm)
            return
    check(ours(*arguments, **keywords, algorithm=algorithm), expected, scale, what, tolerance)


@pytest.mark.parametrize("name", ["convolve", "correlate"])
def test_any_number_of_dimensions(name):
    rng = np.random.default_rng(SEED)
    for _ in range(CALLS):
        a, b, algorithm = pair(rng, int(rng.choice(RANKS)), (*REALS, *COMPLEX, *INTEGERS), 1000)
        keywords = {"mode": str(rng.choice(MODES)), "method": str(rng.choice(["auto", "direct"]))}
        tolerance = tolerance_of_transforms(a, b) if keywords["method"] == "auto" else None
        both(name, scipy.signal, (a, b), keywords, algorithm, scale_of(a, b), tolerance)


@pytest.mark.parametrize("name", ["fftconvolve", "oaconvolve"])
def test_some_axes(name):
    rng = np.random.default_rng(SEED)
    for _ in range(CALLS):
        rank = int(rng.choice(RANKS))
        a, b, algorithm = pair(rng, rank, (*REALS, *COMPLEX, "uint8", "int32"), 1000)
        keywords = {"mode": str(rng.choice(MODES))}
        if rng.random() < 0.7:
            axes = rng.permutation(rank)[: rng.integers(1, rank + 1)]
            keywords["axes"] = [int(axis) - rank * int(rng.integers(2)) for axis in axes]
            size = list(b.shape)
            for axis in set(range(rank)) - {axis % rank for axis in keywords["axes"]}:
                size[axis] = int(rng.choice([1, a.shape[axis]]))
            b = numbers(rng, size, b.dtype.newbyteorder("="), 1000)
        both(name, scipy.signal, (a, b), keywords, algorithm, scale_of(a, b), tolerance_of_transforms(a, b))


@pytest.mark.parametrize("name", ["convolve2d", "correlate2d"])
def test_two_dimensions(name):
    rng = np.random.default_rng(SEED)
    for _ in range(CALLS):
        a, b, algorithm = pair(rng, 2, (*REALS, *COMPLEX, *INTEGERS), 1000)
        keywords = {"mode": str(rng.choice(MODES)), "boundary": str(rng.choice(["fill", "wrap", "symm"]))}
        if rng.random() < 0.3:
            unsigned = np.result_type(a, b).kind == "u"
            keywords["fillvalue"] = int(rng.integers(0 if unsigned else -3, 100))
        scale = scale_of(a, b) * max(1, abs(keywords.get("fillvalue", 1)))
        both(name, scipy.signal, (a, b), keywords, algorithm, scale)


NDIMAGE_MODES = ("reflect", "constant", "nearest", "mirror", "wrap", "grid-mirror", "grid-constant", "grid-wrap")


def weights_of(rng, size, kind):
    """Return weights that are whole, fractions of powers of two, means, or anything."""
    if kind == "whole":
        return rng.integers(-20, 20, size)
    if kind == "binary":
        return rng.integers(-20, 20, size) / 16
    if kind == "mean":
        return np.full(size, 1 / np.prod(size))
    if kind == "symmetric":
        weights = rng.integers(0, 5, size) / 10
        return weights + np.flip(weights)
    if kind == "antisymmetric":
        weights = rng.integers(0, 5, size) / 10
        return weights - np.flip(weights)
    return numbers(rng, size, str(rng.choice(REALS)))


KINDS = ("whole", "binary", "mean", "symmetric", "antisymmetric", "any", "any")


def image_of(rng, size):
    kind = rng.integers(4)
    if kind == 0:
        return laid_out(rng, numbers(rng, size, str(rng.choice((*INTEGERS, "bool"))), 100))
    if kind == 1:
        return laid_out(rng, numbers(rng, size, "uint8"))
    return laid_out(rng, numbers(rng, size, str(rng.choice((*REALS, *COMPLEX)))))


def arguments_of_filter(rng, image):
    keywords = {"mode": str(rng.choice(NDIMAGE_MODES))}
    if rng.random() < 0.3:
        keywords["cval"] = float(rng.choice([0, 1, -2, 0.5, 1e3]))
    if rng.random() < 0.3 and image.dtype.kind != "c":
        keywords["output"] = str(rng.choice(["float32", "float64", "int16", "int32"]))
    return keywords


def test_ndimage_correlate_and_convolve():
    rng = np.random.default_rng(SEED)
    for _ in range(2 * CALLS):
        rank = int(rng.choice(RANKS))
        size, kernel, algorithm = shapes(rng, rank)
        image, keywords, filtered = image_of(rng, size), {}, rank
        if algorithm != "auto" and rng.random() < 0.2:
            axes = sorted(int(axis) for axis in rng.permutation(rank)[: rng.integers(1, rank + 1)])
            keywords["axes"], filtered = tuple(axes), len(axes)
        weights = weights_of(rng, kernel[:filtered], str(rng.choice(KINDS)))
        if rng.random() < 0.1:
            weights = weights + 1j * weights_of(rng, weights.shape, "any")
        keywords |= arguments_of_filter(rng, image)
        if weights.dtype.kind == "c":
            keywords.pop("output", None)
        if rng.random() < 0.3:
            keywords["origin"] = [int(rng.integers(-(n // 2), (n - 1) // 2 + 1)) for n in weights.shape]
        check_filter(str(rng.choice(["correlate", "convolve"])), image, weights, keywords, algorithm)


def test_ndimage_correlate1d_and_convolve1d():
    rng = np.random.default_rng(SEED)
    for _ in range(2 * CALLS):
        rank = int(rng.choice(RANKS))
        size, _, algorithm = shapes(rng, rank)
        image = image_of(rng, size)
        weights = weights_of(rng, (3,) if algorithm == "auto" else int(rng.choice(KERNELS[1])), str(rng.choice(KINDS)))
        keywords = {"axis": int(rng.integers(-rank, rank)), **arguments_of_filter(rng, image)}
        if rng.random() < 0.3:
            n = len(weights)
            keywords["origin"] = int(rng.integers(-(n // 2), (n - 1) // 2 + 1))
        check_filter(str(rng.choice(["correlate1d", "convolve1d"])), image, weights, keywords, algorithm)


def check_filter(name, image, weights, keywords, algorithm):
    """Compare a filter, unless what SciPy computes is left to the compiler, or wrong."""
    value = max(1.0, abs(keywords.get("cval", 0)))
    scale = scale_of(np.append(image.astype(complex), value), weights.astype(complex))
    result = np.dtype(keywords.get("output", image.dtype))
    if result.kind in "iu" and weights.dtype.kind != "c" and scale >= 2**31:
        return  # sums leave the result's type
    if result.kind == "b" and weights.dtype.kind != "c":
        keywords = {**keywords, "output": "int32"}  # SciPy's bools may hold any byte
    if keywords["mode"] in ("reflect", "grid-mirror") and name in ("correlate", "convolve"):
        filtered = [image.shape[axis] for axis in keywords.get("axes", range(image.ndim))]
        if any(m >= 4 * n for n, m in zip(filtered, weights.shape, strict=True)):
            return  # SciPy loses its way in more than four reflections
    both(name, scipy.ndimage, (image, weights), keywords, algorithm, scale)

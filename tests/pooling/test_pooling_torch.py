"""Thousands of random poolings against PyTorch: bit by bit where maxima are taken."""

from __future__ import annotations

import numpy as np
import pytest

import fastconv

torch = pytest.importorskip("torch")
functional = torch.nn.functional

SETTINGS, ARRAYS = 45, 12  # for each operation: arguments, which code is compiled for, and arrays for each


def random_arguments(random, *, dilated):
    """Draw an input, and arguments that PyTorch takes: equal padding, half a window at most."""
    rank = int(random.integers(1, 4))
    size = random.integers(4, {1: 200, 2: 40, 3: 9}[rank], rank)
    kernel = random.integers(1, {1: 30, 2: int(random.choice([5, 15])), 3: 4}[rank] + 1, rank)
    stride = random.integers(1, 4, rank)
    padding = [int(random.integers(0, k // 2 + 1)) for k in kernel]
    dilation = random.integers(1, 3, rank) if dilated else np.ones(rank, int)
    size = np.maximum(size, dilation * (kernel - 1) + 1)
    shape = (int(random.integers(1, 4)), int(random.choice([1, 2, 3, 9, 16])), *map(int, size))
    dtype = str(random.choice(["float32", "float64"]))
    windows = {
        "kernel_size": tuple(map(int, kernel)),
        "stride": tuple(map(int, stride)),
        "padding": tuple(padding),
        "ceil_mode": bool(random.random() < 0.4),
    }
    return rank, [random_array(random, shape, dtype) for _ in range(ARRAYS)], windows, tuple(map(int, dilation))


def random_array(random, shape, dtype):
    """Draw numbers, or few different ones with ties, infinities and NaN."""
    x = random.standard_normal(shape).astype(dtype)
    if random.random() < 0.5:
        return x
    x = np.round(x)
    for value, share in ((np.nan, 0.02), (-np.inf, 0.2), (np.inf, 0.05)):
        x[random.random(shape) < share] = value
    return x


def ours(name, rank, x, last, **arguments):
    """Call fastconv in one of the layouts; return results with channels first."""
    given = np.moveaxis(x, 1, -1) if last else x
    found = getattr(fastconv, f"{name}{rank}d")(
        given, layout="channels_last" if last else "channels_first", **arguments
    )
    results = found if isinstance(found, tuple) else (found,)
    return [np.moveaxis(one, -1, 1) if last else one for one in results]


def same_places(y, indices, expected):
    """Compare indices but those of NaN: of several in a window PyTorch takes the last, and we the first."""
    number = ~np.isnan(y)
    return np.array_equal(indices[number], expected[number])


def each(seed, *, dilated=False):
    """Yield the generator, rank, arrays, layout and arguments of each setting."""
    random = np.random.default_rng(seed)
    for _ in range(SETTINGS):
        rank, arrays, windows, dilation = random_arguments(random, dilated=dilated)
        last = bool(random.random() < 0.4)
        yield random, rank, arrays, last, windows, dilation


def test_max_pool():
    for _, rank, arrays, last, windows, dilation in each(20, dilated=True):
        pool = getattr(functional, f"max_pool{rank}d")
        for x in arrays:
            found = ours("max_pool", rank, x, last, return_indices=True, dilation=dilation, **windows)
            values = ours("max_pool", rank, x, last, dilation=dilation, **windows)
            expected = pool(torch.from_numpy(x), dilation=dilation, return_indices=True, **windows)
            assert np.array_equal(found[0], expected[0].numpy(), equal_nan=True), windows
            assert same_places(*found, expected[1].numpy()), windows
            assert np.array_equal(values[0], found[0], equal_nan=True), windows


def close(found, expected, x):
    """Compare averages: what is not finite exactly, the rest to 1e-6 of the input's magnitude."""
    finite = np.isfinite(expected)
    assert np.array_equal(found[~finite], expected[~finite], equal_nan=True)
    scale = np.abs(x[np.isfinite(x)]).max(initial=1)
    assert np.abs(found[finite] - expected[finite]).max(initial=0) <= 1e-6 * scale


def test_avg_pool():
    for random, rank, arrays, last, windows, _ in each(21):
        own = {"count_include_pad": bool(random.random() < 0.5)}
        if rank > 1 and random.random() < 0.2:
            own = {"divisor_override": 3}
        for x in arrays:
            found = ours("avg_pool", rank, x, last, **windows, **own)
            close(found[0], getattr(functional, f"avg_pool{rank}d")(torch.from_numpy(x), **windows, **own).numpy(), x)


def test_lp_pool():
    for random, rank, arrays, last, windows, _ in each(22):
        p = float(random.choice([1, 2, 3]))
        kernel, stride = windows["kernel_size"], windows["stride"]
        arguments = (p, kernel[0], stride[0]) if rank == 1 else (p, kernel, stride)
        for array in arrays:
            x = np.abs(np.nan_to_num(array, nan=1, posinf=2, neginf=3))  # PyTorch leaves out the magnitude
            found = ours("lp_pool", rank, x, last, norm_type=p, kernel_size=kernel, stride=stride)
            expected = getattr(functional, f"lp_pool{rank}d")(torch.from_numpy(x), *arguments).numpy()
            assert np.allclose(found[0], expected, rtol=1e-4 if x.dtype == np.float32 else 1e-9, atol=1e-5)


def test_adaptive_pools():
    for random, rank, arrays, last, _, _ in each(23):
        sizes = arrays[0].shape[2:]
        outputs = tuple([None if random.random() < 0.2 else int(random.integers(1, n + 3)) for n in sizes])
        size = outputs if rank > 1 else outputs[0] or sizes[0]
        pool, average = (getattr(functional, f"adaptive_{kind}_pool{rank}d") for kind in ("max", "avg"))
        for x in arrays:
            found = ours("adaptive_max_pool", rank, x, last, output_size=size, return_indices=True)
            expected = pool(torch.from_numpy(x), size, return_indices=True)
            assert np.array_equal(found[0], expected[0].numpy(), equal_nan=True)
            assert same_places(*found, expected[1].numpy())
            (averages,) = ours("adaptive_avg_pool", rank, x, last, output_size=size)
            close(averages, average(torch.from_numpy(x), size).numpy(), x)


def test_max_unpool():
    for _, rank, arrays, _, windows, _ in each(24):
        kernel = windows["kernel_size"]
        for x in arrays[:3]:
            y, indices = getattr(fastconv, f"max_pool{rank}d")(x, kernel, return_indices=True)
            size = x.shape[2:]
            found = getattr(fastconv, f"max_unpool{rank}d")(y, indices, kernel, output_size=size)
            tensors = torch.from_numpy(y), torch.from_numpy(indices)
            expected = getattr(functional, f"max_unpool{rank}d")(*tensors, kernel, output_size=size)
            assert np.array_equal(found, expected.numpy(), equal_nan=True)

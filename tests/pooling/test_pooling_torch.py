"""Thousands of random poolings against PyTorch: bit by bit where maxima are taken."""

from __future__ import annotations

import numpy as np
import pytest

import fastconv

torch = pytest.importorskip("torch")
functional = torch.nn.functional

ROUNDS = 300  # for each operation


def random_arguments(random, *, dilated):
    """Draw an input, and arguments that PyTorch takes: equal padding, half a window at most."""
    rank = int(random.integers(1, 4))
    size = random.integers(4, {1: 60, 2: 24, 3: 9}[rank], rank)
    kernel = random.integers(1, 4 if rank == 3 else 6, rank)
    stride = random.integers(1, 4, rank)
    padding = [int(random.integers(0, k // 2 + 1)) for k in kernel]
    dilation = random.integers(1, 3, rank) if dilated else np.ones(rank, int)
    size = np.maximum(size, dilation * (kernel - 1) + 1)
    shape = (int(random.integers(1, 4)), int(random.choice([1, 2, 3, 9, 16])), *map(int, size))
    x = random.standard_normal(shape).astype(str(random.choice(["float32", "float64"])))
    if random.random() < 0.5:  # ties, infinities, NaN
        x = np.round(x)
        for value, share in ((np.nan, 0.02), (-np.inf, 0.2), (np.inf, 0.05)):
            x[random.random(shape) < share] = value
    windows = {
        "kernel_size": tuple(map(int, kernel)),
        "stride": tuple(map(int, stride)),
        "padding": tuple(padding),
        "ceil_mode": bool(random.random() < 0.4),
    }
    return rank, x, windows, tuple(map(int, dilation))


def ours(name, rank, x, random, **arguments):
    """Call fastconv in one of the layouts; return results with channels first."""
    last = random.random() < 0.4
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


def test_max_pool():
    random = np.random.default_rng(20)
    for _ in range(ROUNDS):
        rank, x, windows, dilation = random_arguments(random, dilated=True)
        found = ours("max_pool", rank, x, random, return_indices=True, dilation=dilation, **windows)
        values = ours("max_pool", rank, x, random, dilation=dilation, **windows)
        pool = getattr(functional, f"max_pool{rank}d")
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
    random = np.random.default_rng(21)
    for _ in range(ROUNDS):
        rank, x, windows, _ = random_arguments(random, dilated=False)
        own = {"count_include_pad": bool(random.random() < 0.5)}
        if rank > 1 and random.random() < 0.2:
            own = {"divisor_override": 3}
        found = ours("avg_pool", rank, x, random, **windows, **own)
        expected = getattr(functional, f"avg_pool{rank}d")(torch.from_numpy(x), **windows, **own)
        close(found[0], expected.numpy(), x)


def test_lp_pool():
    random = np.random.default_rng(22)
    for _ in range(ROUNDS):
        rank, x, windows, _ = random_arguments(random, dilated=False)
        x = np.abs(np.nan_to_num(x, nan=1, posinf=2, neginf=3))  # PyTorch leaves out the magnitude
        p = float(random.choice([1, 2, 3]))
        kernel, stride = windows["kernel_size"], windows["stride"]
        found = ours("lp_pool", rank, x, random, norm_type=p, kernel_size=kernel, stride=stride)
        arguments = (p, kernel[0], stride[0]) if rank == 1 else (p, kernel, stride)
        expected = getattr(functional, f"lp_pool{rank}d")(torch.from_numpy(x), *arguments)
        assert np.allclose(found[0], expected.numpy(), rtol=1e-4 if x.dtype == np.float32 else 1e-9, atol=1e-5)


def test_adaptive_pools():
    random = np.random.default_rng(23)
    for _ in range(ROUNDS):
        rank, x, *_ = random_arguments(random, dilated=False)
        size = tuple([None if random.random() < 0.2 else int(random.integers(1, n + 3)) for n in x.shape[2:]])
        size = size[0] if rank == 1 and size[0] else size if rank > 1 else x.shape[2]
        found = ours("adaptive_max_pool", rank, x, random, output_size=size, return_indices=True)
        pool = getattr(functional, f"adaptive_max_pool{rank}d")
        expected = pool(torch.from_numpy(x), size, return_indices=True)
        assert np.array_equal(found[0], expected[0].numpy(), equal_nan=True)
        assert same_places(*found, expected[1].numpy())
        average = ours("adaptive_avg_pool", rank, x, random, output_size=size)
        close(average[0], getattr(functional, f"adaptive_avg_pool{rank}d")(torch.from_numpy(x), size).numpy(), x)


def test_max_unpool():
    random = np.random.default_rng(24)
    for _ in range(60):
        rank, x, windows, _ = random_arguments(random, dilated=False)
        kernel = windows["kernel_size"]
        y, indices = getattr(fastconv, f"max_pool{rank}d")(x, kernel, return_indices=True)
        size = x.shape[2:]
        found = getattr(fastconv, f"max_unpool{rank}d")(y, indices, kernel, output_size=size)
        tensors = torch.from_numpy(y), torch.from_numpy(indices)
        expected = getattr(functional, f"max_unpool{rank}d")(*tensors, kernel, output_size=size)
        assert np.array_equal(found, expected.numpy(), equal_nan=True)

"""Problems drawn at random: what no table of layers was written for."""

from __future__ import annotations

import numpy as np

from fastconv.problem import ConvProblem

__all__ = ["draw_problems"]

CHANNELS = (1, 2, 3, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
KERNELS = (1, 1, 3, 3, 3, 3, 5, 7, 9, 11, 15, 31)
LARGEST = {1: 20_000, 2: 224, 3: 32}  # elements along an axis
SMALLEST = 5
LEAST, MOST = 1e4, 1.5e9  # multiply-adds: above what is a call alone, and below what takes a second


def draw_problems(count: int, seed: int = 0) -> tuple[ConvProblem, ...]:
    """Return different convolutions of one to three axes; the same for the same seed.

    Examples
    --------
    >>> draw_problems(3) == draw_problems(4)[:3]
    True
    """
    random = np.random.default_rng(seed)
    found: dict[ConvProblem, None] = {}
    while len(found) < count:
        problem = _problem(random)
        if problem is not None and LEAST <= problem.multiply_adds <= MOST:
            found[problem] = None
    return tuple(found)


def _problem(random: np.random.Generator) -> ConvProblem | None:
    """Draw one; None if windows do not fit."""
    rank = int(random.choice([1, 2, 2, 2, 2, 2, 3]))
    channels, filters = (int(random.choice(CHANNELS)) for _ in range(2))
    groups = _groups(random, channels, filters)
    if groups == channels:
        filters = channels
    same = random.random() < 0.7  # kernels and sizes are mostly as long along each axis
    kernel = random.choice(KERNELS, 1 if same else rank)
    size = np.exp(random.uniform(np.log(SMALLEST), np.log(LARGEST[rank]), 1 if same else rank)).astype(int)
    last = bool(random.random() < 0.2)
    sizes = tuple(map(int, np.broadcast_to(size, rank)))
    batch = int(random.choice([1, 1, 1, 1, 2, 8]))
    shape = (batch, *sizes, channels) if last else (batch, channels, *sizes)
    try:
        return ConvProblem.from_shapes(
            shape,
            (filters, channels // groups, *map(int, np.broadcast_to(kernel, rank))),
            str(random.choice(["float32", "float32", "float32", "float32", "float64"])),
            stride=int(random.choice([1, 1, 1, 1, 2])),
            dilation=int(random.choice([1, 1, 1, 1, 1, 1, 2, 4])),
            padding=str(random.choice(["same", "same", "valid"])),
            groups=groups,
            layout="channels_last" if last else "channels_first",
        )
    except ValueError:
        return None


def _groups(random: np.random.Generator, channels: int, filters: int) -> int:
    chance = random.random()
    if chance < 0.7:
        return 1
    if chance < 0.85:
        return channels
    shared = [count for count in (2, 4, 8, 32) if channels % count == filters % count == 0]
    return int(random.choice(shared)) if shared else 1

"""Elements as kernels write them: float32 as bfloat16, by its bits."""

from __future__ import annotations

import numpy as np

from fastconv.codegen import target as targets
from fastconv.codegen.folding import Fold, lanes
from fastconv.cpu.native import address
from fastconv.cpu.pooling_plan import whole


def maxima(values: np.ndarray) -> np.ndarray:
    """Return the maxima, as bfloat16, of planes each of which is one of these values of float32."""
    fold, target = Fold("max", "float32", "bfloat16"), targets.current()
    elements = 2 * lanes(fold, target)
    x, y = np.repeat(values, elements), np.zeros(len(values), "bfloat16")
    whole(fold, len(values), len(values), elements, 1.0, (len(values), 1), 1, target).run(address(x), address(y), 0)
    return y


def test_float32_becomes_the_nearest_bfloat16(vector_bits):
    random = np.random.default_rng(0).integers(0, 2**32, 5000, dtype=np.uint32)
    halves = random & 0xFFFF0000 | 0x8000  # in the middle of two
    special = np.array([0x7FFFFFFF, 0xFFFFFFFF, 0x7FC00000, 0x7F800001, 0x7F7FFFFF, 0x80000000], np.uint32)
    values = np.concatenate([random, halves, special]).view(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        expected = values.astype("bfloat16")
    found = maxima(values)
    assert np.array_equal(np.isnan(found), np.isnan(values))
    numbers = ~np.isnan(values)
    assert np.array_equal(found.view(np.uint16)[numbers], expected.view(np.uint16)[numbers])

"""Memory of large results: reused when nobody can see it any more, and never before."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import fastconv
from fastconv import memory


@pytest.fixture(autouse=True)
def small_is_large(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(memory, "LEAST", 1000)
    monkeypatch.setattr(memory, "MOST", 100_000)
    memory.clear()
    yield
    memory.clear()


def address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


def test_it_is_an_array_like_any_other() -> None:
    found = memory.empty((10, 20, 30), np.float64)
    assert (type(found), found.shape, found.dtype) == (np.ndarray, (10, 20, 30), np.float64)
    assert found.flags.c_contiguous
    assert found.flags.writeable
    found[...] = 1.0
    assert found.sum() == 6000


def test_a_released_one_is_used_again_for_its_size_alone() -> None:
    first = memory.empty((500,), np.float32)
    where = address(first)
    del first
    other = memory.empty((501,), np.float32)
    assert address(other) != where
    again = memory.empty((2, 125), np.float64)
    assert address(again) == where


def test_what_can_be_seen_is_not_used_again() -> None:
    first = memory.empty((500,), np.float32)
    first[...] = 7.0
    view = first[::2].reshape(25, 10).T
    del first
    gc.collect()
    second = memory.empty((500,), np.float32)
    second[...] = 8.0
    assert not np.shares_memory(view, second)
    assert (view == 7.0).all()


@pytest.mark.parametrize("count", [250, 30_000])  # 1000 bytes are not more than the least
def test_small_and_huge_ones_are_numpys(count: int) -> None:
    assert memory.empty((count,), np.float32).flags.owndata
    assert not memory._kept


def test_no_more_than_so_many_are_kept() -> None:
    arrays = [memory.empty((500,), np.float32) for _ in range(memory.BLOCKS + 3)]
    arrays.clear()
    assert len(memory._kept) == memory.BLOCKS
    fastconv.clear_cache()
    assert not memory._kept


def test_threads_do_not_share() -> None:
    def work(number: int) -> bool:
        right = True
        for _ in range(300):
            array = memory.empty((500,), np.int64)
            array[...] = number
            right &= bool((array == number).all())
        return right

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(8)))


def test_a_convolution_uses_it() -> None:
    x, weight = np.ones((1, 1, 40, 40), np.float32), np.ones((1, 1, 1, 1), np.float32)
    first = fastconv.conv2d(x, weight)
    where = address(first)
    kept = first[0]
    second = fastconv.conv2d(2 * x, weight)
    assert address(second) != where
    assert (kept == 1).all()
    del first, kept
    third = fastconv.conv2d(3 * x, weight)
    assert address(third) == where
    assert (third == 3).all()
    assert (second == 2).all()

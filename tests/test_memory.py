"""Memory of results: apart from what is read, and reused when nobody can see it any more, and never before."""

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


BESIDE = np.zeros(1000)


def address(array: np.ndarray) -> int:
    return array.__array_interface__["data"][0]


@pytest.mark.parametrize("dtype", ["float64", "bfloat16"])
def test_it_is_an_array_like_any_other(dtype: str) -> None:
    found = memory.empty((10, 20, 30), dtype, BESIDE)
    assert (type(found), found.shape, found.dtype) == (np.ndarray, (10, 20, 30), dtype)
    assert found.flags.c_contiguous
    assert found.flags.writeable
    found[...] = 1.0
    assert found.sum(dtype=np.float64) == 6000


def test_a_released_one_is_used_again_for_its_size_alone() -> None:
    first = memory.empty((500,), np.float32, BESIDE)
    where = address(first)
    del first
    other = memory.empty((501,), np.float32, BESIDE)
    assert abs(address(other) - where) > memory.PAGE
    again = memory.empty((2, 125), np.float64, BESIDE)
    assert address(again) == where


def test_what_can_be_seen_is_not_used_again() -> None:
    first = memory.empty((500,), np.float32, BESIDE)
    first[...] = 7.0
    view = first[::2].reshape(25, 10).T
    del first
    gc.collect()
    second = memory.empty((500,), np.float32, BESIDE)
    second[...] = 8.0
    assert not np.shares_memory(view, second)
    assert (view == 7.0).all()


@pytest.mark.parametrize("count", [250, 30_000])  # 1000 bytes are not more than the least
def test_small_and_huge_ones_are_numpys(count: int) -> None:
    assert memory.empty((count,), np.float32, BESIDE).flags.owndata
    assert not memory._kept


@pytest.mark.parametrize("size", [300, 30_000])  # kept, and not kept
@pytest.mark.parametrize("first", [0, 4, 60, 64, 2048, 4092])
def test_it_begins_with_a_line_half_a_page_apart(monkeypatch: pytest.MonkeyPatch, size: int, first: int) -> None:
    monkeypatch.setattr(memory, "PLACED", 1000)
    block = np.empty(2 * memory.PAGE, np.uint8)
    beside = block[-address(block) % memory.PAGE + first :]
    for _ in range(3):
        found = memory.empty((size,), np.float32, beside)
        found[...] = 1.0
        assert address(found) % 64 == 0
        assert (address(found) - address(beside)) % memory.PAGE in range(2048 - 63, 2049)


def test_no_more_than_so_many_are_kept() -> None:
    arrays = [memory.empty((500,), np.float32, BESIDE) for _ in range(memory.BLOCKS + 3)]
    arrays.clear()
    assert len(memory._kept) == memory.BLOCKS
    fastconv.clear_cache()
    assert not memory._kept


def test_threads_do_not_share() -> None:
    def work(number: int) -> bool:
        right = True
        for _ in range(300):
            array = memory.empty((500,), np.int64, BESIDE)
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
    assert not np.shares_memory(first, second)
    assert (kept == 1).all()
    del first, kept
    third = fastconv.conv2d(3 * x, weight)
    assert abs(address(third) - where) <= memory.PAGE  # one page more is there, to place it
    assert (third == 3).all()
    assert (second == 2).all()

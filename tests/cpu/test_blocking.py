"""How work is cut, and how runs of pixels become vectors: by hand."""

from __future__ import annotations

import numpy as np
import pytest

import fastconv
from fastconv.cpu.blocking import BUSY, _pieces, equal_vectors, joints, vectors_of_runs


def test_vectors_by_hand():
    assert vectors_of_runs(17, 17, 8) == (51, 37 + 16 / 6)  # 289 pixels, and 16 ends of runs within a vector
    assert vectors_of_runs(2, 3, 8) == (2, 1 + 3 / 6)  # a vector of 8 crosses three ends of runs of 3 at most
    assert vectors_of_runs(5, 16, 8) == (10, 10 + 4 / 6)


@pytest.mark.parametrize(
    ("rows", "row_length", "expected"),
    [
        (17, 17, 1),
        (28, 28, 1),
        (56, 56, 0),  # nothing to gain
        (1, 13, 0),
        (7, 7, 0),  # 49 pixels take seven vectors either way
        (9, 5, 2),  # six vectors instead of nine
        (20, 1, 7),
    ],
)
def test_runs_are_joined_where_that_saves_vectors(rows, row_length, expected):
    assert joints(rows, row_length, 8) == expected


@pytest.mark.parametrize("filters", [2, 7])  # tiles of four vectors, and of two or three
def test_every_width(vector_bits, filters):
    random = np.random.default_rng(filters)
    for width in range(1, 36):
        x = random.integers(-4, 5, (1, 2, 1 + width % 7 * 3, width)).astype("f4")  # sums are exact
        weight = random.integers(-4, 5, (filters, 2, 3, 3)).astype("f4")
        shape = (1, filters, *x.shape[2:])
        residual = random.integers(-4, 5, shape).astype("f4")
        results = [
            fastconv.conv2d(x, weight, padding=1, residual=residual, algorithm=name)
            for name in ("direct", "reference")
        ]
        np.testing.assert_array_equal(*results, f"{shape}")


@pytest.mark.parametrize(
    ("tasks", "threads", "pieces"),
    [
        (1, 2, 2),
        (2, 2, 1),
        (3, 2, 2),  # 3 tasks would take the time of 4
        (5, 2, 1),  # 5 of 6
        (100, 2, 1),
        (3, 4, 4),  # 3 of 4, 6 of 8, 9 of 12
        (2, 4, 2),
        (1, 7, 6),  # 5 of 7 is too little, 6 of 7 is not
        (1, 1, 1),
    ],
)
def test_as_few_pieces_as_keep_threads_busy(tasks, threads, pieces):
    assert _pieces(tasks, threads) == pieces


def test_threads_are_busy_whatever_the_number():
    for threads in range(1, 40):
        for tasks in range(1, 100):
            total = tasks * _pieces(tasks, threads)
            assert total / (-(-total // threads) * threads) >= BUSY


@pytest.mark.parametrize(
    ("total", "most", "lanes", "expected"),
    [
        (196, 144, 8, 104),  # and 92, not 144 and 52
        (196, 200, 8, 196),
        (196, 98, 8, 98),
        (7, 3, 8, 3),
        (100, 40, 4, 36),  # 36, 36, 28
    ],
)
def test_equal_pieces_of_whole_vectors(total, most, lanes, expected):
    assert equal_vectors(total, most, lanes) == expected

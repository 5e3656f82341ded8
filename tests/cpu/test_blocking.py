"""How work is cut: by hand."""

from __future__ import annotations

import pytest

from fastconv.cpu.blocking import BUSY, _pieces, equal_vectors


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

"""Which kernels are outer products, and of what."""

from __future__ import annotations

import numpy as np
import pytest

from fastconv.cpu import rank_one
from fastconv.cpu.rank_one import Factors, factors, limit

TYPES = ("float32", "float64")


@pytest.fixture(autouse=True)
def forget():
    rank_one.clear()
    yield
    rank_one.clear()


def kernels(*planes: object, dtype: str = "float32") -> np.ndarray:
    return np.array(planes, dtype)[:, np.newaxis]


def test_by_hand() -> None:
    found = factors(kernels([[1, 2, 3], [2, 4, 6]], [[0, 0, 0], [0, -8, 4]]))
    assert isinstance(found, Factors)
    np.testing.assert_allclose(found.columns, [[3, 6], [0, -8]])
    np.testing.assert_allclose(found.rows, np.array([[1 / 3, 2 / 3, 1], [0, 1, -0.5]], np.float32))


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
@pytest.mark.parametrize("shape", [(2, 2), (3, 3), (4, 9), (63, 2), (25, 25)])
def test_products_are_found(shape: tuple[int, int], scale: float, dtype: str) -> None:
    random = np.random.default_rng(0)
    for _ in range(20):
        column, row = (random.standard_normal((3, 1, *axes)) for axes in ((shape[0], 1), (1, shape[1])))
        weight = (column.astype(dtype) * (row * scale).astype(dtype)).astype(dtype)
        found = factors(weight)
        assert isinstance(found, Factors)
        again = found.columns[:, :, np.newaxis].astype(np.float64) * found.rows[:, np.newaxis]
        assert np.abs(again - weight[:, 0]).max() <= 4 * np.finfo(dtype).eps * np.abs(weight).max()
        assert found.columns.dtype == found.rows.dtype == dtype


def test_usual_filters() -> None:
    gauss = np.exp(-(np.arange(-12, 13) ** 2) / 2)  # whose corners are zero in float32
    sobel = np.outer([1, 2, 1], [-1, 0, 1])
    box = np.full((7, 7), 1 / 49)
    for separable in (np.outer(gauss, gauss), sobel, sobel.T, np.ones((5, 5)), np.zeros((3, 3)), box):
        assert isinstance(factors(kernels(separable)), Factors)
    laplacian = [[0, 1, 0], [1, -4, 1], [0, 1, 0]]
    disk = np.hypot(*np.ogrid[-2:3, -2:3]) < 2.2
    for other in (laplacian, disk, np.eye(3), np.eye(3)[::-1], np.arange(9).reshape(3, 3)):
        assert "kernel 0 is not of rank one" in str(factors(kernels(other)))


def test_one_kernel_of_many_is_enough() -> None:
    every = np.ones((5, 1, 3, 3), np.float32)
    every[3, 0, 1, 2] = 2
    assert str(factors(every)).startswith("kernel 3 is not of rank one: 0.29 of its norm is left")


@pytest.mark.parametrize("dtype", TYPES)
def test_what_may_be_left(dtype: str) -> None:
    """|w - column row| <= limit |w|: an element beside the cross of the largest one is off."""
    weight = np.ones((1, 1, 4, 4), dtype)
    weight[0, 0, 0, 0] = 1 + 2**-10  # the largest, and so the others are not quite in proportion
    assert isinstance(factors(weight), str)
    for share, fits in ((0.5, True), (2.0, False)):
        weight = np.outer([4, 1, 1, 1], [1, 1, 1, 1]).astype(dtype)[np.newaxis, np.newaxis]
        weight[0, 0, 2, 3] += share * limit(dtype) * np.linalg.norm(weight)
        assert isinstance(factors(weight), Factors if fits else str), share


def test_a_quick_look_refuses_nothing_that_fits() -> None:
    random = np.random.default_rng(1)
    refused = 0
    for _ in range(2000):
        column, row, noise = (random.standard_normal(axes) for axes in ((5, 1), (1, 4), (5, 4)))
        weight = column * row
        weight += noise / np.linalg.norm(noise) * np.linalg.norm(weight) * limit("float64") * random.uniform(0.1, 3)
        weight = weight[np.newaxis, np.newaxis]
        if rank_one._obvious(weight):
            refused += 1
            assert isinstance(rank_one._factors(weight), str)
    assert rank_one._obvious(random.standard_normal((1, 1, 5, 5)))
    assert refused < 2000


@pytest.mark.parametrize("special", [np.nan, np.inf])
@pytest.mark.parametrize("place", [(0, 0), (1, 1), (2, 0)])
def test_what_is_not_finite_has_no_factors(special: float, place: tuple[int, int]) -> None:
    weight = np.ones((1, 1, 3, 3), np.float32)
    weight[(0, 0, *place)] = special
    assert isinstance(factors(weight), str)


def test_weights_are_recognised_again_by_their_values() -> None:
    weight = np.ones((1, 1, 3, 3), np.float32)
    first = factors(weight)
    assert factors(weight.copy()) is first
    weight[0, 0, 0, 0] = 2  # the same array
    assert isinstance(factors(weight), str)
    for value in range(2 * rank_one.MOST_KNOWN):
        factors(np.full((1, 1, 2, 2), value, np.float32))
    assert len(rank_one._known) <= rank_one.MOST_KNOWN
    large = np.ones((2000, 1, 3, 3), np.float32)
    assert factors(large) is not factors(large)  # too many to keep


def test_values_of_another_type_are_others() -> None:
    zeros = [factors(np.zeros((1, 1, 2, 2), dtype)) for dtype in TYPES]
    assert [found.rows.dtype.name for found in zeros] == list(TYPES)

"""Straight-line programs: what they compute is the matrix, exactly; what they cost is counted."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastconv.codegen.cook_toom import POINTS, transforms
from fastconv.codegen.straight_line import Operation, Program, program

SIZES = [(outputs, size + 1 - outputs) for size in POINTS for outputs in range(2, size)]


class Exact:
    """Arithmetic on fractions."""

    def add(self, a, b):
        return a + b

    def subtract(self, a, b):
        return a - b

    def multiply(self, constant, a):
        return constant * a

    def multiply_add(self, constant, a, b):
        return constant * a + b


def exactly(matrix):
    return tuple(tuple(Fraction(value) for value in row) for row in matrix)


def matrix_of(found):
    """Return what the program computes as a matrix: its results on the unit vectors are the columns."""
    units = [[Fraction(i == k) for i in range(found.inputs)] for k in range(found.inputs)]
    return tuple(zip(*(found.apply(unit, Exact()) for unit in units), strict=True))


def test_a_program_by_hand():
    """y = (a + b, 2 (a + b) - 3 c, c)"""
    found = Program(
        3,
        (
            Operation("add", (0, 1)),
            Operation("multiply", (3,), Fraction(2)),
            Operation("multiply_add", (2, 4), Fraction(-3)),
            Operation("subtract", (5, 3)),
        ),
        (3, 5, 2, 6),
    )
    assert found.apply([Fraction(10), Fraction(20), Fraction(7)], Exact()) == [30, 39, 7, 9]
    assert found.live == 4  # the outputs, in the end; three values before that


def test_one_tap_costs_nothing():
    found = program(transforms(1, 1).input)
    assert (found.operations, found.outputs, found.live) == ((), (0,), 1)


def test_f23_input_by_hand():
    """Four operations: d0 - d2, d1 + d2, d2 - d1, d3 - d1."""
    found = program(transforms(2, 3).input)
    assert sorted(entry.kind for entry in found.operations) == ["add", "subtract", "subtract", "subtract"]


@pytest.mark.parametrize("which", ["output", "weight", "input"])
@pytest.mark.parametrize(("outputs", "taps"), SIZES)
def test_transforms_exactly(outputs, taps, which):
    matrix = getattr(transforms(outputs, taps), which)
    assert matrix_of(program(matrix)) == matrix


ENTRIES = st.sampled_from([Fraction(value) for value in (-3, -1, 0, 0, 1, 1, 2)] + [Fraction(1, 2)])


@st.composite
def matrices(draw):
    rows, columns = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    return tuple(tuple(draw(ENTRIES) for _ in range(columns)) for _ in range(rows))


@settings(deadline=None)
@given(matrices())
def test_any_matrix_exactly(matrix):
    found = program(matrix)
    assert matrix_of(found) == matrix
    dense = sum(max(1, sum(value != 0 for value in row)) for row in matrix)
    assert len(found.operations) <= dense + len(matrix[0])


@pytest.mark.parametrize(
    ("matrix", "operations"),
    [
        ([[0, 0]], 1),
        ([[0, 1], [0, 1]], 0),
        ([[-1, 0]], 1),
        ([[-1, -1]], 2),
        ([[-1, 1]], 1),
        ([[1, 1], [1, -1]], 2),
        ([[1, 1], [1, 1]], 1),
        ([[1, 2], [1, -2]], 2),
        ([[2, 2], [3, -3]], 4),
        ([[1, 2, 3], [1, -2, 3]], 3),
    ],
)
def test_small_matrices(matrix, operations):
    found = program(exactly(matrix))
    assert matrix_of(found) == exactly(matrix)
    assert len(found.operations) == operations


@pytest.mark.parametrize(
    ("outputs", "taps", "operations", "live"),
    [
        # of input, output and weight
        (2, 3, (4, 4, 3), (5, 5, 5)),
        (4, 3, (12, 12, 6), (7, 7, 7)),
        (6, 3, (24, 20, 10), (11, 9, 9)),
        (2, 5, (12, 8, 10), (7, 7, 7)),
        (4, 5, (24, 16, 16), (11, 9, 9)),
        (2, 7, (24, 12, 21), (11, 9, 10)),
    ],
)
def test_costs(outputs, taps, operations, live):
    """No more operations than were found, and no more registers: processors with 16 spill soon."""
    found = transforms(outputs, taps)
    programs = [program(found.input), program(found.output), program(found.weight)]
    for entry, most_operations, most_live in zip(programs, operations, live, strict=True):
        assert len(entry.operations) <= most_operations
        assert entry.live <= most_live

"""Which taps share a phase of a strided input, by hand."""

from __future__ import annotations

import pytest

from fastconv.cpu.geometry import geometry
from fastconv.cpu.phases import apart, phases_of_taps
from fastconv.problem import ConvProblem


def test_the_first_and_the_third_tap_share_a_phase_at_a_stride_of_2():
    of_taps = geometry(ConvProblem.parse("conv1d,n1,c1,9,k1,3,s2,float32"))
    phases, phase_of_tap, step_of_tap = phases_of_taps(of_taps, (False, False, False))
    assert phases[:, 2].tolist() == [0, 1]
    assert (phase_of_tap.tolist(), step_of_tap[:, 2].tolist()) == ([0, 1, 0], [0, 0, 1])


def test_each_tap_has_a_phase_where_they_lie_apart():
    of_taps = geometry(ConvProblem.parse("conv1d,n1,c1,9,k1,3,s2,float32"))
    phases, phase_of_tap, step_of_tap = phases_of_taps(of_taps, (False, False, True))
    assert phases[:, 2].tolist() == [0, 1, 2]
    assert (phase_of_tap.tolist(), step_of_tap[:, 2].tolist()) == ([0, 1, 2], [0, 0, 0])


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("n1,c64,35x35,k64,3x3,s2", True),  # rows of 17: vectors would cross their ends
        ("n1,c64,35x35,k8,3x3,s2", False),  # too few filters read a copy
        ("n1,c64,33x33,k64,3x3,s2", False),  # rows of 16: none crosses
        ("n1,c64,35x35,k64,5x5,s2", False),  # five copies instead of two
        ("n1,c64,35x35,k64,3x3", False),  # three instead of one
        ("n1,c64,14x14,k64,3x3,p1", True),  # of rows in a cache line
        ("n1,c64,14x14,k8,3x3,p1", False),
        ("n1,c64,14x14,k64,5x5,p2", False),
        ("n1,c64,8x8,k64,3x3,p1", False),  # rows of 8: none crosses
        ("n1,c64,35x35,k64,1x1,s2", False),
        ("n1,c64,9x9,k64,3x3,p16,d16", True),  # windows of taps that do not meet
    ],
)
def test_columns_apart(text, columns):
    found = geometry(ConvProblem.parse(f"conv2d,{text},float32"))
    assert apart(found, found.output, 8)[2] is columns


def test_a_box_that_cuts_rows_keeps_phases():
    found = geometry(ConvProblem.parse("conv2d,n1,c64,35x35,k64,3x3,s2,float32"))
    assert not apart(found, (1, 17, 9), 8)[2]

"""Workspaces: one a call, used again, and given back when asked."""

from __future__ import annotations

import numpy as np
import pytest

import fastconv
from fastconv.cpu import scratch


@pytest.fixture(autouse=True)
def alone(monkeypatch, allocated):
    """Nobody else's workspaces are idle."""
    monkeypatch.setattr(scratch, "_idle", [])


def test_the_next_call_takes_what_the_last_one_gave():
    first = scratch.take()
    second = scratch.take()
    assert first is not second
    scratch.give(second)
    assert scratch.take() is second


def test_scratch_is_aligned_zeroed_and_kept(allocated):
    workspace = scratch.take()
    start = workspace.scratch(1000, "float32")
    assert start % scratch.ALIGNMENT == 0
    assert workspace.scratch(1000, "float32") == workspace.scratch(10, "float32") == start
    assert allocated == [scratch.allocated(1000)]
    workspace.scratch(1001, "float32")
    assert allocated == [scratch.allocated(1000), scratch.allocated(1001)]


def test_each_purpose_has_a_block_of_its_own(allocated):
    workspace = scratch.take()
    starts = {workspace.scratch(100, purpose) for purpose in ("float32", "float64", "float32 weights")}
    assert len(starts) == len(allocated) == 3


def test_what_is_idle_is_freed_and_what_is_used_is_forgotten_later(allocated):
    used, idle = scratch.take(), scratch.take()
    blocks = []
    for workspace in (used, idle):
        workspace.scratch(100, "float32")
        blocks.append(workspace._blocks["float32"][-1])
    scratch.give(idle)
    fastconv.clear_cache()
    assert not idle._blocks
    assert used._blocks["float32"][-1] is blocks[0]  # somebody may be reading it
    used.scratch(100, "float32")
    assert used._blocks["float32"][-1] is not blocks[0]
    assert len(allocated) == 3


def test_calls_within_each_other_and_side_by_side_are_as_many_workspaces(monkeypatch):
    x, weight = np.ones((1, 2, 9, 9), np.float32), np.ones((3, 2, 3, 3), np.float32)
    for _ in range(3):
        fastconv.conv2d(x, weight, algorithm="direct")
    assert len(scratch._idle) == 1
    taken = scratch.take()
    fastconv.conv2d(x, weight, algorithm="direct")
    scratch.give(taken)
    assert len(scratch._idle) == 2

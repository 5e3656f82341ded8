"""What the environment says where nobody sets anything; variables are read in fresh processes, in `test_config`."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from fastconv import environment


@pytest.mark.parametrize("limit", ["max 100000", "150000 100000", "50000 100000", "nonsense"])
def test_the_quota_of_the_control_group(monkeypatch, limit):
    monkeypatch.setattr(Path, "read_text", lambda self, encoding: limit)
    quota = {"150000 100000": 1.5, "50000 100000": 0.5}.get(limit)
    assert environment._control_group_quota() == quota


@pytest.mark.parametrize(("quota", "threads"), [(None, 8), (0.5, 1), (1.5, 2), (4.0, 4), (64.0, 8)])
def test_a_quota_bounds_the_threads(monkeypatch, quota, threads):
    monkeypatch.delenv("FASTCONV_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    monkeypatch.setattr(environment, "_control_group_quota", lambda: quota)
    assert environment.threads.__wrapped__() == threads

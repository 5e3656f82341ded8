"""What holds for tests and doctests alike."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

#: Doctests are looked for in all modules, but these cannot be imported without the compiler for devices.
collect_ignore_glob = [] if find_spec("numba_cuda") else ["fastconv/cuda/*", "fastconv/bench/device/*"]


@pytest.fixture(autouse=True, scope="session")
def _no_answers():
    """Let `"auto"` predict, whatever was measured on this machine, and let nothing be added to that."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fastconv.config.answers_directory", lambda: None)
        patch.delenv("FASTCONV_ANSWERS", raising=False)
        yield

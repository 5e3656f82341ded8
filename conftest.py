"""What holds for tests and doctests alike."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True, scope="session")
def _no_answers():
    """Let `"auto"` predict, whatever was measured on this machine, and let nothing be added to that."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fastconv.config.answers_directory", lambda: None)
        patch.delenv("FASTCONV_ANSWERS", raising=False)
        yield

"""The command line as a whole: its commands, what it needs, and what it must not import."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("click")
pytest.importorskip("rich")

from click.testing import CliRunner

from fastconv.cli import main


def test_every_command_is_in_the_help() -> None:
    result = CliRunner().invoke(main, ["--help"])
    assert result.exit_code == 0
    for name in ("bench", "report", "cold-start", "explain", "tune", "answers", "info"):
        assert f"\n  {name} " in result.stdout
        assert CliRunner().invoke(main, [name, "--help"]).exit_code == 0


@pytest.mark.parametrize("missing", ["click", "rich"])
def test_without_the_extra_it_says_so_in_one_sentence(missing: str) -> None:
    code = f"import sys; sys.modules[{missing!r}] = None; import fastconv.cli"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "pip install 'fastconv[cli]'" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""


def test_importing_it_imports_neither_numba_nor_a_peer() -> None:
    code = (
        "import sys, fastconv.cli; "
        "sys.exit(len({'numba', 'torch', 'onnxruntime', 'cv2', 'scipy', 'matplotlib'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

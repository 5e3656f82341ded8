"""The command line: ``fastconv bench``, ``report``, ``regret``, ``cold-start``, ``explain``, ``tune`` and others."""

from __future__ import annotations

import sys

try:
    import click
    import rich  # noqa: F401  (the commands need it)

    from fastconv.cli.answers import answers
    from fastconv.cli.bench import bench
    from fastconv.cli.cold_start import cold_start
    from fastconv.cli.explain import explain
    from fastconv.cli.info import info
    from fastconv.cli.regret import regret
    from fastconv.cli.report import report_command
    from fastconv.cli.tune import tune
except ImportError as error:
    if error.name is None or error.name.startswith("fastconv"):
        raise
    sys.stderr.write(f"The command line needs {error.name}: pip install 'fastconv[cli]'\n")
    raise SystemExit(2) from None

__all__ = ["main"]


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="fastconv")
def main() -> None:
    """Fast convolution and pooling for NumPy arrays."""


for command in (bench, report_command, regret, cold_start, explain, tune, answers, info):
    main.add_command(command)

"""``python -m fastconv.bench.device``: what ``fastconv bench --device cuda`` does, with fewer packages."""

from __future__ import annotations

import sys

from fastconv.bench.device.command import main

if __name__ == "__main__":  # processes that compile import this module under another name
    sys.exit(main())

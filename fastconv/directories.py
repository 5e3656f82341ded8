"""Where compiled kernels and measured answers are kept."""

from __future__ import annotations

import hashlib
import logging
import os
from functools import cache
from pathlib import Path

logger = logging.getLogger("fastconv")


def cache_directory() -> Path | None:
    """Return the directory that compiled kernels are kept in, or None where there can be none.

    ``FASTCONV_CACHE_DIR`` or the user's cache directory; below it, one folder for each state of the package's own
    source, so that no process ever runs code compiled from another version. One that can be read but not written
    serves what it holds.
    """
    return _usable_cache_directory(os.environ.get("FASTCONV_CACHE_DIR", ""))


@cache
def _usable_cache_directory(asked: str) -> Path | None:
    base = Path(asked) if asked else _users_directory("user_cache_path", "compiled kernels are kept in memory only")
    if base is None:
        return None
    directory = base / f"kernels-{source_digest()}"
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        logger.info("cannot make %s (%s): compiled kernels stay in memory", directory, error)
        return None
    return directory


def answers_directory() -> Path | None:
    """Return the directory that measured answers are kept in, which need not exist; None where there can be none.

    ``FASTCONV_CACHE_DIR`` or the user's directory for data, not for caches: answers take minutes to measure again.
    """
    asked = os.environ.get("FASTCONV_CACHE_DIR", "")
    return Path(asked) if asked else _users_directory("user_data_path", "measured answers are kept in memory only")


@cache
def _users_directory(kind: str, without: str) -> Path | None:
    """Return one of the directories that platformdirs knows; `without` says what it means that there is none."""
    try:
        import platformdirs

        path: Path = getattr(platformdirs, kind)("fastconv", appauthor=False)
    except ImportError:  # a checkout is used where it was not installed
        logger.info("platformdirs is not installed: %s", without)
        return None
    except (OSError, RuntimeError, KeyError):  # no home directory at all
        logger.info("no home directory: %s", without)
        return None
    return path


@cache
def source_digest(*folders: str) -> str:
    """A digest of the files whose code ends up in compiled kernels: of the processor's, unless folders are named."""
    digest = hashlib.sha256()
    package = Path(__file__).parent
    for folder in folders or ("codegen", "cpu"):
        for path in sorted((package / folder).glob("*.py")):
            digest.update(path.name.encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]

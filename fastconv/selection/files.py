"""Files of what was measured: JSON of one machine and one state of this package's kernels, replaced all at once."""

from __future__ import annotations

import errno
import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from stat import S_ISREG

from fastconv import config

MOST_BYTES = 64 * 2**20  # of a file that is read: an answer takes some hundred
LOCK_SECONDS = 30  # to wait for other processes, each of which holds the lock for milliseconds
LOCK_STEP = 5e-3  # seconds between two tries


@dataclass(frozen=True)
class AnyOrigin(ABC):
    """What times depend on besides the problem: the package, and what it runs on."""

    version: str
    kernels: str  # digest of their source

    @property
    @abstractmethod
    def hardware(self) -> str:
        """A short name of what it runs on."""

    def file_name(self, kind: str) -> str:
        """Return a name that no other origin's file has."""
        digest = hashlib.sha256(repr(self).encode()).hexdigest()[:16]
        return f"{kind}-{self.version}-{_without_spaces(self.hardware)}-{digest}.json"


def _without_spaces(name: str) -> str:
    return "".join(character if character.isalnum() or character in "-_." else "-" for character in name)


@dataclass(frozen=True)
class Origin(AnyOrigin):
    """The processor."""

    cpu: str
    features: str
    vector_bits: int

    @property
    def hardware(self) -> str:
        """Its name."""
        return self.cpu


def origin() -> Origin:
    """Return the origin of what is measured now."""
    from fastconv import __version__
    from fastconv.codegen import target

    now = target.current()
    return Origin(__version__, config.source_digest(), now.cpu, now.features, now.vector_bits)


def content(path: Path, kind: str) -> Mapping[str, object]:
    """Return what a file holds, whoever wrote it: OSError if it cannot be read, ValueError if it has none of a kind."""
    status = path.stat()
    if not S_ISREG(status.st_mode) or status.st_size > MOST_BYTES:  # a pipe would be waited for
        raise OSError(errno.EINVAL, f"no file of at most {MOST_BYTES} bytes", str(path))
    import json  # only where there is something to read

    try:
        found = json.loads(path.read_bytes())
    except RecursionError as error:  # brackets in brackets without end
        raise ValueError(str(error)) from None
    if not isinstance(found, dict) or not isinstance(found.get(kind), dict):
        raise ValueError(f"it has no {kind}")
    return found


def difference(found: Mapping[str, object], version: int, here: AnyOrigin) -> str:
    """Say in what way a file is of another format, version or machine; nothing if it is not."""
    if found.get("format") != version:
        return f"format is {found.get('format')!r}, and {version} here"
    told, expected = found.get("origin"), asdict(here)
    if not isinstance(told, dict):
        return "it does not say where it is from"
    names = [*expected, *(told.keys() - expected)]
    differing = [name for name in names if name not in told or told[name] != expected.get(name)]
    return "; ".join(f"{name} is {told.get(name)!r}, and {expected.get(name)!r} here" for name in differing)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Make a file's directory, and hold its lock; OSError if that is not possible.

    Processes do it in turns, under a lock that the system releases when its holder dies; who dies leaves the old file
    or the new one.
    """
    # Not by hand: systems differ in their locks, and file systems in whether there are any.
    from filelock import FileLock

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{path}.lock", timeout=LOCK_SECONDS, poll_interval=LOCK_STEP):  # in vain: a TimeoutError
            yield
    except NotImplementedError as error:
        raise OSError(errno.ENOLCK, str(error), str(path)) from error


def replace(path: Path, version: int, here: AnyOrigin, **of_kind: Mapping[str, object]) -> None:
    """Replace a file that nobody else writes: one name for what is not finished is enough."""
    import json

    unfinished = path.with_name(f"{path.name}.unfinished")
    with unfinished.open("w", encoding="utf-8") as file:
        json.dump({"format": version, "origin": asdict(here), **of_kind}, file, indent=1, allow_nan=False)
        file.flush()
        os.fsync(file.fileno())
    os.replace(unfinished, path)

"""The constants of the cost model that are in force: shipped, or measured on this machine and kept in a file.

The file is beside those of answers, and read and replaced as they are: see `fastconv.selection.answers`. It is JSON,
with the constants of one machine and one state of this package's kernels, which are what is measured.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

from fastconv import config
from fastconv.algorithm import Machine
from fastconv.config import Settings, logger
from fastconv.selection import files
from fastconv.selection.files import Origin

FORMAT = 1  # of the file
KIND = "machine"
MOST_TIMES = 100.0  # a shipped constant, or this part of it: what is beyond was not measured


@dataclass(frozen=True)
class Calibration:
    """Constants of the cost model, and where they are from.

    Parameters
    ----------
    machine : Machine
        The constants, as attributes: rates a second, and seconds.
    source : str
        ``"shipped"``: the defaults; ``"user"``: the file that :func:`fastconv.calibrate` writes; ``"provided"``: the
        one in the directory ``FASTCONV_ANSWERS``; ``"process"``: this process alone, since none could be written.
    """

    machine: Machine
    source: str


SHIPPED = Calibration(Machine(), "shipped")

_unstored: dict[Origin, Machine] = {}


def of(now: Settings) -> Calibration:
    """Return the constants of predictions with these settings."""
    if now.deterministic:
        return SHIPPED
    return _measured(files.origin(), config.answers_directory(), os.environ.get("FASTCONV_ANSWERS", ""))


@lru_cache(maxsize=8)
def _measured(here: Origin, users: Path | None, provided: str) -> Calibration:
    """Return what was measured for this machine: by this process, the user or the machine's keeper, or else shipped."""
    name = here.file_name(KIND)
    places = {
        "process": _unstored.get(here),
        "user": None if users is None else _read(users / name, here),
        "provided": _read(Path(provided) / name, here) if provided and Path(provided).is_dir() else None,
    }
    found = (Calibration(machine, source) for source, machine in places.items() if machine is not None)
    return next(found, SHIPPED)


def remember(machine: Machine) -> None:
    """Store constants in the user's file; where that cannot be written, keep them for this process."""
    here, path = files.origin(), users_file()
    _unstored[here] = machine
    if path is not None:
        try:
            with files.locked(path):
                files.replace(path, FORMAT, here, **{KIND: asdict(machine)})
            del _unstored[here]
        except OSError as error:
            logger.info("cannot store constants in %s: %s", path, error)
    forget()


def remove() -> bool:
    """Remove what `remember` stored; return whether there was anything. OSError if the file cannot be removed."""
    path, found = users_file(), _unstored.pop(files.origin(), None) is not None
    if path is not None and path.exists():
        path.unlink()
        found = True
    forget()
    return found


def forget() -> None:
    """Forget what was read from files; what could not be stored stays."""
    _measured.cache_clear()


def users_file() -> Path | None:
    """Return the file that constants are stored in, None where there is no place for one."""
    directory = config.answers_directory()
    return None if directory is None else directory / files.origin().file_name(KIND)


def _read(path: Path, here: Origin) -> Machine | None:
    """Return what a file holds of this origin; None if there is none, or it is another's, or damaged."""
    try:
        found = files.content(path, KIND)
        difference = files.difference(found, FORMAT, here)
        if not difference:
            return checked(found[KIND])
        logger.info("constants of %s are ignored, another version or machine wrote them: %s", path, difference)
    except FileNotFoundError:
        pass
    except OSError as error:
        logger.info("cannot read constants of %s: %s", path, error)
    except ValueError as error:
        logger.warning("constants of %s are ignored, the file is damaged: %s", path, error)
    return None


def checked(values: object) -> Machine:
    """Return constants that somebody else wrote; ValueError unless all are there, and each may have been measured."""
    shipped: Mapping[str, float] = asdict(SHIPPED.machine)
    if not isinstance(values, dict) or values.keys() != shipped.keys():
        raise ValueError(f"it must have {', '.join(shipped)}, and nothing else")
    for name, value in values.items():
        least, most = shipped[name] / MOST_TIMES, shipped[name] * MOST_TIMES
        if type(value) not in (int, float) or not least <= value <= most:
            raise ValueError(f"{name} must be a number from {least:.3g} to {most:.3g}")
    return Machine(**{name: float(value) for name, value in values.items()})

"""What was measured, and is remembered: times of algorithms for a problem, in memory and in files.

A file is JSON, and holds the answers of one machine and one state of this package's kernels; others are ignored. There
is the user's, which `fastconv.tune` writes, and below it may be one that the machine's keeper provides
(``FASTCONV_ANSWERS``), which is only read.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

from fastconv import config
from fastconv.config import logger
from fastconv.problem import Problem, parse
from fastconv.selection import files
from fastconv.selection.files import AnyOrigin, origin
from fastconv.selection.files import Origin as Origin

#: In rising order. An answer serves whoever asks for no more than it was measured with.
RIGOURS = ("measure", "patient")

FORMAT = 1  # of the files
MOST_SECONDS = 1e6  # that a time may be


@dataclass(frozen=True)
class Answer:
    """One whole sweep over algorithms.

    Parameters
    ----------
    seconds : mapping of str to float or None
        What a call takes with each algorithm; None where it was left out, since its prediction is hopeless.
    rigour : str
        One of `RIGOURS`.
    """

    seconds: Mapping[str, float | None]
    rigour: str

    def serves(self, names: Collection[str], rigour: str) -> bool:
        """Whether it says which of these algorithms is fastest, with no less rigour."""
        enough = RIGOURS.index(self.rigour) >= RIGOURS.index(rigour)
        return enough and all(name in self.seconds for name in names) and bool(self._measured(names))

    def fastest(self, names: Collection[str]) -> str:
        """Return the fastest of these algorithms."""
        measured = self._measured(names)
        return min(measured, key=measured.__getitem__)

    def _measured(self, names: Collection[str]) -> dict[str, float]:
        seconds = {name: self.seconds.get(name) for name in names}
        return {name: taken for name, taken in seconds.items() if taken is not None}


#: Answers by problem and number of threads; several where none of them serves all that another does.
Entries = dict[str, tuple[Answer, ...]]


def find(
    problem: Problem,
    threads: int,
    names: Collection[str],
    rigour: str = RIGOURS[0],
    here: AnyOrigin | None = None,
) -> Answer | None:
    """Return what was measured of these algorithms, with that rigour or a better one; None if nothing was.

    `here` is where it was measured; None for the processor.
    """
    key = _key(problem, threads)
    for entries in sources(here or origin()).values():
        serving = [answer for answer in entries.get(key, ()) if answer.serves(names, rigour)]
        if serving:
            return max(reversed(serving), key=lambda answer: RIGOURS.index(answer.rigour))  # the last of equals
    return None


def sources(here: AnyOrigin) -> dict[str, Entries]:
    """Return what is remembered by where it is from, in the order in which it counts.

    This process's own answers that could not be stored come first, then those of the user's file, then the provided.
    """
    return {
        "process": _unstored.get(here, {}),
        "user": _entries(users_file(here), here),
        "provided": _entries(provided_file(here), here),
    }


def remember(problem: Problem, threads: int, answer: Answer, here: AnyOrigin | None = None) -> None:
    """Store an answer in the user's file; where that cannot be written, keep it for this process."""
    added: Entries = {_key(problem, threads): (answer,)}
    here = here or origin()
    path = users_file(here)
    if path is None or not merge(path, here, added):
        update_unstored(here, lambda entries: merged(entries, added))
    _entries.cache_clear()


def forget() -> None:
    """Forget what was read from files; what could not be stored stays."""
    _entries.cache_clear()


def users_file(here: AnyOrigin | None = None) -> Path | None:
    """Return the file that answers are stored in, None where there is no place for one."""
    directory = config.answers_directory()
    return None if directory is None else directory / (here or origin()).file_name("answers")


def provided_file(here: AnyOrigin | None = None) -> Path | None:
    """Return the file that is read below the user's: ``FASTCONV_ANSWERS``, or this machine's file in that directory."""
    asked = os.environ.get("FASTCONV_ANSWERS", "")
    if not asked:
        return None
    return machines_file(Path(asked), here)


def machines_file(path: Path, here: AnyOrigin | None = None) -> Path:
    """Return this machine's file in a directory; what is no directory is a file itself."""
    return path / (here or origin()).file_name("answers") if path.is_dir() else path


_lock = threading.Lock()
_unstored: dict[AnyOrigin, Entries] = {}
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)


def update_unstored(here: AnyOrigin, change: Callable[[Entries], Entries]) -> None:
    """Replace what this process could not store by what `change` makes of it."""
    with _lock:
        _unstored[here] = change(_unstored.get(here, {}))


def _key(problem: Problem, threads: int) -> str:
    return f"{problem} threads={threads}"


def is_for(key: str, problem: Problem) -> bool:
    """Whether an entry is for a problem, with any number of threads."""
    return key.partition(" threads=")[0] == str(problem)


def asked(key: str) -> tuple[Problem, int]:
    """Return the problem and the number of threads that an entry is for; ValueError if nobody would ask for it so."""
    text, _, threads = key.partition(" threads=")
    try:
        problem, number = parse(text), int(threads)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{key!r} is no problem with a number of threads: {error}") from None
    if number < 1 or _key(problem, number) != key:
        raise ValueError(f"{key!r} is not how {_key(problem, number)!r} is written")
    return problem, number


def merged(old: Entries, new: Entries) -> Entries:
    """Both; of one problem, a new answer replaces those that serve nothing that it does not."""
    both = dict(old)
    for key, answers in new.items():
        for answer in answers:
            kept = [before for before in both.get(key, ()) if not answer.serves(before.seconds, before.rigour)]
            both[key] = (*kept, answer)
    return both


# --- files ----------------------------------------------------------------------------------------


@lru_cache(maxsize=8)
def _entries(path: Path | None, here: AnyOrigin) -> Entries:
    return {} if path is None else read(path, here)


def read(path: Path, here: AnyOrigin) -> Entries:
    """Return what a file holds of this origin; nothing if there is none, or it is another's, or damaged."""
    try:
        return _loaded(path, here)
    except OSError as error:
        logger.info("cannot read measured answers of %s: %s", path, error)
        return {}


def _loaded(path: Path, here: AnyOrigin) -> Entries:
    """As `read`, but what there is and cannot be read raises OSError."""
    try:
        content = files.content(path, "answers")
    except FileNotFoundError:
        return {}
    except ValueError as error:
        logger.warning("measured answers of %s are ignored, the file is damaged: %s", path, error)
        return {}
    difference = files.difference(content, FORMAT, here)
    if difference:
        logger.info("measured answers of %s are ignored, another version or machine wrote them: %s", path, difference)
        return {}
    entries, damaged = _checked(content)
    if damaged:
        logger.warning("some measured answers of %s are ignored, they are damaged", path)
    return entries


def load(path: Path, here: AnyOrigin) -> Entries:
    """As `read`, for a file that is asked for by name.

    Raises
    ------
    OSError
        If there is none, or it cannot be read.
    ValueError
        If it is another machine's or version's, or anything in it is damaged.
    """
    try:
        content = files.content(path, "answers")
    except ValueError as error:
        raise ValueError(f"path must be a file of measured answers, got {str(path)!r}: {error}") from None
    difference = files.difference(content, FORMAT, here)
    if difference:
        raise ValueError(f"path must hold answers of this machine and version, got {str(path)!r}: {difference}")
    entries, damaged = _checked(content)
    if damaged:
        raise ValueError(f"path must be a file without damage, got {str(path)!r}: {damaged[0]!r} has no such answers")
    for key in entries:
        try:
            asked(key)
        except ValueError as error:
            raise ValueError(f"path must hold answers for problems, got {str(path)!r}: {error}") from None
    return entries


def _checked(content: Mapping[str, object]) -> tuple[Entries, list[str]]:
    """Return the answers that are what they should be, and the keys of others."""
    given = content["answers"]
    assert isinstance(given, dict)  # `_content` looked
    entries = {key: tuple(_valid(answers)) for key, answers in given.items()}
    damaged = [key for key, answers in given.items() if not entries[key] or len(entries[key]) < len(answers)]
    return {key: answers for key, answers in entries.items() if answers}, damaged


def _valid(answers: object) -> Iterator[Answer]:
    """Yield the answers that are what they should be."""
    for answer in answers if isinstance(answers, list) else ():
        if not isinstance(answer, dict) or answer.get("rigour") not in RIGOURS:
            continue
        seconds = answer.get("seconds")
        if isinstance(seconds, dict) and seconds and all(map(_is_time, seconds.values())):
            yield Answer(seconds, answer["rigour"])


def _is_time(value: object) -> bool:
    return value is None or (type(value) in (int, float) and 0 < value < MOST_SECONDS)  # type: ignore[operator]


def merge(path: Path, here: AnyOrigin, added: Entries) -> bool:
    """Add to what a file holds; return whether that was possible."""
    try:
        update(path, here, lambda entries: merged(entries, added))
    except OSError as error:
        logger.info("cannot store measured answers in %s: %s", path, error)
        return False
    return True


def update(path: Path, here: AnyOrigin, change: Callable[[Entries], Entries]) -> None:
    """Replace what a file holds by what `change` makes of it, all at once; OSError if that is not possible."""
    with files.locked(path):
        write(path, here, change(_loaded(path, here)))


def write(path: Path, here: AnyOrigin, entries: Entries) -> None:
    """Replace a file that nobody else writes."""
    answers = {key: [asdict(answer) for answer in found] for key, found in sorted(entries.items())}
    files.replace(path, FORMAT, here, answers=answers)

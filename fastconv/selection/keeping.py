"""What a user does with measured answers besides measuring: look at them, carry them to other machines, forget them.

Files are asked for by name here: where one is not what it should be, that raises, and is not just logged.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from fastconv.call import clear_calls
from fastconv.problem import ConvProblem, PoolProblem, Problem, parse
from fastconv.selection import answers
from fastconv.selection.answers import Entries
from fastconv.selection.files import AnyOrigin
from fastconv.selection.place import place_of


@dataclass(frozen=True)
class Remembered:
    """A measured answer, and what it is for.

    Parameters
    ----------
    problem : ConvProblem or PoolProblem
        What was computed,
    threads : int
        and by how many threads at most.
    seconds : mapping of str to float or None
        What a call took with each algorithm; None where it was left out, since its prediction is hopeless.
    rigour : str
        ``"measure"`` or ``"patient"``.
    source : str
        ``"user"``: the file that :func:`fastconv.tune` writes; ``"provided"``: that of ``FASTCONV_ANSWERS``;
        ``"process"``: this process alone, since the user's file could not be written.
    """

    problem: Problem
    threads: int
    seconds: Mapping[str, float | None]
    rigour: str
    source: str


def remembered(*, device: int | None = None) -> tuple[Remembered, ...]:
    """Return all measured answers that serve this machine and this version of the package.

    Of several for one problem, those of this process come before those of the user's file, and the provided are last:
    that is the order in which ``"auto"`` looks.

    Parameters
    ----------
    device : int, optional
        The number of a CUDA device, whose answers are meant; without it, those of the processor.

    Raises
    ------
    UnavailableError
        If there is no such device.

    Examples
    --------
    >>> import fastconv
    >>> for entry in fastconv.remembered():
    ...     assert entry.threads > 0, entry.problem
    """
    return tuple(
        Remembered(*asked, answer.seconds, answer.rigour, source)
        for source, entries in _current(place_of(device).origin()).items()
        for key, found in entries.items()
        if (asked := _asked(key)) is not None
        for answer in found
    )


def export_answers(path: str | os.PathLike[str], *, device: int | None = None) -> int:
    """Write all measured answers to one file, for other machines of this kind.

    Those of the user's file, the provided one, and this process are put together. The file can be imported, or be
    provided by ``FASTCONV_ANSWERS``.

    Parameters
    ----------
    path : str or path
        The file, which is replaced at once if it exists; or a directory, in which it gets the name that
        ``FASTCONV_ANSWERS`` looks for where that is a directory.
    device : int, optional
        The number of a CUDA device, whose answers are meant; without it, those of the processor.

    Returns
    -------
    int
        The number of answers in it.

    Raises
    ------
    TypeError
        If `path` is no path.
    OSError
        If it cannot be written.

    Examples
    --------
    >>> import fastconv, tempfile
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     fastconv.export_answers(directory) == len(fastconv.remembered())
    True
    """
    here = place_of(device).origin()
    target = answers.machines_file(_as_path(path), here).resolve()  # a link stays one
    if target.exists() and not target.is_file():  # a device would be replaced, too
        raise OSError(errno.EINVAL, "no file", str(target))
    together: Entries = {}
    for entries in reversed(_current(here).values()):
        together = answers.merged(together, {key: found for key, found in entries.items() if _asked(key) is not None})
    try:
        with TemporaryDirectory(dir=target.parent, prefix=".fastconv-") as directory:
            whole = Path(directory) / target.name
            answers.write(whole, here, together)
            os.replace(whole, target)
    except OSError as error:  # of a file that nobody has heard of
        raise OSError(error.errno, error.strerror, str(target)) from error
    return _count(together)


def import_answers(path: str | os.PathLike[str], *, device: int | None = None) -> int:
    """Add the measured answers of a file to the user's, for this process and later ones.

    One replaces what was measured with no more rigour, and of no more algorithms. Either all of them are added or none.

    Parameters
    ----------
    path : str or path
        What :func:`export_answers` wrote: a file, or a directory that has one for this machine.
    device : int, optional
        The number of a CUDA device, whose answers are meant; without it, those of the processor.

    Returns
    -------
    int
        The number of answers in it.

    Raises
    ------
    TypeError
        If `path` is no path.
    OSError
        If there is no such file, or it cannot be read, or the user's file cannot be written.
    ValueError
        If another kind of machine or another version of the package wrote it, or it is damaged.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.import_answers("nowhere.json")
    Traceback (most recent call last):
        ...
    FileNotFoundError: [Errno 2] No such file or directory: 'nowhere.json'
    """
    here = place_of(device).origin()
    users = answers.users_file(here)
    added = answers.load(answers.machines_file(_as_path(path), here), here)
    if users is None:
        raise OSError("there is no directory to store measured answers in: FASTCONV_CACHE_DIR may name one")
    answers.update(users, here, lambda entries: answers.merged(entries, added))
    answers.update_unstored(  # which would come before what was imported
        here, lambda entries: answers.merged(entries, {key: added[key] for key in entries.keys() & added.keys()})
    )
    clear_calls()  # which hold what was chosen before
    return _count(added)


def forget_answers(problem: Problem | str | None = None, *, device: int | None = None) -> int:
    """Forget measured answers: ``"auto"`` predicts again, and :func:`fastconv.tune` measures again.

    Those of the provided file (``FASTCONV_ANSWERS``) stay; it is only read.

    Parameters
    ----------
    problem : ConvProblem, PoolProblem or str, optional
        Whose answers to forget, with any number of threads; a text is its string form. Without it, all.
    device : int, optional
        The number of a CUDA device, whose answers are meant; without it, those of the processor.

    Returns
    -------
    int
        The number of answers that were forgotten.

    Raises
    ------
    TypeError
        If `problem` is none.
    ValueError
        If it is a text, but no problem's string form.
    OSError
        If the user's file cannot be written.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.forget_answers("conv2d,n1,c4,9x9,k4,3x3,float32")  # of which nothing is known
    0
    """
    wanted = None if problem is None else _as_problem(problem)
    here = place_of(device).origin()
    users = answers.users_file(here)
    forgotten = 0

    def kept(entries: Entries) -> Entries:
        nonlocal forgotten
        rest = {key: found for key, found in entries.items() if not (wanted is None or answers.is_for(key, wanted))}
        forgotten += _count(entries) - _count(rest)
        return rest

    if users is not None and users.exists():
        answers.update(users, here, kept)
    answers.update_unstored(here, kept)
    clear_calls()  # which hold what was chosen before
    return forgotten


def _current(here: AnyOrigin) -> dict[str, Entries]:
    """What is remembered, with what other processes stored meanwhile."""
    answers.forget()
    return answers.sources(here)


def _asked(key: str) -> tuple[Problem, int] | None:
    """What an entry is for; None if nobody can ask for it: files are read that others may have written."""
    try:
        return answers.asked(key)
    except ValueError:
        return None


def _count(entries: Entries) -> int:
    return sum(map(len, entries.values()))


def _as_path(path: object) -> Path:
    if not isinstance(path, str | os.PathLike):
        raise TypeError(f"path must be a str or a path, got {path!r} of type {type(path).__name__}")
    return Path(path)


def _as_problem(problem: object) -> Problem:
    if isinstance(problem, str):
        return parse(problem)
    if not isinstance(problem, ConvProblem | PoolProblem):
        raise TypeError(f"problem must be a problem or a str, got {problem!r} of type {type(problem).__name__}")
    return problem

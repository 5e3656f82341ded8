"""The string form of problems: comma-separated tokens, read and written by the same rules.

The first tokens come in a fixed order and are all there. The others may come in any order, each at
most once, and those that say what holds anyway are left out when a form is written; the data type
is always there, and last. Numbers of several axes are joined by ``x``, and one number stands for
all axes where it is the same on each. Padding that differs before and after is ``before:after``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from fastconv.arguments import Pairs

# The `re` module compiles patterns when the first text is read, not on import.
INTEGER = "[0-9]{1,19}"
INTEGERS = f"{INTEGER}(?:x{INTEGER})*"
_PAIR = f"{INTEGER}(?::{INTEGER})?"
PAIRS = f"{_PAIR}(?:x{_PAIR})*"


def read_tokens(text: object, head: Mapping[str, str], tail: Mapping[str, str]) -> dict[str, str]:
    """Return what each token of a string form says, without its letter, by name.

    Parameters
    ----------
    text : str
        The string form.
    head, tail : mapping of str to str
        Patterns by the names that messages use, with one group around what is returned: those of
        the first tokens in their order, and those of the others, among them the `dtype`.

    Raises
    ------
    TypeError
        If `text` is no string.
    ValueError
        If a token is unknown, repeated or missing; the message names it.

    Examples
    --------
    >>> read_tokens("n8,s2,int8", {"batch": "n(.*)"}, {"stride": "s(.*)", "dtype": "(int.*)"})
    {'batch': '8', 'stride': '2', 'dtype': 'int8'}
    """
    if not isinstance(text, str):
        raise TypeError(f"text must be a str, got {text!r}")
    tokens = text.split(",")
    found: dict[str, str] = {}
    for (name, pattern), token in zip(head.items(), tokens, strict=False):
        match = re.fullmatch(pattern, token)
        if match is None:
            raise ValueError(f"text must give the {name} where it has {token!r}, got {text!r}")
        found[name] = match[1]
    for token in tokens[len(head) :]:
        matches = {name: match for name, p in tail.items() if (match := re.fullmatch(p, token))}
        if not matches:
            raise ValueError(f"text must hold known tokens, got {token!r} in {text!r}")
        for name, match in matches.items():
            if name in found:
                raise ValueError(f"text must give the {name} once, got {token!r} too in {text!r}")
            found[name] = match[1]
    for name in (*head, "dtype"):
        if name not in found:
            raise ValueError(f"text must give the {name}, got {text!r}")
    return found


def read_integers(body: str, rank: int, *, broadcast: bool = False) -> tuple[int, ...]:
    """Return the ints of a token such as ``3x3``; one stands for all axes if it may."""
    return tuple([int(entry) for entry in _entries(body, rank, broadcast)])


def read_pairs(body: str, rank: int) -> Pairs:
    """Return the pairs of a padding token such as ``1``, ``0:1`` or ``0:1x2``."""
    ends = [entry.split(":") for entry in _entries(body, rank, broadcast=True)]
    return tuple([(int(end[0]), int(end[-1])) for end in ends])


def _entries(body: str, rank: int, broadcast: bool) -> list[str]:
    entries = body.split("x")
    if len(entries) == 1 and broadcast:
        return entries * rank
    if len(entries) != rank:
        raise ValueError(f"text must give {rank} numbers, one an axis, got {body!r}")
    return entries


def join_tokens(*tokens: str) -> str:
    """Return the string form of tokens; an empty one is a token left out."""
    return ",".join(filter(None, tokens))


def integers(values: Sequence[int]) -> str:
    """Return the token that :func:`read_integers` reads, such as ``3x3``."""
    return "x".join(map(str, values))


def each_axis(letter: str, values: Sequence[int | tuple[int, int]], default: int) -> str:
    """Return a token such as ``s2``, ``s2x1`` or ``p0:1``; none where all axes have the default.

    Examples
    --------
    >>> each_axis("p", ((1, 1), (0, 2)), 0)
    'p1x0:2'
    """
    entries = [_entry(value) for value in values]
    body = entries[0] if len(set(entries)) == 1 else "x".join(entries)
    return "" if body == str(default) else letter + body


def _entry(value: int | tuple[int, int]) -> str:
    before, after = value if isinstance(value, tuple) else (value, value)
    return str(before) if before == after else f"{before}:{after}"


def unless(default: str, value: str) -> str:
    """Return `value` as a token, and none if it is the default."""
    return "" if value == default else value

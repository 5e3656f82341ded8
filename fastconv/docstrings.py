"""Docstrings of functions that have text in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

F = TypeVar("F", bound=Callable[..., object])


def documented(**common: str) -> Callable[[F], F]:
    """Return a decorator that puts each text where a docstring has its mark, as ``%(name)s``."""

    def put(function: F) -> F:
        text = function.__doc__ or ""
        for mark, shared in common.items():
            text = text.replace(f"%({mark})s", shared.strip())
        function.__doc__ = text
        return function

    return put

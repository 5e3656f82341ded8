"""What `fastconv.options` say, in scopes within each other, and what is kept of the settings outside of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, NamedTuple

from fastconv.allowed import Algorithms

if TYPE_CHECKING:
    from fastconv.config import Settings


class Scope(NamedTuple):
    """What `options` say, those around them included; None where they say nothing."""

    threads: int | None
    tolerance: float | None
    algorithms: Algorithms | None
    workspace_limit: int | None
    mode: str | None
    deterministic: bool | None
    precision: str | None


#: A context variable: threads that are started within a scope do not see it, tasks of asyncio do.
_scope: ContextVar[Scope | None] = ContextVar("fastconv options", default=None)
#: What is in force outside of all scopes, once somebody asked. Each change begins a new list, after the change is made:
#: whoever was just reading adds what is outdated to a list that nobody looks at.
_outermost: list[Settings] = []


def current() -> Scope | None:
    """Return what the scopes around this say; None outside of all."""
    return _scope.get()


def outermost() -> list[Settings]:
    """Return where the settings outside of all scopes are kept: one, or none yet."""
    return _outermost


def changed() -> None:
    """Forget them: one of them was just changed."""
    global _outermost
    _outermost = []


@contextmanager
def scoped(scope: Scope) -> Iterator[None]:
    """Put a scope into those around it."""
    around = _scope.get()
    if around is not None:
        scope = around._replace(**{name: own for name, own in scope._asdict().items() if own is not None})
    token = _scope.set(scope)
    try:
        yield
    finally:
        _scope.reset(token)

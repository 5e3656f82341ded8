"""Which algorithms ``"auto"`` may choose."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Algorithms(NamedTuple):
    """Which algorithms ``"auto"`` may choose: of those allowed (None: all) whatever is not denied."""

    allow: frozenset[str] | None = None
    deny: frozenset[str] = frozenset()

    def refusal(self, name: str) -> str | None:
        """Return None if an algorithm may be chosen, else the reason why not."""
        if name in self.deny:
            return f"{name} is denied"
        if self.allow is not None and name not in self.allow:
            return f"only {', '.join(sorted(self.allow))} may be chosen"
        return None


def checked(allow: Iterable[str] | None, deny: Iterable[str] | None) -> Algorithms:
    """Return names to allow and to deny as `Algorithms`, or refuse them."""
    allowed = None if allow is None else names(allow, "allow")
    denied = names(() if deny is None else deny, "deny")
    both = sorted(denied & (allowed or frozenset()))
    if both:
        raise ValueError(f"allow and deny must not name the same algorithm, got {both[0]!r} in both")
    if allowed is not None and not allowed:
        raise ValueError("allow must name at least one algorithm, got none")
    return Algorithms(allowed, denied)


def names(value: object, name: str) -> frozenset[str]:
    """Return names of algorithms, checked; one string is one name."""
    from fastconv import selection  # LLVM comes with it

    if not isinstance(value, Iterable):
        raise TypeError(f"{name} must be names of algorithms, got {value!r} of type {type(value).__name__}")
    given = (value,) if isinstance(value, str) else tuple(value)
    known = (*selection.algorithms(), *selection.ON_DEVICES)
    for each in given:
        if not isinstance(each, str):
            raise TypeError(f"{name} must be names of algorithms, got {each!r} of type {type(each).__name__}")
        if each not in known:
            raise ValueError(f"{name} must be names among {', '.join(known)}, got {each!r}")
    return frozenset(given)

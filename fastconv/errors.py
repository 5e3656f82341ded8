"""Exceptions besides TypeError (what an argument is) and ValueError (what it says)."""

from __future__ import annotations


class UnsupportedError(NotImplementedError):
    """A valid problem that the algorithm asked for by name cannot compute; the message has the reason."""

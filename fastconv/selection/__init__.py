"""Which algorithm computes a problem: the table, the choice, and its explanation."""

from __future__ import annotations

from fastconv.selection.choice import (
    algorithm,
    algorithms,
    chosen,
    clear_cache,
    explain,
    ranked,
    select,
)
from fastconv.selection.explanation import Candidate, Explanation
from fastconv.selection.table import TABLE, table_of

__all__ = [
    "TABLE",
    "Candidate",
    "Explanation",
    "algorithm",
    "algorithms",
    "chosen",
    "clear_cache",
    "explain",
    "ranked",
    "select",
    "table_of",
]

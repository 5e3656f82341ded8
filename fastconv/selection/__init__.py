"""Which algorithm computes a problem: the table, the choice, and its explanation."""

from __future__ import annotations

from fastconv.selection.choice import (
    algorithm,
    algorithms,
    chosen,
    clear_cache,
    explain,
    named,
    pool_algorithm,
    ranked,
    select,
)
from fastconv.selection.explanation import Candidate, Explanation
from fastconv.selection.place import HOST, Place
from fastconv.selection.table import ON_DEVICES, POOLINGS, TABLE, table_of

__all__ = [
    "HOST",
    "ON_DEVICES",
    "POOLINGS",
    "TABLE",
    "Candidate",
    "Explanation",
    "Place",
    "algorithm",
    "algorithms",
    "chosen",
    "clear_cache",
    "explain",
    "named",
    "pool_algorithm",
    "ranked",
    "select",
    "table_of",
]

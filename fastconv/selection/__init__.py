"""Which algorithm computes a problem: the table, the choice, and its explanation."""

from __future__ import annotations

from fastconv.selection.choice import (
    algorithm,
    algorithms,
    chosen,
    chosen_pooling,
    clear_cache,
    explain,
    pool_algorithm,
    select,
)
from fastconv.selection.explanation import Candidate, Explanation
from fastconv.selection.table import POOLINGS, TABLE, table_of

__all__ = [
    "POOLINGS",
    "TABLE",
    "Candidate",
    "Explanation",
    "algorithm",
    "algorithms",
    "chosen",
    "chosen_pooling",
    "clear_cache",
    "explain",
    "pool_algorithm",
    "select",
    "table_of",
]

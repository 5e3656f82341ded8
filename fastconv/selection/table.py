"""The ordered table of algorithms; a new one is a new file and a new line here."""

from __future__ import annotations

from fastconv.algorithm import Algorithm
from fastconv.cpu.direct import Direct
from fastconv.cpu.im2col import Im2col
from fastconv.cpu.reference import Reference

TABLE: tuple[Algorithm, ...] = (
    Direct(),
    Im2col(),
    Reference(),  # last: computes everything, slowly
)

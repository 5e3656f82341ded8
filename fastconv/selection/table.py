"""The ordered table of algorithms; a new one is a new file and a new line here."""

from __future__ import annotations

from fastconv.algorithm import Algorithm
from fastconv.cpu.depthwise import Depthwise
from fastconv.cpu.direct import Direct
from fastconv.cpu.fft import FFT
from fastconv.cpu.im2col import Im2col
from fastconv.cpu.reference import Reference
from fastconv.cpu.separable import Separable
from fastconv.cpu.winograd import Winograd
from fastconv.problem import ConvProblem, Problem

TABLE: tuple[Algorithm, ...] = (
    Direct(),
    Depthwise(),
    Separable(),
    Im2col(),
    Winograd(2),
    Winograd(3),
    Winograd(4),
    Winograd(6),
    FFT(),
    Reference(),  # last: computes everything, slowly
)


def table_of(problem: Problem) -> tuple[Algorithm, ...]:
    """Return the algorithms for a problem's kind, in order; none where the kind has no table yet."""
    return TABLE if isinstance(problem, ConvProblem) else ()

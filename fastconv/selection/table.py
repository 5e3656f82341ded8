"""The ordered table of algorithms; a new one is a new file and a new line here."""

from __future__ import annotations

from typing import cast

from fastconv.algorithm import Algorithm, AnyAlgorithm, P, PoolAlgorithm
from fastconv.cpu.depthwise import Depthwise
from fastconv.cpu.direct import Direct
from fastconv.cpu.fft import FFT
from fastconv.cpu.im2col import Im2col
from fastconv.cpu.inner_product import InnerProduct
from fastconv.cpu.pooling import Pooling
from fastconv.cpu.pooling_pieces import PoolPieces
from fastconv.cpu.pooling_reference import PoolReference
from fastconv.cpu.reference import Reference
from fastconv.cpu.separable import Separable
from fastconv.cpu.winograd import Winograd
from fastconv.problem import ConvProblem

#: Algorithms that devices have and the processor lacks.
ON_DEVICES = ("implicit_gemm_mma",)

TABLE: tuple[Algorithm, ...] = (
    Direct(),
    Depthwise(),
    Separable(),
    Im2col(),
    InnerProduct(),
    Winograd(2),
    Winograd(3),
    Winograd(4),
    Winograd(6),
    FFT(),
    Reference(),  # last: computes everything, slowly
)

POOLINGS: tuple[PoolAlgorithm, ...] = (
    Pooling(),
    PoolPieces(),
    PoolReference(),  # last: computes everything, slowly
)


def table_of(problem: P) -> tuple[AnyAlgorithm[P], ...]:
    """Return the algorithms for a problem's kind, in order."""
    return cast("tuple[AnyAlgorithm[P], ...]", TABLE if isinstance(problem, ConvProblem) else POOLINGS)

"""The ordered table of algorithms; a new one is a new file and a new line here."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import cast

from fastconv.algorithm import Algorithm, AnyAlgorithm, P, PoolAlgorithm
from fastconv.cpu.depthwise import Depthwise
from fastconv.cpu.direct import Direct
from fastconv.cpu.fft import FFT
from fastconv.cpu.gradient import InputGradient, gradients
from fastconv.cpu.im2col import Im2col
from fastconv.cpu.inner_product import InnerProduct
from fastconv.cpu.pooling import Pooling
from fastconv.cpu.pooling_pieces import PoolPieces
from fastconv.cpu.pooling_reference import PoolReference
from fastconv.cpu.reference import Reference
from fastconv.cpu.separable import Separable
from fastconv.cpu.weight_gradient import WeightGradient
from fastconv.cpu.winograd import Winograd
from fastconv.problem import ConvProblem

#: Algorithms that devices have and the processor lacks.
ON_DEVICES = ("implicit_gemm_mma", "implicit_gemm_wgmma")

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

#: The algorithms of each gradient: all that convolve, put to it, and the reference.
GRADIENTS: Mapping[str, tuple[Algorithm, ...]] = MappingProxyType(
    {
        "input_gradient": (*gradients(InputGradient, TABLE[:-1]), TABLE[-1]),
        "weight_gradient": (*gradients(WeightGradient, TABLE[:-1]), TABLE[-1]),
    }
)

POOLINGS: tuple[PoolAlgorithm, ...] = (
    Pooling(),
    PoolPieces(),
    PoolReference(),  # last: computes everything, slowly
)


def table_of(problem: P) -> tuple[AnyAlgorithm[P], ...]:
    """Return the algorithms for a problem's kind, in order."""
    if not isinstance(problem, ConvProblem):
        return cast("tuple[AnyAlgorithm[P], ...]", POOLINGS)
    return cast("tuple[AnyAlgorithm[P], ...]", GRADIENTS.get(problem.direction, TABLE))

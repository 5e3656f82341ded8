"""The ordered table of algorithms on a device; a new one is a new file and a new line here."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import cast

from fastconv.algorithm import P
from fastconv.cuda.algorithm import Algorithm, AnyAlgorithm
from fastconv.cuda.depthwise import Depthwise
from fastconv.cuda.direct import Direct
from fastconv.cuda.fft import FFT
from fastconv.cuda.gradient import Gradient, gradients
from fastconv.cuda.im2col import Im2col
from fastconv.cuda.implicit_gemm_mma import ImplicitGemmMma
from fastconv.cuda.implicit_gemm_mma_weight import ImplicitGemmMmaWeight
from fastconv.cuda.padding import Bordered
from fastconv.cuda.pooling import Pooling
from fastconv.cuda.wgmma import ImplicitGemmWgmma
from fastconv.cuda.winograd import Winograd
from fastconv.problem import ConvProblem

_CONVOLUTIONS: tuple[Algorithm, ...] = (
    Direct(),
    Depthwise(),
    Im2col(),
    ImplicitGemmMma(),
    ImplicitGemmWgmma(),
    Winograd(2),
    Winograd(4),
    FFT(),
)



def _by_weight(entry: Algorithm) -> Algorithm:
    if isinstance(entry, ImplicitGemmMma):
        return Bordered(ImplicitGemmMmaWeight())
    return Gradient(Im2col(alike=False) if isinstance(entry, Im2col) else entry, "weight_gradient")


TABLE: tuple[Algorithm, ...] = tuple(map(Bordered, _CONVOLUTIONS))

#: The algorithms of each gradient: all that convolve, put to it. By the weight, what stands for images are channels;
#: and tensor cores have a product of their own, which takes its operands as they lie.
GRADIENTS: Mapping[str, tuple[Algorithm, ...]] = MappingProxyType(
    {
        "input_gradient": gradients("input_gradient", _CONVOLUTIONS),
        "weight_gradient": tuple(map(_by_weight, _CONVOLUTIONS)),
    }
)

POOLINGS: tuple[Pooling, ...] = (Pooling(),)


def table_of(problem: P) -> tuple[AnyAlgorithm[P], ...]:
    """Return the algorithms for a problem's kind, in order."""
    if not isinstance(problem, ConvProblem):
        return cast("tuple[AnyAlgorithm[P], ...]", POOLINGS)
    return cast("tuple[AnyAlgorithm[P], ...]", GRADIENTS.get(problem.direction, TABLE))

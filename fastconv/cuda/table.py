"""The ordered table of algorithms on a device; a new one is a new file and a new line here."""

from __future__ import annotations

from typing import cast

from fastconv.algorithm import P
from fastconv.cuda.algorithm import Algorithm, AnyAlgorithm
from fastconv.cuda.depthwise import Depthwise
from fastconv.cuda.direct import Direct
from fastconv.cuda.fft import FFT
from fastconv.cuda.im2col import Im2col
from fastconv.cuda.implicit_gemm_mma import ImplicitGemmMma
from fastconv.cuda.padding import Bordered
from fastconv.cuda.pooling import Pooling
from fastconv.cuda.winograd import Winograd
from fastconv.problem import ConvProblem

TABLE: tuple[Algorithm, ...] = tuple(
    map(Bordered, (Direct(), Depthwise(), Im2col(), ImplicitGemmMma(), Winograd(2), Winograd(4), FFT()))
)

POOLINGS: tuple[Pooling, ...] = (Pooling(),)


def table_of(problem: P) -> tuple[AnyAlgorithm[P], ...]:
    """Return the algorithms for a problem's kind, in order."""
    return cast("tuple[AnyAlgorithm[P], ...]", TABLE if isinstance(problem, ConvProblem) else POOLINGS)

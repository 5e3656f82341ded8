"""Convolution by fast Fourier transforms of tiles (overlap-save).

    y = IFFT(FFT(x) * conj(FFT(w)))

The product of two spectra is the cyclic correlation of what they are the transforms of. A tile of N results along an
axis costs of the order of log N operations a result, however many taps the kernel has; of the N, as many as the kernel
has taps (but one) see the other end of the tile and are left out (Oppenheim and Schafer, Discrete-Time Signal
Processing, 8.7.3). With a stride most of the others are computed for nothing, too, which still pays where kernels are
large. Where a value of an image's result is not finite, the image is computed again as the sum stands, as in
`fastconv.cpu.winograd`.
"""

from __future__ import annotations

import math

import numpy as np

from fastconv.algorithm import Machine
from fastconv.codegen import target as targets
from fastconv.cpu import fft_plan
from fastconv.cpu.algorithm import AnyPlan, Planned
from fastconv.cpu.cycles import memory_seconds
from fastconv.cpu.depthwise import Depthwise
from fastconv.cpu.direct import Direct
from fastconv.cpu.plan import Request
from fastconv.problem import ConvProblem


class FFT(Planned):
    """Tiles by their spectra."""

    name = "fft"

    def supports(self, problem: ConvProblem) -> str | None:
        """Refuse kernels that are no kernels or too long."""
        reason = super().supports(problem)
        if reason is not None:
            return reason
        if math.prod(problem.kernel[-2:]) == 1:
            return f"{self.name} needs a kernel of more than one element" + " a slice" * (problem.rank == 3)
        axes = zip(problem.kernel[-2:], problem.dilation[-2:], strict=True)
        spans = [(taps - 1) * steps + 1 for taps, steps in axes]
        most = fft_plan.LONGEST // 2 if len(spans) == 1 else fft_plan.MOST_SIZE // 2
        if max(spans) > most:
            return f"{self.name} computes windows of at most {most} elements along an axis, not {max(spans)}"
        return None

    def terms(self, problem: ConvProblem, machine: Machine) -> dict[str, float]:
        """Predict the time of the transforms and products of the best tiles."""
        cycles = fft_plan.cycles(problem, targets.current())
        return {
            "call": 2 * machine.call,
            "transforms": machine.cycle * cycles.transforms,
            "products": machine.cycle * cycles.products,
            "weights": machine.cycle * cycles.weights,
            "memory": memory_seconds(problem, machine),
        }

    def error_bound(self, problem: ConvProblem) -> float:
        """Return a bound for random data: rounding errors grow with the logarithm of the tile."""
        height, width = fft_plan.tiling(problem, targets.current()).size
        return 4 * float(np.finfo(problem.dtype).eps) * math.log2(height * width)

    def make_plan(self, request: Request) -> AnyPlan:
        """Return the plan of a request."""
        return fft_plan.make(request, _exact)


def _exact(request: Request) -> AnyPlan:
    """The plan of an algorithm that computes the sum as it stands."""
    planes = Depthwise()
    return (planes if planes.supports(request.problem) is None else Direct()).make_plan(request)

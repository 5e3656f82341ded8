"""Convolution by fast Fourier transforms of tiles on a device (overlap-save): that of `fastconv.cpu.fft`.

    y = IFFT(FFT(x) * conj(FFT(w)))

The transforms are of this package, no library's: tiles are small enough for a multiprocessor to hold, so that a tile
is cut out, transformed and taken apart in one kernel, and nothing but half spectra passes through memory. Work areas
are bounded and a call is launches alone, which graphs capture as any others.

An image whose result is somewhere no finite number before bias and activation is computed again by `direct`, as
Winograd's are: see `fastconv.cuda.direct`.
"""

from __future__ import annotations

import math

import numpy as np

from fastconv.cuda import fft_plan
from fastconv.cuda.algorithm import HALVES, MOST_BLOCKS, MOST_ELEMENTS, Algorithm
from fastconv.cuda.compile import computed
from fastconv.cuda.driver import Device
from fastconv.cuda.plan import Plan, Target
from fastconv.problem import ConvProblem


class FFT(Algorithm):
    """Tiles by their spectra."""

    name = "fft"
    dtypes = (*HALVES, "float32", "float64")

    def supports(self, problem: ConvProblem) -> str | None:
        """Refuse kernels that are no kernels or too long, and more than grids and indices count."""
        reason = super().supports(problem)
        if reason is not None:
            return reason
        if problem.rank == 3:
            return f"{self.name} computes one and two dimensions on a device, not three"
        if math.prod(problem.kernel) == 1:
            return f"{self.name} needs a kernel of more than one element"
        most = max(fft_plan.SIZES[computed(problem.dtype)])
        if max(fft_plan.spans(problem)) > most:
            spans = "x".join(map(str, fft_plan.spans(problem)))
            return f"{self.name} computes windows of at most {most} elements along an axis on a device, not {spans}"
        divided = fft_plan.divide(problem)
        if divided is None:
            return f"{self.name} has no tile of {problem.dtype} for windows of {'x'.join(map(str, problem.kernel))}"
        groups, channels, filters = divided.groups
        if max(divided.frequencies * groups, channels, filters) > MOST_BLOCKS:
            return f"{self.name} takes at most {MOST_BLOCKS} products of matrices, channels and filters on a device"
        if max(divided.elements) > MOST_ELEMENTS:
            return f"{self.name} takes spectra of weights and tiles of at most {MOST_ELEMENTS} elements"
        return None

    def workspace(self, problem: ConvProblem, device: Device) -> int:
        """Return the bytes of spectra of weights, of tiles and products of a block, and of marks."""
        divided = _divided(problem)
        return divided.packed + divided.workspace

    def terms(self, problem: ConvProblem, machine: Device) -> dict[str, float]:
        """Predict the time of the division."""
        return fft_plan.terms(_divided(problem), machine)

    def error_bound(self, problem: ConvProblem) -> float:
        """Return a bound for random data: rounding errors grow with the logarithm of the tile."""
        if problem.dtype in HALVES:
            return super().error_bound(problem)
        height, width = _divided(problem).size
        return 4 * float(np.finfo(problem.dtype).eps) * math.log2(height * width)

    def plan(self, problem: ConvProblem, activation: str | None, target: Target) -> Plan:
        """Return the launches."""
        return fft_plan.plan(_divided(problem), activation, target)


def _divided(problem: ConvProblem) -> fft_plan.Division:
    found = fft_plan.divide(problem)
    assert found is not None  # else it is refused
    return found

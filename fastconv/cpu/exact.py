"""Images computed again where a quicker algorithm says that its result is no finite number."""

from __future__ import annotations

import ctypes
import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from fastconv.algorithm import Array
from fastconv.cpu import scratch
from fastconv.cpu.algorithm import AnyPlan
from fastconv.cpu.native import address
from fastconv.cpu.plan import Request


@dataclass(frozen=True)
class Exact:
    """Looks after a quick algorithm by one that computes the sum as it stands."""

    request: Request
    make: Callable[[Request], AnyPlan]

    @property
    def mark_bytes(self) -> int:
        """Bytes of a mark for each image."""
        return 8 * self.request.problem.batch

    def after(
        self,
        quick: Callable[[scratch.Workspace, tuple[int, int, int, int]], None],
        x: Array,
        weight: Array,
        bias: Array | None,
        residual: Array | None,
        out: Array,
    ) -> None:
        """Compute by `quick`, and images that it marked again.

        It is given a workspace, and the addresses of bias and residual (0 for none), of the result and of the marks.
        """
        workspace = scratch.take()
        marks = workspace.scratch(self.mark_bytes, "broken")
        ctypes.memset(marks, 0, self.mark_bytes)
        b = 0 if bias is None else address(bias)
        r = 0 if residual is None else address(residual)
        quick(workspace, (b, r, address(out), marks))
        found = ctypes.string_at(marks, self.mark_bytes)
        scratch.give(workspace)
        if found.count(0) < self.mark_bytes:
            self.again(np.flatnonzero(np.frombuffer(found, np.int64)), x, weight, bias, residual, out)

    @cached_property
    def _plan(self) -> AnyPlan:
        problem = dataclasses.replace(self.request.problem, batch=1)
        return self.make(dataclasses.replace(self.request, problem=problem))

    def again(
        self, images: Iterable[int], x: Array, weight: Array, bias: Array | None, residual: Array | None, out: Array
    ) -> None:
        """Compute some images as the sum stands, which puts NaN and infinity where the definition does."""
        for image in images:
            one = slice(image, image + 1)
            self._plan.run(x[one], weight, bias, None if residual is None else residual[one], out[one])

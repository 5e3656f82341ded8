"""Images computed again where a quicker algorithm says that its result is no finite number."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

from fastconv.algorithm import Array
from fastconv.cpu.algorithm import AnyPlan
from fastconv.cpu.plan import Request


@dataclass(frozen=True)
class Exact:
    """Computes images by the sum as it stands, which puts NaN and infinity where the definition does."""

    request: Request
    make: Callable[[Request], AnyPlan]

    @cached_property
    def _plan(self) -> AnyPlan:
        problem = dataclasses.replace(self.request.problem, batch=1)
        return self.make(dataclasses.replace(self.request, problem=problem))

    def __call__(
        self, images: Iterable[int], x: Array, weight: Array, bias: Array | None, residual: Array | None, out: Array
    ) -> None:
        """Compute `images` of the batch again."""
        for image in images:
            one = slice(image, image + 1)
            self._plan.run(x[one], weight, bias, None if residual is None else residual[one], out[one])

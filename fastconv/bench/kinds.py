"""What kind of problem a layer is: the classes by which results are summarised and drawn."""

from __future__ import annotations

from collections.abc import Callable

from fastconv.problem import ConvProblem, PoolProblem, Problem

__all__ = ["KINDS", "kind_of"]

LARGE = 7  # taps a side, from which on a kernel counts as large
FEW = 4  # channels, up to which an input is an image rather than a feature map

# The first that holds names the problem, so an earlier one is the more special.
_RULES: tuple[tuple[str, Callable[[ConvProblem], bool]], ...] = (
    ("gradient", lambda problem: problem.direction != "forward"),
    ("1-D", lambda problem: problem.rank == 1),
    ("3-D", lambda problem: problem.rank == 3),
    ("image filter", lambda problem: problem.channels == problem.groups <= FEW),
    ("depthwise", lambda problem: problem.channels == problem.groups),
    ("grouped", lambda problem: problem.groups > 1),
    ("few channels", lambda problem: problem.channels <= FEW),
    ("dilated", lambda problem: max(problem.dilation) > 1),
    ("strided", lambda problem: max(problem.stride) > 1),
    ("1x1", lambda problem: max(problem.kernel) == 1),
    ("1xN and Nx1", lambda problem: min(problem.kernel) == 1),
    ("large kernel", lambda problem: max(problem.kernel) >= LARGE),
    ("3x3", lambda problem: max(problem.kernel) == 3),
    ("other kernel", lambda problem: True),
)
_POOLING = {
    "max_pool": "max pooling",
    "avg_pool": "average pooling",
    "lp_pool": "average pooling",  # which sums as well
    "adaptive_max_pool": "max pooling",
    "adaptive_avg_pool": "average pooling",
}

KINDS = (*(name for name, _ in _RULES), *dict.fromkeys(_POOLING.values()))


def kind_of(problem: Problem) -> str:
    """Return which of `KINDS` a problem is.

    Examples
    --------
    >>> kind_of(ConvProblem.parse("conv2d,n1,c64,56x56,k64,3x3,p1,float32"))
    '3x3'
    >>> kind_of(ConvProblem.parse("conv2d,n1,c64,56x56,k64,3x3,s2,p1,g64,float32"))
    'depthwise'
    """
    if isinstance(problem, PoolProblem):
        return _POOLING[problem.operation]
    return next(name for name, holds in _RULES if holds(problem))

"""The end of a convolution's kernel: what follows an element's sum.

A kernel stores ``finish(total, bias, filter_, residual, place)``, and `place` here says which function that is.
"""

from __future__ import annotations

from collections.abc import Callable

from fastconv.cuda import activation as activations
from fastconv.cuda.inline import inlined
from fastconv.cuda.intrinsics import is_given, load
from fastconv.problem import ACTIVATIONS


def _finishing(activate: Callable[[float], float]) -> object:
    """Return the epilogue with an activation.

    Of the bias an element of the filter is added, of the residual one of the output's place, if they are given.
    """

    def formula(*types: object) -> Callable[..., float]:
        def finish(total: float, bias: int, filter_: int, residual: int, place: int) -> float:
            if is_given(bias):
                total += load(bias, filter_)
            if is_given(residual):
                total += load(residual, place)
            return activate(total)

        return finish

    return inlined(formula)


identity = _finishing(activations.identity)
relu = _finishing(activations.relu)
relu6 = _finishing(activations.relu6)
leaky_relu = _finishing(activations.leaky_relu)
sigmoid = _finishing(activations.sigmoid)
tanh = _finishing(activations.tanh)
silu = _finishing(activations.silu)
gelu = _finishing(activations.gelu)
hardswish = _finishing(activations.hardswish)


def place(activation: str | None) -> str:
    """Return where a kernel finds the epilogue with an activation, see `compile.Kernel.names`."""
    assert activation is None or activation in ACTIVATIONS
    return f"{__name__}:{activation or 'identity'}"

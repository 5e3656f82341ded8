"""The end of a convolution's kernel: what follows an element's sum.

A kernel stores ``finish(total, bias, filter_, residual, place)``, and `place` here says which function that is. One
whose threads have several sums, and no residual, may store ``finish_each(totals, bias, first, last, fragment)``.
"""

# mypy: disable-error-code="no-untyped-def"
# What the compiler hands to an intrinsic, and takes from it, has no types.

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from llvmlite import ir
from numba.cuda import types

from fastconv.cuda import activation as activations
from fastconv.cuda.inline import inlined
from fastconv.cuda.intrinsics import is_given, load
from fastconv.cuda.intrinsics.intrinsic import intrinsic
from fastconv.problem import ACTIVATIONS

_Formula: TypeAlias = Callable[..., Callable[..., float]]


def _finishing(activate: Callable[[float], float]) -> _Formula:
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

    return formula


def _each(formula: _Formula):
    """The same for a tuple of sums, in one step of the compiler's: a loop would take it as many.

    They are of filters `first` and so on; or those of a `fragment`, a thread's sums of a product of tensor cores, in
    fours: of two filters in one row and again in another one, then of the filters eight further on. Those behind
    `last` are of no filter, and get any bias.
    """

    def finish_each(typing_context, totals, bias, first, last, fragment):
        if not isinstance(fragment, types.Literal):
            return None
        real, in_fours = totals.dtype, fragment.literal_value

        def generate(context, builder, signature, arguments):
            totals, bias, first, last, _ = arguments
            kinds = real, signature.args[1], types.int32, signature.args[1], types.int64
            nothing = ir.Constant(bias.type, None), ir.Constant(ir.IntType(64), 0)
            for i in range(signature.args[0].count):
                ahead = ir.Constant(first.type, i // 4 * 8 + i % 2 if in_fours else i)
                filter_ = builder.add(first, ahead)
                filter_ = builder.select(builder.icmp_signed("<", filter_, last), filter_, last)
                operands = [builder.extract_value(totals, i), bias, filter_, *nothing]
                ended = context.compile_internal(builder, formula(*kinds), real(*kinds), operands)
                totals = builder.insert_value(totals, ended, i)
            return totals

        return totals(totals, bias, types.int32, types.int32, fragment), generate

    return intrinsic(finish_each)


_FORMULAS = {name: _finishing(getattr(activations, name)) for name in ("identity", *ACTIVATIONS)}

#: By names that `place` gives.
globals().update({name: inlined(formula) for name, formula in _FORMULAS.items()})
globals().update({f"{name}_each": _each(formula) for name, formula in _FORMULAS.items()})


def place(activation: str | None, *, each: bool = False) -> str:
    """Return where a kernel finds the epilogue with an activation, see `compile.Kernel.names`."""
    assert activation is None or activation in ACTIVATIONS
    return f"{__name__}:{activation or 'identity'}{'_each' if each else ''}"

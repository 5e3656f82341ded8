"""Python functions as parts of kernels."""

# mypy: disable-error-code="no-untyped-def"
# What the compiler hands to an intrinsic, and takes from it, has no types.

from __future__ import annotations

from collections.abc import Callable

from numba.cuda import types
from numba.cuda.core.targetconfig import ConfigStack
from numba.cuda.extending import intrinsic


def inlined(formula: Callable[..., Callable[..., object]]):
    """Make a function part of each kernel that calls it, typed and compiled with the kernel.

    `formula` gets the arguments' types, to give its constants one of them, and returns the function; that returns a
    number of the first one's type. A device function of `numba.cuda.jit` would be made so too, but asks for
    the current device, and there may be none.
    """

    @intrinsic
    def call(typing_context, *arguments):
        result = arguments[0]

        def generate(context, builder, signature, values):
            (packed,) = values  # a tuple, as `arguments` is
            each = [builder.extract_value(packed, i) for i in range(len(arguments))]
            return context.compile_internal(builder, formula(*arguments), result(*arguments), each)

        return result(types.StarArgTuple(arguments)), generate

    return call


def inlined_part(function: Callable[..., object], results: int):
    """Make a part, specialised for a kernel, a part of its code: see `unroll.part`.

    Numba keeps what it compiled by a function's code, which does not tell what its global names mean, and so would take
    one kernel's part for another's; here each is compiled anew. The compiler is told to put its code where it is
    called: by itself it leaves calls of large functions, whose tuples then pass through memory.
    """

    @intrinsic
    def call(typing_context, *arguments):
        none, one = types.none, arguments[0]
        result = {0: none, 1: one}.get(results) or types.UniTuple(one, results)

        def generate(context, builder, signature, values):
            (packed,) = values
            each = [builder.extract_value(packed, i) for i in range(len(arguments))]
            flags = ConfigStack.top_or_none().copy()
            flags.forceinline = True
            inner = result(*arguments)
            compiled = context.compile_subroutine(builder, function, inner, flags=flags, caching=False)
            return context.call_internal(builder, compiled.fndesc, inner, each)

        return result(types.StarArgTuple(arguments)), generate

    return call

"""Python functions, and runs of statements, as parts of kernels."""

# mypy: disable-error-code="no-untyped-def"
# What the compiler hands to an intrinsic, and takes from it, has no types.

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import cache

from numba.cuda import types
from numba.cuda.core.targetconfig import ConfigStack

from fastconv.cuda.fuse import Constant, Result, Run, Value
from fastconv.cuda.intrinsics.intrinsic import intrinsic


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
            return context.compile_internal(builder, formula(*arguments), result(*arguments), values)

        return result(*arguments), generate

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
            flags = ConfigStack.top_or_none().copy()
            flags.forceinline = True
            inner = result(*arguments)
            compiled = context.compile_subroutine(builder, function, inner, flags=flags, caching=False)
            return context.call_internal(builder, compiled.fndesc, inner, values)

        return result(*arguments), generate

    return call


@cache
def fused(run: Run):
    """Make a run an operation by itself: what Numba makes of it as it stands, without its statements.

    A call of it has the types that Numba gives to each of its operations; those are asked for once in a process.
    """

    def call(typing_context, *arguments):
        kinds: dict[Value | Result, types.Type] = {Value(place): kind for place, kind in enumerate(arguments)}
        emits = []
        for place, step in enumerate(run.steps):
            kinds[Result(place)], emit = _typed(typing_context, step, kinds)
            emits.append(emit)
        wanted = [Result(place) for place in run.results]
        results = tuple(kinds[each] for each in wanted)
        result = types.BaseTuple.from_types(results) if len(results) > 1 else next(iter(results), types.void)

        def generate(context, builder, signature, values):
            found: dict[Value | Result, object] = {Value(place): value for place, value in enumerate(values)}
            for place, emit in enumerate(emits):
                found[Result(place)] = emit(context, builder, found)
            if len(wanted) > 1:
                return context.make_tuple(builder, result, [found[each] for each in wanted])
            return found[wanted[0]] if wanted else context.get_dummy_value()

        return result(*arguments), generate

    return intrinsic(call)


def _typed(typing_context, node, kinds):
    """The type of an expression where values and results have these types, and what emits its code."""
    if isinstance(node, Value | Result):
        return kinds[node], lambda context, builder, found: found[node]
    if isinstance(node, Constant):
        kind = typing_context.resolve_value_type_prefer_literal(node.value)
        return kind, lambda context, builder, found: context.get_constant_generic(builder, kind, node.value)
    operands = [_typed(typing_context, operand, kinds) for operand in node.operands]
    of, emits = tuple(kind for kind, _ in operands), [emit for _, emit in operands]
    if node.function is operator.getitem and isinstance(of[0], types.BaseTuple) and isinstance(of[1], types.Literal):
        place = of[1].literal_value
        return of[0][place], lambda context, builder, found: builder.extract_value(
            emits[0](context, builder, found), place
        )
    if node.function is tuple:
        result, wanted = types.BaseTuple.from_types(of), of
    else:
        function, signature = _resolved(typing_context, node.function, of)
        result, wanted = signature.return_type, signature.args

    def emit(context, builder, found):
        given = [one(context, builder, found) for one in emits]
        cast = [context.cast(builder, *each) for each in zip(given, of, wanted, strict=True)]
        if node.function is tuple:
            return context.make_tuple(builder, result, cast)
        return context.get_function(function, signature)(builder, cast)

    return result, emit


@cache
def _resolved(typing_context, function, kinds):
    """The type of a function, and its signature for arguments of these types."""
    kind = typing_context.resolve_value_type(function)
    return kind, typing_context.resolve_function_type(kind, kinds, {})

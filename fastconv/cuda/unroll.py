"""Specialised kernels: a Python function with constants put in, constant branches taken and constant loops unrolled.

What several kernels have in common is a `part`: a function of its own, which is specialised with each kernel that calls
it, and made part of that kernel's code.

An accumulator stays in a register only if every index into it is a constant once the compiler is done. LLVM unrolls
small loops of constant length by itself, not those that contain branches: what must be unrolled is written as
``for i in static_range(n)`` and unrolled here, in the source.
"""

from __future__ import annotations

import ast
import inspect
import operator
import pickle
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, ParamSpec, TypeAlias, TypeVar

from fastconv.cuda.fuse import Fusing, fuse

P = ParamSpec("P")
R = TypeVar("R")

Constant: TypeAlias = bool | int | float | str | None

#: What a kernel says for a loop that is unrolled; run as plain Python, it is a loop.
static_range = range

_BINARY: dict[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.LShift: operator.lshift,
    ast.RShift: operator.rshift,
    ast.BitAnd: operator.and_,
}
_COMPARE: dict[type[ast.cmpop], Callable[[object, object], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,  # type: ignore[dict-item]  # of numbers, as the kernel says
    ast.LtE: operator.le,  # type: ignore[dict-item]
    ast.Gt: operator.gt,  # type: ignore[dict-item]
    ast.GtE: operator.ge,  # type: ignore[dict-item]
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
}


@dataclass(frozen=True)
class Part:
    """A function that kernels call, and how many results it has: none, one, or a tuple of more."""

    function: Callable[..., object]
    results: int


def part(results: int = 1) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Let kernels call a function, which returns so many results, each of the type of its first argument.

    Global names of the function mean what they mean in the kernel: its constants, its types.
    """

    def mark(function: Callable[P, R]) -> Callable[P, R]:
        return Part(function, results)  # type: ignore[return-value]  # kernels are not run as they stand

    return mark


class Specialised(NamedTuple):
    """A function with its constants in it, as text too, that of its parts included."""

    source: str
    function: Callable[..., object]


def _as_it_is(function: Callable[..., object], results: int) -> Callable[..., object]:
    return function


def specialise(
    function: Callable[..., object],
    constants: Mapping[str, Constant],
    names: Mapping[str, object],
    inline: Callable[[Callable[..., object], int], Callable[..., object]] = _as_it_is,
    fusing: Fusing | None = None,
) -> Specialised:
    """Return `function` with constants put in.

    Parameters
    ----------
    function : callable
        Whose source can be read.
    constants : mapping of str to number, str or None
        What stands for global names of the function.
    names : mapping of str to object
        What other global names of it mean here, such as a data type.
    inline : callable
        What makes of a part, specialised likewise, and the count of its results that which the function calls.
    fusing : callable, optional
        What makes operations of expressions, see `fuse`.
    """
    text, tree = _specialised(function, tuple((name, repr(value), value) for name, value in sorted(constants.items())))
    specialised = pickle.loads(tree)
    (definition,) = specialised.body
    namespace = {**function.__globals__, **names}
    sources = [text]
    called = {node.id for node in ast.walk(specialised) if isinstance(node, ast.Name)}  # in branches that are taken
    for name in function.__code__.co_names:
        if name in called and isinstance(one := namespace.get(name), Part):
            within = specialise(one.function, constants, names, inline, fusing)
            namespace[name] = inline(within.function, one.results)
            sources.append(within.source)
    if fusing is not None:
        fuse(definition, namespace, fusing)
        ast.fix_missing_locations(specialised)
    exec(compile(specialised, function.__code__.co_filename, "exec"), namespace)
    found = namespace[function.__name__]
    assert callable(found)
    return Specialised("\n".join(sources), found)


@lru_cache(maxsize=16)
def _specialised(
    function: Callable[..., object], constants: tuple[tuple[str, str, Constant], ...]
) -> tuple[str, bytes]:
    """Return the specialised text, and its pickled tree: who asks for the text may ask for code next.

    With names and values of the constants are their texts, by which 1, 1.0 and True differ.
    """
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    specialised = _Specialiser({name: value for name, _, value in constants}).visit(tree)
    (definition,) = specialised.body
    assert isinstance(definition, ast.FunctionDef)
    _without_annotations(definition)
    ast.fix_missing_locations(specialised)
    ast.increment_lineno(specialised, function.__code__.co_firstlineno - 1)
    return ast.unparse(specialised), pickle.dumps(specialised)


def _without_annotations(definition: ast.FunctionDef) -> None:
    """Drop what means nothing to the compiler: types, the description, and that it is a part."""
    definition.returns = None
    definition.decorator_list = []
    for argument in definition.args.args:
        argument.annotation = None
    if ast.get_docstring(definition) is not None:
        del definition.body[0]


class _Specialiser(ast.NodeTransformer):
    """Puts constants in, and what follows from them."""

    def __init__(self, constants: Mapping[str, Constant]) -> None:
        self._constants = constants

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if isinstance(node.ctx, ast.Load) and node.id in self._constants:
            return ast.copy_location(ast.Constant(self._constants[node.id]), node)
        return node

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        self.generic_visit(node)
        operation = _BINARY.get(type(node.op))
        left, right = node.left, node.right
        if operation is None or not (_is_integer(left) and _is_integer(right)):
            return node
        return ast.copy_location(ast.Constant(operation(left.value, right.value)), node)  # type: ignore[attr-defined]

    def visit_Compare(self, node: ast.Compare) -> ast.expr:
        self.generic_visit(node)
        left, right = node.left, node.comparators[0]
        if len(node.ops) > 1 or not (isinstance(left, ast.Constant) and isinstance(right, ast.Constant)):
            return node
        holds = _COMPARE[type(node.ops[0])](left.value, right.value)
        return ast.copy_location(ast.Constant(holds), node)

    def visit_BoolOp(self, node: ast.BoolOp) -> ast.expr:
        self.generic_visit(node)
        decisive = isinstance(node.op, ast.Or)  # the value that decides, whatever the others are
        others: list[ast.expr] = []
        for value in node.values:
            if not isinstance(value, ast.Constant):
                others.append(value)
            elif bool(value.value) == decisive:
                others.append(ast.Constant(decisive))
                break
        if not others:
            return ast.copy_location(ast.Constant(not decisive), node)
        if len(others) == 1 or (isinstance(others[0], ast.Constant)):
            return others[0]
        node.values = others
        return node

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.expr:
        self.generic_visit(node)
        if isinstance(node.op, ast.Not) and isinstance(node.operand, ast.Constant):
            return ast.copy_location(ast.Constant(not node.operand.value), node)
        return node

    def visit_IfExp(self, node: ast.IfExp) -> ast.expr:
        self.generic_visit(node)
        if isinstance(node.test, ast.Constant):
            return node.body if node.test.value else node.orelse
        return node

    def visit_If(self, node: ast.If) -> ast.stmt | list[ast.stmt]:
        test = self.visit(node.test)
        if isinstance(test, ast.Constant):
            return self._statements(node.body if test.value else node.orelse) or [ast.Pass()]
        node.test = test
        node.body = self._statements(node.body) or [ast.Pass()]
        node.orelse = self._statements(node.orelse)
        return node

    def visit_For(self, node: ast.For) -> ast.stmt | list[ast.stmt]:
        called = node.iter
        name = called.func if isinstance(called, ast.Call) else None
        if not (isinstance(called, ast.Call) and isinstance(name, ast.Name) and name.id == "static_range"):
            self.generic_visit(node)
            return node
        assert isinstance(node.target, ast.Name)
        bounds = []
        for argument in called.args:
            bound = self.visit(argument)
            if not _is_integer(bound):
                raise ValueError(f"static_range must have constant bounds, got {ast.unparse(argument)}")
            bounds.append(bound.value)
        unrolled: list[ast.stmt] = []
        body = pickle.dumps(node.body)  # which copies a tree in a third of the time that `copy` takes
        for value in range(*bounds):
            within = _Specialiser({**self._constants, node.target.id: value})
            unrolled += within._statements(pickle.loads(body))
        return unrolled or [ast.Pass()]

    def _statements(self, statements: list[ast.stmt]) -> list[ast.stmt]:
        visited: list[ast.stmt] = []
        for statement in statements:
            found = self.visit(statement)
            visited += found if isinstance(found, list) else [found]
        return visited


def _is_integer(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, int)

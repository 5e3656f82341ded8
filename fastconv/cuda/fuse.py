"""Expressions of a kernel, each as one operation of the compiler's.

Numba takes a time that grows with the statements of its own intermediate code, of which each name, constant and
operation of an expression is one; unrolled kernels have thousands. Here an expression becomes a call of a function of
the names in it: one statement, whose code is made of the same operations, in the same order, by
`fastconv.cuda.inline.expression`.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

_BUILTIN = {"abs": abs, "max": max, "min": min}
_OPERATORS: dict[type[ast.AST], Callable[..., object]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.LShift: operator.lshift,
    ast.RShift: operator.rshift,
    ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_,
    ast.BitXor: operator.xor,
    ast.USub: operator.neg,
    ast.Invert: operator.invert,
    ast.Not: operator.not_,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}


@dataclass(frozen=True)
class Value:
    """What the kernel computes elsewhere: one of an expression's arguments."""

    place: int


@dataclass(frozen=True)
class Constant:
    """A number: 1, 1.0 and True are different ones."""

    value: bool | float = field(compare=False)
    text: str


@dataclass(frozen=True)
class Operation:
    """A function of operands: an operator, a type, an intrinsic; `tuple` of them makes one."""

    function: Callable[..., object]
    operands: tuple[Value | Constant | Operation, ...]


Expression: TypeAlias = Value | Constant | Operation

#: What makes of an expression that which a kernel calls for it.
Fusing: TypeAlias = Callable[[Operation], Callable[..., object]]


def fuse(definition: ast.FunctionDef, namespace: dict[str, object], fusing: Fusing) -> None:
    """Let a function's expressions be calls, of names that are added to those which mean something there.

    What is not of the operations above stays as it is, such as branches within an expression and what `cuda` has. It is
    computed before the rest of the expression.
    """
    names = [node for node in ast.walk(definition) if isinstance(node, ast.Name)]
    local = {argument.arg for argument in definition.args.args}
    local |= {name.id for name in names if isinstance(name.ctx, ast.Store)}
    known = {name: value for name, value in {**_BUILTIN, **namespace}.items() if name not in local}
    fuser = _Fuser(known, fusing)
    fuser.generic_visit(definition)
    namespace.update(fuser.made)


class _Fuser(ast.NodeTransformer):
    def __init__(self, known: Mapping[str, object], fusing: Fusing) -> None:
        self._known, self._fusing = known, fusing
        self.made: dict[str, object] = {}

    def visit(self, node: ast.AST) -> ast.AST:
        if isinstance(node, ast.expr) and not isinstance(getattr(node, "ctx", None), ast.Store):
            return self._fused(node)
        found: ast.AST = super().visit(node)
        return found

    def visit_Assign(self, node: ast.Assign) -> ast.stmt:
        (target,) = node.targets
        if isinstance(target, ast.Subscript):
            return self._set(node, target, node.value)
        node.value = self._fused(node.value)
        return node

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.stmt:
        before = ast.parse(ast.unparse(node.target), mode="eval").body
        value = ast.BinOp(before, node.op, node.value)
        if isinstance(node.target, ast.Subscript):
            return self._set(node, node.target, value)
        return ast.copy_location(ast.Assign([node.target], self._fused(value)), node)

    def _set(self, node: ast.stmt, target: ast.Subscript, value: ast.expr) -> ast.stmt:
        """Fuse ``array[index] = value``."""
        leaves = _Leaves(self._known)
        whole = leaves.operation(operator.setitem, target.value, target.slice, value)
        return ast.copy_location(ast.Expr(self._call(whole, leaves, node)), node)

    def _fused(self, node: ast.expr) -> ast.expr:
        leaves = _Leaves(self._known)
        found = leaves.expression(node)
        if isinstance(found, Operation):
            return self._call(found, leaves, node)
        return self._within(node)

    def _within(self, node: ast.expr) -> ast.expr:
        """Fuse the parts of what stays."""
        self.generic_visit(node)
        return node

    def _call(self, whole: Operation, leaves: _Leaves, node: ast.AST) -> ast.expr:
        name = f"_expression_{len(self.made)}"
        self.made[name] = self._fusing(whole)
        arguments = [self._within(leaf) for leaf in leaves.found.values()]
        return ast.copy_location(ast.Call(ast.Name(name, ast.Load()), arguments, []), node)


class _Leaves:
    """Takes an expression apart, and keeps what it takes as it is: `found`, by what it says."""

    def __init__(self, known: Mapping[str, object]) -> None:
        self._known = known
        self.found: dict[str, ast.expr] = {}

    def expression(self, node: ast.expr) -> Expression:
        match node:
            case ast.Constant(value=bool() | int() | float() as value):
                return Constant(value, repr(value))
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
                return Constant(-value, repr(-value))
            case ast.UnaryOp(op=kind, operand=operand) if type(kind) in _OPERATORS:
                return self.operation(_OPERATORS[type(kind)], operand)
            case ast.BinOp(left=left, op=kind, right=right) if type(kind) in _OPERATORS:
                return self.operation(_OPERATORS[type(kind)], left, right)
            case ast.Compare(left=left, ops=[kind], comparators=[right]) if type(kind) in _OPERATORS:
                return self.operation(_OPERATORS[type(kind)], left, right)
            case ast.Subscript(value=value, slice=index) if not isinstance(index, ast.Slice):
                return self.operation(operator.getitem, value, index)
            case ast.Tuple(elts=elements) if not all(isinstance(element, ast.Constant) for element in elements):
                return self.operation(tuple, *elements)
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in self._known:
                function = self._known[name]
                assert callable(function)
                return self.operation(function, *_spread(arguments))
        return self._kept(node)

    def operation(self, function: Callable[..., object], *operands: ast.expr) -> Operation:
        return Operation(function, tuple(self.expression(operand) for operand in operands))

    def _kept(self, node: ast.expr) -> Value:
        text = node.id if isinstance(node, ast.Name) else f"{len(self.found)}: {ast.unparse(node)}"
        self.found.setdefault(text, node)
        return Value(list(self.found).index(text))


def _spread(arguments: list[ast.expr]) -> list[ast.expr]:
    """Arguments, those that are written as a tuple with a star among the others."""
    found: list[ast.expr] = []
    for argument in arguments:
        match argument:
            case ast.Starred(value=ast.Tuple(elts=elements)):
                found += elements
            case _:
                found.append(argument)
    return found

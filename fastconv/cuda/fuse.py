"""Statements of a kernel that follow each other without branches, as one operation of the compiler's.

Numba takes a time that grows with the statements of its own intermediate code, of which each name, constant and
operation of an expression is one; unrolled kernels have thousands. Here a run of assignments and calls becomes one call
of a function of the names in them, which returns what is needed afterwards. Its code is made of the same operations, in
the same order, by `fastconv.cuda.inline.fused`. An expression elsewhere, as that of a condition, becomes one likewise.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

#: Arguments of a call. For more, Python makes a list of them, and Numba of that as many sums of tuples.
_ARGUMENTS = 30

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
    """What the kernel computes elsewhere: one of the run's arguments."""

    place: int


@dataclass(frozen=True)
class Result:
    """What a step of the run gave."""

    step: int


@dataclass(frozen=True)
class Constant:
    """A number: 1, 1.0 and True are different ones."""

    value: bool | float = field(compare=False)
    text: str


@dataclass(frozen=True)
class Operation:
    """A function of operands: an operator, a type, an intrinsic; `tuple` of them makes one."""

    function: Callable[..., object]
    operands: tuple[Expression, ...]


Expression: TypeAlias = Value | Result | Constant | Operation


class Run(NamedTuple):
    """Expressions that are computed one after the other, and which of them are needed afterwards."""

    steps: tuple[Expression, ...]
    results: tuple[int, ...]


#: What makes of a run that which a kernel calls for it: it returns nothing, the result, or a tuple of more.
Fusing: TypeAlias = Callable[[Run], Callable[..., object]]


def fuse(definition: ast.FunctionDef, namespace: dict[str, object], fusing: Fusing) -> None:
    """Let what a function computes be calls, of names that are added to those which mean something there.

    What is not of the operations above stays as it is, such as branches within an expression and what `cuda` has. It is
    computed before the rest of its statement.
    """
    local = {argument.arg for argument in definition.args.args} | _names(definition, ast.Store)
    known = {name: value for name, value in {**_BUILTIN, **namespace}.items() if name not in local}
    _Fuser(known).visit(definition)
    calls = _Calls(_names(definition, ast.Load), fusing)
    calls.visit(definition)
    namespace.update(calls.made)


def _names(tree: ast.AST, context: type[ast.expr_context]) -> set[str]:
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, context)}


class _Taken(ast.expr):
    """Statements or an expression, taken apart, which stand in the function's tree by what they need of it."""

    _fields = ("leaves",)

    def __init__(self, known: Mapping[str, object]) -> None:
        super().__init__()
        self._known = known
        self.leaves: list[ast.expr] = []  # the values, in order
        self.steps: list[Expression] = []
        self.names: dict[str, Result] = {}  # what variables are by now
        self.statements: list[ast.stmt] = []

    @property
    def computes(self) -> bool:
        """Whether there is anything to gain."""
        return any(isinstance(step, Operation) for step in self.steps)

    @property
    def waits(self) -> bool:
        """Whether it needs more than variables, which must be computed before all of it."""
        return not all(isinstance(leaf, ast.Name) for leaf in self.leaves)

    def take(self, statement: ast.stmt) -> bool:
        """Take a statement apart, after those before it; False if it is another thing than an assignment or a call."""
        target: ast.expr | None = None
        match statement:
            case ast.Assign(targets=[target], value=value):
                found = self.expression(value)
            case ast.AugAssign(target=target, op=kind, value=value):
                before = ast.parse(ast.unparse(target), mode="eval").body
                found = self.expression(ast.copy_location(ast.BinOp(before, kind, value), statement))
            case ast.Expr(value=value):
                found = self.expression(value)
            case _:
                return False
        match target:
            case ast.Subscript(value=array, slice=index):
                self.step(Operation(operator.setitem, (self.expression(array), self.expression(index), found)))
            case _ if isinstance(found, Value) and not isinstance(self.leaves[found.place], ast.Name):
                return False  # all of it is computed elsewhere
            case ast.Name(id=name):
                self.names[name] = self.step(found)
            case ast.Tuple(elts=elements):
                whole = self.step(found)
                for place, element in enumerate(elements):
                    assert isinstance(element, ast.Name)
                    self.names[element.id] = self.step(Operation(operator.getitem, (whole, _constant(place))))
            case _:
                self.step(found)
        self.statements.append(statement)
        return True

    def step(self, found: Expression) -> Result:
        """Compute an expression."""
        self.steps.append(found)
        return Result(len(self.steps) - 1)

    def expression(self, node: ast.expr) -> Expression:
        """Take an expression apart."""
        match node:
            case ast.Constant(value=bool() | int() | float() as value):
                return _constant(value)
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
                return _constant(-value)
            case ast.UnaryOp(op=kind, operand=operand) if type(kind) in _OPERATORS:
                return self._operation(_OPERATORS[type(kind)], operand)
            case ast.BinOp(left=left, op=kind, right=right) if type(kind) in _OPERATORS:
                return self._operation(_OPERATORS[type(kind)], left, right)
            case ast.Compare(left=left, ops=[kind], comparators=[right]) if type(kind) in _OPERATORS:
                return self._operation(_OPERATORS[type(kind)], left, right)
            case ast.Subscript(value=value, slice=index) if not isinstance(index, ast.Slice):
                return self._operation(operator.getitem, value, index)
            case ast.Tuple(elts=elements) if not all(isinstance(element, ast.Constant) for element in elements):
                return self._operation(tuple, *elements)
            case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in self._known:
                function = self._known[name]
                assert callable(function)
                return self._operation(function, *_spread(arguments))
            case ast.Name(id=name) if name in self.names:
                return self.names[name]
        return self._value(node)

    def _operation(self, function: Callable[..., object], *operands: ast.expr) -> Operation:
        return Operation(function, tuple(self.expression(operand) for operand in operands))

    def _value(self, node: ast.expr) -> Value:
        for place, leaf in enumerate(self.leaves):
            if isinstance(node, ast.Name) and isinstance(leaf, ast.Name) and node.id == leaf.id:
                return Value(place)
        self.leaves.append(node)
        return Value(len(self.leaves) - 1)


def _constant(value: bool | float) -> Constant:
    return Constant(value, repr(value))


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


class _Fuser:
    """Takes apart all of a function that can be."""

    def __init__(self, known: Mapping[str, object]) -> None:
        self._known = known

    def visit(self, node: ast.AST) -> ast.AST:
        """Return what stands instead of a node that is no statement of a list."""
        if isinstance(node, ast.expr) and not isinstance(getattr(node, "ctx", None), ast.Store):
            taken = _Taken(self._known)
            taken.step(taken.expression(node))
            if taken.computes:
                return self._within(ast.copy_location(taken, node))
        return self._within(node)

    def _within(self, node: ast.AST) -> ast.AST:
        for name, value in ast.iter_fields(node):
            if isinstance(value, ast.AST):
                setattr(node, name, self.visit(value))
            elif isinstance(value, list) and all(isinstance(each, ast.stmt) for each in value):
                value[:] = self._statements(value)
            elif isinstance(value, list):
                value[:] = [self.visit(each) if isinstance(each, ast.AST) else each for each in value]
        return node

    def _statements(self, statements: list[ast.stmt]) -> list[ast.stmt]:
        runs: list[_Taken | ast.stmt] = []
        for statement in statements:
            alone, last = _Taken(self._known), runs[-1] if runs else None
            if not alone.take(statement):
                runs.append(statement)
            elif alone.waits or not isinstance(last, _Taken) or len(last.leaves) + len(alone.leaves) > _ARGUMENTS:
                runs.append(alone)
            else:
                last.take(statement)
        return [statement for run in runs for statement in self._run(run)]

    def _run(self, run: _Taken | ast.stmt) -> list[ast.stmt]:
        if not isinstance(run, _Taken):
            self._within(run)
            return [run]
        if not run.computes:
            return run.statements
        self._within(run)
        return [ast.copy_location(ast.Expr(run), run.statements[0])]


class _Calls(ast.NodeTransformer):
    """Puts calls where something was taken, which keep those variables that are read elsewhere."""

    def __init__(self, read: set[str], fusing: Fusing) -> None:
        self._read, self._fusing = read, fusing
        self.made: dict[str, object] = {}

    def visit_Expr(self, node: ast.Expr) -> ast.stmt:
        taken = node.value
        if not isinstance(taken, _Taken):
            self.generic_visit(node)
            return node
        names = [name for name in taken.names if name in self._read]
        node.value = self._call(taken, tuple(taken.names[name].step for name in names))
        if not names:
            return node
        targets: list[ast.expr] = [ast.Name(name, ast.Store()) for name in names]
        target = targets[0] if len(names) == 1 else ast.Tuple(targets, ast.Store())
        return ast.copy_location(ast.Assign([target], node.value), node)

    def visit__Taken(self, node: _Taken) -> ast.expr:
        return self._call(node, (0,))

    def _call(self, taken: _Taken, results: tuple[int, ...]) -> ast.expr:
        self.generic_visit(taken)
        name = f"_run_{len(self.made)}"
        self.made[name] = self._fusing(Run(tuple(taken.steps), results))
        return ast.copy_location(ast.Call(ast.Name(name, ast.Load()), taken.leaves, []), taken)

"""PTX as text: kernels, their parameters and variables, and instructions with their operands still text."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache

from interpreter.errors import InterpreterError

#: Bytes of the types that parameters and variables have.
SIZES = {kind + bits: int(bits) // 8 for kind in "busf" for bits in ("8", "16", "32", "64") if kind + bits != "f8"}


@dataclass(slots=True)
class Instruction:
    """One statement: `@guard name.modifiers operands`."""

    text: str
    name: str
    modifiers: list[str]
    operands: list[str]
    guard: str | None  # the predicate that says which threads take part
    negated: bool
    scope: str  # of braces: labels belong to one


@dataclass(slots=True)
class Variable:
    """Memory that a module declares: shared, or global with its first value."""

    space: str
    alignment: int
    size: int | None  # bytes; None: as many as the launch says
    value: bytes = b""


@dataclass(slots=True)
class Kernel:
    """An entry of a module."""

    name: str
    parameters: dict[str, int]  # offsets in the parameter block
    parameter_bytes: int
    variables: dict[str, Variable]
    instructions: list[Instruction]
    labels: dict[str, int]
    widths: dict[str, int] = field(default_factory=dict)  # bytes of registers by the name before their number
    sizes: dict[str, int] = field(default_factory=dict)  # bytes of parameters
    ready: list[object] = field(default_factory=list)  # the instructions as the machine takes them, once it ran

    def target(self, instruction: Instruction) -> int:
        """Return where a branch goes."""
        label = instruction.operands[0]
        place = self.labels.get(label + instruction.scope, self.labels.get(label))
        if place is None:
            raise InterpreterError(f"no label {label}: {instruction.text}")
        return place

    def width(self, register: str) -> int:
        """Return the bytes of a register; 0 for a predicate."""
        found = self.widths.get(register, self.widths.get(register.rstrip("0123456789")))
        if found is None:
            raise InterpreterError(f"no register {register} was declared")
        return found


@lru_cache(maxsize=64)
def parse(ptx: str) -> dict[str, Kernel]:
    """Return the kernels of a module by their names."""
    ptx = re.sub(r"//[^\n]*|/\*.*?\*/", "", ptx, flags=re.S)
    kernels = {}
    for match in re.finditer(r"\.entry\s+([\w$]+)\s*\(([^)]*)\)([^{;]*)\{", ptx):
        body = ptx[match.end() : _closing(ptx, match.end())]
        kernel = _kernel(match[1], match[2], body, _variables(ptx[: match.start()]) | _variables(body))
        kernels[kernel.name] = kernel
    return kernels


def _closing(text: str, start: int) -> int:
    """Return where the brace closes that was opened before `start`."""
    depth = 1
    for brace in re.finditer(r"[{}]", text[start:]):
        depth += 1 if brace[0] == "{" else -1
        if not depth:
            return start + brace.start()
    raise InterpreterError("a brace is never closed")


def _kernel(name: str, parameters: str, body: str, variables: dict[str, Variable]) -> Kernel:
    offsets, sizes, offset = {}, {}, 0
    pattern = r"\.param\s+(?:\.align\s+(\d+)\s+)?\.(\w+)(?:\s+\.ptr[\w.\s]*?)?\s+([\w$]+)(?:\[(\d+)\])?\s*(?:,|$)"
    for alignment, kind, parameter, count in re.findall(pattern, parameters.strip()):
        step = int(alignment or SIZES[kind])
        offset = -(-offset // step) * step
        offsets[parameter] = offset
        sizes[parameter] = SIZES[kind] * int(count or 1)
        offset += sizes[parameter]
    kernel = Kernel(name, offsets, offset, variables, [], {}, sizes=sizes)
    for statement, scope in _statements(body):
        if statement.endswith(":"):
            kernel.labels[statement[:-1].strip() + scope] = len(kernel.instructions)
        elif statement.startswith(".reg"):
            _declare(kernel, statement)
        elif statement.startswith(".local"):
            raise InterpreterError(f"local memory is not interpreted: {statement}")
        elif not statement.startswith("."):
            kernel.instructions.append(_instruction(statement, scope))
    return kernel


def _statements(body: str) -> list[tuple[str, str]]:
    """Cut at semicolons and labels; each piece with the braces that it is in, which inline assembly opens."""
    found: list[tuple[str, str]] = []
    scopes, opened, current, position = [""], 0, "", 0
    while position < len(body):
        sign = body[position]
        if sign == ";":
            found.append((current.strip(), scopes[-1]))
            current = ""
        elif sign == ":" and re.fullmatch(r"\s*[\w$]+", current) and body[position + 1 : position + 2] != ":":
            found.append((current.strip() + ":", scopes[-1]))
            current = ""
        elif sign == "{" and not current.strip():
            opened += 1
            scopes.append(f"@{opened}")
        elif sign == "}" and not current.strip():
            scopes.pop()
        elif sign == "{":  # a list of operands
            end = body.index("}", position)
            current += body[position : end + 1]
            position = end
        else:
            current += sign
        position += 1
    return [(" ".join(text.split()), scope) for text, scope in found if text]


def _declare(kernel: Kernel, statement: str) -> None:
    _, kind, *names = statement.replace(",", " ").split()
    for name in names:
        kernel.widths[name.partition("<")[0]] = 0 if kind == ".pred" else SIZES[kind[1:]]


def _instruction(statement: str, scope: str) -> Instruction:
    text, guard, negated = statement, None, False
    if match := re.match(r"@(!?)([%\w]+)\s+", statement):
        guard, negated = match[2], match[1] == "!"
        statement = statement[match.end() :]
    head, _, rest = statement.partition(" ")
    name, *modifiers = head.split(".")
    return Instruction(text, name, modifiers, split_operands(rest), guard, negated, scope)


def split_operands(text: str) -> list[str]:
    """Cut at the commas that are in no brace or bracket."""
    found, depth, current = [], 0, ""
    for sign in text:
        depth += (sign in "{[") - (sign in "}]")
        if sign == "," and not depth:
            found.append(current.strip())
            current = ""
        else:
            current += sign
    return [*found, current.strip()] if current.strip() else found


def _variables(text: str) -> dict[str, Variable]:
    pattern = (
        r"\.(shared|global|const)\s+(?:\.align\s+(\d+)\s+)?\.(\w+)\s+([\w$]+)(?:\[(\d*)\])?\s*(?:=\s*\{([^}]*)\})?\s*;"
    )
    found = {}
    for space, alignment, kind, name, count, values in re.findall(pattern, text):
        size = SIZES[kind]
        dynamic = f"{name}[]" in text
        value = b"".join((int(one, 0) % 256**size).to_bytes(size, "little") for one in values.split(",") if one.strip())
        found[name] = Variable(space, int(alignment or size), None if dynamic else size * int(count or 1), value)
    return found

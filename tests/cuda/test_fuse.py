"""Runs of statements as one operation: what they are taken apart into, and that nothing else changes."""

from __future__ import annotations

import operator
import re
from importlib import import_module

import pytest

from fastconv.cuda.fuse import Constant, Operation, Result, Run, Value
from fastconv.cuda.unroll import part, specialise, static_range

cuda = pytest.importorskip("numba.cuda")
types = pytest.importorskip("numba.cuda.types")
intrinsics = pytest.importorskip("fastconv.cuda.intrinsics")
int32, int64, float32, load, store = types.int32, types.int64, types.float32, intrinsics.load, intrinsics.store

SIZE = 0


def double(value: int) -> int:
    return 2 * value


def value_of(expression, found):
    """What an expression is, of values and results."""
    match expression:
        case Value() | Result():
            return found[expression]
        case Constant(value=value):
            return value
        case Operation(function=function, operands=operands):
            given = [value_of(operand, found) for operand in operands]
            return tuple(given) if function is tuple else function(*given)


class Fusing:
    """Makes of each run a function that computes it, and keeps it."""

    def __init__(self) -> None:
        self.runs: list[Run] = []

    def __call__(self, run):
        self.runs.append(run)

        def call(*values):
            found = {Value(place): value for place, value in enumerate(values)}
            for place, step in enumerate(run.steps):
                found[Result(place)] = value_of(step, found)
            results = tuple(found[Result(place)] for place in run.results)
            return results if len(results) > 1 else next(iter(results), None)

        return call


def both(function, *arguments, **constants):
    """The results of a function as it stands and with its statements fused, and the runs."""
    fusing = Fusing()
    plain = specialise(function, constants, {}).function
    fused = specialise(function, constants, {}, fusing=fusing).function
    return plain(*arguments), fused(*arguments), fusing.runs


def formula(a: int, b: int) -> int:
    return double(a + 3) * b - a


def test_an_expression_is_one_operation_of_its_names():
    plain, fused, (run,) = both(formula, 4, 5)
    assert plain == fused == 66
    a, b = Value(0), Value(1)
    doubled = Operation(double, (Operation(operator.add, (a, Constant(3, "3"))),))
    assert run == Run((Operation(operator.sub, (Operation(operator.mul, (doubled, b)), a)),), (0,))


def statements(a: int, b: int) -> int:
    c = a + b
    a = double(c)
    d, a = a, c * a
    a += 1
    return a * d + b


def test_statements_are_steps_of_one_run():
    plain, fused, (run, last) = both(statements, 4, 5)
    assert plain == fused == (9 * 18 + 1) * 18 + 5
    assert run.steps[:2] == (Operation(operator.add, (Value(0), Value(1))), Operation(double, (Result(0),)))
    assert run.results == (5, 3)  # what is read afterwards: a and d
    assert last.results == (0,)


def test_constants_of_several_types_are_several():
    assert len({Constant(1, "1"), Constant(1.0, "1.0"), Constant(True, "True"), Constant(1, "1")}) == 3
    assert Constant(0.0, "0.0") != Constant(-0.0, "-0.0")


def operators(a: int, b: int) -> tuple[object, ...]:
    x = a + b - a * b
    y = (a // b, a % b, a / b, -a, ~a, -1)
    z = (a << b, a >> b, a & b, a | b, a ^ b, not a)
    return x, y, z, (a == b, a != b, a < b, a <= b, a > b, a >= b), min(a, b), max(a, b), abs(-b)


@pytest.mark.parametrize(("a", "b"), [(7, 2), (2, 7), (3, 3)])
def test_all_operators(a, b):
    plain, fused, runs = both(operators, a, b)
    assert plain == fused
    assert [len(run.steps) for run in runs] == [3, 1]  # one of three statements, and what is returned


def branches(a: int, b: int) -> int:
    first = a + 1 if a < b and b < 9 else b * 2
    if 0 < a < 5:
        first += a * 3
    return first + (a if a > b else b - a)


def loops(a: int, count: int) -> int:
    last, sums = 0, a
    for i in range(count):
        if i % 2 == 1:
            step = last * 3
            last = step + i
        else:
            last = (last if i > 2 else a) + 1
            sums += last * i
    return sums


@pytest.mark.parametrize("count", [0, 1, 2, 7])
def test_variables_are_kept_from_one_run_to_the_next(count):
    plain, fused, _ = both(loops, 3, count)
    assert plain == fused


@pytest.mark.parametrize(("a", "b"), [(1, 2), (4, 12), (9, 8)])
def test_branches_stay_and_what_is_in_them_is_fused(a, b):
    plain, fused, _ = both(branches, a, b)
    assert plain == fused


def arrays(given: list[int], count: int) -> list[int]:
    a = list(given)
    for i in range(count - 1):
        for j in static_range(SIZE):
            a[i * 2 + j] += a[j] * i
    a[0] = count + 1
    first, second = a[1], a[2] + 1
    return [first, second, *a]


def test_elements_of_arrays_and_loops():
    plain, fused, runs = both(arrays, [1, 2, 3, 4], 3, SIZE=2)
    assert plain == fused
    steps = [step for run in runs for step in run.steps]
    assert sum(isinstance(step, Operation) and step.function is operator.setitem for step in steps) == 3


@part()
def third(value: int, other: int) -> int:
    return value // 3 + other


def spread(a: int, b: int) -> int:
    double = a + b  # a name of its own, not the function
    return third(*(double, a), *()) + double


def test_parts_are_fused_and_called_with_stars():
    fusing = Fusing()
    within = []
    function = specialise(spread, {}, {}, lambda inner, results: within.append(inner) or inner, fusing).function
    assert function(7, 4) == 11 // 3 + 7 + 11
    assert within[0](7, 4) == 6
    assert [len(run.steps) for run in fusing.runs] == [1, 1, 1]  # one of the part, two of the kernel


def shapes(a: int) -> tuple[int, ...]:
    return tuple([*range(a + 1)])[1:]


def test_what_is_not_known_stays():
    plain, fused, (run,) = both(shapes, 3)
    assert plain == fused == (1, 2, 3)
    assert run.steps == (Operation(operator.add, (Value(0), Constant(1, "1"))),)


def test_the_text_is_as_it_was():
    plain, fused = (specialise(arrays, {"SIZE": 2}, {}, **more).source for more in ({}, {"fusing": Fusing()}))
    assert plain == fused


def kernel(x: int, out: int, a: int, b: int, factor: float) -> None:
    numbers = cuda.local.array(SIZE, int32)
    for i in static_range(SIZE):
        numbers[i] = int32(a * i + b % (i + 3)) ^ -b
    for i in range(int32(min(a, b) // 2)):
        place = int64(a) * i if a < b else b + (i << 2)
        both = load(x, place), load(x, place + 1) * factor
        numbers[i] += int32(not (a & b))
        store(out, i, max(both[0], -both[i % 2]) / float32(numbers[i % SIZE]))


def test_the_compiler_makes_the_same_of_fused_statements():
    inline = import_module("fastconv.cuda.inline")
    ways = inline.inlined_part, None
    made = [specialise(kernel, {"SIZE": 4}, {}, *way).function for way in (ways, (ways[0], inline.fused))]
    pointer = types.CPointer(float32)
    signature = types.void(pointer, pointer, int32, int32, float32)
    texts = [cuda.compile(one, signature, device=False, abi="numba", cc=(8, 0))[0] for one in made]
    plain, fused = (re.sub(r"[\w$]*kernel[\w$]*", "kernel", text) for text in texts)
    assert plain == fused
    assert ".f64" not in fused

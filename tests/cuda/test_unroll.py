"""Specialised kernels: constants put in, constant branches taken, constant loops unrolled."""

from __future__ import annotations

import ast

import pytest

from fastconv.cuda.unroll import part, specialise, static_range

SIZE = 0
KIND = ""
done = None


def loop(out: list[int]) -> None:
    """Loop over a constant."""
    for i in static_range(SIZE):
        out.append(2 * i + 1)


def nested(out: list[tuple[int, int]]) -> None:
    for i in static_range(SIZE):
        for j in static_range(i, SIZE, 2):
            out.append((i, j))


def branches(out: list[str]) -> None:
    if KIND == "first" and SIZE > 1:
        out.append("first")
    elif KIND is None or not SIZE:
        out.append("none")
    else:
        out.append("large" if SIZE // 2 >= 2 else "small")


def in_a_loop(out: list[int], count: int) -> None:
    for k in range(count):
        for i in static_range(SIZE):
            if i == 1:
                out.append(10 * k + i)


@part(results=2)
def twice(value: int) -> tuple[int, int]:
    return value + SIZE, value * SIZE


def caller(out: list[tuple[int, int]]) -> None:
    out.append(twice(5))


def body(source):
    (definition,) = ast.parse(source).body
    return definition.body


def test_a_loop_is_unrolled():
    source, function = specialise(loop, {"SIZE": 3}, {})
    assert source == "def loop(out):\n    out.append(1)\n    out.append(3)\n    out.append(5)"
    out = []
    function(out)
    assert out == [1, 3, 5]


def test_inner_loops_know_the_outer_ones():
    source, function = specialise(nested, {"SIZE": 3}, {})
    assert "for" not in source
    out = []
    function(out)
    assert out == [(0, 0), (0, 2), (1, 1), (2, 2)]


@pytest.mark.parametrize(("size", "kind", "wanted"), [
    (2, "first", "first"), (1, "first", "small"), (4, "", "large"), (4, None, "none"), (0, "", "none"),
])  # fmt: skip
def test_constant_branches_are_taken(size, kind, wanted):
    source, function = specialise(branches, {"SIZE": size, "KIND": kind}, {})
    assert len(body(source)) == 1
    out = []
    function(out)
    assert out == [wanted]


def test_other_loops_stay():
    source, function = specialise(in_a_loop, {"SIZE": 2}, {})
    (left,) = body(source)
    assert isinstance(left, ast.For)
    assert "if" not in source
    out = []
    function(out, 2)
    assert out == [1, 11]


def test_nothing_is_left_of_an_empty_loop():
    _, function = specialise(loop, {"SIZE": 0}, {})
    assert function([]) is None


def test_names_mean_something_else():
    def empty() -> None:
        raise AssertionError

    def kernel(out: list[object]) -> None:
        out.append(done)

    _, function = specialise(kernel, {}, {"done": empty})
    out = []
    function(out)
    assert out == [empty]


def test_a_part_has_the_constants_of_its_caller():
    source, function = specialise(caller, {"SIZE": 3}, {})
    assert "return (value + 3, value * 3)" in source  # what a kernel's key depends on
    out = []
    function(out)
    assert out == [(8, 15)]
    _, function = specialise(caller, {"SIZE": 4}, {}, lambda inner, results: lambda value: (inner(value), results))
    function(out)
    assert out[1:] == [((9, 20), 2)]


def test_bounds_must_be_constant():
    def kernel(count: int) -> None:
        for _ in static_range(count):
            pass

    with pytest.raises(ValueError, match="static_range must have constant bounds, got count"):
        specialise(kernel, {}, {})


@part(results=0)
def divided(value: int) -> None:
    value // SIZE


def perhaps(out: list[int]) -> None:
    if SIZE > 0:
        divided(5)
    out.append(SIZE)


def test_a_part_that_is_not_called_is_not_specialised():
    """Constants may mean nothing to it: here it would divide by zero."""
    assert specialise(perhaps, {"SIZE": 0}, {}).source == "def perhaps(out):\n    pass\n    out.append(0)"
    assert specialise(perhaps, {"SIZE": 2}, {}).source.endswith("def divided(value):\n    value // 2")

"""What instructions compute of the numbers in registers, for all threads at once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from interpreter.conversions import TYPES, Function, conversion, directed

_WIDER = {"s16": "s32", "u16": "u32", "s32": "s64", "u32": "u64"}
_COMPARISONS: dict[str, Function] = {
    **{"eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater},
    **{"ge": np.greater_equal, "lo": np.less, "ls": np.less_equal, "hi": np.greater, "hs": np.greater_equal},
}
_LOGIC: dict[str, Function] = {"and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor}


@dataclass(frozen=True)
class Signature:
    """The types of an instruction's result and operands, and what it computes."""

    result: np.dtype[np.generic]
    operands: tuple[np.dtype[np.generic], ...]
    compute: Function


def signature(name: str, modifiers: list[str], count: int) -> Signature | None:
    """Return that of an instruction with so many operands; None if there is none of that name."""
    if name == "cvt" and modifiers[-2] not in ("f16x2", "bf16x2"):
        result, operand, convert = conversion(modifiers)
        return Signature(result, (operand,), convert)
    build = _BUILDERS.get(name)
    return None if build is None else build(modifiers, count)


def _alike(compute: Callable[[list[str]], Function]) -> Callable[[list[str], int], Signature]:
    """All of one type, which is the last modifier."""

    def build(modifiers: list[str], count: int) -> Signature:
        dtype = TYPES[modifiers[-1]]
        return Signature(dtype, (dtype,) * count, compute(modifiers))

    return build


def _plain(compute: Function) -> Callable[[list[str], int], Signature]:
    return _alike(lambda modifiers: compute)


def _rounded(compute: Function, *, in_one_step: bool = True) -> Callable[[list[str], int], Signature]:
    """Of floating-point numbers, rounded as asked for: through float64 where NumPy would not round so, or once only."""

    def choose(modifiers: list[str]) -> Function:
        dtype = TYPES[modifiers[-1]]
        saturate = "sat" in modifiers
        directly = in_one_step and not saturate and not {"rz", "rm", "rp"}.intersection(modifiers)
        if dtype.kind != "f" or dtype.itemsize == 8 or directly:
            return compute
        rounding = directed(modifiers, dtype)

        def through_double(*values: np.ndarray) -> np.ndarray:
            found = rounding(compute(*[value.astype(np.float64) for value in values]))
            return np.clip(np.nan_to_num(found, nan=0.0), 0, 1) if saturate else found

        return through_double

    return _alike(choose)


def _product(modifiers: list[str], count: int) -> Signature:
    """`mul` and `mad`: the low half, the high half, or all of the product of whole numbers; or floating point."""
    kind, dtype = modifiers[-1], TYPES[modifiers[-1]]
    if dtype.kind == "f":
        return _rounded(_multiply_add, in_one_step=count == 2)(modifiers, count)
    if "wide" in modifiers:
        wide = TYPES[_WIDER[kind]]
        return Signature(
            wide,
            (dtype, dtype, wide)[:count],
            lambda x, y, *z: _multiply_add(x.astype(wide), y.astype(wide), *z),
        )
    if "hi" in modifiers:
        return Signature(dtype, (dtype,) * count, lambda x, y, *z: _high(x, y) + (z[0] if z else dtype.type(0)))
    return Signature(dtype, (dtype,) * count, _multiply_add)


def _multiply_add(x: np.ndarray, y: np.ndarray, z: np.ndarray | None = None) -> np.ndarray:
    return x * y if z is None else x * y + z


def _high(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The upper half of the product."""
    bits = 8 * x.dtype.itemsize
    if bits < 64:
        wide = TYPES[("s" if x.dtype.kind == "i" else "u") + str(2 * bits)]
        return ((x.astype(wide) * y.astype(wide)) >> wide.type(bits)).astype(x.dtype)
    mask = np.uint64(0xFFFFFFFF)
    a, b = x.view(np.uint64), y.view(np.uint64)
    low_a, high_a, low_b, high_b = a & mask, a >> np.uint64(32), b & mask, b >> np.uint64(32)
    middle = high_a * low_b + (low_a * low_b >> np.uint64(32))
    other = low_a * high_b + (middle & mask)
    high = high_a * high_b + (middle >> np.uint64(32)) + (other >> np.uint64(32))
    if x.dtype.kind == "i":  # a negative number is 2 ** 64 too large
        high = high - np.where(x < 0, b, np.uint64(0)) - np.where(y < 0, a, np.uint64(0))
    return high.view(x.dtype)


def _divided(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    if x.dtype.kind == "f":
        return x / y
    safe = np.where(y == 0, x.dtype.type(1), y)
    quotient = x // safe
    if x.dtype.kind == "i":  # NumPy's rounds down, this one toward zero
        quotient = quotient + ((x % safe != 0) & ((x < 0) != (safe < 0)))
    return quotient.astype(x.dtype)


def _remainder(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.fmod(x, np.where(y == 0, x.dtype.type(1), y)).astype(x.dtype)


def _extreme(of_numbers: Function, with_nan: Function) -> Callable[[list[str], int], Signature]:
    """`min` or `max`, of which NaN loses unless the modifier says that it wins."""
    return _alike(lambda modifiers: with_nan if "NaN" in modifiers or modifiers[-1][0] != "f" else of_numbers)


def _shift_right(modifiers: list[str], count: int) -> Signature:
    dtype = TYPES[modifiers[-1]]
    return Signature(dtype, (dtype, TYPES["u32"]), _shifted_right)


def _shifted_left(x: np.ndarray, amount: np.ndarray) -> np.ndarray:
    """Zero where all bits go."""
    bits = 8 * x.dtype.itemsize
    found = x << np.minimum(amount, bits - 1).astype(x.dtype)
    return np.where(amount >= bits, x.dtype.type(0), found)


def _shifted_right(x: np.ndarray, amount: np.ndarray) -> np.ndarray:
    """Zero where all bits go, or the sign."""
    bits = 8 * x.dtype.itemsize
    found = x >> np.minimum(amount, bits - 1).astype(x.dtype)
    return found if x.dtype.kind == "i" else np.where(amount >= bits, x.dtype.type(0), found)


def _shift_left(modifiers: list[str], count: int) -> Signature:
    dtype = TYPES[modifiers[-1]]
    return Signature(dtype, (dtype, TYPES["u32"]), _shifted_left)


def _funnel(modifiers: list[str], count: int) -> Signature:
    """`shf`: 32 bits out of 64."""
    left, wrap = "l" in modifiers, "wrap" in modifiers

    def compute(low: np.ndarray, high: np.ndarray, amount: np.ndarray) -> np.ndarray:
        both = low.astype(np.uint64) | (high.astype(np.uint64) << np.uint64(32))
        steps = (amount & np.uint32(31) if wrap else np.minimum(amount, np.uint32(32))).astype(np.uint64)
        found = both << steps >> np.uint64(32) if left else both >> steps
        return found.astype(np.uint32)

    return Signature(TYPES["b32"], (TYPES["b32"], TYPES["b32"], TYPES["u32"]), compute)


def _bit_field(modifiers: list[str], count: int) -> Signature:
    """`bfe`: some bits of a number, with their sign if it has one."""
    dtype = TYPES[modifiers[-1]]
    bits = 8 * dtype.itemsize

    def compute(x: np.ndarray, start: np.ndarray, length: np.ndarray) -> np.ndarray:
        start, length = np.minimum(start & 255, bits), np.minimum(length & 255, bits)
        length = np.minimum(length, bits - start)
        moved = _shifted_left(x, (bits - start - length).astype(np.uint32))
        return np.where(length == 0, dtype.type(0), _shifted_right(moved, (bits - length).astype(np.uint32)))

    return Signature(dtype, (dtype, TYPES["u32"], TYPES["u32"]), compute)


def _bit_insert(modifiers: list[str], count: int) -> Signature:
    dtype = TYPES[modifiers[-1]]
    one = dtype.type(1)

    def compute(x: np.ndarray, into: np.ndarray, start: np.ndarray, length: np.ndarray) -> np.ndarray:
        ones = _shifted_left(np.broadcast_to(one, into.shape), length & np.uint32(255)) - one
        mask = _shifted_left(ones, start & np.uint32(255))
        return (into & ~mask) | (_shifted_left(x, start & np.uint32(255)) & mask)

    return Signature(dtype, (dtype, dtype, TYPES["u32"], TYPES["u32"]), compute)


def _of_bits(compute: Callable[[int, int], int]) -> Callable[[list[str], int], Signature]:
    """One number at a time, by Python: a function of the number and its width."""

    def build(modifiers: list[str], count: int) -> Signature:
        dtype = TYPES[modifiers[-1]]
        result = dtype if compute is _reversed else TYPES["u32"]
        bits = 8 * dtype.itemsize
        return Signature(result, (dtype,), lambda x: np.array([compute(int(one), bits) for one in x], result))

    return build


def _reversed(x: int, bits: int) -> int:
    return int(f"{x:0{bits}b}"[::-1], 2)


def _permute(modifiers: list[str], count: int) -> Signature:
    """`prmt`: any four of eight bytes."""

    def compute(low: np.ndarray, high: np.ndarray, selector: np.ndarray) -> np.ndarray:
        both = low.astype(np.uint64) | (high.astype(np.uint64) << np.uint64(32))
        found = np.zeros_like(low)
        for byte in range(4):
            chosen = (selector >> np.uint32(4 * byte)) & np.uint32(15)
            value = (both >> (8 * (chosen & np.uint32(7))).astype(np.uint64)) & np.uint64(255)
            sign = np.where(value >= 128, np.uint64(255), np.uint64(0))
            value = np.where(chosen >= 8, sign, value)
            found |= value.astype(np.uint32) << np.uint32(8 * byte)
        return found

    return Signature(TYPES["b32"], (TYPES["b32"],) * 3, compute)


def _three_way_logic(modifiers: list[str], count: int) -> Signature:
    """`lop3`: any function of three bits, as the table that is the last operand."""

    def compute(x: np.ndarray, y: np.ndarray, z: np.ndarray, table: np.ndarray) -> np.ndarray:
        found = np.zeros_like(x)
        for row in range(8):
            term = (x if row & 4 else ~x) & (y if row & 2 else ~y) & (z if row & 1 else ~z)
            found |= np.where((table >> np.uint32(row)) & np.uint32(1), term, np.uint32(0))
        return found

    return Signature(TYPES["b32"], (TYPES["b32"],) * 4, compute)


def _comparison(modifiers: list[str], count: int) -> Signature:
    """`setp` of one result; unordered comparisons, which end in u, hold for NaN as well."""
    test, dtype = modifiers[0], TYPES[modifiers[-1]]
    combine = next((_LOGIC[name] for name in modifiers[1:-1] if name in _LOGIC), None)
    if test in ("num", "nan"):
        base: Function = lambda x, y: (np.isnan(x) | np.isnan(y)) == (test == "nan")  # noqa: E731
    elif test in _COMPARISONS:
        ordered = _COMPARISONS[test]
        unequal = test == "ne" and dtype.kind == "f"  # false for NaN, unlike NumPy's
        base = (lambda x, y: (x != y) & ~np.isnan(x) & ~np.isnan(y)) if unequal else ordered
    else:
        loose = _COMPARISONS[test[:-1]]
        base = lambda x, y: loose(x, y) | np.isnan(x) | np.isnan(y)  # noqa: E731
    if combine is None:
        return Signature(TYPES["pred"], (dtype, dtype), base)
    both = combine
    return Signature(TYPES["pred"], (dtype, dtype, TYPES["pred"]), lambda x, y, p: both(base(x, y), p))


def _selection(modifiers: list[str], count: int) -> Signature:
    dtype = TYPES[modifiers[-1]]
    return Signature(dtype, (dtype, dtype, TYPES["pred"]), lambda x, y, p: np.where(p, x, y))


def _conversion_of_pairs(modifiers: list[str], count: int) -> Signature:
    """`cvt` of two float32 to two halves of 32 bits, the first of them above."""
    halves: Function = conversion([modifiers[-2].removesuffix("x2"), "f32"])[2]

    def compute(high: np.ndarray, low: np.ndarray) -> np.ndarray:
        bits = [halves(one).view(np.uint16).astype(np.uint32) for one in (high, low)]
        return (bits[0] << np.uint32(16)) | bits[1]

    return Signature(TYPES["b32"], (TYPES["f32"], TYPES["f32"]), compute)


_BUILDERS: dict[str, Callable[[list[str], int], Signature]] = {
    "add": _rounded(np.add),
    "sub": _rounded(np.subtract),
    "mul": _product,
    "mad": _product,
    "fma": _rounded(_multiply_add, in_one_step=False),
    "div": _rounded(_divided),
    "rem": _plain(_remainder),
    "min": _extreme(np.fmin, np.minimum),
    "max": _extreme(np.fmax, np.maximum),
    "abs": _plain(np.abs),
    "neg": _plain(np.negative),
    "sqrt": _rounded(np.sqrt),
    "rsqrt": _rounded(lambda x: 1 / np.sqrt(x)),
    "rcp": _rounded(lambda x: 1 / x),
    "ex2": _rounded(np.exp2),
    "lg2": _rounded(np.log2),
    "sin": _rounded(np.sin),
    "cos": _rounded(np.cos),
    "tanh": _rounded(np.tanh),
    "copysign": _plain(lambda sign, size: np.copysign(size, sign)),
    "and": _plain(np.bitwise_and),
    "or": _plain(np.bitwise_or),
    "xor": _plain(np.bitwise_xor),
    "not": _plain(np.invert),
    "shl": _shift_left,
    "shr": _shift_right,
    "shf": _funnel,
    "bfe": _bit_field,
    "bfi": _bit_insert,
    "popc": _of_bits(lambda x, bits: x.bit_count()),
    "clz": _of_bits(lambda x, bits: bits - x.bit_length()),
    "brev": _of_bits(_reversed),
    "prmt": _permute,
    "lop3": _three_way_logic,
    "setp": _comparison,
    "selp": _selection,
    "cvt": _conversion_of_pairs,
}

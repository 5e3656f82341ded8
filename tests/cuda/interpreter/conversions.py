"""The types of PTX as NumPy's, and conversions between them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Function = Callable[..., np.ndarray]

#: bfloat16 and tf32, which NumPy lacks, are held as their bits.
TYPES = {
    **{f"{kind}{bits}": np.dtype(f"uint{bits}") for kind in "bu" for bits in (8, 16, 32, 64)},
    **{f"s{bits}": np.dtype(f"int{bits}") for bits in (8, 16, 32, 64)},
    **{f"f{bits}": np.dtype(f"float{bits}") for bits in (16, 32, 64)},
    "bf16": np.dtype("uint16"),
    "tf32": np.dtype("uint32"),
    "pred": np.dtype(bool),
}
UNSIGNED = {1: TYPES["u8"], 2: TYPES["u16"], 4: TYPES["u32"], 8: TYPES["u64"]}

_TO_WHOLE = {"rni": np.rint, "rzi": np.trunc, "rmi": np.floor, "rpi": np.ceil}


def resized(bits: np.ndarray, dtype: np.dtype[np.generic]) -> np.ndarray:
    """`bits` as `dtype`: the same bits if it is as wide, else the lowest of them, or with zeros before them."""
    if bits.dtype == dtype:
        return bits
    if bits.dtype.itemsize != dtype.itemsize:
        bits = bits.view(UNSIGNED[bits.dtype.itemsize]).astype(UNSIGNED[dtype.itemsize])
    return bits.view(dtype)


def from_bfloat16(bits: np.ndarray) -> np.ndarray:
    """Widen, which is exact."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def to_bfloat16(values: np.ndarray) -> np.ndarray:
    """Round float32 to the nearest, ties to even."""
    bits = values.astype(np.float32).view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return np.where(np.isnan(values), 0x7FFF, rounded).astype(np.uint16)


def to_tf32(values: np.ndarray) -> np.ndarray:
    """Round float32 to the nearest of 11 significant bits, ties away from zero: the lower 13 bits become zeros."""
    bits = values.astype(np.float32).view(np.uint32)
    return np.where(np.isnan(values), np.uint32(0x7FFFFFFF), (bits + np.uint32(0x1000)) & np.uint32(0xFFFFE000))


def conversion(modifiers: list[str]) -> tuple[np.dtype[np.generic], np.dtype[np.generic], Function]:
    """Return the types of the result and the operand of a `cvt`, and what it does."""
    target, source = modifiers[-2:]
    result, operand = TYPES[target], TYPES[source]
    if target == "tf32":
        return result, operand, to_tf32
    if target == "bf16":
        return result, operand, to_bfloat16
    if source == "bf16":
        return result, operand, lambda bits: from_bfloat16(bits).astype(result)
    to_whole = next((_TO_WHOLE[name] for name in modifiers if name in _TO_WHOLE), None)
    if result.kind == "f":
        rounded = to_whole or directed(modifiers, result)
        return result, operand, lambda values: rounded(values).astype(result)
    if operand.kind == "f":
        return result, operand, lambda values: _clipped((to_whole or np.trunc)(values), result)
    if "sat" in modifiers:
        return result, operand, lambda values: _clipped(values, result)
    return result, operand, lambda values: values.astype(result)


def _clipped(values: np.ndarray, dtype: np.dtype[np.generic]) -> np.ndarray:
    """Whole numbers as the nearest that `dtype` has; NaN as 0."""
    limits = np.iinfo(dtype)
    wide = np.where(np.isnan(values), 0, values)
    found = np.clip(wide, limits.min, limits.max).astype(dtype)
    found[wide >= limits.max] = limits.max  # which a floating-point number may not be able to say
    return found


def directed(modifiers: list[str], dtype: np.dtype[np.generic]) -> Function:
    """Return the rounding from float64 that the modifiers ask for; to the nearest if they ask for none."""
    mode = next((name for name in modifiers if name in ("rz", "rm", "rp")), "rn")

    def rounded(values: np.ndarray) -> np.ndarray:
        nearest = values.astype(dtype)
        if mode == "rn" or values.dtype.itemsize <= dtype.itemsize:
            return nearest
        toward = {"rm": -np.inf, "rp": np.inf, "rz": 0.0}[mode]
        beyond = {"rm": nearest > values, "rp": nearest < values, "rz": np.abs(nearest) > np.abs(values)}[mode]
        return np.where(beyond, np.nextafter(nearest, dtype.type(toward)), nearest)

    return rounded

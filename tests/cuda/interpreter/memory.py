"""Global memory: one stretch of the computer's own, in which allocations lie apart."""

from __future__ import annotations

import math

import numpy as np

from interpreter.errors import MisalignedError, OutOfBoundsError

ALIGNMENT = 256  # bytes, as the driver's allocations are
GUARD = 256  # bytes between allocations that belong to none


class Memory:
    """Allocations, at the addresses that they have in this process, so that NumPy can look at them.

    What is freed is not used again: an access to it is found, too.
    """

    def __init__(self, capacity: int = 1 << 28) -> None:
        raw = np.zeros(capacity + ALIGNMENT, np.uint8)  # pages that are never touched take no memory
        self.bytes = raw[-raw.ctypes.data % ALIGNMENT :][:capacity]
        self.base: int = self.bytes.ctypes.data
        self._allocated = np.zeros(capacity, bool)
        self._sizes: dict[int, int] = {}
        self._end = GUARD

    @property
    def size(self) -> int:
        """Bytes that were ever used."""
        return self._end

    def allocate(self, size: int) -> int:
        """Return the address of so many bytes that nobody has written: floating-point numbers are NaN."""
        start = -(-self._end // ALIGNMENT) * ALIGNMENT
        self._end = start + size + GUARD
        if self._end > len(self.bytes):
            raise MemoryError(f"{self._end} bytes are more than the {len(self.bytes)} of this memory")
        self.bytes[start : start + size] = 0xFF
        self._allocated[start : start + size] = True
        self._sizes[self.base + start] = size
        return self.base + start

    def free(self, address: int) -> None:
        """Give an allocation back."""
        start = address - self.base
        self._allocated[start : start + self._sizes.pop(address)] = False

    def array(self, address: int, shape: tuple[int, ...], dtype: object) -> np.ndarray:
        """Return a view of what lies at an address."""
        kind = np.dtype(dtype)  # type: ignore[call-overload]
        start = address - self.base
        return self.bytes[start : start + math.prod(shape) * kind.itemsize].view(kind).reshape(shape)

    def places(self, addresses: np.ndarray, size: int, active: np.ndarray | None, text: str) -> np.ndarray:
        """Return the offsets of accesses of `size` bytes by the active threads; 0 for the others."""
        offsets = addresses - self.base
        if active is not None:
            offsets = np.where(active, offsets, 0)
        check_alignment(offsets, size, text)
        last = offsets + (size - 1)
        inside = (offsets >= 0) & (last < len(self.bytes))
        inside &= self._allocated[np.where(inside, offsets, 0)] & self._allocated[np.where(inside, last, 0)]
        if active is not None:
            inside |= ~active
        if not inside.all():
            thread = int(np.argmin(inside))
            raise OutOfBoundsError(f"{size} bytes at {self._nearest(int(offsets[thread]))}: {text}")
        return offsets

    def _nearest(self, offset: int) -> str:
        """Say where an address is, as seen from the allocation before it."""
        before = [start - self.base for start in self._sizes if start - self.base <= offset]
        if not before:
            return f"offset {offset}, before every allocation"
        start = max(before)
        return f"byte {offset - start} of an allocation of {self._sizes[self.base + start]}"


def check_alignment(places: np.ndarray, size: int, text: str) -> None:
    """Raise unless all are multiples of the access's size."""
    if (places & (size - 1)).any():
        worst = int(places[(places & (size - 1)) != 0][0])
        raise MisalignedError(f"{size} bytes at an address that is {worst % size} beyond a multiple of them: {text}")

"""Whether two threads touch the same bytes, one of them writing, with nothing between that orders them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from interpreter.errors import RaceError

_NOBODY = -1
_SEVERAL_BLOCKS = -2
_FIRST_BLOCK = -3  # threads of block b, several of them, are written -3 - b

#: Time of a thread is barriers passed by its block times this, and more for those passed by its warp alone.
_BLOCK_STEP = 1 << 20


@dataclass(slots=True)
class Threads:
    """Who the lanes are; all as arrays of a number a lane."""

    thread: np.ndarray  # in the whole grid
    block: np.ndarray
    warp: np.ndarray  # in the whole grid
    time: np.ndarray

    def pass_barrier(self, lanes: np.ndarray) -> None:
        """Order what these blocks did before a barrier and what they do after it."""
        self.time[lanes] = (self.time[lanes] // _BLOCK_STEP + 1) * _BLOCK_STEP

    def pass_warp_barrier(self, lanes: np.ndarray | slice) -> None:
        """Order the same for warps."""
        self.time[lanes] += 1


class Watch:
    """Who wrote and who read each granule of a memory last, in one launch."""

    def __init__(self, size: int, granule: int, threads_a_block: int) -> None:
        count = -(-size // granule)
        self._granule, self._block_size = granule, threads_a_block
        self._writer, self._reader = np.full(count, _NOBODY, np.int64), np.full(count, _NOBODY, np.int64)
        self._written, self._read = np.zeros(count, np.int64), np.zeros(count, np.int64)

    def look(self, places: np.ndarray, size: int, lanes: np.ndarray, who: Threads, text: str, *, writes: bool) -> None:
        """Note accesses of `size` bytes, each by a lane, and raise RaceError if one collides with an earlier one."""
        each = max(1, size // self._granule)
        granules = (places // self._granule)[:, None] + np.arange(each)
        mine = [np.repeat(array[lanes], each) for array in (who.thread, who.block, who.warp, who.time)]
        flat = granules.ravel()
        self._collide(flat, self._writer, self._written, mine, "written", text)
        if writes:
            self._collide(flat, self._reader, self._read, mine, "read", text)
            self._writer[flat], self._written[flat] = mine[0], mine[3]
            if (self._writer[flat] != mine[0]).any():
                raise RaceError(f"two threads write the same bytes in one step: {text}")
        else:
            self._note_readers(flat, mine)

    def _collide(
        self, flat: np.ndarray, holder: np.ndarray, when: np.ndarray, mine: list[np.ndarray], verb: str, text: str
    ) -> None:
        """Raise if the last one to have touched a granule is another thread, which nothing orders before this one."""
        thread, block, warp, time = mine
        other, before = holder[flat], when[flat]
        suspects = (other != _NOBODY) & (other != thread)
        if not suspects.any():
            return
        other_block = np.where(other >= 0, other // self._block_size, _FIRST_BLOCK - other)
        same_block = other_block == block
        same_warp = same_block & (other >= 0) & (self._warp_of(other) == warp)
        ordered = same_block & (time // _BLOCK_STEP > before // _BLOCK_STEP) | same_warp & (time > before)
        races = suspects & ~ordered
        if races.any():
            first = int(np.argmax(races))
            raise RaceError(
                f"thread {thread[first] % self._block_size} of block {block[first]} touches what was {verb} by "
                f"{self._name(int(other[first]))} since the last barrier: {text}"
            )

    def _warp_of(self, thread: np.ndarray) -> np.ndarray:
        """As `Threads.warp` counts them: each block begins a warp."""
        block, inside = thread // self._block_size, thread % self._block_size
        warps: np.ndarray = block * -(-self._block_size // 32) + inside // 32
        return warps

    def _name(self, holder: int) -> str:
        if holder == _SEVERAL_BLOCKS:
            return "several blocks"
        if holder < 0:
            return f"several threads of block {_FIRST_BLOCK - holder}"
        return f"thread {holder % self._block_size} of block {holder // self._block_size}"

    def _note_readers(self, flat: np.ndarray, mine: list[np.ndarray]) -> None:
        """Keep the reader of each granule; of several, their block; of several blocks, that."""
        thread, block, _, time = mine
        other, before = self._reader[flat], self._read[flat]
        several = (other != _NOBODY) & (other != thread)
        other_block = np.where(other >= 0, other // self._block_size, _FIRST_BLOCK - other)
        same_block = other_block == block
        past = same_block & (time // _BLOCK_STEP > before // _BLOCK_STEP)  # ordered: it need not be known any more
        code = np.where(several & ~past, np.where(same_block, _FIRST_BLOCK - block, _SEVERAL_BLOCKS), thread)
        self._reader[flat], self._read[flat] = code, time
        beaten = self._reader[flat] != code  # several threads in this very step
        if beaten.any():
            granules, block = flat[beaten], block[beaten]
            winners = self._reader[granules]
            same = np.where(winners >= 0, winners // self._block_size, _FIRST_BLOCK - winners) == block
            self._reader[granules[same]] = _FIRST_BLOCK - block[same]
            self._reader[granules[~same]] = _SEVERAL_BLOCKS

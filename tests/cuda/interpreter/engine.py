"""The engine that copies tiles (TMA), and the one that multiplies them: what they have under way in a block.

Both look at shared memory by pieces of 16 bytes. Of each piece it is known which phase of which barrier its last tile
counts in, which products of each warpgroup read it, and whether a thread has written it that has not let the engines
see it since.

A tile to load arrives as late as can be: when no thread can go on without it. A tile to store is read when its thread
waits for it, or at the end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from interpreter.barriers import ROWS, WARPGROUP, Barrier
from interpreter.errors import BarrierError, InterpreterError, RaceError

if TYPE_CHECKING:
    from interpreter.machine import Machine

PIECE = 16  # bytes
_UNDER_WAY = np.iinfo(np.int64).max


class Store(NamedTuple):
    """Tiles to store, a group of a lane's."""

    lane: int
    read: list[Callable[[], None]]


class Engine:
    """What is under way in a block."""

    def __init__(self, machine: Machine, block: int) -> None:
        self._machine, self._first = machine, block * machine.block_size
        self.barriers: dict[int, Barrier] = {}
        self._loads: list[Callable[[], None]] = []
        self._open: dict[int, list[Callable[[], None]]] = {}
        self._stores: list[Store] = []
        pieces = -(-machine.shared_bytes // PIECE)
        groups = -(-machine.block_size // WARPGROUP)
        self._writer, self._phase = np.full(pieces, -1), np.zeros(pieces, np.int64)
        self._read = np.zeros((groups, pieces), np.int64)
        self._unseen = np.full(pieces, -1)  # the thread that wrote
        self._products = np.zeros(groups, np.int64)  # times that a warpgroup waited
        self._groups: list[list[np.ndarray]] = [[] for _ in range(groups)]  # pieces that are read, by groups
        self._current: list[list[np.ndarray]] = [[] for _ in range(groups)]

    def barrier(self, place: int, text: str) -> Barrier:
        """Return the barrier at an address."""
        found = self.barriers.get(place)
        if found is None:
            raise BarrierError(f"there is no barrier at {place}: {text}")
        return found

    # Threads.

    def written(self, lanes: np.ndarray, places: np.ndarray, size: int) -> None:
        """Note that threads wrote so many bytes."""
        pieces = (places // PIECE)[:, None] + np.arange(max(1, size // PIECE))
        self._unseen[pieces] = lanes[:, None]

    def show(self, lanes: np.ndarray) -> None:
        """Let the engines see what threads wrote: `fence.proxy.async`."""
        self._unseen[np.isin(self._unseen, lanes)] = -1

    def check_arrived(self, pieces: np.ndarray, lanes: np.ndarray, text: str) -> None:
        """Raise unless each of these threads knows that the tiles that lie there have come."""
        pieces = np.unique(pieces)
        for row in np.unique(self._writer[pieces]):
            if row >= 0:
                latest = self._phase[pieces[self._writer[pieces] == row]].max()
                if (self._machine.known[row, lanes] < latest).any():
                    raise RaceError(f"a thread reads a tile without having waited for it: {text}")

    def check_read(self, lanes: np.ndarray, places: np.ndarray, size: int, text: str) -> None:
        """Raise unless each thread knows that the tile that it reads so many bytes of has come."""
        pieces = (places // PIECE)[:, None] + np.arange(max(1, size // PIECE))
        rows, known = self._writer[pieces], self._machine.known
        if (rows >= 0).any() and (known[rows, lanes[:, None]] < self._phase[pieces])[rows >= 0].any():
            raise RaceError(f"a thread reads a tile without having waited for it: {text}")

    def _check_seen(self, pieces: np.ndarray, text: str) -> None:
        if (self._unseen[pieces] >= 0).any():
            raise RaceError(f"what thread {self._unseen[pieces].max()} wrote was not shown to the engine: {text}")

    # Products.

    def multiply(self, group: int, pieces: np.ndarray, text: str) -> None:
        """Note that a warpgroup's products read pieces, until they are waited for."""
        lanes = self._first + group * WARPGROUP + np.arange(WARPGROUP)
        self._check_seen(pieces, text)
        self.check_arrived(pieces, lanes, text)
        self._read[group, pieces] = _UNDER_WAY
        self._current[group].append(pieces)

    def commit_products(self, group: int) -> None:
        """Close a group of products."""
        self._groups[group].append(np.concatenate(self._current[group]) if self._current[group] else np.zeros(0, int))
        self._current[group] = []

    def wait_for_products(self, group: int, most: int) -> None:
        """End all but so many groups of products."""
        self._products[group] += 1
        done, self._groups[group] = self._groups[group][: len(self._groups[group]) - most], self._groups[group][-most:]
        if not most:
            self._groups[group] = []
        left = [*self._groups[group], *self._current[group]]
        still = np.unique(np.concatenate(left)) if left else np.zeros(0, int)
        for pieces in done:
            self._read[group, np.setdiff1d(pieces, still)] = self._products[group]
        lanes = self._first + group * WARPGROUP + np.arange(WARPGROUP)
        self._machine.known[group, lanes] = self._products[group]

    # Tiles.

    def load(self, lane: int, place: int, pieces: np.ndarray, size: int, land: Callable[[], None], text: str) -> None:
        """Let a tile be on its way that counts at a barrier."""
        barrier = self.barrier(place, text)
        if not barrier.announced:
            raise BarrierError(f"the barrier was not announced to the engine: {text}")
        known = self._machine.known[:, lane]
        groups = len(self._read)
        if (self._read[:, pieces] > known[:groups, None]).any():
            raise RaceError(f"a tile is loaded where products may still read the one before: {text}")
        rows = self._writer[pieces]
        if (self._phase[pieces] > known[rows])[rows >= 0].any():
            raise RaceError(f"a tile is loaded where the one before may still be on its way: {text}")
        self._writer[pieces], self._phase[pieces] = barrier.row, barrier.phase + 1
        self._unseen[pieces] = -1

        def arrive() -> None:
            land()
            barrier.missing -= size
            barrier.end_phase()

        self._loads.append(arrive)

    def land(self) -> bool:
        """Let all tiles arrive that are on their way; whether there were any."""
        found, self._loads = self._loads, []
        for arrive in found:
            arrive()
        return bool(found)

    def store(self, lane: int, pieces: np.ndarray, read: Callable[[], None], text: str) -> None:
        """Let a tile be read, until it is waited for."""
        self._check_seen(pieces, text)
        self._open.setdefault(lane, []).append(read)

    def commit_stores(self, lane: int) -> None:
        """Close a group of a thread's tiles."""
        self._stores.append(Store(lane, self._open.pop(lane, [])))

    def wait_for_stores(self, lane: int, most: int) -> None:
        """Read all but so many groups of a thread's tiles."""
        mine = [one for one in self._stores if one.lane == lane]
        for one in mine[: len(mine) - most]:
            self._stores.remove(one)
            for read in one.read:
                read()

    def end(self) -> None:
        """Raise if a block's threads end while something is under way."""
        if self._stores or self._open:
            raise InterpreterError("a thread ended before its tiles were stored")
        if self._loads:
            raise InterpreterError("a block ended while tiles were on their way to it")


__all__ = ["PIECE", "ROWS", "Engine"]

"""The machine: blocks of threads as lanes, which of them execute what next, and barriers."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import numpy as np

from interpreter import barriers
from interpreter.conversions import TYPES
from interpreter.engine import Engine
from interpreter.errors import BarrierError, InterpreterError, OutOfBoundsError
from interpreter.instructions import step_of
from interpreter.memory import Memory, check_alignment
from interpreter.operands import PARAMETERS, WARP, Active, Read, Step, reader
from interpreter.parsing import Kernel
from interpreter.races import Threads, Watch

LANES = 4096  # threads that are interpreted together, in whole blocks
MOST_STEPS = 2_000_000  # of instructions by one batch of blocks: an endless loop is found

Triple = tuple[int, int, int]


@dataclass(slots=True)
class _Copy:
    """What some lanes sent with one instruction; all as arrays, the first axis of which is lanes."""

    lanes: np.ndarray
    group: np.ndarray  # that it belongs to, by the number of those that its thread committed before
    targets: np.ndarray
    data: np.ndarray

    def of(self, chosen: np.ndarray) -> _Copy:
        """Return what some of the lanes sent."""
        return _Copy(self.lanes[chosen], self.group[chosen], self.targets[chosen], self.data[chosen])


class Copies:
    """Data on its way from global to shared memory, in groups of each thread."""

    def __init__(self, count: int) -> None:
        self._committed = np.zeros(count, np.int64)  # groups of each thread
        self._pending: list[_Copy] = []

    def begin(self, lanes: np.ndarray, targets: np.ndarray, data: np.ndarray) -> None:
        """Send data on its way."""
        self._pending.append(_Copy(lanes, self._committed[lanes], targets, data))

    def commit(self, active: Active) -> None:
        """Close a group."""
        self._committed[slice(None) if active is None else active] += 1

    def land(self, most: int, active: Active, memory: np.ndarray) -> None:
        """Let threads wait until no more than so many of their groups are on their way."""
        limit = self._committed - most
        if active is not None:
            limit = np.where(active, limit, 0)
        rest = []
        for copy in self._pending:
            landed = copy.group < limit[copy.lanes]
            arrived = copy.of(landed)
            memory[arrived.targets] = arrived.data
            if not landed.all():
                rest.append(copy.of(~landed))
        self._pending = rest


@dataclass(slots=True)
class _Code:
    """An instruction, ready to execute."""

    kind: str  # "step", "bra", "bar", "exit", "wait"
    guard: Read | None
    negated: bool
    step: Step | None
    target: int
    text: str
    passed: Read | None = None  # of "wait": who goes on


def launch(
    kernel: Kernel,
    memory: Memory,
    grid: Triple,
    block: Triple,
    parameters: bytes,
    shared_bytes: int = 0,
    *,
    races: bool = True,
) -> None:
    """Run a kernel.

    `parameters` is the block that the driver would hand over; `shared_bytes` are those beyond what the kernel
    declares.
    """
    if len(parameters) != kernel.parameter_bytes:
        raise InterpreterError(f"{len(parameters)} bytes of parameters, {kernel.name} takes {kernel.parameter_bytes}")
    threads = block[0] * block[1] * block[2]
    if not 0 < threads <= 1024 or min(grid) < 1 or max(grid[1:]) > 65535:
        raise InterpreterError(f"no launch: {grid} blocks of {block} threads")
    code = _ready_code(kernel)
    granule = _least_access(kernel)
    watch = Watch(memory.size, granule, threads) if races else None
    for blocks in _batches(grid, max(1, LANES // threads)):
        machine = Machine(kernel, memory, grid, block, blocks, parameters, shared_bytes)
        if watch is not None:
            machine.watches = {"global": watch, "shared": Watch(len(machine.shared), granule, threads)}
        if any(one.name in ("mbarrier", "wgmma") for one in kernel.instructions):
            machine.start_engines()
        with np.errstate(all="ignore"):
            machine.run(code)


def _batches(grid: Triple, count: int) -> Iterator[list[Triple]]:
    every = ((x, y, z) for z in range(grid[2]) for y in range(grid[1]) for x in range(grid[0]))
    while batch := list(itertools.islice(every, count)):
        yield batch


def _least_access(kernel: Kernel) -> int:
    """Return the bytes of the narrowest access, by which memory is watched; four at most."""
    kinds = [one.modifiers[-1] for one in kernel.instructions if one.name in ("ld", "st", "atom", "red", "cp")]
    return min([4, *(TYPES[kind].itemsize for kind in kinds if kind in TYPES)])


def _ready_code(kernel: Kernel) -> list[_Code]:
    """Return a kernel's instructions ready to execute, which takes longer than to execute most of them once."""
    if not kernel.ready:
        kernel.ready = [_ready(kernel, place) for place in range(len(kernel.instructions))]
    return cast("list[_Code]", kernel.ready)


def _ready(kernel: Kernel, place: int) -> _Code:
    instruction = kernel.instructions[place]
    guard = None if instruction.guard is None else reader(instruction.guard, kernel, TYPES["pred"])
    name, step, target = instruction.name, None, 0
    if name == "bra":
        kind, target = "bra", kernel.target(instruction)
    elif name in ("ret", "exit"):
        kind = "exit"
    elif name in ("bar", "barrier") and "warp" not in instruction.modifiers:
        kind = "bar"
        if instruction.operands != ["0"]:
            raise InterpreterError(f"barriers of a part of a block are not interpreted: {instruction.text}")
    elif name == "mbarrier" and instruction.modifiers[0] not in ("init", "arrive"):
        passed, step = barriers.waiting(instruction, kernel)
        return _Code("wait", guard, instruction.negated, step, target, instruction.text, passed)
    else:
        kind, step = "step", step_of(instruction, kernel)
    return _Code(kind, guard, instruction.negated, step, target, instruction.text)


class Machine:
    """Some blocks: a lane for each of their threads."""

    def __init__(
        self,
        kernel: Kernel,
        memory: Memory,
        grid: Triple,
        block: Triple,
        blocks: list[Triple],
        parameters: bytes,
        shared_bytes: int,
    ) -> None:
        size = block[0] * block[1] * block[2]
        self.count, self.parameters, self.memory = size * len(blocks), parameters, memory
        self.block_size, self.blocks = size, len(blocks)
        self.registers: dict[str, np.ndarray] = {}
        self.watches: dict[str, Watch] = {}
        self.copies = Copies(self.count)
        inside = np.tile(np.arange(size), len(blocks))
        slot = np.repeat(np.arange(len(blocks)), size)
        warps = -(-size // WARP)
        self.warp, self.warps = slot * warps + inside // WARP, warps * len(blocks)
        number = np.array([x + grid[0] * (y + grid[1] * z) for x, y, z in blocks])[slot]
        self.threads = Threads(
            number * size + inside, number, number * warps + inside // WARP, np.zeros(self.count, np.int64)
        )
        self.special = _special(inside, np.array(blocks)[slot], grid, block, shared_bytes)
        self.addresses, self.shared_bytes = _lay_out(kernel, memory, shared_bytes)
        self.shared = np.full(self.shared_bytes * len(blocks), 0xFF, np.uint8)
        self._shared_start = slot * self.shared_bytes
        self.engines: list[Engine] = []  # of each block, if the kernel uses them
        self.known = np.zeros((0, self.count), np.int64)  # what each thread knows, see `barriers`
        self.asking = np.zeros(self.count, bool)  # who asks whether a phase has ended

    def start_engines(self) -> None:
        """Have engines that copy and multiply."""
        self.known = np.zeros((barriers.ROWS, self.count), np.int64)
        self.engines = [Engine(self, block) for block in range(self.blocks)]

    def engine(self, lane: int) -> Engine:
        """Return the engine of a lane's block."""
        return self.engines[lane // self.block_size]

    def shared_start(self, lane: int) -> int:
        """Return where the shared memory of a lane's block begins."""
        return int(self._shared_start[lane])

    def parameter_bytes(self, address: int, size: int) -> bytes:
        """Return so many bytes of the parameters."""
        offset = address - PARAMETERS
        if not 0 <= offset <= len(self.parameters) - size:
            raise OutOfBoundsError(f"{size} bytes at {address:#x} are no parameters")
        return self.parameters[offset : offset + size]

    def watch_engine(self, space: str, places: np.ndarray, size: int, lane: int, text: str, *, writes: bool) -> None:
        """Note what an engine does for a lane as if the lane did it."""
        watch = self.watches.get(space)
        if watch is not None:
            lanes = np.full(places.size, lane)
            watch.look(places.ravel(), size, lanes, self.threads, text, writes=writes)

    def look(
        self, space: str, addresses: np.ndarray, size: int, active: Active, text: str, writes: bool | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Check an access, and return the memory and the places in it; `writes` is None of an atomic access."""
        if space == "generic":
            low = addresses[slice(None) if active is None else active] < len(self.shared)
            if low.any() and not low.all():
                raise InterpreterError(f"threads access different spaces: {text}")
            space = "shared" if low.all() else "global"
        if space == "shared":
            places = self._shared_places(addresses, size, active, text)
            memory = self.shared
        else:
            places = self.memory.places(addresses, size, active, text)
            memory, space = self.memory.bytes, "global"
        watch = self.watches.get(space)
        if watch is not None and writes is not None:
            lanes = np.arange(self.count) if active is None else np.flatnonzero(active)
            watch.look(places[lanes], size, lanes, self.threads, text, writes=writes)
        if space == "shared" and self.engines:
            self._tell_engines(places - self._shared_start, size, active, text, writes=writes is not False)
        return memory, places

    def _tell_engines(self, places: np.ndarray, size: int, active: Active, text: str, *, writes: bool) -> None:
        lanes = barriers.lanes_of(self, active)
        for block in np.unique(lanes // self.block_size):
            mine = lanes[lanes // self.block_size == block]
            if writes:
                self.engines[block].written(mine, places[mine], size)
            else:
                self.engines[block].check_read(mine, places[mine], size, text)

    def _shared_places(self, addresses: np.ndarray, size: int, active: Active, text: str) -> np.ndarray:
        inside = addresses if active is None else np.where(active, addresses, 0)
        check_alignment(inside, size, text)
        if active is None or active.any():
            low, high = int(inside.min()), int(inside.max()) + size
            if low < 0 or high > self.shared_bytes:
                raise OutOfBoundsError(f"bytes {low} to {high} of {self.shared_bytes} of shared memory: {text}")
        places: np.ndarray = inside + self._shared_start
        return places

    def run(self, code: list[_Code]) -> None:
        """Execute: always those threads that are furthest back, so that ways that part come together again."""
        pending: dict[int, np.ndarray] = {0: np.ones(self.count, bool)}
        waiting, steps = np.full(self.count, -1), 0
        self._parked: dict[int, np.ndarray] = {}
        while pending or self._parked or (waiting >= 0).any():
            if not pending:
                pending = self._wake(code) or self._release(waiting, code)
            place = min(pending)
            lanes = pending.pop(place)
            steps += self._follow(code, place, lanes, pending, waiting)
            if steps > MOST_STEPS:
                raise InterpreterError(f"no end after {steps} instructions: {code[place].text}")
        for engine in self.engines:
            engine.end()

    def _wake(self, code: list[_Code]) -> dict[int, np.ndarray]:
        """Let threads go on that wait for a phase which has ended, or ends once tiles arrive; none if none wait."""
        if not self._parked:
            return {}
        for _ in range(2):
            found = {}
            for place, lanes in self._parked.items():
                self.asking = lanes
                passed = code[place].passed
                assert passed is not None
                ready = passed(self)
                if ready.any():
                    found[place] = ready
            if found:
                left = {place: lanes & ~found.get(place, False) for place, lanes in self._parked.items()}
                self._parked = {place: lanes for place, lanes in left.items() if lanes.any()}
                return found
            if not any([engine.land() for engine in self.engines]):
                break
        place = min(self._parked)
        raise BarrierError(f"{self._parked[place].sum()} threads wait for a phase that never ends: {code[place].text}")

    def _follow(
        self, code: list[_Code], place: int, lanes: np.ndarray, pending: dict[int, np.ndarray], waiting: np.ndarray
    ) -> int:
        """Execute with some threads until they part, stop, or meet others; return the number of instructions."""
        meeting = min(pending, default=len(code))
        active = None if lanes.all() else lanes
        for steps in itertools.count(1):
            one = code[place]
            executing = lanes
            if one.guard is not None:
                predicate = one.guard(self)
                executing = lanes & (~predicate if one.negated else predicate)
            if one.kind == "wait":
                assert one.passed is not None
                assert one.step is not None
                self.asking = executing
                passed = one.passed(self)
                if passed.any():
                    one.step(self, None if passed.all() else passed)
                if not (passed == executing).all():
                    _add(self._parked, place, executing & ~passed)
                    rest = lanes & ~(executing & ~passed)
                    if rest.any():
                        _add(pending, place + 1, rest)
                    return steps
                place += 1
            elif one.kind == "step":
                assert one.step is not None
                if one.guard is None:
                    one.step(self, active)
                elif executing.any():
                    one.step(self, None if executing.all() else executing)
                place += 1
            else:
                rest = lanes if one.guard is None else lanes & ~executing
                if one.guard is not None and rest.any():
                    _add(pending, place + 1, rest)
                if one.kind == "bra" and executing.any():
                    _add(pending, one.target, executing)
                elif one.kind == "bar":
                    waiting[executing] = place
                return steps
            if place >= meeting:
                _add(pending, place, lanes)
                return steps
        raise AssertionError

    def _release(self, waiting: np.ndarray, code: list[_Code]) -> dict[int, np.ndarray]:
        """Let blocks go on whose threads all wait at one barrier; there is no other thread left that could come."""
        places = waiting.reshape(self.blocks, self.block_size)
        first, last = places.min(axis=1), places.max(axis=1)
        stuck = (last >= 0) & (first != last)
        if stuck.any():
            where = places[int(np.argmax(stuck))]
            text = code[int(where.max())].text
            raise BarrierError(f"{(where == where.max()).sum()} of {self.block_size} threads reach a barrier: {text}")
        lanes = waiting >= 0
        self.threads.pass_barrier(lanes)
        released = {int(place) + 1: waiting == place for place in np.unique(waiting[lanes])}
        waiting[:] = -1
        return released


def _add(pending: dict[int, np.ndarray], place: int, lanes: np.ndarray) -> None:
    pending[place] = pending[place] | lanes if place in pending else lanes


def _special(
    inside: np.ndarray, block_index: np.ndarray, grid: Triple, block: Triple, shared_bytes: int
) -> dict[str, np.ndarray]:
    """Return the registers that say who a thread is."""
    thread = inside % block[0], inside // block[0] % block[1], inside // (block[0] * block[1])
    found: dict[str, object] = {}
    for axis, name in enumerate("xyz"):
        found |= {f"%tid.{name}": thread[axis], f"%ctaid.{name}": block_index[:, axis]}
        found |= {f"%ntid.{name}": block[axis], f"%nctaid.{name}": grid[axis]}
    found |= {"%laneid": inside % WARP, "%warpid": inside // WARP, "%dynamic_smem_size": shared_bytes}
    found["%lanemask_lt"] = (1 << (inside % WARP)) - 1
    return {name: np.broadcast_to(np.asarray(value).astype(np.uint32), inside.shape) for name, value in found.items()}


def _lay_out(kernel: Kernel, memory: Memory, shared_bytes: int) -> tuple[dict[str, int], int]:
    """Return addresses of variables, and the bytes of a block's shared memory."""
    addresses, end = {}, 0
    for name, variable in sorted(kernel.variables.items(), key=lambda one: one[1].size is None):  # dynamic ones last
        if variable.space == "shared":
            addresses[name] = end = -(-end // variable.alignment) * variable.alignment
            end += variable.size or 0
        else:
            addresses[name] = address = memory.allocate(variable.size or 0)
            memory.array(address, (len(variable.value),), np.uint8)[:] = np.frombuffer(variable.value, np.uint8)
    end += shared_bytes
    return addresses, -(-end // 16) * 16

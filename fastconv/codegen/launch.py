"""Tasks handed out to threads without the interpreter: `launch`, run by the caller, and `serve`, each helper's loop.

What is handed out is a function of four arguments, all i64: the address of its operands, the address of its worker's
scratch, and the first and the last + 1 of a range of tasks. All state is int64 slots in memory that is never freed, so
that a helper may look at it however late it comes.

A mailbox holds the last job that was published, and how many were. A helper spins on that number, and when it has not
changed for a while, sleeps on a lock of its own. Who publishes wakes those who sleep: a word each says so. Either the
helper sees the new job after it said that it sleeps, or the launcher sees after publishing that it does.

A job has places, one for each helper wanted. Who takes one is a worker of that number; the caller, worker 0, closes the
job by taking those that are left, and returns when all have left who came. Taking too many does no harm: a number of 0
or less is no place. As operands are read by workers only, a job is whole as long as anybody reads it.

Every word that several threads write has a cache line of its own.
"""

from __future__ import annotations

from collections.abc import Callable

import llvmlite.binding as llvm
from llvmlite import ir

from fastconv.codegen import jit
from fastconv.codegen import target as targets
from fastconv.codegen.target import Target
from fastconv.codegen.vector import I1, I32, I64, Builder, VectorModule

LINE = 8  # slots of a cache line

# Slots of a job, in the order in which they are filled for a call
FUNCTION, SCRATCH, PITCH, TASKS, THREADS = range(5)  # scratch of worker 0, bytes from one worker's to the next's
LEFT_LOCK = 5  # what the caller sleeps on
NEXT = LINE  # the first task that nobody took
PLACES = 2 * LINE
LEFT = 3 * LINE  # helpers that left; from closing on, less those that came; from SLEEPS on, less SLEEPS
OPERANDS = 4 * LINE
MOST_OPERANDS = 2 * LINE
JOB_SLOTS = OPERANDS + MOST_OPERANDS

# Slots of a mailbox
RELEASE, ACQUIRE = 0, 1  # addresses of the C functions on locks
JOB = LINE
PUBLISHED = LINE + 1
HELPERS = 2 * LINE  # so many slots each:
ASLEEP, LOCK, HELPER_SLOTS = range(3)
MOST_HELPERS = 255
MAILBOX_SLOTS = HELPERS + HELPER_SLOTS * MOST_HELPERS

SLEEPS = 1 << 32  # more than there are helpers

#: Looks at a word before sleeping. A pause takes 10 to 45 ns (measured: 24), all of them 80 to 360 microseconds: more
#: than the code between two layers of a network, and a few times what waking up takes.
SPINS = 8000


def launch() -> int:
    """Return the address of void launch(mailbox, job)."""
    return _address("launch", _emit_launch)


def serve() -> int:
    """Return the address of void serve(mailbox, helper): the loop of the helper whose slots are at `helper`."""
    return _address("serve", _emit_serve)


def _address(name: str, emit: Callable[[str, Target], ir.Module]) -> int:
    target = targets.processor()
    return jit.address(name, lambda: str(emit(name, target)), target)


class _Words(Builder):
    """A builder that speaks of slots and of what threads do to them."""

    def place(self, block: ir.Value, slot: int) -> ir.Value:
        """The address of a slot."""
        return self.at(self.pointer(block), 8 * slot)

    def get(self, block: ir.Value, slot: int) -> ir.Value:
        """A slot that nobody changes meanwhile."""
        return self.load_int(self.place(block, slot))

    def look(self, block: ir.Value, slot: int) -> ir.Value:
        """A slot that others change; what they wrote before it is visible after it."""
        return self.load_atomic(self.place(block, slot), "seq_cst", 8, typ=I64)

    def change(self, operation: str, block: ir.Value, slot: int, value: ir.Value | int) -> ir.Value:
        """What a slot was before "add", "sub" or "xchg", done in one piece; all that was written before is visible."""
        operand = I64(value) if isinstance(value, int) else value
        return self.atomic_rmw(operation, self.place(block, slot), operand, "seq_cst")

    def is_zero(self, value: ir.Value) -> ir.Value:
        return self.icmp_signed("==", value, I64(0))

    def call_address(self, function: ir.Value, returns: ir.Type, arguments: list[ir.Value]) -> None:
        kind = ir.FunctionType(returns, [argument.type for argument in arguments])
        self.call(self.inttoptr(function, kind.as_pointer()), arguments)

    def acquire(self, mailbox: ir.Value, lock: ir.Value) -> None:
        """Sleep until the lock is released: Python's own locks, which need neither its lock nor its threads."""
        self.call_address(self.get(mailbox, ACQUIRE), I32, [lock, I32(1)])

    def release(self, mailbox: ir.Value, lock: ir.Value) -> None:
        self.call_address(self.get(mailbox, RELEASE), ir.VoidType(), [lock])

    def variable(self, name: str) -> ir.Value:
        """The address of an i64 on the stack, taken once for the function."""
        with self.goto_entry_block():
            return self.alloca(I64, name=name)

    def repeat(self, body: Callable[[], ir.Value | None], name: str) -> None:
        """Run `body` again while what it returned holds; for ever, if it returned None."""
        loop, done = self.append_basic_block(name), self.append_basic_block(f"{name}.done")
        self.branch(loop)
        self.position_at_end(loop)
        again = body()
        if again is None:
            self.branch(loop)
        else:
            self.cbranch(again, loop, done)
        self.position_at_end(done)

    def spin(self, done: Callable[[], ir.Value], name: str) -> None:
        """Wait until `done` holds, but for SPINS pauses at most."""
        count = self.variable(f"{name}.count")
        self.store(I64(0), count)

        def body() -> ir.Value:
            passed = self.add(self.load_int(count), I64(1))
            self.store(passed, count)
            self.pause()
            return self.and_(self.not_(done()), self.icmp_signed("<", passed, I64(SPINS)))

        self.do_if(self.not_(done()), lambda: self.repeat(body, name), f"{name}.not_yet")

    def pause(self) -> None:
        """Tell the processor that this is a loop that waits."""
        architecture = llvm.get_process_triple().partition("-")[0]
        if architecture in ("x86_64", "i686", "i386"):
            self.call(self.owner.declare("llvm.x86.sse2.pause", ir.VoidType(), []), [])
        elif architecture in ("aarch64", "arm64"):  # `isb`, as `yield` takes no time at all
            self.call(self.owner.declare("llvm.aarch64.isb", ir.VoidType(), [I32]), [I32(15)])


def _define(own: VectorModule, name: str, arguments: tuple[str, ...], *, internal: bool) -> tuple[ir.Function, _Words]:
    function, start = own.define(name, ir.VoidType(), [I64] * len(arguments), internal=internal)
    for argument, of in zip(function.args, arguments, strict=True):
        argument.name = of
    return function, _Words(own, start.block)


def _module(name: str, target: Target) -> VectorModule:
    return VectorModule(name, "float32", target)  # a type must be named; there are no vectors


def _emit_launch(name: str, target: Target) -> ir.Module:
    """The caller's part: open the job, publish it, work, close it, and wait for those who came."""
    own = _module(name, target)
    drain = _emit_drain(own)
    function, b = _define(own, name, ("mailbox", "job"), internal=False)
    mailbox, job = function.args
    helpers = b.sub(b.get(job, THREADS), I64(1), "helpers")
    b.store(I64(0), b.place(job, NEXT))
    b.store(I64(0), b.place(job, LEFT))
    b.change("xchg", job, PLACES, helpers)
    b.change("xchg", mailbox, JOB, job)
    b.change("add", mailbox, PUBLISHED, 1)

    def wake(number: ir.Value) -> None:
        helper = b.add(b.add(mailbox, I64(8 * HELPERS)), b.mul(number, I64(8 * HELPER_SLOTS)), "helper")

        def if_still() -> None:
            ours = b.positive(b.change("xchg", helper, ASLEEP, 0))
            b.do_if(ours, lambda: b.release(mailbox, b.get(helper, LOCK)), "wakes")

        b.do_if(b.positive(b.look(helper, ASLEEP)), if_still, "sleeps")

    b.count_up(I64(0), helpers, 1, wake, "wake")
    b.call(drain, [job, I64(0)])
    places = b.change("xchg", job, PLACES, 0)
    came = b.sub(helpers, b.select(b.positive(places), places, I64(0)), "came")
    b.change("sub", job, LEFT, came)
    b.spin(lambda: b.is_zero(b.look(job, LEFT)), "leaving")
    inside = b.change("sub", job, LEFT, SLEEPS)
    b.do_if(b.not_(b.is_zero(inside)), lambda: b.acquire(mailbox, b.get(job, LEFT_LOCK)), "sleep")
    b.ret_void()
    return own.module


def _emit_serve(name: str, target: Target) -> ir.Module:
    """A helper's life: wait for a job, take a place, work, leave."""
    own = _module(name, target)
    drain = _emit_drain(own)
    function, b = _define(own, name, ("mailbox", "helper"), internal=False)
    mailbox, helper = function.args
    seen = b.variable("seen")
    b.store(I64(0), seen)

    def is_new() -> ir.Value:
        return b.icmp_signed("!=", b.look(mailbox, PUBLISHED), b.load_int(seen))

    def sleep() -> None:
        b.change("xchg", helper, ASLEEP, 1)
        # A job may have come meanwhile. If nobody woke us for it we stay awake, else the lock is or will be released.
        (stay,) = b.values_if(
            is_new(), [I1(0)], lambda _: [b.positive(b.change("xchg", helper, ASLEEP, 0))], "came"
        )
        b.do_if(b.not_(stay), lambda: b.acquire(mailbox, b.get(helper, LOCK)), "sleep")

    def serve() -> None:
        b.spin(is_new, "waiting")
        b.do_if(b.not_(is_new()), sleep, "nothing")
        b.store(b.look(mailbox, PUBLISHED), seen)
        job = b.look(mailbox, JOB)
        worker = b.change("sub", job, PLACES, 1)

        def work() -> None:
            b.call(drain, [job, worker])
            last = b.icmp_signed("==", b.change("add", job, LEFT, 1), I64(-SLEEPS - 1))
            b.do_if(last, lambda: b.release(mailbox, b.get(job, LEFT_LOCK)), "caller_sleeps")

        b.do_if(b.positive(worker), work, "worker")

    b.repeat(serve, "serve")
    b.unreachable()
    return own.module


def _emit_drain(own: VectorModule) -> ir.Function:
    """void drain(job, worker): take ranges of tasks, each half of a thread's fair share of what is left, until none is.

    Large ranges cost little, and the small ones at the end let a slow thread not hold up the others.
    """
    function, b = _define(own, "drain", ("job", "worker"), internal=True)
    job, worker = function.args
    operands = b.add(job, I64(8 * OPERANDS), "operands")
    scratch = b.add(b.get(job, SCRATCH), b.mul(worker, b.get(job, PITCH)), "scratch")
    shares = b.mul(b.get(job, THREADS), I64(2), "shares")

    def take() -> ir.Value:
        first = b.look(job, NEXT)
        left = b.sub(b.get(job, TASKS), first, "left")

        def some() -> None:
            share = b.sdiv(left, shares)
            last = b.add(first, b.select(b.positive(share), share, I64(1)), "last")
            swapped = b.cmpxchg(b.place(job, NEXT), first, last, "seq_cst")
            arguments = [operands, scratch, first, last]
            ours = b.extract_value(swapped, 1)
            b.do_if(ours, lambda: b.call_address(b.get(job, FUNCTION), ir.VoidType(), arguments), "ours")

        b.do_if(b.positive(left), some, "some")
        return b.positive(left)

    b.repeat(take, "take")
    b.ret_void()
    return function

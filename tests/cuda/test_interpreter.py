"""The interpreter of PTX: small programs by hand, right ones and wrong ones."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from interpreter import (
    BarrierError,
    InterpreterError,
    Memory,
    MisalignedError,
    OutOfBoundsError,
    RaceError,
    UnknownInstructionError,
    UnwrittenRegisterError,
    launch,
    parse,
)

HEAD = ".version 8.0\n.target sm_80\n.address_size 64\n"
REGISTERS = """
    .reg .pred %p<9>; .reg .b16 %rs<9>; .reg .b32 %r<19>; .reg .f32 %f<19>; .reg .b64 %rd<19>; .reg .f64 %fd<9>;
    ld.param.u64 %rd1, [x];
    ld.param.u64 %rd2, [y];
    mov.u32 %r1, %tid.x; mov.u32 %r2, %ctaid.x; mov.u32 %r3, %ntid.x;
    mad.lo.s32 %r4, %r2, %r3, %r1;          // the number of this thread
    mul.wide.s32 %rd3, %r4, 4;
    add.s64 %rd4, %rd1, %rd3;               // &x[number]
    add.s64 %rd5, %rd2, %rd3;               // &y[number]
"""


def program(body, before=""):
    """A kernel of two pointers, whose threads have read who they are."""
    return f"{HEAD}{before}.visible .entry kernel(.param .u64 x, .param .u64 y)\n{{{REGISTERS}{body}\nret;\n}}\n"


def run(body, x, y, *, grid=1, block=None, before="", shared_bytes=0):
    """Return what a program makes of y."""
    memory = Memory(1 << 20)
    addresses = [memory.allocate(array.nbytes) for array in (x, y)]
    for address, array in zip(addresses, (x, y), strict=True):
        memory.array(address, array.shape, array.dtype)[...] = array
    kernel = parse(program(body, before))["kernel"]
    threads = x.size if block is None else block
    launch(kernel, memory, (grid, 1, 1), (threads, 1, 1), struct.pack("2Q", *addresses), shared_bytes)
    return memory.array(addresses[1], y.shape, y.dtype).copy()


X = np.arange(64, dtype=np.float32)
NOTHING = np.zeros(64, np.float32)
TWICE = "ld.global.f32 %f1, [%rd4]; add.f32 %f2, %f1, %f1; st.global.f32 [%rd5], %f2;"


def test_every_thread_of_every_block():
    np.testing.assert_array_equal(run(TWICE, X, NOTHING, grid=4, block=16), 2 * X)


def test_more_blocks_than_fit_at_once():
    x = np.arange(3 * 4096, dtype=np.float32)
    np.testing.assert_array_equal(run(TWICE, x, np.zeros_like(x), grid=48, block=256), 2 * x)


def test_threads_part_and_meet_again():
    body = """
        ld.global.f32 %f1, [%rd4];
        setp.lt.s32 %p1, %r4, 10;
        @%p1 bra SMALL;
        mul.f32 %f2, %f1, 0f40400000;   // by 3
        bra.uni BOTH;
    SMALL:
        neg.f32 %f2, %f1;
    BOTH:
        st.global.f32 [%rd5], %f2;"""
    np.testing.assert_array_equal(run(body, X, NOTHING), np.where(X < 10, -X, 3 * X))


def test_a_loop_that_each_thread_leaves_after_its_own_count():
    body = """
        mov.f32 %f1, 0f00000000; mov.u32 %r5, 0;
    AGAIN:
        setp.ge.s32 %p1, %r5, %r4;
        @%p1 bra DONE;
        add.f32 %f1, %f1, 0f3F800000;
        add.s32 %r5, %r5, 1;
        bra.uni AGAIN;
    DONE:
        st.global.f32 [%rd5], %f1;"""
    np.testing.assert_array_equal(run(body, X, NOTHING), X)


SHARED = ".shared .align 16 .b8 tile[256];\n"
REVERSE = """
    ld.global.f32 %f1, [%rd4];
    shl.b32 %r5, %r1, 2; mov.u32 %r6, tile; add.s32 %r7, %r6, %r5;
    st.shared.f32 [%r7], %f1;
    bar.sync 0;
    sub.s32 %r8, 63, %r1; shl.b32 %r8, %r8, 2; add.s32 %r8, %r6, %r8;
    ld.shared.f32 %f2, [%r8];
    st.global.f32 [%rd5], %f2;"""


def test_shared_memory_and_a_barrier():
    np.testing.assert_array_equal(run(REVERSE, X, NOTHING, before=SHARED), X[::-1])


def test_blocks_have_shared_memory_of_their_own():
    x = np.arange(128, dtype=np.float32)
    y = run(REVERSE, x, np.zeros_like(x), before=SHARED, grid=2, block=64)
    np.testing.assert_array_equal(y, x.reshape(2, 64)[:, ::-1].ravel())


def test_shared_memory_of_the_launch():
    body = REVERSE.replace("tile", "dynamic")
    y = run(body, X, NOTHING, before=".extern .shared .align 16 .b8 dynamic[];\n", shared_bytes=256)
    np.testing.assert_array_equal(y, X[::-1])


def test_vectors_of_four():
    body = """
        mul.wide.s32 %rd6, %r4, 16; add.s64 %rd7, %rd1, %rd6; add.s64 %rd8, %rd2, %rd6;
        ld.global.nc.v4.f32 {%f1, %f2, %f3, %f4}, [%rd7];
        st.global.v4.f32 [%rd8], {%f4, %f3, %f2, %f1};"""
    y = run(body, X, NOTHING, block=16)
    np.testing.assert_array_equal(y, X.reshape(16, 4)[:, ::-1].ravel())


def test_lanes_of_a_warp():
    body = """
        ld.global.f32 %f1, [%rd4]; mov.b32 %r5, %f1;
        shfl.sync.bfly.b32 %r6, %r5, 1, 31, -1;
        mov.b32 %f2, %r6;
        st.global.f32 [%rd5], %f2;"""
    np.testing.assert_array_equal(run(body, X, NOTHING), X.reshape(32, 2)[:, ::-1].ravel())


def test_copies_land_when_they_are_waited_for():
    body = """
        shl.b32 %r5, %r1, 2; mov.u32 %r6, tile; add.s32 %r7, %r6, %r5;
        cp.async.ca.shared.global [%r7], [%rd4], 4;
        cp.async.commit_group;
        WAIT
        ld.shared.f32 %f2, [%r7];
        st.global.f32 [%rd5], %f2;"""
    waited = run(body.replace("WAIT", "cp.async.wait_group 0;"), X, NOTHING, before=SHARED)
    np.testing.assert_array_equal(waited, X)
    assert np.isnan(run(body.replace("WAIT", ""), X, NOTHING, before=SHARED)).all()


def one(operation, *words, dtype="u4"):
    """What one instruction makes of words of 32 bits."""
    x = np.array(words, np.uint32)
    loads = "".join(f"ld.global.u32 %r{5 + i}, [%rd1+{4 * i}];" for i in range(len(words)))
    y = run(f"{loads}{operation} st.global.b32 [%rd2], %r9;", x, np.zeros(1, np.uint32), block=1)
    return y.view(dtype)[0]


def bits(value):
    return int(np.float32(value).view(np.uint32))


@pytest.mark.parametrize(
    ("operation", "words", "expected"),
    [
        ("sub.s32 %r9, %r5, %r6;", (3, 5), 2**32 - 2),
        ("mul.hi.u32 %r9, %r5, %r6;", (2**31, 6), 3),
        ("mul.hi.s32 %r9, %r5, %r6;", (2**32 - 2**30, 8), 2**32 - 2),
        ("mul.wide.u32 %rd6, %r5, %r6; shr.u64 %rd7, %rd6, 33; cvt.u32.u64 %r9, %rd7;", (2**31, 12), 3),
        ("div.s32 %r9, %r5, %r6;", (2**32 - 7, 2), 2**32 - 3),
        ("rem.s32 %r9, %r5, %r6;", (2**32 - 7, 4), 2**32 - 3),
        ("shr.s32 %r9, %r5, 40;", (2**32 - 7,), 2**32 - 1),
        ("shl.b32 %r9, %r5, 32;", (7,), 0),
        ("bfe.u32 %r9, %r5, 4, 8;", (0x12345,), 0x34),
        ("bfe.s32 %r9, %r5, 4, 8;", (0xFFF,), 2**32 - 1),
        ("prmt.b32 %r9, %r5, %r6, 0x5410;", (0x11112222, 0x33334444), 0x44442222),
        ("lop3.b32 %r9, %r5, %r6, %r5, 0x3C;", (12, 10), 6),
        ("popc.b32 %r9, %r5;", (255,), 8),
        ("clz.b32 %r9, %r5;", (1,), 31),
        ("setp.lt.u32 %p1, %r5, %r6; selp.b32 %r9, 7, 8, %p1;", (1, 2**32 - 1), 7),
        ("setp.lt.s32 %p1, %r5, %r6; selp.b32 %r9, 7, 8, %p1;", (1, 2**32 - 1), 8),
        ("cvt.s64.s32 %rd6, %r5; shr.u64 %rd6, %rd6, 32; cvt.u32.u64 %r9, %rd6;", (2**31,), 2**32 - 1),
        ("cvt.u16.u32 %rs1, %r5; cvt.s32.s16 %r9, %rs1;", (0x1FFFE,), 2**32 - 2),
        ("mov.b64 %rd6, {%r5, %r6}; shr.u64 %rd6, %rd6, 16; cvt.u32.u64 %r9, %rd6;", (0x10000, 0x2), 0x20001),
    ],
)
def test_whole_numbers(operation, words, expected):
    assert one(operation, *words) == expected


@pytest.mark.parametrize(
    ("operation", "values", "expected"),
    [
        ("fma.rn.f32 %f3, %f1, %f2, %f1;", (1 + 2**-12, 1 - 2**-12), np.float32(2 + 2**-12)),
        ("max.f32 %f3, %f1, %f2;", (np.nan, 2), 2),
        ("max.NaN.f32 %f3, %f1, %f2;", (np.nan, 2), np.nan),
        ("cvt.rmi.f32.f32 %f3, %f1;", (-1.5, 0), -2),
        ("cvt.rzi.s32.f32 %r9, %f1; cvt.rn.f32.s32 %f3, %r9;", (-1.5, 0), -1),
        ("cvt.rzi.s32.f32 %r9, %f1; cvt.rn.f32.s32 %f3, %r9;", (np.nan, 0), 0),
        ("cvt.rn.f16.f32 %rs1, %f1; cvt.f32.f16 %f3, %rs1;", (0.1, 0), np.float16(0.1)),
        ("cvt.rn.bf16.f32 %rs1, %f1; cvt.f32.bf16 %f3, %rs1;", (1 + 2**-8, 0), 1),  # a tie, to even
        ("cvt.rn.bf16.f32 %rs1, %f1; cvt.f32.bf16 %f3, %rs1;", (1 + 3 * 2**-8, 0), 1 + 2**-6),
        ("setp.ltu.f32 %p1, %f1, %f2; selp.f32 %f3, %f2, %f1, %p1;", (np.nan, 3), 3),
        ("add.rm.f32 %f3, %f1, %f2;", (1, 2**-30), 1),
        ("add.rp.f32 %f3, %f1, %f2;", (1, 2**-30), 1 + 2**-23),
    ],
)
def test_floating_point(operation, values, expected):
    body = f"mov.b32 %f1, %r5; mov.b32 %f2, %r6; {operation} mov.b32 %r9, %f3;"
    np.testing.assert_equal(one(body, *map(bits, values), dtype="f4"), np.float32(expected))


def test_the_mutant_without_its_barrier_is_a_race():
    with pytest.raises(RaceError, match=r"thread \d+ of block 0 touches what was written by thread"):
        run(REVERSE.replace("bar.sync 0;", ""), X, NOTHING, before=SHARED)


def test_a_second_use_of_shared_memory_needs_a_second_barrier():
    again = REVERSE + "st.shared.f32 [%r7], %f2;"
    with pytest.raises(RaceError, match="was read by thread"):
        run(again, X, NOTHING, before=SHARED)
    run(REVERSE + "bar.sync 0; st.shared.f32 [%r7], %f2;", X, NOTHING, before=SHARED)


def test_two_blocks_that_write_the_same_place_race():
    with pytest.raises(RaceError, match="two threads write the same bytes"):
        run("st.global.f32 [%rd2], 0f00000000;", X, NOTHING, grid=2, block=1)


def test_a_barrier_orders_one_block_only():
    body = """
        setp.eq.s32 %p1, %r2, 0;
        @%p1 st.global.f32 [%rd2], 0f00000000;
        bar.sync 0;
        ld.global.f32 %f1, [%rd2];"""
    run(body, X, NOTHING, grid=1, block=1)
    with pytest.raises(RaceError, match="was written by thread 0 of block 0"):
        run(body, X, NOTHING, grid=2, block=1)


def test_an_atomic_sum_is_no_race():
    body = "ld.global.f32 %f1, [%rd4]; red.global.add.f32 [%rd2], %f1;"
    assert run(body, X, NOTHING)[0] == X.sum()


@pytest.mark.parametrize("offset", [-4, 4 * 64, 4 * 64 + 252])
def test_a_load_out_of_bounds_is_found(offset):
    body = f"ld.global.f32 %f1, [%rd1+{offset}];"
    with pytest.raises(OutOfBoundsError, match=r"ld\.global"):
        run(body, X, NOTHING, block=1)


def test_a_store_beyond_shared_memory_is_found():
    with pytest.raises(OutOfBoundsError, match="shared memory"):
        run("mov.u32 %r5, tile; st.shared.f32 [%r5+256], 0f00000000;", X, NOTHING, before=SHARED, block=1)


def test_a_freed_allocation_is_out_of_bounds():
    memory = Memory(1 << 16)
    x, y = memory.allocate(256), memory.allocate(256)
    memory.free(x)
    with pytest.raises(OutOfBoundsError):
        launch(parse(program(TWICE))["kernel"], memory, (1, 1, 1), (64, 1, 1), struct.pack("2Q", x, y))


def test_a_misaligned_vector_store_is_found():
    with pytest.raises(MisalignedError, match="16 bytes at an address that is 4 beyond"):
        run("mov.f32 %f1, 0f00000000; st.global.v4.f32 [%rd2+4], {%f1, %f1, %f1, %f1};", X, NOTHING, block=1)


@pytest.mark.parametrize(
    "body",
    [
        "setp.lt.s32 %p1, %r1, 5; @%p1 bra AWAY; bar.sync 0; AWAY:",
        "setp.lt.s32 %p1, %r1, 5; @%p1 ret; bar.sync 0;",
        "setp.lt.s32 %p1, %r1, 5; @%p1 bra OTHER; bar.sync 0; bra.uni AWAY; OTHER: bar.sync 0; AWAY:",
    ],
)
def test_a_barrier_that_some_threads_do_not_reach_is_found(body):
    with pytest.raises(BarrierError, match="of 64 threads reach a barrier"):
        run(body, X, NOTHING)


def test_a_shuffle_that_some_lanes_do_not_reach_is_found():
    with pytest.raises(BarrierError, match="not all threads of a warp"):
        run("setp.lt.s32 %p1, %r1, 5; @%p1 ret; shfl.sync.bfly.b32 %r6, %r1, 1, 31, -1;", X, NOTHING)


def test_an_endless_loop_is_found(monkeypatch):
    monkeypatch.setattr("interpreter.machine.MOST_STEPS", 1000)
    with pytest.raises(InterpreterError, match="no end"):
        run("AGAIN: bra.uni AGAIN;", X, NOTHING)


def test_what_nobody_wrote_is_not_a_number():
    memory = Memory(1 << 16)
    assert np.isnan(memory.array(memory.allocate(64), (16,), np.float32)).all()
    y = run("mov.u32 %r5, tile; ld.shared.f32 %f1, [%r5]; st.global.f32 [%rd5], %f1;", X, NOTHING, before=SHARED)
    assert np.isnan(y).all()


def test_a_register_that_nobody_wrote_is_found():
    with pytest.raises(UnwrittenRegisterError, match="%f7"):
        run("st.global.f32 [%rd5], %f7;", X, NOTHING)


def test_an_unknown_instruction_is_named():
    with pytest.raises(UnknownInstructionError, match=r"tcgen05\.fence"):
        run("tcgen05.fence::before_thread_sync;", X, NOTHING)


def test_parameters_are_those_of_the_kernel():
    kernel = parse(program(TWICE))["kernel"]
    assert kernel.parameters == {"x": 0, "y": 8}
    with pytest.raises(InterpreterError, match="8 bytes of parameters, kernel takes 16"):
        launch(kernel, Memory(1 << 16), (1, 1, 1), (64, 1, 1), bytes(8))

"""The interpreter's tensor cores and asynchronous copies: small programs by hand."""

from __future__ import annotations

import numpy as np
import pytest
from interpreter import BarrierError, RaceError, UnknownInstructionError
from interpreter.conversions import to_bfloat16
from test_interpreter import SHARED, bits, one, run

LANES = range(32)

# Each thread loads six of its eight words of x into registers, and stores its four of y.
LOADS = "mul.lo.s32 %r5, %r1, 32; cvt.s64.s32 %rd6, %r5; add.s64 %rd7, %rd1, %rd6;" + "".join(
    f"ld.global.u32 %r{6 + i}, [%rd7+{4 * i}];" for i in range(6)
)
SUMS = "".join(f"mov.f32 %f{i}, 0f3F800000;" for i in range(1, 5))  # ones
STORES = "shl.b32 %r15, %r1, 4; cvt.s64.s32 %rd6, %r15; add.s64 %rd8, %rd2, %rd6;" + "".join(
    f"st.global.f32 [%rd8+{4 * i}], %f{5 + i};" for i in range(4)
)
INTO = "{%f5, %f6, %f7, %f8}, {%r6, %r7, %r8, %r9}, {%r10, %r11}, {%f1, %f2, %f3, %f4};"


def halves(low, high, kind):
    def word(value):
        return int(np.float16(value).view(np.uint16) if kind == "f16" else to_bfloat16(np.float32(value)))

    return word(low) | word(high) << 16


def multiplied(kind, a, b):
    """Multiply by a program, with fragments as the PTX ISA describes them, element by element."""
    words = np.zeros((32, 8), np.uint32)
    for lane in LANES:
        group, place = lane // 4, lane % 4
        if kind == "tf32":
            of_a = [(group + 8 * (i % 2), place + 4 * (i // 2)) for i in range(4)]
            words[lane, :4] = [bits(a[row, column]) for row, column in of_a]
            words[lane, 4:6] = [bits(b[place + 4 * i, group]) for i in range(2)]
        else:
            rows = [group if i in (0, 1, 4, 5) else group + 8 for i in range(8)]
            columns = [place * 2 + i % 2 + (0 if i < 4 else 8) for i in range(8)]
            of_a = [a[row, column] for row, column in zip(rows, columns, strict=True)]
            of_b = [b[place * 2 + i % 2 + (0 if i < 2 else 8), group] for i in range(4)]
            words[lane, :4] = [halves(*of_a[2 * i : 2 * i + 2], kind) for i in range(4)]
            words[lane, 4:6] = [halves(*of_b[2 * i : 2 * i + 2], kind) for i in range(2)]
    shape = "m16n8k8" if kind == "tf32" else "m16n8k16"
    body = f"{LOADS}{SUMS} mma.sync.aligned.{shape}.row.col.f32.{kind}.{kind}.f32 {INTO} {STORES}"
    found = run(body, words.ravel(), np.zeros(128, np.float32), block=32).reshape(32, 4)
    sums = np.full((16, 8), np.nan)
    for lane in LANES:
        for i in range(4):
            sums[lane // 4 + (0 if i < 2 else 8), lane % 4 * 2 + i % 2] = found[lane, i]
    return sums


@pytest.mark.parametrize(("kind", "depth"), [("f16", 16), ("bf16", 16), ("tf32", 8)])
def test_a_product_of_matrices(kind, depth):
    random = np.random.default_rng(0)
    a, b = (random.integers(-9, 10, shape).astype(np.float32) for shape in ((16, depth), (depth, 8)))
    np.testing.assert_array_equal(multiplied(kind, a, b), a @ b + 1)


def test_tf32_has_no_lower_bits():
    a, b = np.zeros((16, 8), np.float32), np.eye(8, dtype=np.float32)
    a[:8] = np.eye(8) * (1 + 2**-11 + 2**-20)  # cut off, and not rounded up
    np.testing.assert_array_equal(multiplied("tf32", a, b)[:8], np.eye(8) + 1)


@pytest.mark.parametrize(
    ("value", "rounded"),
    [
        (1 + 2**-11, 1 + 2**-10),  # a tie, away from zero
        (-1 - 2**-11, -1 - 2**-10),
        (1 + 2**-11 - 2**-23, 1),
        (3.4028235e38, np.inf),
        (np.inf, np.inf),
        (np.nan, np.nan),
    ],
)
def test_rounding_to_tf32(value, rounded):
    body = "mov.b32 %f1, %r5; cvt.rna.tf32.f32 %r9, %f1;"
    np.testing.assert_equal(one(body, bits(value), dtype="f4"), np.float32(rounded))


# 512 bytes of shared memory, in which word i is i.
FILL = """
    mov.u32 %r5, tile; shl.b32 %r6, %r1, 4; add.s32 %r6, %r5, %r6;
    shl.b32 %r7, %r1, 2; add.s32 %r8, %r7, 1; add.s32 %r9, %r7, 2; add.s32 %r10, %r7, 3;
    st.shared.v4.u32 [%r6], {%r7, %r8, %r9, %r10};
    BARRIER
    ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%r11, %r12, %r13, %r14}, [%r6];
    mul.wide.s32 %rd6, %r1, 16; add.s64 %rd7, %rd2, %rd6;
    st.global.v4.u32 [%rd7], {%r11, %r12, %r13, %r14};"""
LARGE = SHARED.replace("256", "512")


def test_fragments_of_four_matrices():
    """Lane l's address is that of row l: it gets word l % 4 of row l // 4 of each eight."""
    y = run(FILL.replace("BARRIER", "bar.sync 0;"), np.zeros(1, "u4"), np.zeros(128, "u4"), block=32, before=LARGE)
    wanted = [[32 * matrix + lane for matrix in range(4)] for lane in LANES]
    assert y.reshape(32, 4).tolist() == wanted


def test_transposed_fragments():
    """Lane 4 r + t gets halves r of the rows 2 t and 2 t + 1 of each matrix."""
    code = FILL.replace("BARRIER", "bar.sync 0;").replace("m8n8.x4", "m8n8.x4.trans")
    y = run(code, np.zeros(1, "u4"), np.zeros(128, "u4"), block=32, before=LARGE)
    matrices = np.arange(128, dtype=np.uint32).view(np.uint16).reshape(4, 8, 8)
    for lane, registers in enumerate(y.view(np.uint16).reshape(32, 4, 2)):
        rows = [2 * (lane % 4), 2 * (lane % 4) + 1]
        assert registers.tolist() == matrices[:, rows, lane // 4].tolist()


def test_words_that_others_wrote_are_there_after_a_barrier_alone():
    """An address is read for a whole warp: the one that gives it is not the one that needs it."""
    shifted = FILL.replace("ldmatrix", "xor.b32 %r6, %r6, 16; ldmatrix")
    with pytest.raises(RaceError, match="ldmatrix"):
        run(shifted.replace("BARRIER", ""), np.zeros(1, "u4"), np.zeros(128, "u4"), block=32, before=LARGE)


@pytest.mark.parametrize("instruction", [f"{LOADS}{SUMS} mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {INTO}",
                                         FILL.replace("BARRIER", "")])  # fmt: skip
def test_a_part_of_a_warp_is_found(instruction):
    words = np.zeros(512, "u4")
    with pytest.raises(BarrierError, match="not all threads of a warp are there"):
        run(f"setp.lt.s32 %p1, %r1, 5; @%p1 ret; {instruction}", words, words, block=32, before=LARGE)
    with pytest.raises(BarrierError, match="a warp has fewer than 32 threads"):
        run(instruction, words, words, block=16, before=LARGE)


def test_what_is_not_known_is_said():
    for shape in ("m16n8k4.row.col.f32.tf32.tf32.f32", "m16n8k16.row.col.f16.f16.f16.f16"):
        with pytest.raises(UnknownInstructionError, match="mma"):
            run(f"{LOADS}{SUMS} mma.sync.aligned.{shape} {INTO}", np.zeros(512, "u4"), np.zeros(1), block=32)


COPY = """
    mov.u32 %r5, tile; shl.b32 %r6, %r1, 2; add.s32 %r6, %r5, %r6;
    cp.async.ca.shared.global [%r6], [%rd4], 4; cp.async.commit_group;
    cp.async.ca.shared.global [%r6+256], [%rd4], 4; cp.async.commit_group;
    setp.lt.s32 %p1, %r1, 32;
    @%p1 bra FEW;
    cp.async.wait_group 1;
    bra.uni BOTH;
FEW:
    cp.async.wait_group 0;
BOTH:
    ld.shared.f32 %f1, [%r6]; ld.shared.f32 %f2, [%r6+256];
    st.global.f32 [%rd5], %f1; st.global.f32 [%rd5+256], %f2;"""


def test_each_thread_waits_for_its_own_copies():
    x = np.arange(64, dtype=np.float32)
    first, second = run(COPY, x, np.zeros(128, np.float32), block=64, before=LARGE).reshape(2, 64)
    np.testing.assert_array_equal(first, x)
    np.testing.assert_array_equal(second[:32], x[:32])
    assert np.isnan(second[32:]).all()


def test_what_is_not_to_be_copied_is_zero():
    body = """
        mov.u32 %r5, tile; shl.b32 %r6, %r1, 4; add.s32 %r6, %r5, %r6;
        mul.wide.s32 %rd6, %r1, 16; add.s64 %rd7, %rd1, %rd6; add.s64 %rd8, %rd2, %rd6;
        and.b32 %r7, %r1, 1; shl.b32 %r7, %r7, 4;
        cp.async.cg.shared.global [%r6], [%rd7], 16, %r7;
        cp.async.commit_group; cp.async.wait_group 0;
        ld.shared.v4.f32 {%f1, %f2, %f3, %f4}, [%r6];
        st.global.v4.f32 [%rd8], {%f1, %f2, %f3, %f4};"""
    x = np.arange(1, 65, dtype=np.float32)
    y = run(body, x, np.full(64, np.nan, np.float32), block=16, before=LARGE)
    np.testing.assert_array_equal(y.reshape(16, 4), np.where(np.arange(16)[:, None] % 2, x.reshape(16, 4), 0))

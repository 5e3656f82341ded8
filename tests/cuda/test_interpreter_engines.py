"""The interpreter's engines, of tiles and of products: small programs by hand, right ones and wrong ones."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from interpreter import BarrierError, InterpreterError, Memory, RaceError, launch, parse
from interpreter.bulk import rounded
from interpreter.conversions import from_bfloat16, to_bfloat16
from interpreter.tensor_maps import encode, unpacked

from fastconv.cuda.tensor_map import Im2col, Tile

PTX = """.version 8.0
.target sm_90a
.address_size 64
.extern .shared .align 1024 .b8 tile[];
.visible .entry kernel(.param .align 64 .b8 m[128], .param .u64 y)
{{
    .reg .pred %p<9>; .reg .b16 %rs<9>; .reg .b32 %r<39>; .reg .f32 %f<39>; .reg .b64 %rd<19>;
    ld.param.u64 %rd1, [y];
    mov.b64 %rd2, m; cvta.param.u64 %rd2, %rd2;
    mov.u32 %r1, %tid.x; mov.u32 %r2, tile; add.s32 %r3, %r2, 16384;        // barriers
    mul.wide.u32 %rd3, %r1, 4; add.s64 %rd4, %rd1, %rd3;                    // &y[thread]
    shl.b32 %r4, %r1, 2; add.s32 %r5, %r2, %r4;                             // &tile[thread]
    setp.ne.s32 %p1, %r1, 0;
    @%p1 bra READY;
    mbarrier.init.shared::cta.b64 [%r3], 1;
    mbarrier.init.shared::cta.b64 [%r3+8], {arrivals};
    {announce}
READY:
    bar.sync 0;
    {body}
    ret;
}}
"""
ANNOUNCE = "fence.mbarrier_init.release.cluster;"
LOAD = """
    @%p1 bra LOADED;
    mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r3], {size};
    {load}
LOADED:
"""
TILED = (
    "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%r2], [%rd2, {0, 0}], [%r3];"
)
WAIT = "{ .reg .pred %done; AGAIN: mbarrier.try_wait.parity.shared::cta.b64 %done, [%r3], 0; @!%done bra AGAIN; }"
READ = "ld.shared.b32 %r9, [%r5]; st.global.b32 [%rd4], %r9;"


def run(tensor_map, array, y, body, *, arrivals=1, announce=ANNOUNCE, threads=None, shared=16384 + 64):
    """Return what a program makes of y, given a map of an array."""
    memory = Memory(1 << 20)
    places = [memory.allocate(one.nbytes) for one in (array, y)]
    for place, one in zip(places, (array, y), strict=True):
        memory.array(place, one.shape, one.dtype)[...] = one
    kernel = parse(PTX.format(body=body, arrivals=arrivals, announce=announce))["kernel"]
    code = encode(tensor_map.function, *tensor_map.arguments(places[0]))
    parameters = code + struct.pack("Q", places[1])
    launch(kernel, memory, (1, 1, 1), (threads or y.size, 1, 1), parameters, shared)
    return memory.array(places[1], y.shape, y.dtype).copy()


def swizzle(rows):
    """Rows of 128 bytes as they lie: chunk j of row r at j ^ (r % 8)."""
    chunks = rows.reshape(len(rows), 8, -1)
    found = np.empty_like(chunks)
    for r in range(len(rows)):
        for j in range(8):
            found[r, j ^ (r % 8)] = chunks[r, j]
    return found.ravel()


X = np.arange(40 * 16, dtype=np.float32).reshape(16, 40)  # 40 numbers a row: 160 bytes
BOX = Tile("float32", (40, 16), (160,), (32, 8))
Y = np.zeros(256, np.float32)


def loading(load=TILED, size=1024, wait=WAIT, then=READ):
    return LOAD.format(load=load, size=size) + wait + then


def test_a_tile_arrives_swizzled():
    np.testing.assert_array_equal(run(BOX, X, Y, loading()), swizzle(X[:8, :32]))


def test_what_is_outside_is_zeros():
    y = run(BOX, X, Y, loading(TILED.replace("{0, 0}", "{32, 12}")))
    expected = np.zeros((8, 32), np.float32)
    expected[:4, :8] = X[12:, 32:]
    np.testing.assert_array_equal(y, swizzle(expected))


def test_a_thread_that_does_not_wait():
    with pytest.raises(RaceError, match="reads a tile without having waited for it"):
        run(BOX, X, Y, loading(wait=""))


def test_a_thread_that_lets_others_wait():
    wait = f"setp.ge.u32 %p2, %r1, 32; @%p2 bra SKIPPED; {WAIT} SKIPPED:"
    with pytest.raises(RaceError, match="reads a tile without having waited for it"):
        run(BOX, X, Y, loading(wait=wait))
    run(BOX, X, Y, loading(wait=wait + "bar.sync 0;", then=READ.replace("ld", "@!%p2 ld", 1)))


@pytest.mark.parametrize(("size", "error"), [(2048, BarrierError), (1024, None)])
def test_bytes_that_never_come(size, error):
    if error is None:
        run(BOX, X, Y, loading(size=size))
        return
    with pytest.raises(error, match="256 threads wait for a phase that never ends"):
        run(BOX, X, Y, loading(size=size))


def test_the_engine_has_to_see_the_barrier():
    with pytest.raises(BarrierError, match="the barrier was not announced to the engine"):
        run(BOX, X, Y, loading(), announce="")


def test_a_tile_is_not_loaded_over_one_on_its_way():
    with pytest.raises(RaceError, match="the one before may still be on its way"):
        run(BOX, X, Y, loading(TILED + TILED, size=2048))


def test_too_many_arrive():
    body = "mbarrier.arrive.shared::cta.b64 _, [%r3+8];"
    run(BOX, X, Y, body, arrivals=256)
    run(BOX, X, Y, body, arrivals=128)  # two phases
    with pytest.raises(BarrierError, match="never ends"):
        run(BOX, X, Y, body + WAIT.replace("%r3", "%r3+8"), arrivals=257)


# Windows of 3 x 2 with steps of 2 over two images of 4 x 5 pixels and padding of 1: one row of windows has 3, and
# there are 2 rows. A column of 8 pixels begins with the second window.
IMAGES = np.arange(2 * 4 * 5 * 32, dtype=np.float32).reshape(2, 4, 5, 32)
WINDOWS = Im2col("float32", (32, 5, 4, 2), (128, 640, 2560), (-1, -1), (0, -1), (2, 2), 32, 8)
IM2COL = """
    mov.u16 %rs1, 1; mov.u16 %rs2, 2;
    cp.async.bulk.tensor.4d.shared::cluster.global.im2col.mbarrier::complete_tx::bytes
        [%r2], [%rd2, {0, 1, -1, 0}], [%r3], {%rs1, %rs2};"""


def test_im2col_by_hand():
    y = run(WINDOWS, IMAGES, Y, loading(IM2COL))
    padded = np.pad(IMAGES, ((0, 0), (1, 1), (1, 1), (0, 0)))
    under = padded[:, 2::2, 1::2][:, :2, :3]  # the element in the third row and second column of each window
    np.testing.assert_array_equal(y, swizzle(under.reshape(-1, 32)[1:9]))


def test_im2col_beyond_the_last_image():
    y = run(WINDOWS, IMAGES, Y, loading(IM2COL.replace("{0, 1, -1, 0}", "{0, 3, 1, 1}")))
    first = swizzle(np.pad(IMAGES, ((0, 0), (1, 1), (1, 1), (0, 0)))[1, 4, 5:6])
    np.testing.assert_array_equal(y[:32], first)
    assert not y[32:].any()


def test_offsets_have_few_bits():
    with pytest.raises(InterpreterError, match=r"offsets \[300, 2\] are not below 256"):
        run(WINDOWS, IMAGES, Y, loading(IM2COL.replace("%rs1, 1", "%rs1, 300")))


def test_tfloat32_is_rounded_on_its_way():
    numbers = ((X + 1) / 3).astype(np.float32)
    y = run(BOX._replace(element="tfloat32"), numbers, Y, loading())
    expected = swizzle(rounded(numbers[:8, :32].copy().view(np.uint32)).view(np.float32))
    np.testing.assert_array_equal(y, expected)
    assert 0 < np.abs(y / swizzle(numbers[:8, :32].copy()) - 1).max() <= 2.0**-11


STORE = """
    mul.lo.u32 %r6, %r1, 3; cvt.rn.f32.u32 %f1, %r6; st.shared.f32 [%r5], %f1;
    fence.proxy.async.shared::cta;
    bar.sync 0;
    @%p1 bra STORED;
    cp.async.bulk.tensor.2d.global.shared::cta.bulk_group [%rd2, {16, 12}], [%r2];
    cp.async.bulk.commit_group;
    cp.async.bulk.wait_group.read 0;
STORED:
"""


def stored(body):
    """Return what a program makes of an array that a map is of: rows of 160 bytes, of which it stores 128."""
    memory = Memory(1 << 20)
    place = memory.allocate(X.nbytes)
    memory.array(place, X.shape, X.dtype)[...] = X
    kernel = parse(PTX.format(body=body, arrivals=1, announce=ANNOUNCE))["kernel"]
    code = encode(BOX.function, *BOX.arguments(place))
    launch(kernel, memory, (1, 1, 1), (256, 1, 1), code + struct.pack("Q", place), 16384 + 64)
    return memory.array(place, X.shape, X.dtype).copy()


def test_a_tile_is_stored_as_far_as_it_is_inside():
    y = stored(STORE)
    tile = 3 * np.arange(256, dtype=np.float32).reshape(8, 8, 4)
    back = np.stack([[tile[r, j ^ (r % 8)] for j in range(8)] for r in range(8)]).reshape(8, 32)
    expected = X.copy()
    expected[12:, 16:] = back[:4, :24]
    np.testing.assert_array_equal(y, expected)


@pytest.mark.parametrize(("without", "error"), [
    ("fence.proxy.async.shared::cta;", "wrote was not shown to the engine"),
    ("cp.async.bulk.wait_group.read 0;", "ended before its tiles were stored"),
])  # fmt: skip
def test_a_store_that_lacks_something(without, error):
    assert without in STORE
    with pytest.raises(InterpreterError, match=error):
        stored(STORE.replace(without, ""))


# A product of a warpgroup: A of 64 x 64 bfloat16, B of 8 x 64, from a program that writes them to shared memory.
PRODUCT = """
    wgmma.fence.sync.aligned;
    {multiply}
    wgmma.commit_group.sync.aligned;
    wgmma.wait_group.sync.aligned 0;
"""
MULTIPLY = "wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {{%f1, %f2, %f3, %f4}}, %rd10, %rd11, 1, 1, 1, 0, 0;"
DESCRIBE = """
    mov.f32 %f1, 0f00000000; mov.f32 %f2, %f1; mov.f32 %f3, %f1; mov.f32 %f4, %f1;
    cvt.u64.u32 %rd9, %r2; shr.u64 %rd9, %rd9, 4; or.b64 %rd10, %rd9, 0x4000004000010000;
    add.s64 %rd11, %rd10, 512;                                              // 8192 bytes behind A
"""
ADVANCE = "add.s64 %rd10, %rd10, 2; add.s64 %rd11, %rd11, 2;"
FACTORS = Tile("bfloat16", (64, 72), (128,), (64, 72))


def product(body, threads=128):
    """Return the product of the first 64 and the last 8 rows of an array that is loaded as a tile."""
    random = np.random.default_rng(0)
    bits = to_bfloat16(random.uniform(-1, 1, (72, 64)).astype(np.float32))
    place = "shl.b32 %r6, %r1, 4; cvt.u64.u32 %rd7, %r6; add.s64 %rd12, %rd1, %rd7;"
    store = "st.global.v4.f32 [%rd12], {%f1, %f2, %f3, %f4};"
    y = run(FACTORS, bits, np.zeros(512, np.float32), place + body + store, threads=threads)
    numbers = from_bfloat16(bits).astype(np.float64)
    sums = np.zeros((64, 8))
    for thread in range(128):
        row, column = thread // 32 * 16 + thread % 32 // 4, thread % 4 * 2
        for i in range(4):
            sums[row + i // 2 * 8, column + i % 2] = y[4 * thread + i]
    return sums, numbers[:64] @ numbers[64:].T


LOADED = LOAD.format(load=TILED, size=72 * 128) + WAIT + DESCRIBE
STEPS = ADVANCE.join([MULTIPLY.format()] * 4)


def test_a_product_by_hand():
    found, expected = product(LOADED + PRODUCT.format(multiply=STEPS))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_a_product_does_not_wait_by_itself():
    with pytest.raises(RaceError, match="reads a tile without having waited for it"):
        product(LOADED.replace(WAIT, "") + PRODUCT.format(multiply=STEPS))


def test_a_tile_is_not_loaded_while_it_is_multiplied():
    again = LOAD.format(load=TILED, size=72 * 128).replace("LOADED", "AGAIN_LOADED") + WAIT.replace(", 0;", ", 1;")
    text = PRODUCT.format(multiply=STEPS)
    product(LOADED + text + again)  # the thread that loads has waited for the products
    with pytest.raises(RaceError, match="products may still read the one before"):
        product(LOADED + text.replace("wgmma.wait_group.sync.aligned 0;", again))


def test_a_part_of_a_warpgroup_multiplies():
    with pytest.raises(BarrierError, match="not all threads of a warpgroup are there"):
        product(LOADED + "setp.ge.u32 %p2, %r1, 96; @%p2 bra OUT; " + PRODUCT.format(multiply=STEPS) + "OUT:")


@pytest.mark.parametrize(("change", "error"), [
    ({"strides": (164,)}, "distances of"),
    ({"box": (64, 8)}, "rows of 256 bytes, swizzled"),
    ({"box": (32, 300)}, "a box of"),
    ({"sizes": (40, 0)}, "sizes of"),
])  # fmt: skip
def test_maps_that_the_driver_refuses(change, error):
    with pytest.raises(InterpreterError, match=f"the driver would refuse a tensor map: {error}"):
        encode(BOX.function, *BOX._replace(**change).arguments(4096))


@pytest.mark.parametrize(("change", "error"), [
    ({"lower": (-129, 0)}, "corners of"),
    ({"steps": (9, 1)}, "steps of"),
    ({"upper": (-6, 0)}, "a box without windows"),
    ({"pixels": 1025}, "1025 x 32 at once"),
])  # fmt: skip
def test_windows_that_the_driver_refuses(change, error):
    with pytest.raises(InterpreterError, match=f"the driver would refuse a tensor map: {error}"):
        encode(WINDOWS.function, *WINDOWS._replace(**change).arguments(4096))


def test_maps_are_read_as_they_were_written():
    found = unpacked(encode(WINDOWS.function, *WINDOWS.arguments(4096)))
    assert (found.array, found.sizes, found.strides) == (4096, WINDOWS.sizes, WINDOWS.strides)
    assert (found.lower, found.upper, found.steps) == (WINDOWS.lower, WINDOWS.upper, (1, 2, 2, 1))
    assert (found.channels, found.pixels, found.row, found.rows) == (32, 8, 128, 8)
    with pytest.raises(InterpreterError, match="no tensor map is where one was expected"):
        unpacked(bytes(128))

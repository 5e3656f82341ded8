"""Products by tensor cores: the kernels' PTX against the definition and against the definition of rounded factors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from interpreter.conversions import from_bfloat16, to_bfloat16, to_tf32
from machine_code import machine_code
from test_convolution import called, drawn, expected
from variants import TENSOR_CORES

import fastconv
from fastconv.problem import ConvProblem

# A third more than what rounding two factors of uniform numbers does: sqrt(2 / 7) * 2**-p, with 11 bits or 8. Cutting
# them off, and not rounding, would do twice as much.
LIMITS = {"tf32": 3.5e-4, "fp16": 3.5e-4, "bf16": 2.8e-3}
ROUNDING = {
    "tf32": lambda values: to_tf32(values).view(np.float32),
    "fp16": lambda values: values.astype(np.float16).astype(np.float32),
    "bf16": lambda values: from_bfloat16(to_bfloat16(values)),
}

# Problem, activation, tile, splits. Channels and filters are those that tiles, rounds and copies do not divide, and
# copies are of 16, 8, 4 and 2 bytes; sizes, strides, dilations and padding are odd.
PROBLEMS = [
    ("conv2d,n2,c24,9x7,k37,3x3,s2,p1,channels_last,float16", None, 2, 1),
    ("conv2d,n2,c12,9x7,k20,3x3,p1x0:2,channels_last,float16", "relu", 2, 1),
    ("conv2d,n1,c7,9x7,k13,3x3,s2x1,p1,channels_last,float16", None, 2, 1),
    ("conv2d,n2,c64,7x7,k136,1x1,float16", None, 0, 1),
    ("conv2d,n1,c28,9x10,k37,3x3,p2,d2,tf32,float32", None, 1, 1),
    ("conv2d,n2,c20,9x7,k36,3x3,p2,d2,channels_last,tf32,float32", "gelu", 2, 2),
    ("conv3d,n1,c9,5x4x6,k10,2x3x2,p1x0x1:0,s1x2x1,tf32,float32", None, 2, 2),
    ("conv2d,n1,c35,12x11,k130,3x3,channels_last,tf32,float32", None, 0, 1),
    ("conv1d,n3,c12,40,k10,5,p2,channels_last,bf16,float32", None, 1, 1),
    ("conv2d,n1,c10,6x31,k12,2x5,p1,flip,channels_last,bf16,float32", "hardswish", 0, 1),
    ("conv2d,n1,c48,8x8,k18,3x3,p1,g2,flip,fp16,float32", None, 2, 2),
    ("conv2d,n2,c32,9x9,k24,3x3,s3,g2,channels_last,fp16,float32", "silu", 1, 1),
]


@pytest.fixture
def divided(compiler, monkeypatch):
    """Let a product be divided in a given way, whatever would take the least time."""
    from fastconv.cuda import implicit_gemm_mma

    tiles = implicit_gemm_mma.TILES

    def divide(tile, splits=1):
        implicit_gemm_mma.divide.cache_clear()
        monkeypatch.setattr(implicit_gemm_mma, "TILES", (tiles[tile],))
        monkeypatch.setattr(implicit_gemm_mma, "SPLITS", (splits,))
        monkeypatch.setattr(implicit_gemm_mma, "LEAST_ROUNDS", 1)

    yield divide
    implicit_gemm_mma.divide.cache_clear()


def error(found, wanted):
    return np.linalg.norm(found - wanted) / np.linalg.norm(wanted)


@pytest.mark.parametrize(("text", "activation", "tile", "splits"), PROBLEMS)
def test_against_the_definition(text, activation, tile, splits, divided, device):
    divided(tile, splits)
    problem = ConvProblem.parse(text)
    x, weight, bias, residual = drawn(problem, np.random.default_rng(0))
    on_device = [device.array(each) for each in (x, weight, bias, residual)]
    arguments = {"residual": on_device[3], "activation": activation, "algorithm": "implicit_gemm_mma"}
    y = device.numpy(called(problem, *on_device[:3], **arguments)).astype(np.float64)
    wanted = expected(problem, x, weight, bias, residual, activation)
    if problem.dtype == "float16":  # factors are as they are, and results rounded once
        assert error(y, wanted) <= 2.0**-11 * 0.6
        return
    assert error(y, wanted) <= LIMITS[problem.precision]
    x, weight = map(ROUNDING[problem.precision], (x, weight))
    assert error(y, expected(problem, x, weight, bias, residual, activation)) <= 1e-6


@pytest.mark.parametrize("text", ["float16", "tf32,float32", "bf16,float32", "fp16,float32"])
def test_small_whole_numbers_are_exact(text, divided, device):
    """By hand: filter k of a 1x1 kernel takes channel k, k + 1 times; and numbers of three bits have no rounding."""
    divided(2)
    x = np.arange(7 * 16, dtype=np.float32).reshape(1, 1, 7, 16) % 8
    weight = np.zeros((16, 16, 1, 1), np.float32)
    weight[range(16), range(16), 0, 0] = np.arange(16) + 1
    problem = ConvProblem.parse(f"conv2d,n1,c16,1x7,k16,1x1,channels_last,{text}")
    arrays = [device.array(each.astype(problem.dtype)) for each in (x, weight)]
    y = device.numpy(called(problem, *arrays, algorithm="implicit_gemm_mma"))
    np.testing.assert_array_equal(y, x * (np.arange(16) + 1))


@pytest.mark.parametrize("text", ["conv2d,n1,c4,6x6,k8,3x3,p1,tf32,float32", "conv2d,n1,c4,6x6,k8,3x3,p1,float16"])
def test_nan_and_infinity_come_out_where_the_definition_puts_them(text, divided, device):
    divided(2)
    problem = ConvProblem.parse(text)
    x, weight, *_ = drawn(problem, np.random.default_rng(0))
    x[0, 1, 1, 2], x[0, 2, 5, 5] = np.nan, np.inf
    y = device.numpy(called(problem, device.array(x), device.array(weight), algorithm="implicit_gemm_mma"))
    wanted = expected(problem, x, weight)
    np.testing.assert_array_equal(np.isnan(y), np.isnan(wanted))
    np.testing.assert_array_equal(np.where(np.isinf(y), y, 0), np.where(np.isinf(wanted), wanted, 0))


def test_a_factor_beyond_float16_is_infinite(divided, device):
    divided(2)
    x, weight = np.full((1, 8, 4), 1e5, np.float32), np.ones((8, 8, 1), np.float32)
    for precision, result in (("tf32", 8e5), ("bf16", 8e5), ("fp16", np.inf)):
        arguments = {"precision": precision, "algorithm": "implicit_gemm_mma"}
        y = device.numpy(fastconv.conv1d(device.array(x), device.array(weight), **arguments))
        np.testing.assert_allclose(y, result, rtol=4e-3)


def test_an_image_alone_and_in_a_batch(interpreting):
    from fastconv.cuda import implicit_gemm_mma

    one, many = (ConvProblem.parse(f"conv2d,n{batch},c128,5x5,k8,3x3,p1,tf32,float32") for batch in (1, 12))
    assert implicit_gemm_mma.divide(one, interpreting.figures).splits > 1
    x, weight, *_ = (interpreting.array(each) for each in drawn(many, np.random.default_rng(0)))
    y = interpreting.numpy(called(many, x, weight, algorithm="implicit_gemm_mma"))
    alone = interpreting.numpy(called(one, x[7:8], weight, algorithm="implicit_gemm_mma"))
    np.testing.assert_array_equal(alone, y[7:8])


def test_the_plan_takes_the_workspace_that_is_said(interpreting):
    from fastconv.cuda import plan, table

    (entry,) = (entry for entry in table.TABLE if entry.name == "implicit_gemm_mma")
    for text in ("conv2d,n3,c130,9x9,k8,3x3,p1,tf32,float32", "conv2d,n1,c9,9x9,k8,1x1,channels_last,float16"):
        problem = ConvProblem.parse(text)
        made = entry.plan(problem, None, plan.target(0))
        assert made.packed + made.workspace == entry.workspace(problem, interpreting.figures)
        transposed = "transposition" in entry.terms(problem, interpreting.figures)
        assert transposed == (problem.layout == "channels_first") == (made.workspace > 0)


# --- what is wrong ----------------------------------------------------------------------------------


@pytest.fixture
def mutated(interpreting, divided):
    """Compute with a kernel that was changed before it was loaded, and compare with the definition."""
    from fastconv.cuda import call

    def run(change, text="conv2d,n2,c64,8x8,k64,3x3,p1,channels_last,tf32,float32"):
        divided(2)
        load = interpreting.load

        def changed(code, ordinal, shared=0):
            if code.name != "fastconv_multiply":
                return load(code, ordinal, shared)
            ptx = change(code.ptx)
            assert ptx != code.ptx
            return load(code._replace(ptx=ptx), ordinal, shared)

        interpreting.load = changed
        call.clear()
        problem = ConvProblem.parse(text)
        x, weight, *_ = drawn(problem, np.random.default_rng(0))
        arrays = interpreting.array(x), interpreting.array(weight)
        y = interpreting.numpy(called(problem, *arrays, algorithm="implicit_gemm_mma"))
        return error(y, expected(problem, x, weight))

    return run


def test_a_mutant_that_does_not_wait_for_copies_multiplies_what_is_not_there(mutated):
    assert np.isnan(mutated(lambda ptx: ptx.replace("cp.async.wait_group 1;", "cp.async.wait_group 2;")))


def test_a_mutant_without_the_barrier_of_a_round_races(mutated):
    from interpreter import RaceError

    def drop(ptx):
        place = ptx.index("bar.sync", ptx.index("cp.async.wait_group 1;"))
        return ptx[:place] + ptx[ptx.index(";", place) + 1 :]

    with pytest.raises(RaceError, match="since the last barrier"):
        mutated(drop)


def test_a_mutant_with_a_stage_less_races(mutated):
    """The copies of a round then go where products of the round before are still read."""
    from interpreter import RaceError

    stage = 2 * 64 * 128

    def fold(ptx):
        return ptx.replace(f", {2 * stage};", f", {stage};")

    with pytest.raises(RaceError, match="since the last barrier"):
        mutated(fold)


def test_a_mutant_that_cuts_factors_off_errs_too_far(mutated):
    import re

    found = mutated(lambda ptx: re.sub(r"cvt\.rna\.tf32\.f32", "mov.b32", ptx))
    assert LIMITS["tf32"] < found < 1e-3


def test_without_the_exchange_of_chunks_rows_share_banks(compiler):
    """The addresses of eight rows of one chunk, modulo the 128 bytes of all banks: each its own with the exchange."""
    row = np.arange(8)
    for chunk in range(8):
        assert len(set((row * 128 + (chunk ^ row % 8) * 16) % 128)) == 8
        assert len(set((row * 128 + chunk * 16) % 128)) == 1
    for chunk in range(4):  # rows of 64 bytes
        assert len(set((row * 64 + (chunk ^ row // 2 % 4) * 16) % 128)) == 8
        assert len(set((row * 64 + chunk * 16) % 128)) == 2


# --- what is refused --------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "reason"), [
    ("conv2d,n1,c8,9x9,k8,3x3,float32", "precision must be tf32, bf16 or fp16, not ieee"),
    ("conv2d,n1,c8,9x9,k8,3x3,tf32,float64", "computes float16, bfloat16 and float32 on a device, not float64"),
    ("conv2d,n1,c32,9x9,k32,3x3,g8,float16", "groups of at least 8 channels and 8 filters, not 4 and 4"),
    ("conv2d,n1,c8,33x33,k8,31x31,float16", "kernels whose sizes add up to 30 at most, not 31x31"),
])  # fmt: skip
def test_what_is_refused(text, reason, interpreting):
    problem = ConvProblem.parse(text)
    arrays = [interpreting.array(each) for each in drawn(problem, np.random.default_rng(0))[:2]]
    with pytest.raises(fastconv.UnsupportedError, match=reason):
        called(problem, *arrays, algorithm="implicit_gemm_mma")


def test_older_devices_have_no_such_instructions(interpreting):
    problem = ConvProblem.parse("conv2d,n1,c64,9x9,k64,3x3,float16")
    interpreting.figures = replace(interpreting.figures, capability=(7, 5))
    (case,) = (one for one in fastconv.explain(problem, device=0).candidates if one.name == "implicit_gemm_mma")
    assert case.reason == "implicit_gemm_mma takes devices of compute capability 8.0 or later, not 7.5"
    arrays = [interpreting.array(each) for each in drawn(problem, np.random.default_rng(0))[:2]]
    with pytest.raises(fastconv.UnsupportedError, match=r"compute capability 8\.0 or later, not 7\.5"):
        called(problem, *arrays, algorithm="implicit_gemm_mma")


# --- what is chosen ---------------------------------------------------------------------------------


def test_float32_is_never_rounded_without_leave(compiler):
    from fastconv.cuda.driver import Device
    from fastconv.cuda.place import DevicePlace
    from fastconv.selection import ON_DEVICES, choice

    place = DevicePlace(0, Device(capability=(8, 0)))  # without warpgroups' products
    strict = ConvProblem.parse("conv2d,n32,c256,56x56,k256,3x3,s2,p1,channels_last,float32")
    assert choice.chosen(strict, 1.0, place=place).name not in ON_DEVICES
    for precision in ("tf32", "fp16", "bf16"):
        allowed = replace(strict, precision=precision)
        limit = fastconv.config.tolerance_in_force(allowed)
        entry = choice.chosen(allowed, limit, place=place)
        assert entry.name == "implicit_gemm_mma"
        assert LIMITS[precision] <= entry.error_bound(allowed) <= limit
    half = replace(strict, dtype="float16")
    assert choice.chosen(half, fastconv.config.tolerance_in_force(half), place=place).name == "implicit_gemm_mma"


def test_it_may_be_denied(compiler):
    from fastconv.cuda import table
    from fastconv.cuda.driver import Device
    from fastconv.cuda.place import DevicePlace
    from fastconv.selection import ON_DEVICES, choice

    names = [entry.name for entry in table.TABLE]
    assert set(names) - set(fastconv.algorithms()) == set(ON_DEVICES)
    half = ConvProblem.parse("conv2d,n32,c256,56x56,k256,3x3,s2,p1,channels_last,float16")
    place = DevicePlace(0, Device())
    with fastconv.options(deny=["implicit_gemm_wgmma"]):
        assert choice.chosen(half, 1.0, place=place).name == "implicit_gemm_mma"
    with fastconv.options(deny=ON_DEVICES):
        assert choice.chosen(half, 1.0, place=place).name not in ON_DEVICES


def test_tiles_and_splits_follow_the_shape(compiler):
    from fastconv.cuda import implicit_gemm_mma
    from fastconv.cuda.driver import Device

    def division(text):
        found = implicit_gemm_mma.divide(ConvProblem.parse(text), Device())
        return found.tile.pixels, found.tile.filters, found.splits

    assert division("conv2d,n32,c256,56x56,k256,3x3,p1,channels_last,float16") == (128, 128, 1)
    assert division("conv2d,n32,c64,56x56,k64,3x3,p1,channels_last,float16")[1:] == (64, 1)
    assert division("conv2d,n1,c512,7x7,k512,3x3,p1,channels_last,float16")[2] > 1


# --- machine code -----------------------------------------------------------------------------------


# For the older device one of each kind of loop: each takes seconds to compile.
@pytest.mark.parametrize(("capability", "variant"), [
    (capability, variant) for index, variant in enumerate(TENSOR_CORES) for capability in ((9, 0), (8, 0))
    if capability == (9, 0) or index in (0, 3, 5)
], ids=str)  # fmt: skip
def test_machine_code(capability, variant, divided, codes_of):
    divided(variant.tile)
    problem = ConvProblem.parse(variant.problem)
    codes = {code.name: machine_code(code.machine_code) for code in codes_of(problem, capability, "implicit_gemm_mma")}
    for code in codes.values():
        assert (code.stack, code.local_accesses, code.doubles) == (0, 0, 0)
    code = codes["fastconv_multiply"]
    loop = [opcode.partition(".")[0] for opcode in code.main_loop]
    assert {name: loop.count(name) for name in ("HMMA", "LDSM", "LDGSTS")} == variant.counts
    assert len(loop) <= variant.loop
    assert code.registers <= variant.registers

"""Gradients by the weight on tensor cores: the kernel's PTX against the reference, wrong ones, and machine code."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from machine_code import machine_code
from test_gradients import functions
from test_implicit_gemm_mma import LIMITS, ROUNDING, error
from variants import WEIGHTS, _Keeping

import fastconv
from fastconv.problem import ConvProblem

NAME = "implicit_gemm_mma"
RESULTS = {"float16": 3e-4, "bfloat16": 2.4e-3}  # of arrays of halves: results rounded once

# Problem, tile, splits. Channels and filters are those that tiles and copies do not divide, and copies are of 16, 8, 4
# and 2 bytes; sizes, strides, dilations and padding are odd; pixels do not fill the last round.
PROBLEMS = [
    ("conv2d,n2,c24,9x7,k37,3x3,s2,p1,channels_last,float16", 2, 1),
    ("conv2d,n3,c20,7x6,k32,2x3,p1x0:2,g2,bfloat16", 2, 2),
    ("conv2d,n1,c40,20x21,k68,1x1,s2x1,channels_last,float16", 1, 3),
    ("conv2d,n2,c7,9x10,k13,3x3,p2,d2,tf32,float32", 2, 3),
    ("conv2d,n1,c18,6x9,k130,2x4,p1,flip,channels_last,tf32,float32", 0, 1),
    ("conv1d,n3,c12,40,k10,5,p2,circular,bf16,float32", 2, 2),
    ("conv3d,n1,c10,5x4x6,k12,2x3x2,p1x0x1:0,s1x2x1,channels_last,fp16,float32", 1, 2),
]


def weight_gradient(text):
    return replace(ConvProblem.parse(text), direction="weight_gradient")


@pytest.fixture
def divided(compiler, monkeypatch):
    """Let a product be divided in a given way, whatever would take the least time."""
    from fastconv.cuda import implicit_gemm_mma_weight as policy

    tiles = policy.TILES

    def divide(tile, splits=1):
        policy.divide.cache_clear()
        monkeypatch.setattr(policy, "TILES", (tiles[tile],))
        monkeypatch.setattr(policy, "SPLITS", (splits,))
        monkeypatch.setattr(policy, "LEAST_ROUNDS", 1)

    yield divide
    policy.divide.cache_clear()


def operands(problem, device):
    """Return the input and the gradient on a device, and what they hold."""
    random = np.random.default_rng(0)
    numbers = [random.uniform(-1, 1, shape).astype(np.float32) for shape in problem.operand_shapes]
    if problem.dtype != "bfloat16":
        made = [device.array(each.astype(problem.dtype)) for each in numbers]
    elif hasattr(device, "bfloat16"):
        made = [device.bfloat16(each) for each in numbers]
    else:
        pytest.skip("this library has no bfloat16")
    return made, [device.numpy(each) for each in made]


def arguments_of(problem):
    return {name: value for name, value in problem.arguments().items() if name != "precision"}


def wanted_of(problem, numbers):
    exact = [each.astype(np.float64) for each in numbers]
    return functions(problem)(*exact, algorithm="reference", **arguments_of(problem))


def found_of(problem, made, device):
    options = {"algorithm": NAME, "precision": problem.precision, **arguments_of(problem)}
    return device.numpy(functions(problem)(*made, **options)).astype(np.float64)


@pytest.mark.parametrize(("text", "tile", "splits"), PROBLEMS)
def test_against_the_reference(text, tile, splits, divided, device):
    divided(tile, splits)
    problem = weight_gradient(text)
    made, numbers = operands(problem, device)
    found = found_of(problem, made, device)
    if problem.dtype in RESULTS:
        assert error(found, wanted_of(problem, numbers)) <= RESULTS[problem.dtype]
        return
    assert error(found, wanted_of(problem, numbers)) <= LIMITS[problem.precision]
    assert error(found, wanted_of(problem, map(ROUNDING[problem.precision], numbers))) <= 1e-6


@pytest.mark.parametrize("text", ["float16", "tf32,float32"])
def test_small_whole_numbers_are_exact(text, divided, device):
    """By hand: of 40 pixels, filter k's gradient is 1 at pixel k alone, so that its weights are that pixel."""
    divided(2, 2)
    problem = weight_gradient(f"conv1d,n1,c16,40,k16,1,channels_last,{text}")
    x = (np.arange(40 * 16).reshape(1, 40, 16) % 9).astype(problem.dtype)
    grad = np.eye(40, 16, dtype=problem.dtype)[None]
    found = found_of(problem, [device.array(x), device.array(grad)], device)
    np.testing.assert_array_equal(found[..., 0], x[0, :16])


def test_no_images(divided, device):
    divided(2)
    for layout in ("channels_first", "channels_last"):
        problem = replace(weight_gradient("conv2d,n1,c8,5x5,k8,3x3,float16"), batch=0, layout=layout)
        made = [device.array(np.zeros(shape, np.float16)) for shape in problem.operand_shapes]
        assert not found_of(problem, made, device).any()


def test_the_plan_takes_the_workspace_that_is_said(interpreting):
    from fastconv.cuda import plan, table

    (entry,) = (entry for entry in table.GRADIENTS["weight_gradient"] if entry.name == NAME)
    for text in ("conv2d,n2,c16,9x9,k8,3x3,p1,reflect,tf32,float32", "conv2d,n1,c8,9x9,k9,1x1,channels_last,float16"):
        problem = weight_gradient(text)
        made = entry.plan(problem, None, plan.target(0))
        assert made.packed == 0
        assert made.workspace == entry.workspace(problem, interpreting.figures)
        terms = entry.terms(problem, interpreting.figures)
        assert ("transposition" in terms) == (problem.layout == "channels_first")
        (case,) = (one for one in fastconv.explain(problem, device=0).candidates if one.name == NAME)
        assert case.predicted_seconds == pytest.approx(sum(terms.values()))


# --- what is wrong ----------------------------------------------------------------------------------


@pytest.fixture
def mutated(interpreting, divided):
    """Compute with a kernel that was changed before it was loaded, and compare with the reference; of 4 rounds."""
    from fastconv.cuda import gradient_call

    def run(change, text="conv2d,n2,c64,8x8,k64,1x1,channels_last,float16"):
        divided(2)
        load = interpreting.load

        def changed(code, ordinal, shared=0):
            if code.name != "fastconv_multiply_weight":
                return load(code, ordinal, shared)
            ptx = change(code.ptx)
            assert ptx != code.ptx
            return load(code._replace(ptx=ptx), ordinal, shared)

        interpreting.load = changed
        gradient_call.clear()
        problem = weight_gradient(text)
        made, numbers = operands(problem, interpreting)
        found = error(found_of(problem, made, interpreting), wanted_of(problem, numbers))
        gradient_call.clear()
        return found

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


def test_a_mutant_that_does_not_transpose(mutated):
    assert mutated(lambda ptx: ptx.replace("x4.trans.", "x4.")) > 0.1


def test_a_mutant_that_cuts_factors_off_errs_too_far(mutated):
    def cut(ptx):
        return ptx.replace("cvt.rna.tf32.f32", "mov.b32")

    text = "conv2d,n2,c64,8x8,k64,1x1,channels_last,tf32,float32"
    assert LIMITS["tf32"] < mutated(cut, text) < 1e-3


def test_without_the_exchange_of_chunks_rows_share_banks():
    """Of halves, eight rows of one chunk; of words, four rows of eight words: each in banks of its own."""
    row = np.arange(8)
    for chunk in range(16):
        assert len(set((row * 256 + (chunk ^ row % 8) * 16) % 128)) == 8
        assert len(set((row * 256 + chunk * 16) % 128)) == 1
    row, word = np.meshgrid(np.arange(4), np.arange(8))
    for eight in range(16):
        chunk = eight * 2 + word // 4
        assert len(set(((row * 512 + (chunk ^ row % 4 * 2) * 16 + word % 4 * 4) % 128).ravel())) == 32
        assert len(set(((row * 512 + chunk * 16 + word % 4 * 4) % 128).ravel())) == 8


# --- what is refused, and chosen --------------------------------------------------------------------


@pytest.mark.parametrize(("text", "reason"), [
    ("conv2d,n1,c8,9x9,k8,3x3,float32", "precision must be tf32, bf16 or fp16, not ieee"),
    ("conv2d,n1,c32,9x9,k32,3x3,g8,float16", "groups of at least 8 channels and 8 filters, not 4 and 4"),
    ("conv2d,n1,c8,33x33,k8,31x31,float16", "kernels whose sizes add up to 30 at most, not 31x31"),
])  # fmt: skip
def test_what_is_refused(text, reason, interpreting):
    problem = weight_gradient(text)
    made, _ = operands(problem, interpreting)
    with pytest.raises(fastconv.UnsupportedError, match=reason):
        found_of(problem, made, interpreting)


def test_float32_is_never_rounded_without_leave(compiler):
    from fastconv.cuda.driver import Device
    from fastconv.cuda.place import DevicePlace
    from fastconv.selection import ON_DEVICES, choice

    place = DevicePlace(0, Device(capability=(8, 0)))
    strict = weight_gradient("conv2d,n32,c128,28x28,k128,3x3,p1,float32")
    assert choice.chosen(strict, 1.0, place=place).name not in ON_DEVICES
    for precision in ("tf32", "fp16", "bf16"):
        allowed = replace(strict, precision=precision)
        limit = fastconv.config.tolerance_in_force(allowed)
        entry = choice.chosen(allowed, limit, place=place)
        assert entry.name == NAME
        assert LIMITS[precision] <= entry.error_bound(allowed) <= limit
    half = replace(strict, dtype="float16", layout="channels_last")
    assert choice.chosen(half, fastconv.config.tolerance_in_force(half), place=place).name == NAME


def test_splits_fill_the_device(compiler):
    from fastconv.cuda import implicit_gemm_mma_weight as policy
    from fastconv.cuda.driver import Device

    def blocks(text):
        problem = weight_gradient(text)
        found = policy.divide(problem, Device())
        tiles = found.padded_filters // found.tile.filters * (found.padded_columns // found.tile.columns)
        assert found.split_rounds * found.splits >= found.rounds > found.split_rounds * (found.splits - 1)
        return tiles * found.splits, found.splits

    many, splits = blocks("conv2d,n32,c64,56x56,k64,3x3,p1,channels_last,float16")
    assert many >= Device().multiprocessors
    assert splits >= 16
    assert blocks("conv2d,n1,c512,7x7,k512,3x3,p1,channels_last,float16")[1] == 1  # tiles are enough


# --- machine code -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("capability", "variant"), [
    *[((9, 0), variant) for variant in WEIGHTS],
    ((8, 0), WEIGHTS[0]),
], ids=str)  # fmt: skip
def test_machine_code(capability, variant, divided):
    from fastconv.cuda.driver import Device
    from fastconv.cuda.implicit_gemm_mma_weight import ImplicitGemmMmaWeight
    from fastconv.cuda.plan import Target

    divided(variant.tile)
    driver = _Keeping()
    target = Target(driver, 0, Device(capability=capability))
    ImplicitGemmMmaWeight().plan(weight_gradient(variant.problem), None, target)
    codes = {code.name: machine_code(code.machine_code) for code in driver.codes}
    for code in codes.values():
        assert (code.stack, code.local_accesses, code.doubles) == (0, 0, 0)
    code = codes["fastconv_multiply_weight"]
    loop = [opcode.partition(".")[0] for opcode in code.main_loop]
    assert {name: loop.count(name) for name in variant.counts} == variant.counts
    assert len(loop) <= variant.loop
    assert code.registers <= variant.registers

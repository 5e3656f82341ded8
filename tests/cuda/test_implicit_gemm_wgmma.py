"""Products by warpgroups: the kernels' PTX against the definition, wrong ones, what is refused, and machine code."""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from math import prod

import numpy as np
import pytest
from interpreter import BarrierError, InterpreterError, RaceError
from machine_code import machine_code
from test_convolution import called, drawn, expected
from variants import WARPGROUPS

import fastconv
from fastconv.problem import ConvProblem

NAME = "implicit_gemm_wgmma"
# Of results rounded once: some 0.41 * 2**-p. Of tf32, what rounding factors does: see test_implicit_gemm_mma.
LIMITS = {"float16": 3e-4, "bfloat16": 2.4e-3, "float32": 3.5e-4}

# Problem, activation, filters of a tile, splits; on a device of one multiprocessor, or two: a block takes several
# tiles. Channels and filters are no multiples of a tile's; sizes, strides, dilations and padding are odd. Rows of 37
# and 75 filters begin anywhere, the others at multiples of 16 bytes.
PROBLEMS = [
    ("conv2d,n3,c72,9x7,k37,3x3,s2,p1,channels_last,bfloat16", None, 64, 1),
    ("conv2d,n2,c8,11x19,k72,5x3,s2x3,p2:1x0:3,d2x1,flip,channels_last,float16", "relu", 64, 1),
    ("conv2d,n2,c128,12x13,k272,2x2,p1,g2,channels_last,float16", None, 128, 1),
    ("conv2d,n2,c72,9x8,k264,2x2,channels_last,bfloat16", None, 256, 1),
    ("conv1d,n2,c24,70,k16,5,p7,d3,channels_last,float16", None, 64, 1),
    ("conv3d,n1,c16,6x5x6,k24,2x3x2,p1x0x1:0,s1x2x1,channels_last,bfloat16", None, 64, 1),
    ("conv2d,n2,c36,9x9,k44,3x3,p1,channels_last,tf32,float32", "hardswish", 64, 1),
    ("conv2d,n1,c64,12x12,k264,2x2,p1,g2,channels_last,tf32,float32", None, 128, 1),
    ("conv2d,n1,c20,9x9,k33,3x3,p1,channels_last,fp16,float32", None, 64, 1),
    ("conv2d,n1,c64,10x10,k72,3x3,p1,channels_last,float16", "relu", 64, 3),
    ("conv2d,n1,c40,9x9,k75,3x3,p1,channels_last,tf32,float32", None, 64, 2),
    ("conv2d,n2,c24,9x7,k37,3x3,s2,p1,float16", "relu", 64, 1),
    ("conv2d,n3,c72,8x6,k136,1x1,bfloat16", None, 128, 1),
    ("conv3d,n2,c20,4x5x4,k70,2x3x2,p1x0x1:0,flip,tf32,float32", None, 64, 2),
]


@pytest.fixture
def divided(compiler, monkeypatch):
    """Let a product be divided in a given way, whatever would take the least time."""
    from fastconv.cuda import wgmma

    tiles = {tile.filters: tile for tile in wgmma.TILES}

    def divide(filters, splits=1):
        wgmma.divide.cache_clear()
        monkeypatch.setattr(wgmma, "TILES", (tiles[filters],))
        monkeypatch.setattr(wgmma, "SPLITS", (splits,))
        monkeypatch.setattr(wgmma, "LEAST_STEPS", 1)

    yield divide
    wgmma.divide.cache_clear()


@pytest.fixture
def hopper(device):
    """A device that has the instructions; one that is interpreted has one multiprocessor."""
    from fastconv.cuda import driver
    from fastconv.cuda.wgmma import ImplicitGemmWgmma

    if hasattr(device, "figures"):
        device.figures = replace(device.figures, multiprocessors=1)
    reason = ImplicitGemmWgmma().runs_on(driver.current().device(0))
    if reason is not None:
        pytest.skip(reason)
    return device


def arrays(problem, device):
    """Return x, weight, bias and residual on a device, and what they hold."""
    numbers = drawn(replace(problem, dtype="float32"), np.random.default_rng(0))
    if problem.dtype != "bfloat16":
        made = [device.array(each.astype(problem.dtype)) for each in numbers]
    elif hasattr(device, "bfloat16"):
        made = [device.bfloat16(each) for each in numbers]
    else:
        pytest.skip("this library has no bfloat16")
    return made, [device.numpy(each).astype(np.float64) for each in made]


def error(found, wanted):
    return np.linalg.norm(found - wanted) / np.linalg.norm(wanted)


def compared(problem, device, activation=None, *, addends=False):
    """Return the error of a call, with a bias and perhaps a residual."""
    made, exact = arrays(problem, device)
    arguments = {"activation": activation, "algorithm": NAME, "residual": made[3] if addends else None}
    y = device.numpy(called(problem, *made[:3], **arguments)).astype(np.float64)
    return error(y, expected(problem, *exact[:3], exact[3] if addends else None, activation))


@pytest.mark.parametrize(("text", "activation", "filters", "splits"), PROBLEMS)
def test_against_the_definition(text, activation, filters, splits, divided, hopper):
    divided(filters, splits)
    problem = ConvProblem.parse(text)
    for addends in (False, True):  # stored by the engine, and by threads
        assert compared(problem, hopper, activation, addends=addends) <= LIMITS[problem.dtype]


@pytest.mark.parametrize("text", ["float16", "tf32,float32"])
def test_small_whole_numbers_are_exact(text, divided, hopper):
    """By hand: filter k of a 1x1 kernel takes channel k, k + 1 times."""
    divided(64)
    x = np.arange(7 * 16, dtype=np.float32).reshape(1, 1, 7, 16) % 8
    weight = np.zeros((16, 16, 1, 1), np.float32)
    weight[range(16), range(16), 0, 0] = np.arange(16) + 1
    problem = ConvProblem.parse(f"conv2d,n1,c16,1x7,k16,1x1,channels_last,{text}")
    made = [hopper.array(each.astype(problem.dtype)) for each in (x, weight)]
    y = hopper.numpy(called(problem, *made, algorithm=NAME))
    np.testing.assert_array_equal(y, x * (np.arange(16) + 1))


def test_nan_and_infinity_come_out_where_the_definition_puts_them(divided, hopper):
    divided(64)
    problem = ConvProblem.parse("conv2d,n1,c16,6x6,k16,3x3,p1,channels_last,float16")
    (x, weight, *_), (numbers, factors, *_) = arrays(problem, hopper)
    numbers[0, 1, 2, 3], numbers[0, 5, 5, 4] = np.nan, np.inf
    x = hopper.array(numbers.astype(np.float16))
    y = hopper.numpy(called(problem, x, weight, algorithm=NAME))
    wanted = expected(problem, numbers, factors)
    np.testing.assert_array_equal(np.isnan(y), np.isnan(wanted))
    np.testing.assert_array_equal(np.isinf(y), np.isinf(wanted))


def test_other_arrays_of_a_shape_move_the_maps(divided, interpreting):
    divided(64)
    problem = ConvProblem.parse("conv2d,n1,c16,6x6,k16,1x1,channels_last,float16")
    for _ in range(2):
        made, exact = arrays(problem, interpreting)
        y = interpreting.numpy(called(problem, *made[:2], algorithm=NAME))
        assert error(y, expected(problem, *exact[:2])) <= LIMITS["float16"]
    kinds = [kind for kind, _ in interpreting.maps]
    assert kinds == ["encode"] * 3 + ["move"] * 3
    weight = made[1]
    layer = fastconv.Conv2d(weight, layout="channels_last", algorithm=NAME)
    out = interpreting.array(np.zeros(problem.output_shape, np.float16))
    layer(made[0], out=out)
    del interpreting.maps[:]
    layer(made[0], out=out)
    assert not interpreting.maps  # nothing has moved


def test_other_padding_is_a_copy_that_the_map_is_of(divided, interpreting):
    divided(64)
    problem = ConvProblem.parse("conv2d,n1,c16,6x6,k16,3x3,p1,reflect,channels_last,float16")
    assert compared(problem, interpreting) <= LIMITS["float16"]


@pytest.mark.parametrize("text", [
    "conv2d,n1,c16,7x6,k16,3x3,s2,p1,channels_last,input_gradient,float16",  # strides: several forward problems
    "conv2d,n8,c10,7x6,k16,3x3,s2,p1,channels_last,weight_gradient,float16",  # images are its channels, and last
])  # fmt: skip
def test_gradients(text, divided, interpreting):
    """Their maps are of copies in the workspace."""
    from test_gradients import functions

    divided(64)
    problem = ConvProblem.parse(text)
    random = np.random.default_rng(0)
    operands = [random.uniform(-1, 1, shape).astype(np.float16) for shape in problem.operand_shapes]
    call, arguments = functions(problem), problem.arguments()
    wanted = call(*(one.astype(np.float64) for one in operands), algorithm="reference", **arguments)
    y = interpreting.numpy(call(*map(interpreting.array, operands), algorithm=NAME, **arguments))
    assert error(y.astype(np.float64), wanted) <= LIMITS["float16"]


def test_an_image_alone_and_in_a_batch(interpreting):
    from fastconv.cuda import wgmma

    one, many = (ConvProblem.parse(f"conv2d,n{batch},c512,3x3,k16,3x3,p1,channels_last,float16") for batch in (1, 16))
    assert wgmma.divide(one, interpreting.figures).splits > 1
    (x, weight, *_), _ = arrays(many, interpreting)
    y = interpreting.numpy(called(many, x, weight, algorithm=NAME))
    alone = interpreting.numpy(called(one, x[7:8], weight, algorithm=NAME))
    np.testing.assert_array_equal(alone, y[7:8])


def test_the_plan_takes_the_workspace_that_is_said(interpreting):
    from fastconv.cuda import plan, table

    (entry,) = (entry for entry in table.TABLE if entry.name == NAME)
    alone, split, first = (
        ConvProblem.parse(f"conv2d,n3,{text},float16")
        for text in ("c8,9x9,k9,1x1,channels_last", "c512,9x9,k8,3x3,p1,channels_last", "c512,9x9,k8,3x3,p1")
    )
    rooms = []
    for problem in (alone, split, first):
        made = entry.plan(problem, None, plan.target(0))
        assert made.packed + made.workspace == entry.workspace(problem, interpreting.figures)
        rooms.append(made.workspace)
        transposed = "transposition" in entry.terms(problem, interpreting.figures)
        assert transposed == (problem.layout == "channels_first")
    assert rooms[0] == 0
    assert rooms[2] - plan.aligned(prod(first.input_shape) * 2) == rooms[1] > 0  # parts of sums


# --- what is wrong ----------------------------------------------------------------------------------

ASKED = re.compile(r"\{ \.reg \.pred %done; AGAIN:[^}]*\}")


@pytest.fixture
def mutated(interpreting, divided):
    """Compute with a kernel that was changed before it was loaded, and compare with the definition.

    There are 9 steps, one more than stages, and 4 tiles for one block.
    """
    from fastconv.cuda import call

    def run(change):
        divided(64)
        interpreting.figures = replace(interpreting.figures, multiprocessors=1)
        load = interpreting.load

        def changed(code, ordinal, shared=0):
            if "wgmma" not in code.ptx:
                return load(code, ordinal, shared)
            ptx = change(code.ptx)
            assert ptx != code.ptx
            return load(code._replace(ptx=ptx), ordinal, shared)

        interpreting.load = changed
        call.clear()
        problem = ConvProblem.parse("conv2d,n2,c64,10x10,k72,3x3,p1,channels_last,float16")
        return compared(problem, interpreting)

    return run


def last(pattern, replacement):
    """Return a change of the last match: the consumers'."""

    def change(ptx):
        *_, match = pattern.finditer(ptx)
        return ptx[: match.start()] + replacement + ptx[match.end() :]

    return change


def all_but_last(pattern, replacement):
    """Return a change of the others: the producer's."""

    def change(ptx):
        *_, match = pattern.finditer(ptx)
        return pattern.sub(replacement, ptx[: match.start()]) + ptx[match.start() :]

    return change


def test_a_mutant_that_multiplies_what_has_not_come(mutated):
    with pytest.raises(RaceError, match=r"reads a tile without having waited for it: wgmma"):
        mutated(last(ASKED, ""))


def test_a_mutant_that_loads_before_stages_are_free(mutated):
    with pytest.raises(BarrierError, match=r"more arrive than a barrier waits for: mbarrier\.arrive\.expect_tx"):
        mutated(all_but_last(ASKED, ""))


def test_a_mutant_that_frees_a_stage_too_early(mutated):
    with pytest.raises(RaceError, match=r"products may still read the one before: cp\.async\.bulk"):
        mutated(lambda ptx: ptx.replace("wgmma.wait_group.sync.aligned 1;", "wgmma.wait_group.sync.aligned 2;"))


def test_a_mutant_that_never_frees_a_stage(mutated):
    with pytest.raises(BarrierError, match="wait for a phase that never ends"):
        mutated(lambda ptx: re.sub(r"mbarrier\.arrive\.shared::cta\.b64 _, \[%r\d+\];", "", ptx))


def test_a_mutant_that_expects_fewer_bytes(mutated):
    with pytest.raises(BarrierError, match="wait for a phase that never ends"):
        mutated(lambda ptx: re.sub(r"(mov\.u32\s+%r\d+), 24576;", r"\1, 16384;", ptx))


def test_a_mutant_whose_results_the_engine_does_not_see(mutated):
    with pytest.raises(RaceError, match="was not shown to the engine"):
        mutated(lambda ptx: ptx.replace("fence.proxy.async.shared::cta;", ""))


def test_a_mutant_that_stores_over_results_that_are_not_stored(mutated):
    def wait_for_fewer(ptx):
        return ptx.replace("cp.async.bulk.wait_group.read 1;", "cp.async.bulk.wait_group.read 2;")

    assert mutated(wait_for_fewer) > 0.1


def test_a_mutant_that_ends_before_its_results_are_stored(mutated):
    with pytest.raises(InterpreterError, match="ended before its tiles were stored"):
        mutated(lambda ptx: ptx.replace("cp.async.bulk.wait_group.read 0;", ""))


# --- what is refused --------------------------------------------------------------------------------

LAST = "channels_last,float16"


@pytest.mark.parametrize(("text", "reason"), [
    ("conv2d,n1,c8,9x9,k8,3x3,channels_last,float32", "precision must be tf32, bf16 or fp16, not ieee"),
    (f"conv2d,n1,c12,9x9,k8,3x3,{LAST}", "channels in multiples of 8 for float16, not 12"),
    ("conv2d,n1,c6,9x9,k8,3x3,channels_last,tf32,float32", "channels in multiples of 4 for float32, not 6"),
    (f"conv2d,n1,c64,9x9,k8,3x3,g2,{LAST}", "groups whose channels are multiples of 64 for float16, not 32"),
    (f"conv1d,n8388607,c8,128,k1024,1,{LAST}", "at most 33554431 tiles of pixels and filters, not 134217712"),
    (f"conv2d,n1,c8,99x99,k8,3x3,s9,{LAST}", "strides of at most 8, not 9"),
    (f"conv2d,n1,c8,9x9,k8,3x3,p130,{LAST}", r"begin -128 to 127 off .*, not \(-130, -130\), \(128, 128\)"),
    (f"conv3d,n1,c8,9x40x40,k8,1x18x1,{LAST}", r"begin -16 to 15 off an image's ends, not \(0, 0, 0\), \(0, -17, 0\)"),
    (f"conv3d,n1,c8,9x40x40,k8,1x33x1,p0x16x0,{LAST}", "kernels that reach at most 31 pixels, not 32"),
])  # fmt: skip
def test_what_is_refused(text, reason, compiler):
    from fastconv.cuda.wgmma import ImplicitGemmWgmma

    said = ImplicitGemmWgmma().supports(ConvProblem.parse(text))
    assert said is not None
    assert re.search(reason, said)


@pytest.mark.parametrize("capability", [(8, 0), (10, 0)])
def test_other_devices_have_no_such_instructions(capability, interpreting):
    problem = ConvProblem.parse("conv2d,n1,c64,9x9,k64,3x3,channels_last,float16")
    interpreting.figures = replace(interpreting.figures, capability=capability)
    made, _ = arrays(problem, interpreting)
    own = ".".join(map(str, capability))
    with pytest.raises(fastconv.UnsupportedError, match=f"takes devices of compute capability 9.0, not {own}"):
        called(problem, *made[:2], algorithm=NAME)


def test_tiles_and_splits_follow_the_shape(compiler):
    from fastconv.cuda import wgmma
    from fastconv.cuda.driver import Device

    def division(text):
        found = wgmma.divide(ConvProblem.parse(text), Device())
        return found.tile.filters, found.splits

    assert division("conv2d,n32,c256,56x56,k256,3x3,p1,channels_last,float16") == (256, 1)
    assert division("conv2d,n32,c64,56x56,k64,3x3,p1,channels_last,float16") == (64, 1)
    assert division("conv2d,n32,c128,56x56,k128,3x3,p1,channels_last,float16")[0] == 128
    assert division("conv2d,n1,c512,7x7,k512,3x3,p1,channels_last,float16")[1] > 1


# --- machine code -----------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", WARPGROUPS, ids=str)
def test_machine_code(variant, divided, codes_of, monkeypatch, tmp_path, caplog):
    """Compiled anew, so that the linker says what it has to say: nothing, as of products that wait for each other."""
    from fastconv import config
    from fastconv.cuda.compile import clear_cache

    monkeypatch.setattr(config, "cache_directory", lambda: tmp_path)
    clear_cache()
    divided(variant.filters, variant.splits)
    with caplog.at_level(logging.WARNING):
        codes = codes_of(ConvProblem.parse(variant.problem), (9, 0), NAME)
    clear_cache()
    assert "linker" not in caplog.text
    (code,) = (machine_code(each.machine_code) for each in codes if "wgmma" in each.ptx)
    assert (code.stack, code.local_accesses, code.doubles) == (0, 0, 0)
    assert code.registers == variant.registers
    loop = code.main_loop
    assert [opcode for opcode in loop if opcode.startswith("HGMMA")] == [variant.product] * 4
    assert code.count("HGMMA") == 4
    assert len(loop) <= variant.loop
    assert code.count("USETMAXREG") == 2
    assert sum(opcode.startswith("UTMALDG") and opcode.endswith("IM2COL") for opcode in code.opcodes) >= 1
    assert code.count("UTMASTG") == (1 if variant.stored else 0)

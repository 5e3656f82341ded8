"""Padding on a device: every mode and every form, against the reference."""

from __future__ import annotations

import numpy as np
import pytest
from machine_code import machine_code
from variants import _Keeping

import fastconv
from fastconv.problem import PADDING_MODES, ConvProblem

MODES = [mode for mode in PADDING_MODES if mode != "zeros"]


def compare(device, problem, algorithm, **arguments):
    random = np.random.default_rng(0)
    x, weight, bias = (
        random.uniform(-1, 1, shape).astype(problem.dtype)
        for shape in (problem.input_shape, problem.weight_shape, (problem.filters,))
    )
    function = getattr(fastconv, f"conv{problem.rank}d")
    arguments = {**problem.arguments(), **arguments}
    exact = (each.astype(np.float64) for each in (x, weight, bias))
    wanted = function(*exact, algorithm="reference", **arguments)
    found = function(*map(device.array, (x, weight, bias)), algorithm=algorithm, **arguments)
    found = device.numpy(found)
    assert found.shape == wanted.shape
    limit = {"float32": 1e-6, "float16": 1e-3, "float64": 1e-14}[problem.dtype]
    assert np.linalg.norm(found - wanted) <= limit * np.linalg.norm(wanted)


@pytest.mark.parametrize("mode", MODES)
def test_by_hand(mode, device):
    x, shows = np.array([[[1.0, 2.0, 3.0]]]), {
        "reflect": [3, 2, 1, 2, 3, 2, 1],
        "symmetric": [2, 1, 1, 2, 3, 3, 2],
        "replicate": [1, 1, 1, 2, 3, 3, 3],
        "circular": [2, 3, 1, 2, 3, 1, 2],
    }  # fmt: skip
    one = device.array(np.ones((1, 1, 1)))
    y = fastconv.conv1d(device.array(x), one, padding=2, padding_mode=mode, algorithm="direct")
    assert device.numpy(y).tolist() == [[shows[mode]]]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("algorithm", "text"),
    [
        ("direct", "conv3d,n2,c2,4x5x3,k3,2x3x2,p1x2:1x0:2,float64"),
        ("direct", "conv2d,n2,c4,7x9,k6,3x2,s2x1,p1:0x2,d2x1,g2,flip,channels_last,float32"),
        ("depthwise", "conv2d,n2,c3,9x8,k3,3x3,p1,g3,float32"),
        ("depthwise", "conv2d,n1,c3,9x8,k3,7x7,p3,g3,channels_last,float16"),
    ],
)
def test_modes(mode, algorithm, text, device):
    compare(device, ConvProblem.parse(text.replace("float", f"{mode},float")), algorithm)


@pytest.mark.parametrize(("algorithm", "dtype"), [("im2col", "float32"), ("implicit_gemm_mma", "float16")])
def test_a_matrix_product(algorithm, dtype, device):
    compare(device, ConvProblem.parse(f"conv2d,n1,c8,9x7,k9,3x3,p1x2:0,reflect,channels_last,{dtype}"), algorithm)


@pytest.mark.parametrize("mode", PADDING_MODES)
@pytest.mark.parametrize("padding", ["same", "same_lower", ((0, 2), (3, 1)), (2, 1), "valid"], ids=str)
def test_forms(padding, mode, device):
    problem = ConvProblem.parse("conv2d,n1,c2,7x8,k2,4x3,s2,float32")
    compare(device, problem, "direct", padding=padding, padding_mode=mode)


def test_more_than_the_input_is_repeated_by_replicate_alone(device):
    compare(device, ConvProblem.parse("conv1d,n1,c1,2,k1,3,p7,replicate,float32"), "direct")
    with pytest.raises(ValueError, match="padding must be at most 1 on axis 0 of size 2"):
        compare(device, ConvProblem.parse("conv1d,n1,c1,2,k1,1,float32"), "direct", padding=2, padding_mode="reflect")


def test_in_a_layer_and_without_any_border(interpreting):
    x, weight = interpreting.array(np.arange(5.0).reshape(1, 1, 5)), interpreting.array(np.ones((1, 1, 3)))
    layer = fastconv.Conv1d(weight, padding=1, padding_mode="circular", algorithm="im2col")
    for _ in range(2):
        assert interpreting.numpy(layer(x)).tolist() == [[[5, 3, 6, 9, 7]]]
    assert [launch.name for launch in interpreting.launches].count("fastconv_pad") == 2
    before = len(interpreting.launches)
    fastconv.conv1d(x, weight, padding_mode="circular", algorithm="direct")
    assert [launch.name for launch in interpreting.launches[before:]] == ["fastconv_direct"]


@pytest.mark.parametrize("name", ["direct", "depthwise", "im2col", "winograd_2x2", "fft"])
def test_the_copy_is_in_what_is_said_of_a_problem(name, interpreting):
    from fastconv.cuda import plan, table

    groups = 6 if name == "depthwise" else 1
    bordered, zeros = (
        ConvProblem.parse(f"conv2d,n2,c6,9x7,k6,3x3,p1x2,g{groups},{mode}float32") for mode in ("reflect,", "")
    )
    (entry,) = (entry for entry in table.TABLE if entry.name == name)
    assert entry.supports(bordered) is None
    made = entry.plan(bordered, None, plan.target(0))
    assert made.packed + made.workspace == entry.workspace(bordered, interpreting.figures)
    assert made.workspace >= 2 * 6 * 11 * 11 * 4
    assert set(entry.terms(bordered, interpreting.figures)) == {*entry.terms(zeros, interpreting.figures), "border"}
    assert [candidate.name for candidate in fastconv.explain(bordered, device=0).candidates if not candidate.reason]


@pytest.mark.parametrize("capability", [(8, 0), (9, 0)], ids=str)
def test_machine_code(capability, lowered_once):
    from fastconv.cuda import padding
    from fastconv.cuda.driver import Device
    from fastconv.cuda.plan import Target

    problem = ConvProblem.parse("conv2d,n1,c2,7x8,k2,3x3,p1,reflect,float32")
    driver = _Keeping()
    padding.padding(problem, Target(driver, 0, Device(capability=capability)))
    code = machine_code(driver.codes[0].machine_code)
    assert (code.local_accesses, code.stack, code.doubles) == (0, 0, 0)

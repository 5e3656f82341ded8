"""Depthwise convolutions on a device: each kernel's PTX against the reference, and what its machine code is made of."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from machine_code import machine_code

import fastconv
from fastconv.problem import ConvProblem

# Strips, tiles of planes, and runs of channels that lie side by side; each has something that is odd.
PROBLEMS = [
    "conv2d,n2,c3,9x8,k3,3x3,p1,g3,float32",
    "conv2d,n2,c3,9x8,k6,3x3,s2,p1,g3,channels_last,float32",  # two filters a channel
    "conv2d,n2,c3,9x8,k6,3x3,p2,d2,g3,flip,float64",
    "conv2d,n1,c2,11x13,k2,5x5,s2,p2,g2,float32",
    "conv2d,n1,c5,9x8,k5,2x4,p0:1x1:2,g5,channels_last,float64",
    "conv1d,n2,c3,50,k3,3,p1,g3,float32",
    "conv2d,n2,c5,14x14,k5,7x7,p3,g5,float32",  # four planes a block, the last block without planes for all
    "conv2d,n1,c3,19x70,k6,7x7,s2,p3,g3,float32",
    "conv2d,n1,c2,20x33,k2,31x31,p15,g2,float32",
    "conv2d,n3,c7,7x7,k7,9x7,p4x3,g7,flip,float64",
    "conv2d,n1,c2,24x24,k2,7x7,p9,d3,g2,float32",
    "conv1d,n2,c3,1100,k3,31,s2,p15,g3,float32",
    "conv2d,n1,c3,9x20,k3,31x31,p15,g3,channels_last,float32",
    "conv2d,n2,c3,20x21,k6,7x9,s2x1,p3,d1x2,g3,flip,channels_last,float64",
]


@pytest.mark.parametrize("text", PROBLEMS)
def test_problems(text, device, operands_of):
    problem = ConvProblem.parse(text)
    x, weight, bias, residual = operands_of(problem, bias=True, residual=True)
    function = getattr(fastconv, f"conv{problem.rank}d")
    arguments = {name: getattr(problem, name) for name in ("stride", "padding", "dilation", "groups", "layout", "flip")}
    on_device = [device.array(one) for one in (x, weight, bias)]
    found = function(*on_device, residual=device.array(residual), activation="relu", algorithm="depthwise", **arguments)
    exact = [one.astype(np.float64) for one in (x, weight, bias, residual)]
    expected = function(*exact[:3], residual=exact[3], activation="relu", algorithm="reference", **arguments)
    y = device.numpy(found)
    assert y.dtype == x.dtype
    assert np.linalg.norm(y - expected) < (1e-6 if x.dtype == np.float32 else 1e-14) * np.linalg.norm(expected)


def test_alone_without_bias(device):
    x = np.arange(2 * 25, dtype=np.float32).reshape(1, 2, 5, 5)
    weight = np.zeros((2, 1, 3, 3), np.float32)
    weight[:, 0, 0, 2] = 1, 2  # the pixel above to the right, and twice that
    y = fastconv.conv2d(device.array(x), device.array(weight), padding=1, groups=2, algorithm="depthwise")
    expected = np.zeros_like(x)
    expected[:, :, 1:, :-1] = x[:, :, :-1, 1:] * np.array([1, 2])[:, None, None]
    np.testing.assert_array_equal(device.numpy(y), expected)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("conv2d,n1,c4,8x8,k4,3x3,g2,float32", "one channel each"),
        ("conv3d,n1,c2,8x8x8,k2,3x3x3,g2,float32", "one or two dimensions"),
        ("conv2d,n1,c2,99x99,k2,7x7,d12,g2,float32", "see 64 elements, not 80"),
        ("conv2d,n1,c2,999x99,k2,99x9,p50,d9x1,g2,float32", "shared memory"),
    ],
)
def test_what_no_kernel_computes_is_refused(text, reason, compiler):
    from fastconv.cuda.depthwise import Depthwise

    assert reason in Depthwise().supports(ConvProblem.parse(text))


# Registers at most, the share of multiply-adds in the main loop at least, and loads from shared memory by width.
CODE = {
    "conv2d,n32,c144,56x56,k144,3x3,p1,g144,float32": (64, 0, None),
    "conv2d,n32,c144,56x56,k144,3x3,s2,p1,g144,channels_last,float32": (64, 0, None),
    "conv2d,n32,c144,56x56,k144,5x5,s2,p2,g144,float32": (96, 0, None),
    "conv2d,n32,c64,14x14,k64,7x7,p3,g64,float32": (96, 0.75, None),
    "conv2d,n32,c64,56x56,k64,31x31,p15,g64,float32": (96, 0.88, Counter({128: 17, 64: 1, 32: 6})),
    "conv2d,n32,c64,56x56,k64,31x31,p15,g64,channels_last,float32": (255, 0.4, None),
}


@pytest.mark.parametrize("capability", [(8, 0), (9, 0)], ids=str)
@pytest.mark.parametrize("text", CODE)
def test_machine_code(text, capability, codes_of):
    registers, share, loads = CODE[text]
    code = machine_code(codes_of(ConvProblem.parse(text), capability, "depthwise", activation="relu")[-1].machine_code)
    assert (code.local_accesses, code.stack, code.doubles) == (0, 0, 0)
    assert code.registers <= registers
    assert code.share("FFMA") >= share
    if loads is not None:
        assert code.widths("LDS") == loads

"""Gradients and transposed convolutions on a device, against the reference."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from machine_code import machine_code
from variants import _Keeping

import fastconv
from fastconv import reference
from fastconv.problem import DIRECTIONS, PADDING_MODES, ConvProblem

LIMITS = {"float16": 1e-3, "float32": 1e-6, "float64": 1e-14}  # relative error in the 2-norm

# Each has something that is odd: strides that share a factor with the dilation or none, phases that nothing reaches,
# more padding than the kernel, elements that no window sees, groups.
PROBLEMS = (
    ("conv2d,n2,c3,7x9,k5,3x3,p1,float32", "direct"),
    ("conv2d,n2,c4,9x9,k6,3x2,s2x3,p1:0x2,d2x1,g2,flip,channels_last,float32", "direct"),
    ("conv1d,n1,c4,17,k4,2,s3,p4,g4,float64", "direct"),
    ("conv3d,n2,c4,5x6x5,k6,2x3x2,s2x1x2,p1x2:0x0,g2,float64", "direct"),
    ("conv3d,n1,c4,6x5x4,k2,3x2x2,s2x3x2,d2x2x1,g2,channels_last,float64", "direct"),
    ("conv2d,n1,c8,9x7,k9,3x3,p1,float32", "im2col"),
    ("conv2d,n2,c5,11x10,k7,3x3,s2,p1,channels_last,float32", "im2col"),
    ("conv2d,n2,c6,8x8,k6,3x3,p1,g2,float16", "direct"),
)


def functions(problem):
    """Return the public function of a problem's direction, and how it is called on the two operands."""
    function = getattr(fastconv, f"conv{problem.rank}d_{problem.direction.partition('_')[0]}")
    if problem.direction == "input_gradient":
        return lambda grad, weight, **others: function(problem.input_shape, weight, grad, **others)
    return lambda x, grad, **others: function(x, problem.weight_shape, grad, **others)


def compare(device, problem, algorithm):
    random = np.random.default_rng(0)
    one, other = (random.uniform(-1, 1, shape).astype(problem.dtype) for shape in problem.operand_shapes)
    call, arguments = functions(problem), problem.arguments()
    wanted = call(one.astype(np.float64), other.astype(np.float64), algorithm="reference", **arguments)
    found = device.numpy(call(device.array(one), device.array(other), algorithm=algorithm, **arguments))
    assert found.shape == wanted.shape
    assert found.dtype == problem.dtype
    assert np.linalg.norm(found - wanted) <= LIMITS[problem.dtype] * np.linalg.norm(wanted)


@pytest.mark.parametrize("direction", DIRECTIONS[1:])
@pytest.mark.parametrize(("text", "algorithm"), PROBLEMS)
def test_against_the_reference(text, algorithm, direction, device):
    compare(device, replace(ConvProblem.parse(text), direction=direction), algorithm)


def test_by_hand(device):
    weight, grad = device.array(np.array([[[1.0, 10.0, 100.0]]])), device.array(np.array([[[1.0, 2.0]]]))
    assert device.numpy(fastconv.conv1d_input((1, 1, 5), weight, grad, stride=2)).tolist() == [[[1, 10, 102, 20, 200]]]
    x = device.array(np.arange(1.0, 6.0).reshape(1, 1, 5))
    assert device.numpy(fastconv.conv1d_weight(x, (1, 1, 3), grad, stride=2)).tolist() == [[[7, 10, 13]]]
    y = fastconv.conv_transpose1d(grad, weight, device.array(np.array([0.5])), stride=4)
    assert device.numpy(y).tolist() == [[[1.5, 10.5, 100.5, 0.5, 2.5, 20.5, 200.5]]]  # no tap reaches the fourth


@pytest.mark.parametrize("direction", DIRECTIONS[1:])
@pytest.mark.parametrize("mode", PADDING_MODES)
@pytest.mark.parametrize("layout", ["", "channels_last,"])
def test_borders(mode, layout, direction, device):
    text = f"conv2d,n2,c2,5x6,k3,3x2,s2x1,p2:1x0:3,{mode},{layout}float64"
    compare(device, replace(ConvProblem.parse(text), direction=direction), "direct")


def test_borders_of_volumes_and_more_than_there_is(device):
    for text in ("conv3d,n1,c1,3x4x3,k1,2x2x2,p2x1:0x1,reflect,float64", "conv1d,n1,c1,2,k1,3,p7,replicate,float64"):
        compare(device, replace(ConvProblem.parse(text), direction="input_gradient"), "direct")


def test_winograd_by_the_input(device):
    problem = ConvProblem.parse("conv2d,n1,c8,6x6,k8,3x3,p1,float64")
    compare(device, replace(problem, direction="input_gradient"), "winograd_2x2")


def test_large_outputs_by_the_weight(device):
    """Windows of more places than there are bits: they lie inside their image, copied with its padding."""
    problem = ConvProblem.parse("conv2d,n2,c3,20x21,k4,3x3,p1,float32")
    compare(device, replace(problem, direction="weight_gradient"), "im2col")


def test_without_a_batch_axis_and_with_out(interpreting):
    random = np.random.default_rng(0)
    x, grad, weight = (random.uniform(-1, 1, shape) for shape in ((2, 5, 6), (3, 4, 5), (3, 2, 2, 2)))
    on_device = [interpreting.array(each) for each in (x, grad, weight)]
    found = fastconv.conv2d_weight(on_device[0], weight.shape, on_device[1])
    wanted = fastconv.conv2d_weight(x, weight.shape, grad, algorithm="reference")
    np.testing.assert_allclose(interpreting.numpy(found), wanted, rtol=1e-12)
    out = interpreting.array(np.zeros((4, 5, 6)))
    part = out[::2]
    assert fastconv.conv2d_input(x.shape, on_device[2], on_device[1], out=part) is part
    wanted = fastconv.conv2d_input(x.shape, weight, grad, algorithm="reference")
    np.testing.assert_allclose(interpreting.numpy(out)[::2], wanted, rtol=1e-12)
    assert not interpreting.numpy(out)[1::2].any()


def test_no_images(device):
    x, grad = np.zeros((0, 2, 5, 5), np.float32), np.zeros((0, 3, 3, 3), np.float32)
    found = device.numpy(fastconv.conv2d_weight(device.array(x), (3, 2, 3, 3), device.array(grad)))
    assert found.tolist() == np.zeros((3, 2, 3, 3)).tolist()
    weight = device.array(np.ones((3, 2, 3, 3), np.float32))
    assert device.numpy(fastconv.conv2d_input((0, 2, 5, 5), weight, device.array(grad))).shape == (0, 2, 5, 5)


@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
def test_transposed_convolutions(layout, device):
    random = np.random.default_rng(0)
    x, weight, bias = (random.uniform(-1, 1, shape) for shape in ((2, 4, 3, 4), (4, 3, 3, 2), (6,)))
    if layout == "channels_last":
        x = np.ascontiguousarray(np.moveaxis(x, 1, -1))
    arguments = {"stride": (3, 2), "padding": 1, "output_padding": (2, 1), "groups": 2, "dilation": 2, "layout": layout}
    wanted = reference.conv_transpose(x, weight, bias, **arguments)
    found = fastconv.conv_transpose2d(*map(device.array, (x, weight, bias)), **arguments, algorithm="direct")
    np.testing.assert_allclose(device.numpy(found), wanted, rtol=1e-12, atol=1e-13)


def test_what_a_device_refuses(interpreting):
    weight, grad = (interpreting.array(np.ones(shape)) for shape in ((3, 2, 3, 3), (1, 3, 3, 3)))
    with pytest.raises(ValueError, match=r"grad_output must have the output's shape \(1, 3, 4, 3\), got "):
        fastconv.conv2d_input((1, 2, 6, 5), weight, grad)
    with pytest.raises(TypeError, match="weight must have the type of grad_output, float64, on a device, got float32"):
        fastconv.conv2d_input((1, 2, 5, 5), interpreting.array(np.ones((3, 2, 3, 3), np.float32)), grad)
    with pytest.raises(TypeError, match="grad_output"):
        fastconv.conv2d_input((1, 2, 5, 5), weight, np.ones((1, 3, 3, 3)))
    with pytest.raises(fastconv.UnsupportedError, match=r"winograd_2x2.*, in conv2d"):
        fastconv.conv2d_input((1, 2, 5, 5), weight, grad, stride=2, padding=1, algorithm="winograd_2x2")


@pytest.mark.parametrize(("text", "name"), [
    ("conv2d,n32,c256,56x56,k256,3x3,p1,input_gradient,float32", "fft"),
    ("conv2d,n32,c256,56x56,k256,3x3,s2,p1,input_gradient,float32", "im2col"),
    ("conv2d,n32,c64,56x56,k64,3x3,s2,p1,weight_gradient,float32", "im2col"),
    ("conv2d,n32,c256,56x56,k64,1x1,channels_last,weight_gradient,float32", "im2col"),
])  # fmt: skip
def test_choice(text, name, compiler):
    from fastconv import selection
    from fastconv.cuda.driver import Device
    from fastconv.cuda.place import DevicePlace

    assert selection.chosen(ConvProblem.parse(text), 1e-5, place=DevicePlace(0, Device())).name == name


def test_channels_of_a_weight_gradient_are_no_images(compiler):
    """Sums of many channels need no parts; those of images must come out as one image's do."""
    from fastconv.cuda import im2col
    from fastconv.cuda.driver import Device
    from fastconv.derivation import pieces

    problem = ConvProblem.parse("conv2d,n32,c512,14x14,k512,3x3,p1,weight_gradient,float32")
    (piece,) = pieces(problem)
    alike, alone = (im2col.divide(piece.problem, Device(), each) for each in (True, False))
    assert alike.splits > alone.splits


@pytest.mark.parametrize(("text", "name"), [
    ("conv2d,n2,c6,9x7,k6,3x3,p1x2,reflect,input_gradient,float32", "direct"),
    ("conv2d,n2,c6,9x7,k6,3x3,p1x2,input_gradient,float32", "im2col"),
    ("conv2d,n2,c6,9x7,k6,3x3,s2,p1x2,input_gradient,float32", "im2col"),
    ("conv2d,n2,c6,9x7,k6,3x3,p1x2,input_gradient,float32", "winograd_2x2"),
    ("conv2d,n2,c6,9x7,k6,3x3,p1x2,circular,weight_gradient,float32", "im2col"),
])  # fmt: skip
def test_copies_are_in_what_is_said_of_a_gradient(text, name, interpreting):
    from fastconv.cuda import plan, table

    problem = ConvProblem.parse(text)
    (entry,) = (entry for entry in table.GRADIENTS[problem.direction] if entry.name == name)
    assert entry.supports(problem) is None
    made = entry.plan(problem, None, plan.target(0))
    assert made.workspace == entry.workspace(problem, interpreting.figures)
    assert made.packed == 0
    terms = entry.terms(problem, interpreting.figures)
    assert terms["operands"] > 0
    (case,) = (one for one in fastconv.explain(problem, device=0).candidates if one.name == name)
    assert case.predicted_seconds == pytest.approx(sum(terms.values()))


@pytest.mark.parametrize("capability", [(8, 0), (9, 0)], ids=str)
def test_machine_code(capability, lowered_once):
    from fastconv.cuda import gradient
    from fastconv.cuda.driver import Device
    from fastconv.cuda.plan import Operand, Target

    problem = ConvProblem.parse("conv2d,n1,c2,7x8,k2,3x3,p1,reflect,input_gradient,float32")
    driver = _Keeping()
    target = Target(driver, 0, Device(capability=capability))
    gradient._folding(problem, target)
    gradient._filling(problem, target, problem.input_shape, Operand(2), Operand(4))
    for code in driver.codes:
        found = machine_code(code.machine_code)
        assert (found.local_accesses, found.stack, found.doubles) == (0, 0, 0)

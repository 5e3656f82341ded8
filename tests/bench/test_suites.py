"""The tables of layers against the networks' block rules, and against numbers that are known of them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest

from fastconv.bench.suites import SUITES, Suite, suite
from fastconv.problem import ConvProblem, PoolProblem

Axes = int | tuple[int, int]  # an int stands for both

# --- the networks once more, as rules -------------------------------------------------------------


def conv(
    channels: int,
    size: int,
    filters: int,
    kernel: Axes,
    stride: int = 1,
    padding: Axes = 0,
    dilation: int = 1,
    groups: int = 1,
) -> ConvProblem:
    """Return a layer on a square plane."""
    kernel = (kernel, kernel) if isinstance(kernel, int) else kernel
    strides, dilations = (stride, stride), (dilation, dilation)
    return ConvProblem("float32", 1, channels, (size, size), filters, kernel, strides, padding, dilations, groups)


def residual_network(
    size: int = 224,
    width: int = 1,
    groups: int = 1,
    strides: tuple[int, ...] = (1, 2, 2, 2),
    dilations: tuple[int, ...] = (1, 1, 1, 1),
) -> Iterator[ConvProblem]:
    """ResNet-50 v1.5 and its kin; a stage that keeps its size dilates from its second block on."""
    yield conv(3, size, 64, 7, 2, 3)
    channels, size, before = 64, size // 4, 1
    for planes, blocks, stride, dilation in zip((64, 128, 256, 512), (3, 4, 6, 3), strides, dilations, strict=True):
        inner, outer = planes * width, planes * 4
        yield conv(channels, size, outer, 1, stride)  # the shortcut
        for block in range(blocks):
            yield conv(channels, size, inner, 1)
            step, spread = (1, dilation) if block else (stride, before)
            yield conv(inner, size, inner, 3, step, spread, spread, groups)
            size = size // step
            yield conv(inner, size, outer, 1)
            channels = outer
        before = dilation


def resnet50() -> Iterator[ConvProblem]:
    return residual_network()


def resnext50() -> Iterator[ConvProblem]:
    return residual_network(width=2, groups=32)


def dilated_resnet() -> Iterator[ConvProblem]:
    yield from residual_network(520, strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4))
    for rate in (12, 24, 36):
        yield conv(2048, 65, 256, 3, 1, rate, rate)
    yield from (conv(2048, 65, 256, 1), conv(2048, 1, 256, 1))
    yield from (conv(5 * 256, 65, 256, 1), conv(256, 65, 256, 3, 1, 1), conv(256, 65, 21, 1))


def vgg16() -> Iterator[ConvProblem]:
    channels, size = 3, 224
    for filters, repeats in ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)):
        for _ in range(repeats):
            yield conv(channels, size, filters, 3, 1, 1)
            channels = filters
        size //= 2


def mobilenet_v2() -> Iterator[ConvProblem]:
    yield conv(3, 224, 32, 3, 2, 1)
    channels, size = 32, 112
    table = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
    for expansion, filters, repeats, first in table:  # t, c, n, s of table 2
        for stride in (first, *[1] * (repeats - 1)):
            inner = channels * expansion
            if expansion != 1:
                yield conv(channels, size, inner, 1)
            yield conv(inner, size, inner, 3, stride, 1, 1, inner)
            size //= stride
            yield conv(inner, size, filters, 1)
            channels = filters
    yield conv(320, 7, 1280, 1)


def chain(channels: int, size: int, *steps: tuple[int, Axes]) -> Iterator[ConvProblem]:
    """Stride 1, size kept: (filters, kernel) with an odd kernel."""
    for filters, kernel in steps:
        pads = tuple(one // 2 for one in kernel) if isinstance(kernel, tuple) else kernel // 2
        yield conv(channels, size, filters, kernel, 1, pads)
        channels = filters


def inception_v3() -> Iterator[ConvProblem]:
    yield from (conv(3, 299, 32, 3, 2), conv(32, 149, 32, 3), conv(32, 147, 64, 3, 1, 1))
    yield from (conv(64, 73, 80, 1), conv(80, 73, 192, 3))
    for channels, pooled in ((192, 32), (256, 64), (288, 64)):  # figure 5
        for branch in (((64, 1),), ((48, 1), (64, 5)), ((64, 1), (96, 3), (96, 3)), ((pooled, 1),)):
            yield from chain(channels, 35, *branch)
    yield from (conv(288, 35, 384, 3, 2), *chain(288, 35, (64, 1), (96, 3)), conv(96, 35, 96, 3, 2))
    for wide in (128, 160, 160, 192):  # figure 6, n = 7
        row, column = (wide, (1, 7)), (wide, (7, 1))
        branches = (((192, 1),), ((wide, 1), row, (192, (7, 1))), ((wide, 1), column, row, column, (192, (1, 7))))
        for branch in (*branches, ((192, 1),)):
            yield from chain(768, 17, *branch)
    yield from (*chain(768, 17, (192, 1)), conv(192, 17, 320, 3, 2))
    yield from (*chain(768, 17, (192, 1), (192, (1, 7)), (192, (7, 1))), conv(192, 17, 192, 3, 2))
    for channels in (1280, 2048):  # figure 7: two branches end in a fork
        for branch in (((320, 1),), ((384, 1),), ((448, 1), (384, 3)), ((192, 1),)):
            yield from chain(channels, 8, *branch)
        for _ in range(2):
            yield from (*chain(384, 8, (384, (1, 3))), *chain(384, 8, (384, (3, 1))))


def squeezenet() -> Iterator[ConvProblem]:
    yield conv(3, 224, 64, 3, 2)
    channels, sizes = 64, (55, 55, 27, 27, 13, 13, 13, 13)
    for size, squeezed in zip(sizes, (16, 16, 32, 32, 48, 48, 64, 64), strict=True):
        expanded = 4 * squeezed
        yield from (conv(channels, size, squeezed, 1), conv(squeezed, size, expanded, 1))
        yield conv(squeezed, size, expanded, 3, 1, 1)
        channels = 2 * expanded
    yield conv(channels, 13, 1000, 1)


def alexnet() -> Iterator[ConvProblem]:
    yield from (conv(3, 224, 64, 11, 4, 2), conv(64, 27, 192, 5, 1, 2))
    yield from chain(192, 13, (384, 3), (256, 3), (256, 3))


def densenet121() -> Iterator[ConvProblem]:
    yield conv(3, 224, 64, 7, 2, 3)
    channels, size = 64, 56
    for length in (6, 12, 24, 16):
        for _ in range(length):
            yield from chain(channels, size, (128, 1), (32, 3))
            channels += 32
        if size > 7:
            yield conv(channels, size, channels // 2, 1)
            channels, size = channels // 2, size // 2


def unet() -> Iterator[ConvProblem]:
    size, channels = 572, 1
    for filters in (64, 128, 256, 512, 1024, 512, 256, 128, 64):
        yield from (conv(channels, size, filters, 3), conv(filters, size - 2, filters, 3))
        down = filters > channels and filters < 1024
        size = (size - 4) // 2 if down else (size - 4) * 2
        channels = filters  # going up, half from below and half across make as many
    yield conv(64, 388, 2, 1)


def yolov3() -> Iterator[ConvProblem]:
    yield conv(3, 416, 32, 3, 1, 1)
    channels, size = 32, 416
    for repeats in (1, 2, 8, 8, 4):
        yield conv(channels, size, 2 * channels, 3, 2, 1)
        channels, size = 2 * channels, size // 2
        for _ in range(repeats):
            yield from chain(channels, size, (channels // 2, 1), (channels, 3))
    for filters, size in ((512, 13), (256, 26), (128, 52)):
        if filters < 512:
            yield conv(2 * filters, size // 2, filters, 1)  # then enlarged, and appended to the backbone's
            channels = filters + 2 * filters
        yield from chain(channels, size, *[(filters, 1), (2 * filters, 3)] * 3, (255, 1))


NETWORKS: dict[str, Callable[[], Iterator[ConvProblem]]] = {
    one.__name__: one
    for one in (
        resnet50, vgg16, inception_v3, mobilenet_v2, resnext50, squeezenet, alexnet, densenet121, unet, yolov3,
        dilated_resnet,
    )
}  # fmt: skip


@pytest.mark.parametrize("network", NETWORKS)
def test_rows_are_what_the_rules_of_the_network_give(network: str) -> None:
    table = {layer.problem: layer.count for layer in suite(network).layers()}
    assert table == Counter(NETWORKS[network]())


# --- numbers that are known of the networks -------------------------------------------------------

# Convolutions; then of the whole network, billions of multiply-adds and parameters, each with what of
# it belongs to no row: fully connected and auxiliary layers, biases, two numbers a channel of batch
# normalisation. They are from torchvision's model cards, but for
# - yolov3: `darknet detect` prints 65.864 billion operations, of which two are a multiply-add, and
#   yolov3.weights holds 62 001 757 numbers, four a channel of batch normalisation;
# - unet: the summary of github.com/zhixuhao/unet in Keras, with biases and up-convolutions, which ends
#   in a 3x3 to 2 channels and a 1x1 to 1 where the paper has a 1x1 to 2. It pads, so that its
#   multiply-adds are others. The paper counts 23 convolutions, four of them up-convolutions.
INCEPTION_AUXILIARY = 768 * 128 + 2 * 128 + 128 * 768 * 25 + 2 * 768 + 769 * 1000
DEEPLAB_AUXILIARY = 1024 * 256 * 9 + 2 * 256 + 257 * 21
KNOWN = {
    "resnet50": (53, 4.089, 2048 * 1000, 25_557_032, 2049 * 1000 + 2 * 26_560),
    "vgg16": (13, 15.470, 123_633_664, 138_357_544, 123_642_856 + 4_224),
    "inception_v3": (94, 5.713, 2048 * 1000, 27_161_264, 2049 * 1000 + INCEPTION_AUXILIARY + 2 * 17_216),
    "mobilenet_v2": (52, 0.301, 1280 * 1000, 3_504_872, 1281 * 1000 + 2 * 17_056),
    "resnext50": (53, 4.230, 2048 * 1000, 25_028_904, 2049 * 1000 + 2 * 34_112),
    "squeezenet": (26, 0.349, 0, 1_235_496, 3_944),
    "alexnet": (5, 0.714, 58_621_952, 61_100_840, 58_631_144 + 1_152),
    "densenet121": (120, 2.834, 1024 * 1000, 7_978_856, 1025 * 1000 + 2 * 41_824),
    "unet": (23 - 4, None, 0, 31_031_685, 2_785_280 + 960 + 64 * 2 * 8 + 2 + 1 + 5_890),
    "yolov3": (75, 65.864 / 2, 0, 62_001_757, 4 * 26_304 + 3 * 255),
    "dilated_resnet": (61, 178.722, (1024 * 9 + 21) * 256 * 65**2, 42_004_074, DEEPLAB_AUXILIARY + 2 * 28_352 + 21),
}


def test_every_suite_is_known_in_order() -> None:
    assert list(KNOWN) == list(NETWORKS)
    assert list(SUITES) == [*NETWORKS, "large_kernels", "filters", "pooling", "tiny"]
    assert list(SUITES) == [one.name for one in SUITES.values()]


@pytest.mark.parametrize("network", KNOWN)
def test_totals(network: str) -> None:
    table = suite(network).layers()
    convolutions, multiply_adds, other_multiply_adds, parameters, other_parameters = KNOWN[network]
    assert sum(layer.count for layer in table) == convolutions
    assert sum(layer.count * layer.problem.parameters for layer in table) == parameters - other_parameters
    if multiply_adds is not None:
        found = sum(layer.count * layer.problem.multiply_adds for layer in table) + other_multiply_adds
        assert round(found / 1e9, 3) == multiply_adds


# --- what holds for every suite -------------------------------------------------------------------

every_suite = pytest.mark.parametrize("one", [pytest.param(one, id=name) for name, one in SUITES.items()])


@every_suite
def test_layers_are_distinct_and_named_once(one: Suite) -> None:
    table = one.layers()
    assert len({layer.problem for layer in table}) == len(table)
    assert len({layer.name for layer in table}) == len(table)
    assert one.title
    assert one.source


@every_suite
def test_a_row_is_the_string_form(one: Suite) -> None:
    for row, layer in zip(one.rows, one.layers(batch=3), strict=True):
        assert str(layer.problem) == row.problem.replace(",", ",n3,", 1) + ",float32"
        assert (layer.name, layer.count) == (row.name, row.count)


@every_suite
@pytest.mark.parametrize("layout", ["channels_first", "channels_last"])
@pytest.mark.parametrize("batch", [1, 8])
def test_batch_dtype_and_layout_reach_the_problems(one: Suite, batch: int, layout: str) -> None:
    for layer in one.layers(batch, "float64", layout):
        assert (layer.problem.batch, layer.problem.dtype, layer.problem.layout) == (batch, "float64", layout)


@every_suite
def test_arrays_stay_below_600_megabytes(one: Suite) -> None:
    for layer in one.layers(max(one.batches)):
        assert 4 * max(math.prod(layer.problem.input_shape), math.prod(layer.problem.output_shape)) < 600e6


@every_suite
def test_directions_are_of_convolutions_alone(one: Suite) -> None:
    if any(isinstance(layer.problem, PoolProblem) for layer in one.layers()):
        with pytest.raises(ValueError, match="text must hold known tokens, got 'input_gradient'"):
            one.layers(direction="input_gradient")
    else:
        assert {layer.problem.direction for layer in one.layers(direction="input_gradient")} == {"input_gradient"}


def test_unknown_suite() -> None:
    with pytest.raises(ValueError, match=r"suite must be one of resnet50, .*, tiny, got 'lenet'"):
        suite("lenet")


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ({"batch": -1}, "text must give the batch where it has 'n-1'"),
        ({"dtype": "float31"}, "text must hold known tokens, got 'float31'"),
        ({"layout": "middle"}, "text must hold known tokens, got 'middle'"),
    ],
)
def test_what_a_problem_refuses(argument: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        suite("alexnet").layers(**argument)


# --- by hand --------------------------------------------------------------------------------------


@pytest.mark.parametrize("network", NETWORKS)
def test_every_size_comes_from_a_layer_before(network: str) -> None:
    first, *others = [layer.problem for layer in suite(network).layers()]
    known = {*first.output_size}
    for before, problem in pairwise([first, *others]):
        known |= set(before.output_size)
        halved = {(size + 1) // 2 for size in known} | {(size - 3) // 2 + 1 for size in known}  # by pooling
        enlarged = {2 * size for size in known}
        assert set(problem.size) <= known | halved | enlarged | {1}


@pytest.mark.parametrize(
    ("where", "problem", "output_size", "count"),
    [
        ("resnet50 conv1", "conv2d,n1,c3,224x224,k64,7x7,s2,p3,float32", (112, 112), 1),
        ("resnet50 conv3_1b", "conv2d,n1,c128,56x56,k128,3x3,s2,p1,float32", (28, 28), 1),
        ("resnet50 conv3_1p", "conv2d,n1,c256,56x56,k512,1x1,s2,float32", (28, 28), 1),
        ("resnext50 conv4_2b", "conv2d,n1,c512,14x14,k512,3x3,p1,g32,float32", (14, 14), 5),
        ("dilated_resnet conv5_2b", "conv2d,n1,c512,65x65,k512,3x3,p4,d4,float32", (65, 65), 2),
        ("dilated_resnet aspp_rate36", "conv2d,n1,c2048,65x65,k256,3x3,p36,d36,float32", (65, 65), 1),
        ("vgg16 conv5_1", "conv2d,n1,c512,14x14,k512,3x3,p1,float32", (14, 14), 3),
        ("mobilenet_v2 b7d", "conv2d,n1,c192,28x28,k192,3x3,s2,p1,g192,float32", (14, 14), 1),
        ("inception_v3 1a_3x3", "conv2d,n1,c3,299x299,k32,3x3,s2,float32", (149, 149), 1),
        ("inception_v3 6b_7x7_2", "conv2d,n1,c128,17x17,k128,1x7,p0x3,float32", (17, 17), 2),
        ("squeezenet conv1", "conv2d,n1,c3,224x224,k64,3x3,s2,float32", (111, 111), 1),
        ("alexnet conv1", "conv2d,n1,c3,224x224,k64,11x11,s4,p2,float32", (55, 55), 1),
        ("densenet121 block4_16a", "conv2d,n1,c992,7x7,k128,1x1,float32", (7, 7), 1),
        ("unet down5_2", "conv2d,n1,c1024,30x30,k1024,3x3,float32", (28, 28), 1),
        ("unet output", "conv2d,n1,c64,388x388,k2,1x1,float32", (388, 388), 1),
        ("yolov3 conv68", "conv2d,n1,c384,52x52,k128,1x1,float32", (52, 52), 1),
        ("large_kernels vit_16", "conv2d,n1,c3,224x224,k768,16x16,s16,float32", (14, 14), 1),
        ("filters even_4", "conv2d,n1,c1,512x512,k1,4x4,p1:2,float32", (512, 512), 1),
        ("filters fir_64", "conv1d,n1,c1,65536,k1,64,p63:0,float32", (65536,), 1),
        ("pooling resnet50", "max_pool2d,n1,c64,112x112,3x3,s2,p1,float32", (56, 56), 1),
        ("pooling squeezenet1_0_54", "max_pool2d,n1,c256,54x54,3x3,s2,ceil,float32", (27, 27), 1),
        ("pooling global_8", "avg_pool2d,n1,c2048,8x8,8x8,float32", (1, 1), 1),
        ("tiny connected_64", "conv2d,n1,c64,1x1,k64,1x1,float32", (1, 1), 1),
        ("tiny lenet5_c5", "conv2d,n1,c16,5x5,k120,5x5,float32", (1, 1), 1),
    ],
)
def test_by_hand(where: str, problem: str, output_size: tuple[int, ...], count: int) -> None:
    name, row = where.split()
    (layer,) = (layer for layer in suite(name).layers() if layer.name == row)
    assert (str(layer.problem), layer.problem.output_size, layer.count) == (problem, output_size, count)


@pytest.mark.parametrize(("series", "kernels"), [("plane", 9), ("depthwise", 9), ("dense", 7)])
def test_a_series_is_one_problem_in_growing_kernel_sizes(series: str, kernels: int) -> None:
    rows = [layer for layer in suite("large_kernels").layers() if layer.name.startswith(f"{series}_")]
    assert [layer.problem.kernel[0] for layer in rows] == [3, 5, 7, 9, 11, 13, 15, 21, 31][:kernels]
    assert [layer.name for layer in rows] == [f"{series}_{layer.problem.kernel[1]}" for layer in rows]
    assert all(layer.problem.output_size == layer.problem.size for layer in rows)
    assert len({(layer.problem.size, layer.problem.channels, layer.problem.groups) for layer in rows}) == 1


def test_tiny_is_tiny() -> None:
    operations = [
        layer.problem.operations if isinstance(layer.problem, PoolProblem) else layer.problem.multiply_adds
        for layer in suite("tiny").layers()
    ]
    assert max(operations) < 2.5e6

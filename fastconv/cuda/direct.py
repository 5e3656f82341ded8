"""Direct convolution on a device: the definition, one output element a thread. It computes every convolution."""

from __future__ import annotations

from math import prod

from numba import cuda
from numba.cuda.types import int32, int64

from fastconv.cuda import activation as activations
from fastconv.cuda.algorithm import Algorithm, Place
from fastconv.cuda.compile import Float, Kernel, Pointer, Wide, activate
from fastconv.cuda.driver import Device
from fastconv.cuda.geometry import geometry
from fastconv.cuda.intrinsics import advance, load, store
from fastconv.cuda.plan import Operand, Plan, Target
from fastconv.problem import ConvProblem

_THREADS = 256
CHANNELS_LAST = FLIP = False  # what the kernel is specialised by


def _direct(
    x: Pointer,
    weight: Pointer,
    bias: Pointer,
    residual: Pointer,
    out: Pointer,
    count: Wide,
    channels: int,
    filters: int,
    groups: int,
    depth: int,
    height: int,
    width: int,
    out_depth: int,
    out_height: int,
    out_width: int,
    kernel_depth: int,
    kernel_height: int,
    kernel_width: int,
    stride_depth: int,
    stride_height: int,
    stride_width: int,
    dilation_depth: int,
    dilation_height: int,
    dilation_width: int,
    padding_depth: int,
    padding_height: int,
    padding_width: int,
    pixel_step: int,
    channel_step: int,
    has_bias: int,
    has_residual: int,
) -> None:
    """Sum channels and taps; `channels` and `filters` are those of a group.

    Threads lie beside each other as elements of the output do: pixels first, or filters first.
    """
    place = int64(cuda.blockIdx.x) * int64(cuda.blockDim.x) + int64(cuda.threadIdx.x)
    if place < count:
        pixels = int64(out_depth) * int64(out_height) * int64(out_width)
        all_filters = int64(filters) * int64(groups)
        if CHANNELS_LAST:
            filter_ = int32(place % all_filters)
            pixel = place // all_filters % pixels
        else:
            pixel = place % pixels
            filter_ = int32(place // pixels % all_filters)
        image = place // (pixels * all_filters)
        column = int32(pixel % int64(out_width))
        row = int32(pixel // int64(out_width) % int64(out_height))
        plane = int32(pixel // (int64(out_width) * int64(out_height)))
        first_channel = filter_ // filters * channels
        image_size = int64(depth) * int64(height) * int64(width) * int64(channels) * int64(groups)
        source = advance(x, image * image_size + int64(first_channel) * int64(channel_step))
        taps = kernel_depth * kernel_height * kernel_width
        factors = advance(weight, int64(filter_) * int64(channels) * int64(taps))
        total = Float(0)
        for channel in range(channels):
            tap = int32(taps - 1) if FLIP else int32(0)
            # summed a channel by itself: in blocks, rounding grows with the root of far fewer terms
            part = Float(0)
            for i in range(kernel_depth):
                d = int32(plane * stride_depth + i * dilation_depth - padding_depth)
                for j in range(kernel_height):
                    h = int32(row * stride_height + j * dilation_height - padding_height)
                    for k in range(kernel_width):
                        w = int32(column * stride_width + k * dilation_width - padding_width)
                        if d >= 0 and d < depth and h >= 0 and h < height and w >= 0 and w < width:
                            inside = int32(((d * height + h) * width + w) * pixel_step + channel * channel_step)
                            part += load(source, inside) * load(factors, int32(channel * taps + tap))
                        tap = int32(tap - 1) if FLIP else int32(tap + 1)
            total += part
        if has_bias != 0:
            total += load(bias, filter_)
        if has_residual != 0:
            total += load(residual, place)
        store(out, place, activate(total))


class Direct(Algorithm):
    """The definition, an output element a thread."""

    name = "direct"

    def workspace(self, problem: ConvProblem) -> int:
        """Return 0: nothing is prepared."""
        return 0

    def terms(self, problem: ConvProblem, machine: Device) -> dict[str, float]:
        """Predict by loads: each product takes two, of which a multiprocessor does 32 a cycle."""
        loads = problem.multiply_adds / (8 * machine.multiprocessors * machine.clock)
        return {"launches": machine.launch, "loads": loads}

    def plan(self, problem: ConvProblem, activation: str | None, bias: bool, residual: bool, target: Target) -> Plan:
        """Return one launch."""
        shape = geometry(problem)
        count = prod(problem.output_shape)
        kernel = Kernel(
            _direct,
            problem.dtype,
            _THREADS,
            constants={"CHANNELS_LAST": problem.layout == "channels_last", "FLIP": problem.flip},
            names={"activate": activations.place(activation)},
        )
        pointers = (Place.X, Place.WEIGHT, Place.BIAS, Place.RESIDUAL, Place.OUT)
        numbers = (
            *(count, shape.group_channels, shape.group_filters, problem.groups),
            *(*shape.size, *shape.output, *shape.kernel, *shape.stride, *shape.dilation, *shape.padding),
            *(shape.pixel_step, shape.channel_step, int(bias), int(residual)),
        )
        grid = (-(-count // _THREADS), 1, 1)
        step = target.step(kernel, grid, [Operand(place) for place in pointers], numbers)
        return Plan(target, (step,), 0)

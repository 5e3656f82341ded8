"""Direct convolution on a device: the definition, one output element a thread. It computes every convolution.

It also looks after quicker algorithms that smear what is not finite: they mark an image whose result has a number that
is not, and the same kernel, launched after them in any case, computes marked images again. Nobody waits for a device
to say whether there are any.
"""

from __future__ import annotations

from math import prod

from numba import cuda
from numba.cuda.types import int32, int64

from fastconv.cuda import epilogue
from fastconv.cuda.algorithm import HALVES, Algorithm, Place
from fastconv.cuda.compile import Float, IntPointer, Kernel, Pointer, Wide, finish
from fastconv.cuda.driver import Device
from fastconv.cuda.geometry import geometry
from fastconv.cuda.intrinsics import advance, load, load_if, store
from fastconv.cuda.plan import Operand, Plan, Step, Target
from fastconv.problem import ConvProblem

_THREADS = 256
CHANNELS_LAST = FLIP = False  # what the kernel is specialised by
MARKED = False  # whether it computes only images that are marked: marks[0] says if any is, and marks[1 + image] which
_BLOCKS_AGAIN = 8  # of a multiprocessor, to look for marks


def _direct(
    x: Pointer,
    weight: Pointer,
    bias: Pointer,
    residual: Pointer,
    out: Pointer,
    marks: IntPointer,
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
) -> None:
    """Sum channels and taps; `channels` and `filters` are those of a group.

    Threads lie beside each other as elements of the output do: pixels first, or filters first.
    """
    first = int64(cuda.blockIdx.x) * int64(cuda.blockDim.x) + int64(cuda.threadIdx.x)
    end = count if not MARKED or load(marks, 0) != 0 else int64(0)
    for place in range(first, end, int64(cuda.gridDim.x) * int64(cuda.blockDim.x)):
        pixels = int64(out_depth) * int64(out_height) * int64(out_width)
        all_filters = int64(filters) * int64(groups)
        if CHANNELS_LAST:
            filter_ = int32(place % all_filters)
            pixel = place // all_filters % pixels
        else:
            pixel = place % pixels
            filter_ = int32(place // pixels % all_filters)
        image = place // (pixels * all_filters)
        if MARKED and load(marks, image + 1) == 0:
            continue
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
                        inside = d >= 0 and d < depth and h >= 0 and h < height and w >= 0 and w < width
                        step = int32(((d * height + h) * width + w) * pixel_step + channel * channel_step)
                        # zeros of the padding are multiplied, too: an infinite weight makes NaN of them
                        part += load_if(inside, source, step, Float(0)) * load(factors, int32(channel * taps + tap))
                        tap = int32(tap - 1) if FLIP else int32(tap + 1)
            total += part
        store(out, place, finish(total, bias, filter_, residual, place))
        if not MARKED:
            break  # there is a thread for each


class Direct(Algorithm):
    """The definition, an output element a thread."""

    name = "direct"
    dtypes = (*HALVES, "float32", "float64")

    def workspace(self, problem: ConvProblem, device: Device) -> int:
        """Return 0: nothing is prepared."""
        return 0

    def terms(self, problem: ConvProblem, machine: Device) -> dict[str, float]:
        """Predict by loads: each product takes two, of which a multiprocessor does 32 a cycle."""
        loads = problem.multiply_adds / (8 * machine.multiprocessors * machine.clock)
        return {"launches": machine.launch, "loads": loads}

    def plan(self, problem: ConvProblem, activation: str | None, target: Target) -> Plan:
        """Return one launch."""
        count = prod(problem.output_shape)
        step = _step(problem, activation, target, -(-count // _THREADS), None)
        return Plan(target, (step,), 0)


def _clear(marks: IntPointer, count: int) -> None:
    place = int32(cuda.blockIdx.x * cuda.blockDim.x + cuda.threadIdx.x)
    if place < count:
        store(marks, place, int32(0))


def clear(problem: ConvProblem, target: Target, marks: Operand) -> Step:
    """Return the step that takes all marks away, where nothing else does."""
    count = 1 + problem.batch
    return target.step(Kernel(_clear, problem.dtype, _THREADS), (-(-count // _THREADS), 1, 1), (marks,), (count,))


def again(problem: ConvProblem, activation: str | None, target: Target, marks: Operand) -> Step:
    """Return the step that computes images once more that are marked: in int32s, that of any image before all others'.

    Where none is marked, it takes no longer than a launch does.
    """
    blocks = min(_BLOCKS_AGAIN * target.device.multiprocessors, -(-prod(problem.output_shape) // _THREADS))
    return _step(problem, activation, target, blocks, marks)


def _step(problem: ConvProblem, activation: str | None, target: Target, blocks: int, marks: Operand | None) -> Step:
    shape = geometry(problem)
    kernel = Kernel(
        _direct,
        problem.dtype,
        _THREADS,
        constants={
            "CHANNELS_LAST": problem.layout == "channels_last",
            "FLIP": problem.flip,
            "MARKED": marks is not None,
        },
        names={"finish": epilogue.place(activation)},
    )
    places = (Place.X, Place.WEIGHT, Place.BIAS, Place.RESIDUAL, Place.OUT)
    pointers = [*map(Operand, places), marks]
    numbers = (
        *(prod(problem.output_shape), shape.group_channels, shape.group_filters, problem.groups),
        *(*shape.size, *shape.output, *shape.kernel, *shape.stride, *shape.dilation, *shape.padding),
        *(shape.pixel_step, shape.channel_step),
    )
    return target.step(kernel, (blocks, 1, 1), pointers, numbers)

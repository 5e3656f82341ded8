"""Depthwise convolution on a device: each filter reads one channel, and is a filter of planes.

Small filters are bound by memory: a thread computes a strip of outputs, one below the other. Large ones are bound by
arithmetic: a thread computes a run of outputs in a row, so that each number that it reads serves several products.
Where planes lie one after the other, a block has in shared memory what its runs see; where channels lie side by side,
threads read them side by side, and the weights are transposed before.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from fastconv.arguments import itemsize
from fastconv.cuda import epilogue, packing
from fastconv.cuda.algorithm import HALVES, Algorithm, Place, longer
from fastconv.cuda.compile import Kernel, computed
from fastconv.cuda.depthwise_steps import RUN, runs, strips, tiles
from fastconv.cuda.driver import Device
from fastconv.cuda.geometry import Geometry, geometry
from fastconv.cuda.intrinsics import division
from fastconv.cuda.plan import Operand, Plan, Step, Target
from fastconv.cuda.unroll import Constant
from fastconv.problem import ConvProblem

_THREADS = 256  # of a block of strips
_TILE_THREADS = 128
_STRIP = 4  # outputs one below the other of a thread
_MOST_TAPS = 25  # of a strip: 5x5, which stay in registers
_MOST_SPAN = 64  # rows that a strip sees: of each column, they wait in registers
_MOST_VALUES = 64  # of a row that a run of a tile sees: they stay in registers
_MOST_SHARED = 40 << 10  # bytes of a block, so that some of them share a multiprocessor

MOST_OUTPUTS = 2**30 - 1  # what `intrinsics.quotient` divides


class Depthwise(Algorithm):
    """Filters that read a single channel."""

    name = "depthwise"
    dtypes = (*HALVES, "float32", "float64")

    def supports(self, problem: ConvProblem) -> str | None:
        """Refuse filters of several channels, volumes, and windows that fit neither kernel."""
        reason = super().supports(problem)
        if reason is not None:
            return reason
        shape = geometry(problem)
        if shape.group_channels != 1:
            return f"{self.name} computes filters of one channel each, not of {shape.group_channels}"
        if (shape.size[0], shape.kernel[0], shape.padding[0], shape.output[0]) != (1, 1, 0, 1):
            return f"{self.name} computes one or two dimensions on a device"
        if math.prod(problem.output_shape) > MOST_OUTPUTS:
            return f"{self.name} computes at most {MOST_OUTPUTS} outputs on a device"
        if not _is_small(shape) and _values(shape) > _MOST_VALUES:
            return (
                f"{self.name} takes windows of which {RUN} in a row see {_MOST_VALUES} elements, not {_values(shape)}"
            )
        if not _is_small(shape) and problem.layout == "channels_first" and _tile(shape, problem.dtype) is None:
            return f"{self.name} takes windows that fit in {_MOST_SHARED} bytes of shared memory"
        return None

    def workspace(self, problem: ConvProblem, device: Device) -> int:
        """Return the bytes of transposed weights."""
        transposed = problem.layout == "channels_last" and not _is_small(geometry(problem))
        return math.prod(problem.weight_shape) * problem.itemsize if transposed else 0

    def terms(self, problem: ConvProblem, machine: Device) -> dict[str, float]:
        """Predict by what is read and written, and by products at half the rate of the device's units."""
        elements = math.prod(problem.input_shape) + math.prod(problem.output_shape)
        moved = elements * problem.itemsize / machine.bandwidth
        units = machine.multiprocessors * (128 if computed(problem.dtype) == "float32" else machine.doubles)
        launches = 2 if self.workspace(problem, machine) else 1
        products = 2 * problem.multiply_adds / (units * machine.clock)
        return {"launches": launches * machine.launch, **longer(memory=moved, products=products)}

    def plan(self, problem: ConvProblem, activation: str | None, target: Target) -> Plan:
        """Return one launch, and before it one that transposes weights where threads read them side by side."""
        if _is_small(geometry(problem)):
            return Plan(target, [_strips(problem, activation, target)], 0)
        if problem.layout == "channels_first":
            return Plan(target, [_tiles(problem, activation, target)], 0)
        packing = [_transposition(problem, target)]
        return Plan(target, [_runs(problem, activation, target)], 0, packing, self.workspace(problem, target.device))


def _is_small(shape: Geometry) -> bool:
    """Whether strips take the filters."""
    return shape.taps <= _MOST_TAPS and _span(shape, 1) <= _MOST_SPAN


def _rows(shape: Geometry) -> int:
    """How many outputs one below the other a thread computes."""
    rows = min(_STRIP, shape.output[1])
    while rows > 1 and _span(shape, rows) > _MOST_SPAN:
        rows -= 1
    return rows


def _span(shape: Geometry, rows: int) -> int:
    """Rows of the input from the first to the last that so many rows of the output see."""
    return (rows - 1) * shape.stride[1] + (shape.kernel[1] - 1) * shape.dilation[1] + 1


def _launch(
    target: Target,
    function: Callable[..., None],
    problem: ConvProblem,
    activation: str | None,
    constants: Mapping[str, Constant],
    size: tuple[int, int],
    numbers: tuple[int, ...],
    weight: Place = Place.WEIGHT,
) -> Step:
    """Return a launch of blocks of threads, whose numbers are `size`, on the operands of a convolution."""
    shape, (blocks, threads) = geometry(problem), size
    common = {
        "CHANNELS_LAST": problem.layout == "channels_last",
        "FLIP": problem.flip,
        "RUN": RUN,
        "TAPS": shape.taps,
        **dict(zip(("KERNEL_HEIGHT", "KERNEL_WIDTH"), shape.kernel[1:], strict=True)),
        **dict(zip(("STRIDE_HEIGHT", "STRIDE_WIDTH"), shape.stride[1:], strict=True)),
        **dict(zip(("DILATION_HEIGHT", "DILATION_WIDTH"), shape.dilation[1:], strict=True)),
    }
    names = {"finish": epilogue.place(activation)}
    kernel = Kernel(function, problem.dtype, threads, constants={**common, **constants}, names=names)
    pointers = [Operand(place) for place in (Place.X, weight, Place.BIAS, Place.RESIDUAL, Place.OUT)]
    return target.step(kernel, (blocks, 1, 1), pointers, numbers)


def _strips(problem: ConvProblem, activation: str | None, target: Target) -> Step:
    shape, last = geometry(problem), problem.layout == "channels_last"
    rows = _rows(shape)
    per_plane = -(-shape.output[1] // rows)
    length = shape.output[2] * (problem.filters if last else 1)
    count = problem.batch * (1 if last else problem.filters) * per_plane * length
    return _launch(
        *(target, strips, problem, activation),
        {"ROWS": rows, "SPAN": _span(shape, rows)},
        (-(-count // _THREADS), _THREADS),
        (
            *(count, problem.channels, problem.filters, *division(problem.filters), *division(shape.group_filters)),
            *(*shape.size[1:], shape.output[1], length, *division(length), per_plane, *division(per_plane)),
            *shape.padding[1:],
        ),
    )


def _up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple


def _power(number: int) -> int:
    """The least power of two that is no less."""
    return 1 << (number - 1).bit_length()


def _values(shape: Geometry) -> int:
    """Elements of a row that a run of outputs sees."""
    return (RUN - 1) * shape.stride[2] + (shape.kernel[2] - 1) * shape.dilation[2] + 1


def _tile(shape: Geometry, dtype: str) -> dict[str, int] | None:
    """Return the constants of tiles; None where the least one is too large.

    Rows lie so far apart that the quads of two of them lie in different banks.
    """
    (_, height, width), (_, down, across), gap_down = shape.kernel, shape.stride, shape.dilation[1]
    values = _up(_values(shape), 4)
    runs = min(_power(-(-shape.output[2] // RUN)), 8 if shape.output[1] > 1 else _TILE_THREADS)
    rows = min(_power(shape.output[1]), _TILE_THREADS // runs)
    planes = _TILE_THREADS // (runs * rows)
    factors = _up(width, 4)
    pitch = ((runs - 1) * RUN * across + values + 3) // 8 * 8 + 4
    while True:
        lines = (rows - 1) * down + (height - 1) * gap_down + 1
        size = planes * (lines * pitch + height * factors) * itemsize(computed(dtype))
        if size <= _MOST_SHARED:
            break
        if planes > 1:
            planes //= 2
        elif rows > 1:
            rows //= 2
        else:
            return None
    return {
        **{"ALONG": runs, "ACROSS": rows, "PLANES": planes, "OUT_PITCH": RUN * runs + 4},
        **{"TILE_ROWS": lines, "TILE_PITCH": pitch, "TILE_SIZE": lines * pitch, "VALUE_QUADS": values // 4},
        **dict(zip(("TILE_MULTIPLIER", "TILE_SHIFT"), division(pitch), strict=True)),
        **{"FACTOR_PITCH": factors, "FACTOR_SIZE": height * factors, "FACTOR_QUADS": factors // 4},
        **dict(zip(("FACTOR_MULTIPLIER", "FACTOR_SHIFT"), division(factors), strict=True)),
    }


def _tiles(problem: ConvProblem, activation: str | None, target: Target) -> Step:
    shape = geometry(problem)
    constants = _tile(shape, problem.dtype)
    assert constants is not None
    planes = problem.batch * problem.filters
    across = -(-shape.output[2] // (constants["ALONG"] * RUN))
    down = -(-shape.output[1] // constants["ACROSS"])
    blocks = -(-planes // constants["PLANES"]) * across * down
    return _launch(
        *(target, tiles, problem, activation, constants),
        (blocks, constants["ALONG"] * constants["ACROSS"] * constants["PLANES"]),
        (
            *(planes, problem.channels, problem.filters, *division(problem.filters), *division(shape.group_filters)),
            *(*shape.size[1:], *shape.output[1:], across, *division(across), down, *division(down)),
            *shape.padding[1:],
        ),
    )


def _transposition(problem: ConvProblem, target: Target) -> Step:
    """Lay the weights of a tap side by side; of a kernel that is reversed, from its end."""
    taps, item = geometry(problem).taps, problem.itemsize
    source = Operand(Place.WEIGHT, (taps - 1) * item if problem.flip else 0)
    strides = (-1 if problem.flip else 1, taps), (problem.filters, 1)
    return packing.copying(target, item, (taps, problem.filters), *strides, (source, Operand(Place.PACKED)))


def _runs(problem: ConvProblem, activation: str | None, target: Target) -> Step:
    shape = geometry(problem)
    along = -(-shape.output[2] // RUN)
    count = problem.batch * problem.filters * shape.output[1] * along
    return _launch(
        *(target, runs, problem, activation, {"VALUES": _values(shape)}),
        (-(-count // _TILE_THREADS), _TILE_THREADS),
        (
            *(count, problem.channels, problem.filters, *division(problem.filters), *division(shape.group_filters)),
            *(*shape.size[1:], shape.output[1], *division(shape.output[1]), shape.output[2], along, *division(along)),
            *shape.padding[1:],
        ),
        Place.PACKED,
    )

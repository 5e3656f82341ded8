"""A device that is none: arrays in the computer's memory, and a driver that interprets the code it launches.

With it the public functions run end to end without a GPU, through the plans, launches and checks of a real one::

    def test_something(device):             # the fixture in conftest.py, which is a GPU as well
        x = device.array(np.ones((1, 2, 8, 8), np.float32))
        y = fastconv.avg_pool2d(x, 2)       # on the device as well
        device.numpy(y)                     # a copy
        x[:, :, ::2], device.transposed(x, 0, 2, 3, 1)   # views, with strides

    def test_something_else(interpreting):  # never a GPU
        interpreting.launches               # what was launched: entry point, grid, block

Streams are numbers that nothing comes of. Accesses out of bounds, misaligned ones, races and more raise, see
`interpreter`.
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from interpreter import InterpreterError, Kernel, Memory, launch, parse
from interpreter.conversions import from_bfloat16, to_bfloat16
from interpreter.tensor_maps import encode, unpacked

from fastconv.cuda.arrays import DeviceArray
from fastconv.cuda.compile import Code
from fastconv.cuda.driver import UNASKED, Device, Extent, Launch, Parameters
from fastconv.cuda.tensor_map import Block, TensorMap

STREAM = 7  # of every call


class InterpretedArray:
    """An array of which the package sees the CUDA array interface and nothing else."""

    def __init__(self, values: np.ndarray, allocation: object, name: str = "") -> None:
        self._values, self._allocation = values, allocation  # which lives as long as views of it
        self.name = name or values.dtype.name  # of the type: bfloat16 has its bits as values

    @property
    def __cuda_array_interface__(self) -> dict[str, object]:
        values = self._values
        return {
            "shape": values.shape,
            "typestr": values.dtype.str,
            "data": (values.ctypes.data, False),
            "strides": None if values.flags.c_contiguous else values.strides,
            "version": 3,
        }

    def __getitem__(self, index: object) -> InterpretedArray:
        return InterpretedArray(self._values[index], self._allocation, self.name)  # type: ignore[index]

    def transpose(self, *axes: int) -> InterpretedArray:
        """Return a view with the axes in another order."""
        return InterpretedArray(self._values.transpose(axes), self._allocation, self.name)

    @property
    def shape(self) -> tuple[int, ...]:
        return self._values.shape

    @property
    def dtype(self) -> np.dtype[np.generic]:
        return self._values.dtype

    def numpy(self) -> np.ndarray:
        """Return a copy in memory of NumPy's own; of bfloat16 in float32."""
        return from_bfloat16(self._values) if self.name == "bfloat16" else self._values.copy()

    def __setitem__(self, index: object, values: object) -> None:
        self._values[index] = values  # type: ignore[index]


class _Allocation:
    """Memory that is given back with the last array that lies in it."""

    def __init__(self, memory: Memory, size: int) -> None:
        self.address = memory.allocate(size)
        weakref.finalize(self, memory.free, self.address)


class Loaded(NamedTuple):
    """A function: a kernel, and the bytes of shared memory that it declares, and that launches may add."""

    kernel: Kernel
    declared: int
    shared: int

    @property
    def name(self) -> str:
        """The kernel's entry point."""
        return self.kernel.name


class Launched(NamedTuple):
    """What was launched."""

    name: str
    grid: Extent
    block: Extent
    stream: int


class InterpretingDriver:
    """The driver, and the library that its arrays are of."""

    def __init__(self, figures: Device | None = None, *, races: bool = True) -> None:
        self.memory, self.figures, self._races = Memory(), figures or Device(), races
        self.launches: list[Launched] = []
        self.waits: list[int] = []
        self.maps: list[tuple[str, int]] = []  # what was done to tensor maps
        self.held: set[int] = set()  # what was taken, and not given back

    def device(self, ordinal: int) -> Device:
        """Return the figures of a real device."""
        return self.figures

    def load(self, code: Code, ordinal: int, shared: int = 0) -> Loaded:
        """Read the PTX."""
        kernel = parse(code.ptx)[code.name]
        declared = sum(one.size or 0 for one in kernel.variables.values() if one.space == "shared")
        if declared + shared > self.figures.shared:
            raise InterpreterError(f"{declared} + {shared} bytes of shared memory, a block has {self.figures.shared}")
        return Loaded(kernel, declared, shared)

    def launch(self, launch_: Launch, ordinal: int, stream: int) -> None:
        """Interpret."""
        assert isinstance(launch_.function, Loaded)
        kernel, declared, shared = launch_.function
        most = max(shared, UNASKED - declared)
        if launch_.shared > most:
            raise InterpreterError(f"{launch_.shared} bytes of shared memory besides {declared}, at most {most}")
        self.launches.append(Launched(kernel.name, launch_.grid, launch_.block, stream))
        parameters = _packed(kernel, launch_.parameters)
        launch(kernel, self.memory, launch_.grid, launch_.block, parameters, launch_.shared, races=self._races)

    def encode(self, tensor_map: TensorMap, block: Block, array: int, ordinal: int) -> None:
        """Write the bytes that the interpreter reads."""
        code = encode(tensor_map.function, *tensor_map.arguments(array))
        ctypes.memmove(block.address, code, len(code))
        self.maps.append(("encode", array))

    def move(self, block: Block, array: int) -> None:
        """Do so again for another address."""
        found = replace(unpacked(ctypes.string_at(block.address, 128)), array=array).packed()
        ctypes.memmove(block.address, found, len(found))
        self.maps.append(("move", array))

    def wait(self, ordinal: int, stream: int) -> None:
        """Return: what was launched has run."""
        self.waits.append(stream)

    def capturing(self, stream: int) -> bool:
        """Return False: what is launched runs at once."""
        return False

    def take(self, size: int, ordinal: int) -> int:
        """Allocate; what nobody wrote is NaN."""
        address = self.memory.allocate(size)
        self.held.add(address)
        return address

    def give_back(self, address: int, ordinal: int) -> None:
        """Free."""
        self.held.remove(address)
        self.memory.free(address)

    def seconds(self, work: Callable[[], object], ordinal: int, stream: int) -> float:
        """Return what a test says that a launch takes, for each: what was launched is in `launches`."""
        before = len(self.launches)
        work()
        return sum(self.seconds_of(one) for one in self.launches[before:])

    def seconds_of(self, launched: Launched) -> float:
        """Return a millisecond: a test may put another function in its place."""
        return 1e-3

    # What the package asks an array's library for.

    def look(self, array: object) -> DeviceArray:
        """Read the interface of an array."""
        assert isinstance(array, InterpretedArray)
        values = array._values
        strides = tuple(step // values.itemsize for step in values.strides)
        return DeviceArray(values.ctypes.data, values.shape, strides, array.name, 0, array)

    def stream(self, array: DeviceArray) -> int:
        """Return the current stream, of which there is one."""
        return STREAM

    def empty(self, like: DeviceArray | None, shape: tuple[int, ...], dtype: object) -> InterpretedArray:
        """Return an array that nobody has written: NaN, or -1."""
        kind = np.dtype("uint16" if dtype == "bfloat16" else dtype)  # type: ignore[call-overload]
        allocation = _Allocation(self.memory, int(np.prod(shape)) * kind.itemsize)
        values = self.memory.array(allocation.address, tuple(shape), kind)
        return InterpretedArray(values, allocation, "bfloat16" if dtype == "bfloat16" else "")

    def bfloat16(self, values: np.ndarray) -> InterpretedArray:
        """Return float32 numbers rounded to bfloat16."""
        made = self.empty(None, values.shape, "bfloat16")
        made._values[...] = to_bfloat16(values)
        return made

    def array(self, values: object) -> InterpretedArray:
        """Return a copy of an array."""
        found = np.asarray(values)
        made = self.empty(None, found.shape, found.dtype)
        made._values[...] = found
        return made

    def numpy(self, array: InterpretedArray) -> np.ndarray:
        """Return a copy in memory of NumPy's own; of bfloat16 in float32."""
        return array.numpy()

    def transposed(self, array: InterpretedArray, *axes: int) -> InterpretedArray:
        """Return a view with the axes in another order."""
        return array.transpose(*axes)


def _packed(kernel: Kernel, parameters: Parameters) -> bytes:
    """Return the parameter block: of what is at each parameter's address as many bytes as it has."""
    if len(kernel.parameters) != parameters.count:
        raise InterpreterError(f"{parameters.count} parameters, {kernel.name} takes {len(kernel.parameters)}")
    addresses = (ctypes.c_void_p * parameters.count).from_address(parameters.address)
    block = bytearray(kernel.parameter_bytes)
    for address, (name, start) in zip(addresses, kernel.parameters.items(), strict=True):
        size = kernel.sizes[name]
        block[start : start + size] = ctypes.string_at(address, size)
    return bytes(block)

"""The driver: the one place that asks a device for its figures, loads code and launches it.

Whatever does that is a `Driver`. The real one is reached through `cuda.bindings`. Another one can be put in its place,
which runs the same code elsewhere: the tests have one that interprets it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple, Protocol

from fastconv.cuda.tensor_map import ALIGNMENT, BYTES, Block, Encoder, TensorMap
from fastconv.devices import UnavailableError

if TYPE_CHECKING:
    from fastconv.cuda.compile import Code

#: What a launch's grid and blocks are counted in: x, y, z.
Extent = tuple[int, int, int]

UNASKED = 48 << 10  # bytes of shared memory that a block gets without its function's asking for more

_FILLING = 0x3F  # of memory that is measured with


@dataclass(frozen=True)
class Device:
    """A device's figures; the defaults are those of an H100 with HBM3."""

    name: str = "NVIDIA H100"
    capability: tuple[int, int] = (9, 0)
    multiprocessors: int = 132
    clock: float = 1.98e9  # Hz
    bandwidth: float = 3.35e12  # bytes a second, of its memory
    cache: int = 50 << 20  # bytes of the second level cache
    memory: int = 80 << 30  # bytes
    driver: int = 0  # version
    launch: float = 3e-6  # seconds from one small kernel's begin to the next one's
    shared: int = 227 << 10  # bytes of shared memory that a block can have

    @property
    def doubles(self) -> int:
        """Products of float64 that a multiprocessor computes in a cycle."""
        return {(8, 0): 32, (9, 0): 64, (10, 0): 64}.get(self.capability, 2)

    @property
    def halves(self) -> int:
        """Products of halves that a multiprocessor's tensor cores add up in a cycle, told by ``mma.sync``.

        On Hopper that is about six tenths of what they do, told otherwise. Of tf32 it is half as many.
        """
        return {(8, 0): 1024, (9, 0): 1228, (10, 0): 1024}.get(self.capability, 512)


class Parameters:
    """A kernel's parameters as a launch takes them: pointers, tensor maps, and numbers in 8 bytes each."""

    def __init__(self, pointers: int, numbers: Sequence[int], maps: int = 0) -> None:
        self.pointers = pointers
        self.words = (ctypes.c_int64 * (pointers + len(numbers)))(*[0] * pointers, *numbers)
        self._bytes = (ctypes.c_char * (ALIGNMENT + BYTES * maps))()
        first = -(-ctypes.addressof(self._bytes) // ALIGNMENT) * ALIGNMENT
        self.blocks = [Block(first + i * BYTES) for i in range(maps)]
        start, size = ctypes.addressof(self.words), ctypes.sizeof(ctypes.c_int64)
        words = range(start, start + len(self.words) * size, size)
        addresses = *words[:pointers], *[block.address for block in self.blocks], *words[pointers:]
        self.count = len(addresses)
        self._addresses = (ctypes.c_void_p * self.count)(*addresses)
        self.address = ctypes.addressof(self._addresses)  # of a list of each parameter's address


class Launch(NamedTuple):
    """All that a launch says but its stream."""

    function: object  # that a driver loaded
    grid: Extent
    block: Extent
    shared: int  # bytes of shared memory besides what the kernel declares
    parameters: Parameters


class Driver(Protocol):
    """What loads code and launches it."""

    def device(self, ordinal: int) -> Device:
        """Return a device's figures."""

    def load(self, code: Code, ordinal: int, shared: int = 0) -> object:
        """Return the function of a compiled kernel, for a device.

        Its launches may use so many bytes of shared memory besides what the kernel declares.
        """

    def launch(self, launch: Launch, ordinal: int, stream: int) -> None:
        """Launch on a device's stream, and do not wait."""

    def encode(self, tensor_map: TensorMap, block: Block, array: int, ordinal: int) -> None:
        """Write the bytes of a map of the array at an address of a device."""

    def move(self, block: Block, array: int) -> None:
        """Say that the array of an encoded map is at another address."""

    def wait(self, ordinal: int, stream: int) -> None:
        """Wait for all that was launched on a device's stream."""

    def capturing(self, stream: int) -> bool:
        """Whether what is launched on a stream becomes part of a graph, and does not run."""

    def take(self, size: int, ordinal: int) -> int:
        """Return the address of so many bytes of a device, of which every type of floats makes plain numbers."""

    def give_back(self, address: int, ordinal: int) -> None:
        """Give memory back that was taken."""

    def seconds(self, work: Callable[[], object], ordinal: int, stream: int) -> float:
        """Return what a device takes for all that some work launches on a stream, and wait for it."""


class NvidiaDriver:
    """NVIDIA's driver, through `cuda.bindings`."""

    def __init__(self) -> None:
        self._driver = import_module("cuda.bindings.driver")  # without types
        _checked(self._driver.cuInit(0))
        self._contexts: dict[int, object] = {}
        self._devices: dict[int, Device] = {}
        self._libraries: list[object] = []  # loaded code lives as long as the process
        self._lock = Lock()
        self._encoder: Encoder | None = None

    def device(self, ordinal: int) -> Device:
        """Return a device's figures, asked for once."""
        found = self._devices.get(ordinal)
        if found is None:
            found = self._devices[ordinal] = self._ask(ordinal)
        return found

    def _ask(self, ordinal: int) -> Device:
        api = self._driver
        device = _checked(api.cuDeviceGet(ordinal))

        def attribute(name: str) -> int:
            return int(_checked(api.cuDeviceGetAttribute(getattr(api.CUdevice_attribute, prefix + name), device)))

        prefix = "CU_DEVICE_ATTRIBUTE_"
        # two transfers a cycle; the rate is in kHz, the width in bits
        bandwidth = 2 * 1e3 * attribute("MEMORY_CLOCK_RATE") * attribute("GLOBAL_MEMORY_BUS_WIDTH") / 8
        return Device(
            _checked(api.cuDeviceGetName(128, device)).split(b"\0")[0].decode(),
            (attribute("COMPUTE_CAPABILITY_MAJOR"), attribute("COMPUTE_CAPABILITY_MINOR")),
            attribute("MULTIPROCESSOR_COUNT"),
            1e3 * attribute("CLOCK_RATE"),
            bandwidth or Device.bandwidth,  # newer drivers may not tell
            attribute("L2_CACHE_SIZE"),
            int(_checked(api.cuDeviceTotalMem(device))),
            int(_checked(api.cuDriverGetVersion())),
            shared=attribute("MAX_SHARED_MEMORY_PER_BLOCK_OPTIN"),
        )

    def load(self, code: Code, ordinal: int, shared: int = 0) -> object:
        """Load machine code, or where there is none let the driver compile the PTX.

        It is on the device afterwards: the driver would put it there in the first launch, which may be captured. A
        block gets more shared memory than `UNASKED` only if its function asks for it.
        """
        api = self._driver
        with self._lock, self._allowed_while_capturing():
            self._enter(ordinal)
            image = code.machine_code or code.ptx.encode() + b"\0"
            library = _checked(api.cuLibraryLoadData(image, [], [], 0, [], [], 0))
            self._libraries.append(library)
            kernel = _checked(api.cuLibraryGetKernel(library, code.name.encode()))
            function = _checked(api.cuKernelGetFunction(kernel))
            if shared:
                limit = api.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
                _checked(api.cuFuncSetAttribute(function, limit, shared))
            return function

    @contextmanager
    def _allowed_while_capturing(self) -> Iterator[None]:
        """Let this thread do what a capture forbids by default; loading code is no part of a graph."""
        api = self._driver
        relaxed = api.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_RELAXED
        before = _checked(api.cuThreadExchangeStreamCaptureMode(relaxed))
        try:
            yield
        finally:
            _checked(api.cuThreadExchangeStreamCaptureMode(before))

    def capturing(self, stream: int) -> bool:
        """Ask for the stream's status; of CUDA's default stream nothing can be captured."""
        if not stream:
            return False
        status = _checked(self._driver.cuStreamIsCapturing(stream))
        return int(status) != 0

    def _enter(self, ordinal: int) -> None:
        """Make the device's primary context, which all libraries share, this thread's if it is not."""
        api = self._driver
        context = self._contexts.get(ordinal)
        if context is None:
            device = _checked(api.cuDeviceGet(ordinal))
            context = self._contexts[ordinal] = _checked(api.cuDevicePrimaryCtxRetain(device))
        if int(_checked(api.cuCtxGetCurrent())) != int(context):  # type: ignore[call-overload]
            _checked(api.cuCtxSetCurrent(context))

    def launch(self, launch: Launch, ordinal: int, stream: int) -> None:
        """Launch with parameters as they are packed."""
        self._enter(ordinal)
        function, grid, block, shared, parameters = launch
        _checked(self._driver.cuLaunchKernel(function, *grid, *block, shared, stream, parameters.address, 0))

    def encode(self, tensor_map: TensorMap, block: Block, array: int, ordinal: int) -> None:
        """Encode by the driver's own function."""
        self._enter(ordinal)
        if self._encoder is None:
            self._encoder = Encoder(self._address_of)
        self._encoder.encode(tensor_map, block, array)

    def move(self, block: Block, array: int) -> None:
        """Replace the address in a map: that takes a microsecond, encoding some ten."""
        assert self._encoder is not None  # it encoded
        self._encoder.move(block, array)

    def _address_of(self, name: str) -> int:
        """The address of a function of the driver, as CUDA 12.0 declares it."""
        flags = self._driver.CUdriverProcAddress_flags.CU_GET_PROC_ADDRESS_DEFAULT
        return int(_checked(self._driver.cuGetProcAddress(name.encode(), 12000, flags)))

    def wait(self, ordinal: int, stream: int) -> None:
        """Wait for all that was launched on a device's stream."""
        self._enter(ordinal)
        _checked(self._driver.cuStreamSynchronize(stream))

    def take(self, size: int, ordinal: int) -> int:
        """Allocate, and fill with bytes that make numbers between 1e-4 and 2 of every type of floats."""
        self._enter(ordinal)
        address = _checked(self._driver.cuMemAlloc(size))
        _checked(self._driver.cuMemsetD8(address, _FILLING, size))
        return int(address)

    def give_back(self, address: int, ordinal: int) -> None:
        """Free."""
        self._enter(ordinal)
        _checked(self._driver.cuMemFree(address))

    def seconds(self, work: Callable[[], object], ordinal: int, stream: int) -> float:
        """Record an event before and one behind."""
        self._enter(ordinal)
        api = self._driver
        begin, end = (_checked(api.cuEventCreate(0)) for _ in range(2))
        try:
            _checked(api.cuEventRecord(begin, stream))
            work()
            _checked(api.cuEventRecord(end, stream))
            _checked(api.cuEventSynchronize(end))
            return 1e-3 * float(_checked(api.cuEventElapsedTime(begin, end)))
        finally:
            for event in (begin, end):
                _checked(api.cuEventDestroy(event))


def _checked(answer: tuple[object, ...]):  # type: ignore[no-untyped-def]  # of any kind
    """Return what a function of the driver returns besides its status; raise if that is an error."""
    status, *values = answer
    if int(status):  # type: ignore[call-overload]
        raise RuntimeError(f"the CUDA driver says {status}")
    return values[0] if values else None


_installed: Driver | None = None


def current() -> Driver:
    """Return the driver that is there.

    Raises
    ------
    UnavailableError
        If there is none.
    """
    global _installed
    if _installed is None:
        try:
            _installed = NvidiaDriver()
        except (ImportError, RuntimeError) as error:
            reason = str(error).partition("\n")[0]
            raise UnavailableError(f"no CUDA driver answers: {reason}") from error
    return _installed


def install(driver: Driver | None) -> None:
    """Put a driver in place of the real one; None puts that back."""
    global _installed
    _installed = driver

"""What is told to the CUDA driver: by one that only listens."""

from __future__ import annotations

import ctypes
import sys
from types import ModuleType, SimpleNamespace

import pytest

from fastconv import devices
from fastconv.cuda import driver as drivers
from fastconv.cuda.compile import Code, Pointer, Wide
from fastconv.cuda.driver import Launch, Parameters
from fastconv.cuda.plan import Operand, Plan, Step, Target

ATTRIBUTES = {
    "COMPUTE_CAPABILITY_MAJOR": 9,
    "COMPUTE_CAPABILITY_MINOR": 0,
    "MULTIPROCESSOR_COUNT": 132,
    "CLOCK_RATE": 1980000,
    "MEMORY_CLOCK_RATE": 2619000,
    "GLOBAL_MEMORY_BUS_WIDTH": 5120,
    "L2_CACHE_SIZE": 50 << 20,
    "MAX_SHARED_MEMORY_PER_BLOCK_OPTIN": 227 << 10,
}


@pytest.fixture
def api(monkeypatch):
    """`cuda.bindings.driver`, which writes down what it is told."""
    module = ModuleType("cuda.bindings.driver")
    module.told, module.context = [], 0

    def answering(name, *values):
        def function(*arguments):
            module.told.append((name, *arguments))
            return (0, *values)

        setattr(module, name, function)

    def launch(function, *rest):
        address = rest[-2]
        addresses = (ctypes.c_void_p * 3).from_address(address)
        words = [ctypes.c_int64.from_address(one).value for one in addresses]
        module.told.append(("cuLaunchKernel", function, *rest[:-2], words))
        return (0,)

    def set_context(context):
        module.context = context
        return (0,)

    for name, *values in (
        ("cuInit",),
        ("cuDeviceGet", 0),
        ("cuDeviceGetName", b"NVIDIA H100" + bytes(9)),
        ("cuDeviceTotalMem", 80 << 30),
        ("cuDriverGetVersion", 13000),
        ("cuDevicePrimaryCtxRetain", 77),
        ("cuLibraryLoadData", "library"),
        ("cuLibraryGetKernel", 5),
        ("cuStreamSynchronize",),
        ("cuKernelGetFunction", ("function", 5)),
        ("cuFuncSetAttribute",),
        ("cuThreadExchangeStreamCaptureMode", "before"),
        ("cuMemAlloc", 4096),
        ("cuMemsetD8",),
        ("cuMemFree",),
        ("cuEventCreate", "event"),
        ("cuEventRecord",),
        ("cuEventSynchronize",),
        ("cuEventElapsedTime", 250.0),
        ("cuEventDestroy",),
    ):
        answering(name, *values)
    module.cuDeviceGetAttribute = lambda attribute, device: (0, ATTRIBUTES[attribute])
    module.CUdevice_attribute = SimpleNamespace(**{f"CU_DEVICE_ATTRIBUTE_{name}": name for name in ATTRIBUTES})
    module.cuCtxGetCurrent = lambda: (0, module.context)
    module.cuCtxSetCurrent = set_context
    module.CUfunction_attribute = SimpleNamespace(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES="most shared")
    module.cuLaunchKernel = launch
    module.CUstreamCaptureMode = SimpleNamespace(CU_STREAM_CAPTURE_MODE_RELAXED="relaxed")
    module.cuStreamIsCapturing = lambda stream: (0, int(stream == 9))
    monkeypatch.setitem(sys.modules, "cuda.bindings.driver", module)
    drivers.install(None)
    yield module
    drivers.install(None)


def test_figures(api):
    device = drivers.current().device(0)
    assert device.name == "NVIDIA H100"
    assert device.capability == (9, 0)
    assert device.multiprocessors == 132
    assert device.clock == 1.98e9
    assert device.bandwidth == pytest.approx(3.35e12, rel=0.01)


def test_code_is_loaded_and_launched(api):
    driver = drivers.current()
    function = driver.load(Code("kernel", "ptx", b"machine code"), 0)
    assert function == ("function", 5)
    assert ("cuLibraryLoadData", b"machine code", [], [], 0, [], [], 0) in api.told
    assert ("cuLibraryGetKernel", "library", b"kernel") in api.told
    assert api.context == 77
    parameters = Parameters(2, [-3])
    step = Step(Launch(function, (4, 5, 6), (256, 1, 1), 0, parameters), (Operand(1), Operand(0, 16)))
    plan = Plan(Target(driver, 0, driver.device(0)), (step,), 0)
    plan.run((1000, 2000), 9)
    assert api.told[-1] == ("cuLaunchKernel", function, 4, 5, 6, 256, 1, 1, 0, 9, [2000, 1016, -3])


def test_a_function_asks_for_shared_memory_of_its_launches(api):
    driver = drivers.current()
    driver.load(Code("kernel", "ptx", b"machine code"), 0)
    assert "cuFuncSetAttribute" not in [name for name, *_ in api.told]
    function = driver.load(Code("kernel", "ptx", b"machine code"), 0, 96 << 10)
    assert api.told[-2] == ("cuFuncSetAttribute", function, "most shared", 96 << 10)
    assert api.told[-1] == ("cuThreadExchangeStreamCaptureMode", "before")
    assert driver.device(0).shared == 227 << 10


def test_a_plan_loads_with_what_its_launches_use(monkeypatch):
    def kernel(x: Pointer) -> None: ...

    from fastconv.cuda import plan as plans
    from fastconv.cuda.compile import Kernel

    class Listening:
        def __init__(self):
            self.loaded = []

        def load(self, code, ordinal, shared=0):
            self.loaded.append(shared)
            return shared

    monkeypatch.setattr(plans, "compiled", lambda kernel, capability: Code("kernel", "ptx", b""))
    target = Target(Listening(), 0, drivers.Device())
    steps = [
        target.step(Kernel(kernel, "float32", 32), (1, 1, 1), [Operand(0)], (), size) for size in (0, 65536, 65536)
    ]
    assert [step.launch.function for step in steps] == [0, 65536, 65536]
    assert target.driver.loaded == [0, 65536]


def test_tensor_maps_are_encoded_once_and_moved(api):
    from test_tensor_map import ROW, Listening

    from fastconv.cuda.plan import Mapped

    listening = Listening()
    api.CUdriverProcAddress_flags = SimpleNamespace(CU_GET_PROC_ADDRESS_DEFAULT="default")
    api.cuGetProcAddress = lambda name, version, flags: (0, listening.find(name.decode()), "found")
    api.cuLaunchKernel = lambda *arguments: (0,)
    driver = drivers.current()
    parameters = Parameters(0, [], maps=1)
    step = Step(Launch("function", (1, 1, 1), (32, 1, 1), 0, parameters), (), (Mapped(ROW, Operand(0, 64)),))
    plan = Plan(Target(driver, 0, driver.device(0)), (step,), 0)
    for address in (4096, 4096, 8192):
        plan.run((address,), 9)
    (block,) = parameters.blocks
    encoded, moved = listening.told
    assert (encoded[0], encoded[1], encoded[4]) == ("cuTensorMapEncodeTiled", block.address, 4160)
    assert moved == ("cuTensorMapReplaceAddress", block.address, 8256)


def test_a_stream_is_waited_for(api):
    drivers.current().wait(0, 9)
    assert api.context == 77
    assert api.told[-1] == ("cuStreamSynchronize", 9)


def test_without_machine_code_the_driver_compiles(api):
    drivers.current().load(Code("kernel", "ptx", b""), 0)
    assert ("cuLibraryLoadData", b"ptx\0", [], [], 0, [], [], 0) in api.told


def test_an_error_of_the_driver_is_raised(api):
    driver = drivers.current()
    api.cuLibraryLoadData = lambda *arguments: (222, None)
    with pytest.raises(RuntimeError, match="the CUDA driver says 222"):
        driver.load(Code("kernel", "ptx", b""), 0)


def test_code_is_loaded_while_a_graph_is_captured(api):
    """By default a capture forbids it: the thread's mode is another meanwhile, and put back whatever happens."""
    driver = drivers.current()
    driver.load(Code("kernel", "ptx", b"machine code"), 0)
    told = [entry for entry in api.told if entry[0] in ("cuThreadExchangeStreamCaptureMode", "cuKernelGetFunction")]
    relaxed, back = (("cuThreadExchangeStreamCaptureMode", mode) for mode in ("relaxed", "before"))
    assert told == [relaxed, ("cuKernelGetFunction", 5), back]
    api.cuLibraryLoadData = lambda *arguments: (222, None)
    with pytest.raises(RuntimeError, match="the CUDA driver says 222"):
        driver.load(Code("kernel", "ptx", b""), 0)
    assert api.told[-1] == back
    assert [driver.capturing(stream) for stream in (0, 8, 9)] == [False, False, True]


def test_memory_and_time(api):
    driver = drivers.current()
    assert driver.take(12, 0) == 4096
    assert ("cuMemsetD8", 4096, 0x3F, 12) in api.told
    driver.give_back(4096, 0)
    assert api.told[-1] == ("cuMemFree", 4096)
    before = len(api.told)
    assert driver.seconds(lambda: api.told.append(("work",)), 0, 9) == 0.25
    assert [name for name, *_ in api.told[before:]] == [
        *("cuEventCreate", "cuEventCreate", "cuEventRecord", "work", "cuEventRecord", "cuEventSynchronize"),
        *("cuEventElapsedTime", "cuEventDestroy", "cuEventDestroy"),
    ]
    assert ("cuEventRecord", "event", 9) in api.told


def test_no_driver(api):
    api.cuInit = lambda flags: (100,)
    with pytest.raises(devices.UnavailableError, match="no CUDA driver answers: the CUDA driver says 100"):
        drivers.current()


def test_parameters_are_packed_as_the_kernel_says(api, monkeypatch):
    def kernel(x: Pointer, count: int, size: Wide, factor: float) -> None: ...

    from fastconv.cuda import plan as plans
    from fastconv.cuda.compile import Kernel

    monkeypatch.setattr(plans, "compiled", lambda kernel, capability: Code("kernel", "ptx", b""))
    driver = drivers.current()
    target = Target(driver, 0, driver.device(0))
    single, double = (
        target.step(Kernel(kernel, dtype, 32), (1, 1, 1), [Operand(0)], (-1, 2**40, 1.5)).launch.parameters.words
        for dtype in ("float32", "float64")
    )
    assert list(single) == [0, -1, 2**40, 0x3FC00000]
    assert list(double) == [0, -1, 2**40, 0x3FF8000000000000]
    with pytest.raises(AssertionError, match="too large"):
        target.step(Kernel(kernel, "float32", 32), (1, 1, 1), [Operand(0)], (2**31, 0, 0.0))

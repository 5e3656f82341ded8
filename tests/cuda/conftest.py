"""What tests of the GPU's algorithms share: a device that interprets, and in the same tests a real one."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from libraries import LIBRARIES


@pytest.fixture
def compiler() -> None:
    """Skip where nothing compiles for a device."""
    pytest.importorskip("numba.cuda")
    from fastconv.devices import UnavailableError, check_compiler

    try:
        check_compiler()
    except UnavailableError as error:
        pytest.skip(str(error))


@pytest.fixture
def lowered_once(compiler: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Numba see each kernel once, whatever compute capabilities it is compiled for."""
    from lowering import lowered_once

    from fastconv import config
    from fastconv.cuda import compile

    monkeypatch.setattr(compile, "_front_end", lowered_once(compile._front_end, config.cache_directory()))


@pytest.fixture
def interpreting(lowered_once: None) -> Iterator[object]:
    """A driver and its arrays in place of a GPU's."""
    from interpreted import InterpretingDriver

    from fastconv.cuda import arrays, call, driver, gradient_call, pooling_call

    device = InterpretingDriver()
    driver.install(device)
    arrays.register("interpreted", device)
    yield device
    call.clear()  # plans know the driver
    gradient_call.clear()
    pooling_call.clear()
    arrays.register("interpreted", None)
    driver.install(None)


@pytest.fixture
def gpu(compiler: None) -> None:
    """Skip where there is no device, and say why."""
    from fastconv.cuda import driver
    from fastconv.devices import UnavailableError

    try:
        driver.current().device(0)
    except (RuntimeError, UnavailableError) as error:
        pytest.skip(f"there is no CUDA device: {error}")


@pytest.fixture(params=["interpreted", *(pytest.param(name, marks=pytest.mark.gpu) for name in LIBRARIES)])
def device(request: pytest.FixtureRequest) -> object:
    """What has arrays: `array` makes one of NumPy's, and `numpy` one of NumPy's of it."""
    if request.param == "interpreted":
        return request.getfixturevalue("interpreting")
    request.getfixturevalue("gpu")
    return LIBRARIES[request.param]()


class _Compiling:
    """A driver that keeps what it would load."""

    def __init__(self) -> None:
        self.codes: list[object] = []

    def load(self, code: object, ordinal: int, shared: int = 0) -> object:
        """Keep it."""
        self.codes.append(code)
        return code


@pytest.fixture
def codes_of(lowered_once: None) -> Callable[..., list[object]]:
    """Return the code that a plan of a problem loads, for a compute capability; no device is asked."""
    from fastconv.cuda import place
    from fastconv.cuda.driver import Device
    from fastconv.cuda.plan import Target
    from fastconv.problem import ConvProblem

    def codes(
        problem: object, capability: tuple[int, int], name: str = "auto", activation: str | None = None
    ) -> list[object]:
        driver, device = _Compiling(), Device(capability=capability)
        convolution = isinstance(problem, ConvProblem)
        target = Target(driver, 0, device)
        entry = place.chosen(problem, name, 1e-4, target)
        entry.plan(problem, activation, target) if convolution else entry.plan(problem, target)
        return driver.codes

    return codes

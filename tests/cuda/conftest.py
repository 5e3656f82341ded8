"""What tests of the GPU's algorithms share: a device that interprets."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture
def device() -> Iterator[object]:
    """A driver and its arrays in place of a GPU's; skips where nothing compiles for one."""
    pytest.importorskip("numba.cuda")
    from fastconv.cuda import arrays, compile, driver

    try:
        compile.check_compiler()
    except compile.UnavailableError as error:
        pytest.skip(str(error))
    from interpreted import InterpretingDriver

    import fastconv

    device = InterpretingDriver()
    driver.install(device)
    arrays.register("interpreted", device)
    fastconv.clear_cache()
    yield device
    fastconv.clear_cache()
    arrays.register("interpreted", None)
    driver.install(None)

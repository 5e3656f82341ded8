"""Arrays on a real device, of the libraries that are installed; without one, who asks is skipped."""

from __future__ import annotations

import warnings
from types import ModuleType

import numpy as np
import pytest


class CuPyDevice:
    """A GPU, and CuPy's arrays."""

    def __init__(self) -> None:
        self._cupy = imported("cupy")

    def array(self, values: object) -> object:
        """Return a copy on the device."""
        return self._cupy.asarray(values)

    def numpy(self, array: object) -> np.ndarray:
        """Return a copy in the computer's memory."""
        return self._cupy.asnumpy(array)

    def transposed(self, array: object, *axes: int) -> object:
        """Return a view with the axes in another order."""
        return self._cupy.transpose(array, axes)


class PyTorchDevice:
    """A GPU, and PyTorch's tensors."""

    def __init__(self) -> None:
        self._torch = imported("torch")
        if not self._torch.cuda.is_available():
            pytest.skip("PyTorch is built for no CUDA device")

    def array(self, values: object) -> object:
        """Return a copy on the device."""
        return self._torch.tensor(np.ascontiguousarray(values), device="cuda")

    def numpy(self, array: object) -> np.ndarray:
        """Return a copy in the computer's memory."""
        return array.cpu().numpy()  # type: ignore[attr-defined]

    def transposed(self, array: object, *axes: int) -> object:
        """Return a view with the axes in another order."""
        return array.permute(axes)  # type: ignore[attr-defined]


def imported(name: str) -> ModuleType:
    """Return a module, whatever it warns of while it is imported; skip the test where there is none."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip(name, exc_type=ImportError)


LIBRARIES = {"cupy": CuPyDevice, "torch": PyTorchDevice}

"""Whether an argument is an array on a device: asked in each call, so without the rest of `fastconv.cuda`."""

from __future__ import annotations

_DLPACK_CUDA, _DLPACK_CUDA_MANAGED = 2, 13  # kinds of devices


def is_on_device(value: object) -> bool:
    """Return whether a value is an array on a CUDA device.

    DLPack is asked first, as PyTorch raises on the other attribute where a tensor requires gradients.
    """
    ask = getattr(type(value), "__dlpack_device__", None)
    if ask is not None:
        return int(ask(value)[0]) in (_DLPACK_CUDA, _DLPACK_CUDA_MANAGED)
    return hasattr(value, "__cuda_array_interface__")

"""Where arguments are: asked in each call, so without the rest of `fastconv.cuda`."""

from __future__ import annotations

from functools import cache
from importlib import import_module

_DLPACK_CUDA, _DLPACK_CUDA_MANAGED = 2, 13  # kinds of devices

_EXTRAS = "install fastconv[cuda13] or fastconv[cuda12], whichever CUDA the driver has"


class UnavailableError(RuntimeError):
    """There is nothing that compiles for a device, or no device."""


def is_on_device(value: object) -> bool:
    """Return whether a value is an array on a CUDA device.

    DLPack is asked first, as PyTorch raises on the other attribute where a tensor requires gradients.
    """
    ask = getattr(type(value), "__dlpack_device__", None)
    if ask is not None:
        return int(ask(value)[0]) in (_DLPACK_CUDA, _DLPACK_CUDA_MANAGED)
    return hasattr(value, "__cuda_array_interface__")


def all_on_device(**arguments: object) -> bool:
    """Return whether the first argument is on a device; the others, which may be None, must be where it is.

    Raises
    ------
    TypeError
        If one is elsewhere.
    UnavailableError
        If they are on a device and nothing compiles for it.
    """
    (first, x), *others = arguments.items()
    there = is_on_device(x)
    for name, value in others:
        if value is not None and is_on_device(value) != there:
            wanted, other = ("on a device", "in the computer's memory")[:: 1 if there else -1]
            raise TypeError(
                f"{name} must be {wanted} as {first} is, got {name} of {kind(value)} {other} "
                f"and {first} of {kind(x)} {wanted}"
            )
    if there:
        check_compiler()
    return there


def kind(value: object) -> str:
    """Return what a value is of, for a message."""
    return f"{type(value).__module__}.{type(value).__qualname__}"


@cache
def check_compiler() -> None:
    """Raise `UnavailableError` unless the compiler is there that kernels are written for."""
    try:
        implementation = getattr(import_module("numba.cuda"), "implementation", "Built-in")
    except ImportError as error:
        raise UnavailableError(f"numba.cuda cannot be imported: {error}; {_EXTRAS}") from error
    if implementation != "NVIDIA":
        raise UnavailableError(f"arrays on a device need numba-cuda, and Numba's own target is there; {_EXTRAS}")

"""Where a command computes: on the processor, or on a CUDA device."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import click

__all__ = ["device_option"]

C = TypeVar("C", bound=Callable[..., object])


def device_option(command: C) -> C:
    """Give a command the option, as its argument `device`: the number of a CUDA device, or None."""
    text = "cpu, or cuda for the first CUDA device, cuda:1 for the second."
    return click.option("--device", default="cpu", callback=_number, metavar="cpu|cuda", help=text)(command)


def _number(context: click.Context, option: click.Parameter, value: str) -> int | None:
    kind, _, number = value.partition(":")
    if value == "cpu":
        return None
    if kind != "cuda" or not (number or "0").isdecimal():
        raise click.BadParameter(f"{value!r} is neither cpu nor cuda nor cuda:1 and so on")
    return int(number or "0")

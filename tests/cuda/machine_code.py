"""What ptxas made of a kernel: registers, stack, and the mix of instructions, read from its cubin.

By NVIDIA's own disassemblers, which the wheels `nvidia-cuda-nvdisasm` and `nvidia-cuda-cuobjdump` bring, or a toolkit.
Without them, who asks is skipped.
"""

from __future__ import annotations

import re
import shutil
import site
import subprocess
import sysconfig
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

#: A line of a listing: address, predicate, opcode with its modifiers, operands.
_INSTRUCTION = re.compile(r"^\s+/\*[0-9a-f]+\*/\s+(?:\{\s*)?(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9_]*(?:\.[A-Za-z0-9_]+)*)(.*)")
_LABEL = re.compile(r"^(\.L_x_\d+):")
_WIDTH = re.compile("[US]?(8|16|64|128)")

#: Arithmetic in double precision, and conversions from and to it.
DOUBLE = ("DADD", "DMUL", "DFMA", "DSETP", "DMNMX", "DMMA")


@cache
def tool(name: str) -> str:
    """Return the path of a disassembler; skip the test if there is none."""
    packages = {*site.getsitepackages(), sysconfig.get_path("purelib")}
    found = [path for package in packages for path in Path(package).glob(f"nvidia/*/bin/{name}")]
    path = str(found[0]) if found else shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


@dataclass(frozen=True)
class MachineCode:
    """The instructions of a kernel, by their opcodes with modifiers, and what a thread of it holds."""

    registers: int
    stack: int  # bytes of each thread
    opcodes: tuple[str, ...]
    loops: tuple[tuple[str, ...], ...]  # the opcodes of each, in the order of their ends

    def count(self, *names: str) -> int:
        """Return how many instructions have one of these names, whatever their modifiers."""
        return sum(opcode.partition(".")[0] in names for opcode in self.opcodes)

    @property
    def local_accesses(self) -> int:
        """Loads and stores of local memory: what did not fit into registers, or was indexed."""
        return self.count("LDL", "STL")

    @property
    def doubles(self) -> int:
        """Instructions in double precision."""
        converted = sum(opcode.startswith(("F2F", "I2F", "F2I")) and "F64" in opcode for opcode in self.opcodes)
        return self.count(*DOUBLE) + converted

    def widths(self, name: str) -> Counter[int]:
        """Return how many loads or stores of that name there are by their width in bits."""
        return Counter(_width(opcode) for opcode in self.opcodes if opcode.partition(".")[0] == name)

    @property
    def main_loop(self) -> tuple[str, ...]:
        """The loop with the most multiply-adds, of those the shortest: outer ones hold it."""
        if not self.loops:
            return self.opcodes
        return max(self.loops, key=lambda loop: (_products(loop), -len(loop)))

    def share(self, *names: str) -> float:
        """Return which part of the main loop's instructions have one of these names."""
        loop = self.main_loop
        return sum(opcode.partition(".")[0] in names for opcode in loop) / len(loop)


def _width(opcode: str) -> int:
    """Bits of a load or store, which are 32 if no modifier says other; modifiers of caches have numbers, too."""
    found = [match[1] for part in opcode.split(".")[1:] if (match := _WIDTH.fullmatch(part))]
    return int(found[0]) if found else 32


def _products(loop: tuple[str, ...]) -> int:
    return sum(opcode.startswith(("FFMA", "DFMA", "HFMA2", "HMMA", "HGMMA")) for opcode in loop)


@cache  # plans have kernels in common, and a disassembler takes half a second to begin
def machine_code(cubin: bytes) -> MachineCode:
    """Return what is in a cubin of one kernel."""
    with TemporaryDirectory() as directory:
        path = Path(directory, "kernel.cubin")
        path.write_bytes(cubin)
        usage = _output(tool("cuobjdump"), "-res-usage", path)
        listing = _output(tool("nvdisasm"), "-c", "-ndf", path)  # which follows no data, and lists the same
    found = re.findall(r"REG:(\d+) STACK:(\d+)", usage)
    registers, stack = (max(int(one[index]) for one in found) for index in (0, 1))
    return MachineCode(registers, stack, *_read(listing))


def _output(*command: object) -> str:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=True)
    return done.stdout + done.stderr


def _read(listing: str) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Return the opcodes of a listing, and those of each loop: from a label to a branch back to it."""
    opcodes: list[str] = []
    labels: dict[str, int] = {}
    loops: list[tuple[str, ...]] = []
    for line in listing.splitlines():
        if label := _LABEL.match(line):
            labels[label[1]] = len(opcodes)
        elif instruction := _INSTRUCTION.match(line):
            opcodes.append(instruction[1])
            target = re.search(r"`\((\.L_x_\d+)\)", instruction[2])
            start = labels.get(target[1], len(opcodes)) if target and instruction[1].startswith("BRA") else len(opcodes)
            if start < len(opcodes) - 1:  # the last one is a branch to itself, behind the end
                loops.append(tuple(opcodes[start:]))
    return tuple(opcodes), tuple(loops)

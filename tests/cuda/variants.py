"""Kernels, each by a problem it computes; ``python tests/cuda/variants.py`` prints their figures.

For each: registers and stack bytes of a thread, loads and stores of local memory, the main loop's instructions and
which share of them are products; of kernels for tensor cores, also how many of the loop's instructions are products of
fragments (HMMA), loads of fragments (LDSM) and copies to shared memory (LDGSTS); of those for warpgroups, their
products (HGMMA).
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from machine_code import MachineCode


class Variant(NamedTuple):
    """A kernel, and what may be expected of it."""

    problem: str
    algorithm: str
    tile: int = 0  # of those for the type
    share: float = 0.0  # of the main loop that are products, at least
    registers: int = 0  # at most, if it is another one than its tile


FIRST, ODD, LAST = "conv2d,n8,c64,14x14,k128,3x3,p1", "conv2d,n8,c63,14x14,k128,3x3,p1", "channels_last"

VARIANTS = (
    Variant(f"{FIRST},float32", "im2col", 0, 0.86),
    Variant(f"{FIRST},{LAST},float32", "im2col", 0, 0.87),
    Variant(f"{FIRST},float32", "im2col", 1, 0.83),
    Variant(f"{FIRST},{LAST},float32", "im2col", 1, 0.86),
    Variant(f"{FIRST},float32", "im2col", 2, 0.79),
    Variant(f"{FIRST},{LAST},float32", "im2col", 2, 0.84),
    Variant(f"{ODD},{LAST},float32", "im2col", 2, 0.75),
    Variant(f"{FIRST},float64", "im2col", 0, 0.78),
    Variant(f"{FIRST},{LAST},float64", "im2col", 0, 0.80),
    Variant(f"{FIRST},float32", "direct"),
    Variant(f"{FIRST},float32", "winograd_4x4", 0, 0.89),
    Variant(f"{FIRST},{LAST},float32", "winograd_2x2", 1, 0.88),
    Variant("conv2d,n32,c64,56x56,k64,3x3,p1,float32", "winograd_2x2", 1, 0.70, 255),  # fused
    Variant("conv2d,n8,c64,28x28,k128,5x5,s2,p2,float32", "winograd_4x4", 2, 0.87),  # the largest tiles, 11x11
    Variant("conv2d,n8,c64,28x28,k128,7x7,s2,p3,float64", "winograd_2x2", 0, 0.82),
    Variant(f"{FIRST},{LAST},float32", "winograd_4x4", 2, 0.87),
    Variant(f"{FIRST},float64", "winograd_4x4", 0, 0.82),
)


class TensorCores(NamedTuple):
    """A kernel for tensor cores, and what its main loop must be made of."""

    problem: str
    tile: int
    products: int  # HMMA
    loads: int  # LDSM
    copies: int  # LDGSTS
    loop: int  # instructions, at most
    registers: int  # at most

    @property
    def counts(self) -> dict[str, int]:
        """By the names of the instructions."""
        return {"HMMA": self.products, "LDSM": self.loads, "LDGSTS": self.copies}


TENSOR_CORES = (
    TensorCores(f"{FIRST},{LAST},bfloat16", 0, 128, 32, 16, 280, 255),
    TensorCores(f"{FIRST},{LAST},float16", 1, 64, 24, 12, 190, 168),
    TensorCores(f"{FIRST},float16", 2, 32, 16, 8, 130, 128),
    TensorCores(f"{FIRST},{LAST},tf32,float32", 0, 128, 32, 16, 410, 255),
    TensorCores(f"{FIRST},tf32,float32", 2, 32, 16, 8, 195, 128),
    TensorCores(f"{FIRST},{LAST},bf16,float32", 0, 64, 24, 12, 220, 255),
    TensorCores(f"{FIRST},{LAST},fp16,float32", 1, 32, 20, 10, 175, 168),
    TensorCores(f"{ODD},{LAST},tf32,float32", 0, 128, 32, 40, 520, 255),
    TensorCores(f"{ODD},{LAST},float16", 0, 128, 32, 8, 660, 255),  # of channels one at a time: no such copies
)


class Weights(NamedTuple):
    """A kernel of gradients by the weight, and what its main loop must be made of."""

    problem: str
    tile: int
    products: int  # HMMA
    loads: int  # LDSM: words are loaded by as many LDS as factors are, and three that ptxas adds
    copies: int  # LDGSTS
    loop: int  # instructions, at most
    registers: int = 255  # at most

    @property
    def counts(self) -> dict[str, int]:
        """By the names of the instructions."""
        return {"HMMA": self.products, "LDSM": self.loads, "LDGSTS": self.copies}


WEIGHTS = (
    Weights(f"{FIRST},{LAST},bfloat16", 0, 64, 16, 8, 220),
    Weights(f"{FIRST},{LAST},float16", 2, 16, 8, 4, 120, 128),
    Weights(f"{FIRST},{LAST},tf32,float32", 1, 64, 0, 12, 560, 168),
    Weights(f"{ODD},{LAST},fp16,float32", 2, 16, 0, 20, 360, 128),
)


class Warpgroups(NamedTuple):
    """A kernel for warpgroups, and what it must be made of."""

    problem: str
    filters: int  # of a tile
    product: str  # of which there are four in the main loop
    splits: int = 1
    stored: bool = True  # whether the tensor engine stores results
    loop: int = 72  # instructions, at most
    registers: int = 168  # before they are shared out: 65536 by three warpgroups, in eights


_WIDE = "conv2d,n8,c64,14x14,k256,3x3,p1,channels_last"

WARPGROUPS = (
    Warpgroups(f"{_WIDE},float16", 64, "HGMMA.64x64x16.F32"),
    Warpgroups(f"{_WIDE},float16", 128, "HGMMA.64x128x16.F32"),
    Warpgroups(f"{_WIDE},bfloat16", 256, "HGMMA.64x256x16.F32.BF16"),
    Warpgroups(f"{_WIDE},bfloat16", 128, "HGMMA.64x128x16.F32.BF16", 3, stored=False),
    Warpgroups(f"{_WIDE},tf32,float32", 128, "HGMMA.64x128x8.F32.TF32"),
    Warpgroups(f"{_WIDE},tf32,float32", 256, "HGMMA.64x256x8.F32.TF32"),
    Warpgroups("conv2d,n8,c64,14x14,k256,3x3,p1,float16", 128, "HGMMA.64x128x16.F32", stored=False),
    Warpgroups("conv3d,n8,c64,4x9x9,k250,3x3x3,p1,channels_last,float16", 256, "HGMMA.64x256x16.F32", 1, stored=False),
)


def main() -> None:
    """Print a line for each kernel."""
    import test_depthwise
    import test_fft
    import test_pooling
    from machine_code import machine_code

    from fastconv.cuda import im2col, table
    from fastconv.cuda.driver import Device
    from fastconv.cuda.plan import Target
    from fastconv.problem import ConvProblem, PoolProblem

    entries = {entry.name: entry for entry in table.TABLE}
    tiles = dict(im2col.TILES)
    say = sys.stdout.write
    say(f"{'problem':64} {'algorithm':12} {'tile':>7} {'sm':>3} ")
    say(f"{'registers':>9} {'stack':>5} {'local':>5} {'loop':>5} share\n")
    for variant in VARIANTS:
        problem = ConvProblem.parse(variant.problem)
        tile = tiles[problem.dtype][variant.tile]
        for capability in ((8, 0), (9, 0)):
            driver = _Keeping()
            im2col.TILES[problem.dtype], im2col.SPLITS = (tile,), (1,)
            im2col.divide.cache_clear()  # what it found with the tile before
            entries[variant.algorithm].plan(problem, None, Target(driver, 0, Device(capability=capability)))
            codes = [machine_code(code.machine_code) for code in driver.codes]
            code = max(codes, key=lambda one: one.share("FFMA", "DFMA"))  # others pack, or add parts of sums
            shape = "" if variant.algorithm == "direct" else f"{tile.filters}x{tile.pixels}"
            say(_line(variant.problem, variant.algorithm, shape, capability, code))
    for text in test_fft.CODE:
        for capability in ((8, 0), (9, 0)):
            driver = _Keeping()
            entries["fft"].plan(ConvProblem.parse(text), "relu", Target(driver, 0, Device(capability=capability)))
            for code in driver.codes:
                if code.name not in test_fft.OTHERS:
                    name = f"fft {code.name.partition('_')[2]}"
                    say(_line(text, name, "", capability, machine_code(code.machine_code)))
    for text in (*test_depthwise.CODE, *test_pooling.CODE):
        for capability in ((8, 0), (9, 0)):
            driver = _Keeping()
            target = Target(driver, 0, Device(capability=capability))
            if text.startswith("conv"):
                name = "depthwise"
                entries[name].plan(ConvProblem.parse(text), "relu", target)
            else:
                (entry,) = table.POOLINGS
                name = entry.name
                entry.plan(PoolProblem.parse(text), target)
            say(_line(text, name, "", capability, machine_code(driver.codes[-1].machine_code)))
    _say_tensor_cores(say)
    _say_weights(say)
    _say_warpgroups(say)


def _say_weights(say: Callable[[str], object]) -> None:
    from dataclasses import replace

    from machine_code import machine_code

    from fastconv.cuda import implicit_gemm_mma_weight
    from fastconv.cuda.driver import Device
    from fastconv.cuda.plan import Target
    from fastconv.problem import ConvProblem

    tiles, implicit_gemm_mma_weight.SPLITS = implicit_gemm_mma_weight.TILES, (1,)
    for variant in WEIGHTS:
        implicit_gemm_mma_weight.TILES = (tile,) = (tiles[variant.tile],)
        implicit_gemm_mma_weight.divide.cache_clear()
        problem = replace(ConvProblem.parse(variant.problem), direction="weight_gradient")
        for capability in ((8, 0), (9, 0)):
            driver = _Keeping()
            target = Target(driver, 0, Device(capability=capability))
            implicit_gemm_mma_weight.ImplicitGemmMmaWeight().plan(problem, None, target)
            (code,) = (machine_code(each.machine_code) for each in driver.codes if "mma.sync" in each.ptx)
            counts = [sum(opcode.startswith(name) for opcode in code.main_loop) for name in variant.counts]
            line = _line(variant.problem, "mma weight", f"{tile.filters}x{tile.columns}", capability, code)
            say(f"{line.rstrip()} HMMA {counts[0]} LDSM {counts[1]} LDGSTS {counts[2]}\n")


def _say_tensor_cores(say: Callable[[str], object]) -> None:
    from machine_code import machine_code

    from fastconv.cuda import implicit_gemm_mma
    from fastconv.cuda.driver import Device
    from fastconv.cuda.plan import Target
    from fastconv.problem import ConvProblem

    tiles, implicit_gemm_mma.SPLITS = implicit_gemm_mma.TILES, (1,)
    entry = implicit_gemm_mma.ImplicitGemmMma()
    for variant in TENSOR_CORES:
        implicit_gemm_mma.TILES = (tile,) = (tiles[variant.tile],)
        implicit_gemm_mma.divide.cache_clear()
        for capability in ((8, 0), (9, 0)):
            driver = _Keeping()
            problem = ConvProblem.parse(variant.problem)
            entry.plan(problem, None, Target(driver, 0, Device(capability=capability)))
            code = machine_code(driver.codes[-1].machine_code)  # before it, others pack and transpose
            counts = [sum(opcode.startswith(name) for opcode in code.main_loop) for name in variant.counts]
            line = _line(variant.problem, "mma", f"{tile.pixels}x{tile.filters}", capability, code)
            say(f"{line.rstrip()} HMMA {counts[0]} LDSM {counts[1]} LDGSTS {counts[2]}\n")


def _say_warpgroups(say: Callable[[str], object]) -> None:
    from machine_code import machine_code

    from fastconv.cuda import wgmma
    from fastconv.cuda.driver import Device
    from fastconv.cuda.plan import Target
    from fastconv.problem import ConvProblem

    tiles, wgmma.LEAST_STEPS = {tile.filters: tile for tile in wgmma.TILES}, 1
    for variant in WARPGROUPS:
        wgmma.TILES, wgmma.SPLITS = (tiles[variant.filters],), (variant.splits,)
        wgmma.divide.cache_clear()
        driver = _Keeping()
        wgmma.ImplicitGemmWgmma().plan(ConvProblem.parse(variant.problem), None, Target(driver, 0, Device()))
        (code,) = (machine_code(each.machine_code) for each in driver.codes if "wgmma" in each.ptx)
        line = _line(variant.problem, "wgmma", f"128x{variant.filters}", (9, 0), code)
        products = [opcode for opcode in code.main_loop if opcode.startswith("HGMMA")]
        say(f"{line.rstrip()} {len(products)} {products[0]}\n")


def _line(problem: str, algorithm: str, tile: str, capability: tuple[int, int], code: MachineCode) -> str:
    return (
        f"{problem:64} {algorithm:12} {tile:>7} {capability[0]}{capability[1]:<2} {code.registers:9} {code.stack:5} "
        f"{code.local_accesses:5} {len(code.main_loop):5} {code.share('FFMA', 'DFMA', 'HMMA', 'HGMMA'):.3f}\n"
    )


class _Keeping:
    """A driver that keeps what it would load."""

    def __init__(self) -> None:
        self.codes: list[object] = []

    def load(self, code: object, ordinal: int, shared: int = 0) -> object:
        self.codes.append(code)
        return code


if __name__ == "__main__":
    main()

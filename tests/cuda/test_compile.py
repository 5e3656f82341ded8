"""Compiled kernels: what their key depends on, and where they are kept."""

from __future__ import annotations

from dataclasses import replace

import pytest
from lowering import lowered_once

from fastconv import config
from fastconv.codegen import jit
from fastconv.cuda import compile
from fastconv.cuda.compile import Kernel, Pointer, clear_cache, compiled

FACTOR = 0


@pytest.fixture
def kernel(compiler, monkeypatch, tmp_path):
    """A small kernel, and a cache of its own."""
    from numba import cuda

    from fastconv.cuda.intrinsics import load, store

    globals().update(cuda=cuda, load=load, store=store)
    monkeypatch.setattr(config, "cache_directory", lambda: tmp_path)
    clear_cache()
    yield Kernel(_scale, "float32", 32, constants={"FACTOR": 3})
    clear_cache()


def _scale(x: Pointer, y: Pointer, count: int) -> None:
    place = cuda.threadIdx.x  # noqa: F821
    if place < count:
        store(y, place, Float(FACTOR) * load(x, place))  # noqa: F821


def counted(kernel, capability=(9, 0)):
    """Return the code, and how many were compiled and loaded."""
    before = dict(jit.counts)
    code = compiled(kernel, capability)
    return code, *(jit.counts[kind] - before.get(kind, 0) for kind in ("compiled", "loaded"))


def test_a_kernel_is_compiled_once(kernel):
    code, *counts = counted(kernel)
    assert counts == [1, 0]
    assert f".entry {code.name}" in code.ptx
    assert ".maxntid 32" in code.ptx
    assert code.machine_code.startswith(b"\x7fELF")
    assert counted(kernel) == (code, 0, 0)
    clear_cache()  # as in another process
    assert counted(kernel) == (code, 0, 1)


def test_a_damaged_file_is_compiled_again(kernel, tmp_path):
    code, *_ = counted(kernel)
    (path,) = tmp_path.glob("cuda/*.ptx")
    path.write_bytes(path.read_bytes()[:-9])
    clear_cache()
    again, *counts = counted(kernel)
    assert counts == [1, 0]
    assert again.name == code.name == "fastconv_scale"


def test_the_key_has_all_that_the_code_depends_on(kernel):
    """Numba's own key lacks constants: a kernel that multiplies by 5 was served one that multiplies by 3."""
    codes = {counted(kernel)[0].ptx}
    for other in (
        replace(kernel, constants={"FACTOR": 5}),
        replace(kernel, dtype="float64"),
        replace(kernel, threads=64),
        replace(kernel, blocks=2),
    ):
        code, *counts = counted(other)
        assert counts == [1, 0]
        codes.add(code.ptx)
    code, *counts = counted(kernel, (8, 0))
    assert counts == [1, 0]
    assert ".target sm_80" in code.ptx
    assert len(codes | {code.ptx}) == 6


def test_one_pass_of_the_front_end_serves_several_capabilities(kernel, monkeypatch, tmp_path):
    """Most tests look at code of kernels that Numba has seen once, see `lowering`: it is that of each alone."""

    def ptx(capability):
        """All but a variable of Numba's, of which the name counts what was compiled before."""
        return [line for line in compiled(kernel, capability).ptx.splitlines() if "NumbaEnv" not in line]

    capabilities = (8, 0), (9, 0)
    alone = [ptx(capability) for capability in capabilities]
    passes, front_end = [], compile._front_end

    def counted(*arguments):
        passes.append(arguments)
        return front_end(*arguments)

    monkeypatch.setattr(compile, "_front_end", lowered_once(counted, tmp_path))
    (tmp_path / "cuda").rename(tmp_path / "alone")
    clear_cache()
    assert [ptx(capability) for capability in capabilities] == alone
    assert len(passes) == 1


def test_one_architecture_alone(kernel):
    """Its machine code is linked from something else than PTX, and has the names of the PTX that it is kept with."""
    alone = replace(kernel, suffix="a")
    code, *counts = counted(alone)
    assert counts == [1, 0]
    assert ".target sm_90a" in code.ptx
    assert code.name.encode() in code.machine_code
    clear_cache()
    assert counted(alone) == (code, 0, 1)


def test_machine_code_that_is_lost_is_made_of_its_ptx(kernel, tmp_path):
    for each, counts in ((kernel, [0, 1]), (replace(kernel, suffix="a"), [1, 0])):  # the latter of more than PTX
        counted(each)
        (path,) = tmp_path.glob("cuda/*.cubin")
        path.unlink()
        clear_cache()
        again, *found = counted(each)
        assert found == counts
        assert again.machine_code.startswith(b"\x7fELF")
        assert again.name.encode() in again.machine_code
        for path in tmp_path.glob("cuda/*"):
            path.unlink()


def test_what_the_linker_says_is_logged(caplog):
    """A warpgroup's products wait for each other where a kernel calls what the linker does not see."""
    from fastconv.cuda.compile import _linked

    ptx = """.version 8.0
        .target sm_90a
        .address_size 64
        .visible .entry kernel() .maxntid 128, 1, 1 { setmaxnreg.inc.sync.aligned.u32 232; ret; }"""
    assert _linked(ptx.encode(), "PTX", (9, 0), "a").startswith(b"\x7fELF")
    assert "the CUDA linker says: ptxas info" in caplog.text
    assert "'setmaxnreg' ignored" in caplog.text


def test_without_a_place_to_keep_it(kernel, monkeypatch):
    monkeypatch.setattr(config, "cache_directory", lambda: None)
    code, *counts = counted(kernel)
    assert counts == [1, 0]
    assert counted(kernel) == (code, 0, 0)

"""Fresh processes: what they import and compile, and how they fare where nothing can be kept."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

import fastconv

HEAVY = ("llvmlite", "numba", "scipy", "torch")
TILED = tuple(name for name in fastconv.algorithms() if name != "reference")

# What a fresh process runs: a problem by each algorithm named, compared with the reference; 13
# filters and rows of 11 take several tiles, whole and partial ones. All algorithms compute it.
PROGRAM = """
import json, sys
import numpy as np
import fastconv

problem = fastconv.ConvProblem.parse("conv2d,n1,c13,9x11,k13,3x3,p1,g13,float32")
random = np.random.default_rng(0)
x, weight = (random.uniform(-1, 1, shape).astype("float32")
             for shape in (problem.input_shape, problem.weight_shape))
weight = weight[..., :1] * weight[..., :1, :]  # of rank one, which every algorithm computes
expected = fastconv.reference.conv(problem, x, weight)
report = {}
before = {"compiled": 0, "loaded": 0}
for name in sys.argv[1:]:
    result = fastconv.conv2d(x, weight, padding=1, groups=13, algorithm=name)
    error = np.linalg.norm(result - expected) / np.linalg.norm(expected)
    from fastconv.codegen import jit
    report[name] = {kind: jit.counts[kind] - before[kind] for kind in before}
    report[name]["right"] = bool(error < 2e-6)
    report[name]["imported"] = sorted({"llvmlite", "numba", "scipy", "torch"} & set(sys.modules))
    before = {kind: jit.counts[kind] for kind in before}
print(json.dumps(report))
"""


@dataclass(frozen=True)
class Counted:
    """What one algorithm's first call did."""

    compiled: int
    loaded: int
    right: bool
    imported: list[str]


def python(
    program: str, *arguments: str, clean: bool = False, cwd: Path | None = None, **variables: str
) -> str:
    """Run a program in a fresh process, where a warning is an error, and return what it wrote."""
    environment = {} if clean else dict(os.environ)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, *arguments],
        env={**environment, **variables},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def first_calls(
    *names: str, prelude: str = "", clean: bool = False, cwd: Path | None = None, **variables: str
) -> dict[str, Counted]:
    written = python(prelude + PROGRAM, *names, clean=clean, cwd=cwd, **variables)
    return {name: Counted(**counted) for name, counted in json.loads(written).items()}


def stored(cache: Path) -> list[Path]:
    """Return the compiled functions that a cache directory holds."""
    return sorted(path for path in cache.rglob("*") if path.is_file())


@dataclass(frozen=True)
class Warm:
    """A cache directory, and what the process did that found it empty."""

    cache: Path
    first: dict[str, Counted]


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Warm:
    cache = tmp_path_factory.mktemp("cache")
    return Warm(cache, first_calls(*TILED, FASTCONV_CACHE_DIR=str(cache)))


@pytest.fixture
def copy(warm: Warm, tmp_path: Path) -> Path:
    """A copy of the warm cache that a test may damage."""
    return Path(shutil.copytree(warm.cache, tmp_path / "cache"))


# ------------------------------------------------------------------------------------- imports


def imported_by(program: str) -> set[str]:
    return set(python(f"{program}\nimport sys\nprint(*sys.modules)").split())


def test_the_import_is_light():
    assert imported_by("import fastconv").isdisjoint(HEAVY)


def test_what_comes_before_the_first_call_is_light():
    program = """
import fastconv
fastconv.conv1d, fastconv.conv2d, fastconv.conv3d, fastconv.reference
fastconv.max_pool2d, fastconv.global_avg_pool, fastconv.max_pool_gradient
fastconv.signal.convolve, fastconv.ndimage.correlate
fastconv.set_num_threads(1)
str(fastconv.ConvProblem.parse("conv2d,n1,c8,8x8,k8,3x3,float32"))
"""
    assert imported_by(program).isdisjoint(HEAVY)


def test_ml_dtypes_is_left_to_who_has_arrays_of_bfloat16():
    program = """
import numpy as np
import fastconv
half = np.ones((1, 1, 9), "float16")
fastconv.conv1d(half, half)
fastconv.max_pool1d(half, 3)
fastconv.explain(fastconv.ConvProblem.parse("conv2d,n1,c8,8x8,k8,3x3,bfloat16"))
"""
    assert "ml_dtypes" not in imported_by(program)
    assert "ml_dtypes" in imported_by(program + "import ml_dtypes")


def test_what_needs_ml_dtypes_says_so_where_it_is_missing():
    program = """
import sys
sys.modules["ml_dtypes"] = None  # as if it were not installed
import fastconv
try:
    fastconv.tune(fastconv.ConvProblem.parse("conv2d,n1,c8,8x8,k8,3x3,bfloat16"))
except fastconv.UnsupportedError as error:
    print(error)
"""
    assert python(program).startswith("dtype must be a type that NumPy has, or bfloat16 with ml_dtypes: ")


def test_the_check_for_imports_notices_one():
    assert not imported_by("import fastconv, llvmlite").isdisjoint(HEAVY)


@pytest.mark.parametrize("name", TILED)
def test_the_first_call_on_a_warm_cache_imports_no_numba(warm, name):
    second = first_calls(name, FASTCONV_CACHE_DIR=str(warm.cache))[name]
    assert second.right
    assert second.imported == ["llvmlite"]


def test_a_pooling_on_a_warm_cache_imports_no_numba_and_compiles_nothing(tmp_path):
    program = """
import sys
import numpy as np
import fastconv
y = fastconv.max_pool2d(np.ones((1, 2, 30, 30), np.float32), 3, 2)
from fastconv.codegen import jit
print(jit.counts["compiled"], sorted({"llvmlite", "numba"} & set(sys.modules)), y.shape)
"""
    first, second = (python(program, FASTCONV_CACHE_DIR=str(tmp_path)).split(maxsplit=1) for _ in range(2))
    assert int(first[0]) > 0
    assert int(second[0]) == 0
    assert second[1] == "['llvmlite'] (1, 2, 14, 14)\n"


# ----------------------------------------------------------------------------------- the cache


@pytest.mark.parametrize("name", TILED)
def test_a_second_process_compiles_nothing_that_the_first_compiled(warm, name):
    assert warm.first[name].right
    assert warm.first[name].compiled > 0
    second = first_calls(name, FASTCONV_CACHE_DIR=str(warm.cache))[name]
    assert second.right
    assert second.compiled == 0
    assert second.loaded >= warm.first[name].compiled


def test_every_compiled_function_is_one_file(warm):
    assert len(stored(warm.cache)) == sum(counted.compiled for counted in warm.first.values())


def test_another_vector_width_shares_no_tile_with_the_widest(copy):
    before = len(stored(copy))
    # narrower than the widest that any processor has, so it cannot be what the first process had
    settings = {"FASTCONV_CACHE_DIR": str(copy), "FASTCONV_VECTOR_BITS": "128"}
    narrow = first_calls("direct", **settings)["direct"]
    if narrow.compiled == 0:
        pytest.skip("this processor's widest vectors have 128 bits")
    assert narrow.right
    assert narrow.loaded > 0  # the driver holds no vectors of ours
    assert len(stored(copy)) == before + narrow.compiled
    assert first_calls("direct", **settings)["direct"].compiled == 0


def halve(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) * 2 // 3] ^= 0x10
    path.write_bytes(content)


def replace_by_noise(path: Path) -> None:
    path.write_bytes(bytes(range(256)) * 20)


@pytest.mark.parametrize("damage", [halve, empty, flip_a_bit, replace_by_noise])
def test_damaged_files_are_compiled_again_and_repaired(copy, warm, damage: Callable[[Path], None]):
    tiles = [path for path in stored(copy) if path.name.startswith("tile")]
    assert tiles
    for path in tiles:
        damage(path)
    again = first_calls(*TILED, FASTCONV_CACHE_DIR=str(copy))
    assert all(counted.right for counted in again.values())
    assert sum(counted.compiled for counted in again.values()) == len(tiles)
    repaired = first_calls(*TILED, FASTCONV_CACHE_DIR=str(copy))
    assert all(counted.right and counted.compiled == 0 for counted in repaired.values())
    assert len(stored(copy)) == len(stored(warm.cache))


def test_damage_to_every_file_costs_no_more_than_an_empty_cache(copy, warm):
    for path in stored(copy):
        halve(path)
    again = first_calls("direct", FASTCONV_CACHE_DIR=str(copy))["direct"]
    assert again.right
    assert again.compiled == warm.first["direct"].compiled


def test_a_directory_in_the_place_of_a_file_does_no_harm(copy):
    tile = next(path for path in stored(copy) if path.name.startswith("tile"))
    tile.unlink()
    tile.mkdir()
    again = first_calls(*TILED, FASTCONV_CACHE_DIR=str(copy))
    assert all(counted.right for counted in again.values())
    assert sum(counted.compiled for counted in again.values()) == 1
    assert not any(path.name.startswith("tmp") for path in stored(copy))  # half-stored code


def test_processes_that_start_together_share_an_empty_cache(tmp_path, warm):
    command = [sys.executable, "-W", "error", "-c", PROGRAM, "direct"]
    environment = {**os.environ, "FASTCONV_CACHE_DIR": str(tmp_path)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    together = [subprocess.Popen(command, env=environment, **pipes) for _ in range(2)]
    for process in together:
        written, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
        assert json.loads(written)["direct"]["right"]
    assert len(stored(tmp_path)) == warm.first["direct"].compiled
    assert first_calls("direct", FASTCONV_CACHE_DIR=str(tmp_path))["direct"].compiled == 0


# ----------------------------------------------------------- where nothing can be kept, or found

# Root may write everywhere until it gives up its capabilities (capget(2): version 3, 64 bits).
WITHOUT_PRIVILEGES = """
import ctypes
header, none = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
assert ctypes.CDLL(None).capset(header, none) == 0
"""
linux_only = pytest.mark.skipif(sys.platform != "linux", reason="capset is called by its name")
posix_only = pytest.mark.skipif(os.name != "posix", reason="HOME is POSIX's")


@linux_only
def test_a_read_only_cache_directory(tmp_path):
    tmp_path.chmod(0o555)
    try:
        counted = first_calls(
            "direct", prelude=WITHOUT_PRIVILEGES, FASTCONV_CACHE_DIR=str(tmp_path)
        )["direct"]
    finally:
        tmp_path.chmod(0o755)
    assert counted.right
    assert counted.compiled > 0
    assert stored(tmp_path) == []


@linux_only
def test_a_warm_cache_that_became_read_only(copy):
    folders = [copy, *(path for path in copy.rglob("*") if path.is_dir())]
    before = stored(copy)
    for folder in folders:
        folder.chmod(0o555)
    try:
        again = first_calls("direct", prelude=WITHOUT_PRIVILEGES, FASTCONV_CACHE_DIR=str(copy))
    finally:
        for folder in folders:
            folder.chmod(0o755)
    assert again["direct"].right
    assert stored(copy) == before


def test_a_cache_directory_that_is_a_file(tmp_path):
    path = tmp_path / "file"
    path.write_text("not a directory")
    counted = first_calls("direct", FASTCONV_CACHE_DIR=str(path))["direct"]
    assert counted.right
    assert counted.compiled > 0
    assert path.read_text() == "not a directory"


def clean_path() -> dict[str, str]:
    """Return what a process without an environment still needs to find the package."""
    return {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


@posix_only
def test_a_home_that_is_no_directory(tmp_path):
    home = tmp_path / "home"
    home.write_text("not a directory")
    counted = first_calls("direct", clean=True, cwd=tmp_path, HOME=str(home), **clean_path())
    assert counted["direct"].right
    assert [path.name for path in tmp_path.iterdir()] == ["home"]


@posix_only
def test_no_home_at_all(tmp_path):
    """A container may run under a number that no user has: neither HOME nor an entry for it."""
    nobody = """
try:
    import pwd
except ImportError:
    pass
else:
    def getpwuid(number):
        raise KeyError(number)
    pwd.getpwuid = getpwuid
"""
    counted = first_calls("direct", prelude=nobody, clean=True, cwd=tmp_path, **clean_path())
    assert counted["direct"].right
    assert list(tmp_path.iterdir()) == []  # no directory called "~"


@posix_only
def test_no_home_but_a_cache_directory(warm, tmp_path):
    counted = first_calls(
        *TILED, clean=True, cwd=tmp_path, FASTCONV_CACHE_DIR=str(warm.cache), **clean_path()
    )
    assert all(one.right and one.compiled == 0 for one in counted.values())

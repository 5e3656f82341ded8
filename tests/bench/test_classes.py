"""What a benchmark on a device says of each class; and its tables without the library that draws them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import fastconv
from fastconv.bench.device.classes import CLASSES, WINOGRAD, class_of, class_table
from fastconv.bench.kinds import kind_of
from fastconv.bench.results import LayerResult, Outcome, SuiteResult
from fastconv.problem import parse


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("conv2d,n1,c64,56x56,k64,3x3,p1,float32", "dense"),
        ("conv2d,n1,c3,224x224,k64,7x7,s2,p3,float32", "dense"),
        ("conv2d,n1,c64,56x56,k64,7x7,p3,float32", "large kernels"),
        ("conv2d,n1,c1,512x512,k1,31x31,p15,float32", "large kernels"),
        ("conv2d,n1,c32,56x56,k32,3x3,p1,g32,float32", "depthwise"),
        ("conv2d,n1,c32,56x56,k32,3x3,p1,g4,float32", "grouped"),
        ("max_pool2d,n1,c64,112x112,3x3,s2,p1,float32", "pooling"),
    ],
)
def test_class_of(text, name):
    assert class_of(parse(text)) == name
    assert name in CLASSES


def layer(text, **milliseconds):
    """Return a result with these times; the kind of each contender is that of its name."""
    kinds = {"auto": "auto", "cudnn": "peer", "tf32": "coarser"}
    outcomes = tuple(
        Outcome(name, kinds.get(name, "algorithm"), minimum_ms=taken) for name, taken in milliseconds.items()
    )
    return LayerResult("layer", text, kind_of(parse(text)), 1, 1, 10**6, "direct", outcomes)


def suite(name, batch, *layers):
    return SuiteResult(name, "", batch, 1, "float32", "channels_first", 1.0, 10.0, layers, "a device")


def test_means_are_those_of_classes():
    dense = "conv2d,n32,c64,56x56,k64,3x3,p1,float32"
    suites = (
        suite("vgg16", 32, layer(dense, auto=2.0, winograd_4x4=1.0, cudnn=1.0, tf32=0.5)),
        suite("vgg16", 1, layer(dense.replace("n32", "n1"), auto=1.0, cudnn=2.0)),
        suite("pooling", 32, layer("max_pool2d,n1,c1,8x8,2x2,s2,float32", auto=0.2, cudnn=0.3)),
    )
    lines = str(class_table(suites)).splitlines()
    rows = {line.split("  ")[0]: line for line in lines if not line.startswith(" ")}
    assert rows["dense"].split()[1:6] == ["2", "1.00", "0.50", "1", "of"]  # (1/2 * 2/1) ** (1/2), the worst, a loss
    assert "0.25" in rows["dense"]  # with TF32 on
    assert rows["pooling"].split()[-1] == "0.50"  # 1e6 bytes in 0.2 ms are 5 GB/s, of 10
    (fast,) = (line for name, line in rows.items() if name.startswith(WINOGRAD))
    assert "1.00" in fast
    assert [line.split(",")[0] for line in lines if line.startswith("  batch")] == ["  batch 32", "  batch 1"]


def test_tables_without_rich(tmp_path):
    program = """
import sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("rich", "click", "platformdirs", "filelock"):
            raise ModuleNotFoundError(name, name=name)

sys.meta_path.insert(0, Missing())
from fastconv.bench import table
from fastconv.bench.device.command import main
from fastconv.bench.results import LayerResult, Outcome

problem = "conv2d,n1,c1,5x5,k1,3x3,float32"
outcomes = (Outcome("auto", "auto", minimum_ms=1.25), Outcome("cudnn", "peer", failure="it is wrong"))
print(table.layer_table((LayerResult("first", problem, "3x3", 1, 1, 1, "direct", outcomes),)))
sys.exit(main(["lenet"]))
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(fastconv.__file__).parents[1])}
    environment.pop("FASTCONV_CACHE_DIR", None)
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert "is neither a suite" in done.stderr
    assert "1.25" in done.stdout
    assert "WRONG" in done.stdout

"""What is measured of tensor cores on a device: of one precision on both sides of each ratio."""

from __future__ import annotations

import pytest

from fastconv.bench.device import LAYOUTS, SUITES
from fastconv.bench.device.classes import class_table
from fastconv.bench.device.command import all_jobs
from fastconv.bench.device.tensor_cores import (
    ALGORITHMS,
    TARGETS,
    cudnns_arrays,
    is_rounded,
    precision_of,
    precision_table,
)
from fastconv.bench.kinds import kind_of
from fastconv.bench.results import LayerResult, Outcome, SuiteResult
from fastconv.bench.suites import suite
from fastconv.problem import parse

CONV = "conv2d,n32,c64,56x56,k64,3x3,p1"


@pytest.mark.parametrize(
    ("text", "precision", "arrays"),
    [
        (f"{CONV},float32", "ieee", "float32"),
        (f"{CONV},float64", "ieee", "float64"),
        (f"{CONV},tf32,float32", "tf32", "float32"),
        (f"{CONV},bf16,float32", "bf16", "bfloat16"),
        (f"{CONV},fp16,float32", "fp16", "float16"),
        (f"{CONV},float16", "fp16", "float16"),
        (f"{CONV},input_gradient,bfloat16", "bf16", "bfloat16"),
        ("max_pool2d,n32,c64,56x56,3x3,float16", "ieee", "float16"),  # nothing is multiplied
    ],
)
def test_precisions(text, precision, arrays):
    problem = parse(text)
    assert (precision_of(problem), cudnns_arrays(problem)) == (precision, arrays)
    assert is_rounded(problem) == (precision != "ieee")


def test_all_layers_in_all_precisions_and_layouts():
    jobs = TARGETS["tensor_cores"](32, LAYOUTS)
    found = [layer.problem for job in jobs for layer in job.layers]
    assert len(found) == len(set(found)) == 5 * 2 * sum(len(suite(name).rows) for name in ("resnet50", "vgg16"))
    kinds = {(one.dtype, one.precision) for one in found}
    rounded = {("float32", name) for name in ("tf32", "bf16", "fp16")}
    assert kinds == {*rounded, ("float16", "ieee"), ("bfloat16", "ieee")}
    assert {one.layout for one in found} == set(LAYOUTS)
    assert {one.batch for one in found} == {32}
    assert {job.algorithms for job in jobs} == {ALGORITHMS}
    assert jobs[0].name == "resnet50 tf32"
    assert all(len({precision_of(layer.problem) for layer in job.layers}) == 1 for job in jobs)


def test_gradients_of_some_layers():
    jobs = TARGETS["gradients"](32, LAYOUTS)
    found = [layer.problem for job in jobs for layer in job.layers]
    assert {one.direction for one in found} == {"input_gradient", "weight_gradient"}
    assert {precision_of(one) for one in found} == {"ieee", "tf32", "bf16"}
    assert len(found) == 2 * 3 * 2 * 5
    for job in jobs:
        assert job.algorithms == (ALGORITHMS if is_rounded(job.layers[0].problem) else ("im2col",))


def test_targets_stand_beside_suites_once():
    jobs = all_jobs(SUITES)
    names = [job.name for job in jobs]
    assert names[0] == "resnet50"
    added = [job for job in jobs if job.algorithms is not None]
    assert len(added) == sum(len(more(32, LAYOUTS)) for more in TARGETS.values())
    assert {job.layers[0].problem.batch for job in added} == {32}
    last = max(index for index, job in enumerate(jobs) if job.algorithms is not None)
    assert {job.layers[0].problem.batch for job in jobs[last + 1 :]} == {1}  # of less weight
    assert [job.name for job in all_jobs(("gradients",), (8,), LAYOUTS[:1])] == [
        *("resnet50 input_gradient", "resnet50 weight_gradient"),
        *("resnet50 input_gradient tf32", "resnet50 weight_gradient tf32"),
        *("resnet50 input_gradient", "resnet50 weight_gradient"),
    ]


def layer(name, text, mma, wgmma, cudnn, cudnn_last):
    """Return a result with these milliseconds."""
    times = {"implicit_gemm_mma": mma, "implicit_gemm_wgmma": wgmma}
    outcomes = [Outcome(one, "algorithm", minimum_ms=ms, gflops=1e6) for one, ms in times.items() if ms is not None]
    outcomes += [
        Outcome("cudnn", "peer", minimum_ms=cudnn),
        Outcome("cudnn channels_last", "peer", minimum_ms=cudnn_last),
        Outcome("cudnn tf32", "coarser", minimum_ms=1e-9),  # is in no ratio
    ]
    return LayerResult(name, text, kind_of(parse(text)), 1, 1, 10**6, "direct", tuple(outcomes))


def suite_of(layout, *layers):
    return SuiteResult("resnet50", "", 32, 1, "float32", layout, None, 10.0, layers, "a device")


def test_means_the_best_and_the_worst_by_hand():
    first, last = f"{CONV},tf32,float32", f"{CONV},channels_last,tf32,float32"
    suites = (
        suite_of("channels_first", layer("a", first, 1.0, None, 0.5, 0.25)),
        suite_of(
            "channels_last",
            layer("a", last, 2.0, 0.5, 0.5, 1.0),
            layer("b", last, 1.0, 0.5, 4.0, 2.0),
            layer("c", f"{CONV},channels_last,bfloat16", 1.0, 1.0, 3.0, 3.0),
            layer("d", f"{CONV},channels_last,float32", 1.0, 1.0, 9.0, 9.0),  # of which class_table speaks
        ),
    )
    rows = [line for line in str(precision_table(suites)).splitlines() if "implicit_gemm" in line]
    assert len(rows) == 5
    mma_first, mma_last, wgmma_last = rows[0], rows[1], rows[2]
    assert mma_first.startswith("float32, tf32")
    numbers = mma_first.split("implicit_gemm_mma")[1].split()
    assert numbers[:4] == ["1", "0.50", "0.25", "0.50"]  # cuDNN's contiguous / it, its best / it, the best layer
    assert "1000 TFLOP/s, 0.10 of copies" in mma_first  # 1e6 bytes in 1 ms are 1 GB/s, of 10
    numbers = mma_last.split("implicit_gemm_mma")[1].split()
    assert numbers[:4] == ["2", "1.00", "0.71", "2.00"]  # (1/2 * 2/1) ** (1/2), (1/4 * 2/1) ** (1/2)
    assert "resnet50 b, batch 32, channels_last" in mma_last
    assert wgmma_last.split("implicit_gemm_wgmma")[1].split()[:2] == ["2", "2.83"]
    assert rows[3].startswith("bfloat16, bf16 ")
    assert "0.10 of copies" in rows[3]


def test_arrays_of_cudnn_that_are_others_are_said():
    text = f"{CONV},bf16,float32"
    lines = str(precision_table([suite_of("channels_first", layer("a", text, 1.0, 1.0, 1.0, 1.0))])).splitlines()
    row, _ = [line for line in lines if "implicit_gemm" in line]
    assert row.split("  ")[0].startswith("float32, bf16 ")
    assert "bfloat16, bf16" in row


def test_rounded_layers_are_in_no_class():
    rounded = layer("a", f"{CONV},tf32,float32", 1.0, 1.0, 1.0, 1.0)
    assert class_table([suite_of("channels_first", rounded)]).row_count == 0
    exact = layer("a", f"{CONV},weight_gradient,float32", 1.0, 1.0, 1.0, 1.0)
    assert "weight gradient" in str(class_table([suite_of("channels_first", exact)]))
    assert precision_table([suite_of("channels_first", exact)]).row_count == 0

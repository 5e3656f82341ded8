"""PyTorch as the library of the benchmark on a device, all but its time: on the processor it has the same names."""

from __future__ import annotations

import numpy as np
import pytest

from fastconv.bench.operations import operation_of
from fastconv.problem import parse

PROBLEMS = [
    "conv2d,n3,c4,9x8,k6,3x3,s2,p1,g2,float32",
    "conv2d,n2,c4,9x8,k6,3x3,p1,channels_last,float32",
    "conv2d,n1,c4,9x8,k6,3x3,p0:1,float64",
    "conv1d,n2,c4,9,k6,3,p1,d2,float32",
    "conv2d,n2,c2,6x5,k3,3x3,flip,float32",  # which PyTorch has not: the reference computes it
    "conv2d,n3,c4,9x8,k6,3x3,s2,p1,g2,input_gradient,float32",
    "conv2d,n3,c4,9x8,k6,3x3,p1,channels_last,weight_gradient,float32",
    "conv1d,n2,c4,9,k6,3,p1,d2,weight_gradient,float64",
    "conv2d,n2,c2,6x5,k3,3x3,flip,input_gradient,float32",
    "max_pool2d,n3,c4,9x8,3x3,s2,p1,ceil,float32",
    "avg_pool2d,n2,c4,9x8,3x3,p1,exclude_pad,channels_last,float32",
    "lp_pool2d,n1,c3,10x11,3x3,s2,norm2,float32",
]


@pytest.fixture
def library():
    """PyTorch on the processor."""
    pytest.importorskip("torch")
    from fastconv.bench.device.cudnn import PyTorch

    return PyTorch("cpu")


@pytest.mark.parametrize("text", PROBLEMS)
def test_what_is_right(text, library, monkeypatch):
    monkeypatch.setattr("fastconv.bench.device.cudnn._CHUNK", 1)  # an image at a time
    problem = parse(text)
    arrays = library.draw(problem)
    assert [tuple(one.shape) for one in arrays] == list(operation_of(problem).shapes(problem))
    assert all(0.5 <= float(one.abs().min()) <= float(one.abs().max()) <= 1 for one in arrays)
    found = library.expected(problem, arrays)
    exact = [one.double().numpy() for one in arrays]
    np.testing.assert_allclose(found.numpy(), operation_of(problem).reference(problem, *exact), rtol=1e-12, atol=1e-12)
    assert library.error(found.to(dtype=arrays[0].dtype), found) < 1e-7
    assert library.error(2 * found, found) == pytest.approx(1)


@pytest.mark.parametrize("text", PROBLEMS)
def test_rivals_compute_the_same(text, library):
    problem = parse(text)
    arrays = library.draw(problem)
    right = library.expected(problem, arrays)
    for rival in library.rivals(problem).values():
        run = rival.prepare(problem, *arrays)
        if not isinstance(run, str):
            found = run()
            assert found.shape == right.shape
            assert library.error(found, right) <= rival.limit


def test_which_rivals_there_are(library):
    def names(text):
        return {name: rival.kind for name, rival in library.rivals(parse(text)).items()}

    def formats(name, kind="peer"):
        return {name: kind, f"{name} channels_last": kind}

    assert names(PROBLEMS[0]) == {**formats("cudnn"), **formats("cudnn tf32", "coarser")}
    assert names(PROBLEMS[2]) == names("max_pool2d,n3,c4,9x8,3x3,float32") == formats("cudnn")
    assert names("max_pool2d,n3,c4,9x8,3x3,bfloat16") == formats("cudnn")
    assert names("lp_pool2d,n1,c3,10x11,3x3,s2,norm2,float32") == {}
    for direction in ("", "input_gradient,", "weight_gradient,"):  # of one precision with what they are peers of
        conv = f"conv2d,n3,c4,9x8,k6,3x3,{direction}"
        assert names(f"{conv}tf32,float32") == formats("cudnn tf32")
        assert names(f"{conv}bf16,float32") == names(f"{conv}bfloat16") == formats("cudnn bfloat16")
        assert names(f"{conv}fp16,float32") == names(f"{conv}float16") == formats("cudnn float16")
        assert names(f"{conv}float64") == formats("cudnn")


@pytest.mark.parametrize("direction", ["", "input_gradient,", "weight_gradient,"])
@pytest.mark.parametrize("layout", ["", "channels_last,"])
@pytest.mark.parametrize("kind", ["tf32,float32", "bf16,float32", "fp16,float32", "float16", "bfloat16"])
def test_rivals_of_rounded_factors(direction, layout, kind, library):
    import torch

    problem = parse(f"conv2d,n3,c4,9x8,k6,3x3,s2,p1,{layout}{direction}{kind}")
    arrays = library.draw(problem)
    right = library.expected(problem, arrays)
    rivals = library.rivals(problem)
    assert len(rivals) == 2
    for name, rival in rivals.items():
        found = rival.prepare(problem, *arrays)()
        assert found.shape == right.shape == problem.result_shape
        halves = [each for each in ("bfloat16", "float16") if each in name]
        assert found.dtype == getattr(torch, halves[0] if halves else "float32")
        error = library.error(found, right)
        assert error <= rival.limit
        assert (error > 1e-5) == bool(halves)


def test_each_way_sets_its_own_precision(library):
    import torch

    problem = parse(PROBLEMS[0])
    arrays = library.draw(problem)
    runs = {name: rival.prepare(problem, *arrays) for name, rival in library.rivals(problem).items()}
    for name in ("cudnn tf32", "cudnn", "cudnn tf32"):
        runs[name]()
        assert torch.backends.cudnn.allow_tf32 == ("tf32" in name)
        assert torch.backends.cudnn.benchmark
    library.expected(problem, arrays)
    assert not torch.backends.cudnn.benchmark
    assert not torch.backends.cudnn.allow_tf32


def test_figures(library):
    assert "torch" in library.figures
    assert library.ones(3, "float32").tolist() == [1, 1, 1]

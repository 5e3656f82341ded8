"""Convolution by Fourier transforms on a device: by hand, lines, every kernel's PTX against the reference, NaN."""

from __future__ import annotations

import numpy as np
import pytest
from machine_code import machine_code

import fastconv
from fastconv.cuda.compile import Float, Kernel, Pointer
from fastconv.problem import ConvProblem

LIMITS = {"float32": 1e-6, "float64": 1e-14}  # relative error in the 2-norm

# Sizes of the transform, and a problem; each has something that is odd: channels and filters that are no pairs, tiles
# that are cut off, several of them, padding, groups, gaps, strides. Few sizes, so that few kernels are compiled.
PROBLEMS = [
    ((8, 12), "conv2d,n2,c3,13x17,k5,3x5,p1,float32"),
    ((8, 12), "conv2d,n2,c5,9x11,k6,2x3,p2:1x0,d3x2,channels_last,float32"),
    ((8, 12), "conv2d,n1,c12,7x20,k14,2x3,s2x3,p1,g2,float32"),
    ((8, 12), "conv2d,n1,c4,11x9,k8,5x5,s2,p2,flip,float32"),
    ((8, 12), "conv2d,n2,c6,7x17,k6,3x5,p1x2,g6,float32"),  # without matrices
    ((8, 12), "conv2d,n1,c9,8x14,k6,3x3,p1,g3,channels_last,float32"),
    ((16, 20), "conv2d,n1,c3,7x15,k5,16x4,p8x2,flip,float64"),
    ((1, 24), "conv1d,n2,c3,50,k5,7,s2,p2,d2,float32"),
]

SIZES = [("float32", size) for size in (8, 12, 16, 20, 24, 32, 40, 48, 64)] + [("float64", 20), ("float64", 48)]
COUNT = 0  # what `_lines` is specialised by

# Every kernel of the largest tiles, and of those without a sum over channels.
CODE = (
    "conv2d,n8,c64,56x56,k64,33x33,p16,float32",
    "conv2d,n8,c64,56x56,k64,33x33,p16,g64,float32",
    "conv2d,n8,c64,56x56,k64,27x27,p13,float64",
)
OTHERS = ("fastconv_direct", "fastconv_clear")  # kernels of a plan that are tested elsewhere


@pytest.fixture
def sized(compiler, monkeypatch):
    """Let transforms have given sizes along each axis, whatever would take the least time, and products one tile."""
    from fastconv.cuda import fft_plan

    monkeypatch.setitem(fft_plan.TILES, "float32", fft_plan.TILES["float32"][-1:])

    def size(height, width):
        cuts = fft_plan.cuts

        def given(problem):
            monkeypatch.setattr(fft_plan, "SIZES", dict.fromkeys(LIMITS, sorted({height, width})))
            return [cut for cut in cuts(problem) if cut[0] == (height, width)]

        monkeypatch.setattr(fft_plan, "cuts", given)
        fft_plan.divide.cache_clear()
        fastconv.clear_cache()

    yield size
    fft_plan.divide.cache_clear()


def drawn(problem, seed=0):
    """Return x, weight, bias and residual."""
    random = np.random.default_rng(seed)
    shapes = problem.input_shape, problem.weight_shape, (problem.filters,), problem.output_shape
    return [random.uniform(-1, 1, shape).astype(problem.dtype) for shape in shapes]


def called(problem, x, weight, bias=None, residual=None, *, algorithm):
    function = getattr(fastconv, f"conv{problem.rank}d")
    arguments = {**problem.arguments(), "residual": residual, "activation": "relu", "algorithm": algorithm}
    return function(x, weight, bias, **arguments)


def convolve(device, problem, *operands):
    """Return the result of a device, with an activation."""
    on_device = [None if each is None else device.array(each) for each in operands]
    return device.numpy(called(problem, *on_device, algorithm="fft"))


def expected(problem, *operands):
    """Return the result of the definition, likewise, in float64."""
    return called(problem, *(each.astype(np.float64) for each in operands), algorithm="reference")


def test_a_delta_kernel_copies(sized, device):
    """The one in the corner of nine: the image, one further down and to the right."""
    sized(8, 12)
    image = np.arange(1, 36, dtype=np.float32).reshape(5, 7)
    weight = np.zeros((1, 1, 3, 3), np.float32)
    weight[..., 0, 0] = 1
    problem = ConvProblem.parse("conv2d,n1,c1,5x7,k1,3x3,p1,float32")
    wanted = np.zeros((5, 7))
    wanted[1:, 1:] = image[:-1, :-1]
    np.testing.assert_allclose(convolve(device, problem, image[None, None], weight)[0, 0], wanted, rtol=0, atol=2e-5)


def _lines(x: Pointer, y: Pointer) -> None:
    """Transform two lines: elements side by side, first all real parts."""
    shared = cuda.shared.array(4 * COUNT, Float)  # noqa: F821
    thread = int32(cuda.threadIdx.x)  # noqa: F821
    for i in range(thread, 4 * COUNT, 32):
        put(shared, int32(i), load(x, i))  # noqa: F821
    cuda.syncthreads()  # noqa: F821
    if thread < 2:
        transform_line(shared, thread, int32(thread + 2 * COUNT), 2, COUNT)  # noqa: F821
    cuda.syncthreads()  # noqa: F821
    for i in range(thread, 4 * COUNT, 32):
        store(y, i, get(shared, int32(i)))  # noqa: F821


@pytest.mark.parametrize(("dtype", "size"), SIZES)
def test_lines(dtype, size, interpreting):
    """Of every size in use, against NumPy."""
    from numba import cuda
    from numba.cuda.types import int32

    from fastconv.cuda import fft_plan, plan
    from fastconv.cuda.fourier import transform_line
    from fastconv.cuda.intrinsics import get, load, put, store

    assert {one for one in fft_plan.SIZES["float32"]} <= {one for _, one in SIZES}
    globals().update(cuda=cuda, int32=int32, transform_line=transform_line, get=get, load=load, put=put, store=store)
    x = np.random.default_rng(0).uniform(-1, 1, (2, size, 2)).astype(dtype)  # part, element, line
    arrays = interpreting.array(x), interpreting.empty(None, x.shape, dtype)
    target = plan.target(0)
    kernel = Kernel(_lines, dtype, 32, constants={"COUNT": size})
    step = target.step(kernel, (1, 1, 1), (plan.Operand(0), plan.Operand(1)), ())
    plan.Plan(target, (step,), 0).run([interpreting.look(each).pointer for each in arrays], 0)
    y = interpreting.numpy(arrays[1])
    wanted = np.fft.fft(x[0] + 1j * x[1].astype(np.float64), axis=0)
    assert np.linalg.norm(y[0] + 1j * y[1] - wanted) <= 0.3 * LIMITS[dtype] * np.linalg.norm(wanted)


@pytest.mark.parametrize(("size", "text"), PROBLEMS)
def test_problems(size, text, sized, device):
    from fastconv.cuda import fft_plan

    sized(*size)
    problem = ConvProblem.parse(text)
    assert fft_plan.divide(problem).size == size
    operands = drawn(problem)
    y, wanted = convolve(device, problem, *operands), expected(problem, *operands)
    assert y.dtype == problem.dtype
    assert np.linalg.norm(y - wanted) <= LIMITS[problem.dtype] * np.linalg.norm(wanted)


@pytest.mark.parametrize("groups", [1, 3])
def test_blocks_of_tiles_and_an_image_alone(groups, sized, interpreting, monkeypatch):
    """The last block is not full, and images are cut between blocks: sums are the same."""
    from fastconv.cuda import fft_plan

    sized(8, 12)
    filters, batch = (5, 70) if groups == 1 else (6, 9)  # of 2 tiles each, in blocks of 128 or of 8
    problem = ConvProblem.parse(f"conv2d,n{batch},c3,5x20,k{filters},3x3,g{groups},float32")
    x, weight, *_ = drawn(problem)
    whole = convolve(interpreting, problem, x, weight)
    alone = ConvProblem.parse(f"conv2d,n1,c3,5x20,k{filters},3x3,g{groups},float32")
    np.testing.assert_array_equal(convolve(interpreting, alone, x[7:8], weight), whole[7:8])
    monkeypatch.setattr(fft_plan, "MOST_SCRATCH", 0)
    sized(8, 12)
    interpreting.launches.clear()
    y = convolve(interpreting, problem, x, weight)
    names = [launch.name[9:] for launch in interpreting.launches]
    blocks = len(fft_plan.divide(problem).blocks)
    assert blocks > 1
    product = "multiply" if groups == 1 else "combine"
    assert names == ["weights", "clear", *["inputs", product, "outputs"] * blocks, "direct"]
    np.testing.assert_array_equal(y, whole)


def places(y):
    """Return where there are NaN, infinity and minus infinity."""
    return np.isnan(y).astype(int) + 2 * np.isposinf(y) + 3 * np.isneginf(y)


def test_nan_and_infinity_stay_where_they_are(sized, device):
    """Images that have none are as they are without the others: they are not computed again."""
    sized(8, 12)
    problem = ConvProblem.parse("conv2d,n5,c3,9x9,k5,3x5,p1,float32")
    x, weight, bias, residual = drawn(problem)
    clean = convolve(device, problem, x, weight, bias, residual)
    x[1, 0, 4, 1] = np.nan
    x[3, 0, 4, 0] = np.inf
    x[4, 1, 8, 0] = -np.inf
    y = convolve(device, problem, x, weight, bias, residual)
    with np.errstate(invalid="ignore"):
        wanted = expected(problem, x, weight, bias, residual)
    np.testing.assert_array_equal(places(y), places(wanted))
    finite = np.isfinite(wanted)
    np.testing.assert_allclose(y[finite], wanted[finite], rtol=0, atol=1e-5)
    np.testing.assert_array_equal(y[[0, 2]], clean[[0, 2]])
    assert (y[[1, 3, 4]] != clean[[1, 3, 4]]).any(axis=(1, 2, 3)).all()


def test_sums_that_overflow_on_the_way(sized, device):
    """The sum of a tile is no number, those of windows are."""
    sized(8, 12)
    problem = ConvProblem.parse("conv2d,n1,c3,9x9,k5,3x5,p1,float32")
    x, weight = np.full(problem.input_shape, 2e38, np.float32), np.full(problem.weight_shape, 1e-3, np.float32)
    np.testing.assert_allclose(convolve(device, problem, x, weight), expected(problem, x, weight), rtol=1e-5)


def test_a_layer_transforms_weights_once(sized, interpreting):
    sized(8, 12)
    x, weight = (interpreting.array(np.ones(shape, np.float32)) for shape in ((2, 3, 9, 9), (5, 3, 3, 5)))
    layer = fastconv.Conv2d(weight, padding=1, algorithm="fft", activation="relu")
    first, second = (interpreting.numpy(layer(x)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    names = [launch.name[9:] for launch in interpreting.launches]
    assert (names.count("weights"), names.count("inputs")) == (1, 2)


@pytest.mark.parametrize(("text", "reason"), [
    ("conv3d,n1,c2,8x8x8,k2,3x3x3,float32", "fft computes one and two dimensions on a device, not three"),
    ("conv2d,n1,c4,8x8,k4,1x1,float32", "fft needs a kernel of more than one element"),
    ("conv1d,n1,c1,999,k1,65,float32", "fft computes windows of at most 64 elements along an axis on a device, not 65"),
    ("conv2d,n1,c1,99x99,k1,9x13,d4,float64", "windows of at most 48 elements along an axis on a device, not 33x49"),
    ("conv2d,n1,c4,9x9,k4,3x3,int32", "fft computes float16, bfloat16, float32 and float64 on a device, not int32"),
    ("conv2d,n1,c4000,9x9,k40000,3x3,g1000,float32", "at most 65535 products of matrices, channels and filters"),
    ("conv2d,n1,c4096,9x9,k8192,3x3,float32", "takes spectra of weights and tiles of at most 2147483647 elements"),
])  # fmt: skip
def test_what_no_kernel_computes_is_refused(text, reason, compiler):
    from fastconv.cuda.fft import FFT

    assert reason in FFT().supports(ConvProblem.parse(text))


@pytest.mark.parametrize("text", [*CODE, "conv2d,n32,c64,224x224,k64,7x7,p3,float16", "conv1d,n9,c8,999,k8,9,float32"])
def test_the_workspace_is_bounded_and_said(text, compiler):
    from fastconv.cuda import fft_plan
    from fastconv.cuda.driver import Device
    from fastconv.cuda.fft import FFT

    problem = ConvProblem.parse(text)
    divided = fft_plan.divide(problem)
    u, v, m = (divided.item * count for count in divided.elements)
    assert v + m <= fft_plan.MOST_SCRATCH
    assert sum(tiles for _, tiles in divided.blocks) == divided.tiles
    assert {tiles for _, tiles in divided.blocks[:-1]} <= {divided.block_tiles}
    assert divided.block_tiles % divided.together == 0
    assert FFT().workspace(problem, Device()) == u + v + m + 4 * (1 + problem.batch)


def test_a_cut_does_not_depend_on_the_batch(compiler):
    from fastconv.cuda import fft_plan

    cuts = [fft_plan.divide(ConvProblem.parse(f"conv2d,n{n},c64,56x56,k64,9x9,p4,float32")) for n in (1, 3, 64)]
    assert len({(cut.size, cut.outputs, cut.tile is None) for cut in cuts}) == 1


def test_the_error_bound_is_that_of_the_tile(sized, compiler):
    from fastconv.cuda.fft import FFT

    sized(8, 12)
    bound = FFT().error_bound(ConvProblem.parse("conv2d,n1,c9,9x9,k8,3x3,float64"))
    assert bound == pytest.approx(4 * np.log2(96) * np.finfo(np.float64).eps)
    assert FFT().error_bound(ConvProblem.parse("conv2d,n1,c9,9x9,k8,3x3,bfloat16")) == 8e-3


@pytest.mark.parametrize("capability", [(8, 0), (9, 0)], ids=str)
@pytest.mark.parametrize("text", CODE)
def test_machine_code(text, capability, codes_of):
    codes = [code for code in codes_of(ConvProblem.parse(text), capability, "fft", "relu") if code.name not in OTHERS]
    assert len(codes) == 4
    for code in codes:
        found = machine_code(code.machine_code)
        assert (found.stack, found.local_accesses) == (0, 0)
        if "float32" in text:
            assert found.doubles == 0
            assert found.registers <= 168

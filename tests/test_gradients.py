"""Gradients of convolutions: cases that can be checked by hand, adjointness, and random ones by every algorithm."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastconv
from fastconv import reference
from fastconv.bench.suites import suite
from fastconv.problem import DIRECTIONS, LAYOUTS, PADDING_MODES, ConvProblem
from fastconv.selection import table, tuning

TOLERANCE = {"float32": 2e-6, "float64": 1e-14}  # of the relative error in the 2-norm
GRADIENTS = DIRECTIONS[1:]

#: Of each direction a problem that all its algorithms compute.
ANY = {
    "input_gradient": "conv2d,n1,c1,9x9,k1,3x3,p1,input_gradient",
    "weight_gradient": "conv1d,n1,c1,9,k1,1,weight_gradient",
}

EVERY = [
    (direction, entry.name)
    for direction in GRADIENTS
    for entry in table.GRADIENTS[direction]
    if entry.supports(ConvProblem.parse(f"{ANY[direction]},float64")) is None
]
every = pytest.mark.parametrize(("direction", "algorithm"), EVERY)


def call(problem, one, other, **others):
    """Call the public function of a problem's direction on its two operands."""
    arguments = {**problem.arguments(), **others}
    function = getattr(fastconv, f"conv{problem.rank}d_{problem.direction.partition('_')[0]}")
    if problem.direction == "input_gradient":
        return function(problem.input_shape, other, one, **arguments)
    return function(one, problem.weight_shape, other, **arguments)


def whole_numbers(problem, seed=0):
    """Return operands whose products and sums are exact."""
    random = np.random.default_rng(seed)
    return [random.integers(-4, 5, shape).astype(problem.dtype) for shape in problem.operand_shapes]


def misaligned(array):
    view = np.zeros(array.nbytes + 1, np.uint8)[1:].view(array.dtype).reshape(array.shape)
    view[...] = array
    return view


#: Name -> function from an array to an equal one that lies otherwise.
INPUT_FORMS = {
    "Fortran": np.asfortranarray,
    "reversed": lambda array: np.flip(np.flip(array).copy()),
    "every second": lambda array: np.repeat(array, 2, axis=-1)[..., ::2],
    "misaligned": misaligned,
    "byte-swapped": lambda array: array.astype(array.dtype.newbyteorder()),
}

#: Name -> what of each axis of a larger array a result is, and how much larger that is.
OUTPUT_FORMS = {
    "inside": (1, 5, slice(2, -3)),
    "reversed": (1, 0, slice(None, None, -1)),
    "every second": (2, 0, slice(None, None, 2)),
}


@st.composite
def problems(draw, direction, batches=(1, 2, 3)):
    """Draw a gradient with everything random together."""
    rank = draw(st.integers(1, 3))

    def numbers(most, least=1):
        return draw(st.lists(st.integers(least, most), min_size=rank, max_size=rank))

    size, kernel, stride, dilation = numbers((24, 10, 6)[rank - 1]), numbers(4), numbers(4), numbers(4)
    mode = draw(st.sampled_from(("zeros", *PADDING_MODES)))
    limits = {"reflect": [w - 1 for w in size], "circular": size, "symmetric": size}.get(mode, [4] * rank)
    padding = [[draw(st.integers(0, min(4, limit))) for _ in range(2)] for limit in limits]
    fields = [d * (f - 1) + 1 for d, f in zip(dilation, kernel, strict=True)]
    size = [max(w, field - sum(pair)) for w, field, pair in zip(size, fields, padding, strict=True)]
    groups = draw(st.integers(1, 4))
    return ConvProblem(
        dtype=draw(st.sampled_from(["float32", "float64"])),
        batch=draw(st.sampled_from(batches)),
        channels=groups * draw(st.integers(1, 9)),
        size=tuple(size),
        filters=groups * draw(st.integers(1, 9)),
        kernel=tuple(kernel),
        stride=tuple(stride),
        padding=tuple(map(tuple, padding)),
        dilation=tuple(dilation),
        groups=groups,
        padding_mode=mode,
        flip=draw(st.booleans()),
        layout=draw(st.sampled_from(LAYOUTS)),
        direction=direction,
    )


# --- by hand --------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["auto", "direct", "im2col", "inner_product", "reference"])
@pytest.mark.parametrize(
    ("arguments", "size", "grad", "expected"),
    [
        ({}, 4, [1, 2], [1, 12, 120, 200]),
        ({"flip": True}, 4, [1, 2], [100, 210, 21, 2]),
        ({"padding": 1}, 2, [1, 2], [12, 120]),
        ({"padding": [(0, 1)]}, 3, [1, 2], [1, 12, 120]),
        ({"padding": "same"}, 3, [1, 2, 3], [12, 123, 230]),
        ({"padding": 3}, 1, [1, 2, 3, 4, 5], [234]),  # of which the outermost windows see nothing
        ({"stride": 2}, 5, [1, 2], [1, 10, 102, 20, 200]),
        ({"stride": 2}, 6, [1, 2], [1, 10, 102, 20, 200, 0]),  # no window reaches the last
        ({"stride": 4}, 7, [1, 2], [1, 10, 100, 0, 2, 20, 200]),  # nor any the fourth
        ({"stride": 2, "padding": 1}, 4, [1, 2], [10, 102, 20, 200]),
        ({"dilation": 2}, 6, [1, 2], [1, 2, 10, 20, 100, 200]),
        ({"dilation": 2, "stride": 2}, 7, [1, 2], [1, 0, 12, 0, 120, 0, 200]),
        ({"dilation": 2, "stride": 3}, 8, [1, 2], [1, 0, 10, 2, 100, 20, 0, 200]),
        ({"padding": 1, "padding_mode": "replicate"}, 3, [1, 2, 3], [13, 123, 530]),
        ({"padding": 1, "padding_mode": "circular"}, 3, [1, 2, 3], [312, 123, 231]),
        ({"padding": 1, "padding_mode": "reflect"}, 3, [1, 2, 3], [12, 424, 230]),
        ({"padding": 1, "padding_mode": "symmetric"}, 3, [1, 2, 3], [13, 123, 530]),
    ],
)
def test_by_the_input(algorithm, arguments, size, grad, expected):
    # The weight 1, 10, 100 writes what an element is reached by as the digits of a number.
    weight, grad = np.array([[[1.0, 10.0, 100.0]]]), np.array([[grad]], np.float64)
    found = fastconv.conv1d_input((1, 1, size), weight, grad, algorithm=algorithm, **arguments)
    assert found.tolist() == [[expected]]


@pytest.mark.parametrize("algorithm", ["auto", "direct", "im2col", "inner_product", "reference"])
@pytest.mark.parametrize(
    ("arguments", "x", "grad", "expected"),
    [
        ({}, [1, 2, 3, 4], [1, 10], [21, 32, 43]),
        ({"flip": True}, [1, 2, 3, 4], [1, 10], [43, 32, 21]),
        ({"padding": 1}, [1, 2], [1, 10], [10, 21, 2]),
        ({"padding": [(0, 1)]}, [1, 2, 3], [1, 10], [21, 32, 3]),
        ({"stride": 2}, [1, 2, 3, 4, 5], [1, 10], [31, 42, 53]),
        ({"stride": 2}, [1, 2, 3, 4, 5, 9], [1, 10], [31, 42, 53]),
        ({"dilation": 2}, [1, 2, 3, 4, 5, 6], [1, 10], [21, 43, 65]),
        ({"padding": 1, "padding_mode": "replicate"}, [1, 2, 3], [1, 10, 100], [211, 321, 332]),
        ({"padding": 1, "padding_mode": "circular"}, [1, 2, 3], [1, 10, 100], [213, 321, 132]),
        ({"padding": 1, "padding_mode": "reflect"}, [1, 2, 3], [1, 10, 100], [212, 321, 232]),
        ({"padding": 1, "padding_mode": "symmetric"}, [1, 2, 3], [1, 10, 100], [211, 321, 332]),
    ],
)
def test_by_the_weight(algorithm, arguments, x, grad, expected):
    x, grad = np.array([[x]], np.float64), np.array([[grad]], np.float64)
    assert fastconv.conv1d_weight(x, (1, 1, 3), grad, algorithm=algorithm, **arguments).tolist() == [[expected]]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("algorithm", ["direct", "im2col", "inner_product", "reference"])
def test_groups_and_images(algorithm, layout):
    first = layout == "channels_first"
    weight = np.array([[1.0], [2.0], [3.0], [4.0]]).reshape(4, 1, 1, 1)  # of two groups
    grad = np.array([[1.0, 10.0, 100.0, 1000.0], [1.0, 1.0, 1.0, 1.0]]).reshape((2, 4, 1, 1) if first else (2, 1, 1, 4))
    size = (2, 2, 1, 1) if first else (2, 1, 1, 2)
    found = fastconv.conv2d_input(size, weight, grad, groups=2, layout=layout, algorithm=algorithm)
    assert found.reshape(2, 2).tolist() == [[21, 4300], [3, 7]]
    x = np.array([[1.0, 2.0], [3.0, 4.0]]).reshape(size)
    found = fastconv.conv2d_weight(x, weight.shape, grad, groups=2, layout=layout, algorithm=algorithm)
    assert found.ravel().tolist() == [4, 13, 204, 2004]


def test_integers_are_exact_and_int64():
    large = 2**53 + 1
    found = fastconv.conv1d_input((1, 1, 2), np.array([[[large]]]), np.array([[[1, -1]]]))
    assert found.dtype == np.int64
    assert found.tolist() == [[[large, -large]]]
    found = fastconv.conv1d_weight(np.array([[[large, 1]]]), (1, 1, 1), np.array([[[1, 1]]], np.int8))
    assert found.tolist() == [[[large + 1]]]
    with pytest.raises(OverflowError, match="2 products"):
        fastconv.conv1d_weight(np.full((1, 1, 2), 2**31), (1, 1, 1), np.full((1, 1, 2), 2**31))


def test_no_images():
    x, grad, weight = np.zeros((0, 2, 5, 5)), np.zeros((0, 3, 3, 3)), np.ones((3, 2, 3, 3))
    for algorithm in ("auto", "direct", "reference"):
        assert fastconv.conv2d_input(x.shape, weight, grad, algorithm=algorithm).shape == x.shape
        out = np.ones((3, 2, 3, 3))
        assert fastconv.conv2d_weight(x, weight.shape, grad, algorithm=algorithm, out=out) is out
        assert not out.any()


@pytest.mark.parametrize("layout", LAYOUTS)
def test_one_image_without_a_batch_axis(layout):
    problem = ConvProblem.parse(f"conv2d,n1,c2,5x6,k3,3x2,s2,p1,{layout},float64")
    for direction in GRADIENTS:
        one = replace(problem, direction=direction)
        first, second = whole_numbers(one)
        wanted = call(one, first, second)
        if direction == "input_gradient":
            found = fastconv.conv2d_input(one.input_shape[1:], second, first[0], stride=2, padding=1, layout=layout)
            assert found.tolist() == wanted[0].tolist()
        else:
            found = fastconv.conv2d_weight(
                first[0], one.weight_shape, second[0], stride=2, padding=1, layout=layout
            )
            assert found.tolist() == wanted.tolist()


def test_types_and_lists():
    found = fastconv.conv1d_input([1, 1, 2], [[[1.0, 2.0]]], np.array([[[3]]], np.float32))
    assert found.dtype == np.float64
    assert found.tolist() == [[[3, 6]]]


@pytest.mark.parametrize(("dtype", "many"), [("float16", 2048), ("bfloat16", 256)])
def test_halves_are_summed_wider_and_rounded_once(dtype, many):
    x, ones = np.array([[[many, 1, 1]]], dtype), np.ones((1, 1, 3), dtype)
    by_weight = fastconv.conv1d_weight(x, (1, 1, 1), ones)
    by_input = fastconv.conv1d_input((1, 1, 1), ones.reshape(3, 1, 1), x.reshape(1, 3, 1))
    transposed = fastconv.conv_transpose1d(x.reshape(1, 3, 1), ones.reshape(3, 1, 1))
    for found in (by_weight, by_input, transposed):
        assert found.dtype == dtype
        assert found.tolist() == [[[many + 2]]]


# --- the three are one bilinear form --------------------------------------------------------------


@settings(max_examples=60)
@given(
    drawn=problems("forward"), algorithm=st.sampled_from(["auto", "direct", "im2col", "reference"]), seed=st.integers(0)
)
def test_adjointness(drawn, algorithm, seed):
    """<conv(x, w), g> = <x, conv_input(w, g)> = <w, conv_weight(x, g)>, of whole numbers exactly."""
    problem, random = replace(drawn, dtype="float64"), np.random.default_rng(seed)
    shapes = problem.input_shape, problem.weight_shape, problem.output_shape
    x, weight, grad = (random.integers(-4, 5, shape).astype(np.float64) for shape in shapes)
    y = getattr(fastconv, f"conv{problem.rank}d")(x, weight, **problem.arguments(), algorithm="reference")
    by_input, by_weight = (replace(problem, direction=direction) for direction in GRADIENTS)
    exact = 1e-12 if algorithm == "auto" else 0  # of the sum of magnitudes: Winograd has fractions
    wanted = np.vdot(y, grad)
    scale = exact * max(1.0, np.vdot(np.abs(y), np.abs(grad)))
    assert abs(np.vdot(x, call(by_input, grad, weight, algorithm=algorithm)) - wanted) <= scale
    assert abs(np.vdot(weight, call(by_weight, x, grad, algorithm=algorithm)) - wanted) <= scale


# --- random problems, every algorithm --------------------------------------------------------------


@every
@settings(max_examples=25)
@given(data=st.data())
def test_random_gradients(direction, algorithm, data):
    problem = data.draw(problems(direction, batches=(1, 2, 3, 0)))
    (entry,) = (one for one in table.GRADIENTS[direction] if one.name == algorithm)
    if entry.supports(problem) is not None:
        with pytest.raises(fastconv.UnsupportedError):
            call(problem, *(np.zeros(shape, problem.dtype) for shape in problem.operand_shapes), algorithm=algorithm)
        return
    random = np.random.default_rng(data.draw(st.integers(0)))
    one, other = (random.uniform(0.5, 1.5, shape).astype(problem.dtype) for shape in problem.operand_shapes)
    exact = replace(problem, dtype="float64")
    wanted = call(exact, one.astype(np.float64), other.astype(np.float64), algorithm="reference")
    found = call(problem, one, other, algorithm=algorithm)
    assert found.dtype == problem.dtype
    limit = max(TOLERANCE[problem.dtype], entry.error_bound(problem))
    # by spectra and by tiles errors are relative to what a tile holds, of which some see only a corner
    spread = 1 if algorithm in ("direct", "im2col", "inner_product", "depthwise", "reference") else 10
    assert np.linalg.norm(found - wanted) <= spread * limit * np.linalg.norm(wanted)


@every
@pytest.mark.parametrize("form", sorted(INPUT_FORMS))
def test_any_strides_and_byte_order(direction, algorithm, form):
    groups = 3 if algorithm == "depthwise" else 1
    problem = ConvProblem.parse(f"conv2d,n2,c3,6x7,k3,3x3,p1,g{groups},{direction},float64")
    one, other = whole_numbers(problem)
    wanted = call(problem, one, other, algorithm=algorithm)
    found = call(problem, INPUT_FORMS[form](one), INPUT_FORMS[form](other), algorithm=algorithm)
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("direction", GRADIENTS)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("form", sorted(OUTPUT_FORMS))
def test_out_may_have_any_strides(form, layout, direction):
    problem = ConvProblem.parse(f"conv2d,n2,c3,6x7,k4,3x2,s2x1,p1,{layout},{direction},float64")
    one, other = whole_numbers(problem)
    shape = problem.result_shape
    times, more, taken = OUTPUT_FORMS[form]
    memory = np.full([times * extent + more for extent in shape], 77.0)
    out = memory[(taken,) * len(shape)]
    assert call(problem, one, other, out=out) is out
    assert out.tolist() == call(problem, one, other, algorithm="reference").tolist()
    out[...] = 77
    assert (memory == 77).all()


def test_out_may_overlap_an_operand():
    problem = ConvProblem.parse("conv2d,n1,c3,5x5,k3,3x3,p1,input_gradient,float64")
    grad, weight = whole_numbers(problem)
    wanted = call(problem, grad, weight, algorithm="reference")
    assert call(problem, grad, weight, out=grad) is grad
    assert grad.tolist() == wanted.tolist()


@pytest.mark.parametrize("direction", GRADIENTS)
def test_threads_and_batches_do_not_matter(direction, always_threads):
    problem = ConvProblem.parse(f"conv2d,n3,c5,9x8,k7,3x3,s2,p1,{direction},float32")
    random = np.random.default_rng(0)
    one, other = (random.standard_normal(shape).astype("f4") for shape in problem.operand_shapes)
    results = []
    for threads in (1, 2, 5):
        always_threads(threads)
        results.append(call(problem, one, other).tobytes())
    assert len(set(results)) == 1
    if direction == "input_gradient":
        alone = call(replace(problem, batch=1), one[1:2], other)
        assert alone.tobytes() == call(problem, one, other)[1:2].tobytes()


# --- layers of real networks ------------------------------------------------------------------------

LAYERS = [
    (name, layer.name, layer.problem)
    for name, wanted in {"resnet50": ("conv3_1b", "conv5_1p", "conv5_2b"), "resnext50": ("conv4_2b",)}.items()
    for layer in suite(name).layers()
    if layer.name in wanted
]


@pytest.mark.parametrize("direction", GRADIENTS)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("name", "layer", "problem"), LAYERS)
def test_layers(name, layer, problem, layout, direction):
    problem = replace(problem, direction=direction, layout=layout)
    random = np.random.default_rng(0)
    one, other = (random.uniform(-1, 1, shape).astype("f4") for shape in problem.operand_shapes)
    wanted = call(problem, one.astype("f8"), other.astype("f8"), algorithm="reference")
    found = call(problem, one, other)
    assert np.linalg.norm(found - wanted) <= 2e-5 * np.linalg.norm(wanted)


@pytest.mark.parametrize("direction", GRADIENTS)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("text", ["c8,9x9,k6,3x3,p1", "c8,9x9,k6,3x3,s2,p1,d2,g2", "c6,10x9,k6,5x5,s2,p2,g6"])
def test_pytorchs_results(text, dtype, layout, direction):
    torch = pytest.importorskip("torch", exc_type=ImportError)
    problem = ConvProblem.parse(f"conv2d,n2,{text},{layout},{direction},{dtype}")
    random = np.random.default_rng(0)
    one, other = (random.uniform(-1, 1, shape).astype(dtype) for shape in problem.operand_shapes)

    def tensor(array):
        first = np.moveaxis(array, -1, 1) if layout == "channels_last" else array
        return torch.from_numpy(np.ascontiguousarray(first))

    others = problem.stride, [before for before, _ in problem.padding], problem.dilation, problem.groups
    if direction == "input_gradient":
        shape = problem.batch, problem.channels, *problem.size
        wanted = torch.nn.grad.conv2d_input(shape, torch.from_numpy(other), tensor(one), *others).numpy()
        wanted = np.moveaxis(wanted, 1, -1) if layout == "channels_last" else wanted
    else:
        wanted = torch.nn.grad.conv2d_weight(tensor(one), problem.weight_shape, tensor(other), *others).numpy()
    found = call(problem, one, other)
    assert np.linalg.norm(found - wanted) <= TOLERANCE[dtype] * np.linalg.norm(wanted)


# --- what is said, and refused ----------------------------------------------------------------------


@pytest.mark.parametrize("direction", GRADIENTS)
def test_what_is_said_of_a_gradient(direction):
    problem = ConvProblem.parse(f"conv2d,n2,c8,14x14,k8,3x3,p1,{direction},float32")
    explained = fastconv.explain(problem)
    assert explained.picked == fastconv.select(problem)
    cases_ = {case.name: case for case in explained.candidates}
    assert set(cases_) == set(fastconv.algorithms()) - {"separable"}
    for case in cases_.values():
        if case.predicted_seconds is not None:
            assert case.workspace_bytes > 0
            assert case.error_bound > 0
    assert (cases_["winograd_4x4"].reason is None) == (direction == "input_gradient")
    assert cases_["depthwise"].reason.startswith("depthwise reads one channel a filter, not ")
    assert ", in conv" in cases_["depthwise"].reason


@pytest.mark.parametrize("text", [
    "conv2d,n1,c3,20000x20000,k64,7x7,s2,p3",
    "conv2d,n1,c16384,7x7,k16,1x1",
    "conv2d,n1,c4096,64x64,k4096,3x3,g4096",
    "conv2d,n1000000,c3,8x8,k4,3x3,p1",
    "conv1d,n1,c2,1000000,k300,65536,d3,s2",
    "conv2d,n1,c3,4096x4096,k4,64x64,s64",
    "conv3d,n1,c64,200x200x200,k64,5x5x5,p2,reflect",
])  # fmt: skip
@pytest.mark.parametrize("direction", GRADIENTS)
def test_something_is_said_of_extreme_problems(text, direction):
    explained = fastconv.explain(ConvProblem.parse(f"{text},{direction},float32"))
    (picked,) = (case for case in explained.candidates if case.name == explained.picked)
    assert picked.predicted_seconds > 0
    assert picked.workspace_bytes >= 0


@pytest.mark.parametrize("text", [
    "conv2d,n3,c16,40x40,k8,3x3,p1",
    "conv2d,n2,c8,31x30,k24,5x5,s2,p2,channels_last",
    "conv2d,n2,c16,9x7,k16,3x3,p1,reflect",
    "conv1d,n4,c8,3000,k8,9,g2",
])  # fmt: skip
@pytest.mark.parametrize("direction", GRADIENTS)
@pytest.mark.parametrize("algorithm", ["direct", "im2col", "reference"])
def test_no_more_memory_is_taken_than_is_said(text, direction, algorithm):
    problem = ConvProblem.parse(f"{text},{direction},float32")
    (entry,) = (one for one in table.GRADIENTS[direction] if one.name == algorithm)
    operands, out = whole_numbers(problem), np.empty(problem.result_shape, np.float32)
    run = entry.prepared(problem, None)
    run(*operands, None, None, out)
    tracemalloc.start()
    try:
        run(*operands, None, None, out)
        assert tracemalloc.get_traced_memory()[1] <= entry.workspace(problem) + 100_000  # of Python's objects
    finally:
        tracemalloc.stop()


def test_phases_are_counted():
    problem = ConvProblem.parse("conv2d,n1,c1,128x128,k1,64x64,s64,input_gradient,float64")
    grad, weight = whole_numbers(problem)
    with pytest.raises(fastconv.UnsupportedError, match="1024 phases of strides at most, not 4096"):
        call(problem, grad, weight, algorithm="direct")
    assert fastconv.select(problem) == "reference"
    assert call(problem, grad, weight).tolist() == np.kron(grad[0, 0], weight[0, 0])[np.newaxis, np.newaxis].tolist()


@pytest.mark.parametrize("direction", GRADIENTS)
def test_tuning(direction):
    problem = ConvProblem.parse(f"conv1d,n1,c2,9,k2,3,{direction},float32")
    found = tuning.sweep(problem, tuning.contenders(problem, 1e-5), tuning.RIGOURS[0])
    assert set(found.seconds) >= {"direct", "im2col"}


def test_nothing_that_was_given_changes():
    for direction in GRADIENTS:
        for mode in PADDING_MODES:
            problem = ConvProblem.parse(f"conv2d,n1,c2,5x5,k3,3x3,p1,{mode},{direction},float64".replace("zeros,", ""))
            one, other = whole_numbers(problem)
            before = one.copy(), other.copy()
            call(problem, one, other)
            assert (one.tolist(), other.tolist()) == (before[0].tolist(), before[1].tolist())


def test_an_infinity_in_the_gradient_stays_where_it_is():
    grad, weight = np.zeros((1, 1, 5, 5), np.float32), np.ones((1, 1, 3, 3), np.float32)
    grad[0, 0, 2, 2] = np.nan
    for algorithm in ("auto", "direct", "im2col", "winograd_2x2", "fft", "reference"):
        found = fastconv.conv2d_input((1, 1, 5, 5), weight, grad, padding=1, algorithm=algorithm)
        np.testing.assert_array_equal(np.isnan(found[0, 0]), np.pad(np.ones((3, 3), bool), 1))


def test_reference_is_the_reference():
    problem = ConvProblem.parse("conv2d,n2,c3,6x7,k3,3x3,p1,float64")
    by_input, by_weight = (replace(problem, direction=direction) for direction in GRADIENTS)
    grad, weight = whole_numbers(by_input)
    wanted = reference.conv_input_gradient(problem, weight, grad)
    assert call(by_input, grad, weight, algorithm="reference").tolist() == wanted.tolist()
    x, grad = whole_numbers(by_weight)
    wanted = reference.conv_weight_gradient(problem, x, grad)
    assert call(by_weight, x, grad, algorithm="reference").tolist() == wanted.tolist()

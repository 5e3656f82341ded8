"""Random convolutions, everything drawn together, by every algorithm against the reference."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fastconv
from fastconv import reference, selection
from fastconv.arguments import padding_pairs
from fastconv.problem import ACTIVATIONS, LAYOUTS, PADDING_MODES, ConvProblem
from fastconv.selection import TABLE

FUNCTIONS = {1: fastconv.conv1d, 2: fastconv.conv2d, 3: fastconv.conv3d}
TOLERANCE = {"float32": 2e-6, "float64": 1e-14}  # of the relative error in the 2-norm

# --- how an array may lie in memory ---------------------------------------------------------------


def _every_second(array):
    view = np.zeros([2 * extent for extent in array.shape], array.dtype)
    view = view[(slice(None, None, 2),) * array.ndim]
    view[...] = array
    return view


def _misaligned(array):
    view = np.zeros(array.nbytes + 1, np.uint8)[1:].view(array.dtype).reshape(array.shape)
    view[...] = array
    return view


def _read_only(array):
    view = array.copy()
    view.flags.writeable = False
    return view


#: Name -> function from an array to an equal one.
INPUT_FORMS = {
    "contiguous": np.copy,
    "Fortran": np.asfortranarray,
    "reversed": lambda array: np.flip(np.flip(array).copy()),
    "every second": _every_second,
    "misaligned": _misaligned,
    "byte-swapped": lambda array: array.astype(array.dtype.newbyteorder()),
    "read-only": _read_only,
}

# What the memory around a result has on one axis: times as many elements, and some more; of which
# the result is a slice.
_ALL = (1, 0, slice(None))
_BACKWARDS = (1, 0, slice(None, None, -1))
_INSIDE = (1, 5, slice(2, -3))
_SECOND = (2, 0, slice(None, None, 2))

#: Name -> that on the channel axis, and on all others.
OUTPUT_FORMS = {
    "contiguous": (_ALL, _ALL),
    "slice of channels": (_INSIDE, _ALL),
    "inside": (_INSIDE, _INSIDE),
    "between": (_ALL, _INSIDE),
    "reversed": (_BACKWARDS, _BACKWARDS),
    "every second": (_SECOND, _SECOND),
    "every second channel": (_SECOND, _ALL),
}


def place_of(form, shape, channel_axis):
    """Return the shape of the memory around a result, and the slices that are the result."""
    of_channels, of_others = OUTPUT_FORMS[form]
    axes = [of_channels if axis == channel_axis else of_others for axis in range(len(shape))]
    around = [n * times + more for n, (times, more, _) in zip(shape, axes, strict=True)]
    return around, tuple(taken for *_, taken in axes)


# --- random problems ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A call: the problem, how the user writes it, and how its arrays lie in memory."""

    problem: ConvProblem
    padding: object
    activation: str | None
    unbatched: bool
    forms: dict[str, str | None]  # of x, weight, bias, residual and out; None: not given
    seed: int

    def operands(self):
        """Return x, weight, bias and residual by name.

        A sum has no cancellation, so that its relative error is that of its rounding: all terms of
        a filter have one sign. Some filters are negative (a little: activations fall steeply there)
        and some far from zero.
        """
        problem, random = self.problem, np.random.default_rng(self.seed)
        scale = random.choice([-0.5, 1.0, 4.0], problem.filters)
        first = (problem.filters,) + (1,) * problem.rank
        terms = problem.parameters // problem.filters
        x = random.uniform(0.5, 1.5, problem.input_shape)
        weight = random.uniform(0.5, 1.25, problem.weight_shape)
        if problem.rank == 2:
            weight = weight[..., :1] * weight[..., :1, :]  # of rank one, which every algorithm computes
        weight = weight * scale.reshape(*first, 1) / terms
        bias = random.uniform(0, 0.25, problem.filters) * scale
        in_place = scale.reshape(first) if problem.layout == "channels_first" else scale
        residual = random.uniform(0, 0.25, problem.output_shape) * in_place
        found = {"x": x, "weight": weight, "bias": bias, "residual": residual}
        if self.unbatched:
            found = {n: v[0] if n in ("x", "residual") else v for n, v in found.items()}
        return {
            name: INPUT_FORMS[self.forms[name]](value.astype(problem.dtype))
            for name, value in found.items()
            if self.forms[name] is not None
        }

    def expected(self, operands):
        """Return the reference's result on float64 copies."""
        exact = {name: value.astype(np.float64) for name, value in operands.items()}
        if self.unbatched:
            exact = {n: v[np.newaxis] if n in ("x", "residual") else v for n, v in exact.items()}
        problem = replace(self.problem, dtype="float64")
        y = reference.conv(problem, **exact, activation=self.activation)
        return y[0] if self.unbatched else y

    def call(self, operands, algorithm, out=None):
        """Convolve as a user would."""
        arguments = {**self.problem.arguments(), "padding": self.padding}
        function = FUNCTIONS[self.problem.rank]
        return function(**operands, **arguments, activation=self.activation, algorithm=algorithm,
                        out=out)  # fmt: skip

    def result(self, operands, algorithm):
        """Return the result; where it is put into an array, check that nothing around changes."""
        form = self.forms["out"]
        if form is None:
            return self.call(operands, algorithm)
        shape = self.problem.output_shape[self.unbatched :]
        channel_axis = -1 if self.problem.layout == "channels_last" else 1 - self.unbatched
        around, taken = place_of(form, shape, channel_axis % len(shape))
        memory = np.full(around, 77, self.problem.dtype)
        out = memory[taken]
        assert self.call(operands, algorithm, out) is out
        result = out.copy()
        out[...] = 77
        assert (memory == 77).all(), f"{algorithm} wrote around out"
        return result


@st.composite
def spatial_arguments(draw, rank):
    """Draw sizes, kernel and arguments of a window that fits; padding as a user writes it."""

    def numbers(most, least=1):
        return draw(st.lists(st.integers(least, most), min_size=rank, max_size=rank))

    size, kernel = numbers((40, 14, 6)[rank - 1]), numbers((9, 4, 3)[rank - 1])
    dilation, stride = numbers(3), numbers(4)
    mode = draw(st.sampled_from(PADDING_MODES))
    form = draw(st.sampled_from(["int", "axis", "pairs", "valid", "same", "same_lower"]))
    if form in ("same", "same_lower"):
        pairs = padding_pairs(form, rank, size, kernel, stride, dilation)
        reach = all(max(pair) < extent for pair, extent in zip(pairs, size, strict=True))
        return size, kernel, dilation, stride, form, mode if reach else "zeros"

    most = {"reflect": [w - 1 for w in size], "circular": size, "symmetric": size}
    limits = [min(limit, 4) for limit in most.get(mode, [4] * rank)]
    pairs = [[draw(st.integers(0, limit)) for _ in range(2)] for limit in limits]
    if form == "valid":
        pairs = [[0, 0]] * rank
    elif form == "axis":
        pairs = [[before, before] for before, _ in pairs]
    elif form == "int":
        pairs = [[min(before for before, _ in pairs)] * 2] * rank
    more_padding = form == "pairs" and mode in ("zeros", "replicate") and draw(st.booleans())
    for axis in range(rank):  # as much more as one window needs
        missing = dilation[axis] * (kernel[axis] - 1) + 1 - size[axis] - sum(pairs[axis])
        if missing > 0 and more_padding:
            pairs[axis][1] += missing
        elif missing > 0:
            size[axis] += missing
    written = {"int": pairs[0][0], "axis": [pair[0] for pair in pairs], "pairs": pairs}
    return size, kernel, dilation, stride, written.get(form, form), mode


@st.composite
def cases(draw, activations=(None, *ACTIVATIONS), batches=(1, 2, 3, 1, 2, 3, 0), plain=False):
    """Draw a call with everything random together; `plain` ones have ordinary arrays."""
    rank = draw(st.integers(1, 3))
    size, kernel, dilation, stride, padding, mode = draw(spatial_arguments(rank))
    most = 67  # no multiple of any vector
    groups = draw(st.one_of(st.just(1), st.integers(1, most)))
    channels, filters = (draw(st.integers(1, most // groups)) for _ in range(2))
    batch, layout = draw(st.sampled_from(batches)), draw(st.sampled_from(LAYOUTS))
    last = layout == "channels_last"
    problem = ConvProblem.from_shapes(
        (batch, *size, groups * channels) if last else (batch, groups * channels, *size),
        (groups * filters, channels, *kernel),
        draw(st.sampled_from(["float32", "float64"])),
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        padding_mode=mode,
        flip=draw(st.booleans()),
        layout=layout,
    )
    inputs = st.just("contiguous") if plain else st.sampled_from(list(INPUT_FORMS))
    outputs = st.none() if plain else st.none() | st.sampled_from(list(OUTPUT_FORMS))
    forms = {
        "x": draw(inputs),
        "weight": draw(inputs),
        "bias": draw(st.none() | inputs),
        "residual": draw(st.none() | inputs),
        "out": draw(outputs),
    }
    return Case(
        problem,
        padding,
        draw(st.sampled_from(activations)),
        unbatched=batch == 1 and not plain and draw(st.booleans()),
        forms=forms,
        seed=draw(st.integers(0, 2**32 - 1)),
    )


def supporting(problem):
    """Return the names of the algorithms that compute `problem`."""
    return [entry.name for entry in TABLE if entry.supports(problem) is None]


def smeared(algorithm, operands):
    """Return what errors are relative to besides the result: by spectra, to what a tile holds."""
    if algorithm != "fft":
        return 0.0
    x, weight = (operands[name].astype("f8") for name in ("x", "weight"))
    return float(np.prod([np.linalg.norm(each[np.isfinite(each)]) for each in (x, weight)]))


def check(case):
    """Compare every algorithm with the reference, and the operands with what they were."""
    operands = case.operands()
    before = {name: value.copy() for name, value in operands.items()}
    expected = case.expected(operands)
    for algorithm in supporting(case.problem):
        result = case.result(operands, algorithm)
        assert result.shape == expected.shape
        assert result.dtype == case.problem.dtype
        error, size = np.linalg.norm(result - expected), np.linalg.norm(expected)
        size = max(size, smeared(algorithm, operands))
        assert error <= TOLERANCE[case.problem.dtype] * size, f"{algorithm}: {error / size:.1e}"
    for name, value in operands.items():
        assert value.tobytes() == before[name].tobytes(), f"{name} was changed"


@settings(max_examples=400)
@given(cases())
def test_random_convolutions(case):
    check(case)


# Each width compiles tiles of its own: two activations and few examples keep that short.
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=cases(activations=(None, "gelu")))
def test_random_convolutions_of_every_vector_width(vector_bits, case):
    check(case)


# --- what a result does not depend on -------------------------------------------------------------


@settings(max_examples=60)
@given(cases(activations=(None, "silu"), batches=(2, 3), plain=True))
def test_an_image_alone_and_in_a_batch(case):
    operands = case.operands()
    alone = replace(case, problem=replace(case.problem, batch=1))
    for algorithm in supporting(case.problem):
        batch = case.call(operands, algorithm)
        for image in range(case.problem.batch):
            one = {n: v[image : image + 1] if n in ("x", "residual") else v
                   for n, v in operands.items()}  # fmt: skip
            assert alone.call(one, algorithm).tobytes() == batch[image].tobytes(), algorithm


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(case=cases(activations=(None, "silu"), plain=True))
def test_any_number_of_threads(always_threads, case):
    operands = case.operands()
    for algorithm in supporting(case.problem):
        results = []
        for count in (1, 2, 3):
            always_threads(count)
            results.append(case.call(operands, algorithm).tobytes())
        assert results[0] == results[1] == results[2], algorithm


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    "text",
    [
        "conv2d,n1,c16,40x40,k100,3x3,p1",  # cut along rows and filters
        "conv2d,n1,c700,7x7,k130,1x1",  # more channels than one pass sums
        "conv2d,n3,c24,19x23,k24,5x3,s2x1,p2x1,g3",
        "conv1d,n1,c3,3001,k50,31,p15,d2",
        "conv3d,n1,c20,6x9x11,k29,3x3x3,p1,replicate",
    ],
)
def test_any_number_of_threads_on_larger_problems(always_threads, algorithm, layout, text):
    problem = ConvProblem.parse(f"{text},{layout},float32")
    forms = dict.fromkeys(("x", "weight", "bias", "residual"), "contiguous") | {"out": None}
    case = Case(problem, problem.padding, None, False, forms, seed=0)
    operands = case.operands()
    always_threads(1)
    serial = case.call(operands, algorithm)
    expected = case.expected(operands)
    assert np.linalg.norm(serial - expected) <= 2e-6 * np.linalg.norm(expected)
    for count in (2, 3, 8):
        always_threads(count)
        assert case.call(operands, algorithm).tobytes() == serial.tobytes()


# --- NaN and infinities ---------------------------------------------------------------------------


@settings(max_examples=100)
@given(
    cases(activations=(None,), batches=(1, 2), plain=True),
    st.lists(st.sampled_from([np.nan, np.inf, -np.inf]), min_size=1, max_size=3),
    st.sampled_from(["x", "weight", "bias", "residual"]),
)
def test_nan_and_infinities_stay_where_they_belong(case, specials, holder):
    operands = case.operands()
    target = operands.get(holder, operands["x"]).reshape(-1)
    places = np.random.default_rng(case.seed).integers(target.size, size=len(specials))
    target[places] = specials
    expected = case.expected(operands)
    finite = np.isfinite(expected)
    weight = np.require(operands["weight"], case.problem.dtype, ["C", "A"])
    for algorithm in supporting(case.problem):
        if selection.algorithm(algorithm).fits(case.problem, weight) is not None:
            continue  # a kernel that holds NaN has no rank
        result = case.call(operands, algorithm)
        np.testing.assert_array_equal(result[~finite], expected[~finite], algorithm)
        atol = 1e-6 * smeared(algorithm, operands)
        np.testing.assert_allclose(result[finite], expected[finite], rtol=1e-5, atol=atol, err_msg=algorithm)


def test_one_nan_reaches_its_windows_alone(algorithm):
    x = np.zeros((2, 3, 9, 40), np.float32)
    x[1, 2, 4, 17] = np.nan
    y = fastconv.conv2d(x, np.ones((4, 3, 3, 3), np.float32), padding=1, algorithm=algorithm)
    images, filters, rows, columns = map(set, np.nonzero(np.isnan(y)))
    assert (images, filters, rows, columns) == ({1}, {0, 1, 2, 3}, {3, 4, 5}, {16, 17, 18})


# --- broadcast operands ---------------------------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
def test_operands_with_strides_of_zero(algorithm, layout):
    # Every element of the window is 2 and every weight 3: 2 * 3 * (3 channels * 4 taps).
    shape = (2, 3, 4, 5) if layout == "channels_first" else (2, 4, 5, 3)
    x = np.broadcast_to(np.float32(2), shape)
    weight = np.broadcast_to(np.float32(3), (7, 3, 2, 2))
    bias = np.broadcast_to(np.float32(100), (7,))
    residual = np.broadcast_to(np.float32(1000), (2, 7, 3, 4) if layout == "channels_first" else (2, 3, 4, 7))
    y = fastconv.conv2d(x, weight, bias, residual=residual, layout=layout, algorithm=algorithm)
    assert y.shape == residual.shape
    assert math.isclose(y.min(), 1172)
    assert y.max() == y.min()

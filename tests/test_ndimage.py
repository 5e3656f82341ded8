"""`fastconv.ndimage`: borders to check by hand, integers that are cut off, where results go, and what is refused."""

from __future__ import annotations

import re

import numpy as np
import pytest
import scipy.ndimage

import fastconv
from fastconv import ndimage
from fastconv.signal import truncation

LINE = np.array([1, 2, 3])


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("reflect", [211, 321, 332]),
        ("grid-mirror", [211, 321, 332]),
        ("constant", [217, 321, 732]),
        ("grid-constant", [217, 321, 732]),
        ("nearest", [211, 321, 332]),
        ("mirror", [212, 321, 232]),
        ("wrap", [213, 321, 132]),
        ("grid-wrap", [213, 321, 132]),
    ],
)
@pytest.mark.parametrize("dtype", ["int32", "float32", "float64", "complex64"])
def test_modes(mode, expected, dtype):
    line = LINE.astype(dtype)
    for correlate in (ndimage.correlate, ndimage.correlate1d):
        result = correlate(line, [1, 10, 100], mode=mode, cval=7)
        assert result.dtype == dtype
        assert result.tolist() == expected
    for convolve in (ndimage.convolve, ndimage.convolve1d):
        assert convolve(line, [100, 10, 1], mode=mode, cval=7).tolist() == expected


@pytest.mark.parametrize(("origin", "expected"), [(-1, [321, 732, 773]), (0, [217, 321, 732]), (1, [177, 217, 321])])
def test_origin(origin, expected):
    arguments = {"mode": "constant", "cval": 7}
    assert ndimage.correlate(LINE, [1, 10, 100], origin=origin, **arguments).tolist() == expected
    assert ndimage.correlate1d(LINE, [1, 10, 100], origin=origin, **arguments).tolist() == expected
    assert ndimage.convolve(LINE, [100, 10, 1], origin=-origin, **arguments).tolist() == expected
    weights = [[0, 0, 0], [1, 10, 100], [0, 0, 0]]
    square = ndimage.correlate(np.array([LINE] * 3), weights, origin=(0, origin), **arguments)
    assert square.tolist() == [expected] * 3


def test_even_sizes():
    assert ndimage.correlate(LINE, [1, 10], mode="constant").tolist() == [10, 21, 32]
    assert ndimage.convolve(LINE, [10, 1], mode="constant").tolist() == [21, 32, 3]
    assert ndimage.convolve1d(LINE, [10, 1], mode="constant", origin=-1).tolist() == [10, 21, 32]


def test_axes():
    image = np.arange(6).reshape(2, 3)
    assert ndimage.correlate(image, [1, 10], axes=0).tolist() == [[0, 11, 22], [30, 41, 52]]
    assert ndimage.correlate(image, [1, 10], axes=(1,), mode="constant").tolist() == [[0, 10, 21], [30, 43, 54]]
    assert ndimage.correlate1d(image, [1, 10], axis=0).tolist() == [[0, 11, 22], [30, 41, 52]]
    assert ndimage.correlate1d(image, [1, 10], axis=-2).tolist() == [[0, 11, 22], [30, 41, 52]]


def test_weights_of_a_correlation_are_conjugated():
    assert ndimage.correlate(LINE, [1j]).tolist() == [-1j, -2j, -3j]
    assert ndimage.convolve(LINE, [1j]).tolist() == [1j, 2j, 3j]
    assert ndimage.correlate1d(LINE * 1j, [1j]).tolist() == [1, 2, 3]
    assert ndimage.convolve1d(LINE, [1j]).tolist() == [1j, 2j, 3j]
    assert ndimage.correlate(LINE * 1j, [1, 0, 0], mode="constant", cval=5 + 7j).tolist() == [5 + 7j, 1j, 2j]
    assert ndimage.correlate(LINE.astype("int8"), [1j]).dtype == np.complex64
    assert ndimage.correlate(LINE, [1j]).dtype == np.complex128


# --- integers -------------------------------------------------------------------------------------


def test_results_are_cut_off_towards_zero():
    line = np.array([3, -3])
    assert ndimage.correlate(line, [0.5]).tolist() == [1, -1]
    assert ndimage.correlate(line, [0.3]).tolist() == [0, 0]
    assert ndimage.correlate(line, [0.9]).tolist() == [2, -2]
    assert ndimage.correlate(np.array([1.9, -1.9]), [1], output=int).tolist() == [1, -1]


def test_results_wrap():
    assert ndimage.correlate(np.array([200], np.uint8), [2]).tolist() == [400 - 256]
    assert ndimage.correlate(np.array([1], np.uint8), [-1]).tolist() == [255]
    assert ndimage.correlate(np.array([1], np.uint8), [-1.5]).tolist() == [255]
    large = 2**64 - 4096  # a float64
    assert ndimage.correlate(np.array([large], np.uint64), [0.999]).tolist() == [int(large * 0.999)]
    assert ndimage.correlate(np.array([large], np.uint64), [-1e-3]).tolist() == [2**64 - int(large * 1e-3)]


@pytest.mark.parametrize("shape", [(3,), (7,), (3, 3), (5, 5), (2, 3)])
@pytest.mark.parametrize("output", [None, "int16"])
def test_means_of_integers_are_scipys(shape, output):
    """A mean of equal pixels is a sum next to a whole number, and its last digit depends on the order of the sum."""
    image = np.repeat(np.random.default_rng(0).integers(0, 255, (40, 20), np.uint8), 2, axis=1)
    image = image.ravel() if len(shape) == 1 else image
    weights = np.full(shape, 1 / np.prod(shape))
    for mode in ("reflect", "constant", "wrap"):
        arguments = {"mode": mode, "cval": 0.7, "output": output}
        expected = scipy.ndimage.correlate(image, weights, **arguments)
        assert np.array_equal(ndimage.correlate(image, weights, **arguments), expected)
        if len(shape) == 1:
            expected = scipy.ndimage.correlate1d(image, weights, **arguments)
            assert np.array_equal(ndimage.correlate1d(image, weights, **arguments), expected)


def test_only_sums_next_to_whole_numbers_are_done_again(monkeypatch):
    summed, at = [], truncation._Sums.at

    def count(self, places):
        summed.append(len(places[0]))
        return at(self, places)

    monkeypatch.setattr(truncation._Sums, "at", count)
    image = np.zeros(90_000, np.uint8)
    image[:80_000:9] = 9 * np.arange(80_000 // 9 + 1) % 251
    ndimage.correlate(image, np.full(3, 1 / 3), mode="constant")
    assert 0 < sum(summed) < 30_000  # of the others, a third is no whole number, and zeros are zero anyway
    summed.clear()
    ndimage.correlate(image, [0.25, 0.5, 0.25])  # whose sums are exact
    ndimage.correlate(image, [1, 2, 1])
    assert summed == []


def test_bools():
    line = np.array([True, False, False])
    assert ndimage.correlate(line, [1, 1, 1], mode="constant").tolist() == [True, True, False]
    assert ndimage.correlate(line, [0.5]).tolist() == [False, False, False]  # cut off
    assert ndimage.correlate(line, [1, 1, 1], output=int).tolist() == [2, 1, 0]


def test_what_is_no_number_has_no_meaning_as_an_integer_but_does_no_harm():
    result = ndimage.correlate(np.array([np.nan, 1.5, 2.5, np.inf]), [1.0], output=np.int32)
    assert result[1:3].tolist() == [1, 2]


# --- output ---------------------------------------------------------------------------------------


def test_types_of_the_result():
    ones = np.ones(3, np.float32)
    assert ndimage.correlate(ones, [1.0]).dtype == np.float32
    assert ndimage.correlate(ones, [1.0], output=np.float64).dtype == np.float64
    assert ndimage.correlate(ones, [1.0], output="int16").dtype == np.int16
    assert ndimage.correlate(ones, [1.0], output=float).dtype == np.float64
    assert ndimage.correlate(ones, [1.0], output="complex64").dtype == np.complex64
    assert ndimage.correlate(ones.astype(">f8"), [1.0]).dtype == np.dtype("float64")
    assert ndimage.correlate(ones.astype("float16"), [3.0]).dtype == np.float16
    precise = ndimage.correlate(np.array([1e8, 1, -1e8]), [1, 1, 1], output=np.float32)
    assert precise[1] == 1  # of doubles, as the input's are


def test_an_array_receives_the_result():
    out = np.zeros((3, 6), np.int16)
    view = out[:, ::2]
    image = np.arange(9.0).reshape(3, 3)
    assert ndimage.correlate(image, np.ones((1, 1)), output=view) is view
    assert np.array_equal(out[:, ::2], image)
    assert not out[:, 1::2].any()


def test_the_input_may_receive_the_result():
    line = np.arange(3.0)
    result = ndimage.correlate1d(line, [1, 1, 1], output=line)
    assert result is line
    assert line.tolist() == [1, 3, 5]


def test_nothing_in_nothing_out():
    assert ndimage.correlate(np.ones((0, 3)), np.ones((2, 2))).shape == (0, 3)


def test_the_algorithm_is_the_one_that_is_named():
    image = np.ones((9, 9), np.float32)
    for name in fastconv.algorithms():
        assert np.allclose(ndimage.correlate(image, np.ones((3, 3)), algorithm=name), 9)
    assert ndimage.convolve1d(image, [1.0, 1.0], algorithm="direct")[0, 0] == 2


REFUSALS = [
    (ValueError, "weights must have 1 axes, as many as are filtered, got shape (1, 1)",
     lambda: ndimage.correlate([1.0], [[1.0]])),
    (ValueError, "weights must not be empty, got shape (0,)", lambda: ndimage.correlate([1.0], [])),
    (ValueError, "weights must have 1 axis, got shape (1, 1)", lambda: ndimage.convolve1d([1.0], [[1.0]])),
    (ValueError, "input must have at least 1 axis, got a number", lambda: ndimage.correlate(1.0, 1.0)),
    (TypeError, "input must be an array, got str", lambda: ndimage.correlate("1", [1])),
    (TypeError, "input must hold bools...object", lambda: ndimage.correlate(np.array([None]), [1])),
    (ValueError, "mode must be one of reflect, constant, ..., got 'edge'",
     lambda: ndimage.correlate([1.0], [1.0], mode="edge")),
    (TypeError, "mode must be a str, got ['wrap']", lambda: ndimage.correlate([1.0], [1.0], mode=["wrap"])),
    (TypeError, "cval must be a number, got 'x'", lambda: ndimage.correlate([1.0], [1.0], mode="constant", cval="x")),
    (TypeError, "cval must be real for real input, got 1j",
     lambda: ndimage.correlate([1.0], [1.0], mode="constant", cval=1j)),
    (ValueError, "origin must be at least -1, got -2", lambda: ndimage.correlate([1.0], [1, 1, 1], origin=-2)),
    (ValueError, "origin must be from -1 to 0 for weights of size 2, got 1",
     lambda: ndimage.convolve([1.0], [1, 1], origin=1)),
    (ValueError, "origin must have length 1...[0, 0]", lambda: ndimage.correlate([1.0], [1], origin=[0, 0])),
    (TypeError, "origin must be an int, got 0.0", lambda: ndimage.correlate([1.0], [1], origin=0.0)),
    (ValueError, "axis must be less than 1, the number of axes, got 1", lambda: ndimage.correlate1d([1.0], [1], 1)),
    (ValueError, "axes must be at least -1, got -2", lambda: ndimage.correlate([1.0], [1], axes=-2)),
    (ValueError, "output must have the shape of input, (1,), got (2,)",
     lambda: ndimage.correlate([1.0], [1], output=np.zeros(2))),
    (TypeError, "output must be an array or a data type, got 'nothing'",
     lambda: ndimage.correlate([1.0], [1], output="nothing")),
    (TypeError, "output must hold bools", lambda: ndimage.correlate([1.0], [1], output="S4")),
    (TypeError, "output must be complex for complex input or weights, got float64",
     lambda: ndimage.correlate([1j], [1], output=np.zeros(1))),
    (ValueError, "output must be writeable, got a read-only array",
     lambda: ndimage.correlate([1.0], [1], output=np.broadcast_to(0.0, 1))),
    (ValueError, "algorithm must be one of auto", lambda: ndimage.correlate([1.0], [1.0], algorithm="fast")),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "message", "call"), REFUSALS, ids=[message for _, message, _ in REFUSALS])
def test_refusals(kind, message, call):
    with pytest.raises(kind, match=re.escape(message).replace(r"\.\.\.", ".*")):
        call()

"""Settings: environment variables in fresh processes, and what the functions refuse."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fastconv
from fastconv import accuracy, config, directories, scopes


@pytest.fixture(autouse=True)
def _restored():
    """Leave settings as they were."""
    names = "_threads", "_forced_vector_bits", "_algorithms", "_workspace_limit", "_mode", "_deterministic"
    places = [*((config, name) for name in names), (accuracy, "_tolerance"), (accuracy, "_precision")]
    before = [getattr(module, name) for module, name in places]
    yield
    for (module, name), value in zip(places, before, strict=True):
        setattr(module, name, value)
    scopes.changed()


def evaluate(expression: str, prelude: str = "", **variables: str) -> tuple[object, list[str]]:
    """Return what an expression gives in a fresh process, and the warnings on the way."""
    program = f"""
import json, os, warnings
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import fastconv
    from fastconv import config
{prelude}
    value = {expression}
print(json.dumps([value, [str(each.message) for each in caught]]))
"""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("FASTCONV_")}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**kept, **variables},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    value, messages = json.loads(done.stdout)
    return value, messages


# ------------------------------------------------------------------------------------- threads

THREADS = "[fastconv.get_num_threads(), fastconv.get_num_threads()]"  # warned about once


@pytest.mark.parametrize(("text", "threads"), [("1", 1), ("3", 3), ("064", 64)])
def test_the_number_of_threads_from_the_environment(text, threads):
    assert evaluate(THREADS, FASTCONV_NUM_THREADS=text) == ([threads, threads], [])


def test_an_empty_variable_is_no_variable():
    without = evaluate(THREADS)
    assert evaluate(THREADS, FASTCONV_NUM_THREADS="") == without
    assert without[1] == []


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5", "2 threads", "1e1", "0x2", "²", "1_0", "9" * 20])
def test_what_is_no_number_of_threads_is_warned_about_once(text):
    threads, messages = evaluate(THREADS, FASTCONV_NUM_THREADS=text)
    assert threads == evaluate(THREADS)[0]
    assert messages == [f"FASTCONV_NUM_THREADS must be a positive integer, got {text!r}: ignored"]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="affinity is Linux's")
def test_no_more_threads_than_processors_that_may_be_used():
    one = "    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})"
    assert evaluate("fastconv.get_num_threads()", one) == (1, [])


def test_the_environment_is_read_when_needed_and_not_at_import():
    late = "    os.environ['FASTCONV_NUM_THREADS'] = '5'"
    assert evaluate("fastconv.get_num_threads()", late) == (5, [])
    wrong = {"FASTCONV_NUM_THREADS": "two", "FASTCONV_TOLERANCE": "small", "FASTCONV_VECTOR_BITS": "wide"}
    assert evaluate("1", **wrong) == (1, [])


def test_the_function_has_the_last_word_over_the_environment():
    call = "    fastconv.set_num_threads(2)"
    assert evaluate("fastconv.get_num_threads()", call, FASTCONV_NUM_THREADS="7") == (2, [])
    assert evaluate("fastconv.get_num_threads()", call, FASTCONV_NUM_THREADS="x") == (2, [])


@pytest.mark.parametrize("count", [1, 2, 1000, np.int64(3)])
def test_set_num_threads(count):
    fastconv.set_num_threads(count)
    assert fastconv.get_num_threads() == count
    assert type(fastconv.get_num_threads()) is int


@pytest.mark.parametrize(
    ("count", "error", "message"),
    [
        (0, ValueError, r"count must be .*1.*got 0|count must be positive, got 0"),
        (-4, ValueError, r"count must .*got -4"),
        (2.0, TypeError, r"count must be an int.*2\.0"),
        (True, TypeError, r"count must be an int.*True"),
        ("2", TypeError, r"count must be an int.*'2'"),
        (None, TypeError, r"count must be an int.*None"),
        ([2], TypeError, r"count must be an int.*\[2\]"),
    ],
)
def test_what_set_num_threads_refuses(count, error, message):
    fastconv.set_num_threads(3)
    with pytest.raises(error, match=message):
        fastconv.set_num_threads(count)
    assert fastconv.get_num_threads() == 3


# ----------------------------------------------------------------------------------- tolerance

TOLERANCES = "[fastconv.get_tolerance(dtype) for dtype in ('float32', 'float64', 'float16', 'int32')]"
DEFAULTS = [3e-5, 1e-13, 1e-2, 0.0]


def test_every_data_type_has_a_default_tolerance():
    assert evaluate(TOLERANCES) == (DEFAULTS, [])
    assert evaluate(TOLERANCES, FASTCONV_TOLERANCE="") == (DEFAULTS, [])
    assert evaluate("fastconv.get_tolerance()") == (3e-5, [])  # float32


@pytest.mark.parametrize(("text", "tolerance"), [("1e-3", 1e-3), ("0.25", 0.25), ("2", 2.0), (" 1E-6 ", 1e-6)])
def test_the_tolerance_from_the_environment_is_that_of_every_type(text, tolerance):
    assert evaluate(TOLERANCES, FASTCONV_TOLERANCE=text) == ([tolerance] * 4, [])


@pytest.mark.parametrize("text", ["0", "-1e-5", "small", "nan", "inf", "1e999", "1e-999", "1e-5 or so"])
def test_what_is_no_tolerance_is_warned_about_once(text):
    message = f"FASTCONV_TOLERANCE must be a positive number, got {text!r}: ignored"
    assert evaluate(TOLERANCES, FASTCONV_TOLERANCE=text) == (DEFAULTS, [message])


def test_set_tolerance_has_the_last_word_until_none_takes_it_back():
    call = "    fastconv.set_tolerance(1e-4)"
    assert evaluate(TOLERANCES, call, FASTCONV_TOLERANCE="1e-3") == ([1e-4] * 4, [])
    assert evaluate(TOLERANCES, call, FASTCONV_TOLERANCE="small") == ([1e-4] * 4, [])
    call += "; fastconv.set_tolerance(None)"
    assert evaluate(TOLERANCES, call, FASTCONV_TOLERANCE="1e-3") == ([1e-3] * 4, [])
    assert evaluate(TOLERANCES, call) == (DEFAULTS, [])


@pytest.mark.parametrize("tolerance", [1e-4, 1, np.float64(1e-4), np.float32(0.5), np.int8(1)])
def test_set_tolerance(tolerance):
    fastconv.set_tolerance(tolerance)
    assert fastconv.get_tolerance() == fastconv.get_tolerance("float64") == tolerance
    assert type(fastconv.get_tolerance()) is float


@pytest.mark.parametrize("dtype", ["float64", np.float64, np.dtype(">f8"), "<f8"])
def test_a_data_type_may_be_said_in_all_ways_of_numpy(dtype):
    assert fastconv.get_tolerance(dtype) == fastconv.get_tolerance("float64") < fastconv.get_tolerance("float32")


@pytest.mark.parametrize(
    ("tolerance", "error", "message"),
    [
        (0, ValueError, "tolerance must be a positive finite number, got 0"),
        (-1e-5, ValueError, "tolerance must be a positive finite number, got -1e-05"),
        (math.inf, ValueError, "tolerance must be a positive finite number, got inf"),
        (math.nan, ValueError, "tolerance must be a positive finite number, got nan"),
        pytest.param(10**400, ValueError, "tolerance must be a positive finite number, got 10000", id="huge"),
        ("1e-5", TypeError, "tolerance must be a number, got '1e-5' of type str"),
        (True, TypeError, "tolerance must be a number, got True of type bool"),
        (1e-5j, TypeError, "tolerance must be a number, got 1e-05j of type complex"),
        ([1e-5], TypeError, r"tolerance must be a number, got \[1e-05\] of type list"),
        (np.array(1e-5), TypeError, "tolerance must be a number, got array"),
    ],
)
def test_what_set_tolerance_refuses(tolerance, error, message):
    fastconv.set_tolerance(0.5)
    with pytest.raises(error, match=message):
        fastconv.set_tolerance(tolerance)
    assert fastconv.get_tolerance() == 0.5


@pytest.mark.parametrize("dtype", ["complex64", "bool", None, "text"])
def test_other_data_types_have_no_tolerance(dtype):
    with pytest.raises(TypeError, match="dtype must be one of float16"):
        fastconv.get_tolerance(dtype)


# ----------------------------------------------------------------------------- workspace limit

LIMIT = "[fastconv.get_workspace_limit(), config.settings().workspace_limit]"  # warned about once


@pytest.mark.parametrize(("text", "limit"), [("", None), ("0", 0), ("1", 1), ("0064", 64), (str(1 << 40), 1 << 40)])
def test_the_workspace_limit_from_the_environment(text, limit):
    assert evaluate(LIMIT, FASTCONV_WORKSPACE_LIMIT=text) == ([limit, limit], [])


@pytest.mark.parametrize("text", ["-1", "1e6", "1.5", "64 MiB", "1_0", "none", "9" * 20])
def test_what_is_no_workspace_limit_is_warned_about_once(text):
    message = f"FASTCONV_WORKSPACE_LIMIT must be a number of bytes, got {text!r}: ignored"
    assert evaluate(LIMIT, FASTCONV_WORKSPACE_LIMIT=text) == ([None, None], [message])


def test_set_workspace_limit_has_the_last_word_until_none_takes_it_back():
    call = "    fastconv.set_workspace_limit(0)"
    assert evaluate(LIMIT, call, FASTCONV_WORKSPACE_LIMIT="7") == ([0, 0], [])
    assert evaluate(LIMIT, call, FASTCONV_WORKSPACE_LIMIT="x") == ([0, 0], [])
    call += "; fastconv.set_workspace_limit(None)"
    assert evaluate(LIMIT, call, FASTCONV_WORKSPACE_LIMIT="7") == ([7, 7], [])
    assert evaluate(LIMIT, call) == ([None, None], [])


@pytest.mark.parametrize("limit", [0, 1, 1 << 62, np.int64(3)])
def test_set_workspace_limit(limit):
    fastconv.set_workspace_limit(limit)
    assert fastconv.get_workspace_limit() == config.settings().workspace_limit == limit
    assert type(fastconv.get_workspace_limit()) is int


@pytest.mark.parametrize(
    ("limit", "error", "message"),
    [
        (-1, ValueError, "limit must .*got -1"),
        (1 << 63, ValueError, "limit must .*got 9223372036854775808"),
        (1e6, TypeError, "limit must be an int.*1000000"),
        (True, TypeError, "limit must be an int.*True"),
        ("1", TypeError, "limit must be an int.*'1'"),
    ],
)
def test_what_set_workspace_limit_refuses(limit, error, message):
    fastconv.set_workspace_limit(3)
    with pytest.raises(error, match=message):
        fastconv.set_workspace_limit(limit)
    assert fastconv.get_workspace_limit() == 3


# ---------------------------------------------------------------------------------------- mode

MODE = "[fastconv.get_mode(), config.settings().mode]"


@pytest.mark.parametrize(("text", "mode"), [("", "predict"), ("predict", "predict"), ("measure", "measure")])
def test_the_mode_from_the_environment(text, mode):
    assert evaluate(MODE, FASTCONV_MODE=text) == ([mode, mode], [])


def test_what_is_no_mode_is_warned_about_once():
    message = "FASTCONV_MODE must be predict or measure, got 'Measure': ignored"
    assert evaluate(MODE, FASTCONV_MODE="Measure") == (["predict", "predict"], [message])


def test_set_mode_has_the_last_word_until_none_takes_it_back():
    call = "    fastconv.set_mode('predict')"
    assert evaluate(MODE, call, FASTCONV_MODE="measure") == (["predict", "predict"], [])
    call += "; fastconv.set_mode(None)"
    assert evaluate(MODE, call, FASTCONV_MODE="measure") == (["measure", "measure"], [])


@pytest.mark.parametrize(("mode", "error"), [("fast", ValueError), (1, TypeError), (b"measure", TypeError)])
def test_what_set_mode_refuses(mode, error):
    fastconv.set_mode("measure")
    with pytest.raises(error, match=r"mode must be .*got"):
        fastconv.set_mode(mode)
    assert fastconv.get_mode() == "measure"


# --------------------------------------------------------------------------------- determinism

DETERMINISTIC = "[fastconv.get_deterministic(), config.settings().deterministic]"


@pytest.mark.parametrize(("text", "on"), [("", False), ("0", False), ("1", True)])
def test_determinism_from_the_environment(text, on):
    assert evaluate(DETERMINISTIC, FASTCONV_DETERMINISTIC=text) == ([on, on], [])


def test_what_is_no_determinism_is_warned_about_once():
    message = "FASTCONV_DETERMINISTIC must be 0 or 1, got 'yes': ignored"
    assert evaluate(DETERMINISTIC, FASTCONV_DETERMINISTIC="yes") == ([False, False], [message])


def test_set_deterministic_has_the_last_word_until_none_takes_it_back():
    call = "    fastconv.set_deterministic(False)"
    assert evaluate(DETERMINISTIC, call, FASTCONV_DETERMINISTIC="1") == ([False, False], [])
    call += "; fastconv.set_deterministic(None)"
    assert evaluate(DETERMINISTIC, call, FASTCONV_DETERMINISTIC="1") == ([True, True], [])


@pytest.mark.parametrize("value", [1, "1", 0.0])
def test_what_set_deterministic_refuses(value):
    fastconv.set_deterministic(True)
    with pytest.raises(TypeError, match=r"deterministic must be a bool, got"):
        fastconv.set_deterministic(value)
    assert fastconv.get_deterministic()


# -------------------------------------------------------------------------------- vector width

BITS = "[config.vector_bits(), __import__('fastconv.codegen.target').codegen.target.vector_bits()]"


@pytest.mark.parametrize("bits", config.VECTOR_BITS)
def test_the_vector_width_from_the_environment(bits):
    assert evaluate(BITS, FASTCONV_VECTOR_BITS=str(bits)) == ([bits, bits], [])


def test_without_a_wish_the_processors_widest():
    (wish, width), messages = evaluate(BITS)
    assert wish is None
    assert width in config.VECTOR_BITS
    assert messages == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("wide", "FASTCONV_VECTOR_BITS must be a positive integer, got 'wide': ignored"),
        ("-256", "FASTCONV_VECTOR_BITS must be a positive integer, got '-256': ignored"),
        ("64", "FASTCONV_VECTOR_BITS must be one of (128, 256, 512), got 64: ignored"),
    ],
)
def test_what_is_no_vector_width_is_warned_about_once(text, message):
    found = evaluate(f"[{BITS}, {BITS}]", FASTCONV_VECTOR_BITS=text)
    default = evaluate(BITS)[0]
    assert found == ([default, default], [message])


def test_set_vector_bits_has_the_last_word():
    call = "    config.set_vector_bits(128)"
    assert evaluate(BITS, call, FASTCONV_VECTOR_BITS="256") == ([128, 128], [])
    call += "; config.set_vector_bits(None)"
    assert evaluate(BITS, call, FASTCONV_VECTOR_BITS="256") == ([256, 256], [])


@pytest.mark.parametrize("bits", [0, 64, 1024, -128])
def test_what_set_vector_bits_refuses(bits):
    config.set_vector_bits(256)
    with pytest.raises(ValueError, match=rf"bits must .*got {bits}"):
        config.set_vector_bits(bits)
    assert config.vector_bits() == 256


@pytest.mark.parametrize("bits", [256.0, True, "256"])
def test_a_vector_width_is_an_int(bits):
    with pytest.raises(TypeError, match="bits must be an int"):
        config.set_vector_bits(bits)


# ----------------------------------------------------------------------------- cache directory

DIRECTORY = "str(config.cache_directory())"


@pytest.mark.parametrize("name", ["plain", "with a space", "several/levels/deep", "ünïcödé"])
def test_the_cache_directory_from_the_environment(tmp_path, name):
    found, messages = evaluate(DIRECTORY, FASTCONV_CACHE_DIR=str(tmp_path / name))
    assert messages == []
    assert Path(str(found)).parent == tmp_path / name
    assert Path(str(found)).is_dir()
    assert list(Path(str(found)).iterdir()) == []  # the trial left nothing


def test_the_users_cache_directory(tmp_path):
    # the variables of Linux, and what macOS and Windows derive theirs from
    variables = dict.fromkeys(("XDG_CACHE_HOME", "HOME", "LOCALAPPDATA"), str(tmp_path))
    found, messages = evaluate(DIRECTORY, **variables)
    assert messages == []
    if sys.platform == "linux":
        assert Path(str(found)).parent == tmp_path / "fastconv"


def test_a_cache_directory_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        assert evaluate("config.cache_directory()", FASTCONV_CACHE_DIR=str(path)) == (None, [])


def test_every_version_of_the_source_has_a_folder_of_its_own(monkeypatch, tmp_path):
    monkeypatch.setenv("FASTCONV_CACHE_DIR", str(tmp_path))
    directories._usable_cache_directory.cache_clear()
    try:
        first = config.cache_directory()
        monkeypatch.setattr(directories, "source_digest", lambda: "another")
        directories._usable_cache_directory.cache_clear()
        second = config.cache_directory()
    finally:
        directories._usable_cache_directory.cache_clear()
    assert first is not None
    assert second is not None
    assert first != second
    assert first.parent == second.parent == tmp_path


def test_the_directory_of_answers(tmp_path):
    directory = "str(config.answers_directory())"
    assert evaluate(directory, FASTCONV_CACHE_DIR=str(tmp_path)) == (str(tmp_path), [])
    found, messages = evaluate(directory, **dict.fromkeys(("XDG_DATA_HOME", "HOME", "LOCALAPPDATA"), str(tmp_path)))
    assert messages == []
    if sys.platform == "linux":
        assert Path(str(found)) == tmp_path / "fastconv"
    assert list(tmp_path.iterdir()) == []  # made when there is something to store


# ---------------------------------------------------------------------------------- precision


@pytest.mark.parametrize("precision", ["ieee", "tf32", "bf16", "fp16"])
def test_the_precision_from_the_environment(precision):
    assert evaluate("fastconv.get_precision()", FASTCONV_PRECISION=precision) == (precision, [])


def test_what_is_no_precision_is_warned_about_once():
    text = "[fastconv.get_precision(), fastconv.get_precision()]"
    message = "FASTCONV_PRECISION must be one of ieee, tf32, bf16, fp16, got 'tf19': ignored"
    assert evaluate(text, FASTCONV_PRECISION="tf19") == (["ieee", "ieee"], [message])


def test_set_precision_has_the_last_word_until_none_takes_it_back():
    prelude = "    fastconv.set_precision('bf16')\n    set_first = config.settings().precision"
    prelude += "\n    fastconv.set_precision(None)"
    found, _ = evaluate("[set_first, config.settings().precision]", prelude, FASTCONV_PRECISION="tf32")
    assert found == ["bf16", "tf32"]


def test_what_set_precision_refuses():
    with pytest.raises(TypeError, match="precision must be a str"):
        fastconv.set_precision(32)
    with pytest.raises(ValueError, match="precision must be one of ieee, tf32, bf16, fp16, got 'single'"):
        fastconv.set_precision("single")
    with pytest.raises(ValueError, match="precision must be one of"):
        fastconv.options(precision="single")


# ---------------------------------------------------------------------------------- algorithms


def test_variables_come_after_what_is_set():
    variables = {"FASTCONV_NUM_THREADS": "7", "FASTCONV_TOLERANCE": "0.5", "FASTCONV_DENY": "direct,im2col"}
    text = "[s.threads, s.tolerance, s.algorithms.allow, sorted(s.algorithms.deny)]"
    prelude = "    s = config.settings()"
    assert evaluate(text, prelude, **variables) == ([7, 0.5, None, ["direct", "im2col"]], [])
    prelude = "    fastconv.set_algorithms(deny='fft')\n    s = config.settings()"
    assert evaluate(text, prelude, **variables) == ([7, 0.5, None, ["fft"]], [])


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"FASTCONV_ALLOW": "direkt"}, "FASTCONV_ALLOW must be names of algorithms with commas between, got 'direkt'"),
        ({"FASTCONV_ALLOW": "fft", "FASTCONV_DENY": "fft"}, "FASTCONV_ALLOW and FASTCONV_DENY contradict each other"),
    ],
)
def test_algorithms_that_cannot_be_allowed_or_denied_are_warned_about_once(variables, message):
    text = "[config.settings().algorithms, config.settings().algorithms == config.Algorithms()]"
    (_, none), messages = evaluate(f"[None, {text}[1]]", **variables)
    assert none
    (warned,) = messages
    assert warned.startswith(message)

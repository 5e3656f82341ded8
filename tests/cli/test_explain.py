"""``fastconv explain``: the arithmetic and the choice, from a problem or from options."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("click")
pytest.importorskip("rich")

from click.testing import CliRunner, Result

import fastconv
from fastconv.cli import main

TINY = "conv2d,n1,c2,6x5,k3,3x3,p1,float32"


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["explain", *arguments])


def test_explain_shows_the_numbers() -> None:
    result = call("conv2d,n1,c6,16x9,k8,3x3,s2,p1,g2,float32")
    assert result.exit_code == 0, result.output
    assert "floor((16 + 1 + 1 - 1 * (3 - 1) - 1) / 2) + 1 = 8" in result.stdout
    assert "6 channels / 2 groups × 3 × 3 = 27 products" in result.stdout
    assert "320 × 27 = 8,640" in result.stdout
    assert "·□□□□□□□□□·\n          ^^^\n            ^^^\n" in result.stdout
    for name in fastconv.algorithms():
        assert name in result.stdout


@pytest.mark.parametrize(("token", "option"), [("float64", "--dtype float64"), ("tf32,float32", "--precision tf32")])
def test_explain_options_and_problem_say_the_same(token: str, option: str) -> None:
    problem = f"conv2d,n1,c4,9x8,k6,3x3,s1x2,p0:1x2,d2,g2,reflect,flip,channels_last,{token}"
    options = (
        "--input 1,9,8,4 --weight 6,2,3,3 --stride 1,2 --padding 0:1,2:2 --dilation 2 --groups 2 "
        f"--padding-mode reflect --flip --layout channels_last {option}"
    )
    by_options = call(*options.split())
    assert by_options.exit_code == 0, by_options.output
    assert by_options.stdout == call(problem).stdout


@pytest.mark.parametrize("padding", ["same", "1", "1,1", "1:1,1:1"])
def test_explain_padding_forms(padding: str) -> None:
    arguments = ("--input", "1,2,6,5", "--weight", "3,2,3,3", "--padding", padding)
    assert call(*arguments).stdout.startswith(TINY + "\n")


def test_explain_a_pooling() -> None:
    text = "max_pool2d,n1,c4,9x9,3x3,s2,float32"
    result = call(text)
    assert result.exit_code == 0, result.output
    assert "1 × 4 × 4 × 4" in result.stdout
    assert "elements of windows  576" in result.stdout
    for name in fastconv.algorithms("pooling"):
        assert name in result.stdout
    report = json.loads(call(text, "--json").stdout)
    assert report["picked"] == fastconv.select(fastconv.PoolProblem.parse(text))


def test_explain_json() -> None:
    report = json.loads(call(TINY, "--json").stdout)
    assert report["problem"] == TINY
    assert report["picked"] == fastconv.select(fastconv.ConvProblem.parse(TINY))
    assert report["arithmetic"]["multiply_adds"] == 3 * 6 * 5 * 2 * 9
    assert report["arithmetic"]["output_shape"] == [1, 3, 6, 5]
    assert report["arithmetic"]["weight_bytes"] == 4 * 3 * 2 * 9
    assert [one["name"] for one in report["candidates"]] == list(fastconv.algorithms())


def test_explain_of_a_gradient() -> None:
    text = f"{TINY.removesuffix(',float32')},input_gradient,float32"
    picked = fastconv.select(fastconv.ConvProblem.parse(text))
    assert f"\n* {picked}: predicted" in call(text).stdout
    assert json.loads(call(text, "--json").stdout)["picked"] == picked


def test_explain_with_a_tolerance() -> None:
    excluded = "error bound 2e-06 is above the tolerance 1e-06"
    assert "float32 with tolerance 3e-05\n" in call(TINY).stdout
    text = call(TINY, "--tolerance", "1e-6").stdout
    assert f"{TINY} with tolerance 1e-06\n" in text
    assert f"relative error below 2e-06; {excluded}\n" in text
    assert "\n* reference: " in text
    report = json.loads(call(TINY, "--tolerance", "1e-6", "--json").stdout)
    assert report["tolerance"] == 1e-6
    assert report["picked"] == "reference"
    assert report["candidates"][0]["reason"] == excluded


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give either a PROBLEM, or both"),
        ([TINY, "--input", "1,2,6,5"], "give either a PROBLEM, or both"),
        (["--input", "1,2,6,5"], "give either a PROBLEM, or both"),
        (["--input", "1,2,6,5", "--weight", "3,2,3,x"], "invalid literal"),
        (["--input", "1,2,6,5", "--weight", "3,1,3,3"], "channels"),
        (["--input", "1,2,6,5", "--weight", "3,2,3,3", "--stride", "0"], "stride must be positive"),
        ([TINY, "--tolerance", "0"], "tolerance must be a positive finite number, got 0"),
        ([TINY, "--tolerance", "nan"], "tolerance must be a positive finite number, got nan"),
        ([TINY, "--tolerance", "low"], "--tolerance"),
        (["conv9d,n1"], "conv9d"),
        (["avg_pool2d,n1,c2,6x5,2x2,int32"], "floating dtype"),
    ],
)
def test_explain_bad_input(arguments: list[str], message: str) -> None:
    result = call(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr

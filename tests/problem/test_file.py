"""Text files of problems: a string form a line."""

from __future__ import annotations

import pytest

from fastconv.problem import parse, read

CONV = "conv2d,n1,c2,6x5,k3,3x3,p1,float32"
POOL = "max_pool2d,n1,c2,6x5,3x3,float32"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", []),
        ("# nothing", []),
        (CONV, [CONV]),
        (f"{CONV}\n{POOL}\n{CONV}\n", [CONV, POOL, CONV]),
        (f"\n  {CONV}\t\r\n#{POOL}\r\n \n{POOL}# pooled", [CONV, POOL]),
    ],
)
def test_a_line_is_a_problem(tmp_path, content, expected):
    path = tmp_path / "problems.txt"
    path.write_bytes(content.encode())
    assert read(path) == read(str(path)) == tuple(map(parse, expected))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (f"{CONV}\nresnet50", "line 2: text must begin with conv, .* got 'resnet50'"),
        (f"# first\n\n{CONV},{POOL}", "line 3: "),
        ("avg_pool2d,n1,c2,6x5,3x3,int32", "line 1: "),
        ("\N{LATIN SMALL LETTER E WITH ACUTE}".encode("latin-1"), "is no text"),
    ],
)
def test_what_is_no_problem_is_refused_by_its_line(tmp_path, content, message):
    path = tmp_path / "problems.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=f"{path},? {message}"):
        read(path)

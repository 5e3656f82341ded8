"""Every peer against the reference, on problems small enough to do by definition."""

from __future__ import annotations

import pytest

import fastconv
from fastconv import reference
from fastconv.bench.peers import PEERS, Peer
from fastconv.bench.run import ERROR_LIMITS, draw, relative_error
from fastconv.problem import ConvProblem

LAYERS = (
    "conv2d,n2,c6,9x8,k4,3x3,p1,float32",
    "conv2d,n1,c6,9x8,k4,3x2,s2x1,p1x0,d1x2,g2,float32",
    "conv2d,n1,c5,7x7,k5,3x3,s2,p1,g5,float32",
    "conv2d,n2,c6,9x8,k4,3x3,p1,channels_last,float32",
    "conv1d,n1,c3,12,k4,5,p2,float32",
    "conv3d,n1,c2,5x4x6,k3,2x3x1,float32",
    "conv2d,n1,c6,9x8,k4,3x3,p1,float64",
)
FILTERS = (
    "conv2d,n1,c1,12x11,k1,3x5,p1x2,float32",
    "conv2d,n1,c1,12x11,k1,4x3,float32",
    "conv2d,n1,c1,12x11,k1,5x5,p2x1:3,float64",
    "conv2d,n1,c1,12x11,k1,5x5,p2,channels_last,float32",
    *(
        f"conv2d,n1,c1,12x11,k1,5x5,p2,{mode},float32"
        for mode in ("reflect", "replicate", "symmetric")
    ),
)
# Who must be able to do what; with the others' refusals this is what the table claims.
ABLE = {
    "torch": {*LAYERS, *FILTERS[:2], FILTERS[3]},
    "torch channels_last": {p for p in LAYERS if "conv2d" in p} | {*FILTERS[:2], FILTERS[3]},
    "onnxruntime": {p for p in LAYERS if "float32" in p} | {*FILTERS[:2], FILTERS[3]},
    "opencv": set(FILTERS),
    "scipy": set(FILTERS[:4]),
}


@pytest.fixture(autouse=True)
def one_thread() -> object:
    before = fastconv.get_num_threads()
    fastconv.set_num_threads(1)
    yield
    fastconv.set_num_threads(before)


def test_every_peer_is_tested() -> None:
    assert set(ABLE) == set(PEERS)


@pytest.mark.parametrize("text", LAYERS + FILTERS)
@pytest.mark.parametrize("name", PEERS)
def test_peer_agrees_with_the_reference(name: str, text: str) -> None:
    if not PEERS[name].installed:
        pytest.skip(f"{name} is not installed")
    problem = ConvProblem.parse(text)
    arrays = draw(problem)
    run = PEERS[name](problem, *arrays)
    assert (run is not None) == (text in ABLE[name])
    if run is not None:
        found = run()
        assert found.shape == problem.output_shape
        error = relative_error(found, reference.conv(problem, *arrays))
        assert error < ERROR_LIMITS[problem.dtype]


@pytest.mark.parametrize(
    "text",
    [
        "conv2d,n1,c1,8x8,k1,3x3,p1,flip,float32",
        "conv2d,n1,c1,8x8,k1,3x3,p1,circular,float32",
        "conv2d,n1,c1,8x8,k1,3x3,p3,s2,reflect,float32",
        "conv2d,n1,c1,8x8,k1,3x3,p1,int32,input_gradient",
    ],
)
@pytest.mark.parametrize("name", PEERS)
def test_what_no_peer_has(name: str, text: str) -> None:
    problem = ConvProblem.parse(text)
    assert PEERS[name](problem, *draw(problem)) is None


def test_a_missing_library() -> None:
    peer = Peer("no_such_library", lambda *_: pytest.fail("must not be prepared"))
    problem = ConvProblem.parse(LAYERS[0])
    assert not peer.installed
    assert peer(problem, *draw(problem)) is None

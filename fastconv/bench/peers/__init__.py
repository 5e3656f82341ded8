"""The libraries that fastconv is compared with, as one table: operation -> library -> how it does it.

A peer is given a problem and its arrays, prepares whatever a user of that library would prepare
once (tensors, a session, thread counts), and returns a callable without arguments that does the
work and nothing else. Where the library keeps its data in another layout, the arrays are brought
there before, outside the timed call, and the result comes back as a view.

Every peer gets as many threads as fastconv has (:func:`fastconv.get_num_threads`), and what the
library says it uses is checked. The same table feeds the tests and the timings: nothing is timed
that was not compared with the reference.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from fastconv.bench.peers import numpy, onnxruntime, opencv, scipy, torch
from fastconv.bench.peers.peer import Peer, Prepare, Run
from fastconv.bench.peers.torch import CHANNELS_LAST, CONTIGUOUS, Way

__all__ = ["COMPARISONS", "Peer", "Run", "peers"]

TORCH, TORCH_LAST, ONNXRUNTIME, OPENCV, NUMPY = "torch", "torch channels_last", "onnxruntime", "opencv", "numpy"
FIRST, LAST = Way(CONTIGUOUS), Way(CHANNELS_LAST)
SCIPY, SCIPY_OA, SCIPY_NDIMAGE = "scipy", "scipy oaconvolve", "scipy ndimage"


def _torch(prepare: Mapping[str, Prepare]) -> dict[str, Peer]:
    return {name: Peer(("torch",), one) for name, one in prepare.items()}


COMPARISONS: Mapping[str, Mapping[str, Peer]] = MappingProxyType(
    {
        "conv": {
            **_torch({TORCH: torch.conv(FIRST), TORCH_LAST: torch.conv(LAST)}),
            ONNXRUNTIME: Peer(("onnxruntime",), onnxruntime.conv),
            OPENCV: Peer(("cv2",), opencv.conv),
            SCIPY: Peer(("scipy",), scipy.correlate),
            SCIPY_OA: Peer(("scipy",), scipy.oaconvolve),
            SCIPY_NDIMAGE: Peer(("scipy",), scipy.ndimage),
            NUMPY: Peer(("threadpoolctl",), numpy.conv),
        },
        "conv_input_gradient": _torch(
            {TORCH: torch.conv_input_gradient(FIRST), TORCH_LAST: torch.conv_input_gradient(LAST)}
        ),
        "conv_weight_gradient": _torch(
            {TORCH: torch.conv_weight_gradient(FIRST), TORCH_LAST: torch.conv_weight_gradient(LAST)}
        ),
        "max_pool": {
            **_torch({TORCH: torch.max_pool(FIRST), TORCH_LAST: torch.max_pool(LAST)}),
            ONNXRUNTIME: Peer(("onnxruntime",), onnxruntime.pool),
            OPENCV: Peer(("cv2",), opencv.max_pool),
            SCIPY_NDIMAGE: Peer(("scipy",), scipy.maximum_filter),
            NUMPY: Peer((), numpy.max_pool),
        },
        "avg_pool": {
            **_torch({TORCH: torch.avg_pool(FIRST), TORCH_LAST: torch.avg_pool(LAST)}),
            ONNXRUNTIME: Peer(("onnxruntime",), onnxruntime.pool),
            OPENCV: Peer(("cv2",), opencv.avg_pool),
            SCIPY_NDIMAGE: Peer(("scipy",), scipy.uniform_filter),
            NUMPY: Peer((), numpy.avg_pool),
        },
        "lp_pool": {},
        "adaptive_max_pool": _torch({TORCH: torch.adaptive_max_pool}),
        "adaptive_avg_pool": _torch({TORCH: torch.adaptive_avg_pool}),
    }
)


def peers() -> dict[str, Peer]:
    """Return one entry for each name in the table, whatever the operation: what has to be installed for it."""
    return {name: peer for libraries in COMPARISONS.values() for name, peer in libraries.items()}

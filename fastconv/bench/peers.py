"""The libraries that fastconv is compared with, as one table: peer's name -> how it convolves.

A peer is given a problem and its arrays, prepares whatever a user of that library would prepare
once (tensors, a session, thread counts), and returns a callable without arguments that does the
work and nothing else. Where the library keeps its data in another layout, the arrays are brought
there before, outside the timed call, and the result comes back as a view.

Every peer gets as many threads as fastconv has (:func:`fastconv.get_num_threads`), and what the
library says it uses is checked.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

import fastconv
from fastconv.bench import onnx_model
from fastconv.problem import ConvProblem

__all__ = ["PEERS", "Peer"]

Array: TypeAlias = npt.NDArray[np.generic]
Run: TypeAlias = Callable[[], Array]
Prepare: TypeAlias = Callable[[ConvProblem, Array, Array, Array], Run | None]


@dataclass(frozen=True)
class Peer:
    """One way in which one library does a convolution.

    Parameters
    ----------
    module : str
        What has to be installed, by the name it is imported under.
    prepare : callable
        ``prepare(problem, x, weight, bias)`` returns a callable, or None where the library cannot
        do the problem.
    """

    module: str
    prepare: Prepare

    @property
    def installed(self) -> bool:
        """Whether the library is there; it is not imported to find out."""
        return importlib.util.find_spec(self.module) is not None

    def __call__(self, problem: ConvProblem, x: Array, weight: Array, bias: Array) -> Run | None:
        """Return a callable that computes the problem, or None where this peer does not."""
        return self.prepare(problem, x, weight, bias) if self.installed else None


def _is_a_layer(problem: ConvProblem) -> bool:
    """Whether network libraries have the operation: correlation, same zeros on both sides."""
    return (
        problem.direction == "forward"
        and not problem.flip
        and problem.padding_mode == "zeros"
        and all(before == after for before, after in problem.padding)
    )


def _channels_first(problem: ConvProblem, x: Array) -> Array:
    """Return `x` as (N, C, *size), contiguous."""
    return np.ascontiguousarray(np.moveaxis(x, -1, 1) if _last(problem) else x)


def _from_channels_first(problem: ConvProblem, y: Array) -> Array:
    """Return a view of (N, K, *size) in the problem's layout."""
    return np.moveaxis(y, 1, -1) if _last(problem) else y


def _last(problem: ConvProblem) -> bool:
    return problem.layout == "channels_last"


def _check_threads(library: str, found: int) -> None:
    threads = fastconv.get_num_threads()
    if found != threads:
        raise RuntimeError(
            f"{library} must use {threads} threads as fastconv does, it says {found}"
        )


def _torch(memory_format: str) -> Prepare:
    """Return PyTorch on plain tensors of one memory format.

    The tensors are made in inference mode, which takes autograd out of every call on them. Entering
    the mode around each call would charge PyTorch some 5 us that its users pay once.
    """

    def prepare(problem: ConvProblem, x: Array, weight: Array, bias: Array) -> Run | None:
        ranks = (2,) if memory_format == "channels_last" else (1, 2, 3)
        dtypes = ("float32", "float64")
        if not _is_a_layer(problem) or problem.rank not in ranks or problem.dtype not in dtypes:
            return None
        torch = import_module("torch")
        torch.set_num_threads(fastconv.get_num_threads())
        _check_threads("torch", torch.get_num_threads())
        convolve = getattr(torch.nn.functional, f"conv{problem.rank}d")
        with torch.inference_mode():
            order = getattr(torch, memory_format)
            tensors = [
                torch.from_numpy(array).clone(memory_format=order)
                for array in (_channels_first(problem, x), weight)
            ]
            tensors.append(torch.from_numpy(bias).clone())
        padding = tuple(before for before, _ in problem.padding)
        arguments = (*tensors, problem.stride, padding, problem.dilation, problem.groups)

        def run() -> Array:
            y: Array = convolve(*arguments).numpy()
            return _from_channels_first(problem, y)

        return run

    return prepare


def _onnxruntime(problem: ConvProblem, x: Array, weight: Array, bias: Array) -> Run | None:
    """ONNX Runtime on a model of one Conv node; the session may repack the weights it is given."""
    if not _is_a_layer(problem) or problem.dtype != "float32":  # its Conv knows no float64
        return None
    onnxruntime = import_module("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = fastconv.get_num_threads()
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        onnx_model.convolution(problem, weight, bias), options, providers=["CPUExecutionProvider"]
    )
    _check_threads("onnxruntime", session.get_session_options().intra_op_num_threads)
    feed = {onnx_model.INPUT: _channels_first(problem, x)}

    def run() -> Array:
        y: Array = session.run(None, feed)[0]
        return _from_channels_first(problem, y)

    return run


def _one_plane(problem: ConvProblem) -> bool:
    """Whether the problem is an image filter: one plane, one filter, every pixel."""
    ones = (problem.batch, problem.channels, problem.filters, *problem.stride, *problem.dilation)
    return problem.direction == "forward" and not problem.flip and set(ones) == {1}


_OPENCV_BORDERS = {  # it has no circular border for filters
    "zeros": "BORDER_CONSTANT",
    "reflect": "BORDER_REFLECT_101",
    "symmetric": "BORDER_REFLECT",
    "replicate": "BORDER_REPLICATE",
}


def _opencv(problem: ConvProblem, x: Array, weight: Array, bias: Array) -> Run | None:
    """OpenCV's filter2D, whose output has the size of its input: a smaller one is cut out of it."""
    fits = all(
        before < size and before + after < size
        for (before, after), size in zip(problem.padding, problem.kernel, strict=True)
    )
    if (
        not _one_plane(problem)
        or problem.rank != 2
        or not fits
        or problem.padding_mode not in _OPENCV_BORDERS
        or problem.dtype not in ("float32", "float64")
    ):
        return None
    cv2 = import_module("cv2")
    cv2.setNumThreads(fastconv.get_num_threads())
    _check_threads("cv2", cv2.getNumThreads())
    plane, kernel = x.reshape(problem.size), weight.reshape(problem.kernel)
    height, width = problem.output_size
    (top, _), (left, _) = problem.padding
    delta = float(bias[0])
    border = getattr(cv2, _OPENCV_BORDERS[problem.padding_mode])

    def run() -> Array:
        y: Array = cv2.filter2D(
            plane, -1, kernel, anchor=(left, top), delta=delta, borderType=border
        )
        return y[:height, :width].reshape(problem.output_shape)

    return run


def _scipy(problem: ConvProblem, x: Array, weight: Array, bias: Array) -> Run | None:
    """SciPy's correlate, which chooses between the definition and an FFT; it knows one thread."""
    if not _one_plane(problem) or problem.padding_mode != "zeros":
        return None
    correlate = import_module("scipy.signal").correlate
    plane, kernel = x.reshape(problem.size), weight.reshape(problem.kernel)
    padded = any(sum(ends) for ends in problem.padding)

    def run() -> Array:
        image = np.pad(plane, problem.padding) if padded else plane
        y: Array = correlate(image, kernel, mode="valid") + bias[0]
        return y.reshape(problem.output_shape)

    return run


PEERS: Mapping[str, Peer] = MappingProxyType(
    {
        "torch": Peer("torch", _torch("contiguous_format")),
        "torch channels_last": Peer("torch", _torch("channels_last")),
        "onnxruntime": Peer("onnxruntime", _onnxruntime),
        "opencv": Peer("cv2", _opencv),
        "scipy": Peer("scipy", _scipy),
    }
)

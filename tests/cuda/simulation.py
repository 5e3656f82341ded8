"""Kernels as plain Python in Numba's simulator: ``NUMBA_ENABLE_CUDASIM=1 python tests/cuda/simulation.py``.

The simulator is chosen when Numba is imported, so that this needs a process of its own. It knows nothing of intrinsics:
each has a stand-in here, a line of Python, written from its description. It has no aligned shared memory and no
shuffles, so that the kernels here are those that need neither. What is found is printed, a problem a line.
"""

from __future__ import annotations

import ctypes
import math
import sys
from typing import NamedTuple

import numpy as np
from interpreted import InterpretingDriver, Launched
from numba import cuda

import fastconv
from fastconv.cuda import arrays, compile, driver, inline, intrinsics, plan
from fastconv.cuda.unroll import specialise
from fastconv.problem import ConvProblem, parse

#: Problems, with the algorithm and the activation.
PROBLEMS = (
    ("conv2d,n2,c3,5x6,k4,3x3,p1,float32", "direct", None),
    ("conv2d,n1,c4,5x6,k6,3x2,s2x1,p1:0x2,d2x1,g2,flip,channels_last,float64", "direct", "relu"),
    ("conv3d,n1,c2,3x4x3,k2,2x3x2,p1,float32", "direct", "hardswish"),
    ("conv2d,n2,c3,6x5,k6,3x3,s2,p1,g3,channels_last,float32", "depthwise", None),
    ("conv2d,n1,c2,6x7,k2,5x5,p2,g2,flip,float64", "depthwise", "relu6"),
    ("max_pool2d,n2,c3,7x6,3x3,s2,p1,ceil,float32", "windows", None),
    ("max_pool2d,n1,c3,7x6,3x2,s2,p1,d2,channels_last,float64", "windows", None),
    ("avg_pool2d,n1,c3,7x6,3x3,s2,p1,exclude_pad,float32", "windows", None),
    ("adaptive_avg_pool2d,n1,c2,7x5,3x3,o3x2,float32", "windows", None),
    ("max_pool2d,n1,c2,6x6,2x2,s2,int8", "windows", None),
)


class Pointer(NamedTuple):
    """What kernels call a pointer: an address in a memory that knows what is allocated."""

    memory: object
    address: int
    dtype: np.dtype

    def at(self, index: object) -> np.ndarray:
        """Return a view of one element; what is outside of all allocations raises."""
        address = self.address + int(index) * self.dtype.itemsize
        self.memory.places(np.array([address]), self.dtype.itemsize, None, "an element")
        return self.memory.array(address, (1,), self.dtype)


def advance(pointer, distance):
    return pointer._replace(address=pointer.address + int(distance) * pointer.dtype.itemsize)


def is_given(pointer):
    return pointer.address != 0


def load(pointer, index):
    return pointer.at(index)[0]


def load_if(condition, pointer, index, otherwise):
    return load(pointer, index) if condition else otherwise


def load_row(pointer, step, first, limit, count):
    zero = pointer.dtype.type(0)
    return tuple(load_if(0 <= first + i < limit, pointer, i * int(step), zero) for i in range(count))


def store(pointer, index, value):
    pointer.at(index)[0] = value


def quotient(dividend, multiplier, shift):
    return np.int32((int(dividend) * int(multiplier)) >> int(shift))


def slide(sums, values, factors, stride, dilation, taps):
    return tuple(
        total + sum(values[i * stride + j * dilation] * factors[j] for j in range(taps)) for i, total in enumerate(sums)
    )


def zeros(zero, count):
    return (zero,) * count


STAND_INS = {one.__name__: one for one in (advance, is_given, load, load_if, load_row, store, quotient, slide, zeros)}


class SimulatingDriver(InterpretingDriver):
    """A driver that runs kernels as Python."""

    def load(self, code: object, ordinal: int, shared: int = 0) -> object:
        """Specialise, with stand-ins for all that is not Python."""
        kernel = code.kernel
        names = {**compile._names(kernel), **STAND_INS}
        return kernel, cuda.jit(specialise(kernel.function, kernel.constants, names).function)

    def launch(self, launch_: driver.Launch, ordinal: int, stream: int) -> None:
        """Run, with arguments of the parameters' types."""
        kernel, function = launch_.function
        self.launches.append(Launched(kernel.function.__name__, launch_.grid, launch_.block, stream))
        words = list(launch_.parameters.words)
        of_kinds = zip(words, kernel.parameters, strict=True)
        arguments = [self._argument(word, kind, kernel.dtype) for word, kind in of_kinds]
        function[launch_.grid, launch_.block](*arguments)

    def _argument(self, word: int, kind: str, dtype: str) -> object:
        if kind.endswith("Pointer"):
            pointee = {"Pointer": dtype, "IntPointer": "int32", "WidePointer": "int64"}[kind]
            return Pointer(self.memory, word, np.dtype(pointee))
        if kind == "float":
            return np.frombuffer(ctypes.c_int64(word), dtype)[0]
        return np.int32(word) if kind == "int" else np.int64(word)


class Code:
    """A kernel that was not compiled, compared by identity."""

    def __init__(self, kernel: compile.Kernel, capability: tuple[int, int]) -> None:
        self.kernel = kernel


def result(problem: object, algorithm: str, activation: str | None, place: object) -> tuple[np.ndarray, np.ndarray]:
    """Return what the simulated kernels and the reference give, of the same numbers."""
    random = np.random.default_rng(0)
    convolution = isinstance(problem, ConvProblem)
    shapes = [problem.input_shape]
    if convolution:
        shapes += [problem.weight_shape, (problem.filters,), problem.output_shape]
    if problem.dtype.startswith("int"):
        operands = [random.integers(-9, 9, shape).astype(problem.dtype) for shape in shapes]
    else:
        operands = [random.uniform(-1, 1, shape).astype(problem.dtype) for shape in shapes]
    name = "conv" if convolution else problem.operation
    function = getattr(fastconv, f"{name}{problem.rank}d")

    def call(algorithm, *given):
        others = {"residual": given[3], "activation": activation} if convolution else {}
        return function(*given[:3], **problem.arguments(), **others, algorithm=algorithm)

    exact = [one.astype(np.float64) for one in operands] if problem.dtype == "float32" else operands
    return place.numpy(call(algorithm, *map(place.array, operands))), call("reference", *exact)


def main() -> None:
    """Print the relative error of each problem, and the threads that were simulated."""
    plan.compiled = Code
    inline.inlined = lambda formula: lambda *values: formula(*map(type, values))(*values)
    for name, stand_in in STAND_INS.items():  # which the epilogue, not imported yet, calls as well
        setattr(intrinsics, name, stand_in)
    place = SimulatingDriver()
    driver.install(place)
    arrays.register("interpreted", place)
    np.seterr(over="ignore")
    for text, algorithm, activation in PROBLEMS:
        problem = parse(text)
        before = len(place.launches)
        found, expected = result(problem, algorithm, activation, place)
        scale = float(np.linalg.norm(expected.astype(float))) or 1.0
        error = float(np.linalg.norm(found.astype(float) - expected.astype(float))) / scale
        threads = sum(math.prod(one.grid) * math.prod(one.block) for one in place.launches[before:])
        names = ",".join(one.name for one in place.launches[before:])
        sys.stdout.write(f"{text} {algorithm} {names} {threads} {error:.3g}\n")


if __name__ == "__main__":
    main()

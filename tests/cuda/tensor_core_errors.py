"""How far products by tensor cores err: ``python tests/cuda/tensor_core_errors.py`` prints it, a problem a line.

Relative, in the 2-norm, of uniform numbers in (-1, 1): against the definition, and against the definition of the
factors as they are rounded, which leaves the rounding of sums and results. The kernels are interpreted.
"""

from __future__ import annotations

import sys

import numpy as np


def main() -> None:
    """Print a line for each problem of the tests."""
    from interpreted import InterpretingDriver
    from test_convolution import called, drawn, expected
    from test_implicit_gemm_mma import PROBLEMS, ROUNDING, error

    from fastconv.cuda import arrays, driver
    from fastconv.problem import ConvProblem

    device = InterpretingDriver()
    driver.install(device)
    arrays.register("interpreted", device)
    for text, activation, *_ in PROBLEMS:
        problem = ConvProblem.parse(text)
        x, weight, *addends = drawn(problem, np.random.default_rng(0))
        bias, residual = map(device.array, addends)
        arguments = {"activation": activation, "algorithm": "implicit_gemm_mma"}
        y = called(problem, device.array(x), device.array(weight), bias, residual=residual, **arguments)
        found = device.numpy(y).astype(np.float64)
        round_ = ROUNDING.get(problem.precision, lambda values: values)
        errors = [
            error(found, expected(problem, *factors, *addends, activation))
            for factors in ((x, weight), (round_(x), round_(weight)))
        ]
        sys.stdout.write(f"{text:72} {errors[0]:.2e} {errors[1]:.2e}\n")


if __name__ == "__main__":
    main()

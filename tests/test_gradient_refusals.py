"""Wrong calls of gradients: what each raises, and what its message says."""

from __future__ import annotations

import numpy as np
import pytest

import fastconv


def test_what_is_refused():
    weight, grad, x = np.ones((3, 2, 3, 3)), np.ones((1, 3, 3, 3)), np.ones((1, 2, 5, 5))
    refused = [
        (TypeError, "input_size must be a tuple of ints, got 5", lambda: fastconv.conv2d_input(5, weight, grad)),
        (ValueError, r"input_size must have 4 numbers, or 3 for one image, got \(5, 5\)",
         lambda: fastconv.conv2d_input((5, 5), weight, grad)),
        (ValueError, r"weight must have 4 axes", lambda: fastconv.conv2d_input((1, 2, 5, 5), weight[0], grad)),
        (ValueError, r"grad_output must have the output's shape \(1, 3, 4, 3\), got \(1, 3, 3, 3\)",
         lambda: fastconv.conv2d_input((1, 2, 6, 5), weight, grad)),
        (ValueError, r"grad_output must have the output's shape \(3, 3, 3\), got \(1, 3, 3, 3\)",
         lambda: fastconv.conv2d_input((2, 5, 5), weight, grad)),
        (ValueError, r"weight_size must have 4 numbers, .*, got \(3, 2, 3\)",
         lambda: fastconv.conv2d_weight(x, (3, 2, 3), grad)),
        (ValueError, r"grad_output must have the output's shape \(1, 3, 4, 4\)",
         lambda: fastconv.conv2d_weight(x, (3, 2, 2, 2), grad)),
        (ValueError, "x must have 4 axes", lambda: fastconv.conv2d_weight(x[0, 0], (3, 2, 3, 3), grad)),
        (TypeError, "grad_output", lambda: fastconv.conv2d_input((1, 2, 5, 5), weight, grad.astype(complex))),
        (TypeError, "grad_output must be an array, got str", lambda: fastconv.conv2d_weight(x, (3, 2, 3, 3), "g")),
        (ValueError, "algorithm must be one of auto, direct",
         lambda: fastconv.conv2d_weight(x, (3, 2, 3, 3), grad, algorithm="fast")),
        (fastconv.UnsupportedError, "winograd_4x4.*, in conv1d,n1,c9",
         lambda: fastconv.conv2d_weight(x, (3, 2, 3, 3), grad, algorithm="winograd_4x4")),
        (ValueError, r"out must have shape \(3, 2, 3, 3\)",
         lambda: fastconv.conv2d_weight(x, (3, 2, 3, 3), grad, out=np.zeros((3, 2, 3)))),
        (ValueError, "tolerance must be", lambda: fastconv.conv2d_weight(x, (3, 2, 3, 3), grad, tolerance=-1)),
        (ValueError, "padding_mode must be one of",
         lambda: fastconv.conv2d_weight(x, (3, 2, 3, 3), grad, padding_mode="edge")),
    ]  # fmt: skip
    for kind, message, function in refused:
        with pytest.raises(kind, match=message):
            function()

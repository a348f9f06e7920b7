"""The modules on the Triton kernels, interpreted on the CPU in float32: their error against torch.nn in float64."""

import math

import pytest
import torch
from module_cases import run_both

pytest.importorskip("triton")

BLOCKS = [0, *(pytest.param(block, marks=pytest.mark.slow) for block in range(1, 20))]
"""Ten random networks each."""


def relative_error(got, expected):
    return (got.double() - expected).norm().item() / max(expected.norm().item(), 1e-30)


@pytest.mark.parametrize("block", BLOCKS)
def test_error_is_a_few_units_in_the_last_place_and_near_torchs(block):
    ratios = []
    for seed in range(10 * block, 10 * (block + 1)):
        largest = 69 if seed % 10 == 0 else 17
        theirs, ours, what = run_both(seed, "triton", torch.float32, largest, layers=2)
        _, plain, _ = run_both(seed, "aten", torch.float32, largest, layers=2)
        for expected, got, other in zip(theirs, ours, plain, strict=True):
            assert got.isfinite().all(), what
            error = relative_error(got, expected)
            assert error < 5e-6, what
            ratios.append(math.log(max(error, 1e-9) / max(relative_error(other, expected), 1e-9)))
    assert math.exp(sum(ratios) / len(ratios)) <= 1.5

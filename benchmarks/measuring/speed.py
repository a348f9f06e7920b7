"""Timing tables for people, by pytest-benchmark: `make bench`. Records and claims come from benchmarks.measuring.run instead.

Each group is one case of a suite, its lines the peers; on a machine without a GPU the CPU suite, else the first cases of the
suites that a GPU is for.
"""

import pytest
import torch

from benchmarks.measuring.peers import peers
from benchmarks.measuring.suites import suite

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
if DEVICE.type == "cpu":
    torch.set_num_threads(1)  # as the records
CASES = (
    [case for name in ("layer", "deep", "packed") for case in suite(name)[:6]]
    if DEVICE.type == "cuda"
    else suite("cpu")
)


@pytest.mark.parametrize("peer", ["torch.nn", "ours", "reference"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.key)
def test_speed(benchmark, case, peer):
    """Time one peer on one case, the device waited for."""
    benchmark.group = case.key
    call = peers(case, DEVICE)[peer].call

    def finished() -> None:
        call()
        if DEVICE.type == "cuda":
            torch.cuda.synchronize()

    benchmark.pedantic(finished, rounds=20, warmup_rounds=2)

"""The dropout kernels compiled for GPUs that are not here: 128-bit accesses, no spills, each byte moved once."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")
ROOT = Path(__file__).parents[2]


def compiled(module, tmp_path, *arguments):
    """Run a benchmark module where kernels are compiled, not interpreted; its rows."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    path = tmp_path / "rows.json"
    run = subprocess.run(
        [sys.executable, "-m", module, "--json", str(path), *arguments],
        cwd=ROOT, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    print(run.stdout)
    assert run.returncode == 0, run.stderr
    return json.loads(path.read_text())


@pytest.mark.parametrize(
    "dtype", ["bf16", *(pytest.param(other, marks=pytest.mark.slow) for other in ("fp16", "fp32", "fp64"))]
)
def test_kernels_move_each_element_once_by_128_bits_and_do_not_spill(dtype, tmp_path):
    rows = compiled("benchmarks.machine_code.aot_dropout", tmp_path, "--dtype", dtype)
    assert len(rows) == 20
    assert {row["arch"] for row in rows} == {"sm_80", "sm_86", "sm_90", "sm_100", "sm_120"}
    for row in rows:
        assert row["spill_bytes"] == 0
        assert row["registers"] <= 128  # four programs of 128 threads a multiprocessor
        assert row["written_bytes_per_element"] == row["least_bytes_read"] / (2 if "gradient" in row["kernel"] else 1)


@pytest.mark.slow
@pytest.mark.parametrize("drop", ["each", "shared"])
def test_sweeps_that_drop_keep_every_rule_of_the_launch_table(drop, tmp_path):
    rows = compiled(
        "benchmarks.machine_code.aot", tmp_path, "--dtype", "bf16", "--hidden", "64", "256", "2048", "--drop", drop
    )["rows"]
    assert len(rows) >= 90
    assert not [row for row in rows if row["faults"]]

"""The dropout kernels compiled for GPUs that are not here: 128-bit accesses, no spills, each byte moved once."""

import pytest

pytest.importorskip("triton")

from machine_code_rows import compiled


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

"""The sweeps with layer normalisation compiled for GPUs that are not here: no spills, and not many more cycles a step."""

import pytest

pytest.importorskip("triton")

from machine_code_rows import compiled

MORE = {("gru", "forward"): 1.7, ("gru", "backward"): 1.4, ("lstm", "forward"): 2.5, ("lstm", "backward"): 2.0}
"""Cycles a step beside the plain cell's, at most: a step has one exchange more for each norm in it but one, the GRU's backward."""


def test_sweeps_of_one_chip_do_not_spill_and_take_no_more_cycles(tmp_path):
    rows = compiled(
        "benchmarks.machine_code.aot_norm", tmp_path, "--dtype", "bf16", "--arch", "90", "--hidden", "256",
        "--cell", "gru", "lstm",
    )  # fmt: skip
    assert len(rows) == 8
    for row in rows:
        assert row["spill_bytes"] == 0
        if row["B"] == 32:
            assert row["cycles"] <= MORE[row["cell"], row["sweep"]] * row["plain_cycles"], row


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["bf16", "tf32"])
@pytest.mark.parametrize("arch", [80, 90, 100, 120])
def test_no_row_of_the_table_spills(arch, dtype, tmp_path):
    rows = compiled("benchmarks.machine_code.aot_norm", tmp_path, "--dtype", dtype, "--arch", str(arch))
    assert len(rows) >= 60

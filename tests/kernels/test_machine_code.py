"""Every row of the launch table, compiled for chips that are not here: no spills, room enough, coherent exchange, nothing twice."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest
import torch

triton = pytest.importorskip("triton")

from benchmarks.machine_code import aot, aot_record, sass  # noqa: E402
from benchmarks.machine_code.aot import (  # noqa: E402
    MULTIPROCESSORS,
    RECORDED,
    Case,
    exchanges,
    faults,
    passes,
    products_a_warp,
    step_cycles,
)  # fmt: skip
from benchmarks.machine_code.compiled import loads  # noqa: E402
from benchmarks.measuring.records import RecordError  # noqa: E402
from fusedrnn.backends.chips import CHIPS  # noqa: E402
from fusedrnn.kernels.cell import NUMBERS  # noqa: E402
from fusedrnn.kernels.table import PLACES, TABLE, candidates, kind_of  # noqa: E402

WIDTHS = (64, 128, 512, 2048)
FLOATS = ("bf16", "tf32")
NOWHERE = {arch: {"shared"} for arch in (80, 86, 120)}
"""Places of the weights that no launch uses at these widths: where a GRU of H=2048 has no room, smaller places have none."""


def compiled(tmp_path, *options):
    """The output of `python -m benchmarks.machine_code.aot`, in a separate process because this one interprets the kernels."""
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"} | {
        "PYTHONPATH": os.pathsep.join(sys.path)
    }
    command = [sys.executable, "-m", "benchmarks.machine_code.aot", "--json", str(tmp_path / "rows.json"), *options]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads((tmp_path / "rows.json").read_text())["rows"]


ARCHS = [pytest.param(arch, marks=pytest.mark.slow if arch in (86, 100, 120) else []) for arch in MULTIPROCESSORS]
"""86 has the instructions of 80."""


@pytest.mark.parametrize("arch", ARCHS)
def test_every_row_keeps_the_rules_on(arch, tmp_path):
    hidden = [str(H) for H in WIDTHS]
    rows = compiled(tmp_path, "--arch", str(arch), "--hidden", *hidden, "--dtype", *FLOATS)
    assert not [row["faults"] for row in rows if row["faults"]]
    assert {row["weights"] for row in rows} == set(PLACES) - NOWHERE.get(arch, set())
    assert {(row["kernel"], row["cell"]) for row in rows} == {
        (f"{sweep}_sweep", cell) for sweep in ("forward", "backward") for cell in RECORDED
    }


@pytest.mark.slow
@pytest.mark.parametrize("arch", [80, 86, 90])
def test_rows_without_tensor_cores_keep_the_rules_on(arch, tmp_path):
    rows = compiled(tmp_path, "--arch", str(arch), "--hidden", "300", "--dtype", "fp32", "fp64")
    assert len(rows) == 18  # exact float32 has a row for large batches too
    assert not [row["faults"] for row in rows if row["faults"]]


@pytest.mark.slow
@pytest.mark.parametrize("options", ["all", "--plain"])
def test_the_whole_matrix_keeps_the_rules(options, tmp_path):
    assert len(compiled(tmp_path, *([] if options == "all" else [options]))) >= 1000


def test_the_widths_reach_every_row_of_the_table():
    reached = {
        (kind_of(dtype, tf32), replace(row, chunks=0, group=0, per_sm=1))
        for chip in CHIPS
        for H in (*WIDTHS, 256, 768, 1536, 300)
        for dtype, tf32 in (
            (torch.bfloat16, True),
            (torch.float32, True),
            (torch.float32, False),
            (torch.float64, False),
        )
        for cell in NUMBERS
        for sweep in ("forward", "backward")
        for row in candidates(sweep, cell, dtype, H, chip, tf32)
    }
    assert reached == {(entry.numbers, replace(entry.row, chunks=0, group=0)) for entry in TABLE}


SOUND = {
    "weights": "registers", "spill_bytes": 0, "shared_bytes": 90_000, "shared_limit": 100_000, "shared_by_table": 95_000,
    "tensor_core": {"HMMA.16816.F32.BF16": 24}, "tensor_core_needed": 24, "loop_weight_loads": 0,
    "exchange_load": {"LDG.E.128.STRONG.GPU": 12}, "exchange_load_needed": 12,
    "exchange_store": {"STG.E.U16.STRONG.GPU": 3}, "exchange_store_needed": 3, "counters": [],
}  # fmt: skip


def test_a_sound_row_has_no_fault():
    assert faults(SOUND) == []
    assert faults(SOUND | {"weights": "streamed", "loop_weight_loads": 3}) == []
    assert faults(SOUND | {"tensor_core": {}, "tensor_core_needed": None}) == []
    assert faults(SOUND | {"exchange_store": {"STG.E.64.STRONG.GPU": 1, "STG.E.128.STRONG.GPU": 2}}) == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"spill_bytes": 8}, "expected no spills, got 8 bytes"),
        (
            {"shared_bytes": 100_001, "shared_by_table": 200_000},
            "expected at most 100000 bytes of shared memory, got 100001",
        ),
        ({"shared_bytes": 96_000}, "expected at most the table's 95000 bytes, got 96000"),
        ({"tensor_core": {"HMMA.16816.F32.BF16": 96}}, "expected 24 tensor-core instructions a warp, got 96"),
        ({"tensor_core": {"HMMA.16816.F32.BF16": 12}}, "expected 24 tensor-core instructions a warp, got 12"),
        ({"tensor_core": {}}, "expected 24 tensor-core instructions a warp, got 0"),
        ({"tensor_core_needed": None}, "expected 0 tensor-core instructions a warp, got 24"),
        ({"loop_weight_loads": 1}, "expected weights to stay on chip, got 1 loads"),
        ({"weights": "streamed"}, "expected streamed weights to be loaded in the loop, got none"),
        (
            {"exchange_load": {"LDG.E.128.STRONG.GPU": 11}},
            "expected 12 loads of 16 bytes a thread, coherent across the GPU",
        ),
        (
            {"exchange_load": {"LDG.E.128.STRONG.GPU": 12, "LDG.E.STRONG.GPU": 1}},
            "expected 12 loads of 16 bytes a thread",
        ),
        ({"exchange_load": {"LDG.E.64.STRONG.GPU": 12}}, "expected 12 loads of 16 bytes a thread"),
        ({"exchange_load": {}}, "expected 12 loads of 16 bytes a thread"),
        ({"exchange_store": {"STG.E.U16.STRONG.GPU": 2}}, "expected 3 stores a step, coherent across the GPU, got"),
        ({"exchange_store": {}}, "expected 3 stores a step"),
        ({"counters": ["atom.global.gpu.acquire.add.u32"]}, "expected no counters, got"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_each_fault_is_found(change, says):
    assert says in " ".join(faults(SOUND | change))


def test_a_warps_share_of_the_product():
    """LSTM, H=512, 16 units, 8 samples, four warps: 4 gates x 512 / 4 / 16 deep."""
    assert products_a_warp(Case("forward", "lstm", "bf16", 90, 512)) == 32
    assert products_a_warp(Case("backward", "gru", "tf32", 90, 512)) == 3 * 512 // 8 // 8
    assert products_a_warp(Case("forward", "gru", "fp64", 90, 64)) is None


def test_loads_and_stores_of_an_exchange():
    """A chunk of 64 x 8 numbers of 16 bits: 16 a thread, two loads; the LSTM's backward polls four gates', one chunk each."""
    assert exchanges(Case("forward", "gru", "bf16", 90, 512)) == (2 * 2, 1)
    assert exchanges(Case("backward", "lstm", "bf16", 90, 512)) == (4 * 1 * 2, 4)
    assert exchanges(Case("backward", "gru", "bf16", 90, 256)) == (3 * 1 * 2, 3)  # not dm's
    assert exchanges(Case("forward", "gru_before", "bf16", 90, 256)) == (2 * 2, 2)
    assert exchanges(Case("forward", "gru", "fp64", 90, 256)) == (4, 1)  # 4 x 2 a thread


def test_loads_are_traced_to_their_arguments():
    ttgir = """
      tt.func public @kernel(%w_ptr: !tt.ptr<bf16> {tt.divisibility = 16 : i32}, %x_ptr: !tt.ptr<bf16>) {
        %0 = tt.splat %w_ptr : !tt.ptr<bf16> -> tensor<16x!tt.ptr<bf16>, #b>
        %1 = tt.load %0 : tensor<16x!tt.ptr<bf16>, #b>
        scf.for %t = %c0 to %T step %c1  : i32 {
          %2 = tt.addptr %x_ptr, %t : !tt.ptr<bf16>, i32
          %3 = tt.load %2 : !tt.ptr<bf16>
        }
        tt.return
      }
    """
    assert [(load.argument, load.depth) for load in loads(ttgir)] == [("w_ptr", 0), ("x_ptr", 1)]


def recorded(*options):
    """`python -m benchmarks.machine_code.aot_record` in a process where kernels are compiled."""
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"} | {
        "PYTHONPATH": os.pathsep.join(sys.path)
    }
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.machine_code.aot_record", *options],
        env=environment,
        capture_output=True,
        text=True,
    )


same_compiler = pytest.mark.skipif(
    aot_record.load()[0]["triton"] != triton.__version__, reason="the record was made with another Triton"
)


@same_compiler
def test_a_sample_compiled_anew_is_as_the_committed_record_says():
    done = recorded("--check", "10")
    assert done.returncode == 0, done.stdout
    assert done.stdout.splitlines()[-1].startswith("10 of ")


@same_compiler
@pytest.mark.slow
def test_every_row_compiled_anew_is_as_the_committed_record_says():
    done = recorded("--check", "0")
    assert done.returncode == 0, done.stdout


@same_compiler
def test_a_change_that_costs_registers_shows(tmp_path):
    environment, rows = aot_record.load()
    row = {**aot_record.sample(rows, 1)[0]}
    changed = {**row, "registers": row["registers"] - 1, "faults": []}
    aot_record.save(tmp_path / "aot.json", aot_record.pack(environment, [changed]))
    done = recorded("--check", "0", "--record", str(tmp_path / "aot.json"))
    assert done.returncode == 1
    assert f"expected registers {row['registers'] - 1} as recorded, got {row['registers']}" in done.stdout


NOTED = {
    **{
        "kernel": "forward_sweep",
        "cell": "lstm",
        "weights": "shared",
        "dtype": "bf16",
        "arch": "sm_90",
        "H": 512,
        "B": 32,
    },
    **{"tiles": [16, 16, 64, 2], "group": 4, "warps": 4},
    **{"registers": 200, "spill_bytes": 0, "shared_bytes": 65536, "cycles": 4000},
}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({}, None),
        ({"cycles": 4400}, None),
        ({"cycles": 3600}, None),
        ({"cycles": 4401}, "expected cycles 4000 as recorded, within 10%, got 4401"),
        ({"cycles": 3599}, "expected cycles 4000 as recorded, within 10%, got 3599"),
        ({"cycles": None}, "expected cycles 4000 as recorded, within 10%, got None"),
        ({"registers": 201}, "expected registers 200 as recorded, got 201"),
    ],
)
def test_cycles_are_compared_to_ten_percent_and_all_else_exactly(change, says, monkeypatch):
    monkeypatch.setattr(aot, "record", lambda case: NOTED | change)
    name = aot_record.name_of(NOTED)
    assert list(aot_record.differences([NOTED])) == ([f"{name}: {says}"] if says else [])


def test_cycles_where_there_were_none_are_a_difference(monkeypatch):
    monkeypatch.setattr(aot, "record", lambda case: NOTED)
    (found,) = aot_record.differences([NOTED | {"cycles": None}])
    assert found.endswith("expected cycles None as recorded, within 10%, got 4000")


def _line(at, text, stall=1):
    code = stall << 41 | 7 << 46 | 7 << 49  # holds no scoreboard
    return f"        /*{at:04x}*/     {text} ;   /* 0x{at:016x} */\n                        /* 0x{code:016x} */\n"


PLAIN = _line(0x00, "MUFU.EX2 R1, R2", 4) + _line(0x10, "BRA 0x0", 5)
INNER = _line(0x00, "IADD3 R1, R2, R3") + _line(0x10, "HMMA.16816.F32.BF16 R4, R5, R6, R4") + _line(0x20, "BRA 0x10")
TWO = INNER + _line(0x30, "HMMA.16816.F32.BF16 R8, R5, R6, R8") + _line(0x40, "BRA 0x30") + _line(0x50, "BRA 0x0")
INNER += _line(0x30, "BRA 0x0")


def test_a_step_has_cycles_where_the_timeline_has_sense(monkeypatch):
    """A warp alone on its sub-core takes 4 + 5 cycles; two of one sub-core take turns at its special units, 8 cycles each."""
    monkeypatch.setattr(
        sass, "dump", lambda cubin, option: {b"plain": PLAIN, b"streamed": INNER, b"two loops": TWO}[cubin]
    )
    assert step_cycles(b"plain", 90, warps=2) == (9, 0)
    assert step_cycles(b"plain", 90, warps=8) == (16, 0)
    # a tensor core takes 8 cycles for each pass, behind which all else goes on
    assert step_cycles(b"streamed", 90, warps=2) == (0, 8)
    assert step_cycles(b"two loops", 90, warps=2) == (0, 8)  # of either
    assert [step_cycles(b"plain", arch, warps=2) for arch in MULTIPROCESSORS if arch != 90] == [None] * 4


def test_a_pass_of_the_loop_over_streamed_weights_is_a_chunk():
    """By hand: a warp's part of H=2048 is 256 columns, four chunks of 64 of 16 bits or 16 of exact float32's 16."""
    assert passes(Case("forward", "lstm", "bf16", 90, 2048)) == 4
    assert passes(Case("backward", "lstm", "bf16", 90, 2048)) == 4 * 4
    assert passes(Case("forward", "gru_before", "fp32", 90, 2048, B=1)) == 2 * 16  # of each phase
    assert passes(Case("backward", "gru_before", "fp32", 90, 2048, B=1)) == 3 * 16
    assert passes(Case("forward", "lstm", "bf16", 90, 1024)) == 0


def test_the_record_has_cycles_of_every_row_of_the_h100():
    _, rows = aot_record.load()
    timed = [row for row in rows if row["arch"] == "sm_90"]
    assert len(timed) >= 100
    assert all(isinstance(row["cycles"], int) and 500 < row["cycles"] < 500_000 for row in timed)
    assert sum(row["cycles"] is not None for row in rows) == len(timed)
    of = {(row["kernel"], row["cell"], row["dtype"], row["H"], row["B"]): row["cycles"] for row in timed}
    for cell in RECORDED:
        longer, shorter = (of["forward_sweep", cell, "fp64", H, 32] for H in (2048, 1024))
        assert 1.8 < longer / shorter < 2  # twice the passes, and what a step does once


def test_the_record_covers_the_chips_and_no_row_spills():
    _, rows = aot_record.load()
    assert len(rows) >= 400
    assert {row["arch"] for row in rows} == {f"sm_{arch}" for arch in MULTIPROCESSORS}
    assert {row["H"] for row in rows} == {64, 128, 256, 512, 768, 1024, 2048}
    assert not [row for row in rows if row["spill_bytes"] or row["shared_bytes"] > row["shared_limit"]]


def test_a_row_with_faults_is_not_recorded():
    _, rows = aot_record.load()
    broken = [{**rows[0], "faults": ["expected no spills, got 8 bytes"]}]
    with pytest.raises(RecordError, match="expected a row without faults, got expected no spills, got 8 bytes"):
        aot_record.pack({}, broken)

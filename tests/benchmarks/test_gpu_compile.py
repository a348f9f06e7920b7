"""What is compiled ahead is what launches on a GPU ask for; the kernels that measure a chip are what they claim to be."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

pytest.importorskip("triton")

from benchmarks.gpu import needs, steps
from benchmarks.gpu.kernels import Pointwise, Sweep, distinct
from benchmarks.machine_code.absent import Chip

ROOT = Path(__file__).parents[2]
HELPERS = ROOT / "tests" / "helpers"
CHIP = Chip((9, 0), 132)
COMPILED = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}


def run(*arguments, **environment):
    """A Python program in the root of the checkout and without the interpreter."""
    paths = os.pathsep.join([str(ROOT), str(HELPERS), *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.run(
        [sys.executable, *map(str, arguments)], env={**COMPILED, "PYTHONPATH": paths, **environment}, cwd=ROOT,
        capture_output=True, text=True,
    )  # fmt: skip


def in_a_process(*arguments, **environment):
    """What it prints."""
    done = run(*arguments, **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Triton's cache after the compilation of what the jobs of `absent_launches` say that they need."""
    folder = tmp_path_factory.mktemp("cache")
    found = json.loads(in_a_process(HELPERS / "absent_launches.py", "compile", TRITON_CACHE_DIR=str(folder)))
    assert len(found["new"]) == found["launches"] > 20
    return folder


def test_every_launch_finds_its_kernel_in_the_cache_that_was_filled_ahead(cache):
    found = json.loads(in_a_process(HELPERS / "absent_launches.py", "run", TRITON_CACHE_DIR=str(cache)))
    assert found["new"] == []
    assert found["cached"] > 20
    assert found["launches"] > found["cached"]


@pytest.mark.slow
def test_what_was_not_compiled_ahead_is_counted(cache, tmp_path):
    shutil.copytree(cache, tmp_path / "cache")
    lost = next((tmp_path / "cache").glob("*/backward_sweep.json")).parent
    shutil.rmtree(lost)
    found = json.loads(in_a_process(HELPERS / "absent_launches.py", "run", TRITON_CACHE_DIR=str(tmp_path / "cache")))
    assert found["new"] == ["backward_sweep"]


def test_the_program_compiles_on_several_processes_and_finds_it_all_the_second_time(tmp_path):
    command = ("-m", "benchmarks.gpu.compiling", "--phases", "steps", "--first", "4", "--processes", "2")
    first = in_a_process(*command, "--json", tmp_path / "record.json", TRITON_CACHE_DIR=str(tmp_path))
    assert "3 launches: 8 kernels compiled, 0 found in the cache, 0 errors" in first
    rows = json.loads((tmp_path / "record.json").read_text())["rows"]
    assert [row["new"] for row in rows].count(1) == 2
    assert all(row["seconds"] > 0 for row in rows)
    again = in_a_process(*command, TRITON_CACHE_DIR=str(tmp_path))
    assert "3 launches: 0 kernels compiled, 8 found in the cache, 0 errors" in again


LOSES_ONE = """
import os, sys
from benchmarks.gpu import compiling, needs
from benchmarks.gpu.kernels import Pointwise

class Dies:
    def compile(self):
        os._exit(9)

compiling.LIMIT_S = 5.0
needs.kernels = lambda *_, **__: [Dies(), Pointwise("dropout", "bf16"), Pointwise("dropout", "fp32")]
sys.exit(compiling.main(["--phases", "dropout", "--processes", "1", "--json", sys.argv[1]]))
"""


@pytest.mark.slow
def test_a_process_that_dies_costs_its_kernel_and_not_the_time_of_the_phase(tmp_path):
    begun = time.monotonic()
    done = run("-c", LOSES_ONE, tmp_path / "record.json", TRITON_CACHE_DIR=str(tmp_path))
    assert done.returncode == 1
    assert time.monotonic() - begun < 60
    rows = json.loads((tmp_path / "record.json").read_text())["rows"]
    assert [row["new"] for row in rows] == [1, 1, 0]
    assert rows[2]["error"] == "expected all kernels, got none for 5 s and 2 of 3"


def test_in_the_interpreter_nothing_can_be_compiled():
    done = run("-m", "benchmarks.gpu.compiling", TRITON_INTERPRET="1")
    assert done.returncode == 2
    assert "expected TRITON_INTERPRET not to be set, got 1" in done.stderr


def test_sweeps_share_a_kernel_whatever_their_samples_and_not_across_what_it_is_compiled_for():
    base = Sweep("forward", "gru", "bf16", 32, 512)
    same = [base, Sweep("forward", "gru", "bf16", 16, 512), Sweep("forward", "gru", "bf16", 32, 512, D=2, tf32=False)]
    assert len(distinct(same, CHIP)) == 1
    others = [
        Sweep("backward", "gru", "bf16", 32, 512), Sweep("forward", "lstm", "bf16", 32, 512),
        Sweep("forward", "gru", "fp16", 32, 512), Sweep("forward", "gru", "bf16", 32, 256),
        Sweep("forward", "gru", "bf16", 32, 512, lengths=True),
        Sweep("forward", "gru", "bf16", 32, 512, save=False), Sweep("forward", "gru", "bf16", 32, 500),
        Sweep("forward", "gru", "fp32", 32, 512), Sweep("forward", "gru", "fp32", 32, 512, tf32=False),
        Pointwise("dropout", "bf16"), Pointwise("dropout", "fp32"), Pointwise("dropout", "bf16", 7),
    ]  # fmt: skip
    assert len(distinct([*others, base, *others], CHIP)) == len(others) + 1
    assert distinct([*same, *others], CHIP)[0] == base


def test_the_gates_kernels_come_first_and_every_phase_is_served():
    wanted = needs.kernels(needs.PHASES, CHIP)
    assert wanted[: len(needs.kernels(["gate"], CHIP))] == needs.kernels(["gate"], CHIP)
    for name in needs.PHASES:
        assert {k.identity(CHIP) for k in needs.kernels([name], CHIP)} <= {k.identity(CHIP) for k in wanted}
    rows = [kernel.launch_row(CHIP) for kernel in wanted if isinstance(kernel, Sweep) and kernel.H == 512]
    assert {row.weights for row in rows} == {"registers", "shared", "streamed"}


MICRO = """
import re, subprocess, triton
from benchmarks.machine_code import absent
from benchmarks.gpu import micro
from benchmarks.machine_code.compiled import TOOLS
absent.install(absent.Chip((9, 0), 132))
paths = []
def heard(*, src, metadata_group, **_):
    paths.append((src.name, next(path for name, path in metadata_group.items() if name.endswith("cubin"))))
triton.knobs.compilation.listener = heard
micro._compile_all()
for name, path in paths:
    sass = subprocess.run([TOOLS / "cuobjdump", "-sass", path], capture_output=True, text=True, check=True).stdout
    found = re.findall(r"\\b(LDG[.\\w]*|STG[.\\w]*|REDG?[.\\w]*|ATOMG?[.\\w]*|MEMBAR[.\\w]*)", sass)
    print(name, *sorted(set(found)), "clock" if "SR_CLOCK" in sass else "")
"""


def test_the_micro_measurements_are_what_they_are_named_after():
    word, counter, both, plain, alone, nothing = in_a_process("-c", MICRO).splitlines()
    for ping_pong in (word, counter):
        assert "ping_pong" in ping_pong
        assert "LDG.E.STRONG.GPU" in ping_pong  # the poll
    assert "STG.E.STRONG.GPU" in word
    assert "MEMBAR" not in word
    assert "MEMBAR" in counter
    assert "ADD" in counter
    assert "STG.E.128" in both
    assert "MEMBAR.ALL.GPU" in both
    assert "STG.E.128" in plain
    assert "MEMBAR" not in plain
    assert "MEMBAR.ALL.GPU" in alone
    assert "STG.E.128" not in alone
    assert "MEMBAR" not in nothing
    assert all("clock" in line for line in (word, counter, both, plain, alone, nothing))


STEP = """
import json, torch
from benchmarks.machine_code import absent
from benchmarks.gpu import steps
from benchmarks.gpu.kernels import of_sweep
from benchmarks.gpu.tuning import Tune
absent.install(absent.Chip((9, 0), 132))
new = []
absent.listen(lambda source, cached: None if cached else new.append(source.name))
tune = Tune("forward", "lstm", "bf16", 2, 3, 256)
row = next(of_sweep(tune)).launch_row(absent.Chip((9, 0), 132))
kernel = steps.compiled(tune, row, torch.device("cpu"))
print(json.dumps([*(steps.predicted(kernel, row.warps, hz) for hz in (None, 1e9)), new]))
"""


def test_a_step_is_predicted_from_the_machine_code_of_the_kernel_that_was_launched(cache):
    own, slower, new = json.loads(in_a_process("-c", STEP, TRITON_CACHE_DIR=str(cache)))
    assert new == []  # the launch's own kernel
    assert 0 < own["on_chip_cycles"] < own["predicted_cycles"] <= own["slow_cycles"]
    assert slower["predicted_us"] == pytest.approx(slower["predicted_cycles"] / 1e3)
    assert own["predicted_us"] < slower["predicted_us"]


def test_the_steps_that_are_timed_hold_the_sizes_wanted():
    shapes = steps.shapes()
    assert {tune.H for tune in shapes} == {64, 256, 512, 1024}
    assert {(tune.cell, tune.sweep) for tune in shapes} == {
        (c, s) for c in ("gru", "lstm") for s in ("forward", "backward")
    }
    assert len({steps.key_of(tune) for tune in shapes}) == len(shapes)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU measures")
def test_a_step_in_the_interpreter_is_the_difference_of_two_lengths_and_has_no_prediction(monkeypatch):
    from benchmarks.gpu.tuning import Tune

    tune = Tune("forward", "gru", "fp32", 4, 2, 5)
    (row,) = steps.measure(tune, "cpu", None, (2, 6), 3)
    assert row["us_p20"] <= row["us_a_step"] <= row["us_p80"]
    assert row["us_a_step"] > 0
    assert "predicted_us" not in row
    monkeypatch.setattr(steps, "paired", lambda calls, *_, **__: {"2": [1.0, 2.0, 3.0], "6": [3.0, 5.0, 9.0]})
    (row,) = steps.measure(tune, "cpu", None, (2, 6), 3)
    assert row["us_a_step"] == pytest.approx(0.75e6)

"""The timeline beside FlashRNN's published times: a kernel of its interface is found, compiled and played; the record adds up."""

import json
import os
import subprocess
import sys

import pytest

pytest.importorskip("triton")

from benchmarks import report
from benchmarks.machine_code import flashrnn
from benchmarks.machine_code.timeline import CLOCK_HZ
from benchmarks.measuring.records import RESULTS, Record, load

KERNEL = """
import triton
import triton.language as tl
from .helper import twice


@triton.autotune([{configs}], key=["DH"])
@triton.jit
def _forward_sequence_kernel(
    states_initial, Wx, R, b, states_all, gates_all,
    T: tl.constexpr, NS: tl.constexpr, B: tl.constexpr, NH: tl.constexpr, DH: tl.constexpr, NGI: tl.constexpr,
    NGR: tl.constexpr, siz_B: tl.constexpr, OUTPUT_GATES: tl.constexpr, DTYPE: tl.constexpr,
):
    tl.static_assert(T == 1024 and NS == 2 and B == 16 and NH * DH == 768 and NGI == 4 and NGR == 4 and siz_B == 16)
    tl.static_assert(OUTPUT_GATES or gates_all is None)
    unit = tl.arange(0, DH)
    at = tl.arange(0, siz_B)[:, None] * DH + unit[None, :]
    w = tl.load(R + unit[:, None] * DH + unit[None, :])
    h = tl.load(states_initial + at)
    steps = tl.load(b).to(tl.int32)  # a number that the compiler knows would have it unroll so small a loop
    for t in range(steps):
        a = tl.dot(h, w) + tl.load(Wx + t * NGI * B * DH + at)
        h = twice(tl.exp(a)).to(DTYPE)
        tl.store(states_all + t * NS * B * DH + at, h)
        if OUTPUT_GATES:
            for g in tl.static_range(4):
                tl.store(gates_all + (t * NGR + g) * B * DH + at, (a * g).to(DTYPE))
"""
HELPER = "import triton\n\n\n@triton.jit\ndef twice(x):\n    return x + x\n"
CONFIG = 'triton.Config({"siz_B": 16}, num_warps=4, num_stages=1)'


@pytest.fixture
def source(tmp_path):
    """A tree as an installed copy has it; nothing in it but the kernel's module can be imported."""
    folder = tmp_path / "site" / "flashrnn" / "flashrnn" / "triton_fused"
    folder.mkdir(parents=True)
    (tmp_path / "site" / "flashrnn-9.8.7.dist-info").mkdir()
    (folder.parent / "__init__.py").write_text("raise ImportError('needs a compiler')\n")
    (folder / "helper.py").write_text(HELPER)
    (folder / "lstm_fw.py").write_text(KERNEL.replace("{configs}", CONFIG))
    return tmp_path / "site"


def written(source, out):
    """`python -m benchmarks.machine_code.flashrnn` in a process where kernels are compiled."""
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    command = [sys.executable, "-m", "benchmarks.machine_code.flashrnn", str(source), "--json", str(out)]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


def check(rows):
    """What holds of every such record."""
    assert [row["head_size"] for row in rows] == [16, 32, 64, 128]
    for row in rows:
        assert row["heads"] * row["head_size"] == 768
        assert row["published_us"] == pytest.approx(flashrnn.PUBLISHED_MS[row["head_size"]] / 1024 * 1e3, abs=1e-3)
        assert row["predicted_us"] == pytest.approx(row["predicted_cycles"] / CLOCK_HZ * 1e6, abs=1e-3)
        assert row["difference_us"] == pytest.approx(row["published_us"] - row["predicted_us"], abs=2e-3)
        assert 0 < row["without_gates_us"] < row["predicted_us"]


def test_a_kernel_is_compiled_and_played_at_every_head_size(source, tmp_path):
    done = written(source, tmp_path / "out.json")
    assert done.returncode == 0, done.stderr[-2000:]
    record = load(tmp_path / "out.json")
    told = record.environment
    assert (told["measured"], told["flashrnn"], told["T"], told["B"]) == (False, "9.8.7", 1024, 16)
    assert len(told["kernel_sha256"]) == 64
    assert str(tmp_path) not in json.dumps(told)
    check(record.rows)
    cycles = [row["predicted_cycles"] for row in record.rows]
    assert cycles[3] > 1.5 * cycles[1]


def test_what_is_not_flashrnn_is_refused(source, tmp_path):
    (tmp_path / "empty").mkdir()
    done = written(tmp_path / "empty", tmp_path / "out.json")
    assert done.returncode == 2
    assert "expected one triton_fused/lstm_fw.py in it, got 0" in done.stderr
    (source / "flashrnn-9.8.7.dist-info").rmdir()
    with pytest.raises(
        ValueError, match=r"expected flashrnn-\*.dist-info or FlashRNN's pyproject.toml above it, got neither"
    ):
        flashrnn.version_of(flashrnn.find(source))
    (source / "pyproject.toml").write_text('[project]\nname = "another"\nversion = "1"\n')
    with pytest.raises(ValueError, match="got neither"):
        flashrnn.version_of(flashrnn.find(source))
    (source / "pyproject.toml").write_text('[project]\nname = "flashrnn"\nversion = "1.2.3"\n')
    assert flashrnn.version_of(flashrnn.find(source)) == "1.2.3"
    flashrnn.find(source).write_text(KERNEL.replace("{configs}", f"{CONFIG}, {CONFIG}"))
    with pytest.raises(ValueError, match="expected a kernel with one set of launch options, got 2"):
        flashrnn.kernel_in(flashrnn.find(source))


def test_the_committed_record_adds_up():
    record = load(RESULTS / "timeline_flashrnn.json")
    assert record.environment["flashrnn"] == "1.0.8"
    assert record.environment["clock_hz"] == CLOCK_HZ
    check(record.rows)


def test_the_table_has_the_differences(tmp_path):
    assert report.flashrnn(tmp_path) == "No record yet."
    told = {"measured": False, "published": "a figure", "chip": "H100 SXM", "clock_hz": 1.5e9, "flashrnn": "1.0.8"}
    told |= {"triton": "3.7.1", "T": 1024, "B": 16, "dtype": "bf16"}
    row = {"head_size": 32, "heads": 24, "published_us": 2.0, "predicted_us": 2.5, "difference_us": -0.5}
    Record(told, [row | {"predicted_cycles": 1, "without_gates_us": 1.25}]).save(tmp_path / "timeline_flashrnn.json")
    text = report.flashrnn(tmp_path)
    assert "at 1.5 GHz; **nothing in this table was measured here**" in text
    assert "| 32 | 24 | 2.00 | 2.50 | -0.50 | -25% | 1.25 |" in text
    assert report.records(tmp_path) == {}  # it is no record of timed runs

"""The cost model: the published numbers it uses, its arithmetic, torch's rules for cuDNN, and the resulting choice."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from fusedrnn.backends import cost, cudnn
from fusedrnn.backends.chips import CHIPS, SHARED_BYTES, chip_of
from fusedrnn.backends.cudnn import PERSIST_STATIC, SMALL_H, STANDARD, Layer
from fusedrnn.kernels.cell import NUMBERS
from fusedrnn.kernels.rows import Row, at_once, waves

H100 = CHIPS[9, 0]
BF16, FP16, FP32 = torch.bfloat16, torch.float16, torch.float32


def shared(H, units=16, samples=16):
    return Row(units, samples, 64, -(-H // 256), "shared", 4)


def test_imports_without_triton():
    program = "import sys; sys.modules['triton'] = None; import fusedrnn.backends.cost, fusedrnn.kernels.table"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], cwd=Path(__file__).parents[2], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("capability", CHIPS, ids=str)
def test_peak_rates_are_whole_operations_a_clock_of_every_sm(capability):
    """Dense peak = SMs x clock x a power of two of operations, up to rounding in data sheets; a wrong unit or sparse peak shows."""
    chip = CHIPS[capability]
    for dtype in ("bf16", "tf32"):
        per_clock = chip.rates[dtype] / (chip.multiprocessors * chip.clock)
        nearest = min((1 << k for k in range(6, 16)), key=lambda p: abs(per_clock / p - 1))
        assert per_clock == pytest.approx(nearest, rel=0.06)
    assert chip.rates["bf16"] == pytest.approx(2 * chip.rates["tf32"], rel=0.01)
    assert 500e9 < chip.dram < chip.l2 < 30e12
    assert chip.shared_bytes == SHARED_BYTES[capability] < 4 * chip.registers


def test_a_smaller_card_of_a_kind_has_its_share_and_an_unknown_kind_none():
    a10 = chip_of((8, 6), 72)
    assert a10.rates["bf16"] == pytest.approx(CHIPS[8, 6].rates["bf16"] * 72 / 82)
    assert chip_of((9, 0), 132) is H100
    assert chip_of((7, 0), 80) is None


def test_step_by_hand():
    """LSTM, H=256, B=32, bf16, 16 units and samples a program, on the H100: every term written out."""
    layer = Layer("lstm", BF16, T=100, B=32, I=256, H=256)
    got = cost.step(H100, "forward", layer, shared(256))
    clock = 1.83e9
    assert got.exchange == pytest.approx(263 / clock)
    assert got.latency == pytest.approx(280 / clock)
    assert got.operand == pytest.approx(max(256 * 16 * 2 / (64 * clock), 32 * 256 * 16 * 2 / (5120 * clock)))
    assert got.weights == pytest.approx(16 * 4 * 256 * 2 / (128 * clock))
    assert got.tensor == pytest.approx(2 * 16 * 16 * 4 * 256 / (989.4e12 / 132))
    assert got.special == pytest.approx(8 * 16 * 16 / (16 * clock))
    assert got.memory == pytest.approx(32 * (4 + 1 + 4 + 1) * 256 * 2 / 3350e9)
    assert got.seconds == pytest.approx(got.exchange + got.latency + got.weights + got.special)
    assert got.bound == "latency"
    registers = cost.step(H100, "forward", layer, dataclasses.replace(shared(256), weights="registers"))
    assert registers.weights == 0
    assert registers.operand == got.operand


DERIVED = [(32, 256, 16, 0.95e-6), (64, 512, 16, 1.25e-6), (128, 1024, 64, 3.5e-6)]
"""Samples, units, samples per program, and the time of an LSTM forward step on the H100, derived separately, with a barrier."""


@pytest.mark.parametrize(("B", "H", "samples", "derived"), DERIVED)
def test_step_is_near_and_not_above_an_independent_derivation(B, H, samples, derived):
    layer = Layer("lstm", BF16, T=100, B=B, I=H, H=H)
    seconds = cost.step(H100, "forward", layer, shared(H, samples=samples)).seconds
    barrier = (2 * H100.l2_cycles + H100.atomic_cycles) / H100.clock - H100.l2_cycles / H100.clock
    assert 0.6 * derived < seconds + barrier <= derived


def test_weights_in_one_program_need_no_exchange():
    layer = Layer("lstm", BF16, T=100, B=16, I=64, H=64)
    got = cost.step(H100, "forward", layer, Row(64, 8, 64, 1, "alone", 4))
    assert got.exchange == got.operand == got.weights == 0
    assert 0.15e-6 < got.seconds < 0.65e-6


def test_streamed_weights_are_read_from_l2_or_from_dram_where_they_do_not_fit():
    streamed = Row(32, 16, 64, 0, "streamed", 8)
    small = cost.step(H100, "forward", Layer("lstm", BF16, 10, 16, 64, 2048), streamed).weights
    large = cost.step(H100, "forward", Layer("lstm", BF16, 10, 16, 64, 4096), streamed).weights
    assert small == pytest.approx(4 * 32 * 2048 * 2 / H100.port)  # 64 SMs' ports are narrower than L2
    assert large == pytest.approx(4 * 4096 * 4096 * 2 / H100.dram, rel=0.2)


def test_more_lanes_than_fit_run_one_after_the_other():
    row, wide = shared(1024), shared(1024, samples=64)
    assert (waves(row, 1024, 128, 1, 132), at_once(row, 1024, 132)) == (4, 2)
    assert (waves(wide, 1024, 128, 1, 132), at_once(wide, 1024, 132)) == (1, 2)
    assert waves(row, 1024, 128, 2, 132) == 8


def test_a_lane_that_does_not_fit_costs_a_launch_a_step():
    layer = Layer("lstm", BF16, T=100, B=16, I=64, H=8192)
    assert cost.sweep_s(H100, "forward", layer, Row(32, 16, 64, 0, "streamed", 8)) >= 100 * 2e-6


@pytest.mark.parametrize("sweep", ["forward", "backward"])
@pytest.mark.parametrize("cell", NUMBERS)
def test_time_grows_with_every_size(cell, sweep):
    base = Layer(cell, BF16, T=64, B=32, I=128, H=256)
    before = cost.ours_s(H100, sweep, base, shared(256))
    for change in ({"T": 128}, {"B": 256}, {"H": 512}, {"L": 2}, {"dtype": torch.float64}):
        larger = dataclasses.replace(base, **change)
        assert cost.ours_s(H100, sweep, larger, shared(larger.H)) > before, change
    T = dataclasses.replace(base, T=64_000)
    assert cost.sweep_s(H100, sweep, T, shared(256)) == pytest.approx(
        1000 * cost.sweep_s(H100, sweep, base, shared(256)), rel=0.1
    )


PATHS = [
    ("lstm", FP16, {}, (9, 0), 132, "forward", PERSIST_STATIC),
    ("lstm", FP16, {}, (8, 9), 128, "forward", PERSIST_STATIC),
    ("lstm", FP16, {"B": 128}, (9, 0), 132, "backward", PERSIST_STATIC),
    ("lstm", FP16, {"B": 136}, (9, 0), 132, "forward", STANDARD),
    ("lstm", FP16, {"B": 12}, (9, 0), 132, "forward", STANDARD),
    ("lstm", FP16, {"I": 100}, (9, 0), 132, "forward", STANDARD),
    ("lstm", FP16, {"H": 320}, (9, 0), 132, "forward", STANDARD),
    ("lstm", FP16, {"H": 1024}, (9, 0), 132, "forward", PERSIST_STATIC),
    ("lstm", FP16, {"H": 1152}, (9, 0), 132, "forward", STANDARD),
    ("lstm", FP16, {"L": 2}, (9, 0), 132, "forward", STANDARD),
    ("lstm", FP16, {"D": 2}, (9, 0), 132, "forward", STANDARD),
    ("lstm", FP16, {"packed": True}, (9, 0), 132, "forward", STANDARD),
    ("lstm", FP16, {"projected": True}, (9, 0), 132, "forward", STANDARD),
    ("lstm", FP16, {}, (8, 6), 84, "forward", STANDARD),
    ("lstm", FP16, {}, (8, 6), 120, "forward", STANDARD),
    ("lstm", FP16, {}, (8, 0), 56, "forward", STANDARD),
    ("lstm", BF16, {}, (9, 0), 132, "forward", STANDARD),
    ("lstm", FP32, {}, (9, 0), 132, "forward", STANDARD),
    ("gru", FP16, {}, (9, 0), 132, "forward", STANDARD),
    ("gru", BF16, {"H": 192}, (9, 0), 132, "forward", SMALL_H),
    ("gru", BF16, {"H": 192}, (9, 0), 132, "backward", STANDARD),
    ("gru", BF16, {"H": 193}, (9, 0), 132, "forward", STANDARD),
    ("lstm", FP32, {"H": 128, "D": 2, "L": 3}, (8, 6), 82, "backward", SMALL_H),
    ("lstm", FP32, {"H": 129}, (8, 6), 82, "backward", STANDARD),
    ("lstm", FP16, {"H": 128, "packed": True}, (9, 0), 132, "forward", STANDARD),
    ("lstm", torch.float64, {"H": 64}, (9, 0), 132, "forward", STANDARD),
    ("rnn_tanh", BF16, {"H": 384}, (9, 0), 132, "forward", SMALL_H),
    ("rnn_tanh", BF16, {"H": 385}, (9, 0), 132, "forward", STANDARD),
    ("rnn_relu", BF16, {"H": 256}, (9, 0), 132, "backward", SMALL_H),
    ("rnn_relu", BF16, {"H": 257}, (9, 0), 132, "backward", STANDARD),
    ("rnn_relu", FP16, {"H": 896}, (9, 0), 132, "forward", PERSIST_STATIC),
    ("rnn_relu", FP16, {"H": 896, "B": 96}, (9, 0), 132, "forward", STANDARD),
    ("rnn_relu", FP16, {"H": 768, "B": 96}, (9, 0), 132, "forward", PERSIST_STATIC),
]


@pytest.mark.parametrize(("cell", "dtype", "change", "capability", "sms", "sweep", "expected"), PATHS)
def test_path_is_the_one_that_torch_asks_cudnn_for(cell, dtype, change, capability, sms, sweep, expected):
    layer = dataclasses.replace(Layer(cell, dtype, T=100, B=32, I=256, H=256), **change)
    assert cudnn.path(layer, capability, sms, sweep) == expected


def test_standard_path_is_bound_by_two_launches_a_step_then_by_arithmetic():
    small = Layer("gru", BF16, T=500, B=32, I=256, H=256)
    assert cudnn.standard_s(small, H100, "forward") == pytest.approx(500 * 2 * 2e-6, rel=0.02)
    large = Layer("gru", BF16, T=500, B=4096, I=256, H=2048)
    assert cudnn.standard_s(large, H100, "forward") > 500 * 2 * 4096 * 3 * 2048 * 2048 / 989.4e12
    both = dataclasses.replace(small, D=2, L=3)
    assert cudnn.standard_s(both, H100, "forward") == pytest.approx(6 * 500 * 2 * 2e-6, rel=0.05)

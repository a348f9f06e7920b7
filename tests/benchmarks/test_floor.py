"""The floor is below every published time and every row of the table, and the goals' predictions follow from it."""

import dataclasses
import itertools

import pytest
import torch

from benchmarks.measuring import floor, goals
from benchmarks.measuring.published import FIGURES, figures_for
from benchmarks.measuring.records import load
from fusedrnn.backends import cost
from fusedrnn.backends.chips import CHIPS
from fusedrnn.backends.cudnn import Layer
from fusedrnn.kernels.rows import fits, waves
from fusedrnn.kernels.table import choose

H100 = CHIPS[9, 0]


def lstm(B, H, cell="lstm", dtype=torch.bfloat16):
    return Layer(cell, dtype, T=1, B=B, I=H, H=H)


@pytest.mark.parametrize("row", floor.check(), ids=lambda row: f"{row['implementation']} {row['pass']}")
def test_published_time_is_above_the_floor(row, record_property):
    record_property("published over floor", round(row["ratio"], 2))
    print(f"{row['implementation']} {row['pass']}: published / floor = {row['ratio']:.2f}")
    assert 1.0 <= row["ratio"] < 300
    assert row["ratio"] == pytest.approx(row["published_ms"] / row["floor_ms"])


def test_the_fastest_published_kernel_is_within_three_floors():
    """A floor in the wrong unit, or of another shape, would be nowhere near."""
    ratios = [row["ratio"] for row in floor.check() if row["implementation"].startswith("torch.nn")]
    assert all(1.5 < ratio < 3.5 for ratio in ratios)


@pytest.mark.parametrize("capability", CHIPS, ids=str)
@pytest.mark.parametrize("sweep", ["forward", "backward"])
def test_floor_is_not_above_any_row_of_the_table(capability, sweep):
    chip = CHIPS[capability]
    for cell, H, B in itertools.product(("gru", "lstm"), floor.WIDTHS, (1, 64, 256)):
        layer = lstm(B, H, cell)
        row = choose(sweep, cell, layer.dtype, H, B, 1, capability, chip.multiprocessors)
        if not fits(row, H, chip.multiprocessors):
            continue  # a launch a step: not what the floor is of
        rounds = waves(row, H, B, 1, chip.multiprocessors)
        best = floor.best(chip, sweep, layer)
        assert 0.1e-6 < best.seconds <= rounds * cost.step(chip, sweep, layer, row).seconds * 1.0001, (cell, H, B)


def test_a_shorter_exchange_lowers_the_floor_by_that_much_at_most():
    barrier, flag = (floor.best(H100, "forward", lstm(32, 512), way) for way in ("barrier", "flag"))
    saved = floor.exchange_s(H100, "barrier") - floor.exchange_s(H100, "flag")
    assert 0 < barrier.seconds - flag.seconds <= saved * 1.0001
    assert floor.best(H100, "forward", lstm(32, 256), "cluster").seconds < barrier.seconds


def test_floor_grows_with_samples_and_units():
    for sweep in ("forward", "backward"):
        by_batch = [floor.best(H100, sweep, lstm(B, 512)).seconds for B in floor.BATCHES]
        by_width = [floor.best(H100, sweep, lstm(32, H)).seconds for H in floor.WIDTHS]
        assert by_batch == sorted(by_batch)
        assert by_width == sorted(by_width)
        few, many = (floor.best(H100, sweep, lstm(B, 1024)).seconds for B in (64, 256))
        assert many > 1.5 * few  # samples beyond one wave cost another one


def test_a_lane_that_no_tiles_fit_has_no_floor():
    tiny = dataclasses.replace(H100, multiprocessors=2)
    assert floor.best(tiny, "forward", lstm(1, 2048)) is None
    assert floor.call_s(tiny, "forward", lstm(1, 2048)) is None


def test_table_has_every_width_and_batch(capsys):
    floor.main(["--arch", "80", "--cell", "gru", "--sweep", "backward"])
    printed = capsys.readouterr().out
    assert "gru backward, bf16, A100 SXM 80GB, flag exchange" in printed
    assert [line.split("|")[1].strip() for line in printed.splitlines()[4:]] == [str(H) for H in floor.WIDTHS]
    floor.main(["--check"])
    assert len(capsys.readouterr().out.splitlines()) == 2 * len(FIGURES)


def test_published_figures_belong_to_one_call_only():
    assert len(figures_for("lstm", torch.bfloat16, 1024, 16, 768, (9, 0))) == 3
    assert figures_for("lstm", torch.bfloat16, 1024, 16, 512, (9, 0)) == []
    assert all(figure.source for figure in FIGURES)


@pytest.mark.parametrize("goal", goals.GOALS, ids=lambda goal: goal.regime)
def test_predictions_hang_together(goal):
    for prediction in goals.predict(goal):
        assert 0 < prediction.rows <= prediction.limit <= prediction.slow * 1.0001
        assert prediction.where in goal.layers


def verdict(**change):
    base = goals.Prediction("", "forward", 2.0, 1.0, 1.0, 1.0, lstm(1, 256), False, "")
    return dataclasses.replace(base, **change).verdict


def test_verdict_says_what_would_bring_a_goal_in():
    assert verdict(rows=2.1).startswith("within reach")
    assert verdict(limit=2.1) == "out of reach of today's rows; other tiles could"
    assert verdict(slow=2.1) == "only if cuDNN is well above its own floor"
    assert verdict(slow=2.1, persistent=True).startswith("not decided by floors")
    assert verdict() == "out of reach of any tiles with this exchange"


def test_every_goal_is_predicted_for_both_passes_and_marked_as_not_measured(tmp_path, capsys):
    path = tmp_path / "predictions.json"
    goals.main(["--json", str(path)])
    record = load(path)
    assert record.environment["measured"] is False
    assert len(record.rows) == len(capsys.readouterr().out.splitlines()) == 2 * len(goals.GOALS)
    assert all(row["measured"] is False and row["peer"] == "floor model" for row in record.rows)

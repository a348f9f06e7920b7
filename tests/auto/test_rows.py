"""Which launch rows a measurement tries, chooses and keeps, and that a call is launched with them."""

import pytest
import torch
from pretended_gpu import KIND, decision, time_out

import fusedrnn
from fusedrnn.auto import settle, store, trial
from fusedrnn.auto.decision import Decision
from fusedrnn.auto.errors import NotMeasuredError
from fusedrnn.auto.machine import Machine, machine_of
from fusedrnn.backends import cost, triton
from fusedrnn.backends.chips import chip_of
from fusedrnn.kernels import sweeps
from fusedrnn.operators.layer import BY_TABLE

CPU = torch.device("cpu")
H100 = Machine("NVIDIA H100", (9, 0), 132, "", "", "", "", "")


@pytest.fixture
def tried(speeds, monkeypatch):
    """The rows that the kernels were run with, in order, each once."""
    monkeypatch.setattr(trial, "MORE_ROWS", 3)
    found, original = [], triton.run

    def noted(call, rows=BY_TABLE):
        if rows not in found:
            found.append(rows)
        return original(call, rows)

    monkeypatch.setattr(triton, "run", noted)
    return found


def test_the_fastest_rows_of_either_sweep_are_chosen_and_kept(speeds, tried, net):
    module, x = net
    assert trial.table_rows(KIND, machine_of(CPU)) == (0, 0)
    speeds.rows = {(1, -1): 0.98, (2, -1): 0.8, (2, 1): 0.79, (2, 3): 0.5}
    module(x)
    assert (decision().backend, decision().rows) == ("triton", (2, 3))
    assert decision().ours_ms == pytest.approx(500)
    assert "4.00 times as fast" in decision().reason
    (kept,) = store.load(machine_of(CPU)).decisions.values()
    assert kept == decision()
    first = [(0, 0), BY_TABLE, (1, 0), (1, -1), (2, 0), (2, -1), (3, 0), (3, -1)]
    assert tried == [*first, (2, 1), (2, 2), (2, 3)]


def test_for_inference_only_rows_of_the_forward_are_tried(tried, net):
    module, x = net
    module.eval().requires_grad_(False)(x)
    assert tried == [(0, 0), BY_TABLE, (1, 0), (1, -1), (2, 0), (2, -1), (3, 0), (3, -1)]


def test_no_more_rows_are_tried_where_the_table_s_are_hopeless(speeds, tried, net):
    module, x = net
    speeds.kernels = 4.0
    module(x)
    assert tried == [(0, 0), BY_TABLE]


def test_a_row_that_cannot_be_launched_is_passed_over_and_a_wrong_one_is_wrong(speeds, net, monkeypatch):
    module, x = net
    monkeypatch.setattr(trial, "MORE_ROWS", 1)
    original, error = triton.run, [RuntimeError("no such row")]

    def second_row(call, rows=BY_TABLE):
        if rows[0] == 1 and error:
            raise error[0]
        output, finals, every = original(call, rows)
        return (output + 1.0 if rows[0] == 1 else output), finals, every

    monkeypatch.setattr(triton, "run", second_row)
    speeds.rows = {(1, -1): 0.1}
    module(x)
    assert (decision().backend, decision().rows) == ("triton", BY_TABLE)
    error.clear()
    with pytest.warns(UserWarning, match="gave a wrong result on interpreter: output: relative error"):
        settle.tuned(KIND, CPU, again=True)


def test_a_row_whose_results_change_from_run_to_run_is_wrong(speeds, net, monkeypatch):
    module, x = net
    monkeypatch.setattr(trial, "MORE_ROWS", 1)
    original, runs = triton.run, iter(range(1000))

    def flaky(call, rows=BY_TABLE):
        output, finals, every = original(call, rows)
        return (output + 1e-6 * next(runs) if rows == (1, -1) else output), finals, every

    monkeypatch.setattr(triton, "run", flaky)
    with pytest.warns(UserWarning, match="output: expected the same bits of two runs, got others"):
        module(x)


def test_a_time_out_that_is_reported_after_the_launches_is_wrong(speeds, net, monkeypatch):
    """Here nothing is launched, so that nobody else asks."""
    module, x = net
    time_out(monkeypatch, after=1)  # before the measurement nothing had timed out
    with pytest.warns(UserWarning, match="SweepTimeoutError: late"):
        module(x)


def test_the_deadline_ends_a_measurement_and_the_search_for_rows(speeds, monkeypatch):
    with pytest.raises(NotMeasuredError, match="the time for measuring is used up"):
        trial.measure(KIND, CPU, machine_of(CPU), lambda: True)
    monkeypatch.setattr(trial, "MORE_ROWS", 3)
    speeds.rows = {(1, -1): 0.9, (2, -1): 0.5}
    asked = iter(
        [False, False, True]
    )  # before the race, the first row, the second one; then before the backward's first
    found = trial.measure(KIND, CPU, machine_of(CPU), lambda: next(asked))
    assert (found.backend, found.rows) == ("triton", (1, -1))


def test_on_a_known_chip_the_rows_with_the_lowest_floors_are_tried():
    wide = KIND._replace(dtype="bfloat16", hidden_size=768, output_size=768, batch=64, steps=256, tf32=False)
    forward, _ = trial.table_rows(wide, H100)
    rows = trial.rows_of("forward", wide, H100)
    others = trial.others(0, wide, H100, forward)
    assert len(others) == trial.MORE_ROWS
    assert forward not in others
    layer, chip = trial.layer_of(wide), chip_of((9, 0), 132)
    floors = [cost.sweep_s(chip, "forward", layer, row) for row in rows]
    rest = [floor for place, floor in enumerate(floors) if place not in (*others, forward)]
    assert max(floors[place] for place in others) <= min(rest)
    assert len(rows) > 4  # with shared and streamed weights among them


def launches(monkeypatch):
    """The rows that sweeps are launched with, None for the table's."""
    found = []
    for sweep in ("forward", "backward"):
        original = getattr(sweeps, sweep)

        def noted(*args, original=original, row=None, **options):
            found.append(row)
            return original(*args, row=row, **options)

        monkeypatch.setattr(sweeps, sweep, noted)
    return found


@pytest.mark.parametrize("case", ["plain", "dropout", "projection"])
def test_forward_and_backward_of_a_call_are_launched_with_the_rows_of_its_decision(interpreted, monkeypatch, case):
    sizes, options = (3, 5, 2), {"dropout": {"dropout": 0.5}, "projection": {"proj_size": 2}}.get(case, {})
    module, x = fusedrnn.FusedLSTM(*sizes, **options), torch.randn(2, 2, 3)
    monkeypatch.setattr(settle, "kept", lambda kind, machine, alone: Decision("triton", "for this test", (2, 3)))
    monkeypatch.setattr("fusedrnn.backends.dispatch.torch_masks", lambda *call: False)  # as on a GPU
    launched = launches(monkeypatch)
    torch.manual_seed(1)
    output, _ = module(x)
    output.sum().backward()
    assert launched == [2, 2, 3, 3]
    gradients = [weight.grad.clone() for weight in module.parameters()]
    module.zero_grad()
    torch.manual_seed(1)
    with fusedrnn.use_backend("triton"):  # asked for by name: the table's rows
        expected, _ = module(x)
    expected.sum().backward()
    assert launched[4:] == [None] * 4
    torch.testing.assert_close(output, expected)
    for found, weight in zip(gradients, module.parameters(), strict=True):
        torch.testing.assert_close(found, weight.grad)

"""The gate finds what is wrong, says where, and leaves out that form and no other."""

import itertools
import math

import pytest
import torch

pytest.importorskip("triton")


from benchmarks.gpu import conditions, gate, waiting
from benchmarks.gpu.gate import Check
from benchmarks.gpu.kernels import Pointwise, Sweep, of_case
from benchmarks.gpu.parity import Result, judged, named
from benchmarks.gpu.profiled import columns, path_of, profile
from benchmarks.gpu.tuning import Tune
from benchmarks.machine_code.absent import Chip
from benchmarks.measuring.cases import Case
from fusedrnn.auto.parity import COARSE, COARSE_EXACT, UNIT, allowed

CHIP = Chip((9, 0), 132)
CPU = torch.device("cpu")
INTERPRETED = pytest.mark.skipif(torch.cuda.is_available(), reason="tries the gate in the interpreter")


def results(*values, step=0, last_first=False):
    return [Result(f"t{i}", value, step, last_first) for i, value in enumerate(values)]


@pytest.fixture
def truth():
    return torch.randn(6, 3, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def judge(got, truth, *, theirs=None, tf32=False, **more):
    theirs = truth.to(got.dtype) if theirs is None else theirs
    return judged(results(got, **more), results(theirs, **more), results(truth, **more), tf32=tf32)


def test_a_result_as_good_as_torchs_passes_and_names_its_share_of_the_budget(truth):
    found = judge(truth.float(), truth)
    assert found["verdict"] == "passed"
    assert found["relative_error"] == pytest.approx(found["torchs_error"])
    assert 0 < found["share"] < 1
    assert "first_step" not in found


@pytest.mark.parametrize(
    ("size", "tf32", "verdict"),
    [
        (1e-9, False, "passed"), (2e-5, False, "inexact"), (3e-4, False, "failed"),
        (3e-4, True, "passed"), (1e-3, True, "inexact"), (1e-2, True, "failed"),
    ],
)  # fmt: skip
def test_the_verdict_goes_by_the_budget_and_then_by_what_is_wrong_for_anybody(truth, size, tf32, verdict):
    assert judge((truth * (1 + size)).float(), truth, tf32=tf32)["verdict"] == verdict


def test_one_sample_of_one_step_that_is_wrong_fails_however_many_are_right():
    truth = torch.randn(24, 37, 64, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    got = truth.bfloat16()
    got[7, 5] = got[7, 6]
    found = judge(got, truth)
    assert found["relative_error"] < COARSE[torch.bfloat16]
    assert (found["verdict"], found["first_step"], found["wrong_steps"]) == ("failed", 7, 1)
    assert found["worst_step_error"] == pytest.approx(2**0.5 / 37**0.5, rel=0.2)


def test_the_budget_is_half_as_much_again_as_torchs_error_and_one_rounding():
    many = 1 << 40
    assert allowed(0.0, torch.float32, many, tf32=False) == UNIT[torch.float32]
    assert allowed(1e-3, torch.bfloat16, many, tf32=True) == pytest.approx(1.5e-3 + UNIT[torch.bfloat16], rel=1e-4)
    assert allowed(1e-3, torch.float32, many, tf32=True) == pytest.approx(1.5e-3 + 2.0**-11, rel=1e-4)
    assert allowed(1e-3, torch.float32, 16, tf32=True) == pytest.approx(3e-3 + 2.0**-11)


def test_the_budget_grows_with_torchs_own_error(truth):
    got, theirs = (truth * (1 + 1.4e-4)).float(), (truth * (1 - 1e-4)).float()
    assert judge(got, truth, theirs=theirs)["verdict"] == "passed"
    more = 1.5 * (1 + 4 / truth.numel() ** 0.5) + 0.1
    assert judge((truth * (1 + more * 1e-4)).float(), truth, theirs=theirs)["verdict"] != "passed"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_fails_and_is_shown(truth, value):
    got = truth.float()
    got[4, 2, 1] = value
    found = named(judge(got, truth))
    assert found["verdict"] == "failed"
    assert found["worst_element"] == [4, 2, 1]
    assert found["not_finite"] == 1
    assert (found["first_step"], found["wrong_steps"]) == (4, 1)
    assert isinstance(found["share"], str)  # JSON has no infinity
    right = truth.float()
    found = judged(results(got, right), results(right, right), results(truth, truth), tf32=False)
    assert (found["verdict"], found["tensor"]) == ("failed", "t0")  # also when what comes after it is right


@pytest.mark.parametrize(("last_first", "first"), [(False, 2), (True, 5)])
def test_the_evidence_names_the_worst_element_and_the_first_step_in_the_sweeps_order(truth, last_first, first):
    got = truth.float()
    got[2:] += 0.5
    got[3, 1, 4] += 7
    found = judge(got, truth, last_first=last_first)
    assert found["verdict"] == "failed"
    assert (found["first_step"], found["wrong_steps"]) == (first, 4)
    assert found["worst_element"] == [3, 1, 4]
    assert found["got"] == pytest.approx(found["expected"] + 7.5)
    assert "first_step" not in judge(got, truth, step=None)


def test_the_worst_of_several_results_is_told_and_a_wrong_shape_fails(truth):
    right, wrong = truth.float(), (truth * 1.1).float()
    found = judged(results(right, wrong, right), results(right, right, right), results(truth, truth, truth), tf32=False)
    assert (found["verdict"], found["tensor"]) == ("failed", "t1")
    found = judged(results(right[:2]), results(right), results(truth), tf32=False)
    assert found == {"verdict": "failed", "tensor": "t0", "error": "expected t0 of shape (6, 3, 5), got (2, 3, 5)"}
    assert set(COARSE) == set(UNIT)
    assert COARSE_EXACT < 2.0**-11 / 4 < COARSE[torch.float32]  # TF32's rounding is between


def test_every_cell_and_dtype_has_a_check_of_every_form_with_and_without_lengths():
    found = {(c.cell, c.dtype, c.form, c.lengths) for c in gate.checks(CHIP)}
    for cell in gate.CELLS:
        for dtype in ("bf16", "fp32"):
            for form in ("alone", "registers", "streamed") if dtype == "bf16" else ("registers", "streamed"):
                assert {(cell, dtype, form, False), (cell, dtype, form, True)} <= found
    assert all(k.form(CHIP) == check.form for check in gate.checks(CHIP) for k in check.kernels())
    assert all(gate.subject(k, CHIP) == check.subject(k.sweep) for check in gate.checks(CHIP) for k in check.kernels())
    assert gate.checks(CHIP)[0].key == "gate: gru bf16 alone H64"
    assert len({check.key for check in gate.checks(CHIP)}) == len(gate.checks(CHIP))


def test_a_check_is_at_a_size_at_which_both_sweeps_take_the_form(monkeypatch):
    monkeypatch.setattr(
        Sweep, "form", lambda self, chip: "shared" if self.sweep == "forward" or self.H == 1024 else "streamed"
    )
    assert gate.width("gru", "bf16", "shared", CHIP, exact=False) == 1024
    assert gate.width("gru", "bf16", "alone", CHIP, exact=False) is None


def small(cell="gru", form="alone", *, lengths=False):
    return Check(
        cell, "fp32", form, {"alone": 9, "registers": 20, "shared": 40, "streamed": 50}[form], lengths, T=4, B=3
    )


@INTERPRETED
@pytest.mark.parametrize("lengths", [False, True], ids=["full", "lengths"])
@pytest.mark.parametrize(
    ("cell", "form"),
    [
        pytest.param("gru_before", "shared", marks=pytest.mark.slow),
        *itertools.product(("gru", "lstm"), ("alone", "registers")),
    ],
)
def test_right_kernels_pass(cell, form, lengths, monkeypatch):
    monkeypatch.setattr(gate, "REPEATS", 1)
    rows = gate.run_check(small(cell, form, lengths=lengths), "cpu")
    assert [(row["sweep"], row["verdict"]) for row in rows] == [("forward", "passed"), ("backward", "passed")]
    assert all(row["relative_error"] < 1e-6 for row in rows)


@INTERPRETED
def test_a_wrong_kernel_fails_with_evidence(monkeypatch):
    monkeypatch.setattr(gate, "REPEATS", 1)
    forward, _ = gate.run_check(small(), "cpu", spoil=True)
    assert (forward["verdict"], forward["wrong_steps"], forward["seed"]) == ("failed", 2, gate.SEED)
    assert forward["first_step"] == {"output": 2, "output, reversed direction": 3}[forward["tensor"]]
    assert forward["got"] - forward["expected"] == pytest.approx(1, abs=0.1)


def test_a_seed_gives_the_same_inputs_again():
    check = small(lengths=True)
    for one, other in zip(gate._inputs(check, CPU), gate._inputs(check, CPU), strict=True):
        assert torch.equal(one, other)
    assert not torch.equal(gate._inputs(check, CPU)[0], torch.zeros(check.T, check.B, gate.INPUTS))


@INTERPRETED
def test_a_kernel_that_raises_fails_and_tells(monkeypatch):
    from fusedrnn.kernels import sweeps

    def broken(*arguments, **options):
        raise RuntimeError("no such kernel")

    monkeypatch.setattr(sweeps, "backward", broken)
    rows = gate.run_check(small(), "cpu")
    assert [(row["verdict"], row["error"]) for row in rows] == [("failed", "RuntimeError: no such kernel")] * 2


@INTERPRETED
def test_what_is_not_a_number_twice_has_not_changed(monkeypatch):
    from fusedrnn.kernels import sweeps

    right = sweeps.forward

    def broken(*arguments, **options):
        done = right(*arguments, **options)
        done.output[2, 1] = math.nan
        return done

    monkeypatch.setattr(sweeps, "forward", broken)
    monkeypatch.setattr(gate, "REPEATS", 1)
    forward, _ = gate.run_check(small(), "cpu")
    assert "error" not in forward
    assert (forward["verdict"], forward["wrong_steps"], forward["worst_element"][:2]) == ("failed", 1, [2, 1])


@INTERPRETED
@pytest.mark.parametrize("sweep", ["forward", "backward"])
def test_bits_that_change_from_call_to_call_fail(sweep, monkeypatch):
    from fusedrnn.kernels import sweeps

    right, calls = getattr(sweeps, sweep), []

    def drifting(*arguments, **options):
        done = right(*arguments, **options)
        calls.append(1)
        if len(calls) == 5:
            (done.output if sweep == "forward" else done.dgates)[1, 0, 0, 2] *= 1 + 1e-6
        return done

    monkeypatch.setattr(sweeps, sweep, drifting)
    monkeypatch.setattr(gate, "REPEATS", 4)
    rows = {row["sweep"]: row for row in gate.run_check(small(), "cpu")}
    assert rows[sweep]["verdict"] == "failed"
    assert "expected the same bits in 4 repeats, got others in" in rows[sweep]["error"]
    assert rows[sweep]["error"].endswith("repeat 4")
    assert rows["backward" if sweep == "forward" else "forward"]["verdict"] == "passed"


@INTERPRETED
def test_a_late_time_out_is_this_checks(monkeypatch):
    from fusedrnn.kernels import launch

    calls = []

    def waited_in_vain(device):
        calls.append(launch.POLLS)
        raise launch.SweepTimeoutError("forward sweep of gru")

    monkeypatch.setattr(gate, "wait", waited_in_vain)
    monkeypatch.setattr(gate, "REPEATS", 10**6)  # none of which comes to pass
    rows = gate.run_check(small(), "cpu")
    assert [(row["sweep"], row["verdict"]) for row in rows] == [("forward", "failed"), ("backward", "failed")]
    assert rows[0]["error"] == "SweepTimeoutError: forward sweep of gru"
    assert rows[0]["relative_error"] < 1e-6  # what has come out is judged all the same
    assert rows[0]["subject"] == small().subject("forward")
    assert calls == [gate.POLLS]
    assert gate.POLLS < launch.POLLS


def test_what_has_failed_is_not_told_to_what_comes_next():
    from fusedrnn.kernels import launch

    launch.error_word(torch.device("cpu")).fill_(7)
    assert waiting.late_error(CPU).startswith("SweepTimeoutError: ")
    assert waiting.late_error(CPU) is None
    waiting.wait(CPU)


def rows_of(check, **verdicts):
    return [{"subject": check.subject(sweep), "verdict": verdict} for sweep, verdict in verdicts.items()]


def test_only_what_runs_a_failed_form_is_left_out():
    check = Check("gru", "bf16", "registers", 512, lengths=False)
    failed = gate.failures(rows_of(check, forward="passed", backward="failed"))
    assert failed == {"the registers backward sweep of gru, 16-bit"}

    assert gate.failed_forms(Tune("backward", "gru", "fp16", 256, 32, 64), failed) == {"registers"}
    assert gate.failed_forms(Tune("forward", "gru", "fp16", 256, 32, 64), failed) == frozenset()
    assert gate.failed_forms(Tune("backward", "gru", "fp32", 256, 32, 64), failed) == frozenset()

    def why(*, cell="gru", dtype="fp16", H=512, passes="training", kind="dense"):
        return gate.left_out(
            of_case(Case("layer", cell, dtype, 256, 32, H, H, passes=passes, input=kind)), CHIP, failed
        )

    assert why() == "left out: the registers backward sweep of gru, 16-bit failed the gate"
    for other in (
        {"passes": "forward"},
        {"cell": "lstm"},
        {"dtype": "fp32"},
        {"H": 2048},
        {"H": 4096},
        {"kind": "packed"},
    ):
        assert why(**other) is None, other


def test_an_inexact_form_is_measured_and_dropout_stands_alone():
    check = Check("lstm", "fp32", "registers", 64, lengths=True)
    assert gate.failures(rows_of(check, forward="inexact", backward="passed")) == set()
    failed = gate.failures([{"subject": gate.DROPOUT, "verdict": "failed"}])
    assert gate.left_out([Pointwise("dropout", "bf16")], CHIP, failed) == "left out: dropout failed the gate"
    assert gate.left_out([Sweep("forward", "lstm", "fp32", 32, 64)], CHIP, failed) is None


@INTERPRETED
def test_conditions_that_need_a_device_say_so_and_dropouts_bits_are_held_to_the_cpus(monkeypatch):
    (row,) = conditions.run_condition("dropout bits", "cpu")
    assert (row["verdict"], row["subject"]) == ("passed", gate.DROPOUT)
    for name in ("CUDA graph", "two streams", "busy GPU"):
        (row,) = conditions.run_condition(name, "cpu")
        assert (row["verdict"], row["error"]) == ("not run", "expected a CUDA device, got the interpreter")
    from fusedrnn.kernels import pointwise

    right = pointwise.bias_relu_dropout
    monkeypatch.setattr(pointwise, "bias_relu_dropout", lambda *a: right(*a) * (1 + 2.0**-7))
    (row,) = conditions.run_condition("dropout bits", "cpu")
    assert row["verdict"] == "failed"
    assert "bias, ReLU and dropout of torch.float32: expected the bits of the call alone" in row["error"]


@INTERPRETED
def test_a_condition_that_raises_is_a_failed_one(monkeypatch):
    def broken(device):
        raise RuntimeError("CUDA error: an illegal memory access")

    monkeypatch.setitem(conditions.CONDITIONS, "dropout bits", broken)
    (row,) = conditions.run_condition("dropout bits", "cpu")
    assert (row["verdict"], row["error"]) == ("failed", "RuntimeError: CUDA error: an illegal memory access")


@pytest.mark.parametrize(
    ("names", "path"),
    [
        (["void LSTM_elementWise_fp<__half, float>", "sm90_xmma_gemm_f16f16"], "standard"),
        (["void GRU_elementWise_bp1<float>"], "standard"),
        (["void elemWiseRNNcell<float, float, float, (cudnnRNNMode_t)2>"], "standard"),
        (["void RNN_blockPersist_fp_LSTM<__half, float, 512>"], "persistent"),
        (["RNN_blockPersist_fp_GRU", "GRU_elementWise_bp1"], "persistent and standard"),
        (["vectorized_elementwise_kernel", "sm90_xmma_gemm"], "unknown"),
        ([], "unknown"),
    ],
)
def test_cudnns_path_is_told_by_the_names_of_its_kernels(names, path):
    assert path_of(names) == path


def test_the_kernels_with_the_most_time_are_kept_and_all_are_counted():
    found = columns([(f"k{i}" + "x" * 200, 10 - i, 1.0) for i in range(10)])
    assert found["kernels"] == 55
    assert [k["count"] for k in found["kernels_ran"]] == [10, 9, 8, 7, 6, 5, 4, 3]
    assert all(len(k["name"]) == 120 for k in found["kernels_ran"])


def test_without_a_gpu_no_kernels_are_named():
    (row,) = profile(Case("layer", "gru", "fp32", T=3, B=2, I=4, H=5, passes="training"), "cpu", ("torch.nn",))
    assert row["key"].startswith("profile: layer: time of gru")
    assert (row["verdict"], row["error"]) == ("not run", "expected a CUDA device, got the interpreter")

"""What a measurement finds: wrong, inexact, flaky, hanging, raising or slow kernels, and which launch rows are faster."""

import time
from contextlib import contextmanager

import pytest
import torch
from pretended_gpu import KIND, decision, raising, time_out

import fusedrnn
from fusedrnn import FusedGRU, FusedLSTM
from fusedrnn.auto import check, known, race, settings, store, trial
from fusedrnn.auto.errors import NotMeasuredError
from fusedrnn.auto.machine import machine_of
from fusedrnn.auto.problem import bytes_of
from fusedrnn.backends import reference, rules
from fusedrnn.kernels import launch, sweeps
from fusedrnn.operators.layer import BY_TABLE

pytestmark = pytest.mark.filterwarnings("ignore:Conversion of an array with ndim > 0:DeprecationWarning")
"""Of triton 3.6's interpreter; `pytest.warns` raises again what it was not asked for."""
CPU = torch.device("cpu")
ON_CARD = r"fusedrnn: the Triton kernels gave a wrong result on interpreter: .*; torch's own RNN is used on this card"


@pytest.fixture
def speeds(interpreted):
    """The kernels themselves."""
    return interpreted


def spoil(monkeypatch, sweep, change):
    """Change what a sweep returns."""
    original = getattr(sweeps, sweep)
    monkeypatch.setattr(sweeps, sweep, lambda *args, **options: change(original(*args, **options)))


def one_element(done):
    """Wrong in one element of one sample."""
    done.output[-1, -1, 0, -1] += 3.0
    return done


WRONG = {
    "output": ("forward", lambda done: done._replace(output=done.output + 1.0)),
    "one element": ("forward", one_element),
    "final state": ("forward", lambda done: done._replace(h_n=-done.h_n)),
    "not a number": ("forward", lambda done: done._replace(output=done.output * float("nan"))),
    "gates for the backward": ("forward", lambda done: done._replace(gates=done.gates.flip(-1))),
    "gradients": ("backward", lambda done: done._replace(dgates=done.dgates * 1.1)),
    "gradient of h_0": ("backward", lambda done: done._replace(dh0=torch.zeros_like(done.dh0))),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_result_disables_the_kernels_for_the_card_and_says_so(speeds, net, monkeypatch, what):
    module, x = net
    spoil(monkeypatch, *WRONG[what])
    with pytest.warns(UserWarning, match=ON_CARD):
        module(x)
    module(x)
    assert decision().reason.startswith("the kernels are wrong on this card: ")
    known.forget()  # as a new process
    kernels = speeds.ran["kernels"]
    FusedLSTM(3, 7)(x)
    assert decision().reason.startswith("the kernels are wrong on this card: ")
    assert speeds.ran["kernels"] == kernels


def test_a_wrong_result_ends_earlier_decisions_for_the_card_too(speeds, net, monkeypatch):
    module, x = net
    module(x)
    assert decision().backend == "triton"
    spoil(monkeypatch, *WRONG["output"])
    with pytest.warns(UserWarning, match=ON_CARD):
        FusedLSTM(3, 7)(x)
    kernels = speeds.ran["kernels"]
    module(x)
    assert speeds.ran["kernels"] == kernels


def test_results_beyond_the_budget_but_not_wrong_leave_the_kind_to_torch(speeds, net, monkeypatch):
    module, x = net
    spoil(monkeypatch, "forward", lambda done: done._replace(output=done.output * (1 + 1e-3)))
    module(x)
    assert decision().backend == "aten"
    assert decision().reason.startswith("the kernels are inexact: output: relative error 0.001, allowed 0.000488")
    assert store.load(machine_of(CPU)).wrong == {}


def test_results_that_change_from_run_to_run_are_wrong(speeds, net, monkeypatch):
    module, x = net
    runs = iter(range(1000))
    spoil(monkeypatch, "forward", lambda done: done._replace(output=done.output + 1e-6 * next(runs)))
    with pytest.warns(UserWarning, match="output: expected the same bits of two runs, got others"):
        module(x)


def test_results_that_are_wrong_only_beyond_the_short_problem_are_found(speeds, monkeypatch):
    long = torch.randn(20, 1, 3)

    def late(done):
        if len(done.output) > 16:
            done.output[17:] = 0.0
        return done

    spoil(monkeypatch, "forward", late)
    with pytest.warns(UserWarning, match="output: relative error 0.58, allowed 0.000488"):
        FusedGRU(3, 5)(long)


def test_kernels_that_time_out_are_wrong(speeds, net, monkeypatch):
    module, x = net
    monkeypatch.setattr(
        sweeps, "forward", raising(launch.SweepTimeoutError("forward sweep of gru: expected every program to arrive"))
    )
    with pytest.warns(UserWarning, match="SweepTimeoutError: forward sweep of gru"):
        module(x)


def test_a_time_out_that_is_reported_late_is_charged_to_the_measurement(speeds, net, monkeypatch):
    module, x = net
    time_out(monkeypatch, after=2)  # the checks before the launches of forward and backward pass
    with pytest.warns(UserWarning, match="SweepTimeoutError: late"):
        module(x)


def test_kernels_that_raise_leave_the_kind_to_torch_and_the_card_alone(speeds, net, monkeypatch):
    module, x = net
    with monkeypatch.context() as patched:
        patched.setattr(sweeps, "forward", raising(RuntimeError("out of resource: shared memory\nmore")))
        module(x)
    assert decision().reason == "the kernels raise RuntimeError: out of resource: shared memory"
    FusedLSTM(3, 7)(x)
    assert [made.backend for made in known.by_kind.values()] == ["aten", "triton"]


def test_a_broken_device_is_no_failure_of_one_kind(speeds, net, monkeypatch):
    module, x = net
    monkeypatch.setattr(
        sweeps, "forward", raising(torch.AcceleratorError("CUDA error: an illegal memory access was encountered"))
    )
    with pytest.warns(UserWarning, match="illegal memory access"):
        module(x)


def test_without_memory_nothing_is_decided_or_kept(speeds, net, monkeypatch):
    module, x = net
    with monkeypatch.context() as patched:
        patched.setattr(sweeps, "forward", raising(torch.OutOfMemoryError("CUDA out of memory")))
        module(x)
    assert decision().reason.startswith("not measured: expected memory for a measurement, got none")
    assert store.load(machine_of(CPU)) == store.Decisions()
    known.forget()
    module(x)
    assert decision().backend == "triton"


def test_an_error_of_torchs_own_is_not_charged_to_the_kernels(speeds, net, monkeypatch):
    module, x = net
    with monkeypatch.context() as patched:
        patched.setattr(reference, "run", lambda call: 1 / 0)
        module(x)
    assert decision().reason == "not measured: torch's own raises ZeroDivisionError: division by zero"
    assert store.load(machine_of(CPU)) == store.Decisions()


def test_nothing_is_decided_where_torchs_own_is_wrong(speeds, net, monkeypatch):
    """Else kernels that are as wrong would be within the budget."""
    module, x = net
    right = rules.ENGINES["torch"]
    monkeypatch.setitem(rules.ENGINES, "torch", lambda call: (right(call)[0] + 1.0, *right(call)[1:]))
    module(x)
    assert decision().reason.startswith(
        "not measured: torch's own is wrong: output: expected a relative error up to 0.02"
    )


def test_a_problem_is_made_shorter_where_memory_is_short():
    long = KIND._replace(steps=1024, batch=64, hidden_size=512, output_size=512)
    assert race.fitting_steps(long, 2 * bytes_of(long, 1024, 64)) == 1024
    assert race.fitting_steps(long, 2 * bytes_of(long, 512, 64)) == 512
    with pytest.raises(NotMeasuredError, match=r"expected 0.1 GB of free memory for a measurement, got 0.0 GB"):
        race.fitting_steps(long, 1e7)


def test_the_estimate_of_memory_is_of_the_right_size():
    """Against the bytes that a training step of both implementations saves and returns."""
    from fusedrnn.auto.check import kernels_engine, torchs_engine
    from fusedrnn.auto.problem import problem, results

    kind = KIND._replace(cell="lstm", input_size=16, hidden_size=16, output_size=16, steps=8, batch=8)
    given, held = problem(kind, CPU, 8, 8), {}

    def keep(tensor):
        held[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        for engine in (kernels_engine(BY_TABLE), torchs_engine(given)):
            for _, value in results(engine, given):
                keep(value)
    assert 0.5 < sum(held.values()) / bytes_of(kind, 8, 8) < 2


def test_triton_must_be_there(speeds, net, monkeypatch):
    module, x = net
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    module(x)
    assert decision().reason == "expected the package triton, got none installed"


def test_the_rival_is_what_the_backend_aten_runs(speeds, net):
    """Unrolled torch operators for what torch's RNN has not."""
    _, x = net
    ran = []
    for engine in ("torch", "unrolled"):
        original = rules.ENGINES[engine]
        rules.ENGINES[engine] = lambda call, engine=engine, original=original: ran.append(engine) or original(call)
    FusedGRU(3, 5)(x)
    assert set(ran) == {"torch"}
    ran.clear()
    FusedGRU(3, 5, reset_after=False)(x)
    assert set(ran) == {"unrolled"}


@pytest.mark.parametrize("where", ["check", "race"])
def test_without_memory_for_the_buffers_nothing_is_decided(speeds, net, monkeypatch, where):
    module, x = net

    def full(*arguments):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(f"fusedrnn.auto.{where}.problem", full)
    module(x)
    assert decision().reason.startswith("not measured: expected memory for a measurement, got none: OutOfMemoryError: ")


def test_the_short_problem_is_short_and_the_other_one_as_long_as_memory_allows(speeds, monkeypatch):
    sizes = []
    for module in (check, race):
        original = module.problem

        def noted(kind, device, steps, batch, original=original):
            sizes.append((steps, batch))
            return original(kind, device, steps, batch)

        monkeypatch.setattr(module, "problem", noted)
    wide = KIND._replace(steps=32, batch=128, training=False)
    monkeypatch.setattr(race, "free_bytes", lambda device: 2 * bytes_of(wide, 16, 128))
    check.Check(wide, CPU)
    race.Race(wide, CPU)
    assert sizes == [(16, 64), (16, 128)]


def test_a_measurement_ends_at_its_deadline_which_began_before_the_lock(speeds, net, monkeypatch):
    """Whole: from a call, whose budget is used up while it waits for another process."""
    module, x = net
    asked = []

    def measure(kind, device, machine, over):
        asked.append(over())
        raise NotMeasuredError("the time for measuring is used up")

    @contextmanager
    def slow(machine, timeout):
        time.sleep(0.3)
        yield

    monkeypatch.setattr(trial, "measure", measure)
    module(x)
    fusedrnn.set_auto(budget=settings.BUDGET_S - settings.budget_left() + 0.2)
    monkeypatch.setattr(store, "locked", slow)
    module(x)
    assert asked == [False, True]

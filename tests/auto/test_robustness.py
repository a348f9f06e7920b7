"""What goes wrong around a measurement does not reach the user's call, nor is it charged to the kernels or kept for long."""

import contextlib
import gc
import json
import logging
import threading
import warnings
import weakref

import filelock
import pytest
import torch
from pretended_gpu import decision, raising
from torch.utils.checkpoint import checkpoint

import fusedrnn
from fusedrnn import FusedGRU, FusedLSTM
from fusedrnn.auto import agree, choose, known, measuring, race, settle, store
from fusedrnn.auto.isolation import isolated
from fusedrnn.auto.machine import machine_of
from fusedrnn.backends import rules, triton
from fusedrnn.kernels import launch
from fusedrnn.operators.layer import BY_TABLE

CPU = torch.device("cpu")


def wrong():
    """What the file says is wrong."""
    return store.load(machine_of(CPU)).wrong


def spoiled(original):
    """Kernels whose output is off by one."""

    def off(call, rows=BY_TABLE):
        output, finals, every = original(call, rows)
        return output + 1.0, finals, every

    return off


BROKEN = {
    "no thread": (threading.Thread, "start", RuntimeError("can't start new thread")),
    "no memory information": (race, "free_bytes", torch.AcceleratorError("CUDA error: out of memory")),
    "a mistake of ours": (measuring, "isolated", KeyError("nobody thought of this")),
    "no locks": (filelock.FileLock, "acquire", NotImplementedError("use SoftFileLock")),
    "a lock that cannot be released": (filelock.FileLock, "release", OSError(116, "Stale file handle")),
    "ranks without a store": (agree, "_store", ValueError("no default group")),
}


@pytest.mark.parametrize("what", BROKEN)
def test_the_call_gets_its_result_whatever_breaks(speeds, net, monkeypatch, what):
    module, x = net
    owner, name, error = BROKEN[what]
    with monkeypatch.context() as patched:
        patched.setattr(owner, name, raising(error))
        output, _ = module(x)
    assert torch.equal(output, FusedGRU.forward(module, x)[0])
    assert wrong() == {}
    assert store.load(machine_of(CPU)).begun == {}


NOT_OURS = ["out of memory", "operation not permitted when stream is capturing", "device-side assert triggered"]


@pytest.mark.parametrize("message", NOT_OURS)
def test_an_error_of_the_device_that_no_kernel_causes_is_not_charged_to_them(speeds, net, monkeypatch, message):
    module, x = net
    monkeypatch.setattr(triton, "run", raising(torch.AcceleratorError(f"CUDA error: {message}")))
    module(x)
    assert decision().reason == f"not measured: AcceleratorError: CUDA error: {message}"
    assert wrong() == {}


def test_an_error_of_torchs_own_while_it_is_timed_is_not_charged_to_the_kernels(speeds, net, monkeypatch):
    module, x = net
    runs, right = iter(range(100)), rules.ENGINES["torch"]
    error = torch.AcceleratorError("CUDA error: unspecified launch failure")
    monkeypatch.setitem(rules.ENGINES, "torch", lambda call: right(call) if next(runs) < 2 else raising(error)())
    with pytest.raises(torch.AcceleratorError):  # of the call itself, which torch runs too
        module(x)
    assert decision().reason.startswith("not measured: torch's own raises AcceleratorError")
    assert wrong() == {}


@pytest.mark.parametrize("factor", [float("inf"), 3.0])
def test_torchs_own_that_is_wrong_at_full_size_is_not_charged_to_the_kernels(speeds, monkeypatch, factor):
    right = rules.ENGINES["torch"]

    def off(call):
        output, finals, every = right(call)
        return (output * factor if len(output) > 16 else output), finals, every

    monkeypatch.setitem(rules.ENGINES, "torch", off)
    FusedLSTM(3, 5)(torch.randn(20, 2, 3))
    assert decision().reason.startswith("not measured: the results differ, and those of the kernels are not wrong: ")
    assert wrong() == {}


def test_a_time_out_of_an_earlier_call_is_the_user_s_to_know(interpreted, net):
    module, x = net
    launch.error_word(CPU).fill_(77)
    with pytest.raises(launch.SweepTimeoutError, match="launch 77"):
        module(x)
    assert wrong() == {}
    module(x)
    assert decision().backend == "triton"


def test_errors_of_the_kernels_are_not_kept(speeds, net, monkeypatch):
    """They may pass: a full disk, where Triton keeps what it compiles."""
    module, x = net
    with monkeypatch.context() as patched:
        patched.setattr(triton, "run", raising(OSError(28, "No space left on device")))
        module(x)
    assert decision().reason.startswith("the kernels raise OSError")
    known.forget()
    module(x)
    assert decision().backend == "triton"


def test_torch_s_newer_switches_of_tf32_are_read(speeds, net):
    module, x = net
    torch.backends.cudnn.rnn.fp32_precision = "ieee"
    try:
        module(x)
        ((_, kind),) = known.by_kind
    finally:
        torch.backends.cudnn.rnn.fp32_precision = "tf32"
    assert not kind.tf32
    module(x)
    assert len(known.by_kind) == 2


def test_without_cudnn_is_another_kind(speeds, net):
    module, x = net
    module(x)
    with torch.backends.cudnn.flags(enabled=False):
        module(x)
    assert [kind.cudnn for _, kind in known.by_kind] == [True, False]
    assert "without cuDNN" in str(list(known.by_kind)[1][1])


def test_a_count_that_is_none_is_no_file(speeds, net):
    module, x = net
    module(x)
    path = store.path_of(machine_of(CPU))
    told = json.loads(path.read_text())
    path.write_text(json.dumps({**told, "begun": {"a": float("inf")}}))
    known.forget()
    module(x)
    assert decision().backend == "triton"


def test_the_file_can_be_read_by_other_users(speeds, net):
    """As one that is made while an image is built, by root."""
    module, x = net
    module(x)
    path = store.path_of(machine_of(CPU))
    beside = path.with_name("beside")
    beside.write_text("")
    assert path.stat().st_mode == beside.stat().st_mode


def test_a_failed_measurement_keeps_no_buffers():
    def full(stop):
        big = torch.zeros(10)
        held.append(weakref.ref(big))
        raise torch.OutOfMemoryError("no more")

    held = []
    gc.collect()
    gc.disable()
    try:
        with contextlib.suppress(torch.OutOfMemoryError):
            isolated(full, CPU)
        assert held[0]() is None
    finally:
        gc.enable()


def test_backwards_of_a_measurement_do_not_wait_for_autograd_s_threads():
    """Which may be waiting for the call that is measured."""
    assert torch._C._is_multithreading_enabled()
    assert not isolated(lambda stop: torch._C._is_multithreading_enabled(), CPU)


def test_a_setting_that_changes_during_a_measurement_holds(speeds, net, monkeypatch):
    module, x = net
    original = isolated

    def meanwhile(function, device):
        found = original(function, device)
        fusedrnn.set_auto("off")
        return found

    monkeypatch.setattr(measuring, "isolated", meanwhile)
    module(x)
    before = speeds.ran.copy()
    module(x)
    assert speeds.ran - before == {"torch": 1}


def test_kernels_that_another_thread_finds_wrong_are_not_remembered(speeds, net, monkeypatch):
    """Between looking up the kind and remembering the call."""
    module, x = net
    module(x)
    known.by_exact.clear()
    right = triton.run

    class Interrupted(dict):
        def get(self, key, default=None):
            found = dict.get(self, key, default)
            if found is not None and not done:
                done.append(key)
                monkeypatch.setattr(triton, "run", spoiled(right))
                other = threading.Thread(target=FusedLSTM(3, 7), args=(x,))
                other.start()
                other.join()
                monkeypatch.setattr(triton, "run", right)
            return found

    done = []
    monkeypatch.setattr(known, "by_kind", Interrupted(known.by_kind))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module(x)
    before = speeds.ran.copy()
    module(x)
    module(x)
    assert speeds.ran - before == {"torch": 2}


def test_a_recomputation_follows_its_forward_though_the_decision_was_retired(speeds, net, monkeypatch):
    module, x = net
    output = checkpoint(lambda x: module(x)[0], x.clone().requires_grad_(), use_reentrant=False)
    right = triton.run
    monkeypatch.setattr(triton, "run", spoiled(right))
    with pytest.warns(UserWarning, match="wrong result"):
        FusedLSTM(3, 7)(x)
    monkeypatch.setattr(triton, "run", right)
    before = speeds.ran.copy()
    output.sum().backward()
    assert speeds.ran - before == {"kernels": 1}


def test_a_recomputation_in_evaluation_mode_follows_its_forward(speeds, net):
    module, x = net
    module.eval()
    output = checkpoint(lambda x: module(x)[0], x.clone().requires_grad_(), use_reentrant=True)
    before = speeds.ran.copy()
    output.sum().backward()
    assert speeds.ran - before == {"kernels": 1}


def test_calls_of_other_threads_are_not_noticed(speeds, net):
    module, x = net
    module(x)
    before = speeds.ran.copy()
    with choose.noticed() as found:
        other = threading.Thread(target=module, args=(x,))
        other.start()
        other.join()
    assert (speeds.ran - before, found) == ({"kernels": 1}, [])


def test_rows_are_those_of_the_thread_s_own_call(speeds, net, monkeypatch):
    module, x = net
    module(x)
    seen, chosen = [], choose.kernels_chosen

    def interrupted(call):
        found = chosen(call)
        other = threading.Thread(target=lambda: setattr(choose._now, "rows", (7, 7)))
        other.start()
        other.join()
        return found

    rule = next(rule for rule in rules.BY_NAME["auto"] if rule.engine == "measured")
    changed = [one._replace(when=interrupted) if one is rule else one for one in rules.BY_NAME["auto"]]
    monkeypatch.setitem(rules.BY_NAME, "auto", tuple(changed))
    original = triton.run
    monkeypatch.setattr(triton, "run", lambda call, rows=BY_TABLE: seen.append(rows) or original(call, rows))
    module(x)
    assert seen == [BY_TABLE]


def test_every_decision_is_told_with_its_source(speeds, net, caplog):
    module, x = net
    with caplog.at_level(logging.INFO, logger="fusedrnn"):
        module(x)
        known.forget()
        module(x)
        fusedrnn.set_auto(budget=0)
        FusedLSTM(3, 5)(x)
        fusedrnn.set_auto("off")
        FusedLSTM(3, 5)(x)
    ends = [message.rsplit("(", 1)[1] for message in caplog.messages]
    assert ends[0].startswith("measured in ")
    assert ends[1:] == ["kept)", "not measured)", "a setting)"]


def test_measured_again_where_the_new_measurement_fails(speeds, net, monkeypatch):
    """The old note that it is wrong goes, in the file and in this process, and no new one comes."""
    module, x = net
    right = triton.run
    monkeypatch.setattr(triton, "run", spoiled(right))
    with pytest.warns(UserWarning, match="wrong result"):
        module(x)
    monkeypatch.setattr(triton, "run", right)
    (name,) = wrong()
    module(x)
    ((_, kind),) = known.by_kind
    assert str(kind) == name
    with monkeypatch.context() as patched:
        patched.setattr(triton, "run", raising(RuntimeError("no such kernel")))
        assert settle.tuned(kind, CPU, again=True).reason == "the kernels raise RuntimeError: no such kernel"
    assert wrong() == known.wrong[machine_of(CPU)] == {}
    assert settle.tuned(kind, CPU, again=False).backend == "triton"
    before = speeds.ran.copy()
    module(x)  # what this call's sizes were decided before does not hold any more
    assert speeds.ran - before == {"kernels": 1}


def test_a_shipped_file_may_say_that_the_kernels_are_wrong(speeds, net, tmp_path, monkeypatch):
    module, x = net
    monkeypatch.setattr(store, "SHIPPED", tmp_path / "shipped")
    with monkeypatch.context() as patched:
        patched.setenv("FUSEDRNN_CACHE_DIR", str(tmp_path / "shipped"))
        store.end(machine_of(CPU), "a kind", None, "h_n")
    module(x)
    assert decision().reason == "the kernels are wrong on this card: h_n"

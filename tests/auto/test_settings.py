"""Modes and budget: measure, cached, off; by environment variable and by `set_auto`."""

import logging
import time

import pytest
import torch
from pretended_gpu import decision

import fusedrnn
from fusedrnn import FusedGRU
from fusedrnn.auto import known, settings, settle, store
from fusedrnn.auto.machine import Machine, machine_of
from fusedrnn.backends import triton


def by_variable(monkeypatch, mode):
    monkeypatch.setenv("FUSEDRNN_AUTO", mode)


def by_function(monkeypatch, mode):
    fusedrnn.set_auto(mode)


@pytest.mark.parametrize("how", [by_variable, by_function])
def test_off_is_torchs_own_whatever_is_kept(speeds, net, monkeypatch, how):
    module, x = net
    module(x)
    known.forget()
    how(monkeypatch, "off")
    kernels = speeds.ran["kernels"]
    module(x)
    assert speeds.ran["kernels"] == kernels
    assert decision().reason == "FUSEDRNN_AUTO or set_auto says off"


@pytest.mark.parametrize("how", [by_variable, by_function])
def test_cached_takes_what_is_kept_and_never_measures(speeds, net, monkeypatch, how):
    module, x = net
    how(monkeypatch, "cached")
    module(x)
    assert speeds.ran == {"torch": 1}
    assert decision().reason.startswith("nothing is kept for this kind of call")
    fusedrnn.set_auto("measure")
    module(x)
    known.forget()
    fusedrnn.set_auto("cached")
    before = speeds.ran.copy()
    module(x)
    assert speeds.ran - before == {"kernels": 1}


def test_the_function_has_the_last_word_and_takes_effect_at_once(speeds, net, monkeypatch):
    module, x = net
    monkeypatch.setenv("FUSEDRNN_AUTO", "off")
    module(x)
    assert decision().backend == "aten"
    fusedrnn.set_auto("measure")
    module(x)
    assert decision().backend == "triton"


def test_the_budget_ends_measuring_in_a_process_and_keeps_nothing(speeds, net):
    module, x = net
    fusedrnn.set_auto(budget=0)
    module(x)
    assert decision().reason.startswith("the time for measuring is used up")
    assert speeds.ran == {"torch": 1}
    assert store.load(machine_of(torch.device("cpu"))) == store.Decisions()
    fusedrnn.set_auto(budget=60)
    module(x)
    assert decision().backend == "triton"


def test_what_is_spent_counts_and_kept_decisions_cost_nothing(speeds, net, monkeypatch):
    module, x = net
    monkeypatch.setenv("FUSEDRNN_AUTO_BUDGET", "100")
    before = time.monotonic()
    module(x)
    passed = time.monotonic() - before
    assert 0.5 * passed < 100 - settings.budget_left() < passed
    left = settings.budget_left()
    known.forget()
    module(x)
    assert left - settings.budget_left() < 0.1
    monkeypatch.setenv("FUSEDRNN_AUTO_BUDGET", str(100 - left))
    FusedGRU(3, 7)(x)
    assert [made.backend for made in known.by_kind.values()] == ["triton", "aten"]


def test_by_default_it_measures_for_30_seconds(fresh):
    assert (settings.mode(), settings.budget_left()) == ("measure", 30.0)


@pytest.mark.parametrize("mode", ["fast", "Measure", "1"])
def test_an_unknown_mode_is_an_error(speeds, net, monkeypatch, mode):
    module, x = net
    with pytest.raises(ValueError, match=f"mode: expected one of measure, cached, off, got '{mode}'"):
        fusedrnn.set_auto(mode)
    monkeypatch.setenv("FUSEDRNN_AUTO", mode)
    with pytest.raises(ValueError, match=f"FUSEDRNN_AUTO: expected one of measure, cached, off, got '{mode}'"):
        module(x)


@pytest.mark.parametrize("budget", [-1, float("nan"), "a while", None])
def test_a_budget_is_a_number_of_seconds(speeds, net, monkeypatch, budget):
    module, x = net
    if budget is not None:
        with pytest.raises(ValueError, match="budget: expected seconds, 0 or more, got "):
            fusedrnn.set_auto(budget=budget)
    monkeypatch.setenv("FUSEDRNN_AUTO_BUDGET", str(budget))
    with pytest.raises(ValueError, match="FUSEDRNN_AUTO_BUDGET: expected seconds, 0 or more, got "):
        module(x)


def test_a_mistake_in_set_auto_changes_nothing(fresh):
    with pytest.raises(ValueError, match="budget"):
        fusedrnn.set_auto("off", budget=-1)
    assert settings.mode() == "measure"


def test_decisions_are_told_at_level_info_and_nothing_is_printed(speeds, net, caplog, capsys):
    module, x = net
    with caplog.at_level(logging.INFO, logger="fusedrnn"):
        module(x)
        module(x)
    assert len(caplog.messages) == 1
    assert capsys.readouterr() == ("", "")


def test_tuning_in_mode_off_keeps_decisions_and_runs_torchs_own(speeds, net):
    module, x = net
    module(x)
    ((_, kind),) = known.by_kind
    fusedrnn.set_auto("off")
    assert settle.tuned(kind, torch.device("cpu"), again=True).backend == "triton"
    counted = speeds.ran.copy()
    module(x)
    assert speeds.ran - counted == {"torch": 1}


H100 = Machine("NVIDIA H100", (9, 0), 132, "", "", "", "", "")


def test_the_interpreter_decides_nothing_for_a_card(fresh, monkeypatch):
    device = torch.device("cuda", 0)
    monkeypatch.setattr(triton, "missing", lambda: None)
    assert settle.unable(device, H100).startswith("TRITON_INTERPRET=1: ")
    assert settle.unable(torch.device("cpu"), machine_of(torch.device("cpu"))) is None
    monkeypatch.delenv("TRITON_INTERPRET")
    assert settle.unable(device, H100) is None


def test_launches_that_are_waited_for_are_not_measured_but_decisions_hold(speeds, net, monkeypatch):
    module, x = net
    monkeypatch.setenv("CUDA_LAUNCH_BLOCKING", "1")
    module(x)
    assert decision().reason == "nothing is kept for this kind of call, and CUDA_LAUNCH_BLOCKING=1 changes all times"
    monkeypatch.delenv("CUDA_LAUNCH_BLOCKING")
    known.forget()
    module(x)
    known.forget()
    monkeypatch.setenv("CUDA_LAUNCH_BLOCKING", "1")
    module(x)
    assert decision().backend == "triton"


def test_nothing_is_measured_where_the_kernels_cannot_run(speeds, net, monkeypatch):
    module, x = net
    monkeypatch.setattr(settle, "unserved", lambda capability: "too old")
    module(x)
    assert decision().reason == "too old"
    assert speeds.ran == {"torch": 1}

"""What "auto" chooses and reports: never the kernels on an unverified GPU, otherwise what the cost model finds faster."""

import logging
import subprocess
import sys

import pytest
import torch

from fusedrnn import FusedGRU, FusedLSTM
from fusedrnn.backends import auto as chooser
from fusedrnn.backends import dispatch, rules
from fusedrnn.backends.cudnn import Layer
from fusedrnn.call import Call
from fusedrnn.modules import base

H100, A100 = (9, 0), (8, 0)
LARGE = Layer("lstm", torch.bfloat16, T=512, B=64, I=512, H=512)


@pytest.fixture
def verified(monkeypatch):
    monkeypatch.setattr(chooser, "VERIFIED", frozenset({H100}))
    chooser.decision.cache_clear()
    yield
    chooser.decision.cache_clear()


def test_an_unproven_chip_gets_torchs_own_whatever_the_model_says():
    verdict = chooser.decision(H100, 132, LARGE)
    assert verdict.ours_s * 2 < verdict.theirs_s
    assert verdict.backend == "aten"
    assert verdict.reason.startswith("no GPU of capability 9.0 has passed the GPU tests; floor model: wins")


def test_no_chip_is_verified_before_its_record_is_committed():
    assert frozenset() == chooser.VERIFIED


def test_a_verified_chip_gets_the_kernels_where_the_model_says_that_they_win(verified):
    assert chooser.decision(H100, 132, LARGE).backend == "triton"
    small = Layer("lstm", torch.bfloat16, T=4, B=1, I=8, H=8)
    assert chooser.decision(H100, 132, small).backend == "aten"
    assert chooser.decision(A100, 108, LARGE).backend == "aten"


def test_an_unknown_chip_gets_torchs_own():
    verdict = chooser.decision((13, 5), 100, LARGE)
    assert verdict.backend == "aten"
    assert "no published numbers for sm_135" in verdict.reason


def test_a_chip_without_the_kernels_instructions_gets_torchs_own():
    assert chooser.decision((7, 5), 40, LARGE).backend == "aten"
    assert chooser.decision((7, 5), 40, LARGE).reason == "expected a GPU of compute capability 8.0 or above, got 7.5"


def test_every_decision_is_logged_once_with_its_reason(caplog):
    chooser.decision.cache_clear()
    with caplog.at_level(logging.DEBUG, logger="fusedrnn"):
        for _ in range(3):
            chooser.decision(H100, 132, LARGE)
    assert len(caplog.messages) == 1
    assert "auto: aten for Layer(cell='lstm'" in caplog.messages[0]


def captured(monkeypatch, module, *args, **options):
    """The call that a module makes."""
    calls: list[Call] = []
    monkeypatch.setattr(base, "run_directly", lambda *_: None)  # the short way makes no choice
    monkeypatch.setattr(dispatch, "decide", lambda call, _: calls.append(call) or rules.BY_NAME["reference"][-1])
    module(*args, **options)
    (call,) = calls
    assert isinstance(call, Call)
    return call


def test_the_model_sees_the_call_as_it_is(monkeypatch):
    x = torch.randn(7, 3, 5)
    call = captured(monkeypatch, FusedGRU(5, 9, 2, bidirectional=True), x)
    assert chooser.layer_of(call) == Layer("gru", torch.float32, 7, 3, 5, 9, 2, 2, torch.backends.cudnn.allow_tf32)
    call = captured(monkeypatch, FusedLSTM(5, 9, proj_size=2), x, lengths=torch.tensor([7, 2, 1]))
    layer = chooser.layer_of(call)
    assert (layer.packed, layer.projected, layer.H, layer.cell) == (True, True, 9, "lstm")
    packed = torch.nn.utils.rnn.pack_padded_sequence(x, [7, 2, 1])
    layer = chooser.layer_of(captured(monkeypatch, FusedGRU(5, 9, reset_after=False), packed))
    assert (layer.packed, layer.T, layer.B, layer.cell) == (True, 7, 3, "gru_before")


def test_on_a_cpu_auto_is_torchs_own(monkeypatch):
    call = captured(monkeypatch, FusedGRU(5, 9), torch.randn(7, 3, 5))
    assert chooser.automatic(call) == "aten"


def test_the_choice_needs_no_triton():
    code = "import sys; sys.modules['triton'] = None; from fusedrnn.backends import auto; assert 'triton' not in auto.__dict__"
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": ":".join(sys.path)})

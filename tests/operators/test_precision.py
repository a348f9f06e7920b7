"""TF32 is switched for a while and put back, also where assignments to cuDNN's switch are refused."""

import pytest
import torch

from fusedrnn.precision import allow_tf32


def switches():
    return torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32


@pytest.mark.parametrize("frozen", [False, True], ids=["free", "frozen"])
@pytest.mark.parametrize("on", [False, True], ids=["off", "on"])
def test_both_switches_are_set_and_put_back(on, frozen, monkeypatch):
    monkeypatch.setattr(torch.backends, "__allow_nonbracketed_mutation_flag", not frozen)
    before, others = switches(), (torch.backends.cudnn.enabled, torch.backends.cudnn.deterministic)
    with allow_tf32(on):
        assert switches() == (on, on)
        assert (torch.backends.cudnn.enabled, torch.backends.cudnn.deterministic) == others
    assert switches() == before


def test_they_are_put_back_after_an_error():
    before = switches()
    with pytest.raises(RuntimeError, match="inside"), allow_tf32(not before[0]):
        raise RuntimeError("inside")
    assert switches() == before

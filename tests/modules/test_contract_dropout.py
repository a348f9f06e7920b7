"""Dropout between layers as torch.nn's: what is dropped and how it is scaled, and a rate of 1."""

import pytest
import torch
from contract_cases import flat

from fusedrnn import FusedLSTM

X = torch.randn(5, 2, 3)


@pytest.mark.parametrize("training", [True, False])
def test_dropout_draws_every_step_anew_and_scales_what_it_keeps(pair, backend, training):
    module = pair[1](3, 64, 2, dropout=0.25, backend=backend).train(training)
    with torch.no_grad():
        for name in ("weight_hh_l1", "bias_ih_l1", "bias_hh_l1"):
            getattr(module, name).zero_()
        rows = module.weight_ih_l1.shape[0]
        module.weight_ih_l1.copy_(torch.eye(64).repeat(rows // 64, 1) * 1e-2)  # the second layer reads each unit alone
    x = torch.randn(1, 40, 3).expand(6, 40, 3)
    output, states, every = module(x, return_all_states=True)
    inputs = every[0] if pair[1] is not FusedLSTM else every[0][0]
    (through,) = torch.autograd.grad(output.sum(), inputs)  # exactly zero where the second layer's input was dropped
    dropped = through == 0
    assert dropped.float().mean().item() == pytest.approx(0.25 * training, abs=0.03)
    clean = pair[1](64, 64)
    clean.load_state_dict({n.replace("l1", "l0"): v for n, v in module.state_dict().items() if "l1" in n})
    undropped, _ = clean(inputs)
    if training:
        assert not torch.equal(dropped[0], dropped[1])  # a mask for each step, not one for all
        scale = (output[0] / undropped[0])[~dropped[0]]  # the second layer is nearly linear in so small an input
        assert scale.median().item() == pytest.approx(1 / 0.75, rel=0.02)
    else:
        torch.testing.assert_close(output, undropped)
    torch.testing.assert_close(flat(states)[0][0], inputs[-1])


def test_dropout_of_one_gives_the_next_layer_zeros(pair, backend):
    module = pair[1](3, 4, 2, dropout=1.0, backend=backend)
    zeros = pair[1](3, 4, 1)
    zeros.load_state_dict(
        {n: getattr(module, n.replace("l0", "l1")) if "ih" not in n else v for n, v in zeros.state_dict().items()}
    )
    with torch.no_grad():
        zeros.bias_ih_l0.copy_(module.bias_ih_l1)
    torch.testing.assert_close(module(X)[0], zeros(torch.zeros_like(X))[0])

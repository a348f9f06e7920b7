"""Outputs, states and every gradient equal torch.nn's, for random options, sizes and forms of input; state_dicts are exchanged."""

import pytest
import torch
from module_cases import pair, run_both

from fusedrnn import FusedGRU


@pytest.mark.parametrize("block", range(8))
@pytest.mark.parametrize("backend", ["reference", "aten"])
def test_results_and_gradients_equal_torchs_in_float64(backend, block):
    for seed in range(30 * block, 30 * (block + 1)):
        theirs, ours, what = run_both(seed, backend)
        for expected, got in zip(theirs, ours, strict=True):
            scale = max(1.0, expected.abs().max().item()) if expected.numel() else 1.0
            assert (got - expected).abs().max().item() <= 1e-12 * scale, what


@pytest.mark.parametrize("seed", range(6))
def test_state_dicts_load_strictly_both_ways(seed):
    theirs, ours, _ = pair(seed, None)
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.normal_()
    theirs.load_state_dict(ours.state_dict(), strict=True)
    fresh = type(ours)(
        ours.input_size, ours.hidden_size, ours.num_layers, ours.bias, ours.batch_first, 0.0, ours.bidirectional,
        dtype=torch.float64, **({"proj_size": ours.proj_size} if ours.proj_size else {}),
    )  # fmt: skip
    fresh.load_state_dict(theirs.state_dict(), strict=True)
    for name, parameter in ours.named_parameters():
        assert torch.equal(parameter, fresh.get_parameter(name)), name


@pytest.mark.parametrize("backend", ["reference", "aten"])
def test_reset_before_gru_is_cho_et_als(backend):
    gru = FusedGRU(3, 4, dtype=torch.float64, backend=backend, reset_after=False)
    x, h = torch.randn(5, 2, 3, dtype=torch.float64), torch.randn(2, 4, dtype=torch.float64)
    output, _ = gru(x, h.unsqueeze(0))
    w, u = gru.weight_ih_l0.chunk(3), gru.weight_hh_l0.chunk(3)
    b = [p + q for p, q in zip(gru.bias_ih_l0.chunk(3), gru.bias_hh_l0.chunk(3), strict=True)]
    for t in range(5):
        r = torch.sigmoid(x[t] @ w[0].t() + h @ u[0].t() + b[0])
        z = torch.sigmoid(x[t] @ w[1].t() + h @ u[1].t() + b[1])
        n = torch.tanh(x[t] @ w[2].t() + (r * h) @ u[2].t() + b[2])
        h = (1 - z) * n + z * h
        torch.testing.assert_close(output[t], h, rtol=0, atol=1e-14)

"""From input to output: token ids, and the order of layers, directions and states."""

import pytest
import torch
from reference_networks import LAYER_SWEEPS, B, H, I, T, build, gradients, run_reference, states_for
from torch.nn.functional import one_hot

from fusedrnn.reference.stack import LayerWeights, layer_of, project, run_layers


def randn(*shape):
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "nobias"])
def test_token_ids_project_as_their_one_hot_rows(bias):
    width = 11
    w_ih, b_ih = randn(13, width), randn(13) if bias else None
    ids = torch.randint(width - 1, (T, B))  # the last id never occurs, others many times
    weights = [w for w in (w_ih, b_ih) if w is not None]
    gathered = project(ids, w_ih, b_ih)
    multiplied = project(one_hot(ids, width).to(torch.float64), w_ih, b_ih)
    assert torch.equal(gathered, multiplied)
    for a, b in zip(gradients([gathered], weights), gradients([multiplied], weights), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("cell", LAYER_SWEEPS)
def test_token_ids_run_as_their_one_hot_rows(cell):
    module = build(cell.removesuffix("-before"), num_layers=2, bidirectional=True)
    states = states_for(module)
    ids = torch.randint(I, (T, B))
    output, finals = run_reference(cell, module, ids, states)
    expected, expected_finals = run_reference(cell, module, one_hot(ids, I).to(torch.float64), states)
    for a, b in zip((output, *finals), (expected, *expected_finals), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-13, atol=1e-13)


def test_each_layer_is_given_its_own_weights_and_states_in_order():
    layers = [
        [LayerWeights(randn(3 * H, width), randn(3 * H, H), randn(3 * H), randn(3 * H)) for _ in range(2)]
        for width in (I, 2 * H)
    ]
    h0 = randn(4, B, H)
    seen = []

    def spy(gx, states, w_hh, b_hh, w_hr, lengths):
        seen.append((gx, states, w_hh, b_hh, w_hr, lengths))
        return (gx[..., :H],), (states[0] + len(seen),)

    lengths = torch.tensor([T, 1, 2, 3, 4])
    x = randn(T, B, I)
    _, (h_n,), _ = run_layers(lambda depth: layer_of(spy), x, (h0,), layers, lengths=lengths)
    for depth, (gx, (h,), w_hh, b_hh, w_hr, lengths_given) in enumerate(seen):
        assert torch.equal(h, h0[2 * depth : 2 * depth + 2])
        assert torch.equal(h_n[2 * depth : 2 * depth + 2], h + (depth + 1))
        assert w_hr is None
        assert lengths_given is lengths
        below = x if depth == 0 else seen[0][0][..., :H].flatten(2)
        active = (torch.arange(T).unsqueeze(1) < lengths).unsqueeze(-1)
        for d, weights in enumerate(layers[depth]):
            assert torch.equal(w_hh[d], weights.w_hh)
            assert torch.equal(b_hh[d], weights.b_hh)
            expected = torch.where(active, below, 0.0) @ weights.w_ih.t() + weights.b_ih
            torch.testing.assert_close((gx * active.unsqueeze(-1))[:, :, d], expected * active, rtol=1e-12, atol=1e-12)


def test_both_directions_of_a_layer_are_projected_by_one_product(monkeypatch):
    module = build("gru", num_layers=3, bidirectional=True)
    products = []
    monkeypatch.setattr(
        "fusedrnn.reference.stack.linear",
        lambda x, w, b: products.append(w.shape) or torch.nn.functional.linear(x, w, b),
    )
    run_reference("gru", module, randn(T, B, I), states_for(module))
    assert products == [(6 * H, I), (6 * H, 2 * H), (6 * H, 2 * H)]

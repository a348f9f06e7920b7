"""Initialisers: what they write into which rows of which parameters, of our modules and of torch.nn's."""

import math
import warnings

import pytest
import torch
from contract_cases import CELLS, LAYERS
from torch import nn

from fusedrnn import FusedGRU, FusedGRUCell, FusedLSTM, FusedLSTMCell, FusedRNN, init

H = 6
GATED = [
    *(kind for name in ("gru", "lstm") for kind in (*LAYERS[name], *CELLS[name])),
]
EVERY = [*GATED, *LAYERS["rnn"], *CELLS["rnn"]]


def build(kind, **options):
    stack = {"num_layers": 2, "bidirectional": True} if issubclass(kind, nn.RNNBase) else {}
    return kind(3, H, **stack, **options)


def named(module, kind):
    return {name: p for name, p in module.named_parameters() if name.startswith(kind)}


def gate(bias, index):
    return bias[index * H : (index + 1) * H]


@pytest.mark.parametrize("kind", GATED)
def test_the_gate_that_keeps_the_state_gets_the_bias_and_nothing_else_changes(kind):
    module = build(kind)
    before = {name: p.detach().clone() for name, p in module.named_parameters()}
    init.keep_bias_(module, 2.5)
    for name, p in module.named_parameters():
        if name.startswith("bias"):
            assert gate(p, 1).tolist() == [2.5 if "_ih" in name else 0.0] * H
            with torch.no_grad():
                gate(p, 1).copy_(gate(before[name], 1))
        assert torch.equal(p, before[name])
        assert p.requires_grad
        assert p.grad_fn is None


@pytest.mark.parametrize("kind", [FusedGRU, FusedLSTM, FusedGRUCell, FusedLSTMCell])
def test_a_large_bias_makes_the_state_stay(kind):
    module = kind(3, H)
    init.keep_bias_(module, 30.0)
    lstm = "LSTM" in kind.__name__
    if lstm:
        with torch.no_grad():
            for name, bias in named(module, "bias").items():
                gate(bias, 0).fill_(-30.0 if "_ih" in name else 0.0)  # nothing enters
    shape = (2, H) if "Cell" in kind.__name__ else (1, 2, H)
    x, states = torch.randn(shape[0] if "Cell" in kind.__name__ else 5, *shape[1:-1], 3), torch.randn(2, *shape)
    found = module(x, tuple(states) if lstm else states[0])
    found = found if "Cell" in kind.__name__ else found[1]
    torch.testing.assert_close(found[1] if lstm else found, states[1 if lstm else 0])


@pytest.mark.parametrize("kind", GATED)
def test_chrono_draws_the_logarithm_of_a_uniform_number_of_steps(kind):
    torch.manual_seed(0)
    module, longest = kind(3, 4000), 50
    before = {name: p.detach().clone() for name, p in named(module, "bias").items()}
    init.chrono_(module, longest)
    (name, bias), (other, hidden) = (next(iter(named(module, f"bias_{side}").items())) for side in ("ih", "hh"))
    gates, steps = bias.chunk(len(bias) // 4000), bias.chunk(len(bias) // 4000)[1].exp()
    assert steps.min() >= 1
    assert steps.max() <= longest - 1
    assert steps.mean().item() == pytest.approx(longest / 2, abs=4 * (longest - 2) / math.sqrt(12 * 4000))
    assert steps.quantile(0.25).item() == pytest.approx(1 + (longest - 2) / 4, abs=1.5)
    zeroed = hidden.chunk(len(gates))
    assert not zeroed[1].any()
    if len(gates) == 4:
        assert torch.equal(gates[0], -gates[1])
        assert not zeroed[0].any()
    for k in range(len(gates)):
        if k != 1 and (k != 0 or len(gates) == 3):
            assert torch.equal(gates[k], before[name].chunk(len(gates))[k])
            assert torch.equal(zeroed[k], before[other].chunk(len(gates))[k])


@pytest.mark.parametrize("kind", EVERY)
@pytest.mark.parametrize("gain", [1.0, 0.5])
def test_every_gate_of_every_direction_gets_an_orthogonal_matrix_of_its_own(kind, gain):
    module = build(kind)
    before = {name: p.detach().clone() for name, p in module.named_parameters()}
    init.orthogonal_(module, gain)
    blocks = [block for w in named(module, "weight_hh").values() for block in w.split(H)]
    for block in blocks:
        torch.testing.assert_close(block @ block.t(), gain**2 * torch.eye(H), rtol=0, atol=1e-5)
    assert len({tuple(block.flatten().tolist()) for block in blocks}) == len(blocks)
    assert all(torch.equal(p, before[name]) for name, p in module.named_parameters() if "weight_hh" not in name)


def test_a_projected_lstm_gets_orthonormal_columns():
    module = FusedLSTM(3, H, proj_size=4)
    init.orthogonal_(module)
    for block in module.weight_hh_l0.split(H):
        torch.testing.assert_close(block.t() @ block, torch.eye(4), rtol=0, atol=1e-5)


def test_a_generator_decides_what_is_drawn():
    for function in (init.orthogonal_, lambda module, generator: init.chrono_(module, 20, generator)):
        found = []
        for seed in (5, 5, 6):
            module = FusedLSTM(3, H)
            state = torch.get_rng_state()
            function(module, generator=torch.Generator().manual_seed(seed))
            assert torch.equal(torch.get_rng_state(), state)
            found.append(torch.cat([p.flatten() for p in (module.weight_hh_l0, module.bias_ih_l0)]))
            module.weight_ih_l0.data.zero_()
        drawn = [
            torch.cat([t[: 4 * H * H]]) if function is init.orthogonal_ else t[4 * H * H :][: 2 * H] for t in found
        ]
        assert torch.equal(drawn[0], drawn[1])
        assert not torch.equal(drawn[0], drawn[2])


@pytest.mark.parametrize("kind", [nn.LSTM, FusedLSTM])
def test_parameters_stay_the_same_objects_and_no_gradient_is_recorded(kind):
    module = kind(3, H)
    parameters = list(module.parameters())
    init.keep_bias_(module)
    init.chrono_(module, 9)
    init.orthogonal_(module)
    assert all(a is b for a, b in zip(parameters, module.parameters(), strict=True))
    module(torch.randn(4, 2, 3))[0].sum().backward()
    assert all(p.grad is not None for p in parameters)


BAD = {
    "no gates": (lambda: init.keep_bias_(FusedRNN(3, H)), r"got FusedRNN, which has no gates"),
    "no biases": (lambda: init.keep_bias_(FusedGRU(3, H, bias=False)), r"with biases, got bias=False"),
    "no gates for chrono": (lambda: init.chrono_(nn.RNNCell(3, H), 9), r"got RNNCell, which has no gates"),
    "too short": (lambda: init.chrono_(FusedGRU(3, H), 1), r"longest to be at least 2, got 1"),
    "not recurrent": (lambda: init.orthogonal_(nn.Linear(3, H)), r"expected a GRU, LSTM or RNN, .* got Linear"),
    "parametrized": (
        lambda: init.orthogonal_(nn.utils.parametrizations.weight_norm(FusedGRU(3, H), "weight_hh_l0")),
        r"^weight_hh_l0 of ParametrizedFusedGRU: expected a parameter, got what is computed from others$",
    ),
    "parametrized above": (
        lambda: init.orthogonal_(nn.utils.parametrizations.weight_norm(FusedGRU(3, H, 2), "weight_hh_l1")),
        r"^weight_hh_l1 of ParametrizedFusedGRU: expected a parameter",
    ),
    "old weight norm": (
        lambda: init.orthogonal_(with_old_norm(FusedLSTM(3, H))),
        r"^weight_hh_l0 of FusedLSTM: expected",
    ),
}


def with_old_norm(module):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return nn.utils.weight_norm(module, "weight_hh_l0")


def test_nothing_is_changed_where_a_bias_is_no_parameter():
    module = nn.utils.parametrizations.orthogonal(FusedGRU(3, H), "weight_hh_l0")
    init.keep_bias_(module, 3.0)  # other weights may be parametrized
    module = nn.utils.parametrize.register_parametrization(FusedGRU(3, H, 2), "bias_ih_l1", nn.Identity())
    before = [p.detach().clone() for p in module.parameters()]
    with pytest.raises(ValueError, match="bias_ih_l1 of ParametrizedFusedGRU"):
        init.keep_bias_(module)
    assert all(map(torch.equal, before, module.parameters()))


@pytest.mark.parametrize(("call", "message"), BAD.values(), ids=BAD)
def test_what_cannot_be_initialised_is_a_value_error(call, message):
    with pytest.raises(ValueError, match=message):
        call()

"""replace_rnns on models of published packages: equal outputs, an equal training step, restored to the bit."""

import copy
import warnings

import pytest
import torch

from fusedrnn import FusedGRU, FusedGRUCell, FusedLSTM, replace_rnns, restore_rnns


@pytest.fixture(scope="module")
def policy():
    """The recurrent actor-critic of sb3-contrib: two LSTMs of two layers, episodes that end within the sequence."""
    pytest.importorskip("sb3_contrib", reason="sb3-contrib is among the test dependencies; it is not installed here")
    from gymnasium.spaces import Box, Discrete
    from sb3_contrib.common.recurrent.policies import RecurrentActorCriticPolicy

    torch.manual_seed(0)
    return RecurrentActorCriticPolicy(
        Box(-1, 1, (5,)), Discrete(3), lambda _: 1e-2, lstm_hidden_size=8, n_lstm_layers=2
    )


@pytest.fixture(scope="module")
def transformer():
    """A decoder of x-transformers whose residuals are gated by GRU cells."""
    reason = "x-transformers is among the test dependencies; it is not installed here"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # it scripts two functions when it is imported
        package = pytest.importorskip("x_transformers", reason=reason)

    torch.manual_seed(0)
    layers = package.Decoder(dim=16, depth=2, heads=2, gate_residual=True)
    return package.TransformerWrapper(num_tokens=11, max_seq_len=16, attn_layers=layers)


@pytest.fixture(scope="module")
def graph_network():
    """GraphSAGE of PyTorch Geometric, whose nodes read their neighbours in order by a GRU."""
    reason = "torch-geometric is among the test dependencies; it is not installed here"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # it scripts classes when it is imported
        package = pytest.importorskip("torch_geometric.nn", reason=reason)

    torch.manual_seed(0)
    return package.GraphSAGE(8, 8, 2, aggr="GRUAggregation", aggr_kwargs={"in_channels": 8, "out_channels": 8})


def policy_loss(model):
    """sb3's own evaluation of actions: values, log-probabilities, entropy."""
    from sb3_contrib.common.recurrent.type_aliases import RNNStates

    torch.manual_seed(1)
    states = RNNStates(*((torch.randn(2, 3, 8), torch.randn(2, 3, 8)) for _ in range(2)))
    starts = torch.zeros(12)
    starts[[0, 4, 6, 8]] = 1
    values, log_prob, entropy = model.evaluate_actions(torch.rand(12, 5), torch.randint(0, 3, (12,)), states, starts)
    return [values, log_prob, entropy]


def transformer_loss(model):
    torch.manual_seed(1)
    return [model(torch.randint(0, 11, (2, 7)))]


def graph_loss(model):
    """Five nodes, seven edges, sorted by where they lead."""
    torch.manual_seed(1)
    edges = torch.tensor([[3, 4, 0, 2, 1, 0, 2], [0, 0, 1, 1, 2, 2, 3]])
    return [model(torch.randn(5, 8), edges)]


GATES = [f"attn_layers.layers.{k}.2.gru" for k in range(4)]
CASES = {
    "sb3-contrib": ("policy", policy_loss, {"lstm_actor": FusedLSTM, "lstm_critic": FusedLSTM}),
    "x-transformers": ("transformer", transformer_loss, dict.fromkeys(GATES, FusedGRUCell)),
    "torch-geometric": (
        "graph_network",
        graph_loss,
        dict.fromkeys([f"convs.{k}.aggr_module.gru" for k in range(2)], FusedGRU),
    ),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_model_is_the_same_before_with_and_after(case, request):
    fixture, run, expected = case
    model = copy.deepcopy(request.getfixturevalue(fixture))
    twin = copy.deepcopy(model)
    optimizers = [torch.optim.Adam(m.parameters(), 1e-2) for m in (model, twin)]
    before = [t.detach() for t in run(model)]
    report = replace_rnns(model)
    assert set(report.changed) == set(expected)
    assert not report.left
    assert {n: type(model.get_submodule(n)) for n in expected} == expected
    for got, want in zip(run(model), before, strict=True):
        torch.testing.assert_close(got, want, rtol=0, atol=1e-6)
    for m, optimizer in zip((model, twin), optimizers, strict=True):
        sum(t.square().sum() for t in run(m)).backward()
        optimizer.step()
    for (name, got), want in zip(model.named_parameters(), twin.parameters(), strict=True):
        # Adam's first step is the sign of the gradient: where that is all but zero, so is its sign's worth
        moved = torch.isclose(got, want, rtol=0, atol=1e-6) | (want.grad.abs() < 1e-6)
        assert moved.all(), name
        torch.testing.assert_close(got.grad, want.grad, rtol=1e-5, atol=1e-6)
    assert len(restore_rnns(model).changed) == len(expected)
    twin.load_state_dict(model.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(run(model), run(twin), strict=True))

"""The reference and torch.nn agree in float64: outputs, states and every gradient."""

import pytest
import torch
from reference_networks import B, I, P, T, build, gradients, run_reference, run_torch, states_for
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

NETWORKS = [
    pytest.param(cell, {"num_layers": layers, "bidirectional": two, "bias": bias} | projection, id=name)
    for cell, projection in [("rnn", {}), ("rnn-relu", {}), ("gru", {}), ("lstm", {}), ("lstm", {"proj_size": P})]
    for layers in (1, 3)
    for two in (False, True)
    for bias in (True, False)
    for name in [f"{cell}-L{layers}-D{1 + two}{'-proj' if projection else ''}{'' if bias else '-nobias'}"]
]


def assert_all_close(got, expected):
    assert len(got) == len(expected)
    for a, b in zip(got, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def inputs_of(module):
    x = torch.randn(T, B, I, dtype=torch.float64)
    states = states_for(module)
    return x, states, [tensor.requires_grad_() for tensor in (x, *states)] + list(module.parameters())


@pytest.mark.parametrize(("cell", "options"), NETWORKS)
def test_outputs_states_and_gradients_equal_torch(cell, options):
    module = build(cell, **options)
    x, states, inputs = inputs_of(module)
    output, finals = run_reference(cell, module, x, states)
    expected, expected_finals = run_torch(module, x, states)
    assert_all_close((output, *finals), (expected, *expected_finals))
    assert_all_close(gradients((output, *finals), inputs), gradients((expected, *expected_finals), inputs))


@pytest.mark.parametrize(("cell", "options"), NETWORKS)
def test_lengths_equal_packed_sequences(cell, options):
    module = build(cell, **options)
    x, states, inputs = inputs_of(module)
    lengths = torch.tensor([4, T, 1, 6, 3])
    output, finals = run_reference(cell, module, x, states, lengths)
    packed = pack_padded_sequence(x, lengths, enforce_sorted=False)
    expected, expected_finals = run_torch(module, packed, states)
    expected, _ = pad_packed_sequence(expected)
    assert_all_close((output, *finals), (expected, *expected_finals))
    assert_all_close(gradients((output, *finals), inputs), gradients((expected, *expected_finals), inputs))


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
@pytest.mark.parametrize("p", [0.4, 1.0])
def test_dropout_between_layers_draws_as_torch_does(cell, p):
    module = build(cell, num_layers=3, bidirectional=True, dropout=p)
    x, states, inputs = inputs_of(module)
    torch.manual_seed(5)
    output, finals = run_reference(cell, module, x, states)
    torch.manual_seed(5)
    expected, expected_finals = run_torch(module, x, states)
    assert_all_close((output, *finals), (expected, *expected_finals))
    assert_all_close(gradients((output, *finals), inputs), gradients((expected, *expected_finals), inputs))


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_nothing_is_dropped_in_evaluation(cell):
    module = build(cell, num_layers=2, dropout=0.5).eval()
    x, states, _ = inputs_of(module)
    output, finals = run_reference(cell, module, x, states)
    expected, expected_finals = run_torch(module, x, states)
    assert_all_close((output, *finals), (expected, *expected_finals))

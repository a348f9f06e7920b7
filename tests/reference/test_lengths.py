"""Padding has no effect and no gradient; states stop where their sequences stop."""

import pytest
import torch
from reference_networks import LAYER_SWEEPS, SWEEPS, TORCH, B, H, I, P, T, build, gradients, run_reference, states_for

LENGTHS = torch.tensor([4, T, 0, 6, 1])
PADDING = torch.arange(T).unsqueeze(1) >= LENGTHS  # (T, B)
sweeps = pytest.mark.parametrize("name", SWEEPS)
junk = pytest.mark.parametrize("value", [torch.nan, torch.inf, 1e308], ids=["nan", "inf", "huge"])


def randn(*shape):
    return torch.randn(*shape, dtype=torch.float64, requires_grad=True)


def arguments_of(name):
    """gx, the states and the weights of a sweep of two directions."""
    gates, _ = SWEEPS[name]
    width = P if name == "lstm-proj" else H
    states = [randn(2, B, width)] + [randn(2, B, H)] * name.startswith("lstm")
    projection = [randn(2, P, H)] * (name == "lstm-proj")
    return [randn(T, B, 2, gates * H), *states, randn(2, gates * H, width), randn(2, gates * H), *projection]


def run(name, arguments, lengths=LENGTHS):
    return SWEEPS[name][1](*arguments, lengths=lengths)


def with_padding(gx, value):
    return torch.where(PADDING[..., None, None], value, gx).detach().requires_grad_()


@sweeps
@junk
def test_padding_of_gx_reaches_neither_results_nor_gradients(name, value):
    arguments = arguments_of(name)
    clean = run(name, arguments)
    dirty_arguments = [with_padding(arguments[0], value), *arguments[1:]]
    dirty = run(name, dirty_arguments)
    for a, b in zip(dirty, clean, strict=True):
        assert torch.isfinite(a).all()
        assert torch.equal(a, b)
    for a, b in zip(gradients(dirty, dirty_arguments), gradients(clean, arguments), strict=True):
        assert torch.isfinite(a).all()
        assert torch.equal(a, b)


@sweeps
def test_gradient_of_gx_is_zero_on_padding_and_only_there(name):
    arguments = arguments_of(name)
    gradient = gradients(run(name, arguments), arguments)[0]
    assert (gradient[PADDING] == 0).all()
    assert (gradient[~PADDING] != 0).any(-1).all()


@sweeps
def test_output_is_zero_on_padding_and_only_there(name):
    arguments = arguments_of(name)
    for trace in run(name, arguments)[: 2 if name.startswith("lstm") else 1]:
        assert (trace[PADDING] == 0).all()
        there = trace[~PADDING].flatten(1) != 0
        assert there.any(-1).all() if name == "rnn-relu" else there.all()


@sweeps
def test_junk_gradients_of_the_output_on_padding_go_nowhere(name):
    arguments = arguments_of(name)
    output = run(name, arguments)[0]
    clean = torch.randn_like(output)
    dirty = torch.where(PADDING[..., None, None], torch.nan, clean)
    for a, b in zip(
        torch.autograd.grad(output, arguments, clean, retain_graph=True),
        torch.autograd.grad(output, arguments, dirty),
        strict=True,
    ):
        assert torch.equal(a, b)


@sweeps
def test_each_sample_is_the_sample_swept_alone(name):
    arguments = arguments_of(name)
    traces = 2 if name.startswith("lstm") else 1
    batched = run(name, arguments)
    for b, length in enumerate(LENGTHS.tolist()):
        if length == 0:
            continue
        gx = arguments[0][:length, b : b + 1]
        states = [state[:, b : b + 1] for state in arguments[1 : 1 + traces]]
        alone = run(name, [gx, *states, *arguments[1 + traces :]], lengths=None)
        for k, (a, expected) in enumerate(zip(batched, alone, strict=True)):
            got = a[:length, b : b + 1] if k < traces else a[:, b : b + 1]
            torch.testing.assert_close(got, expected, rtol=1e-13, atol=1e-13)


@sweeps
def test_a_sample_of_no_steps_ends_where_it_began(name):
    arguments = arguments_of(name)
    traces = 2 if name.startswith("lstm") else 1
    for initial, final in zip(arguments[1 : 1 + traces], run(name, arguments)[traces:], strict=True):
        assert torch.equal(final[:, 2], initial[:, 2])
        assert (final[:, 0] != initial[:, 0]).any()


@sweeps
def test_full_lengths_are_no_lengths(name):
    arguments = arguments_of(name)
    full = run(name, arguments, torch.full((B,), T))
    for a, b in zip(full, run(name, arguments, None), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("cell", LAYER_SWEEPS)
@junk
def test_padding_of_x_reaches_neither_results_nor_gradients_of_a_network(cell, value):
    module = build(cell.removesuffix("-before"), num_layers=2, bidirectional=True)
    states = states_for(module)
    x = torch.randn(T, B, I, dtype=torch.float64)
    found = []
    for fill in (0.0, value):
        padded = torch.where(PADDING.unsqueeze(-1), fill, x).requires_grad_()
        output, finals = run_reference(cell, module, padded, states, LENGTHS)
        found.append([output, *finals, *gradients((output, *finals), [padded, *module.parameters()])])
    for clean, dirty in zip(*found, strict=True):
        assert torch.isfinite(dirty).all()
        assert torch.equal(clean, dirty)


@pytest.mark.parametrize("cell", TORCH)
def test_ids_on_padding_have_no_effect(cell):
    module = build(cell, num_layers=2, bidirectional=True)
    states = states_for(module)
    ids = torch.randint(I, (T, B))
    results = []
    for fill in (0, I - 1, 10**9):
        padded = torch.where(PADDING, fill, ids)
        output, finals = run_reference(cell, module, padded, states, LENGTHS)
        results.append([output, *finals, *gradients((output, *finals), list(module.parameters()))])
    for first, *others in zip(*results, strict=True):
        for other in others:
            assert torch.equal(first, other)

"""FusedRNN and FusedRNNCell: what they have beyond the other modules, a nonlinearity. The rest is in the contract's tests."""

import pytest
import torch
from contract_cases import BACKENDS, tensors, total
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence

from fusedrnn import FusedRNN, FusedRNNCell, functional
from fusedrnn.reference.stack import LayerWeights

NONLINEARITIES = ("tanh", "relu")
LENGTHS = torch.tensor([3, 5, 1])


@pytest.fixture(params=NONLINEARITIES)
def nonlinearity(request):
    return request.param


@pytest.fixture(params=BACKENDS)
def backend(request):
    if request.param == "triton":
        pytest.importorskip("triton")
    return request.param


def test_the_arguments_are_torchs_in_torchs_order(nonlinearity):
    given = (3, 4, 2, nonlinearity, False, True, 0.25, True)
    torch.manual_seed(2)
    theirs = nn.RNN(*given)
    torch.manual_seed(2)
    ours = FusedRNN(*given)
    assert repr(ours) == repr(theirs).replace("RNN", "FusedRNN", 1)
    assert (ours.nonlinearity, ours.mode) == (theirs.nonlinearity, theirs.mode)
    assert all(map(torch.equal, ours.parameters(), theirs.parameters()))
    cells = [kind(3, 4, False, nonlinearity) for kind in (nn.RNNCell, FusedRNNCell)]
    assert repr(cells[1]) == repr(cells[0]).replace("RNN", "FusedRNN", 1)


FORMS = {
    "padded": lambda x: x,
    "unbatched": lambda x: x[:, 0],
    "packed": lambda x: pack_padded_sequence(x, LENGTHS, enforce_sorted=False),
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True}, {"bias": False}], ids=str)
def test_every_backend_computes_what_torch_does_with_every_gradient(nonlinearity, backend, options, form):
    theirs = nn.RNN(3, 4, nonlinearity=nonlinearity, **options)
    ours = FusedRNN(3, 4, nonlinearity=nonlinearity, backend=backend, **options)
    ours.load_state_dict(theirs.state_dict())
    x, found = torch.randn(5, 3, 3, requires_grad=True), []
    for module in (theirs, ours):
        results = tensors(module(form(x)))
        found.append([*results, *torch.autograd.grad(total(results), [x, *module.parameters()])])
    for expected, got in zip(*found, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("memory", ["save", "recompute"])
def test_relu_takes_no_gradient_where_it_is_closed(backend, memory):
    module = FusedRNN(1, 2, nonlinearity="relu", backend=backend, memory=memory, bias=False)
    with torch.no_grad():
        module.weight_ih_l0.copy_(torch.tensor([[1.0], [-1.0]]))
        module.weight_hh_l0.zero_()
    x = torch.tensor([[[2.0]], [[-3.0]], [[0.0]]], requires_grad=True)
    output, _ = module(x)
    assert output[:, 0].tolist() == [[2.0, 0.0], [0.0, 3.0], [0.0, 0.0]]
    output.sum().backward()
    assert x.grad.flatten().tolist() == [1.0, -1.0, 0.0]


def test_lengths_and_ids_and_all_states(nonlinearity, backend):
    module = FusedRNN(3, 4, 2, nonlinearity=nonlinearity, backend=backend)
    ids = torch.tensor([[0, 2, 1], [1, 0, 0], [2, 2, 0], [0, 1, 0], [1, 1, 0]])
    x = nn.functional.one_hot(ids, 3).float()
    rows, h_n = nn.RNN.forward(as_torch(module), pack_padded_sequence(x, LENGTHS, enforce_sorted=False))
    expected, _ = nn.utils.rnn.pad_packed_sequence(rows)
    for given in (x, ids):
        output, last, every = module(given, lengths=LENGTHS, return_all_states=True)
        torch.testing.assert_close(output, expected)
        torch.testing.assert_close(last, h_n)
        assert torch.equal(every[1], output)


def as_torch(module):
    twin = nn.RNN(module.input_size, module.hidden_size, module.num_layers, module.nonlinearity)
    twin.load_state_dict(module.state_dict())
    return twin


def test_the_function_is_the_module(nonlinearity, backend):
    module = FusedRNN(3, 4, 2, nonlinearity, bidirectional=True, backend=backend)
    flat = list(module.parameters())
    layers = [[LayerWeights(*flat[8 * k + 4 * d : 8 * k + 4 * d + 4]) for d in range(2)] for k in range(2)]
    x, h = torch.randn(5, 2, 3), torch.randn(4, 2, 4)
    got = functional.rnn(x, h, layers, nonlinearity=nonlinearity, backend=backend, return_all_states=True)
    for a, b in zip(tensors(got), tensors(module(x, h, return_all_states=True)), strict=True):
        assert torch.equal(a, b)


def test_second_derivatives_of_tanh_equal_finite_differences():
    module = FusedRNN(2, 3, backend="aten", dtype=torch.float64)
    x = torch.randn(3, 2, 2, dtype=torch.float64, requires_grad=True)
    for memory in ("save", "recompute"):
        module.memory = memory
        assert torch.autograd.gradgradcheck(lambda x: module(x, return_all_states=True)[:2], (x,))


def test_a_cell_whose_nonlinearity_is_changed_uses_the_new_one(backend):
    cell, x, h = FusedRNNCell(3, 4, backend=backend), torch.randn(2, 3), torch.randn(2, 4)
    for name in ("relu", "tanh"):
        cell.nonlinearity = name
        pre = x @ cell.weight_ih.t() + cell.bias_ih + h @ cell.weight_hh.t() + cell.bias_hh
        torch.testing.assert_close(cell(x, h), getattr(torch, name)(pre))
    cell.nonlinearity = "gelu"
    with pytest.raises(ValueError, match="nonlinearity: expected 'tanh' or 'relu', got 'gelu'"):
        cell(x, h)


@pytest.mark.parametrize("kind", [FusedRNN, FusedRNNCell])
def test_an_unknown_nonlinearity_is_refused_at_once(kind):
    with pytest.raises(ValueError, match=r"^nonlinearity: expected 'tanh' or 'relu', got 'gelu'$"):
        kind(3, 4, nonlinearity="gelu")
    with pytest.raises(ValueError, match="nonlinearity"):
        functional.rnn(torch.randn(2, 1, 3), None, [], nonlinearity="sigmoid")


def test_a_projection_is_refused_as_by_torch():
    with pytest.raises(ValueError, match="proj_size argument is only supported for LSTM, not RNN or GRU"):
        FusedRNN(3, 4, proj_size=2)

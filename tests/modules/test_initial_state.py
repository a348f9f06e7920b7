"""InitialState: hx of any form of input, shared by all samples, learnt by every backend."""

import pytest
import torch
from contract_cases import BACKENDS, flat, tensors
from torch import nn
from torch.nn.utils.rnn import pack_sequence

from fusedrnn import FusedGRU, FusedGRUCell, FusedLSTM, FusedLSTMCell, FusedRNN, FusedRNNCell, InitialState

LAYERS = {"gru": FusedGRU, "lstm": FusedLSTM, "rnn": FusedRNN, "nn.GRU": nn.GRU, "nn.LSTM": nn.LSTM, "nn.RNN": nn.RNN}


def randomised(module, **options):
    initial = InitialState(module, **options)
    with torch.no_grad():
        for state in initial.state_dict().values():
            state.normal_()
    return initial


@pytest.mark.parametrize("kind", LAYERS.values(), ids=LAYERS)
@pytest.mark.parametrize("batch_first", [True, False])
def test_it_is_the_same_state_for_every_sample_of_every_form(kind, batch_first):
    module = kind(3, 4, 2, bidirectional=True, batch_first=batch_first, dtype=torch.float64)
    initial = randomised(module)
    x = torch.randn(5, 2, 3, dtype=torch.float64)
    given = x.transpose(0, 1) if batch_first else x
    explicit = [s.detach().unsqueeze(1).repeat(1, 2, 1) for s in initial.state_dict().values()]
    hx = explicit[0] if initial.c_0 is None else tuple(explicit)
    for got, expected in zip(tensors(module(given, initial(given))), tensors(module(given, hx)), strict=True):
        assert torch.equal(got, expected)
    alone, packed = x[:, 1], pack_sequence([x[:, 0], x[:3, 1]])
    assert flat(initial(alone))[0].shape == (4, 4)
    assert flat(initial(packed))[0].shape == (4, 2, 4)
    module(alone, initial(alone))
    module(packed, initial(packed))


def test_token_ids_and_projections_have_states_of_their_shapes():
    lstm = FusedLSTM(3, 5, proj_size=2)
    ids = torch.tensor([[0, 1, 2], [2, 1, 0]])
    initial = InitialState(lstm)
    assert [s.shape for s in initial(ids)] == [(1, 3, 2), (1, 3, 5)]
    assert [s.shape for s in initial(ids[:, 0])] == [(1, 2), (1, 5)]
    lstm(ids, initial(ids))
    assert repr(initial) == "InitialState(h_0=(1, 2), c_0=(1, 5))"


@pytest.mark.parametrize("kind", [FusedGRUCell, FusedLSTMCell, FusedRNNCell, nn.GRUCell, nn.LSTMCell, nn.RNNCell])
def test_cells_have_one_too(kind):
    cell = kind(3, 4)
    initial = randomised(cell)
    for x in (torch.randn(2, 3), torch.randn(3)):
        states = flat(cell(x, initial(x)))
        assert all(s.shape == (*x.shape[:-1], 4) for s in states)
    assert initial.h_0.shape == (4,)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", [FusedGRU, FusedLSTM, FusedRNN])
def test_it_gets_the_gradients_of_all_samples(kind, backend):
    found = []
    for name in (backend, "reference"):
        torch.manual_seed(2)
        module = kind(3, 4, 2, bidirectional=True, backend=name)
        initial = randomised(module)
        x = torch.randn(5, 3, 3)
        module(x, initial(x))[0].sin().sum().backward()
        found.append([p.grad for p in initial.parameters()])
    for got, expected in zip(*found, strict=True):
        assert expected.abs().min() > 0
        torch.testing.assert_close(got, expected)


def test_it_starts_at_zero_and_may_be_a_buffer():
    gru, x = FusedGRU(3, 4), torch.randn(5, 2, 3)
    fixed = InitialState(gru, learnable=False)
    assert list(fixed.parameters()) == []
    assert list(fixed.state_dict()) == ["h_0"]
    assert torch.equal(gru(x, fixed(x))[0], gru(x)[0])
    learnt = InitialState(gru)
    assert list(learnt.state_dict()) == ["h_0"]
    assert not learnt.h_0.any()


def test_its_dtype_is_the_modules_and_anything_else_is_refused():
    assert InitialState(FusedGRU(3, 4, dtype=torch.bfloat16)).h_0.dtype == torch.bfloat16
    assert InitialState(FusedGRU(3, 4, device="meta")).h_0.is_meta
    with pytest.raises(TypeError, match="module: expected a recurrent module, got Linear"):
        InitialState(nn.Linear(3, 4))

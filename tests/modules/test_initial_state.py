"""InitialState: hx of any form of input, shared by all samples, learnt by every backend."""

import itertools

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


EPISODES = torch.tensor([[False, True], [False, False], [True, True], [False, True], [True, False]])
"""Whether a sample starts anew before a step, (T, B)."""


def pieces(sample):
    """The steps of a sample, from one reset to the next."""
    starts = [0, *[t for t in range(1, len(EPISODES)) if EPISODES[t, sample]], len(EPISODES)]
    return list(itertools.pairwise(starts))


@pytest.mark.parametrize("kind", [FusedGRU, FusedLSTM, FusedRNN, FusedGRUCell, FusedLSTMCell, FusedRNNCell, nn.LSTM])
def test_a_reset_between_steps_is_a_run_of_each_piece_apart(kind):
    cell = "Cell" in kind.__name__
    module = kind(3, 4, dtype=torch.float64) if cell else kind(3, 4, 2, dtype=torch.float64)
    initial = randomised(module)
    x = torch.randn(5, 2, 3, dtype=torch.float64, requires_grad=True)
    hx, outputs = initial(x[0] if cell else x), []
    for t, done in enumerate(EPISODES):
        hx = initial.reset(hx, done)
        if cell:
            hx = module(x[t], hx)
            outputs.append(flat(hx)[0])
        else:
            output, hx = module(x[t : t + 1], hx)
            outputs.append(output[0])
    apart = torch.zeros(5, 2, 4, dtype=torch.float64)
    for sample in range(2):
        for begin, end in pieces(sample):
            given = x[begin:end, sample : sample + 1]
            state = initial(given[0] if cell else given)
            for t in range(begin, end):
                found = module(x[t, sample : sample + 1] if cell else x[t : t + 1, sample : sample + 1], state)
                state = found if cell else found[1]
                apart[t, sample] = flat(found)[0].flatten()
    found = []
    for result in (torch.stack(outputs), apart):
        leaves = [x, *initial.parameters(), *module.parameters()]
        found.append([result, *torch.autograd.grad(result.sin().sum(), leaves)])
    for got, expected in zip(*found, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-13)


def test_a_reset_passes_no_gradient_to_the_state_before():
    initial = randomised(FusedLSTM(3, 4, 2))
    hx = tuple(torch.randn(2, 3, 4, requires_grad=True) for _ in range(2))
    done = torch.tensor([True, False, True])
    h, c = initial.reset(hx, done)
    (h.sum() + c.sum()).backward()
    for state in hx:
        assert state.grad[:, done].eq(0).all()
        assert state.grad[:, ~done].eq(1).all()
    assert initial.h_0.grad.eq(2).all()
    for new, old, own in zip((h, c), hx, (initial.h_0, initial.c_0), strict=True):
        assert torch.equal(new[:, 0], own)
        assert torch.equal(new[:, 1], old[:, 1])


def test_a_reset_takes_states_without_a_batch_and_keeps_their_dtype():
    initial = randomised(FusedGRU(3, 4))
    h = torch.randn(1, 4, dtype=torch.bfloat16)
    assert initial.reset(h, torch.tensor(False)) is not h
    assert torch.equal(initial.reset(h, torch.tensor(False)), h)
    found = initial.reset(h, torch.tensor(True))
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, initial.h_0.bfloat16())


BAD = {
    "ints": ((torch.zeros(1, 2, 4), torch.tensor([0, 1])), ValueError, r"done: expected torch.bool, got torch.int64"),
    "too many": ((torch.zeros(1, 2, 4), torch.zeros(3).bool()), ValueError, r"done: expected shape \(2,\), got \(3,\)"),
    "a pair": (((torch.zeros(1, 2, 4),) * 2, torch.zeros(2).bool()), TypeError, r"hx: expected a tensor, got tuple"),
    "nothing": ((None, torch.zeros(2).bool()), TypeError, r"hx: expected a tensor, got NoneType"),
    "a list": ((torch.zeros(1, 2, 4), [True, False]), TypeError, r"done: expected a tensor, got list"),
    "too many layers": (
        (torch.zeros(2, 2, 4), torch.zeros(2).bool()),
        ValueError,
        r"hx: expected shape \(1, 'B', 4\), or without B, got \(2, 2, 4\)",
    ),
    "too narrow": (
        (torch.zeros(1, 2, 1), torch.zeros(2).bool()),
        ValueError,
        r"hx: expected shape .*, got \(1, 2, 1\)",
    ),
}


@pytest.mark.parametrize(("given", "error", "message"), BAD.values(), ids=BAD)
def test_a_wrong_reset_is_refused(given, error, message):
    with pytest.raises(error, match=message):
        InitialState(FusedGRU(3, 4)).reset(*given)
    with pytest.raises(TypeError, match=r"^hx: expected \(h_0, c_0\), got "):
        InitialState(FusedLSTM(3, 4)).reset(torch.zeros(1, 2, 4), torch.zeros(2).bool())

"""`return_all_states`: every h and c of every layer, in the layout of the output, on every backend, differentiable."""

import pytest
import torch
from torch.nn.utils.rnn import pack_sequence, pad_packed_sequence

from fusedrnn import FusedGRU, FusedGRUCell, FusedLSTM, FusedLSTMCell, FusedRNN, FusedRNNCell

BACKENDS = ("aten", "reference", "triton")
CELLS = {"gru": FusedGRU, "lstm": FusedLSTM, "rnn": FusedRNN}
STEPS = {FusedGRU: FusedGRUCell, FusedLSTM: FusedLSTMCell, FusedRNN: FusedRNNCell}
pytestmark = pytest.mark.parametrize("backend", BACKENDS)


@pytest.fixture(params=CELLS.values(), ids=CELLS)
def kind(request):
    return request.param


def parts(entry):
    """The states of a layer: h, and c of an LSTM."""
    return [entry] if isinstance(entry, torch.Tensor) else list(entry)


def looped(module, layer, x):
    """Every state of one layer of one direction, by torch's cell: x (T, B, *)."""
    cell = STEPS[type(module)](x.shape[-1], module.hidden_size, dtype=x.dtype)
    cell.load_state_dict({n: getattr(module, f"{n}_l{layer}").detach() for n in cell.state_dict()})
    state, trace = None, []
    for x_t in x:
        state = cell(x_t, state)
        trace.append(parts(state))
    return [torch.stack(states) for states in zip(*trace, strict=True)]


def test_every_state_is_what_a_loop_over_cells_has(kind, backend):
    module, x = kind(3, 5, 2, backend=backend), torch.randn(7, 2, 3)
    output, finals, every = module(x, return_all_states=True)
    torch.testing.assert_close(output, module(x)[0])  # aten runs other operators for this
    below = x
    for layer, entry in enumerate(every):
        expected = looped(module, layer, below)
        for got, want, final in zip(parts(entry), expected, parts(finals), strict=True):
            torch.testing.assert_close(got, want, rtol=0, atol=1e-6)
            torch.testing.assert_close(final[layer], got[-1])
        below = expected[0]
    assert len(every) == 2
    assert torch.equal(parts(every[-1])[0], output)


def test_the_reverse_direction_has_its_last_state_first(kind, backend):
    module, x = kind(3, 5, bidirectional=True, backend=backend), torch.randn(7, 2, 3)
    _, finals, (entry,) = module(x, return_all_states=True)
    for states, final in zip(parts(entry), parts(finals), strict=True):
        assert states.shape == (7, 2, 10)
        torch.testing.assert_close(states[-1, :, :5], final[0])
        torch.testing.assert_close(states[0, :, 5:], final[1])


def test_the_projection_narrows_h_and_not_c(backend):
    lstm = FusedLSTM(3, 5, 2, proj_size=2, bidirectional=True, backend=backend)
    _, (_, c_n), every = lstm(torch.randn(7, 2, 3), return_all_states=True)
    assert [[s.shape[-1] for s in entry] for entry in every] == [[4, 10], [4, 10]]
    torch.testing.assert_close(every[1][1][-1, :, :5], c_n[2])


def test_the_layout_is_that_of_the_output(kind, backend):
    module, x = kind(3, 5, 2, backend=backend), torch.randn(7, 2, 3)
    _, _, plain = module(x, return_all_states=True)
    first = kind(3, 5, 2, backend=backend, batch_first=True)
    first.load_state_dict(module.state_dict())
    _, _, by_sample = first(x.transpose(0, 1), return_all_states=True)
    _, _, alone = module(x[:, 1], return_all_states=True)
    packed, _, rows = module(pack_sequence([x[:4, 0], x[:, 1]], enforce_sorted=False), return_all_states=True)
    _, _, padded = module(x, lengths=torch.tensor([4, 7]), return_all_states=True)
    for layer in range(2):
        for k, states in enumerate(parts(plain[layer])):
            torch.testing.assert_close(parts(by_sample[layer])[k].transpose(0, 1), states)
            torch.testing.assert_close(parts(alone[layer])[k], states[:, 1])
            cut = states.clone()
            cut[4:, 0] = 0
            torch.testing.assert_close(parts(padded[layer])[k], cut)
            entry = rows[layer][k] if kind is FusedLSTM else rows[layer]
            assert torch.equal(entry.unsorted_indices, packed.unsorted_indices)
            torch.testing.assert_close(pad_packed_sequence(entry)[0], cut)


def test_dropout_does_not_touch_what_is_returned(kind, backend):
    module, x = kind(3, 64, 2, dropout=0.9, backend=backend), torch.randn(3, 2, 3)
    _, _, every = module(x, return_all_states=True)
    _, _, plain = module.eval()(x, return_all_states=True)
    torch.testing.assert_close(every[0], plain[0])
    assert not torch.allclose(parts(every[1])[0], parts(plain[1])[0])


def test_every_state_passes_its_gradient_on(kind, backend):
    results = []
    for name in (backend, "reference"):
        torch.manual_seed(1)
        module = kind(3, 5, 2, bidirectional=True, backend=name)
        x = torch.randn(4, 2, 3, requires_grad=True)
        _, _, every = module(x, lengths=torch.tensor([2, 4]), return_all_states=True)
        total = sum((states.sin() * torch.randn(states.shape)).sum() for entry in every for states in parts(entry))
        results.append(torch.autograd.grad(total, [x, *module.parameters()]))
    for got, expected in zip(*results, strict=True):
        torch.testing.assert_close(got, expected)

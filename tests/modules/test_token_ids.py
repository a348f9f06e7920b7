"""Token ids: out of range they are refused as by nn.Embedding, eager and compiled; padding is not read; int32 is taken."""

import pytest
import torch
from contract_cases import flat
from torch import nn
from torch.func import vmap
from torch.nn.utils.rnn import pack_sequence

from fusedrnn import FusedGRU, FusedGRUCell, FusedLSTM, FusedLSTMCell, FusedRNN, functional
from fusedrnn.reference.stack import LayerWeights

LAYERS = [FusedGRU, FusedLSTM, FusedRNN]
BACKENDS = ["aten", "reference", "triton"]
BAD = [torch.tensor([[0, -1], [1, 2]]), torch.tensor([[0, 4], [1, 2]])]


@pytest.fixture(params=LAYERS)
def kind(request):
    return request.param


@pytest.mark.parametrize("ids", BAD, ids=["negative", "too large"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_an_id_out_of_range_is_an_index_error(kind, backend, ids):
    with pytest.raises(IndexError, match=r"expected 0 to 3 \(input_size - 1\), got"):
        kind(4, 8, backend=backend)(ids)


@pytest.mark.parametrize("backend", BACKENDS[:2])
def test_compiled_code_refuses_an_id_out_of_range(kind, backend):
    torch._dynamo.reset()
    compiled = torch.compile(kind(4, 8, backend=backend), backend="aot_eager", fullgraph=True)
    compiled(torch.tensor([[0, 3], [1, 2]]))
    for ids in BAD:
        with pytest.raises(IndexError, match="index out of range"):
            compiled(ids)


def test_vmap_refuses_an_id_out_of_range(kind):
    module = kind(4, 8)
    with pytest.raises(IndexError, match="out of range"):
        vmap(lambda ids: module(ids)[0])(torch.stack(BAD))


@pytest.mark.parametrize("backend", BACKENDS)
def test_ids_past_the_length_of_a_sample_are_not_read(kind, backend):
    module, lengths = kind(4, 8, bidirectional=True, backend=backend), torch.tensor([3, 1])
    clean = torch.tensor([[1, 2], [0, 0], [3, 0]])
    expected = module(clean, lengths=lengths)
    for padding in (-1, 4, -(2**40)):
        padded = clean.clone()
        padded[1:, 1] = padding
        for call in (module, *([torch.compile(module, backend="eager")] if backend == "aten" else [])):
            got = call(padded, lengths=lengths)
            exact = {"rtol": 0, "atol": 0} if call is module else {}
            for a, b in zip(flat(got), flat(expected), strict=True):
                torch.testing.assert_close(a, b, **exact)
    with pytest.raises(IndexError, match="got -1 to 3"):
        module(torch.tensor([[1, 2], [-1, 0], [3, 0]]), lengths=lengths)


def test_a_wrong_length_is_named_before_the_ids_are_read(kind):
    for lengths, error in ((torch.tensor([3, 9]), ValueError), (torch.tensor([3.0, 1.0]), TypeError)):
        with pytest.raises(error, match="lengths: expected"):
            kind(4, 8)(torch.full((3, 2), -1), lengths=lengths)


@pytest.mark.parametrize("backend", BACKENDS)
def test_int32_ids_are_int64_ids(kind, backend):
    module, ids = kind(4, 8, backend=backend), torch.tensor([[0, 3], [1, 2], [3, 3]])
    rows = pack_sequence([ids[:, 0], ids[:2, 1]])
    for given in (ids, ids[:, 0], rows):
        for got, expected in zip(module(given.to(torch.int32)), module(given), strict=True):
            for a, b in zip(flat(getattr(got, "data", got)), flat(getattr(expected, "data", expected)), strict=True):
                assert torch.equal(a, b)


def test_int32_ids_of_a_cell_and_of_the_functions():
    ids = torch.tensor([3, 0])
    for cell in (FusedGRUCell(4, 8), FusedLSTMCell(4, 8)):
        for got, expected in zip(flat(cell(ids.int())), flat(cell(ids)), strict=True):
            assert torch.equal(got, expected)
    weights = [[LayerWeights(torch.randn(24, 4), torch.randn(24, 8))]]
    got, expected = (functional.gru(each, None, weights)[0] for each in (ids.int()[None], ids[None]))
    assert torch.equal(got, expected)


WRONG = [
    (torch.zeros(3, 2, dtype=torch.uint8), r"Token ids are expected int64 or int32: input.long\(\)"),
    (torch.zeros(3, 2, dtype=torch.bool), r"Token ids are expected int64 or int32: input.long\(\)"),
    (torch.zeros(3, 2, 1, dtype=torch.int64), r"without a dimension for features: input.squeeze\(-1\)"),
    (torch.zeros(3, 2, 1, dtype=torch.int32), r"without a dimension for features: input.squeeze\(-1\)"),
]


@pytest.mark.parametrize(("given", "message"), WRONG, ids=lambda each: str(getattr(each, "dtype", "")))
def test_integers_of_another_form_are_refused_with_what_to_do(kind, given, message):
    for how in (torch.autocast("cpu", enabled=False), torch.autocast("cpu", torch.bfloat16)):
        with how, pytest.raises(ValueError, match=message):
            kind(4, 8)(given)


INPLACE = [{}, {"memory": "recompute"}, {"backend": "reference"}, {"backend": "triton"}, {"bidirectional": True}]


@pytest.mark.parametrize("options", INPLACE, ids=str)
@pytest.mark.parametrize("lengths", [None, torch.tensor([3, 2])], ids=["whole", "lengths"])
def test_a_residual_may_be_added_in_place_to_the_output_on_ids(kind, options, lengths):
    """As to that of nn.Embedding and nn.GRU; in float64 torch's LSTM allows it too."""
    module, ids = kind(4, 8, dtype=torch.float64, **options), torch.tensor([[0, 3], [1, 2], [3, 3]])
    found = []
    for residual in (lambda y: y.mul_(2).add_(1), lambda y: y * 2 + 1):
        output, _ = module(ids, lengths=lengths)
        loss = residual(output).square().sum()
        found.append(torch.autograd.grad(loss, list(module.parameters())))
    for got, expected in zip(*found, strict=True):
        torch.testing.assert_close(got, expected)


def test_a_residual_may_be_added_in_place_in_compiled_code(kind):
    torch._dynamo.reset()
    module, ids = kind(4, 8), torch.tensor([[0, 3], [1, 2], [3, 3]])
    compiled = torch.compile(lambda ids: module(ids)[0].mul_(2), backend="aot_eager", fullgraph=True)
    found = [
        torch.autograd.grad(y.square().sum(), list(module.parameters())) for y in (compiled(ids), module(ids)[0] * 2)
    ]
    for got, expected in zip(*found, strict=True):
        torch.testing.assert_close(got, expected)


def test_every_state_and_the_output_share_no_memory_after_a_change_in_place(kind):
    module = kind(4, 8)
    output, _, every = module(torch.randn(3, 2, 4), return_all_states=True)
    h = every[0] if isinstance(every[0], torch.Tensor) else every[0][0]
    before = h.clone()
    nn.functional.relu(output, inplace=True)
    assert torch.equal(h, before)


def test_without_gradients_the_output_is_not_copied(kind):
    """It is a view of what the sweep returned."""
    module, ids = kind(4, 8, memory="recompute"), torch.tensor([[0, 3], [1, 2], [3, 3]])
    with torch.no_grad():
        assert module(ids)[0]._is_view()
    assert not module(ids)[0]._is_view()

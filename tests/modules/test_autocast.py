"""Under autocast results have the dtype of torch.nn's module on that device, on every backend, eager and compiled."""

import itertools

import pytest
import torch
from contract_cases import CELLS, flat, tensors
from torch import nn
from torch.nn.utils.rnn import pack_sequence

from fusedrnn import FusedGRU, FusedLSTM, FusedLSTMCell, FusedRNN

X = torch.randn(5, 2, 4)
LENGTHS = torch.tensor([5, 3])
ROWS = pack_sequence([torch.randn(5, 4), torch.randn(3, 4)])
IDS = torch.tensor([[0, 3], [1, 2], [3, 3]])
LAYERS = [
    (nn.GRU, FusedGRU, {}),
    (nn.LSTM, FusedLSTM, {}),
    (nn.LSTM, FusedLSTM, {"proj_size": 3}),
    (nn.RNN, FusedRNN, {}),
]
OURS = [{}, {"memory": "recompute"}, {"backend": "reference"}, {"backend": "triton"}]


def dtypes(call, *args, **kwargs):
    """The dtypes of the results under autocast, the output's first."""
    with torch.autocast("cpu", torch.bfloat16):
        output, states = call(*args, **kwargs)
    return [t.dtype for t in (getattr(output, "data", output), *flat(states))]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
@pytest.mark.parametrize("options", OURS, ids=str)
@pytest.mark.parametrize(("theirs", "ours", "more"), LAYERS, ids=str)
def test_layers_give_the_dtypes_of_torch(theirs, ours, more, options, dtype):
    for x in (X, ROWS):
        rows = x.to(dtype)
        expected = dtypes(theirs(4, 8, **more).to(dtype), rows)
        assert dtypes(ours(4, 8, **more, **options).to(dtype), rows) == expected


@pytest.mark.parametrize("options", OURS[:3], ids=str)
@pytest.mark.parametrize(("theirs", "ours", "more"), LAYERS, ids=str)
def test_initial_states_of_another_dtype_decide_as_in_torch(theirs, ours, more, options):
    for x, states in itertools.product(
        (X, X.bfloat16(), ROWS, ROWS.to(torch.bfloat16)), (torch.float32, torch.bfloat16)
    ):
        h, c = (torch.randn(1, 2, width, dtype=states) for width in (more.get("proj_size", 8), 8))
        hx = (h, c) if theirs is nn.LSTM else h
        assert dtypes(ours(4, 8, **more, **options), x, hx) == dtypes(theirs(4, 8, **more), x, hx)


@pytest.mark.parametrize(("theirs", "ours", "more"), LAYERS, ids=str)
@pytest.mark.parametrize("options", OURS[:3], ids=str)
def test_compiled_layers_give_the_dtypes_of_eager_ones(theirs, ours, more, options):
    module = ours(4, 8, **more, **options)
    for given, call in ((X, {}), (X, {"lengths": LENGTHS}), (IDS, {})):
        torch._dynamo.reset()
        compiled = torch.compile(module, backend="aot_eager", fullgraph=True)
        assert dtypes(compiled, given, **call) == dtypes(module, given, **call)


@pytest.mark.parametrize(("theirs", "ours", "more"), LAYERS, ids=str)
@pytest.mark.parametrize("options", OURS[:3], ids=str)
def test_lengths_give_the_dtypes_of_packed_rows_and_ids_those_of_the_weights(theirs, ours, more, options):
    module = ours(4, 8, **more, **options)
    assert dtypes(module, X, lengths=LENGTHS) == dtypes(theirs(4, 8, **more), ROWS)
    assert dtypes(module, IDS) == dtypes(theirs(4, 8, **more), X)


def test_every_state_has_the_dtype_of_the_results():
    for kind, expected in ((FusedGRU, torch.float32), (FusedLSTM, torch.bfloat16), (FusedRNN, torch.bfloat16)):
        with torch.autocast("cpu", torch.bfloat16):
            result = kind(4, 8, 2)(X, return_all_states=True)
        assert {t.dtype for t in tensors(result)} == {expected}


@pytest.mark.parametrize("backend", ["aten", "reference", "triton"])
@pytest.mark.parametrize(("theirs", "ours"), CELLS.values(), ids=CELLS)
def test_cells_keep_the_dtype_on_a_cpu_as_torchs(theirs, ours, backend):
    with torch.autocast("cpu", torch.bfloat16):
        expected, got = (flat(module(X[0])) for module in (theirs(4, 8), ours(4, 8, backend=backend)))
    assert [t.dtype for t in got] == [t.dtype for t in expected]


def test_the_state_of_a_cell_is_not_rounded_to_the_dtype_of_autocast():
    with torch.autocast("cpu", torch.bfloat16):
        _, c = FusedLSTMCell(4, 8, backend="reference")(X[0], (torch.randn(2, 8), torch.randn(2, 8)))
    assert not torch.equal(c, c.bfloat16().float())

"""The cells: results, gradients and errors of torch.nn's cells, and a loop over a cell equals a layer."""

import copy
import pickle

import pytest
import torch
from contract_cases import flat, hx_of
from torch import nn

from fusedrnn import FusedGRU, FusedGRUCell, FusedLSTM, FusedLSTMCell, FusedRNN, FusedRNNCell, use_backend

BACKENDS = ("auto", "aten", "reference", "triton")


@pytest.mark.parametrize("given", [True, False], ids=["hx", "no hx"])
@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no bias"])
@pytest.mark.parametrize("shape", [(3,), (5,)], ids=["unbatched", "batched"])
@pytest.mark.parametrize("backend", ["auto", "aten", "reference"])
def test_results_and_gradients_equal_torchs(cells, backend, shape, bias, given):
    theirs, ours = (kind(3, 4, bias=bias, dtype=torch.float64) for kind in cells)
    ours.load_state_dict(theirs.state_dict(), strict=True)
    ours.backend = backend
    batch = () if shape == (3,) else shape
    x = torch.randn(*batch, 3, dtype=torch.float64, requires_grad=True)
    hx = hx_of(theirs, *batch, 4, dtype=torch.float64, requires_grad=True) if given else None
    leaves = [x, *(flat(hx) if given else [])]
    results = []
    for cell in (theirs, ours):
        states = flat(cell(x, hx))
        grads = torch.autograd.grad([s.sin().sum() for s in states], [*leaves, *cell.parameters()])
        results.append([*states, *grads])
    for expected, got in zip(*results, strict=True):
        assert got.shape == expected.shape
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-14)


def test_without_bias_the_attributes_are_none_and_not_in_the_state_dict(cells):
    cell = cells[1](3, 4, bias=False)
    assert cell.bias_ih is None
    assert cell.bias_hh is None
    assert list(cell.state_dict()) == ["weight_ih", "weight_hh"]
    assert repr(cell).endswith("(3, 4, bias=False)")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("layer", [FusedGRU, FusedLSTM, FusedRNN], ids=["gru", "lstm", "rnn"])
def test_a_loop_over_a_cell_is_a_layer(layer, backend):
    module = layer(3, 4)
    cell = {FusedGRU: FusedGRUCell, FusedLSTM: FusedLSTMCell, FusedRNN: FusedRNNCell}[layer](3, 4, backend=backend)
    cell.load_state_dict({name.removesuffix("_l0"): value for name, value in module.state_dict().items()})
    x, state, trace = torch.randn(5, 2, 3), None, []
    for x_t in x:
        state = cell(x_t, state)
        trace.append(flat(state)[0])
    torch.testing.assert_close(torch.stack(trace), module(x)[0], rtol=0, atol=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_token_ids_are_one_hot_rows(cells, backend):
    cell = cells[1](5, 4, backend=backend)
    ids = torch.tensor([4, 0, 3])
    one_hot = nn.functional.one_hot(ids, 5).float()
    for given, same in ((ids, one_hot), (ids[0], one_hot[0])):
        for got, expected in zip(flat(cell(given)), flat(cell(same)), strict=True):
            torch.testing.assert_close(got, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_reset_before_is_cho_et_als(backend):
    cell = FusedGRUCell(3, 4, backend=backend, reset_after=False)
    x, h = torch.randn(2, 3), torch.randn(2, 4)
    w, u = cell.weight_ih.chunk(3), cell.weight_hh.chunk(3)
    b = (cell.bias_ih + cell.bias_hh).chunk(3)
    r = torch.sigmoid(x @ w[0].t() + h @ u[0].t() + b[0])
    z = torch.sigmoid(x @ w[1].t() + h @ u[1].t() + b[1])
    n = torch.tanh(x @ w[2].t() + (r * h) @ u[2].t() + b[2])
    torch.testing.assert_close(cell(x, h), (1 - z) * n + z * h, rtol=0, atol=1e-6)


def test_the_choice_of_backend_reaches_the_cells(cells):
    cell = cells[1](3, 4)
    with pytest.raises(ValueError, match="expected one of auto"):
        cells[1](3, 4, backend="cudnn")
    with use_backend("reference"):
        x = torch.randn(2, 3, requires_grad=True)
        assert flat(cell(x))[0].grad_fn.name() != flat(cells[1](3, 4, backend="aten")(x))[0].grad_fn.name()


def test_copies_are_independent(cells):
    cell, x = cells[1](3, 4), torch.randn(2, 3)
    for other in (copy.deepcopy(cell), pickle.loads(pickle.dumps(cell))):
        assert all(torch.equal(a, b) for a, b in zip(flat(cell(x)), flat(other(x)), strict=True))
        with torch.no_grad():
            other.weight_hh.zero_()
        assert cell.weight_hh.any()


@pytest.mark.parametrize("backend", ["auto", "reference"])
def test_cells_compile_whole_and_run_under_vmap(cells, backend):
    torch.compiler.reset()
    cell, x = cells[1](3, 4, backend=backend), torch.randn(6, 2, 3)
    compiled = torch.compile(cell, fullgraph=True, backend="aot_eager")
    for got, expected in zip(flat(compiled(x[0])), flat(cell(x[0])), strict=True):
        torch.testing.assert_close(got, expected)
    for got, expected in zip(flat(torch.vmap(cell)(x)), flat(cell(x.flatten(0, 1))), strict=True):
        torch.testing.assert_close(got.flatten(0, 1), expected)


def test_an_empty_batch_and_empty_sizes_are_legal(cells):
    assert flat(cells[1](3, 4)(torch.randn(0, 3)))[0].shape == (0, 4)
    assert flat(cells[1](3, 0)(torch.randn(2, 3)))[0].shape == (2, 0)
    assert flat(cells[1](0, 4)(torch.randn(2, 0)))[0].shape == (2, 4)


X, H = torch.randn(3, 10), torch.randn(3, 20)
BAD = {
    "features": (torch.randn(3, 11), H, RuntimeError, "input has inconsistent input_size: got 11 expected 10"),
    "hidden size": (X, torch.randn(3, 21), RuntimeError, "hidden0 has inconsistent hidden_size: got 21, expected 20"),
    "batch": (X, torch.randn(5, 20), RuntimeError, "Input batch size 3 doesn't match hidden0 batch size 5"),
    "input 3-D": (X.unsqueeze(0), H, ValueError, "Expected input to be 1D or 2D, got 3D"),
    "input 0-D": (torch.tensor(1.0), H, ValueError, "Expected input to be 1D or 2D, got 0D"),
    "hidden 3-D": (X, H.unsqueeze(0), ValueError, "to be 1D or 2D, got 3D"),
    "hidden 0-D": (X, torch.tensor(1.0), ValueError, "to be 1D or 2D, got 0D"),
    "hidden without a batch": (X, H[0], RuntimeError, "expected a batch dimension where the input has one, got 1-D"),
    "input without a batch": (X[0], H, RuntimeError, "hidden0"),
    "id": (torch.tensor([1, 10, 2]), H, IndexError, r"expected 0 to 9 \(input_size - 1\), got 1 to 10"),
    "dtype": (
        X.double(),
        H,
        ValueError,
        r"input dtype \(torch.float64\) does not match weight dtype \(torch.float32\)",
    ),
    "int32 ids": (torch.ones(3, 10, dtype=torch.int32), H, ValueError, r"input dtype \(torch.int32\) does not match"),
    "device": (X.to("meta"), H, RuntimeError, "input: expected device cpu, where the weights are, got meta"),
    "hidden dtype": (X, H.double(), ValueError, "expected dtype torch.float32, that of the weights, got torch.float64"),
    "hidden device": (X, H.to("meta"), RuntimeError, "expected device cpu, where the weights are, got meta"),
    "ids' device": (torch.ones(3, dtype=torch.int64, device="meta"), H, RuntimeError, "input: expected device cpu"),
    "not a tensor": ([1.0], H, TypeError, "input: expected a tensor, got list"),
}
REFUSED_BY_TORCH = ("dtype", "hidden dtype", "hidden without a batch", "input without a batch")
BAD_CALLS = [(name, backend) for name in BAD for backend in ("auto", "reference")]
BAD_CALLS += [(name, backend) for name in REFUSED_BY_TORCH for backend in ("aten", "triton")]


@pytest.mark.parametrize(("name", "backend"), BAD_CALLS)
def test_bad_call(cells, name, backend):
    x, h, error, message = BAD[name]
    theirs, ours = cells[0](10, 20), cells[1](10, 20, backend=backend)
    hx = (h, h) if isinstance(ours, FusedLSTMCell) else h
    with pytest.raises(error, match=message) as caught:
        ours(x, hx)
    assert "\n" not in str(caught.value)
    if name in REFUSED_BY_TORCH:
        with pytest.raises((RuntimeError, ValueError)):
            theirs(x, hx)


SECOND = [name for name in BAD if name.startswith("hidden") or name == "batch"]


@pytest.mark.parametrize("backend", ["auto", "reference"])
@pytest.mark.parametrize("name", SECOND)
def test_the_second_state_is_checked_as_the_first(name, backend):
    x, bad, error, message = BAD[name]
    with pytest.raises(error, match=message.replace("hidden0", "hidden1")):
        FusedLSTMCell(10, 20, backend=backend)(x, (H, bad))


def test_an_lstm_cell_takes_a_pair_and_a_gru_cell_does_not():
    cell = FusedLSTMCell(10, 20)
    with pytest.raises(TypeError, match=r"expected \(h_0, c_0\), got Tensor"):
        cell(X, H)
    with pytest.raises(TypeError, match="hx: expected a tensor, got tuple"):
        FusedGRUCell(10, 20)(X, (H, H))

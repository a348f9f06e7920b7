"""What a user gets wrong at first: one line says what was expected, what was given and, where it is not plain, what to do."""

import pytest
import torch
from torch import nn

import fusedrnn
from fusedrnn import FusedDropout, FusedGRU, FusedGRUCell, FusedLSTM, functional
from fusedrnn.functional import LayerWeights

T, B, I, H = 5, 2, 3, 4
X = torch.randn(T, B, I)
W = LayerWeights(torch.randn(3 * H, I), torch.randn(3 * H, H))
LAYERS = (
    "layers: expected a list over layers of lists over directions, as [[LayerWeights(w_ih, w_hh, b_ih, b_hh)]], got "
)
MASK = "lengths: expected the steps of each sample, shape (2,), got shape {}, a mask; use lengths=mask.sum(1) if it is (B, T), "
MASK += "mask.sum(0) if it is (T, B)"
P = "expected a probability from 0 to 1, got "
IN_TORCH = (
    "dropout should be a number in range [0, 1] representing the probability of an element being zeroed, got '0.5'"
)
FLAG = "expected True or False, got 'yes'"

MISTAKES = {
    "a tensor for layers": (lambda: functional.gru(X, None, W.w_ih), TypeError, LAYERS + "Tensor"),
    "tensors for layers": (lambda: functional.gru(X, None, [W.w_ih, W.w_hh]), TypeError, LAYERS + "Tensor for layer 0"),
    "a layer for layers": (lambda: functional.gru(X, None, W), TypeError, LAYERS + "LayerWeights"),
    "a list of layers": (lambda: functional.gru(X, None, [W]), TypeError, LAYERS + "LayerWeights for layer 0"),
    "lists of tensors": (
        lambda: functional.lstm(X, None, [[W.w_ih, W.w_hh]]), TypeError, LAYERS + "Tensor for a direction of layer 0",
    ),
    "a tuple of tensors": (
        lambda: functional.rnn(X, None, [[W], [tuple(W)]]), TypeError, LAYERS + "tuple for a direction of layer 1",
    ),
    "no layers": (lambda: functional.gru(X, None, []), TypeError, LAYERS + "an empty list"),
    "no directions": (lambda: functional.gru(X, None, [[]]), TypeError, LAYERS + "an empty list for layer 0"),
    "a module for layers": (lambda: functional.gru(X, None, nn.GRU(I, H)), TypeError, LAYERS + "GRU"),
    "p a string, module": (lambda: FusedDropout("0.5"), TypeError, f"FusedDropout: {P}'0.5'"),
    "p a string, function": (lambda: functional.dropout(X, "0.5"), TypeError, f"dropout: {P}'0.5'"),
    "p None": (lambda: functional.bias_relu_dropout(X, X[0, 0], None), TypeError, f"bias_relu_dropout: {P}None"),
    "dropout a string": (lambda: FusedGRU(I, H, 2, dropout="0.5"), ValueError, IN_TORCH),
    "dropout a string, function": (
        lambda: functional.gru(X, None, [[W]], dropout="0.5", training=True), TypeError, f"dropout: {P}'0.5'",
    ),
    "input_dropout a string": (lambda: FusedGRU(I, H, input_dropout="0.5"), TypeError, f"input_dropout: {P}'0.5'"),
    "weight_dropout None": (lambda: FusedGRU(I, H, weight_dropout=None), TypeError, f"weight_dropout: {P}None"),
    "variational a word": (lambda: FusedLSTM(I, H, variational="yes"), TypeError, f"variational: {FLAG}"),
    "variational a word, function": (
        lambda: functional.gru(X, None, [[W]], variational="yes"), TypeError, f"variational: {FLAG}",
    ),
    "reset_after a word": (lambda: FusedGRU(I, H, reset_after="yes"), TypeError, f"reset_after: {FLAG}"),
    "reset_after a word, cell": (lambda: FusedGRUCell(I, H, reset_after="yes"), TypeError, f"reset_after: {FLAG}"),
    "reset_after a word, function": (
        lambda: functional.gru(X, None, [[W]], reset_after="yes"), TypeError, f"reset_after: {FLAG}",
    ),
    "shared_dims -1": (lambda: FusedDropout(shared_dims=-1), ValueError, "shared_dims: expected 0 or more, got -1"),
    "shared_dims -1, function": (
        lambda: functional.dropout(X, shared_dims=-1), ValueError,
        "shared_dims: expected 0 to 3 (the dimensions of input), got -1",
    ),
    "shared_dims a list": (
        lambda: FusedDropout(shared_dims=[0]), TypeError,
        "shared_dims: expected a number of leading dimensions, got [0]",
    ),
    "shared_dims a string, function": (
        lambda: functional.dropout(X, shared_dims="0"), TypeError,
        "shared_dims: expected a number of leading dimensions, got '0'",
    ),
    "a mask": (lambda: FusedGRU(I, H)(X, lengths=torch.ones(T, B, dtype=torch.bool)), ValueError, MASK.format((T, B))),
    "a mask, samples first": (
        lambda: FusedGRU(I, H, batch_first=True)(X.transpose(0, 1), lengths=torch.ones(B, T).long()), ValueError,
        MASK.format((B, T)),
    ),
    "a mask, function": (
        lambda: functional.gru(X, None, [[W]], lengths=torch.ones(B, T).bool()), ValueError, MASK.format((B, T)),
    ),
    "no batch_first": (
        lambda: FusedGRU(I, H)(X.transpose(0, 1), lengths=[T, 1]), ValueError,
        "lengths: expected shape (5,), got (2,), the number of steps; an input (B, T, ...) needs a module with batch_first=True",
    ),
    "batch_first": (
        lambda: FusedLSTM(I, H, batch_first=True)(X, lengths=torch.tensor([T, 1])), ValueError,
        "lengths: expected shape (5,), got (2,), the number of steps; an input (T, B, ...) needs a module with batch_first=False",
    ),
    "samples first, function": (
        lambda: functional.gru(X.transpose(0, 1), None, [[W]], lengths=[T, 1]), ValueError,
        "lengths: expected shape (5,), got (2,), the number of steps; an input (B, T, ...) has to be transposed: "
        "input.transpose(0, 1)",
    ),
    "a name for a model": (
        lambda: fusedrnn.replace_rnns("model"), TypeError, "model: expected a torch.nn.Module, got str",
    ),
    "a class for a model": (lambda: fusedrnn.restore_rnns(nn.GRU), TypeError, "model: expected a torch.nn.Module, got type"),
}  # fmt: skip


@pytest.mark.parametrize(("call", "kind", "message"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_explained_in_one_line(call, kind, message):
    with pytest.raises(kind) as caught:
        call()
    assert type(caught.value) is kind
    assert str(caught.value) == message

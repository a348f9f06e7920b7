"""The sweeps of the reference by name, and the reference as a whole network with the weights of a torch.nn module."""

from functools import partial

import torch

from fusedrnn.reference import cells
from fusedrnn.reference.dropout import dropout
from fusedrnn.reference.stack import LayerWeights, layer_of, run_layers
from fusedrnn.reference.sweep import gru_sweep, lstm_sweep, rnn_sweep

T, B, I, H, P = 7, 5, 3, 6, 4  # odd or small: no two alike
SWEEPS = {
    "rnn": (1, rnn_sweep),
    "rnn-relu": (1, partial(rnn_sweep, nonlinearity="relu")),
    "gru": (3, gru_sweep),
    "gru-before": (3, partial(gru_sweep, reset_after=False)),
    "lstm": (4, lstm_sweep),
    "lstm-proj": (4, lstm_sweep),
}
"""Gates of a cell, and its sweep."""


LAYER_SWEEPS = {
    "rnn": layer_of(cells.SWEEPS["rnn_tanh"]),
    "rnn-relu": layer_of(cells.SWEEPS["rnn_relu"]),
    "gru": layer_of(cells.SWEEPS["gru"]),
    "gru-before": layer_of(cells.SWEEPS["gru_before"]),
    "lstm": layer_of(cells.SWEEPS["lstm"]),
}
TORCH = {
    "rnn": torch.nn.RNN,
    "rnn-relu": partial(torch.nn.RNN, nonlinearity="relu"),
    "gru": torch.nn.GRU,
    "lstm": torch.nn.LSTM,
}


def build(cell, **options):
    return TORCH[cell](I, H, dtype=torch.float64, **options)


def weights_of(module):
    directions = 2 if module.bidirectional else 1
    every = [[getattr(module, name) for name in names] for names in module._all_weights]
    every = [named(weights, module.bias) for weights in every]
    return [every[k : k + directions] for k in range(0, len(every), directions)]


def named(weights, bias):
    w_ih, w_hh, *rest = weights
    b_ih, b_hh = (rest.pop(0), rest.pop(0)) if bias else (None, None)
    return LayerWeights(w_ih, w_hh, b_ih, b_hh, *rest)


def states_for(module, batch=B):
    rows = module.num_layers * (2 if module.bidirectional else 1)
    hidden = torch.randn(rows, batch, module.proj_size or module.hidden_size, dtype=torch.float64)
    cells = torch.randn(rows, batch, module.hidden_size, dtype=torch.float64)
    return (hidden, cells) if module.mode == "LSTM" else (hidden,)


def run_reference(cell, module, x, states, lengths=None):
    output, finals, _ = run_layers(
        lambda depth: LAYER_SWEEPS[cell],
        x,
        states,
        weights_of(module),
        between=lambda _, output: dropout(output, module.dropout, module.training),
        lengths=lengths,
    )
    return output, finals


def run_torch(module, x, states):
    output, final = module(x, states if module.mode == "LSTM" else states[0])
    return output, final if module.mode == "LSTM" else (final,)


def gradients(results, inputs, seed=1):
    """Gradients of a fixed random weighting of all results."""
    generator = torch.Generator().manual_seed(seed)
    loss = sum((r * torch.randn(r.shape, generator=generator, dtype=r.dtype)).sum() for r in results)
    return torch.autograd.grad(loss, inputs)

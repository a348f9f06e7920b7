"""Signal and gradient in the layers of a language model on one minibatch."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from examples.lm.model import CharModel
from fusedrnn import FusedLSTM, FusedRNN, functional
from fusedrnn.reference.stack import LayerWeights


class Reach(NamedTuple):
    """One value per layer, from the input up; norms are over all elements of the layer."""

    signal: Tensor  # root mean square of the outputs: (layers,)
    gradient: Tensor  # norm of dL/d(outputs): (layers,)
    weights: Tensor  # norm of dL/d(weights and biases): (layers,)
    head: float  # norm of dL/d(bias of the output layer), which passes through no recurrent layer
    back: Tensor  # norm of d(loss of the last step)/d(outputs) by steps back: (layers, steps)


def measure(model: CharModel, inputs: Tensor, labels: Tensor) -> Reach:
    """Run a minibatch, (steps, batch) int64 ids, from the zero state, and backpropagate its loss.

    The layers run one by one, so that their outputs and the gradients of these are available.
    """
    layers = [LayerWeights(*weights) for weights in model.recurrent.all_weights]
    outputs, x = [], inputs
    for layer in layers:
        x = _run(model, x, layer)
        outputs.append(x)
    losses = cross_entropy(model.head(x).flatten(0, 1), labels.flatten(), reduction="none").view(labels.shape)
    weights = [weight for layer in layers for weight in (layer.w_ih, layer.w_hh, layer.b_ih)]
    by_output = torch.autograd.grad(losses.mean(), outputs, retain_graph=True)
    *by_weight, by_bias = torch.autograd.grad(losses.mean(), [*weights, model.head.bias], retain_graph=True)
    from_last = torch.autograd.grad(losses[-1].mean(), outputs)
    squares = torch.stack([gradient.pow(2).sum() for gradient in by_weight]).view(len(layers), 3).sum(1)
    return Reach(
        torch.stack([output.detach().pow(2).mean().sqrt() for output in outputs]),
        torch.stack([gradient.norm() for gradient in by_output]),
        squares.sqrt(),
        by_bias.norm().item(),
        torch.stack([gradient.norm(dim=(1, 2)) for gradient in from_last]).flip(1),
    )


def _run(model: CharModel, x: Tensor, layer: LayerWeights) -> Tensor:
    """Run one layer of the model; returns (steps, batch, hidden)."""
    if isinstance(model.recurrent, FusedRNN):
        return functional.rnn(x, None, [[layer]], backend=model.recurrent.backend)[0]
    if isinstance(model.recurrent, FusedLSTM):
        return functional.lstm(x, None, [[layer]], backend=model.recurrent.backend)[0]
    reset_after = model.recurrent.reset_after
    return functional.gru(x, None, [[layer]], reset_after=reset_after, backend=model.recurrent.backend)[0]

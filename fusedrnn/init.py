"""Initialisers of recurrent modules: layers and cells, ours and torch.nn's. As in torch.nn.init they change parameters in place.

The gate that keeps the state is f of an LSTM (gates i f g o) and z of a GRU (r z n, with h' = (1 - z) n + z h). Its bias is the sum
of its rows in bias_ih and bias_hh; those in bias_hh become zero.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Generator, Tensor, nn
from torch.nn.modules.rnn import RNNCellBase

KEEPS, ENTERS = 1, 0
"""Places of z or f, which keeps the state, and of an LSTM's i."""


def keep_bias_(module: nn.Module, value: float = 1.0) -> None:
    """Set the bias of the gate that keeps the state, so that it starts open and gradients reach far back.

    Gers, Schmidhuber & Cummins, "Learning to forget" (2000); with 1, Jozefowicz, Zaremba & Sutskever, "An empirical exploration of
    recurrent network architectures" (2015).

    Args:
        module: a GRU, an LSTM or a cell of these.
        value: the bias; the gate starts at about sigmoid(value). Default: 1.

    Raises:
        ValueError: the module has no such gate, or no biases.

    Example:
        >>> import fusedrnn
        >>> lstm = fusedrnn.FusedLSTM(8, 16)
        >>> fusedrnn.init.keep_bias_(lstm, 1.0)
        >>> lstm.bias_ih_l0[16:32].mean().item()  # the second gate, f
        1.0
    """
    for rows in _gate_biases(module, KEEPS):
        rows.fill_(value)


def chrono_(module: nn.Module, longest: int, generator: Generator | None = None) -> None:
    """Draw biases by which the units remember for 1 to `longest` steps.

    Tallec & Ollivier, "Can recurrent neural networks warp time?" (2018, arXiv:1804.11188): the gate that keeps the state gets
    b = log(u), u uniform in [1, longest - 1], and an LSTM's input gate -b.

    Args:
        module: a GRU, an LSTM or a cell of these.
        longest: the longest dependency that is expected, in steps; at least 2.
        generator: of the random numbers. Default: None, torch's of the device.

    Raises:
        ValueError: `longest` is too small, or the module has no such gate, or no biases.

    Example:
        >>> import fusedrnn
        >>> gru = fusedrnn.FusedGRU(8, 16)
        >>> fusedrnn.init.chrono_(gru, longest=100)
        >>> bool((gru.bias_ih_l0[16:32] >= 0).all())  # the second gate, z
        True
    """
    if longest < 2:
        raise ValueError(f"chrono_: expected longest to be at least 2, got {longest}")
    keeps = _gate_biases(module, KEEPS)
    for rows in keeps:
        rows.uniform_(1, longest - 1, generator=generator).log_()
    if _gates(module) == 4:
        for rows, kept in zip(_gate_biases(module, ENTERS), keeps, strict=True):
            torch.neg(kept, out=rows)


def orthogonal_(module: nn.Module, gain: float = 1.0, generator: Generator | None = None) -> None:
    """Make the recurrent weights of every gate an orthogonal matrix times `gain`, which keeps the norm of a gradient at first.

    Saxe, McClelland & Ganguli, "Exact solutions to the nonlinear dynamics of learning in deep linear neural networks" (2014), as
    `torch.nn.init.orthogonal_`, gate by gate. With a projection the columns are orthonormal.

    Args:
        module: a GRU, an LSTM, an RNN or a cell of these.
        gain: the factor. Default: 1.
        generator: of the random numbers. Default: None, torch's of the device.

    Raises:
        ValueError: the module is not recurrent.

    Example:
        >>> import torch, fusedrnn
        >>> rnn = fusedrnn.FusedRNN(8, 16)
        >>> fusedrnn.init.orthogonal_(rnn)
        >>> torch.allclose(rnn.weight_hh_l0 @ rnn.weight_hh_l0.t(), torch.eye(16), atol=1e-5)
        True
    """
    gates = _gates(module)
    for weight in _parameters(module, "weight_hh"):
        for block in weight.chunk(gates) if weight.dim() == 2 else weight.unflatten(1, (gates, -1)).flatten(0, 1):
            nn.init.orthogonal_(block, gain, generator=generator)


def _gate_biases(module: nn.Module, gate: int) -> list[Tensor]:
    """The rows of a gate in every bias_ih, each (H,); those in bias_hh become zero."""
    gates = _gates(module)
    if gates == 1:
        raise ValueError(f"expected a GRU, an LSTM or a cell of these, got {type(module).__name__}, which has no gates")
    if not module.bias:
        raise ValueError(f"expected a module with biases, got bias={module.bias}")
    ours, others = _parameters(module, "bias_ih"), _parameters(module, "bias_hh")
    for bias in others:
        bias.chunk(gates)[gate].zero_()
    return [bias.chunk(gates)[gate] for bias in ours]


def _parameters(module: nn.Module, kind: str) -> list[Tensor]:
    """All parameters of a kind, without autograd, in the order of the module."""
    every: Any = (kind,) if isinstance(module, RNNCellBase) else module._flat_weights_names
    names = [name for name in every if name.startswith(kind)]
    found = [module._parameters.get(name) for name in names]
    for name, parameter in zip(names, found, strict=True):
        if parameter is None:
            raise ValueError(
                f"{name} of {type(module).__name__}: expected a parameter, got what is computed from others"
            )
    return [parameter.detach() for parameter in found if parameter is not None]


def _gates(module: nn.Module) -> int:
    """G: 3 of a GRU, 4 of an LSTM, 1 of an RNN."""
    if not isinstance(module, nn.RNNBase | RNNCellBase):
        raise ValueError(f"expected a GRU, LSTM or RNN, or a cell of these, got {type(module).__name__}")
    return gates_of(module)


def gates_of(module: nn.RNNBase | RNNCellBase) -> int:
    """G, from the rows of the first parameter: a weight, also one of heads (N, G*H/N, H/N), or a bias."""
    shape = next(module.parameters()).shape
    return shape[: max(1, len(shape) - 1)].numel() // int(module.hidden_size)

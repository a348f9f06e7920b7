"""Token ids as features for torch's functions, which take no ids."""

from __future__ import annotations

import torch
from torch import Tensor

from fusedrnn.backends.cpu.network import Network


def width(rows: int, input_size: int) -> int:
    """Features of `with_features`."""
    return min(rows, input_size)


def with_features(network: Network, ids: Tensor, *, grad: bool) -> tuple[Network, Tensor]:
    """The network and its input, ids (...) from 0 to I - 1, with features (..., F) in their place.

    Either one-hot rows of the I ids, or, for few ids of a large vocabulary, rows of an identity matrix: then w_ih has one column
    for each place, which is the column of its id. The gradient of a column is added to w_ih by autograd.
    """
    like, rows = network.weights.flat[0], ids.numel()
    input_size = like.shape[1]
    if rows < input_size and (not grad or 8 * rows <= input_size):
        flat = ids.reshape(-1)
        network = network.with_input_weights(lambda w: w.index_select(1, flat))
        return network, torch.eye(rows, dtype=like.dtype, device=like.device).view(*ids.shape, rows)
    hot = torch.zeros(rows, input_size, dtype=like.dtype, device=like.device)
    return network, hot.scatter_(1, ids.reshape(-1, 1), 1.0).view(*ids.shape, input_size)

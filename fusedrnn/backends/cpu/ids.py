"""Token ids as features for torch's functions, which take no ids."""

from __future__ import annotations

import torch
from torch import Tensor

from fusedrnn import validation
from fusedrnn.backends.cpu import cost
from fusedrnn.backends.cpu.cost import Sizes
from fusedrnn.backends.cpu.network import Network


def one_hot(ids: Tensor, width: int, like: Tensor) -> Tensor:
    """One-hot rows (..., width) of `ids` (...) in the dtype of `like`.

    Raises:
        IndexError: an id is out of range.
    """
    try:
        return like.new_zeros(*ids.shape, width).scatter_(-1, ids.unsqueeze(-1), 1.0)
    except RuntimeError:
        validation.check_ids(ids, width, None)
        raise


def with_features(network: Network, ids: Tensor, sizes: Sizes, *, grad: bool) -> tuple[Network, Tensor]:
    """The network and its input, ids (...) from 0 to I - 1, with features (..., F) in their place.

    The features are one-hot rows of the I ids. Or w_ih keeps a column for every id that is there, or for every place of `ids`:
    then they are one-hot rows of these. The gradient of a column is added to w_ih by autograd.

    Raises:
        IndexError: an id is out of range.
    """
    try:
        return _with_features(network, ids, sizes, grad=grad)
    except (IndexError, RuntimeError):
        validation.check_ids(ids, sizes.I, None)
        raise


def _with_features(network: Network, ids: Tensor, sizes: Sizes, *, grad: bool) -> tuple[Network, Tensor]:
    like, input_size, count = network.weights.flat[0], sizes.I, ids.numel()
    if cost.one_hot_is_faster(sizes, grad=grad):
        return network, one_hot(ids, input_size, like)
    flat = ids.reshape(-1)
    if cost.counting_is_faster(sizes, grad=grad):
        present = torch.zeros(input_size, dtype=torch.bool, device=ids.device).scatter_(0, flat, True)
        columns, places = present.nonzero().squeeze(1), present.cumsum(0).sub_(1).index_select(0, flat)
        network = network.with_input_weights(lambda w: w.index_select(1, columns))
        return network, one_hot(places.view(ids.shape), len(columns), like)
    network = network.with_input_weights(lambda w: w.index_select(1, flat))
    return network, torch.eye(count, dtype=like.dtype, device=like.device).view(*ids.shape, count)

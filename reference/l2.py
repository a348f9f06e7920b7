"""The L2 penalty (Krogh & Hertz, "A simple weight decay can improve generalization", 1992)."""

from collections.abc import Iterable

import torch
from torch import Tensor


def l2_penalty(params: Iterable[Tensor]) -> Tensor:
    """Return half the sum of all squared weights, ``sum ||w||^2 / 2``, whose gradient is the weights themselves.

    Args:
        params: at least one tensor, any shapes, one device.

    Returns:
        A scalar tensor.
    """
    return torch.stack([w.square().sum() for w in params]).sum() / 2

"""The parameters of a layer with heads: recurrent weights in blocks, (N, G*H/N, H/N)."""

from __future__ import annotations

import torch
from torch import nn


class WithHeads(nn.RNNBase):
    """nn.RNNBase, and its parameters if the attribute `heads` is more than 1."""

    heads = 1  # until it is set, after nn.RNNBase has made its parameters

    def _make_heads(self) -> None:
        """Replace the recurrent weights by those of `heads` blocks, and draw all weights anew."""
        for name in self._flat_weights_names:
            if name.startswith("weight_hh"):
                full = getattr(self, name)
                rows, width = (size // self.heads for size in full.shape)
                setattr(self, name, nn.Parameter(full.new_empty(self.heads, rows, width)))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all weights as torch.nn does; with heads as those of a layer of hidden_size / heads units."""
        super().reset_parameters()
        if self.heads > 1:
            with torch.no_grad():
                for weight in self.parameters():
                    weight.mul_(self.heads**0.5)

    def flatten_parameters(self) -> None:
        """Move the weights into one block of memory for cuDNN, as torch.nn does; not with heads, which cuDNN does not have."""
        if self.heads == 1:
            super().flatten_parameters()

"""The parameters that torch.nn's layers do not have: recurrent weights in heads, and those of layer normalisation."""

from __future__ import annotations

import torch
from torch import nn

from fusedrnn.call import Spec

GAINS = ("gain_ih", "gain_hh", "gain_c", "bias_c")


class WithParameters(nn.RNNBase):
    """nn.RNNBase, with the parameters that the attributes `heads` and `layer_norm` ask for."""

    heads = 1  # until they are set, after nn.RNNBase has made its parameters
    layer_norm = False

    def _spec(self) -> Spec:
        """The `Spec` of the current attributes."""
        raise NotImplementedError

    @property
    def _own_parameters(self) -> bool:
        """Whether there are parameters that torch.nn's layer does not have."""
        return self.heads > 1 or self.layer_norm

    @property
    def _gains(self) -> int:
        """Number of parameters of layer normalisation of a direction."""
        return (4 if self.mode == "LSTM" else 2) if self.layer_norm else 0

    def _make_parameters(self) -> None:
        """Make recurrent weights of `heads` blocks and the parameters of layer normalisation, and draw all weights anew."""
        if not self._own_parameters:
            return
        weight, spec = next(self.parameters()), self._spec()
        names: list[list[str]] = []
        for own in self._all_weights:
            end = own[0].removeprefix("weight_ih")
            setattr(self, f"weight_hh{end}", nn.Parameter(weight.new_empty(spec.weight_shapes(0)[1])))
            more = [f"{name}{end}" for name in GAINS[: self._gains]]
            for name, shape in zip(more, spec.gain_shapes, strict=False):
                setattr(self, name, nn.Parameter(weight.new_empty(shape)))
            names.append([*own, *more])
        self._all_weights = names
        self._flat_weights_names = [name for own in names for name in own]
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all weights as torch.nn does; with heads as those of a layer of hidden_size / heads units; gains are 1."""
        super().reset_parameters()
        with torch.no_grad():
            for name, parameter in self.named_parameters(recurse=False):
                if name.startswith("gain"):
                    parameter.fill_(1)
                elif name.startswith("bias_c"):
                    parameter.zero_()
                elif self.heads > 1:
                    parameter.mul_(self.heads**0.5)

    def flatten_parameters(self) -> None:
        """Move the weights into one block of memory for cuDNN, as torch.nn does; not those that cuDNN does not have."""
        if not self._own_parameters:
            super().flatten_parameters()

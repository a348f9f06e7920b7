"""The initial state of a recurrent module as parameters that all samples share."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence


class InitialState(nn.Module):
    """h_0, and c_0 of an LSTM, for any batch: `gru(x, initial(x))`.

    Zeros to begin with, as without it. Learnt, it is what gradient descent makes of it (Pitis, "Non-zero initial states for
    recurrent neural networks", 2016).

    Args:
        module: a GRU, LSTM, GRUCell or LSTMCell, ours or torch.nn's; only its sizes, dtype and device are read.
        learnable: parameters; otherwise buffers, which are in the state_dict too and can be set.

    Attributes:
        h_0: (L*D, P), of a cell (H,).
        c_0: (L*D, H), of a cell (H,); None without a c.
    """

    h_0: Tensor
    c_0: Tensor | None

    def __init__(self, module: nn.Module, *, learnable: bool = True) -> None:
        super().__init__()
        if not isinstance(module, (nn.RNNBase, nn.modules.rnn.RNNCellBase)):
            raise TypeError(f"module: expected a recurrent module, got {type(module).__name__}")
        self.is_cell = not isinstance(module, nn.RNNBase)
        self.batch_first = not self.is_cell and bool(module.batch_first)
        weight = next(module.parameters())
        gates = weight.shape[0] // int(module.hidden_size)
        rows = (
            ()
            if isinstance(module, nn.modules.rnn.RNNCellBase)
            else (module.num_layers * (1 + bool(module.bidirectional)),)
        )
        widths = {"h_0": int(getattr(module, "proj_size", 0)) or int(module.hidden_size)}
        widths["c_0"] = int(module.hidden_size)
        for name, width in widths.items():
            value = None if name == "c_0" and gates != 4 else weight.new_zeros(*rows, width).detach()
            if learnable:
                self.register_parameter(name, None if value is None else nn.Parameter(value))
            else:
                self.register_buffer(name, value)

    def forward(self, input: Any) -> Any:
        """The states for `input`, whatever form it has: tensor, token ids, unbatched or packed; expanded, not copied.

        Returns:
            hx in the form that the module takes: h_0 (L*D, B, P), or (h_0, c_0); without B where the input has none.
        """
        batch = self._batch(input)
        h = self._expanded(self.h_0, batch)
        return h if self.c_0 is None else (h, self._expanded(self.c_0, batch))

    def _batch(self, input: Any) -> int | None:
        if isinstance(input, PackedSequence):
            return int(input.batch_sizes[0]) if input.sorted_indices is None else len(input.sorted_indices)
        rank = input.dim() + (input.dtype == torch.int64)
        if self.is_cell:
            return None if rank == 1 else input.shape[0]
        return None if rank == 2 else input.shape[0 if self.batch_first else 1]

    def _expanded(self, state: Tensor, batch: int | None) -> Tensor:
        if batch is None:
            return state
        return state.unsqueeze(-2).expand(*state.shape[:-1], batch, state.shape[-1])

    def extra_repr(self) -> str:
        """The sizes of the states."""
        return ", ".join(f"{n}={tuple(t.shape)}" for n in ("h_0", "c_0") if (t := getattr(self, n)) is not None)

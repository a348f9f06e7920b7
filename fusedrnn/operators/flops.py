"""Formulas for torch.utils.flop_counter: the floating-point operations of the products in the sweeps and in torch's LSTM.

As in torch's formulas, the product of (m, k) and (k, n) counts 2 m k n, and what is no product counts nothing. Padded steps count,
for they are computed; token ids have no input product.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from math import prod
from types import ModuleType
from typing import Any

import torch

from fusedrnn.operators.arguments import Packed, split

COUNTER = "torch.utils.flop_counter"


def sweep(*arguments: Any, out_val: Any = None, **named: Any) -> int:
    """Of `fusedrnn::sweep`: the input product and T recurrent products, on every engine and for every cell."""
    return sum(_products(Packed(*arguments, **named)))


def sweep_backward(*arguments: Any, out_val: Any = None) -> int:
    """Of `fusedrnn::sweep_backward`: dh and dW_hh; dW_ih; dx, if needed; and, if the gates were not saved, the forward's products.

    The gradients of frozen weights count, as they are computed.
    """
    a, g = split(arguments)
    inputs, recurrent = _products(a)
    again = inputs + recurrent if g.gates.numel() == 0 else 0
    return inputs * (1 + g.need_x) + 2 * recurrent + again


def _products(a: Packed) -> tuple[int, int]:
    """The input product, 0 for ids and for pre-activations, and the recurrent ones: every row times a weight of all directions."""
    rows = a.x.shape[0] * a.x.shape[1]
    inputs = 0 if a.w_ih is None or not a.x.is_floating_point() else 2 * rows * a.w_ih.numel()
    return inputs, 2 * rows * a.w_hh.numel()


def onednn(input: Sequence[int], w_ih: Sequence[int], w_hh: Sequence[int], *_: Any, **named: Any) -> int:
    """Of `aten::mkldnn_rnn_layer`, one direction of torch's LSTM on a CPU, from shapes: as `sweep`."""
    return 2 * prod(input[:2]) * (prod(w_ih) + prod(w_hh))


def onednn_backward(input: Sequence[int], w_ih: Sequence[int], w_hh: Sequence[int], *_: Any, **named: Any) -> int:
    """Of its backward: as `sweep_backward` with dx, which oneDNN always computes."""
    return 2 * onednn(input, w_ih, w_hh)


def register(counter: ModuleType) -> None:
    """Register the formulas of operators that have none in `counter`, the module torch.utils.flop_counter."""
    ours, aten = torch.ops.fusedrnn, torch.ops.aten
    formulas: tuple[tuple[Any, Callable[..., int], bool], ...] = (
        (ours.sweep, sweep, True),
        (ours.sweep_backward, sweep_backward, True),
        (aten.mkldnn_rnn_layer, onednn, False),
        (aten.mkldnn_rnn_layer_backward, onednn_backward, False),
    )
    for operator, formula, get_raw in formulas:
        if operator not in counter.flop_registry:
            counter.register_flop_formula(operator, get_raw=get_raw)(formula)


class _AfterImport(MetaPathFinder):
    """Finds torch.utils.flop_counter as usual, and lets its loader register the formulas once it has run."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name != COUNTER:
            return None
        others = (finder.find_spec(name, path, target) for finder in sys.meta_path if finder is not self)
        found = next((spec for spec in others if spec is not None), None)
        if found is not None and found.loader is not None:
            run = found.loader.exec_module

            def run_and_register(module: ModuleType) -> None:
                run(module)
                register(module)

            found.loader.exec_module = run_and_register  # type: ignore[method-assign]
        return found


def register_when_imported() -> None:
    """Register the formulas now if torch.utils.flop_counter is imported, else when it is: it imports Triton, which takes long."""
    if COUNTER in sys.modules:
        register(sys.modules[COUNTER])
    else:
        sys.meta_path.insert(0, _AfterImport())

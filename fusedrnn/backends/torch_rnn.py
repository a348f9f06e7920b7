"""torch's own GRU, LSTM and RNN as a backend: cuDNN on a GPU, oneDNN or ATen on a CPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import Parameter
from torch.utils import backend_registration

from fusedrnn.backends import triton
from fusedrnn.backends.cpu.network import Network
from fusedrnn.backends.cpu.run import run_form, run_sorted
from fusedrnn.backends.stack import dropout_between, run_stack
from fusedrnn.call import Call, Result, States, Weights
from fusedrnn.context import autocast_dtype, recording
from fusedrnn.operators.pieces import on_pieces
from fusedrnn.reference.stack import Layer, LayerWeights


def run(call: Call) -> Result:
    """Run `call`: the whole stack in one call of torch's function, or layer by layer if the dropout masks are not its own.

    With seeds the masks are this package's: identical on every backend, and reproducible with torch's generators, unlike cuDNN's
    masks (it keeps their state in a cache that `torch.manual_seed` does not reset). On a CPU torch runs layer by layer too; on a
    GPU cuDNN no longer runs layers in parallel.
    """
    spec = call.spec
    if call.seeds is not None or call.resets is not None or (call.drops and spec.variational):

        def layers(resets: Tensor | None) -> Callable[[int], Layer]:
            layer = _layer(call) if resets is None else on_pieces(_layer(call), resets)
            return lambda depth: layer

        return run_stack(call, layers, dropout_between(call, triton.pointwise_engine(call.input)))
    network = Network(spec.cell, call.weights, call.training, spec.dropout if call.drops else 0.0)
    states = call.states or call.zeros()
    if has_forms(call):
        found = run_form(network, call.input, states, call.batch_sizes, call.lengths)
    elif call.lengths is not None:
        found = run_sorted(network, call.input, call.lengths, states)
    else:
        found = network.call(call.input, states, call.batch_sizes)
    return *found, ()


def has_forms(call: Call) -> bool:
    """Whether `run` may choose the form of a call: of plain tensors of real numbers on a CPU, without autocast or tracing."""
    input = call.input
    if not input.is_cpu or input.numel() == 0 or input.is_complex() or autocast_dtype(input.device):
        return False
    if recording() or torch.compiler.is_compiling():
        return False
    return all(type(tensor) in (Tensor, Parameter) for tensor in (input, *call.states, *call.weights.flat))


def runs_on(device: torch.device, cell: str) -> bool:
    """Whether torch's functions for `cell` run on `device`; they do on all devices of torch itself.

    On a device of another package (torch's key PrivateUse1) they need a kernel of its own: of one step, or of the function.
    """
    if device.type in ("cpu", "cuda") or device.type != backend_registration._privateuse1_backend_name:
        return True
    if torch.compiler.is_compiling():  # cannot trace the question
        return False
    has = torch._C._dispatch_has_kernel_for_dispatch_key
    step, function = f"aten::_thnn_fused_{cell}_cell", f"aten::{cell}.input"
    if cell in ("gru", "lstm") and has(step, "PrivateUse1"):
        return True
    return has(function, "PrivateUse1") or has(function, "AutogradPrivateUse1")


def _layer(call: Call) -> Layer:
    """A layer of `call` on torch's function."""
    one = call._replace(spec=call.spec._replace(num_layers=1), batch_sizes=None, seeds=None, resets=None)

    def layer(
        x: Tensor, states: States, directions: Sequence[LayerWeights], lengths: Tensor | None
    ) -> tuple[States, States]:
        output, finals, _ = run(one._replace(input=x, lengths=lengths, states=states, weights=Weights.of([directions])))
        return (torch.unflatten(output, -1, (len(directions), -1)),), finals

    return layer

"""The engine of torch.onnx.export: each layer becomes one GRU, LSTM or RNN node of ONNX, by either exporter.

ONNX has both kinds of reset gate, directions, lengths and initial states. Its gates are ordered z r n and i o f g. It has no token
ids, which become one-hot rows, and no projection, which is taken out of the time loop.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from fusedrnn.call import Call, Result, States
from fusedrnn.context import exporting_onnx, recording
from fusedrnn.kernels.cell import NUMBERS
from fusedrnn.operators.layer import at_first_step
from fusedrnn.reference.stack import LayerWeights, side_by_side

_ORDER = {"gru": (1, 0, 2), "gru_before": (1, 0, 2), "lstm": (0, 3, 1, 2), "rnn_tanh": (0,), "rnn_relu": (0,)}
"""Our gates in the order of ONNX."""
_NODES: dict[str, tuple[str, dict[str, Any]]] = {
    "gru": ("GRU", {"linear_before_reset": 1}),
    "gru_before": ("GRU", {"linear_before_reset": 0}),
    "lstm": ("LSTM", {}),
    "rnn_tanh": ("RNN", {"activations": ["Tanh"]}),
    "rnn_relu": ("RNN", {"activations": ["Relu"]}),
}
"""The operator of a cell, and its own attributes; a list has one entry a direction."""


def run(call: Call) -> Result:
    """Run `call` layer by layer.

    Raises:
        RuntimeError: ONNX has no nodes for the call.
    """
    refuse(call)
    spec, x, D = call.spec, call.input, call.spec.directions
    if call.is_ids:
        weight = call.weights.flat[0]
        x = (x.unsqueeze(-1) == torch.arange(spec.input_size, device=x.device)).to(weight.dtype)
    finals: list[States] = []
    every: list[States] = []
    for depth, directions in enumerate(call.weights.layers):
        if depth > 0 and call.drops:
            x = torch.dropout(x, spec.dropout, True)
        rows = slice(depth * D, (depth + 1) * D)  # a Slice, alike in all versions of ONNX, which Split is not
        states = tuple([state[rows] for state in call.states])
        output, last = _layer(spec.cell, x, states, side_by_side(directions), call.lengths)
        x = output.flatten(2)
        finals.append(last)
        every.append((x,))
    joined = tuple([torch.cat(parts) for parts in zip(*finals, strict=True)])
    return x, joined, tuple(every) if call.all_states else ()


def draws_in_vain(call: Call) -> bool:
    """Whether the exporter that records TorchScript is given random numbers of ours, whose XOR of integers it does not know."""
    return call.noise_seeds is not None and recording() and exporting_onnx()


def refuse(call: Call) -> None:
    """Raise a RuntimeError that says what ONNX has no nodes for, and what to do."""
    if draws_in_vain(call):
        wrong = "evaluation mode or dynamo=True, for the older exporter has no XOR, got zoneout or recurrent dropout in training"
    elif call.has_extras:
        wrong = "another backend, which exports resets, zoneout, recurrent dropout, heads and layer_norm step by step, got 'triton'"
    elif call.batch_sizes is not None:
        wrong = "padded input and lengths, got a PackedSequence"
    elif call.all_states and NUMBERS[call.spec.cell].has_c:
        wrong = "return_all_states=False, for the LSTM of ONNX returns only the last c, got True"
    elif call.drops and call.spec.variational:
        wrong = (
            "evaluation mode or variational=False, for the Dropout of ONNX draws every step anew, got variational=True"
        )
    else:
        return
    advice = "" if call.has_extras else "; after fusedrnn.restore_rnns(model) torch.nn's modules are exported"
    raise RuntimeError(f"torch.onnx.export: expected {wrong}{advice}")


def _layer(cell: str, x: Tensor, states: States, w: LayerWeights, lengths: Tensor | None) -> tuple[Tensor, States]:
    """Run a layer on x (T, B, I): the output, (T, B, D, P), and the final states, (D, B, *)."""
    if w.w_hr is not None:
        return _projected(x, states, w, w.w_hr, lengths)
    output, *finals = _node(cell, x, w.w_ih, w.w_hh, (w.b_ih, w.b_hh), lengths, states)
    return output, tuple(finals)


def _projected(
    x: Tensor, states: States, w: LayerWeights, w_hr: Tensor, lengths: Tensor | None
) -> tuple[Tensor, States]:
    """The LSTM with projection, as in `fusedrnn.operators.layer`: W_hh W_hr are the recurrent weights of a node without projection.

    W_hh h_0 is added in the first step of each sample: h_0 of a direction is read there beside x, with W_hh beside W_ih.
    """
    (h0, c0), steps, D = states, x.shape[0], len(w_hr)
    x = torch.cat([x, *(at_first_step(h0[d], steps, lengths, d) for d in range(D))], -1)
    beside = [torch.cat([w.w_hh[d] if d == k else torch.zeros_like(w.w_hh[d]) for k in range(D)], -1) for d in range(D)]
    w_ih = torch.cat([w.w_ih, torch.stack(beside)], -1)
    m, m_n, c_n = _node("lstm", x, w_ih, w.w_hh @ w_hr, (w.b_ih, w.b_hh), lengths, (torch.zeros_like(c0), c0))
    return (m.transpose(1, 2) @ w_hr.transpose(1, 2)).transpose(1, 2), (m_n @ w_hr.transpose(1, 2), c_n)


def _node(
    cell: str,
    x: Tensor,
    w_ih: Tensor,
    w_hh: Tensor,
    biases: tuple[Tensor | None, Tensor | None],
    lengths: Tensor | None,
    states: States,
) -> tuple[Tensor, ...]:
    """The node of a layer: x (T, B, I), weights stacked by direction; returns output (T, B, D, H), final states (D, B, H)."""
    b_ih, b_hh = biases
    bias = None if b_ih is None or b_hh is None else torch.cat([_ordered(cell, b_ih), _ordered(cell, b_hh)], 1)
    steps = None if lengths is None else lengths.to(torch.int32)
    inputs = (x, _ordered(cell, w_ih), _ordered(cell, w_hh), bias, steps, *states)
    D, H = w_hh.shape[0], states[-1].shape[-1]
    name, own = _NODES[cell]
    attributes: dict[str, Any] = {"hidden_size": H, "direction": "bidirectional" if D == 2 else "forward"}
    attributes.update((key, value * D if isinstance(value, list) else value) for key, value in own.items())
    if recording():
        output, *finals = _Node.apply(name, attributes, *inputs)  # type: ignore[no-untyped-call]
    else:
        state = states[-1].shape
        shapes = ((x.shape[0], D, x.shape[1], H), *([state] * len(states)))
        output, *finals = torch.onnx.ops.symbolic_multi_out(
            name, inputs, attributes, dtypes=[x.dtype] * len(shapes), shapes=shapes
        )
    return output.transpose(1, 2), *finals


class _Node(torch.autograd.Function):
    """A node for the exporter that records TorchScript; as an operator it only has the shapes of its results."""

    @staticmethod
    def forward(ctx: Any, name: str, attributes: dict[str, Any], *inputs: Any) -> tuple[Tensor, ...]:
        x, states = inputs[0], inputs[5:]
        D, B, H = states[-1].shape
        return x.new_zeros(x.shape[0], D, B, H), *(state.new_zeros(D, B, H) for state in states)

    @staticmethod
    def symbolic(g: Any, name: str, attributes: dict[str, Any], *inputs: Any) -> Any:
        """Add the node to the graph of the exporter."""
        kinds = {key: f"{key}_{'s' if isinstance(value, str | list) else 'i'}" for key, value in attributes.items()}
        given = [_absent(g) if each is None else each for each in inputs]
        return g.op(name, *given, outputs=len(inputs) - 4, **{kinds[key]: value for key, value in attributes.items()})


def _absent(g: Any) -> Any:
    """An optional input that is not given."""
    none = g.op("prim::Constant")
    none.setType(torch._C.OptionalType.ofTensor())
    return none


def _ordered(cell: str, rows: Tensor) -> Tensor:
    """Weights or biases (D, G*H, *) with their gates in the order of ONNX."""
    H = rows.shape[1] // NUMBERS[cell].gates
    return torch.cat(
        [rows[:, k * H : (k + 1) * H] for k in _ORDER[cell]], 1
    )  # Slice, which all versions of ONNX have alike

"""The kind of a call: what a decision holds for. Batch and steps are rounded up to powers of two.

Two keys stand for a call: `exact`, cheap to make, with the sizes as they are, under which a process remembers its decision, and
`Kind`, under which decisions are measured and kept.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import Parameter

from fusedrnn.call import Call, Spec
from fusedrnn.context import autocast_dtype
from fusedrnn.precision import matmul_tf32, rnn_tf32

MOST_STEPS = 4096
"""Longer calls are of this kind: a step takes the same time in each."""
DTYPES = {
    torch.float16: "float16", torch.bfloat16: "bfloat16", torch.float32: "float32", torch.float64: "float64",
}  # fmt: skip


class Kind(NamedTuple):
    """What a decision holds for; every field is a string, an integer or a truth value, so that it can be kept in a file.

    Attributes:
        cell: a value of `Spec.cell`.
        dtype: the dtype of the computation, that of autocast if it is on, a value of `DTYPES`.
        input_size, hidden_size, output_size, layers, directions: I, H, P, L, D; I rounded up to a power of two.
        batch, steps: B and T, rounded up to powers of two.
        training: whether the time of the backward counts: dropout is on or gradients are needed.
        layout: "padded", "lengths" or "packed".
        dropout: "", "each" or "shared": between layers, one mask for each step or for all.
        bias, projected, ids, all_states, recompute: whether there are biases, an LSTM's projection, token ids as input, states of
            all steps as results, no gates saved.
        tf32, matmul_tf32: whether float32 products may be TF32's: those of recurrent layers, and plain ones.
        cudnn: whether torch may use cuDNN.
    """

    cell: str
    dtype: str
    input_size: int
    hidden_size: int
    output_size: int
    layers: int
    directions: int
    batch: int
    steps: int
    training: bool
    layout: str
    dropout: str
    bias: bool
    projected: bool
    ids: bool
    all_states: bool
    recompute: bool
    tf32: bool
    matmul_tf32: bool = False
    cudnn: bool = True

    @property
    def torch_dtype(self) -> torch.dtype:
        """The dtype of the computation."""
        return next(dtype for dtype, name in DTYPES.items() if name == self.dtype)

    def __str__(self) -> str:
        """In words, for people and as the name in the file of decisions."""
        sizes = f"I={self.input_size} H={self.hidden_size}"
        if self.projected:
            sizes += f" P={self.output_size}"
        sizes += f" L={self.layers} D={self.directions} B={self.batch} T={self.steps}"
        flags = [
            "training" if self.training else "inference",
            self.layout if self.layout != "padded" else "",
            f"dropout {self.dropout}" if self.dropout else "",
            "" if self.bias else "no bias",
            "ids" if self.ids else "",
            "all states" if self.all_states else "",
            "recompute" if self.recompute else "",
            "tf32" if self.tf32 else "",
            "tf32 products" if self.matmul_tf32 else "",
            "" if self.cudnn else "without cuDNN",
        ]
        return f"{self.cell} {self.dtype} {sizes} {' '.join(flag for flag in flags if flag)}"


PLAIN = {Tensor, Parameter}
Exact = tuple[Any, ...]


def exact(call: Call) -> Exact:
    """The key of `call` with its sizes as they are, made in a microsecond or two."""
    spec, weights, input, states, batch_sizes, lengths, training, all_states, seeds, *_ = call
    flat = weights.flat
    dtype = autocast_dtype(input.device) or flat[0].dtype
    if batch_sizes is None:
        steps, batch = input.shape[0], input.shape[1]
    else:
        steps, batch = len(batch_sizes), states[0].shape[1]
    return (
        plain(call),
        input.get_device(),
        spec,
        dtype,
        steps,
        batch,
        training or needs_gradients(call),
        batch_sizes is None,
        lengths is None,
        all_states,
        seeds is None,
        weights.bias,
        weights.projected,
        input.dtype,
        (rnn_tf32(), matmul_tf32()) if dtype is torch.float32 else None,
        torch.backends.cudnn.enabled,
    )


def plain(call: Call) -> bool:
    """Whether no tensor of `call` is of a subclass, such as torch's ExpandedWeight, which the kernels have no rules for."""
    return PLAIN.issuperset(map(type, (call.input, *call.states, *call.weights.flat)))


def _layout(call: Call) -> str:
    if call.batch_sizes is not None:
        return "packed"
    return "padded" if call.lengths is None else "lengths"


def needs_gradients(call: Call) -> bool:
    """Whether a backward through `call` may follow."""
    if not torch.is_grad_enabled():
        return False
    if call.input.requires_grad:
        return True
    for tensor in call.weights.flat:  # a loop takes half the time of `any`
        if tensor.requires_grad:
            return True
    return any(state.requires_grad for state in call.states)


def kind_of(call: Call, training: bool | None = None) -> Kind | None:
    """The kind of `call`, or None for what has none: an empty call, a dtype that is not in `DTYPES`.

    `training` overrides what the call says.
    """
    spec, T, B = call.spec, call.steps, call.batch
    dtype = autocast_dtype(call.input.device) or call.weights.flat[0].dtype
    if T < 1 or B < 1 or dtype not in DTYPES:
        return None
    dropping = call.training if training is None else training
    if training is None:
        training = call.training or needs_gradients(call)
    return Kind(
        cell=spec.cell,
        dtype=DTYPES[dtype],
        input_size=rounded_up(spec.input_size),
        hidden_size=spec.hidden_size,
        output_size=spec.output_size,
        layers=spec.num_layers,
        directions=spec.directions,
        batch=rounded_up(B),
        steps=min(rounded_up(T), MOST_STEPS),
        training=training,
        layout=_layout(call),
        dropout=_dropout(spec) if dropping else "",
        bias=call.weights.bias,
        projected=call.weights.projected,
        ids=call.is_ids,
        all_states=call.all_states,
        recompute=spec.memory == "recompute",
        tf32=dtype == torch.float32 and rnn_tf32(),
        matmul_tf32=dtype == torch.float32 and matmul_tf32(),
        cudnn=torch.backends.cudnn.enabled,
    )


def _dropout(spec: Spec) -> str:
    if spec.num_layers < 2 or spec.dropout <= 0:
        return ""
    return "shared" if spec.variational else "each"


def rounded_up(size: int) -> int:
    """The power of two that is not below `size`."""
    return 1 << max(0, int(size) - 1).bit_length()

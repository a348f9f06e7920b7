"""The dtypes of the results under autocast: those of torch.nn's modules, on every backend, eager and compiled."""

from __future__ import annotations

import torch

from fusedrnn.call import Call, Result, States
from fusedrnn.context import autocast_dtype


def with_dtypes(call: Call, result: Result) -> Result:
    """`result` in the dtypes of `dtypes_of`, if autocast is on."""
    dtypes = dtypes_of(call)
    if dtypes is None:
        return result
    h, c = dtypes

    def cast(states: States) -> States:
        return tuple([state.to(dtype) for state, dtype in zip(states, (h, c), strict=False)])

    output, finals, every = result
    return output.to(h), cast(finals), tuple([cast(states) for states in every])


def dtypes_of(call: Call) -> tuple[torch.dtype, torch.dtype] | None:
    """The dtypes of h and c under autocast, None without it.

    cuDNN and torch's kernels of other devices run in autocast's dtype. On a CPU only oneDNN's LSTM and W_hr do: it takes float32
    batches of equal length. Everything else has the input's dtype there.
    """
    low = autocast_dtype(call.input.device)
    if low is None:
        return None
    own = call.weights.flat[0].dtype if call.is_ids else call.input.dtype
    if not call.input.is_cpu:
        return low, low
    if call.spec.cell != "lstm" or own != torch.float32:
        return own, own
    if call.weights.projected:
        return low, own
    return (low, low) if call.batch_sizes is None and call.lengths is None else (own, own)

"""The dtypes of the results under autocast: those of torch.nn's modules, on every backend, eager and compiled."""

from __future__ import annotations

import torch

from fusedrnn.call import Call, Result, States
from fusedrnn.context import autocast_dtype


def with_dtypes(call: Call, result: Result, *, step: bool) -> Result:
    """`result` in the dtypes of `dtypes_of`, if autocast is on."""
    dtypes = dtypes_of(call, step=step)
    if dtypes is None:
        return result
    h, c = dtypes

    def cast(states: States) -> States:
        return tuple([state.to(dtype) for state, dtype in zip(states, (h, c), strict=False)])

    output, finals, every = result
    return output.to(h), cast(finals), tuple([cast(states) for states in every])


def dtypes_of(call: Call, *, step: bool) -> tuple[torch.dtype, torch.dtype] | None:
    """The dtypes of h and c under autocast, None without it. `step`: the call is that of a cell.

    cuDNN and torch's kernels of other devices run in autocast's dtype. On a CPU only oneDNN's LSTM, which takes batches of equal
    length and is no cell, W_hr, and the RNN do. Everything else has the dtype of the initial states there, which by default is the
    input's; float64 stays.
    """
    low = autocast_dtype(call.input.device)
    if low is None:
        return None
    if not call.input.is_cpu:
        return low, low
    h, c = call.states[0].dtype, call.states[-1].dtype
    if call.spec.gates == 1 and h != torch.float64:
        return low, low
    if step or call.spec.cell != "lstm" or h == torch.float64:
        return h, c
    if call.weights.projected:
        return low, c
    return (low, low) if call.batch_sizes is None and call.lengths is None else (h, c)

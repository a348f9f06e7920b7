"""A program that runs `device_cases` on the device of `other_device` and on the CPU, with the same seeds for dropout.

It prints a JSON object: for each case the devices of the results and the largest difference, or the error; the operators that
have run on the device; and what else is asked of such a device.
"""

import json
import os
from contextlib import nullcontext

import torch
from device_cases import CASES, H, I
from other_device import CALLED, DEVICE

from fusedrnn import FusedDropout, FusedGRU, FusedGRUCell, FusedLSTM, FusedRNN, dropout, use_backend
from fusedrnn.backends import dispatch, torch_rnn
from fusedrnn.context import autocast_dtype


def compare(case):
    """The devices of the results, and the largest difference from those on the CPU."""
    found = []
    for device in (torch.device("cpu"), DEVICE):
        torch.manual_seed(0)
        with use_backend("aten") if device.type == "cpu" else nullcontext():  # with the masks of other devices
            found.append([t.detach() for t in CASES[case](device)])
    pairs = zip(*found, strict=True)
    return {
        "devices": sorted({str(t.device) for t in found[1]}),
        "difference": max(float((a - b.cpu()).abs().max()) for a, b in pairs),
    }


def tried(call):
    """The result of a call, or its error in words."""
    try:
        return call()
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}


def refusals(interpret):
    """What the kernels say to tensors on the device, with Triton's interpreter ("1") and without ("0")."""
    os.environ["TRITON_INTERPRET"] = interpret
    x = torch.randn(2, 1, I).to(DEVICE)
    modules = [FusedGRU(I, H, backend="triton"), FusedGRUCell(I, H, backend="triton"), FusedDropout(backend="triton")]
    inputs = [x, x[0], x]
    return [tried(lambda m=m, x=x: str(m.to(DEVICE)(x))) for m, x in zip(modules, inputs, strict=True)]


def engines():
    """Who runs a call with torch's options on the device, before and after it gets a kernel for torch's LSTM."""
    found = []
    original = dispatch.decide
    dispatch.decide = lambda call, backend: found.append(original(call, backend).engine) or original(call, backend)
    x = torch.randn(2, 1, I).to(DEVICE)
    for module in (FusedGRU(I, H), FusedLSTM(I, H), FusedRNN(I, H)):
        module.to(DEVICE)(x)
    dispatch.decide = original
    library = torch.library.Library("aten", "IMPL")
    library.impl("_thnn_fused_lstm_cell", lambda *given: given, "PrivateUse1")
    return {
        "engines": found,
        "with a kernel": [torch_rnn.runs_on(DEVICE, cell) for cell in ("gru", "lstm", "rnn_tanh")],
    }


draw = dropout.seed_for


def drawn_there(p, device, count=1):
    """`seed_for` with the draws of the device."""
    return draw(p, DEVICE, count).to(device)


dropout.seed_for = dispatch.seed_for = drawn_there
torch.set_num_threads(1)
cases = {case: tried(lambda c=case: compare(c)) for case in CASES}
operators = sorted(CALLED)
seeds = draw(0.5, DEVICE, 1000).cpu()
bits = [float(((seeds >> k) & 1).double().mean()) for k in range(64)]
print(
    json.dumps(
        {
            "cases": cases,
            "operators": operators,
            "refusals": {interpret: refusals(interpret) for interpret in "10"},
            "autocast": autocast_dtype(DEVICE),
            "bits": bits,
            **engines(),
        }
    )
)

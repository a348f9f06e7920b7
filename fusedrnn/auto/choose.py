"""The way from a call of the backend "auto" to its decision, short for calls that this process has seen."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch._C import _is_tracing

from fusedrnn.auto import known, settle
from fusedrnn.auto.decision import Decision, torchs
from fusedrnn.auto.kind import Exact, Kind, exact, kind_of, plain
from fusedrnn.auto.machine import machine_of
from fusedrnn.backends import triton
from fusedrnn.call import Call, Result
from fusedrnn.context import readable

NOT_ON_A_GPU = torchs("the input is not on a GPU")
TRACED = torchs("the call is traced")
NO_KIND = torchs("the call is empty, of a dtype that the kernels do not have, or has a tensor of a subclass")
UNDECIDED = torchs("nothing is known yet, and nothing can be measured now")
"""For a call that is noticed, in a CUDA graph capture, of fake tensors or inside a backward: the next one may be measured."""

Noticed = tuple[torch.device, Kind]


class _Notice:
    """The calls of one thread, as kinds."""

    def __init__(self) -> None:
        self.thread, self.found = threading.get_ident(), list[Noticed]()

    def add(self, call: Call) -> None:
        """Add the kinds of `call` for training and for inference."""
        kinds = (kind_of(call, training) for training in (True, False))
        self.found.extend((call.input.device, kind) for kind in kinds if kind is not None)


_noticed: _Notice | None = None
_now = threading.local()
"""`rows`: those of the call that this thread is about to run."""


def chosen(call: Call) -> Decision:
    """The decision for `call`, which the backend "auto" has to place."""
    if not on_gpu(call):
        return NOT_ON_A_GPU
    if torch.compiler.is_compiling() or _is_tracing():
        return TRACED
    if _noticed is not None and _noticed.thread == threading.get_ident():
        _noticed.add(call)
        return UNDECIDED
    key = exact(call)
    found = known.by_exact.get(key)
    return _find(call, key) if found is None else found


def on_gpu(call: Call) -> bool:
    """Whether the tensors of `call` are on a CUDA device."""
    return call.input.is_cuda


def _find(call: Call, key: Exact) -> Decision:
    kind = kind_of(call) if plain(call) else None
    if kind is None:
        return NO_KIND
    device, since = call.input.device, known.generation
    found = known.by_kind.get((machine_of(device), kind))
    if found is None:
        if torch._C._current_graph_task_id() != -1:
            return _recomputed(kind, device)
        if not all(readable(tensor) for tensor in (call.input, call.weights.flat[0])) or torch.is_anomaly_enabled():
            return UNDECIDED
        found = settle.settle(kind, device)
    known.add_exact(key, found, since)
    return found


def _recomputed(kind: Kind, device: torch.device) -> Decision:
    """The decision inside a backward, where a checkpoint recomputes what its forward has run: that of the forward.

    It may have been retired since, or be that of inference, if the forward ran without gradients.
    """
    machine = machine_of(device)
    for wanted in (kind, kind._replace(training=False, dropout="")):
        for decisions in (known.by_kind, known.retired):
            if (machine, wanted) in decisions:
                return decisions[machine, wanted]
    return UNDECIDED


@contextmanager
def noticed() -> Iterator[list[Noticed]]:
    """Within the block no call of the backend "auto" in this thread is decided, and torch's own runs all.

    Their devices and kinds are listed, for training and for inference.
    """
    global _noticed
    _noticed = notice = _Notice()
    try:
        yield notice.found
    finally:
        _noticed = None


def kernels_chosen(call: Call) -> bool:
    """Whether the kernels are to run `call`. If so, `run` is the next thing that this thread calls here, and gets the rows."""
    found = chosen(call)
    if found.backend != "triton":
        return False
    _now.rows = found.rows
    return True


def run(call: Call) -> Result:
    """Run `call` with the kernels, after `kernels_chosen`."""
    return triton.run(call, _now.rows)

"""Measuring ahead: for the calls that a module makes, or for kinds of calls that are named."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

from fusedrnn.auto import choose, parity, settle
from fusedrnn.auto.decision import Decision
from fusedrnn.auto.errors import KernelError, WrongResultError
from fusedrnn.auto.isolation import isolated
from fusedrnn.auto.kind import Kind, kind_of
from fusedrnn.auto.machine import machine_of


def tune(module: nn.Module, *example: Any, again: bool = False, **options: Any) -> dict[str, Decision]:
    """Measure ahead what the backend "auto" has to decide for a model on a GPU, for training and for inference.

    Runs `module(*example, **options)` once, without gradients and in evaluation mode, to see which calls its FusedGRU and
    FusedLSTM make; then measures on buffers of its own. Decisions are kept as those of the first calls are, but the mode of
    `set_auto` and its budget do not apply. Batch and steps of an example stand for all that are rounded up to the same powers of
    two.

    Args:
        module: a model on a CUDA device that holds modules of this package.
        *example: what it is called with.
        **options: what it is called with, by name.
        again: whether to measure what is kept already.

    Returns:
        The decisions by kind of call, in words.

    Raises:
        ValueError: no call of the model is one that "auto" has to decide.
    """
    modes = [(part, part.training) for part in module.modules()]
    try:
        with torch.no_grad(), choose.noticed() as calls:
            module.eval()(*example, **options)
    finally:
        for part, training in modes:
            part.training = training
    both = [(call.input.device, kind_of(call, training)) for call in calls for training in (True, False)]
    kinds = dict.fromkeys((device, kind) for device, kind in both if kind is not None)
    if not kinds:
        raise ValueError(
            'tune: expected a model that calls FusedGRU or FusedLSTM on a GPU with backend "auto", got none'
        )
    return {str(kind): settle.tuned(kind, device, again=again) for device, kind in kinds}


def checked(kind: Kind, device: torch.device) -> parity.Judged:
    """Whether the kernels are right for a kind of call. Nothing is timed or kept.

    Raises:
        NotMeasuredError: torch's own raises an error, or there is no memory.
    """
    from fusedrnn.auto.check import Check
    from fusedrnn.auto.trial import table_rows

    try:
        return isolated(lambda: Check(kind, device).judge(table_rows(kind, machine_of(device))), device)
    except (KernelError, WrongResultError) as error:
        return parity.Judged("wrong", float("inf"), str(error))


def each(kinds: Iterable[Kind], work: Callable[[Kind], Any], say: Callable[[int, int, Kind], None]) -> dict[Kind, Any]:
    """Do `work` for every kind, and `say` before each how many are done of how many."""
    wanted, found = list(kinds), {}
    for done, kind in enumerate(wanted):
        say(done, len(wanted), kind)
        found[kind] = work(kind)
    return found

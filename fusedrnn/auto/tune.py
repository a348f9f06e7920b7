"""Measuring ahead: for the calls that a module makes, or for kinds of calls that are named."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from fusedrnn import validation
from fusedrnn.auto import choose, parity, settle
from fusedrnn.auto.decision import Decision
from fusedrnn.auto.errors import KernelError, NotMeasuredError, WrongResultError
from fusedrnn.auto.isolation import isolated
from fusedrnn.auto.kind import Kind
from fusedrnn.auto.machine import Machine, machine_of
from fusedrnn.backends.choice import requested
from fusedrnn.modules.base import FusedRNNBase

Place = tuple[torch.device, Kind]
Say = Callable[[int, int, Kind], None]
"""Is told before each kind how many are done of how many."""


def tune(module: nn.Module, *example: Any, again: bool = False, **options: Any) -> dict[str, Decision]:
    """Measure ahead what the backend "auto" has to decide for a model on a GPU, for training and for inference.

    Runs `module(*example, **options)` once, without gradients and in evaluation mode, to see which calls its layers
    make; then measures on buffers of its own. The model's modes and buffers, and torch's random number generators, are
    left as they were. Call it in the autocast that the model is trained in. Decisions are kept as those of the first calls are,
    but the mode of `set_auto` and its budget do not apply. Batch and steps of an example stand for all that are rounded up to the
    same powers of two.

    Args:
        module: a model on one or more CUDA devices that holds modules of this package.
        *example: what it is called with.
        **options: what it is called with, by name.
        again: whether to measure what is kept already.

    Returns:
        The decisions by kind of call, in words; with the device if there are several.

    Raises:
        TypeError: `module` is not a module.
        ValueError: no call of the model is one that "auto" has to decide.

    Example:
        >>> import torch
        >>> from fusedrnn import FusedLSTM, tune
        >>> lstm = FusedLSTM(256, 512)
        >>> if torch.cuda.is_available():
        ...     decisions = tune(lstm.cuda(), torch.randn(128, 32, 256, device="cuda"))
    """
    validation.check_module("module", module)
    wanted = _places(module, example, options)
    if not wanted:
        raise ValueError(
            'tune: expected a model that calls FusedGRU, FusedLSTM or FusedRNN on a GPU, uncompiled and with backend "auto"; got '
            f"{_modules_of(module)}"
        )
    several = len({device for device, _ in wanted}) > 1
    found = decided(wanted, again=again)
    return {f"{kind} on {device}" if several else str(kind): decision for (device, kind), decision in found.items()}


def decided(wanted: Sequence[Place], *, again: bool = False, say: Say | None = None) -> dict[Place, Decision]:
    """Decide for kinds of calls, each on a device, one after the other.

    `again`: measure also what is kept, or was found wrong; but nothing more on a card on which something is found wrong now.
    """
    found: dict[Place, Decision] = {}
    wrong: set[Machine] = set()
    for done, (device, kind) in enumerate(wanted):
        if say is not None:
            say(done, len(wanted), kind)
        machine = machine_of(device)
        found[device, kind] = settle.tuned(kind, device, again=again and machine not in wrong)
        if settle.wrong_on(device) is not None:
            wrong.add(machine)
    return found


def checked(wanted: Sequence[Place], say: Say) -> dict[Place, parity.Judged]:
    """Whether the kernels are right for kinds of calls, each on a device. Nothing is timed or kept.

    "wrong" also where they raise an error; "not checked" where torch's own does, or there is no memory.
    """
    found = {}
    for done, (device, kind) in enumerate(wanted):
        say(done, len(wanted), kind)
        found[device, kind] = _judged(kind, device)
    return found


def _judged(kind: Kind, device: torch.device) -> parity.Judged:
    from fusedrnn.auto.check import Check
    from fusedrnn.auto.trial import table_rows

    try:
        return isolated(lambda stop: Check(kind, device).judge(table_rows(kind, machine_of(device))), device)
    except WrongResultError as error:
        return parity.Judged("wrong", math.inf, str(error))
    except KernelError as error:
        return parity.Judged("wrong", math.inf, f"the kernels raise {error}")
    except NotMeasuredError as error:
        return parity.Judged("not checked", math.nan, str(error))


def _places(module: nn.Module, example: Iterable[Any], options: Mapping[str, Any]) -> list[Place]:
    """The kinds of the calls that `module` makes, each once, with their devices. The calls and what they hold are not kept."""
    modes = [(part, part.training) for part in module.modules()]
    tensors = [*module.parameters(), *module.buffers()]
    cards = sorted({tensor.get_device() for tensor in tensors if tensor.is_cuda})
    try:
        with torch.no_grad(), torch.random.fork_rng(cards), _copied_buffers(module), choose.noticed() as found:
            module.eval()(*example, **options)
    finally:
        for part, training in modes:
            part.training = training
    return list(dict.fromkeys(found))


@contextmanager
def _copied_buffers(module: nn.Module) -> Iterator[None]:
    """Within the block `module` has copies of its buffers; after it, those that it had, with the values that they had."""
    parts = [part for part in module.modules() if not isinstance(part, torch.jit.ScriptModule)]
    before = [(part, dict(part._buffers)) for part in parts]
    copies: dict[Tensor, Tensor] = {}
    try:
        for part, buffers in before:
            for name, buffer in buffers.items():
                if buffer is not None and not is_lazy(buffer):
                    part._buffers[name] = copies.setdefault(buffer, buffer.detach().clone())
        yield
    finally:
        for part, buffers in before:
            part._buffers.clear()
            part._buffers.update(buffers)


def _modules_of(module: nn.Module) -> str:
    """The modules of this package that a model holds, in words."""
    parts = [part for part in module.modules() if isinstance(part, FusedRNNBase)]
    if not parts:
        return "one without either; `fusedrnn.replace_rnns` puts them in the place of torch.nn's"
    places = [(part, next(part.parameters()).device, requested(part.backend)) for part in parts]
    texts = [f"{type(part).__name__} on {device} with backend {backend!r}" for part, device, backend in places]
    return ", ".join(dict.fromkeys(texts))

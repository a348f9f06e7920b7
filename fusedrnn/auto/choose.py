"""The way from a call to a decision: what this process knows, what the ranks agreed on, what is kept in files, a measurement."""

from __future__ import annotations

import logging
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch._C import _is_tracing
from torch.nn import Parameter

from fusedrnn.auto import agree, settings, store
from fusedrnn.auto.decision import Decision, torchs
from fusedrnn.auto.errors import NotMeasuredError, WrongResultError
from fusedrnn.auto.isolation import isolated
from fusedrnn.auto.kind import Exact, Kind, exact, kind_of
from fusedrnn.auto.machine import Machine, machine_of
from fusedrnn.backends import triton
from fusedrnn.call import Call, Result
from fusedrnn.context import readable
from fusedrnn.kernels.table import runnable, unserved
from fusedrnn.operators.layer import BY_TABLE

logger = logging.getLogger("fusedrnn")

REPORT = (
    "torch's own RNN is used on this card from now on; please report this with the output of `python -m fusedrnn info` and of "
    "`python -m fusedrnn tune --check`"
)
PLAIN = {Tensor, Parameter}
MOST_KNOWN = 1 << 14
"""Calls that a process remembers by their exact sizes."""

_known: dict[Exact, Decision] = {}
_by_kind: dict[tuple[torch.device, Kind], Decision] = {}
_wrong: dict[Machine, str] = {}
_lock = threading.RLock()
_noticed: list[Call] | None = None
_other_rows = False
"""Whether any decision has rows other than the table's."""

NOT_ON_A_GPU = torchs("the input is not on a GPU")
TRACED = torchs("the call is traced")
NOW_UNDECIDED = torchs("nothing is known yet, and nothing can be measured now")
"""For a call in a CUDA graph capture, of fake tensors or inside a backward: the next one may be measured."""


def forget() -> None:
    """Forget what this process knows, not what is kept in files."""
    _known.clear()
    _by_kind.clear()
    _wrong.clear()


settings.on_change(forget)


def chosen(call: Call) -> Decision:
    """The decision for `call`, which the backend "auto" has to place."""
    if not on_gpu(call):
        return NOT_ON_A_GPU
    if torch.compiler.is_compiling() or _is_tracing():
        return TRACED
    if _noticed is not None:
        _noticed.append(call)
        return NOW_UNDECIDED
    key = exact(call)
    found = _known.get(key)
    return _find(call, key) if found is None else found


def on_gpu(call: Call) -> bool:
    """Whether the tensors of `call` are on a CUDA device."""
    return call.input.is_cuda


def _find(call: Call, key: Exact) -> Decision:
    global _other_rows
    if not PLAIN.issuperset((type(call.input), type(call.weights.flat[0]))):
        return torchs("a tensor is of a subclass")  # such as torch's ExpandedWeight: the kernels have no rules for it
    kind = kind_of(call)
    if kind is None:
        return torchs("the call is empty, or of a dtype that the kernels do not have")
    device, measurable = call.input.device, can_measure(call)
    found = _by_kind.get((device, kind))
    if found is None:
        if not measurable:
            return NOW_UNDECIDED
        found = settle(kind, device)
    if len(_known) >= MOST_KNOWN:
        _known.clear()
    _known[key] = found
    _other_rows = _other_rows or found.rows != BY_TABLE
    return found


def can_measure(call: Call) -> bool:
    """Whether this is a moment for a measurement: not while a CUDA graph is captured, and not inside a backward.

    A measurement runs a backward in a thread of its own, which waits for the one that is running.
    """
    if torch._C._current_graph_task_id() != -1:
        return False
    return all(readable(tensor) for tensor in (call.input, call.weights.flat[0]))


def settle(kind: Kind, device: torch.device) -> Decision:
    """The decision for a kind of call on `device`, which every later call in this process gets too."""
    with _lock:
        found = _by_kind.get((device, kind))
        if found is None:
            found = _by_kind[device, kind] = _settled(kind, device)
        return found


def _settled(kind: Kind, device: torch.device) -> Decision:
    mode = settings.mode()
    if mode == "off":
        return torchs("FUSEDRNN_AUTO or set_auto says off")
    machine = machine_of(device)
    reason = unserved(machine.chip[0])
    if reason is not None:
        return torchs(reason)
    found = agree.agreed(machine, kind)
    if found is None:
        found = kept(kind, machine)
        if found is None and mode == "cached":
            found = torchs("nothing is kept for this kind of call, and FUSEDRNN_AUTO or set_auto says cached")
        if found is None:
            begun = time.monotonic()
            found = measured(kind, device, machine, settings.budget_left())
            settings.spend(time.monotonic() - begun)
        found = agree.offer(machine, kind, found)
    wrong = wrong_on(device)
    if wrong is not None:  # whatever other ranks have found
        found = _are_wrong(wrong)
    logger.debug("auto: %s for %s: %s", found.backend, kind, found.reason)
    return found


def kept(kind: Kind, machine: Machine) -> Decision | None:
    """What is known of a kind without a measurement, or None."""
    files = store.load(machine)
    wrong = _wrong.get(machine) or files.wrong
    if wrong is not None:
        return _are_wrong(wrong)
    if files.begun.get(str(kind), 0) >= store.ATTEMPTS:
        return torchs(f"a measurement did not end {store.ATTEMPTS} times; `python -m fusedrnn tune` tries again")
    found = files.decisions.get(str(kind))
    return found if found is None or launchable(found, kind, machine) else None


def launchable(decision: Decision, kind: Kind, machine: Machine) -> bool:
    """Whether the rows of a decision, which may come from a file that was changed, are rows of the launch table."""
    about = (kind.cell, kind.torch_dtype, kind.hidden_size, *machine.chip)
    counts = [len(runnable(sweep, *about, tf32=kind.tf32)) for sweep in ("forward", "backward")]
    return all(-1 <= row < count for row, count in zip(decision.rows, counts, strict=True))


def _are_wrong(what: str) -> Decision:
    return torchs(f"the kernels are wrong on this card: {what}")


@contextmanager
def noticed() -> Iterator[list[Call]]:
    """Within the block no call is decided: those that the backend "auto" has to place are listed, and run by torch's own."""
    global _noticed
    calls: list[Call] = []
    _noticed = calls
    try:
        yield calls
    finally:
        _noticed = None


def tuned(kind: Kind, device: torch.device, *, again: bool) -> Decision:
    """The decision that is kept for a kind of call, else a new one, whatever the mode and the budget. `again`: always a new one."""
    machine = machine_of(device)
    reason = unserved(machine.chip[0])
    if reason is not None:
        return torchs(reason)
    with _lock:
        if again:
            _wrong.pop(machine, None)
        found = measured(kind, device, machine, float("inf"), again=again)
        found = _by_kind[device, kind] = agree.offer(machine, kind, found)
        _known.clear()
    return found


def wrong_on(device: torch.device) -> str | None:
    """What the kernels compute wrongly on a device, as far as is known."""
    machine = machine_of(device)
    return _wrong.get(machine) or store.load(machine).wrong


def measured(kind: Kind, device: torch.device, machine: Machine, budget: float, *, again: bool = False) -> Decision:
    """Measure, and keep the decision. Processes that share the file measure one after the other, and the next one finds it there.

    Where nothing can be measured the decision is torch's own, for this process. `budget`: seconds that it may take. `again`:
    whatever is kept.
    """
    begun = time.monotonic()
    if budget <= 0:
        return torchs("the time for measuring is used up (FUSEDRNN_AUTO_BUDGET or set_auto give more)")
    with ExitStack() as stack:
        try:
            stack.enter_context(store.locked(machine, budget))
        except TimeoutError as error:
            return torchs(f"another process is measuring: {error}")
        except OSError as error:
            _not_kept(error)
        if again:
            _keep(store.clear, machine)
        found = None if again else kept(kind, machine)  # what another process has measured meanwhile
        return _tried(kind, device, machine, begun + budget) if found is None else found


def _tried(kind: Kind, device: torch.device, machine: Machine, deadline: float) -> Decision:
    """Measure, with a note in the file while it lasts."""
    from fusedrnn.auto.trial import measure  # what it imports needs the rules, which import this

    _keep(store.begin, machine, kind)
    keep: Decision | None = None
    try:
        found = keep = isolated(lambda: measure(kind, device, machine, deadline), device)
    except WrongResultError as error:
        _wrong[machine] = str(error)
        _known.clear()  # earlier decisions for this card do not hold any more
        _by_kind.clear()
        found = _are_wrong(str(error))
    except NotMeasuredError as error:
        found = torchs(f"not measured: {error}")
    finally:
        _keep(store.end, machine, kind, keep, _wrong.get(machine))
        if device.type == "cuda":
            torch.cuda.empty_cache()  # gives back the memory of the measurement
    logger.info("auto: %s for %s: %s; %s", found.backend, kind, found.reason, f"measured in {found.seconds:.1f} s")
    if machine in _wrong:
        warnings.warn(
            f"fusedrnn: the Triton kernels gave a wrong result on {machine.card}: {_wrong[machine]}; {REPORT}",
            stacklevel=2,
        )
    return found


def _keep(write: Callable[..., None], *arguments: Any) -> None:
    """Write to the file, or say why not and go on without."""
    try:
        write(*arguments)
    except OSError as error:
        _not_kept(error)


@cache
def _say_once(text: str) -> None:
    logger.warning("auto: decisions are not kept: %s", text)


def _not_kept(error: OSError) -> None:
    _say_once(f"{type(error).__name__}: {error}")


def run(call: Call) -> Result:
    """Run `call`, for which the kernels were chosen, with the rows of the decision."""
    return triton.run(call, chosen(call).rows if _other_rows else BY_TABLE)

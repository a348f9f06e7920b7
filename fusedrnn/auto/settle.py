"""From a kind of call to its decision: what the ranks agreed on, what is kept in files, or a measurement, which is then kept."""

from __future__ import annotations

import logging
import math
import threading
import time
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from functools import cache
from typing import Any

import torch

from fusedrnn.auto import agree, settings, store
from fusedrnn.auto.decision import Decision, torchs
from fusedrnn.auto.errors import NotMeasuredError, WrongResultError
from fusedrnn.auto.isolation import isolated
from fusedrnn.auto.kind import Exact, Kind
from fusedrnn.auto.machine import Machine, machine_of
from fusedrnn.backends import triton
from fusedrnn.kernels.table import runnable, unserved

logger = logging.getLogger("fusedrnn")

REPORT = (
    "torch's own RNN is used on this card from now on; please report this with the output of `python -m fusedrnn info` and of "
    "`python -m fusedrnn tune --check`"
)
by_exact: dict[Exact, Decision] = {}
by_kind: dict[tuple[torch.device, Kind], Decision] = {}
wrong: dict[Machine, dict[str, str]] = {}
"""What this process knows: decisions of calls by their exact sizes and by kind, and, for each machine, what the kernels compute
wrongly, in words, by the name of a kind."""
_lock = threading.RLock()


def forget() -> None:
    """Forget what this process knows, not what is kept in files."""
    by_exact.clear()
    by_kind.clear()
    wrong.clear()


settings.on_change(forget)


def settle(kind: Kind, device: torch.device) -> Decision:
    """The decision for a kind of call on `device`, which every later call in this process gets too."""
    with _lock:
        found = by_kind.get((device, kind))
        if found is None:
            found = by_kind[device, kind] = _settled(kind, device)
        return found


def _settled(kind: Kind, device: torch.device) -> Decision:
    mode = settings.mode()
    if mode == "off":
        return torchs("FUSEDRNN_AUTO or set_auto says off")
    machine = machine_of(device)
    reason = unserved(machine.chip[0]) or interpreted_on(device)
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
    found = _of_this_card(found, machine)
    logger.debug("auto: %s for %s: %s", found.backend, kind, found.reason)
    return found


def kept(kind: Kind, machine: Machine) -> Decision | None:
    """What is known of a kind without a measurement, or None."""
    files = store.load(machine)
    what = _what_is_wrong(machine, files)
    if what is not None:
        return _are_wrong(what)
    if files.begun.get(str(kind), 0) >= store.ATTEMPTS:
        return torchs(
            f"a measurement did not end {store.ATTEMPTS} times; `python -m fusedrnn tune --again` tries again"
        )
    found = files.decisions.get(str(kind))
    return found if found is None or launchable(found, kind, machine) else None


def launchable(decision: Decision, kind: Kind, machine: Machine) -> bool:
    """Whether the rows of a decision, which may come from a file that was changed, are rows of the launch table."""
    about = (kind.cell, kind.torch_dtype, kind.hidden_size, *machine.chip)
    counts = [len(runnable(sweep, *about, tf32=kind.tf32)) for sweep in ("forward", "backward")]
    return all(-1 <= row < count for row, count in zip(decision.rows, counts, strict=True))


def _of_this_card(found: Decision, machine: Machine) -> Decision:
    """The decision, unless the kernels are wrong here, whatever another rank has found."""
    what = _what_is_wrong(machine, store.load(machine))
    return found if what is None or found.backend == "aten" else _are_wrong(what)


def _what_is_wrong(machine: Machine, files: store.Decisions) -> str | None:
    return next(iter((files.wrong | wrong.get(machine, {})).values()), None)


def _are_wrong(what: str) -> Decision:
    return torchs(f"the kernels are wrong on this card: {what}")


def tuned(kind: Kind, device: torch.device, *, again: bool) -> Decision:
    """The decision that is kept for a kind of call, else a new one, whatever the mode and the budget. `again`: always a new one."""
    machine = machine_of(device)
    reason = unserved(machine.chip[0]) or interpreted_on(device)
    if reason is not None:
        return torchs(reason)
    with _lock:
        if again:
            wrong.get(machine, {}).pop(str(kind), None)
        found = _of_this_card(
            agree.offer(machine, kind, measured(kind, device, machine, math.inf, again=again)), machine
        )
        if settings.mode() != "off":
            by_kind[device, kind] = found
            by_exact.clear()
    return found


def wrong_on(device: torch.device) -> str | None:
    """What the kernels compute wrongly on a device, as far as is known."""
    machine = machine_of(device)
    return _what_is_wrong(machine, store.load(machine))


def interpreted_on(device: torch.device) -> str | None:
    """Why nothing is measured on a card while the kernels run in the interpreter; None where they do not."""
    if device.type != "cuda" or not triton.interpreted():
        return None
    return "TRITON_INTERPRET=1: the times of the interpreter say nothing about the card"


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
            _keep(store.clear, machine, kind)
        found = None if again else kept(kind, machine)  # what another process has measured meanwhile
        return _tried(kind, device, machine, begun + budget) if found is None else found


def _tried(kind: Kind, device: torch.device, machine: Machine, deadline: float) -> Decision:
    """Measure, with a note in the file while it lasts."""
    from fusedrnn.auto.trial import measure  # what it imports needs the rules, which import this

    def measuring(stop: threading.Event) -> Decision:
        return measure(kind, device, machine, lambda: stop.is_set() or time.monotonic() > deadline)

    _keep(store.begin, machine, kind)
    keep: Decision | None = None
    here = wrong.setdefault(machine, {})
    try:
        found = keep = isolated(measuring, device)
    except WrongResultError as error:
        here[str(kind)] = str(error)
        by_exact.clear()  # earlier decisions for this card do not hold any more
        by_kind.clear()
        found = _are_wrong(str(error))
    except NotMeasuredError as error:
        found = torchs(f"not measured: {error}")
    finally:
        _keep(store.end, machine, kind, keep, here.get(str(kind)))
        if device.type == "cuda":
            torch.cuda.empty_cache()  # gives back the memory of the measurement
    logger.info("auto: %s for %s: %s; %s", found.backend, kind, found.reason, f"measured in {found.seconds:.1f} s")
    if str(kind) in here:
        warnings.warn(
            f"fusedrnn: the Triton kernels gave a wrong result on {machine.card}: {here[str(kind)]}; {REPORT}",
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

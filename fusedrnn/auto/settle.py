"""From a kind of call to its decision: what the ranks agreed on, what is kept in files, or a measurement, which is then kept."""

from __future__ import annotations

import logging
import math
import os
import threading
import time
from contextlib import ExitStack

import torch

from fusedrnn.auto import agree, known, measuring, settings, store
from fusedrnn.auto.decision import Decision, torchs
from fusedrnn.auto.kind import Kind
from fusedrnn.auto.machine import Machine, machine_of
from fusedrnn.backends import triton
from fusedrnn.kernels.table import runnable, unserved

logger = logging.getLogger("fusedrnn")

_lock = threading.RLock()


def settle(kind: Kind, device: torch.device) -> Decision:
    """The decision for a kind of call on `device`, which every later call in this process gets too."""
    machine = machine_of(device)
    with _lock:
        found = known.by_kind.get((machine, kind))
        if found is None:
            since = known.generation
            found, source = _settled(kind, device, machine)
            known.add(machine, kind, found, since)
            logger.info("auto: %s for %s: %s (%s)", found.backend, kind, found.reason, source)
        return found


def tuned(kind: Kind, device: torch.device, *, again: bool) -> Decision:
    """The decision that is kept for a kind of call, else a new one, whatever the mode and the budget. `again`: always a new one."""
    machine = machine_of(device)
    reason = unable(device, machine)
    if reason is not None:
        return torchs(reason)
    with _lock:
        since = known.generation
        if again:
            known.wrong.get(machine, {}).pop(str(kind), None)
        found, _ = _measured(kind, device, machine, math.inf, again=again)
        found = _of_this_card(agree.offer(machine, kind, found), machine)
        if settings.mode() != "off":
            known.add(machine, kind, found, since)
            known.by_exact.clear()
    return found


def unable(device: torch.device, machine: Machine) -> str | None:
    """Why the kernels do not run on a device, or None."""
    reason = unserved(machine.chip[0]) or triton.missing()
    if reason is None and device.type == "cuda" and triton.interpreted():
        return "TRITON_INTERPRET=1: the interpreter says nothing about the card"
    return reason


def wrong_on(device: torch.device) -> str | None:
    """What the kernels compute wrongly on a device, as far as is known."""
    machine = machine_of(device)
    return _what_is_wrong(machine, store.load(machine))


def kept(kind: Kind, machine: Machine, *, alone: bool) -> Decision | None:
    """What is known of a kind without a measurement, or None. `alone`: no other process is measuring."""
    files = store.load(machine)
    what = _what_is_wrong(machine, files)
    if what is not None:
        return _are_wrong(what)
    if alone and files.begun.get(str(kind), 0) >= store.ATTEMPTS:
        again = "`python -m fusedrnn tune --again` tries again"
        logger.warning("auto: a measurement of %s did not end %d times; %s", kind, store.ATTEMPTS, again)
        return torchs(f"a measurement did not end {store.ATTEMPTS} times; {again}")
    found = files.decisions.get(str(kind))
    return found if found is None or launchable(found, kind, machine) else None


def launchable(decision: Decision, kind: Kind, machine: Machine) -> bool:
    """Whether the rows of a decision, which may come from a file that was changed, are rows of the launch table."""
    about = (kind.cell, kind.torch_dtype, kind.hidden_size, *machine.chip)
    counts = [len(runnable(sweep, *about, tf32=kind.tf32)) for sweep in ("forward", "backward")]
    return all(-1 <= row < count for row, count in zip(decision.rows, counts, strict=True))


def _settled(kind: Kind, device: torch.device, machine: Machine) -> tuple[Decision, str]:
    """The decision, and where it comes from."""
    mode = settings.mode()
    if mode == "off":
        return torchs("FUSEDRNN_AUTO or set_auto says off"), "a setting"
    reason = unable(device, machine)
    if reason is not None:
        return torchs(reason), "not measured"
    found, source = agree.agreed(machine, kind), "from another rank"
    if found is None:
        found, source = kept(kind, machine, alone=False), "kept"
        blocked = None if found is not None else _not_now(mode)
        if blocked is not None:
            found, source = torchs(f"nothing is kept for this kind of call, and {blocked}"), "not measured"
        if found is None:
            begun = time.monotonic()
            found, source = _measured(kind, device, machine, settings.budget_left())
            settings.spend(time.monotonic() - begun)
        found = agree.offer(machine, kind, found)
    return _of_this_card(found, machine), source


def _not_now(mode: str) -> str | None:
    """Why this process does not measure, or None."""
    if mode == "cached":
        return "FUSEDRNN_AUTO or set_auto says cached"
    if os.environ.get("CUDA_LAUNCH_BLOCKING") == "1":
        return "CUDA_LAUNCH_BLOCKING=1 changes all times"
    return None


def _measured(
    kind: Kind, device: torch.device, machine: Machine, budget: float, *, again: bool = False
) -> tuple[Decision, str]:
    """Measure, and keep the decision. Processes that share the file measure one after the other, and the next one finds it there.

    Where nothing can be measured the decision is torch's own, for this process. `budget`: seconds that it may take. `again`:
    whatever is kept.
    """
    begun = time.monotonic()
    if budget <= 0:
        reason = "the time for measuring is used up (FUSEDRNN_AUTO_BUDGET or set_auto give more)"
        return torchs(reason), "not measured"
    with ExitStack() as stack:
        try:
            stack.enter_context(store.locked(machine, budget))
            alone = True
        except TimeoutError as error:
            return torchs(f"another process is measuring: {error}"), "not measured"
        except OSError as error:
            store.not_kept(error)
            alone = False
        if again and alone:
            store.attempt(store.clear, machine, kind)
        found = None if again else kept(kind, machine, alone=alone)  # what another process has measured meanwhile
        if found is not None:
            return found, "kept"
        found = measuring.measured(kind, device, machine, begun + budget, keep=alone)
        return found, f"measured in {time.monotonic() - begun:.1f} s"


def _of_this_card(found: Decision, machine: Machine) -> Decision:
    """The decision, unless the kernels are wrong here, whatever another rank has found."""
    if found.backend == "aten":
        return found
    what = _what_is_wrong(machine, store.load(machine))
    return found if what is None else _are_wrong(what)


def _what_is_wrong(machine: Machine, files: store.Decisions) -> str | None:
    return next(iter((files.wrong | known.wrong.get(machine, {})).values()), None)


def _are_wrong(what: str) -> Decision:
    return torchs(f"the kernels are wrong on this card: {what}")

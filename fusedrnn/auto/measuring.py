"""A measurement from the outside: its note in the file, its thread, and what is concluded from its end."""

from __future__ import annotations

import logging
import sys
import threading
import time
import warnings
from dataclasses import replace

import torch

from fusedrnn.auto import known, store
from fusedrnn.auto.decision import Decision, torchs
from fusedrnn.auto.errors import KernelError, NotMeasuredError, WrongResultError
from fusedrnn.auto.isolation import isolated
from fusedrnn.auto.kind import Kind
from fusedrnn.auto.machine import Machine

logger = logging.getLogger("fusedrnn")

REPORT = (
    "torch's own RNN is used on this card from now on; please report this with the output of `python -m fusedrnn info` and of "
    "`python -m fusedrnn tune --check`"
)


def measured(kind: Kind, device: torch.device, machine: Machine, deadline: float, *, keep: bool) -> Decision:
    """Measure a kind of call until `time.monotonic` says `deadline`, and, with `keep`, write the decision to the file.

    Whatever goes wrong, the decision is torch's own, for this process.

    Raises:
        SweepTimeoutError: an earlier launch of the kernels has timed out.
    """
    from fusedrnn.auto.trial import measure  # what it imports needs the rules, which import this

    launch = sys.modules.get("fusedrnn.kernels.launch")
    if launch is not None:
        launch.check(device)  # of the user's calls, before the measurement could be charged with it

    def trial(stop: threading.Event) -> Decision:
        return measure(kind, device, machine, lambda: stop.is_set() or time.monotonic() > deadline)

    begun, name, decided, what = time.monotonic(), str(kind), None, None
    if keep:
        store.attempt(store.begin, machine, kind)
    try:
        if device.type == "cuda":
            torch.cuda.current_stream(device).synchronize()  # the GPU is idle, as far as this thread knows
        found = decided = replace(isolated(trial, device), seconds=round(time.monotonic() - begun, 2))
    except WrongResultError as error:
        what = str(error)
        known.wrong.setdefault(machine, {})[name] = what
        known.retire()
        found = torchs(f"the kernels are wrong on this card: {what}")
    except KernelError as error:
        found = torchs(f"the kernels raise {error}")
    except NotMeasuredError as error:
        found = torchs(f"not measured: {error}")
    except Exception as error:  # a measurement must not end the user's call
        found = torchs(f"not measured: {type(error).__name__}: {error}")
        logger.warning("auto: %s for %s: %s", found.backend, kind, found.reason)
    finally:
        if keep:
            store.attempt(store.end, machine, kind, decided, what)
    if what is not None:
        told = f"fusedrnn: the Triton kernels gave a wrong result on {machine.card}: {what}; {REPORT}"
        warnings.warn(told, stacklevel=2)
    return found

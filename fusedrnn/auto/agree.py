"""Under torch.distributed the ranks on cards of one type take the same decision: the first one that any of them offers.

The process group's store holds it, a table of keys and values that every rank can read and write at any time. Nothing here waits
for another rank.
"""

from __future__ import annotations

import json
import logging
from typing import Any

import torch.distributed

from fusedrnn.auto.decision import Decision
from fusedrnn.auto.kind import Kind
from fusedrnn.auto.machine import Machine

logger = logging.getLogger("fusedrnn")


def agreed(machine: Machine, kind: Kind) -> Decision | None:
    """The decision that a rank has offered, or None."""
    key = _key(machine, kind)
    try:
        store = _store()
        if store is None:
            return None
        return Decision.from_dict(json.loads(store.get(key))) if store.check([key]) else None
    except Exception as error:  # of the store, whose server may be gone
        _alone(error)
        return None


def offer(machine: Machine, kind: Kind, decision: Decision) -> Decision:
    """Offer a decision. Returns the one that all ranks take: that of the first rank that has offered one."""
    try:
        store = _store()
        if store is None:
            return decision
        first = store.compare_set(_key(machine, kind), "", json.dumps(decision.to_dict()))
        return Decision.from_dict(json.loads(first))
    except Exception as error:
        _alone(error)
        return decision


def _store() -> Any:
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return None
    return torch.distributed.distributed_c10d._get_default_store()


def _key(machine: Machine, kind: Kind) -> str:
    return f"fusedrnn/auto/{machine.name}/{kind}"


def _alone(error: Exception) -> None:
    logger.warning("auto: this rank decides alone: %s: %s", type(error).__name__, error)

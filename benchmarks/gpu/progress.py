"""A pytest plugin for runs that may be cut off: each test is told of when it starts and when it ends; tests can be dealt out.

FUSEDRNN_SHARD "2/8" runs every eighth test from the third on; FUSEDRNN_SKIP names a file with the ids of tests that are not
run. Tests marked slow come last.
"""

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gpu.children import tell

TEXT = 2000  # characters of a failure that are told


def dealt(ids: list[str], shard: int, shards: int, skipped: set[str]) -> list[str]:
    """The ids of one shard: dealt out by their place in the whole list, so that no two shards run the same test."""
    return [name for place, name in enumerate(ids) if place % shards == shard and name not in skipped]


@pytest.hookimpl(trylast=True)  # after -m and -k have had their say
def pytest_collection_modifyitems(config: pytest.Config, items: list[Any]) -> None:
    """Keep this shard's tests, the slow ones last."""
    slow = {item.nodeid for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.nodeid in slow)
    shard, shards = map(int, os.environ.get("FUSEDRNN_SHARD", "0/1").split("/"))
    path = os.environ.get("FUSEDRNN_SKIP")
    skipped = set(json.loads(Path(path).read_text(encoding="utf-8"))) if path else set()
    ids = [item.nodeid for item in items]
    kept = set(dealt(ids, shard, shards, skipped))
    tell({"collected": ids, "slow": sorted(slow)})
    items[:] = [item for item in items if item.nodeid in kept]


_now: dict[str, Any] = {}


def pytest_runtest_logstart(nodeid: str, location: Any) -> None:
    """A test starts."""
    _now.update(begun=time.monotonic(), outcome="passed", text="")
    tell({"started": nodeid})


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Its set-up, its body or its tear-down has ended."""
    if report.failed or (report.skipped and _now["outcome"] == "passed"):
        _now.update(outcome=report.outcome, text=str(report.longrepr)[-TEXT:])


def pytest_runtest_logfinish(nodeid: str, location: Any) -> None:
    """A test has ended."""
    told = {"ended": nodeid, "outcome": _now["outcome"], "seconds": round(time.monotonic() - _now["begun"], 3)}
    tell(told | ({"text": _now["text"]} if _now["text"] else {}))

"""A CPU that "auto" takes for a GPU: the kernels are interpreted, the clock says what a test wants, files go to a test's folder."""

from collections import Counter

import pytest
import torch

pytest.importorskip("triton")

from fusedrnn.auto import choose, clock, settings, trial
from fusedrnn.backends import rules, triton
from fusedrnn.kernels import launch
from fusedrnn.modules import base
from fusedrnn.operators.layer import BY_TABLE

if not launch.INTERPRETED:
    collect_ignore_glob = ["test_*.py"]


class Speeds:
    """The clock: seconds by who runs, "torch" or the rows of the kernels; and how many calls each has run, timed or not."""

    def __init__(self):
        self.torch, self.kernels, self.rows = 2.0, 1.0, {}
        self.ran = Counter()
        self.last = None

    def note(self, who):
        self.last = who
        self.ran["torch" if who == "torch" else "kernels"] += 1

    def seconds(self, call, device):
        call()
        return self.torch if self.last == "torch" else self.rows.get(self.last, self.kernels)


@pytest.fixture
def fresh(monkeypatch, tmp_path):
    """No settings, nothing known, an empty folder of decisions; returns that folder."""
    folder = tmp_path / "cache"
    for variable in (settings.MODE_VARIABLE, settings.BUDGET_VARIABLE):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv(settings.FOLDER_VARIABLE, str(folder))
    for name, value in (("_mode", None), ("_budget", None), ("_spent", 0.0)):
        monkeypatch.setattr(settings, name, value)
    choose.forget()
    yield folder
    choose.forget()


@pytest.fixture
def speeds(monkeypatch, fresh):
    """The clock of a pretended GPU on which the kernels are twice as fast; only the table's rows are tried."""
    found = Speeds()
    found.on_gpu = choose.on_gpu  # what it is without the pretence
    monkeypatch.setattr(choose, "on_gpu", lambda call: True)
    monkeypatch.setattr(base, "run_directly", lambda *_: None)
    monkeypatch.setattr(clock, "seconds", found.seconds)
    monkeypatch.setattr(clock, "MOST", 1)
    monkeypatch.setattr(clock, "FEWEST", 1)
    monkeypatch.setattr(trial, "MORE_ROWS", 0)
    kernels = triton.run

    def noted_kernels(call, rows=BY_TABLE):
        found.note(rows)
        return kernels(call, rows)

    monkeypatch.setattr(triton, "run", noted_kernels)

    def noted(original):
        return lambda call: found.note("torch") or original(call)

    for engine in ("torch", "unrolled"):
        monkeypatch.setitem(rules.ENGINES, engine, noted(rules.ENGINES[engine]))
    return found


@pytest.fixture
def net():
    """A small GRU, and an input for it."""
    from fusedrnn import FusedGRU

    return FusedGRU(3, 5), torch.randn(2, 2, 3)

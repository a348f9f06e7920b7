"""A CPU that "auto" takes for a GPU; the clock says what a test wants."""

from collections import Counter

from fusedrnn.auto import choose, clock, trial
from fusedrnn.backends import rules, triton, unrolled
from fusedrnn.modules import base
from fusedrnn.operators.layer import BY_TABLE


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


def pretend(patch, *, interpreted=False):
    """Pretend, with a `pytest.MonkeyPatch`. The kernels are twice as fast, and only the table's rows are tried.

    `interpreted`: they run in Triton's interpreter, which takes a second for a measurement; else the same operators in torch stand
    in for them.
    """
    found = Speeds()
    found.on_gpu = choose.on_gpu  # what it is without the pretence
    patch.setattr(choose, "on_gpu", lambda call: True)
    patch.setattr(base, "run_directly", lambda *_: None)
    patch.setattr(clock, "seconds", found.seconds)
    patch.setattr(clock, "MOST", 1)
    patch.setattr(clock, "FEWEST", 1)
    patch.setattr(trial, "MORE_ROWS", 0)
    kernels = triton.run if interpreted else lambda call, rows: unrolled.run(call)

    def noted_kernels(call, rows=BY_TABLE):
        found.note(rows)
        return kernels(call, rows)

    patch.setattr(triton, "run", noted_kernels)

    def noted(original):
        return lambda call: found.note("torch") or original(call)

    for engine in ("torch", "unrolled"):
        patch.setitem(rules.ENGINES, engine, noted(rules.ENGINES[engine]))
    return found

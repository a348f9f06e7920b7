"""A CPU that "auto" takes for a GPU; the clock says what a test wants."""

from collections import Counter

from fusedrnn.auto import choose, clock, known, settings, trial
from fusedrnn.auto.kind import Kind
from fusedrnn.backends import rules, triton, unrolled
from fusedrnn.modules import base
from fusedrnn.operators.layer import BY_TABLE

KIND = Kind(
    cell="gru", dtype="float32", input_size=4, hidden_size=5, output_size=5, layers=1, directions=1, batch=2, steps=2,
    training=True, layout="padded", dropout="", bias=True, projected=False, ids=False, all_states=False, recompute=False,
    tf32=True,
)  # fmt: skip
"""That of a call of FusedGRU(3, 5) on two steps of two samples."""


def reset(patch, folder):
    """Forget all decisions and settings; new decisions are kept in `folder`."""
    for name, value in (("_mode", None), ("_budget", None), ("_spent", 0.0)):
        patch.setattr(settings, name, value)
    for variable in (settings.MODE_VARIABLE, settings.BUDGET_VARIABLE):
        patch.delenv(variable, raising=False)
    patch.setenv(settings.FOLDER_VARIABLE, str(folder))
    known.forget()


def take_a_cpu_for_a_gpu(patch):
    """Have "auto" decide calls on a CPU too; times are taken once."""
    patch.setattr(choose, "on_gpu", lambda call: True)
    patch.setattr(base, "run_directly", lambda *_: None)
    patch.setattr(clock, "MOST", 1)
    patch.setattr(clock, "FEWEST", 1)


def decision():
    """The only one that this process knows."""
    (found,) = known.by_kind.values()
    return found


def raising(error):
    """A function that raises it."""

    def fail(*arguments, **options):
        raise error

    return fail


def time_out(patch, *, after):
    """Let every check of a device but the first `after` ones find that a sweep has timed out."""
    from fusedrnn.kernels import launch

    asked = []

    def check(device):
        asked.append(device)
        if len(asked) > after:
            raise launch.SweepTimeoutError("late")

    patch.setattr(launch, "check", check)


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
    take_a_cpu_for_a_gpu(patch)
    patch.setattr(clock, "seconds", found.seconds)
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

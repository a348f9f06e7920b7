"""The suites: which cases each holds, the most telling first, so that a run that is cut short has measured those."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

from benchmarks.measuring.cases import Case

WIDTHS = (512, 256, 1024, 128, 64, 768, 2048)
BATCHES = (32, 64, 16, 128, 1, 256)
KINDS = (("gru", "bf16"), ("lstm", "bf16"), ("lstm", "fp16"), ("gru", "fp32"), ("lstm", "fp32"))
BF16 = KINDS[:2]
BOTH = ("forward", "training")


def _layer() -> Iterator[Case]:
    """One layer: every width and batch at 256 steps, then short and long sequences at two sizes."""
    usual = product((256,), product(WIDTHS, BATCHES))
    other = product((64, 1024), ((256, 32), (768, 16)))
    for (T, (H, B)), (cell, dtype), passes in product([*usual, *other], KINDS, BOTH):
        yield Case("layer", cell, dtype, T=T, B=B, I=H, H=H, passes=passes)
    yield Case("layer", "gru_before", "bf16", T=256, B=32, I=512, H=512, passes="training")


def _deep() -> Iterator[Case]:
    """Two and four layers, both directions."""
    for L, D in ((2, 2), (4, 2), (2, 1), (4, 1)):
        sizes = ((256, 32), (512, 64), (512, 32), (256, 64)) if D == 2 else ((256, 32), (512, 64))
        for (H, B), (cell, dtype), passes in product(sizes, BF16, BOTH):
            yield Case("deep", cell, dtype, T=256, B=B, I=H, H=H, L=L, D=D, passes=passes)


def _packed() -> Iterator[Case]:
    """Sequences of unequal lengths, long ones first."""
    sizes = [(T, 256, 32, D) for T in (512, 1024, 100) for D in (1, 2)]
    sizes += [(512, 512, 32, 1), (512, 512, 64, 1), (512, 256, 64, 1)]
    for (T, H, B, D), (cell, dtype), passes in product(sizes, BF16, BOTH):
        yield Case("packed", cell, dtype, T=T, B=B, I=H, H=H, D=D, passes=passes, input="packed")


def _ids() -> Iterator[Case]:
    """Token ids where torch.nn needs one-hot rows."""
    for (cell, dtype), passes in product(BF16, BOTH):
        yield Case("ids", cell, dtype, T=128, B=64, I=1000, H=256, passes=passes, input="ids")


def _dropout() -> Iterator[Case]:
    """Elementwise functions, bound by memory: tensors far larger than the caches, and one that fits in them."""
    functions = ("dropout", "bias_relu_dropout")
    for (T, B), function, dtype, passes in product(((512, 128), (64, 32)), functions, ("bf16", "fp32"), BOTH):
        yield Case("dropout", function, dtype, T=T, B=B, I=0, H=1024, passes=passes, quantity="dropout")


def _memory() -> Iterator[Case]:
    """What a training step keeps for its backward, and its peak."""
    for (H, B), (cell, dtype) in product(((512, 64), (256, 32), (1024, 32)), KINDS[:3]):
        yield Case("memory", cell, dtype, T=512, B=B, I=H, H=H, passes="training", quantity="memory")


def _launches() -> Iterator[Case]:
    """Kernels of a training step, and the host's time for a call too small to keep a GPU busy."""
    of_a_step = {"B": 4, "I": 64, "H": 64, "passes": "training", "quantity": "launches"}
    for (cell, dtype), T, (L, D) in product(BF16, (100, 1000), ((1, 1), (2, 2))):
        yield Case("launches", cell, dtype, T=T, L=L, D=D, **of_a_step)


def _lyrics() -> Iterator[Case]:
    """End to end: an epoch of the lyrics experiment, in characters a second."""
    for cell in ("gru", "lstm"):
        yield Case("lyrics", cell, "fp32", T=35, B=32, I=0, H=256, passes="training", input="ids", quantity="lyrics")


def _first_call() -> Iterator[Case]:
    """The first call of a fresh process, with an empty compilation cache and with the one it leaves."""
    for cell, dtype in BF16:
        yield Case("first", cell, dtype, T=64, B=16, I=256, H=256, passes="training", quantity="first call")


def _cpu() -> Iterator[Case]:
    """What runs without a GPU."""
    for cell, (kind, I), passes in product(("gru", "lstm"), (("dense", 64), ("ids", 200), ("packed", 64)), BOTH):
        yield Case("cpu", cell, "fp32", T=32, B=16, I=I, H=64, passes=passes, input=kind)


SUITES = {
    "layer": _layer, "deep": _deep, "packed": _packed, "ids": _ids, "dropout": _dropout, "memory": _memory, "launches": _launches,
    "lyrics": _lyrics, "first": _first_call, "cpu": _cpu,
}  # fmt: skip


def suite(name: str, *, tiny: bool = False) -> list[Case]:
    """The cases of a suite; `tiny`: the first few with sizes that the interpreter runs in a second."""
    cases = list(SUITES[name]())
    if not tiny:
        return cases
    small = [replace(c, dtype="fp32", T=3, B=2, I=min(c.I, 5), H=min(c.H, 8), L=min(c.L, 2)) for c in cases]
    return list({case.key: case for case in small}.values())[:4]

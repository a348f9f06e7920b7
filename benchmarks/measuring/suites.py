"""The suites: which cases each holds, the most telling first, so that a run cut short has measured those."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from benchmarks.measuring.cases import Case

WIDTHS = (512, 256, 1024, 128, 64, 768, 2048)
BATCHES = (32, 64, 16, 128, 1, 256)
KINDS = (("gru", "bf16"), ("lstm", "bf16"), ("lstm", "fp16"), ("gru", "fp32"), ("lstm", "fp32"))
BOTH = ("forward", "training")


def _layer() -> Iterator[Case]:
    """One layer: every width and batch at 256 steps, then short and long sequences at two sizes."""
    for H in WIDTHS:
        for B in BATCHES:
            for cell, dtype in KINDS:
                for passes in BOTH:
                    yield Case("layer", cell, dtype, T=256, B=B, I=H, H=H, passes=passes)
    for T in (64, 1024):
        for H, B in ((256, 32), (768, 16)):
            for cell, dtype in KINDS:
                for passes in BOTH:
                    yield Case("layer", cell, dtype, T=T, B=B, I=H, H=H, passes=passes)
    yield Case("layer", "gru_before", "bf16", T=256, B=32, I=512, H=512, passes="training")


def _deep() -> Iterator[Case]:
    """Two and four layers, both directions."""
    for L, D in ((2, 2), (4, 2), (2, 1), (4, 1)):
        for H, B in ((256, 32), (512, 64), (512, 32), (256, 64)) if D == 2 else ((256, 32), (512, 64)):
            for cell in ("gru", "lstm"):
                for passes in BOTH:
                    yield Case("deep", cell, "bf16", T=256, B=B, I=H, H=H, L=L, D=D, passes=passes)


def _packed() -> Iterator[Case]:
    """Sequences of unequal lengths, long ones first."""
    sizes = [(T, 256, 32, D) for T in (512, 1024, 100) for D in (1, 2)]
    for T, H, B, D in [*sizes, (512, 512, 32, 1), (512, 512, 64, 1), (512, 256, 64, 1)]:
        for cell in ("gru", "lstm"):
            for passes in BOTH:
                yield Case("packed", cell, "bf16", T=T, B=B, I=H, H=H, D=D, passes=passes, input="packed")


def _ids() -> Iterator[Case]:
    """Token ids where torch.nn needs one-hot rows."""
    for cell in ("gru", "lstm"):
        for passes in BOTH:
            yield Case("ids", cell, "bf16", T=128, B=64, I=1000, H=256, passes=passes, input="ids")


def _dropout() -> Iterator[Case]:
    """Elementwise functions, bound by memory: tensors far larger than the caches, and one that fits in them."""
    for T, B in ((512, 128), (64, 32)):
        for function in ("dropout", "bias_relu_dropout"):
            for dtype in ("bf16", "fp32"):
                for passes in BOTH:
                    yield Case("dropout", function, dtype, T=T, B=B, I=0, H=1024, passes=passes, quantity="dropout")


def _memory() -> Iterator[Case]:
    """What a training step keeps and how much it holds at once."""
    for H, B in ((512, 64), (256, 32), (1024, 32)):
        for cell, dtype in KINDS[:3]:
            yield Case("memory", cell, dtype, T=512, B=B, I=H, H=H, passes="training", quantity="memory")


def _launches() -> Iterator[Case]:
    """Kernels of a training step, and the host's time for a call too small to keep a GPU busy."""
    for cell in ("gru", "lstm"):
        for T in (100, 1000):
            for L, D in ((1, 1), (2, 2)):
                yield Case(
                    "launches", cell, "bf16", T=T, B=4, I=64, H=64, L=L, D=D, passes="training", quantity="launches"
                )


def _lyrics() -> Iterator[Case]:
    """End to end: an epoch of the lyrics experiment, in characters a second."""
    for cell in ("gru", "lstm"):
        yield Case("lyrics", cell, "fp32", T=35, B=32, I=0, H=256, passes="training", input="ids", quantity="lyrics")


def _first_call() -> Iterator[Case]:
    """A fresh process's first call, with an empty compilation cache and with the one it leaves."""
    for cell in ("gru", "lstm"):
        yield Case("first", cell, "bf16", T=64, B=16, I=256, H=256, passes="training", quantity="first call")


def _cpu() -> Iterator[Case]:
    """What runs without a GPU."""
    for cell in ("gru", "lstm"):
        for kind, I in (("dense", 64), ("ids", 200), ("packed", 64)):
            for passes in BOTH:
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

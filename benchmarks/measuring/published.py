"""What others published, with its source. None of it was measured here; it has separate columns."""

from dataclasses import dataclass

import torch

from fusedrnn.backends.cudnn import Layer


@dataclass(frozen=True)
class Figure:
    """One published time: of which implementation, on which chip, for which call; milliseconds forward and with backward."""

    implementation: str
    capability: tuple[int, int]
    layer: Layer
    forward_ms: float
    training_ms: float
    source: str


_FLASHRNN = "FlashRNN 1.0.8, LSTM speed figure, H100 (Pöppel, Beck and Hochreiter, arXiv 2412.07752)"


def _lstm(dtype: torch.dtype) -> Layer:
    return Layer("lstm", dtype, T=1024, B=16, I=768, H=768)


FIGURES = (
    Figure("FlashRNN fused (CUDA)", (9, 0), _lstm(torch.bfloat16), 4.87, 13.6, _FLASHRNN),
    Figure("FlashRNN alternating (CUDA)", (9, 0), _lstm(torch.bfloat16), 10.8, 26.5, _FLASHRNN),
    Figure("PyTorch loop, as FlashRNN timed it", (9, 0), _lstm(torch.bfloat16), 147.0, 484.0, _FLASHRNN),
    Figure("torch.nn.LSTM fp16, as FlashRNN timed it", (9, 0), _lstm(torch.float16), 2.01, 5.19, _FLASHRNN),
)
"""haste (LMNT) publishes plots of its speed and no numbers, so it has no row."""


def figures_for(cell: str, dtype: torch.dtype, T: int, B: int, H: int, capability: tuple[int, int]) -> list[Figure]:
    """The figures of exactly this call."""
    wanted = (cell, dtype, T, B, H, capability)
    return [
        f for f in FIGURES if (f.layer.cell, f.layer.dtype, f.layer.T, f.layer.B, f.layer.H, f.capability) == wanted
    ]

"""Inputs like those that the models meet, made from torch's seed."""

import math

import torch
from torch import Tensor

RATE = 16_000


def speech(batch: int, samples: int) -> Tensor:
    """Voiced syllables with a gliding pitch, and pauses, over faint noise: (`batch`, `samples`) at 16 kHz, within [-1, 1]."""
    time = torch.arange(samples) / RATE
    start, glide, syllables = (torch.rand(3, batch, 1) * torch.tensor([80.0, 30.0, 2.0]).view(3, 1, 1)).unbind()
    phase = 2 * math.pi * ((100 + start) * time + glide * time.square())
    voice = sum(torch.sin(k * phase) / k for k in range(1, 20))
    loudness = torch.sin(2 * math.pi * (2 + syllables) * time).clamp(min=0)
    return 0.2 * voice * loudness + 0.005 * torch.randn(batch, samples)


def mel_spectrum(wave: Tensor, bands: int, window: int, hop: int) -> Tensor:
    """The power of `wave`, (N, samples), in `bands` triangles of equal width on the mel scale: (N, frames, `bands`)."""
    spectrum = torch.stft(wave, window, hop, window=torch.hann_window(window), return_complex=True).abs().square()
    top = 2595 * math.log10(1 + RATE / 2 / 700)
    edges = 700 * (10 ** (torch.linspace(0, top, bands + 2) / 2595) - 1)
    bins = torch.linspace(0, RATE / 2, spectrum.shape[1])
    rising = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    return (torch.minimum(rising, falling).clamp(min=0) @ spectrum).transpose(1, 2)

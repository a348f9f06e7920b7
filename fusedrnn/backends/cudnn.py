"""torch's own RNN on CUDA: which cuDNN algorithm it requests, and a lower bound (floor) on the time of that algorithm.

The rules are those of torch's aten/src/ATen/native/cudnn/RNN.cpp (get_algo, use_rnn_persist_small_h,
use_persist_common_heuristics, use_persist_device_heuristics), unchanged from torch 2.0 to 2.11.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from fusedrnn.backends.chips import LAUNCH_S, Chip
from fusedrnn.kernels.cell import NUMBERS

STANDARD = "standard"
PERSIST_STATIC = "persist static"
SMALL_H = "persist static small H"
KERNELS_A_STEP = 2
"""Kernels per step of the standard algorithm: a product and a pointwise kernel."""


@dataclass(frozen=True)
class Layer:
    """The properties of a call of a recurrent module that determine its time.

    T steps, B samples, I inputs, H units, D directions, L layers. `cell` is a key of `cell.NUMBERS`; `tf32`: whether torch's
    setting lets float32 products use TF32; `packed`: whether samples have different lengths; `projected`: whether the LSTM has a
    projection.
    """

    cell: str
    dtype: torch.dtype
    T: int
    B: int
    I: int
    H: int
    D: int = 1
    L: int = 1
    tf32: bool = True
    packed: bool = False
    projected: bool = False

    @property
    def gates(self) -> int:
        """Number of gates, G."""
        return NUMBERS[self.cell].gates

    @property
    def numbers(self) -> str:
        """Key of the dtype in `Chip.rates`."""
        names = {torch.bfloat16: "bf16", torch.float16: "fp16", torch.float64: "fp64"}
        return names.get(self.dtype, "tf32" if self.tf32 else "fp32")

    def products_s(self, chip: Chip, sweep: str) -> float:
        """Floor of the products over all steps: gx forward; dx, dW_ih and dW_hh backward. The sweeps and cuDNN both need them."""
        width = self.D * self.gates * self.H
        inputs = self.I + (self.L - 1) * self.H * self.D
        times = inputs if sweep == "forward" else 2 * inputs + self.L * self.H
        return 2.0 * self.T * self.B * width * times / chip.rates[self.numbers]


def path(layer: Layer, capability: tuple[int, int], multiprocessors: int, sweep: str) -> str:
    """The cuDNN algorithm that torch requests: `STANDARD`, `PERSIST_STATIC` or `SMALL_H`; `sweep` is "forward" or "backward"."""
    if layer.projected or layer.packed:
        return STANDARD
    vanilla = layer.gates == 1
    widest = (192 if sweep == "forward" else 128) * (2 if vanilla else 1)
    if layer.dtype != torch.float64 and widest >= layer.H:
        return SMALL_H
    shape = layer.L == 1 and layer.D == 1 and layer.H <= 1024 and layer.H % 128 == 0 and layer.I % 128 == 0
    device = capability[0] >= 8 and capability[1] != 6 and multiprocessors >= 98
    if (
        layer.dtype == torch.float16
        and shape
        and device
        and (layer.cell == "lstm" or (vanilla and (layer.B < 96 or layer.H < 896)))
        and layer.B % 8 == 0
        and layer.B <= 128
    ):
        return PERSIST_STATIC
    return STANDARD


def standard_s(layer: Layer, chip: Chip, sweep: str) -> float:
    """Floor of the standard algorithm: per step and direction, a launch of a product and a launch of a pointwise kernel.

    The product takes at least the time of its arithmetic and of reading W_hh from L2, or from DRAM if it does not fit.
    """
    steps = layer.T * layer.D * layer.L
    size = layer.dtype.itemsize
    weights = layer.gates * layer.H * layer.H * size
    source = chip.l2 if weights * layer.D <= chip.l2_bytes else chip.dram
    arithmetic = 2.0 * layer.B * layer.gates * layer.H * layer.H / chip.rates[layer.numbers]
    product = max(LAUNCH_S, arithmetic, weights / source)
    pointwise = max(LAUNCH_S, layer.B * layer.H * 2 * layer.gates * size / chip.dram)
    return steps * (product + pointwise * (KERNELS_A_STEP - 1)) + layer.products_s(chip, sweep)

"""Published data of NVIDIA GPUs, one `Chip` per compute capability, each number with its source.

Sources, by the letter after each attribute below:

- W: NVIDIA's architecture white papers (A100, GA102, Ada, H100, Blackwell) and data sheets; peak rates are dense, at boost clock.
- G: CUDA C++ Programming Guide, technical specifications and arithmetic throughput by compute capability.
- M: published microbenchmarks: Luo et al. 2024, arXiv 2402.13499 (A100, RTX 4090, H100): L2 hits of 262, 273 and 263 cycles.
- A: assumed, always so that a time becomes smaller and a floor remains a lower bound.

No number here was measured by this project.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Chip:
    """One GPU.

    Attributes:
        name: the card that the numbers describe.
        multiprocessors: number of SMs. W
        clock: boost clock, Hz. W
        dram: DRAM bandwidth, bytes per second. W
        l2: bandwidth of the L2 cache, bytes per second. W for the A100 (5120 bytes per clock); A for the others: as wide as the
            A100's for the H100, else `L2_PORT` times the number of SMs.
        l2_bytes: size of the L2 cache. W
        rates: dense floating-point operations per second in "bf16", "fp16", "tf32", "fp32", "fp64"; 16-bit products accumulate
            in fp32; fp64 uses tensor cores where available. W
        shared_bytes: maximum shared memory per block. G
        registers: 32-bit registers per SM. G
        l2_cycles: latency of a load that hits L2. M; A for sm_86, 100 and 120: as the A100, H100 and RTX 4090
        atomic_cycles: latency of an atomic operation in L2. A: that of a load
    """

    name: str
    multiprocessors: int
    clock: float
    dram: float
    l2: float
    l2_bytes: int
    rates: dict[str, float]
    shared_bytes: int
    registers: int
    l2_cycles: int
    atomic_cycles: int

    @property
    def port(self) -> float:
        """L2 bandwidth of one SM, bytes per second."""
        return L2_PORT * self.clock


L2_PORT = 64
"""Bytes per clock that one SM reads from L2. W (A100), M"""
SHARED_PORT = 128
"""Bytes per clock that one SM reads from shared memory: 32 banks of 4 bytes. G"""
SPECIAL_UNITS = 16
"""Exponentials or reciprocals per clock and SM, the same for every capability here. G"""
LAUNCH_S = 2.0e-6
"""Minimum seconds per kernel when many small dependent kernels are launched one by one, launch and drain included.
NVIDIA's technical blog, "Getting Started with CUDA Graphs" (2019): a 2.9 µs kernel takes 3.8 µs per launch without a graph."""


def _rates(half: float, tf32: float, fp32: float, fp64: float) -> dict[str, float]:
    """`Chip.rates` from TFLOP/s."""
    return {"bf16": half * 1e12, "fp16": half * 1e12, "tf32": tf32 * 1e12, "fp32": fp32 * 1e12, "fp64": fp64 * 1e12}


CHIPS: dict[tuple[int, int], Chip] = {
    (8, 0): Chip("A100 SXM 80GB", 108, 1.41e9, 2039e9, 5120 * 1.41e9, 40 << 20, _rates(312, 156, 19.5, 19.5),
                 166_912, 65_536, 262, 262),
    (8, 6): Chip("RTX 3090", 82, 1.695e9, 936e9, 82 * L2_PORT * 1.695e9, 6 << 20, _rates(71, 35.6, 35.6, 0.56),
                 101_376, 65_536, 262, 262),
    (8, 9): Chip("RTX 4090", 128, 2.52e9, 1008e9, 128 * L2_PORT * 2.52e9, 72 << 20, _rates(165.2, 82.6, 82.6, 1.3),
                 101_376, 65_536, 273, 273),
    (9, 0): Chip("H100 SXM", 132, 1.83e9, 3350e9, 5120 * 1.83e9, 50 << 20, _rates(989.4, 494.7, 66.9, 66.9),
                 232_448, 65_536, 263, 263),
    (10, 0): Chip("B200", 148, 1.965e9, 8000e9, 148 * L2_PORT * 1.965e9, 126 << 20, _rates(2250, 1125, 80, 40),
                  232_448, 65_536, 263, 263),
    (12, 0): Chip("RTX 5090", 170, 2.407e9, 1792e9, 170 * L2_PORT * 2.407e9, 96 << 20, _rates(209.5, 104.8, 104.8, 1.64),
                  101_376, 65_536, 273, 273),
}  # fmt: skip
"""The chips by compute capability."""

SHARED_BYTES = {capability: chip.shared_bytes for capability, chip in CHIPS.items()}
"""Maximum shared memory per block, by compute capability."""

SMALLEST_SHARED = min(SHARED_BYTES.values())
"""Shared memory that is assumed for a chip that is not listed."""


def chip_of(capability: tuple[int, int], multiprocessors: int | None = None) -> Chip | None:
    """The data of a device, or None if its compute capability is not listed.

    For a card with another number of SMs than the listed one (an A10 instead of the RTX 3090, an L4 instead of the RTX 4090), rates
    and L2 bandwidth are assumed to be proportional to it, and the DRAM bandwidth to be the same.
    """
    chip = CHIPS.get(capability)
    if chip is None or multiprocessors in (None, chip.multiprocessors):
        return chip
    assert multiprocessors is not None
    share = multiprocessors / chip.multiprocessors
    rates = {dtype: rate * share for dtype, rate in chip.rates.items()}
    return replace(chip, multiprocessors=multiprocessors, rates=rates, l2=chip.l2 * share)

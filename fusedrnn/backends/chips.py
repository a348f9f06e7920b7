"""Facts of NVIDIA's GPUs, one frozen record a compute capability, each number with its source.

Sources, by the letter after each field below:

- W: NVIDIA's architecture white papers (A100, GA102, Ada, H100, Blackwell) and data sheets; peak rates are dense, at boost clock.
- G: CUDA C++ Programming Guide, technical specifications and arithmetic throughput by compute capability.
- M: published microbenchmarks: Luo et al. 2024, arXiv 2402.13499 (A100, RTX 4090, H100): L2 hits of 262, 273 and 263 cycles.
- A: assumed, in the direction that makes a time smaller, so that a floor stays a floor.

No number here was measured by this project.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Chip:
    """One GPU.

    Attributes:
        name: the card that the numbers are of.
        multiprocessors: SMs. W
        clock: boost, Hz. W
        dram: bytes a second. W
        l2: bytes that the second-level cache delivers a second. W for the A100 (5120 bytes a clock); A for the others: the
            A100's width for the H100, else every SM's port.
        l2_bytes: its size. W
        rates: dense floating-point operations a second, by "bf16", "fp16", "tf32", "fp32", "fp64"; 16-bit products accumulate
            in fp32; fp64 on tensor cores where there are such. W
        shared_bytes: shared memory that one block may use. G
        registers: 32-bit registers of an SM. G
        l2_cycles: round trip of a load that hits L2. M; A for sm_86, 100 and 120: as the A100, H100 and RTX 4090
        atomic_cycles: round trip of an atomic at L2. A: that of a load
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
        """Bytes a second that one SM can take from L2."""
        return L2_PORT * self.clock


L2_PORT = 64
"""Bytes a clock that one SM takes from L2. W (A100), M"""
SHARED_PORT = 128
"""Bytes a clock that one SM reads of shared memory: 32 banks of 4 bytes. G"""
SPECIAL_UNITS = 16
"""Exponentials or reciprocals a clock of one SM, every capability here. G"""
LAUNCH_S = 2.0e-6
"""Seconds that each of many small dependent kernels takes at least when launched one by one, its launch and drain included.
NVIDIA's technical blog, "Getting Started with CUDA Graphs" (2019): a 2.9 µs kernel takes 3.8 µs a launch without a graph."""


def _rates(half: float, tf32: float, fp32: float, fp64: float) -> dict[str, float]:
    """From TFLOP/s."""
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
"""By compute capability."""

SHARED_BYTES = {capability: chip.shared_bytes for capability, chip in CHIPS.items()}
"""Shared memory that one block may use, by compute capability."""

SMALLEST_SHARED = min(SHARED_BYTES.values())
"""What a chip that is not listed is taken to have."""


def chip_of(capability: tuple[int, int], multiprocessors: int | None = None) -> Chip | None:
    """The facts of a device, or None where nothing is published here.

    A card of the same capability with another number of SMs (an A10 beside the RTX 3090, an L4 beside the RTX 4090) is taken to
    have that share of the listed card's rates and cache bandwidth, and its whole DRAM bandwidth.
    """
    chip = CHIPS.get(capability)
    if chip is None or multiprocessors in (None, chip.multiprocessors):
        return chip
    assert multiprocessors is not None
    share = multiprocessors / chip.multiprocessors
    rates = {dtype: rate * share for dtype, rate in chip.rates.items()}
    return replace(chip, multiprocessors=multiprocessors, rates=rates, l2=chip.l2 * share)

"""What a compiled sweep should have by its row of the launch table: instructions, loads, stores, and the rules that follow."""

from dataclasses import dataclass
from typing import Any

import torch

from fusedrnn.backends.chips import CHIPS
from fusedrnn.kernels.cell import NUMBERS
from fusedrnn.kernels.rows import Row
from fusedrnn.kernels.sweeps import tiles_of
from fusedrnn.kernels.table import choose
from fusedrnn.kernels.tiles import Tiles

MULTIPROCESSORS = {arch: CHIPS[divmod(arch, 10)].multiprocessors for arch in (80, 86, 90, 100, 120)}
"""Of one card of each kind: A100, RTX 3090, H100 SXM, B200, RTX 5090."""
DTYPES = {
    "bf16": torch.bfloat16, "fp16": torch.float16, "tf32": torch.float32, "fp32": torch.float32, "fp64": torch.float64,
}  # fmt: skip
"""tf32 and fp32 are float32 with and without torch's switch for TF32."""
INSTRUCTION_BITS = 256
"""Of a row of 16 units in a tensor-core instruction: 16 columns of K of 16 bits, 8 of TF32; it has 8 samples."""


@dataclass(frozen=True)
class Case:
    """One call of the table: samples, units and chip decide the row."""

    sweep: str
    cell: str
    dtype: str
    arch: int
    H: int
    B: int = 32

    @property
    def row(self) -> Row:
        """The table's answer."""
        capability = divmod(self.arch, 10)
        return choose(
            self.sweep, self.cell, DTYPES[self.dtype], self.H, self.B, 1, capability, MULTIPROCESSORS[self.arch],
            tf32=self.dtype == "tf32",
        )  # fmt: skip

    @property
    def tiles(self) -> Tiles:
        """What the kernel knows of the row."""
        return tiles_of(self.row, self.H, DTYPES[self.dtype], tf32=self.dtype == "tf32")


def passes(case: Case) -> int:
    """How often a step goes through the loop over streamed weights: for every chunk of the operand; 0 where there is none."""
    tiles, cell = case.tiles, NUMBERS[case.cell]
    if tiles.weights != "streamed":
        return 0
    return -(-case.H // (tiles.parts * tiles.depth)) * (cell.phases if case.sweep == "forward" else cell.gates)


def products_a_warp(case: Case) -> int | None:
    """Tensor-core instructions that each warp needs for its part of a step (of a chunk, if streamed), or None without such."""
    tiles = case.tiles
    if not tiles.tensor:
        return None
    rows = tiles.units // 16 * tiles.parts // tiles.warps
    instructions = rows * (tiles.samples // 8) * (tiles.depth * tiles.bits // INSTRUCTION_BITS)
    cell = NUMBERS[case.cell]
    if tiles.weights != "streamed":
        return cell.gates * instructions * tiles.chunks
    return (cell.gates if case.sweep == "forward" else cell.phases) * instructions


def exchanges(case: Case) -> tuple[int, int]:
    """Loads of 16 bytes that a thread polls with in the code of a step (of a chunk, if streamed), and stores it publishes with."""
    tiles, cell = case.tiles, NUMBERS[case.cell]
    if tiles.alone:
        return 0, 0
    forward, streamed = case.sweep == "forward", tiles.weights == "streamed"
    operands = cell.phases if forward or streamed else cell.gates
    loads = operands * (1 if streamed else tiles.chunks) * tiles.polled * tiles.bits // 128
    published = cell.phases if forward else cell.saved - cell.exchanged_from
    return loads, published * max(1, tiles.each * tiles.bits // 128)


def faults(result: dict[str, Any]) -> list[str]:
    """The rules that a row breaks; each says what was expected and what was got."""
    spilled, shared, by_table = result["spill_bytes"], result["shared_bytes"], result["shared_by_table"]
    products, needed = sum(result["tensor_core"].values()), result["tensor_core_needed"] or 0
    streamed, loaded = result["weights"] == "streamed", result["loop_weight_loads"]
    loads, polled = result["exchange_load"], result["exchange_load_needed"]
    stores, published = result["exchange_store"], result["exchange_store_needed"]
    limit = result["shared_limit"]
    rules = (
        (not spilled, f"expected no spills, got {spilled} bytes"),
        (shared <= limit, f"expected at most {limit} bytes of shared memory, got {shared}"),
        (shared <= by_table, f"expected at most the table's {by_table} bytes, got {shared}"),
        (products == needed, f"expected {needed} tensor-core instructions a warp, got {products}"),
        (streamed or not loaded, f"expected weights to stay on chip, got {loaded} loads of them in the loop"),
        (
            loaded or not streamed,
            "expected streamed weights to be loaded in the loop, got none: the count cannot be trusted",
        ),
        (
            loads == ({"LDG.E.128.STRONG.GPU": polled} if polled else {}),
            f"expected {polled} loads of 16 bytes a thread, coherent across the GPU, got {loads}",
        ),
        (
            sum(stores.values()) == published,
            f"expected {published} stores a step, coherent across the GPU, got {stores}",
        ),
        (not result["counters"], f"expected no counters, got {result['counters']}"),
    )
    return [message for holds, message in rules if not holds]

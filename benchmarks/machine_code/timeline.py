"""Cycles of one step of a sweep's time loop, predicted from its machine code: no GPU, no driver.

    python -m benchmarks.machine_code.timeline kernel.cubin --warps 4 --detail 30

NVIDIA's assembler writes into each instruction how long the warp stalls after it, which scoreboard its result or its reading of
operands holds, and which scoreboards it waits for. The largest loop of a kernel is taken as its time loop and simulated for all
warps of one program: issue in order, one instruction a clock on each of four sub-cores, occupied pipes, barriers. All programs are
assumed to run alike, so another one's counter or data is seen a fixed time after this program's store.

Not modelled: shared memory bank conflicts, instruction cache misses, contention in L2, clock throttling, programs that come late. A
pass of a loop that the compiler unrolled counts as one step.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from pathlib import Path

from benchmarks.machine_code.sass import NONE, Instruction, instructions, time_loop

CLOCK_HZ = 1.755e9
"""Of an H100 SXM under load, as FlashRNN's measurements of 2024 had it; `benchmarks.gpu` measures the clock of its chip."""
SCOREBOARDS = 6
SUBCORES = 4
ROUNDS = 8  # steps that are played; the last one counts, for the first ones find every pipe free


@dataclass(frozen=True)
class Latency:
    """Cycles until a result is there. L2, DRAM and shared memory: Luo et al. 2024, arXiv 2402.13499; the others are estimates."""

    l2: int = 290  # a load that hits L2: 263 measured on the H100, and the load unit
    dram: int = 560  # a load from memory: 479 and more measured
    gpu_fence: int = 450  # a fence at gpu scope while stores are in flight
    block_fence: int = 25  # a fence at block scope
    seen: int = 250  # from a store or an addition of one SM until another SM's load of it finds it
    barrier: int = 14  # from the last warp's arrival until all go on
    shared: int = 30  # a load from shared memory
    matrix: int = 33  # an LDSM
    special: int = 23  # an exponential, a reciprocal, a hardware tanh
    other: int = 25  # shuffles and reads of special registers


H100 = Latency()
READING = {"STS": 12, "STG": 16, "LDG": 14, "RED": 16, "REDG": 16, "ATOM": 16, "ATOMG": 16}
READING_ELSE = 10
"""Cycles until an instruction has read its operands, where that holds a scoreboard. Estimates."""
WGMMA_WAIT = 40  # cycles of a WARPGROUP.DEPBAR, which waits for the matrix products in flight. Estimate.


@dataclass
class _Warp:
    """Where a warp is, the cycle from which it can issue, and until when its scoreboards are held."""

    place: int = 0
    ready: float = 0.0
    held: list[float] = field(default_factory=lambda: [0.0] * SCOREBOARDS)
    arrived: float | None = None  # when it came to the barrier that it waits at
    published: int = 0  # times that it has published what the others poll
    publishing: bool = False  # whether it has stored anything since it polled


class Player:
    """Plays a loop step after step for the warps of one program."""

    def __init__(self, body: list[Instruction], warps: int, latency: Latency) -> None:
        self.body, self.latency = body, latency
        self.warps = [_Warp() for _ in range(warps)]
        self.issued: list[tuple[float, Instruction]] = []
        self._issue = [0.0] * SUBCORES
        self._busy: dict[tuple[str, int], float] = {}
        self._added = 0.0
        self._adding: float | None = None
        self._publications = [0.0]
        """When the first store of each publication was issued, of any warp."""
        self._polls_data = any(one.carries_data for one in body) and not any(one.adds for one in body)

    def step(self) -> float:
        """Play one step; the cycle at which its last warp is done."""
        self.issued, self._adding = [], None
        for warp in self.warps:
            warp.place, warp.arrived = 0, None
        while any(warp.place < len(self.body) for warp in self.warps):
            running = [w for w, warp in enumerate(self.warps) if warp.place < len(self.body) and warp.arrived is None]
            if running:
                self._advance(min(running, key=lambda w: (max(self.warps[w].ready, self._issue[w % SUBCORES]), w)))
            else:
                self._meet()
        if self._adding is not None:
            self._added = self._adding
        return max(warp.ready for warp in self.warps)

    def _meet(self) -> None:
        """All that still run wait at a barrier: they go on together."""
        waiting = [warp for warp in self.warps if warp.arrived is not None]
        on = max(warp.arrived or 0.0 for warp in waiting) + self.latency.barrier
        for warp in waiting:
            warp.ready, warp.arrived = on, None

    def _advance(self, w: int) -> None:
        """Issue the next instruction of a warp."""
        warp, subcore = self.warps[w], w % SUBCORES
        one = self.body[warp.place]
        held = [until for board, until in enumerate(warp.held) if one.waits >> board & 1]
        start = max([warp.ready, self._issue[subcore], *held])
        pipe, cycles = one.pipe()
        if pipe:
            where = (pipe, subcore if pipe in ("special", "tensor") else -1)
            start = max(start, self._busy.get(where, 0.0))
            self._busy[where] = start + cycles
        self._issue[subcore] = start + 1
        self._hold(warp, one, start)
        if one.adds:
            self._adding = start
        if self._polls_data:
            self._publish(warp, one, start)
        warp.ready = start + self._stall(one)
        if one.kind == "BAR":
            warp.arrived = warp.ready
        if w == 0:
            self.issued.append((start, one))
        warp.place += 1

    def _publish(self, warp: _Warp, one: Instruction, start: float) -> None:
        """The first store after a poll publishes; a step may do so more than once."""
        if one.carries_data:
            warp.publishing = False
        elif one.kind == "STG" and not warp.publishing:
            warp.publishing, warp.published = True, warp.published + 1
            if len(self._publications) == warp.published:
                self._publications.append(start)

    def _hold(self, warp: _Warp, one: Instruction, start: float) -> None:
        if one.result != NONE:
            warp.held[one.result] = max(warp.held[one.result], self._result(warp, one, start))
        if one.operands != NONE:
            read = start + READING.get(one.kind, READING_ELSE)
            warp.held[one.operands] = max(warp.held[one.operands], read)

    def _result(self, warp: _Warp, one: Instruction, start: float) -> float:
        """When the result is there."""
        latency = self.latency
        published = self._publications[warp.published] if self._polls_data else self._added
        from_others = max(start + latency.l2, published + latency.seen + latency.l2 / 2)
        if one.kind == "LDG" and one.strong:
            return start + latency.l2 if one.carries_data and not self._polls_data else from_others
        if one.kind in ("ATOM", "ATOMG"):
            return from_others
        fixed = {
            "LDG": latency.l2 if one.again else latency.dram,
            "LDS": latency.shared, "LDSM": latency.matrix, "MUFU": latency.special,
            "SHFL": latency.other, "S2R": latency.other, "LDC": latency.other,
        }  # fmt: skip
        return start + fixed.get(one.kind, 2)

    def _stall(self, one: Instruction) -> int:
        if one.kind == "MEMBAR":
            return self.latency.block_fence if "CTA" in one.name else self.latency.gpu_fence
        if one.kind == "WARPGROUP" and "DEPBAR" in one.name:
            return WGMMA_WAIT
        return one.stall


def cycles(
    body: list[Instruction], warps: int, latency: Latency = H100
) -> tuple[float, list[tuple[float, Instruction]]]:
    """Cycles of a step once steps follow each other, and what warp 0 issued in it and when."""
    player = Player(body, warps, latency)
    ends = [player.step() for _ in range(ROUNDS)]
    return ends[-1] - ends[-2], player.issued


@dataclass(frozen=True)
class Prediction:
    """Of a step: instructions; cycles, those if memory and neighbours answered at once, and those if the exchange were slow."""

    instructions: int
    cycles: float
    on_chip: float
    slow: float


def predict(cubin: bytes, warps: int, latency: Latency = H100) -> Prediction:
    """What a step of a compiled kernel's time loop takes. Raises ValueError if the kernel has no loop."""
    body = time_loop(instructions(cubin))
    at_once = replace(latency, l2=0, dram=0, seen=0, gpu_fence=1)
    slow = replace(latency, seen=2 * latency.seen, gpu_fence=2 * latency.gpu_fence)
    return Prediction(len(body), *(cycles(body, warps, each)[0] for each in (latency, at_once, slow)))


def details(issued: list[tuple[float, Instruction]], least: float) -> Iterator[str]:
    """Where warp 0 waits at least `least` cycles, and every barrier and fence."""
    for (start, one), (after, following) in pairwise(issued):
        if after - start >= least or one.kind in ("BAR", "MEMBAR"):
            where = f"{start - issued[0][0]:7.0f} +{after - start:4.0f}"
            yield f"  {where}  {one.name} {one.arguments[:44]}  then {following.name} {following.arguments[:36]}"


def main(arguments: list[str] | None = None) -> int:
    """Print the predictions of compiled kernels."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, help="cubins")
    parser.add_argument("--warps", type=int, default=4, help="of a program")
    parser.add_argument("--detail", type=float, help="also where a warp waits at least so many cycles")
    asked = parser.parse_args(arguments)
    for path in asked.files:
        told = asdict(predict(path.read_bytes(), asked.warps))
        count = told.pop("instructions")
        parts = (f"{name} {value:.0f} ({value / CLOCK_HZ * 1e6:.2f} us)" for name, value in told.items())
        print(f"{path.name}: {count} instructions a step; cycles: {', '.join(parts)}")
        if asked.detail is not None:
            body = time_loop(instructions(path.read_bytes()))
            print(*details(cycles(body, asked.warps)[1], asked.detail), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

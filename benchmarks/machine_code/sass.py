"""The instructions of a compiled kernel with their control codes, and its loops, as ``cuobjdump -sass`` prints them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from benchmarks.machine_code.compiled import dump

NONE = 7  # the scoreboard of an instruction that holds none
PRODUCTS = ("HMMA", "HGMMA", "DMMA", "FFMA", "DFMA")  # what tells a loop that computes from one that waits
LOW = re.compile(r"^\s+/\*([0-9a-f]{4,})\*/\s+(.*?);\s*/\* 0x[0-9a-f]{16} \*/")
HIGH = re.compile(r"^\s+/\* (0x[0-9a-f]{16}) \*/")
GUARDED = re.compile(r"(@!?U?P\w+)\s+(.*)")


@dataclass(frozen=True)
class Instruction:
    """One instruction and its control code."""

    at: int
    name: str  # with all modifiers
    arguments: str
    stall: int  # cycles until the warp's next one
    result: int  # the scoreboard held until its result is there, `NONE` for none
    operands: int  # the scoreboard held until its operands are read
    waits: int  # a bit for each scoreboard that must be free first
    again: bool = False  # in a loop inside the time loop, which loads at every step what it loaded at the step before

    @property
    def kind(self) -> str:
        """The name without modifiers."""
        return self.name.partition(".")[0]

    @property
    def strong(self) -> bool:
        """Whether it sees other SMs' stores."""
        return "STRONG" in self.name

    @property
    def words(self) -> int:
        """32-bit words that a thread moves."""
        return 4 if ".128" in self.name else 2 if ".64" in self.name else 1

    @property
    def adds(self) -> bool:
        """Whether it is an atomic."""
        return self.kind in ("RED", "REDG", "ATOM", "ATOMG")

    @property
    def carries_data(self) -> bool:
        """Whether it is a wide load of what other SMs store: the exchanged state, not a counter."""
        return self.kind == "LDG" and self.strong and self.words == 4

    def pipe(self) -> tuple[str, float]:
        """What it occupies and for how many cycles; nothing for none."""
        if self.kind == "MUFU":  # 4 lanes a cycle on each sub-core
            return "special", 8.0
        if self.kind in ("LDSM", "STSM"):
            return "shared", 4.0 if ".4" in self.name else 2.0 if ".2" in self.name else 1.0
        if self.kind in ("LDS", "STS"):
            return "shared", float(self.words)
        if self.kind in ("LDG", "STG"):  # an SM takes 64 bytes a cycle from L2: fusedrnn.backends.chips.L2_PORT
            return "global", (2.0 if self.kind == "LDG" else 1.0) * self.words
        if self.kind == "HMMA":
            return "tensor", 8.0 if "16816" in self.name else 4.0
        return "", 0.0


def instructions(cubin: bytes) -> list[Instruction]:
    """Those of a compiled kernel."""
    return parse(dump(cubin, "-sass"))


def parse(sass: str) -> list[Instruction]:
    """Decode what ``cuobjdump -sass`` prints; the control code is in bits 41 to 57 of an instruction's upper half."""
    found: list[Instruction] = []
    pending: re.Match[str] | None = None
    for line in sass.splitlines():
        if low := LOW.match(line):
            pending = low
        elif (high := HIGH.match(line)) and pending:
            found.append(_decoded(int(pending[1], 16), pending[2].strip(), int(high[1], 16)))
            pending = None
    return found


def _decoded(at: int, text: str, code: int) -> Instruction:
    guarded = GUARDED.match(text)
    name, _, arguments = (guarded[2] if guarded else text).partition(" ")
    return Instruction(at, name, arguments, code >> 41 & 15, code >> 46 & 7, code >> 49 & 7, code >> 52 & 63)


def _loops(code: list[Instruction]) -> Iterator[tuple[int, int]]:
    """First and last place of every backward branch."""
    places = {one.at: place for place, one in enumerate(code)}
    for place, one in enumerate(code):
        targets = re.findall(r"0x([0-9a-f]+)", one.arguments) if one.kind == "BRA" else []
        if targets and int(targets[-1], 16) < one.at:
            yield places[int(targets[-1], 16)], place


def time_loop(code: list[Instruction], passes: int = 1) -> list[Instruction]:
    """The largest loop; those inside it that multiply run ``passes`` times. Raises ValueError if the code has no loop.

    Polls inside it succeed at once and are left out, unless the polled value is the data. Of a poll that begins with what is
    loaded already, the loads are left out: the loop is entered behind them.
    """
    (first, last), inside = _nested(code)
    left_out: set[int] = set()
    repeated: dict[int, int] = {}
    for begin, end in inside:
        part = code[begin : end + 1]
        if _multiplies(part):
            repeated[end] = begin
        elif not any(one.carries_data for one in part):
            left_out |= set(range(begin, end + 1))
        else:
            left_out |= _entered_behind(code, begin)
    body: list[Instruction] = []
    for place in sorted(set(range(first, last + 1)) - left_out):
        again = any(begin <= place <= end for end, begin in repeated.items())
        body.append(replace(code[place], again=again))
        if place in repeated:
            begin = code[repeated[place]].at
            body += [one for one in body if one.again and one.at >= begin] * (passes - 1)
    return body


def products_inside(code: list[Instruction]) -> int:
    """How many loops inside the time loop multiply. Raises ValueError if the code has no loop."""
    return sum(_multiplies(code[begin : end + 1]) for begin, end in _nested(code)[1])


def _entered_behind(code: list[Instruction], begin: int) -> set[int]:
    """Places that a jump shortly before a loop, which holds whatever comes, passes over."""
    for before in range(max(0, begin - 3), begin):
        target = re.fullmatch(r"0x([0-9a-f]+)", code[before].arguments) if code[before].kind == "BRA" else None
        if target:
            to = int(target.group(1), 16)
            return {place for place in range(before + 1, len(code)) if code[place].at < to}
    return set()


def _multiplies(code: list[Instruction]) -> bool:
    return any(one.kind in PRODUCTS for one in code)


def _nested(code: list[Instruction]) -> tuple[tuple[int, int], list[tuple[int, int]]]:
    """First and last place of the largest loop, and those of the loops inside it."""
    loops = list(_loops(code))
    if not loops:
        raise ValueError("expected a loop, got none")
    first, last = max(loops, key=lambda loop: loop[1] - loop[0])
    return (first, last), [(begin, end) for begin, end in loops if first <= begin and end < last]

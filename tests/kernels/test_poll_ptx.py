"""The PTX of polling and publishing: simulated here one thread at a time, and searched for in compiled kernels."""

import json
import os
import re
import subprocess
import sys

import pytest

pytest.importorskip("triton")

POLLS = [(16, 1, 8), (16, 2, 16), (32, 1, 8), (32, 3, 4), (64, 1, 4), (64, 2, 8)]
"""Bits, operands, elements a thread of each."""
STORES = [(bits, each) for bits in (16, 32, 64) for each in (1, 2, 4, 8, 16) if bits * each <= 256]
"""Bits, neighbours a thread."""
PROGRAM = f"""
import json
import triton.language as tl
from benchmarks.machine_code.compiled import compile_for
from fusedrnn.kernels import poll
from fusedrnn.kernels.language import gl, jit
from fusedrnn.kernels.table import TABLE
from fusedrnn.kernels.tiles import Tiles, columns, place

@jit
def exchange(x_ptr, to_ptr, error_ptr, polls, TILES: tl.constexpr):
    RIGHT: tl.constexpr = TILES.right
    _, _, _, _, units, samples, _, _, _, sample = place(0, 1, 1, 99, 99, 1, 1, TILES)
    k = columns(64, RIGHT, 1, TILES) + sample * 512
    tries = gl.full([TILES.parts, TILES.depth, TILES.samples], 0, gl.int32, TILES.right) + polls
    poll.poll((x_ptr + k,), tries, error_ptr, 7, 1, TILES.polled, TILES.bits)
    value = gl.full([TILES.units, TILES.samples], 1, x_ptr.dtype.element_ty, TILES.own)
    poll.publish(to_ptr + (samples * 512 + units), value, units + samples < 100, TILES.each, TILES.bits)

BITS = {{"16-bit": 16, "tf32": 32, "exact": 32, "fp64": 64}}
compiled = []
for e in (e for e in TABLE if e.row.weights != "alone"):
    bits, tensor = BITS[e.numbers], e.numbers in ("16-bit", "tf32")
    t = Tiles(e.row.units, e.row.samples, e.row.warps, e.row.depth, 1, 1, "registers", tensor, False, bits)
    number = {{16: "*bf16", 32: "*fp32", 64: "*fp64"}}[bits]
    types = {{"x_ptr": number, "to_ptr": number, "error_ptr": "*i32", "polls": "i32"}}
    if t not in [other for other, _ in compiled]:
        made = compile_for(80, exchange, types, {{"TILES": t}}, set(types), {{"num_warps": t.warps}})
        compiled.append((t, made.asm["ptx"]))
print(json.dumps({{
    "poll": [poll._poll_ptx(count, each, bits) for bits, count, each in {POLLS}],
    "publish": [poll._publish_ptx(each, bits) for bits, each in {STORES}],
    "compiled": [(t._asdict(), text) for t, text in compiled],
}}))
"""


@pytest.fixture(scope="module")
def ptx(tmp_path_factory):
    """What PROGRAM prints, in a process where kernels are compiled."""
    environment = {k: v for k, v in os.environ.items() if k != "TRITON_INTERPRET"}
    path = tmp_path_factory.mktemp("ptx") / "program.py"
    environment |= {"PYTHONPATH": os.pathsep.join(sys.path), "TRITON_CACHE_DIR": str(path.parent / "cache")}
    path.write_text(PROGRAM)
    done = subprocess.run([sys.executable, str(path)], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


class Thread:
    """Runs the PTX of one thread: ``operands`` are its values of $0, $1 and so on, ``memory`` bytes by address, all unsigned."""

    def __init__(self, operands, memory, before_load=lambda loads: None):
        self.values = {f"${i}": value for i, value in enumerate(operands)}
        self.memory, self.before_load, self.loads, self.stored = memory, before_load, 0, {}

    def run(self, text):
        lines = [part.strip() for line in text.splitlines() for part in re.split(r";\s*", line) if part.strip()]
        at = 0
        while at < len(lines):
            line = lines[at].lstrip("{ ").strip() if lines[at].startswith("{ .") else lines[at]
            guard, _, rest = line.rpartition("@")[2].partition(" ") if line.startswith("@") else ("", "", line)
            at += 1
            if guard and not self.values[guard]:
                continue
            if rest.startswith("bra"):
                at = lines.index("L${:uid}:")
            elif not rest.startswith((".reg", "L$", "}")) and rest != "{":
                self.step(rest)
        return self

    def step(self, text):
        operation, _, rest = text.partition(" ")
        arguments = re.findall(r"\{[^}]*\}|\[[^]]*\]|[^,\s]+", rest)
        read = [self.read(a) for a in arguments[1:]]
        to = arguments[0]
        if operation.startswith("ld."):
            width = int(re.search(r"\.b(\d+)", operation).group(1)) // 8
            self.before_load(self.loads)
            self.loads += 1
            address = self.values[arguments[1].strip("[]")]
            for i, name in enumerate(to.strip("{}").split(", ")):
                self.values[name] = int.from_bytes(
                    self.memory[address + i * width : address + (i + 1) * width], "little"
                )
        elif operation.startswith("st."):
            width = int(re.search(r"\.b(\d+)", operation).group(1)) // 8
            for i, name in enumerate(arguments[1].strip("{}").split(", ")):
                self.stored[self.values[to.strip("[]")] + i * width] = (width, self.values[name])
        elif operation == "mov.b64":
            low, high = to.strip("{}").split(", ")
            self.values |= {low: read[0] % 2**32, high: read[0] >> 32}
        else:
            self.values[to] = {
                "mov.b32": lambda a: a,
                "sub.u32": lambda a, b: (a - b) % 2**32,
                "sub.s32": lambda a, b: a - b,
                "lop3.b32": lambda a, b, c, table: (a & b) | c if table == 0xEA else None,
                "max.u32": max,
                "or.b32": lambda a, b: a | b,
                "and.b32": lambda a, b: a & b,
                "setp.ne.b32": lambda a, b: a != b,
                "setp.eq.b32": lambda a, b: a == b,
                "setp.gt.and.s32": lambda a, b, p: a > b and p,
                "selp.b32": lambda a, b, p: a if p else b,
                "selp.f64": lambda a, b, p: a if p else b,
                "setp.nan.f64": lambda a, b: is_nan(a) or is_nan(b),
            }[operation](*read)

    def read(self, name):
        if name in self.values:
            return self.values[name]
        if name.startswith("0d"):
            return int(name[2:], 16)
        return None if name[0] in "{[" else int(name, 0)


def is_nan(bits):
    """Of a float64's."""
    return bits >> 52 & 0x7FF == 0x7FF and bits % (1 << 52) > 0


def poll(text, bits, count, each, numbers, polls, arrives=lambda loads, memory: None):
    """What a thread reads, the polls it has left, its error word, and its loads."""
    memory = bytearray(b"".join(n.to_bytes(bits // 8, "little") for n in numbers))
    registers, elements = count * each * bits // max(bits, 32), count * each
    addresses = [i * bits // 8 for i in range(elements)]
    operands = [None] * (registers + each) + addresses + [polls] * each + [1 << 20] * each + [7] * each
    whole = elements * bits // 128  # loads of a try
    thread = Thread(operands, memory, lambda loads: arrives(loads / whole, memory)).run(text)
    words = b"".join(thread.values[f"${i}"].to_bytes(max(bits, 32) // 8, "little") for i in range(registers))
    found = [int.from_bytes(words[i * bits // 8 : (i + 1) * bits // 8], "little") for i in range(elements)]
    left = {thread.values[f"${registers + i}"] for i in range(each)}
    assert len(left) == 1
    assert set(thread.stored) <= {1 << 20}
    return found, left.pop(), thread.stored.get(1 << 20, (4, 0))[1], thread.loads / whole


def near(bits):
    """Numbers that are nearly the pattern. Of 64 bits, those whose upper word is all ones stand for it too."""
    ones = (1 << bits) - 1
    found = [0, 1, ones >> 1, ones - (1 << bits - 1 >> 1), ones & ~(1 << bits // 2), (1 << bits // 2) - 1]
    return found + ([ones - 1, ones << 1 & ones] if bits < 64 else [ones - (1 << 32), ones & ~(1 << 63)])


@pytest.mark.parametrize("shape", POLLS, ids=str)
def test_a_thread_waits_for_each_element_and_for_nothing_else(shape, ptx):
    bits, count, each = shape
    text, elements = ptx["poll"][POLLS.index(shape)], count * each
    for first in range(len(near(bits))):
        numbers = [near(bits)[(first + i) % len(near(bits))] for i in range(elements)]
        assert poll(text, *shape, numbers, 5) == (numbers, 5, 0, 1)
    numbers = list(range(1, elements + 1))
    for i in range(elements):
        absent = [*numbers[:i], (1 << bits) - 1, *numbers[i + 1 :]]
        assert poll(text, *shape, absent, 5) == (absent, 0, 7, 5)
        assert poll(text, *shape, absent, 0) == (absent, 0, 7, 1)

        def arrives(tries, memory, i=i):
            if tries == 3:
                memory[i * bits // 8 : (i + 1) * bits // 8] = numbers[i].to_bytes(bits // 8, "little")

        assert poll(text, *shape, absent, 5, arrives) == (numbers, 5, 0, 4)
    assert poll(text, *shape, numbers, 0) == (numbers, 0, 0, 1)


def test_of_64_bits_the_upper_word_decides(ptx):
    text = ptx["poll"][POLLS.index((64, 1, 4))]
    assert poll(text, 64, 1, 4, [1, 2, 0xFFFFFFFF << 32, 4], 2)[1:] == (0, 7, 2)
    assert poll(text, 64, 1, 4, [1, 2, 0xFFFFFFFF, 4], 2)[1:] == (2, 0, 1)


@pytest.mark.parametrize("shape", STORES, ids=str)
def test_a_thread_publishes_its_neighbours_or_nothing(shape, ptx):
    bits, each = shape
    text, width = ptx["publish"][STORES.index(shape)], bits // 8
    memory = b"".join((0x101 * (i + 1)).to_bytes(width, "little") for i in range(each))
    whole = max(width, 4) if each * width >= 4 else width  # of a register
    values = [int.from_bytes(memory[i : i + whole], "little") for i in range(0, len(memory), whole)]
    for mask in (0, 1):
        operands = [None] * each + [i * width for i in range(each)] + values + [mask] * each
        stored = Thread(operands, b"").run(text).stored
        written = b"".join(value.to_bytes(size, "little") for _, (size, value) in sorted(stored.items()))
        assert written == (memory if mask else b"")
        assert sorted(stored) == (list(range(0, len(memory), whole)) if mask else [])


@pytest.mark.parametrize("each", [1, 2, 4])
def test_a_float64_nan_is_published_as_one_that_readers_do_not_wait_for(each, ptx):
    text = ptx["publish"][STORES.index((64, each))]
    values = [(1 << 64) - 1, 0xFFFFFFFF << 32 | 5, 0x7FF << 52, 0xFFF << 52][:each]
    operands = [None] * each + [i * 8 for i in range(each)] + values + [1] * each
    stored = [value for _, (_, value) in sorted(Thread(operands, b"").run(text).stored.items())]
    assert stored == [0x7FF8 << 48, 0x7FF8 << 48, 0x7FF << 52, 0xFFF << 52][:each]  # infinities stay


def test_every_row_polls_whole_loads_and_publishes_once_a_thread(ptx):
    """`Tiles.polled` and `Tiles.each` are what the layouts give a thread: else there would be a second poll, or none at all."""
    assert len(ptx["compiled"]) > 10
    for t, text in ptx["compiled"]:
        bits, threads = t["bits"], 32 * t["warps"]
        held = t["warps"] * t["depth"] * t["samples"] // threads * (1 if t["tensor"] else 8)
        published = max(1, t["units"] * t["samples"] // threads) * bits
        instructions = re.findall(r"(ld|st)\.relaxed\.(gpu|sys)(?:\.global)?(\.v\d)?\.b(\d+)", text)
        loads = [i for i in instructions if i[0] == "ld"]
        stores = [i for i in instructions if i[:2] == ("st", "gpu")]
        assert loads == [("ld", "gpu", ".v2" if bits == 64 else ".v4", "64" if bits == 64 else "32")] * (
            held * bits // 128
        )
        assert stores == [("st", "gpu", "", str(published))]
        assert text.count("st.relaxed.sys") == text.count("bra") == 1

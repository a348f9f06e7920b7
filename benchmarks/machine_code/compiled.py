"""Compile a Triton kernel for a chip that is absent, and read its machine code. Needs neither a GPU nor a driver.

Triton brings NVIDIA's assembler and disassembler. It does not hold a kernel to the chip's shared memory when it compiles ahead of
time, so `Reading` carries both the size and the limit. TRITON_INTERPRET must not be set in this process.
"""

import re
import subprocess
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.experimental.gluon._runtime import GluonASTSource

TOOLS = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
LOCAL_STORE = re.compile(r"\bSTL(?:\.(\w+))?\b")
WIDTH = {"64": 8, "128": 16, "U8": 1, "U16": 2}


@dataclass(frozen=True)
class Access:
    """A load in the intermediate code: of which argument, in how many loops."""

    argument: str
    depth: int


@dataclass(frozen=True)
class Reading:
    """What the machine code of one kernel says; instructions by name, with how often each stands in the code."""

    registers: int  # a thread
    spill_bytes: int  # a thread's local memory for spilled registers, by stores or by stack, whichever is larger
    shared_bytes: int  # a program
    tensor_core: dict[str, int]
    loads: tuple[Access, ...]  # global loads of the intermediate code
    strong_loads: dict[str, int]  # coherent across the GPU
    strong_stores: dict[str, int]
    accesses: dict[str, int]  # of global and local memory
    counters: tuple[str, ...]  # every atomic and every acquiring load of the assembly, with its order and scope


def compile_for(
    arch: int,
    kernel: Any,
    signature: dict[str, str],
    constants: dict[str, Any],
    aligned: set[str],
    options: dict[str, Any],
) -> Any:
    """Compile for ``sm_<arch>``. ``signature``: Triton type by argument; ``aligned``: arguments that are multiples of 16."""
    types = {name: "constexpr" if name in constants else signature[name] for name in kernel.arg_names}
    aligned_at = {
        (i,): [["tt.divisibility", 16]] for i, name in enumerate(kernel.arg_names) if name in aligned - set(constants)
    }
    source = (GluonASTSource if kernel.is_gluon() else ASTSource)(
        fn=kernel, signature=types, constexprs=constants, attrs=aligned_at
    )
    return triton.compile(source, target=GPUTarget("cuda", arch, 32), options=options)


def dump(cubin: bytes, option: str) -> str:
    """What ``cuobjdump`` prints of a compiled kernel."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        command = [TOOLS / "cuobjdump", option, file.name]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def read(compiled: Any) -> Reading:
    """Disassemble what `compile_for` returned."""
    usage, sass = (dump(compiled.asm["cubin"], option) for option in ("--dump-resource-usage", "-sass"))
    stored = sum(WIDTH.get(width, 4) for width in LOCAL_STORE.findall(sass))

    def counted(pattern: str) -> dict[str, int]:
        return dict(Counter(re.findall(pattern, sass)))

    return Reading(
        registers=_number("REG", usage),
        spill_bytes=max(stored, _number("STACK", usage)),
        shared_bytes=compiled.metadata.shared,
        tensor_core=counted(r"\b((?:HGMMA|HMMA|DMMA|UTCHMMA|UTCQMMA|QMMA|OMMA)[.\w]*)"),
        loads=tuple(loads(compiled.asm["ttgir"])),
        strong_loads=counted(r"\bLDG[.\w]*\.STRONG\.GPU\b"),
        strong_stores=counted(r"\bSTG[.\w]*\.STRONG\.GPU\b"),
        accesses=counted(r"\b((?:LDG|STG|LDL|STL)\b[.\w]*)"),
        counters=tuple(re.findall(r"\b((?:atom|red)\.[\w.]+|ld\.[\w.]*acquire[\w.]*)", compiled.asm["ptx"])),
    )


def _number(name: str, usage: str) -> int:
    found = re.search(rf"\b{name}:(\d+)", usage)
    if found is None:
        raise ValueError(f"cuobjdump: expected {name}:<number> in the resource usage, got {usage!r}")
    return int(found.group(1))


def loads(ttgir: str) -> list[Access]:
    """Every global load of a module in Triton's GPU dialect, its address traced back to a kernel argument.

    An address is an argument that ``tt.addptr``, ``tt.splat`` and the like carry forward as their first operand; one that a loop
    or branch carries counts as "carried", so that it cannot pass for something else.
    """
    origin: dict[str, str] = {}
    found, depth, blocks = [], 0, []
    for line in ttgir.splitlines():
        text = line.split(" loc(")[0].strip()
        if text.startswith("tt.func"):
            origin.update((name, name[1:]) for name in re.findall(r"(%[\w]+): !tt\.ptr", line))
        statement = re.match(r"(?:(%\w+)(?::\d+)? = )?([\w.]+)([^:]*)", text)
        if statement and (operands := re.findall(r"%\w+(?:#\d+)?", statement.group(3))):
            result, operation = statement.group(1), statement.group(2)
            address = operands[0]
            if operation in ("tt.load", "ttg.async_copy_global_to_local"):
                found.append(Access(origin.get(address, "carried"), depth))
            elif result and operation == "arith.select":
                origin[result] = origin.get(operands[1], "carried")
            elif result and address in origin and not operation.startswith("scf."):
                origin[result] = origin[address]
        closed = text.startswith("}")
        if closed and blocks:
            depth -= blocks.pop()
        if text.endswith("{"):
            loop = bool(re.search(r"\bscf\.(for|while)\b", text)) or (closed and text.startswith("} do"))
            blocks.append(1 if loop else 0)
            depth += blocks[-1]
    return found

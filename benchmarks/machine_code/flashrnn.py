"""FlashRNN's published times of its Triton LSTM beside what the timeline predicts of the same kernel: the timeline's test.

    pip download flashrnn==1.0.8 --no-deps && python -m zipfile -e flashrnn-1.0.8-py3-none-any.whl out/flashrnn
    python -m benchmarks.machine_code.flashrnn out/flashrnn        # writes benchmarks/results/timeline_flashrnn.json

The source, a checkout or an installed copy, is not part of this project. The module of its kernel (which needs einops) is imported
and compiled for an absent H100; TRITON_INTERPRET must not be set. Its time loop is not unrolled at these sizes.

FlashRNN times a call of an autograd function: it stores the gates even where no gradient is asked for, and copies the inputs into
the kernel's order. The timeline knows the time loop alone. So published times should lie above predicted ones by about the same at
every head size.
"""

import argparse
import hashlib
import importlib
import sys
import tomllib
import types
from pathlib import Path
from typing import Any

import triton
import triton.language as tl

from benchmarks.machine_code import timeline
from benchmarks.machine_code.compiled import compile_for
from benchmarks.measuring.records import RESULTS, Record, Row

PATH = RESULTS / "timeline_flashrnn.json"
T, B, HIDDEN, GATES, STATES = 1024, 16, 768, 4, 2  # of the published figure; HIDDEN is divided into heads
PUBLISHED_MS = {16: 1.97, 32: 1.44, 64: 1.99, 128: 3.23}  # forward, by head size
SOURCE = (
    "FlashRNN's README, LSTM speed figure, Triton fused, forward, H100 (Pöppel, Beck and Hochreiter, arXiv 2412.07752)"
)
MODULE = "triton_fused/lstm_fw.py"
POINTERS = ("states_initial", "Wx", "R", "b", "states_all", "gates_all")


def find(root: Path) -> Path:
    """The module of the kernel in a folder. Raises ValueError if there is none, or there are several."""
    found = sorted(root.rglob(MODULE))
    if len(found) != 1:
        raise ValueError(f"{root}: expected one {MODULE} in it, got {len(found)}")
    return found[0]


def version_of(module: Path) -> str:
    """FlashRNN's version, by the metadata of an installed copy or by the project file of a checkout.

    Raises:
        ValueError: neither is in a folder above the module.
    """
    for folder in module.parents:
        for metadata in folder.glob("flashrnn-*.dist-info"):
            return metadata.name.removeprefix("flashrnn-").removesuffix(".dist-info")
        project = folder / "pyproject.toml"
        told = tomllib.loads(project.read_text(encoding="utf-8")).get("project", {}) if project.exists() else {}
        if told.get("name") == "flashrnn":
            return str(told.get("version", "unknown"))
    raise ValueError(f"{module}: expected flashrnn-*.dist-info or FlashRNN's pyproject.toml above it, got neither")


def kernel_in(module: Path) -> Any:
    """Its forward kernel, with the launch options that it comes with; the package around it is not imported.

    Raises:
        ValueError: it does not come with one set of options.
    """
    package = types.ModuleType("flashrnn_triton_fused")
    package.__path__ = [str(module.parent)]
    sys.modules[package.__name__] = package
    kernel = importlib.import_module(f"{package.__name__}.{module.stem}")._forward_sequence_kernel
    if len(kernel.configs) != 1:
        raise ValueError(f"{module}: expected a kernel with one set of launch options, got {len(kernel.configs)}")
    return kernel


def predicted(kernel: Any, head: int, gates: bool) -> float:
    """Cycles of a step of it; ``gates``: with the gates stored."""
    (options,) = kernel.configs
    constants = {
        "T": T, "NS": STATES, "B": B, "NH": HIDDEN // head, "DH": head, "NGI": GATES, "NGR": GATES,
        "OUTPUT_GATES": gates, "DTYPE": tl.bfloat16, **options.kwargs, **({} if gates else {"gates_all": None}),
    }  # fmt: skip
    launch = {"num_warps": options.num_warps, "num_stages": options.num_stages}
    compiled = compile_for(90, kernel.fn, dict.fromkeys(POINTERS, "*bf16"), constants, set(POINTERS), launch)
    return timeline.predict(compiled.asm["cubin"], options.num_warps).cycles


def row(kernel: Any, head: int) -> Row:
    """Published and predicted of one head size, microseconds a step."""
    stored, unstored = (predicted(kernel, head, gates) for gates in (True, False))
    told = stored / timeline.CLOCK_HZ * 1e6
    published = PUBLISHED_MS[head] / T * 1e3
    return {
        "head_size": head, "heads": HIDDEN // head, "published_us": round(published, 3), "predicted_us": round(told, 3),
        "difference_us": round(published - told, 3), "predicted_cycles": round(stored),
        "without_gates_us": round(unstored / timeline.CLOCK_HZ * 1e6, 3),
    }  # fmt: skip


def main(arguments: list[str] | None = None) -> int:
    """Write the record and print its rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="a folder with FlashRNN's source")
    parser.add_argument("--json", type=Path, default=PATH)
    asked = parser.parse_args(arguments)
    try:
        module = find(asked.source.resolve())
        version, kernel = version_of(module), kernel_in(module)
    except (ValueError, ModuleNotFoundError) as error:
        parser.error(str(error))
    environment = {
        "measured": False, "published": SOURCE, "chip": "H100 SXM", "clock_hz": timeline.CLOCK_HZ, "flashrnn": version,
        "kernel_sha256": hashlib.sha256(module.read_bytes()).hexdigest(), "triton": triton.__version__,
        "T": T, "B": B, "dtype": "bf16",
    }  # fmt: skip
    record = Record(environment, [row(kernel, head) for head in PUBLISHED_MS])
    record.save(asked.json)
    print(*record.rows, sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())

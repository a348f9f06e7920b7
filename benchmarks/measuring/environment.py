"""Where a record was made: device, driver, clocks, versions, commit."""

import datetime
import hashlib
import platform
import subprocess
from pathlib import Path
from typing import Any

import torch

import fusedrnn
from benchmarks.measuring.records import ROOT
from fusedrnn.backends.chips import Chip, chip_of

QUERY = ("driver_version", "clocks.sm", "clocks.max.sm", "clocks.mem", "power.limit", "temperature.gpu")


def _output(*command: str) -> str | None:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT, timeout=30).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None


def _commit() -> str:
    commit = _output("git", "rev-parse", "HEAD")
    if commit is None:
        return "unknown: not a git checkout"
    return commit + (" with local changes" if _output("git", "status", "--porcelain", "--untracked-files=no") else "")


def _sources() -> str:
    """A digest of the measured and the measuring code, which identifies a checkout without git."""
    digest = hashlib.sha256()
    for folder in ("fusedrnn", "kernels", "reference", "benchmarks"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            digest.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    return digest.hexdigest()[:12]


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())


def _triton() -> str | None:
    try:
        import triton
    except ImportError:
        return None
    return str(triton.__version__)


def gpu_of(device: torch.device) -> tuple[tuple[int, int] | None, int, Chip | None]:
    """Compute capability, multiprocessors and the known chip of a GPU; of a CPU None, 1 and None, as the interpreter has them."""
    if device.type != "cuda":
        return None, 1, None
    capability = torch.cuda.get_device_capability(device)
    multiprocessors = torch.cuda.get_device_properties(device).multi_processor_count
    return capability, multiprocessors, chip_of(capability, multiprocessors)


def environment(device: torch.device) -> dict[str, Any]:
    """What a time depends on, and nothing else of this machine."""
    found: dict[str, Any] = {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"), "commit": _commit(),
        "sources": _sources(), "fusedrnn": fusedrnn.__version__, "python": platform.python_version(),
        "torch": torch.__version__, "triton": _triton(), "cudnn": torch.backends.cudnn.version(),
        "tf32": bool(torch.backends.cudnn.allow_tf32), "threads": torch.get_num_threads(), "processor": _processor(),
    }  # fmt: skip
    if device.type != "cuda":
        return {**found, "device": "cpu"}
    properties = torch.cuda.get_device_properties(device)
    query = (f"--query-gpu={','.join(QUERY)}", "--format=csv,noheader", f"--id={device.index or 0}")
    values = _output("nvidia-smi", *query)
    return {
        **found, "device": properties.name, "capability": list(torch.cuda.get_device_capability(device)),
        "multiprocessors": properties.multi_processor_count, "memory_bytes": properties.total_memory,
        "cuda": torch.version.cuda, **(dict(zip(QUERY, values.split(", "), strict=False)) if values else {}),
    }  # fmt: skip

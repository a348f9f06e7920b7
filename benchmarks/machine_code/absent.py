"""A GPU that is absent: kernels are compiled for it as a launch would compile them, and launching them does nothing.

`install` replaces Triton's driver by one that knows the chip and runs nothing. The launch table's choice, the specialisation of
arguments, the options and the cache key are those of a machine with that GPU, so what is compiled here is found in Triton's cache
there. It holds for the rest of the process, in which TRITON_INTERPRET must not be set.
"""

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.backends.nvidia import driver as nvidia

from fusedrnn.backends.chips import SHARED_BYTES, SMALLEST_SHARED

NOT_RUN = {"verdict": "not run", "error": "expected a CUDA device, got the interpreter"}
"""What a row says in place of what only a GPU can tell."""
Heard = Callable[[Any, bool], None]


@dataclass(frozen=True)
class Chip:
    """What is asked of a device: its compute capability, None of the interpreter, and how many multiprocessors it has."""

    capability: tuple[int, int] | None
    multiprocessors: int

    @property
    def target(self) -> GPUTarget:
        """What Triton compiles for."""
        major, minor = self.capability or (0, 0)
        return GPUTarget("cuda", major * 10 + minor, 32)

    @property
    def shared_bytes(self) -> int:
        """Shared memory that one block may use."""
        return SHARED_BYTES.get(self.capability or (0, 0), SMALLEST_SHARED)


def builds_launchers() -> bool:
    """Whether this Triton compiles a launcher for each signature (3.6 does, 3.7 has one for all), and can do so here.

    It takes the machine's C compiler and the driver's library.
    """
    if not hasattr(nvidia, "make_launcher"):
        return False
    try:
        return bool(nvidia.libcuda_dirs())
    except (AssertionError, OSError, subprocess.SubprocessError):
        return False


class Driver:
    """Triton's driver of an absent chip."""

    def __init__(self, chip: Chip) -> None:
        self.utils = SimpleNamespace(
            get_device_properties=lambda device: {"max_shared_mem": chip.shared_bytes},
            load_binary=lambda name, binary, shared, device: (object(), object(), 0, 0, 1024),
        )
        self.launches = 0
        self.get_current_device = lambda: 0
        self.get_current_stream = lambda device: 0
        self.get_current_target = lambda: chip.target
        self._builds_launchers = builds_launchers()

    def launcher_cls(self, source: Any, metadata: Any) -> Callable[..., None]:
        """What a compiled kernel is launched by; the launcher that this Triton would compile is compiled too, if it can be."""
        if self._builds_launchers:
            nvidia.CudaLauncher(source, metadata)

        def launch(*arguments: Any) -> None:
            self.launches += 1

        return launch


def install(chip: Chip) -> Driver:
    """Make this process believe that it has `chip`, for Triton's launches and for the launch table."""
    driver = Driver(chip)
    triton.runtime.driver.set_active(driver)
    major, minor = chip.capability or (0, 0)
    properties = SimpleNamespace(
        multi_processor_count=chip.multiprocessors, major=major, minor=minor, name=f"absent sm_{major}{minor}"
    )
    patched: Any = torch.cuda
    patched.get_device_capability = lambda device=None: chip.capability
    patched.get_device_properties = lambda device=None: properties
    return driver


def listen(heard: Heard) -> None:
    """Call `heard(source, was in the cache)` whenever Triton compiles a kernel of this process or finds it in its cache on disk."""

    def listener(*, src: Any, cache_hit: bool, **_: Any) -> None:
        heard(src, cache_hit)

    triton.knobs.compilation.listener = listener

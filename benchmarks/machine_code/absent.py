"""A GPU that is not there: kernels are compiled for it as a launch would compile them, and launching them does nothing.

`install` puts a driver in Triton's place that knows the chip and runs nothing. Everything up to the launch itself is what happens
on a machine with that GPU: the launch table's choice, the specialisation of arguments, the options, the cache key. So what
is compiled here is found in Triton's cache there, and what the host does for a call can be timed and counted without a device.
For a whole process, in which TRITON_INTERPRET must not be set; there is no way back.
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

from fusedrnn.chips import SHARED_BYTES, SMALLEST_SHARED

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
    """Triton's driver of a chip that is not there."""

    def __init__(self, chip: Chip) -> None:
        self.chip = chip
        self.utils = SimpleNamespace(
            get_device_properties=lambda device: {"max_shared_mem": chip.shared_bytes},
            load_binary=lambda name, binary, shared, device: (object(), object(), 0, 0, 1024),
        )
        self.launches = 0
        self._builds_launchers = builds_launchers()

    def launcher_cls(self, source: Any, metadata: Any) -> Callable[..., None]:
        """What a compiled kernel is launched by; the launcher that this Triton would compile is compiled too, if it can be."""
        if self._builds_launchers:
            nvidia.CudaLauncher(source, metadata)

        def launch(*arguments: Any) -> None:
            self.launches += 1

        return launch

    def get_current_device(self) -> int:
        """Index of the device."""
        return 0

    def get_current_stream(self, device: int) -> int:
        """The default stream."""
        return 0

    def get_current_target(self) -> GPUTarget:
        """What to compile for."""
        return self.chip.target


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

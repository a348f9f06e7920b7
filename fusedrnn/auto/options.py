"""The options of `python -m fusedrnn`, and the kinds of calls and the device that they name."""

from __future__ import annotations

import argparse
import itertools
import os
from collections.abc import Sequence

import torch

from fusedrnn.auto.kind import DTYPES, MOST_STEPS, Kind, rounded_up
from fusedrnn.auto.machine import machine_of
from fusedrnn.backends import triton
from fusedrnn.kernels.cell import NUMBERS
from fusedrnn.kernels.table import unserved
from fusedrnn.precision import matmul_tf32

NAME = "python -m fusedrnn"
CELLS = tuple(NUMBERS)
LAYOUTS = ("padded", "lengths", "packed")
MODES = ("training", "inference")
INFO = 'Show versions, devices, backends, what "auto" has decided on this machine, and in which file it is kept.'
TUNE = """Measure the kernels and torch's own RNN, and keep which is faster, for every combination of the values that are given.
Exit status: 1 if the kernels are wrong, 2 if nothing can be measured, else 0."""


def parser(description: str | None) -> argparse.ArgumentParser:
    """The command line."""
    raw = argparse.RawDescriptionHelpFormatter
    made = argparse.ArgumentParser(prog=NAME, description=description, formatter_class=raw)
    commands = made.add_subparsers(dest="command", metavar="command")
    commands.add_parser("info", help="show versions, devices, backends and decisions", description=INFO)
    tune = commands.add_parser(
        "tune", help="measure ahead", usage=f"{NAME} tune [options]", description=TUNE, formatter_class=raw
    )

    def names(option: str, choices: Sequence[str], default: Sequence[str]) -> None:
        told = f"{', '.join(choices)}; default: {' '.join(default)}"
        tune.add_argument(option, nargs="+", choices=choices, default=default, metavar="NAME", help=told)

    def sizes(option: str, default: int, text: str) -> None:
        told = f"{text}; default: {default}"
        tune.add_argument(option, nargs="+", type=size, default=[default], metavar="N", help=told)

    names("--cell", CELLS, ("gru", "lstm"))
    names("--dtype", tuple(DTYPES.values()), ("bfloat16",))
    names("--layout", LAYOUTS, ("padded",))
    names("--mode", MODES, MODES)
    sizes("--hidden", 512, "units, H")
    sizes("--batch", 32, "samples, B; rounded up to a power of two")
    sizes("--steps", 256, f"steps, T; rounded up likewise, but not above {MOST_STEPS}")
    tune.add_argument(
        "--input",
        type=size,
        metavar="N",
        help="inputs of a step, or different token ids, I; rounded up likewise; default: H",
    )
    tune.add_argument("--layers", type=size, metavar="N", default=1, help="layers; default: 1")
    tune.add_argument("--projection", type=size, metavar="N", help="outputs of an LSTM with projection")
    tune.add_argument(
        "--dropout", choices=("each", "shared"), help="between layers, in training: masks for each step, or one for all"
    )
    flags = {
        "--bidirectional": "both directions",
        "--no-bias": "without biases",
        "--ids": "token ids as input",
        "--all-states": "with the states of every layer and step",
        "--recompute": 'memory="recompute"',
        "--no-tf32": "float32 products without TF32",
        "--check": "only compare results with float64, without timing; exit status 1 unless all are right",
        "--again": "measure also what is kept, or was wrong",
    }
    for flag, text in flags.items():
        tune.add_argument(flag, action="store_true", help=text)
    tune.add_argument("--device", default="cuda", help="cuda, cuda:1, ...; cpu with TRITON_INTERPRET=1 and --check")
    return made


def size(text: str) -> int:
    """A size on the command line."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return number


def kinds(asked: argparse.Namespace) -> list[Kind]:
    """The kinds of calls that a command line names, each once.

    Raises:
        ValueError: there are no such calls.
    """
    if asked.projection and (set(asked.cell) != {"lstm"} or asked.projection >= min(asked.hidden)):
        cells, least = " ".join(asked.cell), min(asked.hidden)
        raise ValueError(
            f"--projection: expected --cell lstm and less than --hidden, got --cell {cells} and {asked.projection} of {least}"
        )
    if asked.dropout and asked.layers < 2:
        raise ValueError("--dropout: expected --layers of at least 2, for it acts between layers, got 1")
    found: dict[Kind, None] = {}
    combinations = itertools.product(
        asked.cell, asked.dtype, asked.hidden, asked.batch, asked.steps, asked.layout, asked.mode
    )
    for cell, dtype, H, B, T, layout, mode in combinations:
        kind = Kind(
            cell=cell,
            dtype=dtype,
            input_size=rounded_up(asked.input or H),
            hidden_size=H,
            output_size=asked.projection or H,
            layers=asked.layers,
            directions=2 if asked.bidirectional else 1,
            batch=rounded_up(B),
            steps=min(rounded_up(T), MOST_STEPS),
            training=mode == "training",
            layout=layout,
            dropout=(asked.dropout or "") if mode == "training" else "",
            bias=not asked.no_bias,
            projected=asked.projection is not None,
            ids=asked.ids,
            all_states=asked.all_states,
            recompute=asked.recompute,
            tf32=dtype == "float32" and not asked.no_tf32,
            matmul_tf32=dtype == "float32" and matmul_tf32(),
        )
        found[kind] = None
    return list(found)


def device_of(text: str, *, check: bool) -> torch.device:
    """The device to measure on, or, for `check`, to compare results on.

    Raises:
        ValueError: the kernels do not run there.
    """
    interpreted = os.environ.get("TRITON_INTERPRET") == "1"
    served = ("cuda", "cpu") if interpreted and check else ("cuda",)
    try:
        device = torch.device(text)
    except RuntimeError:  # not the name of a device
        device = None
    if device is None or device.type not in served:
        raise ValueError(f"--device: expected cuda or cuda:N, or cpu with TRITON_INTERPRET=1 and --check, got {text}")
    reason = triton.missing()
    if reason is None and device.type == "cuda" and not torch.cuda.is_available():
        reason = "expected a CUDA device, got none"
    if reason is not None:
        raise ValueError(reason)
    if device.type == "cpu":
        return device
    if interpreted and not check:
        raise ValueError("TRITON_INTERPRET: expected it not to be set, for the interpreter's times mean nothing, got 1")
    count = torch.cuda.device_count()
    index = torch.cuda.current_device() if device.index is None else device.index
    if index >= count:
        raise ValueError(f"--device: expected one of the {count} CUDA devices, counted from cuda:0, got {text}")
    device = torch.device("cuda", index)
    reason = unserved(machine_of(device).chip[0])
    if reason is not None:
        raise ValueError(f"{device}: {reason}")
    return device

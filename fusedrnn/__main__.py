"""Say what is there and what "auto" has decided, or measure ahead.

python -m fusedrnn info
python -m fusedrnn tune --cell lstm --hidden 512 --batch 64 --steps 256
python -m fusedrnn tune --check
"""

from __future__ import annotations

import argparse
import itertools
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from fusedrnn.auto import choose, report, settings, store, terminal
from fusedrnn.auto.kind import DTYPES, MOST_STEPS, Kind, rounded_up
from fusedrnn.auto.machine import machine_of
from fusedrnn.auto.tune import checked, decided
from fusedrnn.backends import triton
from fusedrnn.backends.choice import requested
from fusedrnn.kernels.table import unserved

NAME = "python -m fusedrnn"
CELLS = ("gru", "gru_before", "lstm")
LAYOUTS = ("padded", "lengths", "packed")
MODES = ("training", "inference")
INFO = 'Show versions, devices, backends, what "auto" has decided on this machine, and in which file it is kept.'
TUNE = """Measure the kernels and torch's own RNN, and keep which is faster, for every combination of the values that are given.
Exit status: 1 if the kernels are wrong, 2 if nothing can be measured, else 0."""


def parser() -> argparse.ArgumentParser:
    """The command line."""
    raw = argparse.RawDescriptionHelpFormatter
    made = argparse.ArgumentParser(prog=NAME, description=__doc__, formatter_class=raw)
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


def tune(wanted: list[Kind], device: torch.device, *, check: bool, again: bool) -> int:
    """Measure, or check; the exit status."""
    places = [(device, kind) for kind in wanted]
    with _progress():
        if check:
            verdicts = {str(kind): verdict for (_, kind), verdict in checked(places, terminal.show).items()}
        else:
            found = decided(places, again=again, say=terminal.show)
    if check:
        print(report.verdict_table(verdicts, terminal.width()))
        return 0 if all(verdict.verdict == "right" for verdict in verdicts.values()) else 1
    print(report.decision_table({str(kind): decision for (_, kind), decision in found.items()}, terminal.width()))
    print(f"file of decisions: {store.path_of(machine_of(device))}")
    return 0 if choose.wrong_on(device) is None else 1


@contextmanager
def _progress() -> Iterator[None]:
    """Within the block a bar may be shown; after it, it is removed, and messages are printed."""
    try:
        with terminal.messages() as told:
            yield
    finally:
        terminal.clear()
        for line in told:
            _complain(line)


@contextmanager
def tf32(*, allowed: bool) -> Iterator[None]:
    """Allow or forbid TF32 in cuDNN's RNNs, and so in the kernels."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def _complain(text: object) -> None:
    print(f"{NAME}: {text}", file=sys.stderr)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command. Returns the exit status."""
    made = parser()
    asked: Any = made.parse_args(arguments)
    if asked.command is None:
        made.print_help(sys.stderr)
        return 2
    try:
        for read in (settings.mode, settings.budget_left, lambda: requested(None)):
            read()  # an environment variable, which may have a wrong value
        if asked.command == "tune":
            wanted, device = kinds(asked), device_of(asked.device, check=asked.check)
    except ValueError as error:
        _complain(error)
        return 2
    if asked.command == "info":
        print(report.info(terminal.width()))
        return 0
    with tf32(allowed=not asked.no_tf32):
        return tune(wanted, device, check=asked.check, again=asked.again)


if __name__ == "__main__":
    try:
        status = main()
        sys.stdout.flush()
    except KeyboardInterrupt:  # end as the signal does, at once: a measurement may still run in its thread
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    except BrokenPipeError:  # the reader has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 1
    sys.exit(status)

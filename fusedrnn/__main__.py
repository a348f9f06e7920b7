"""Say what is there and what "auto" has decided, or measure ahead.

python -m fusedrnn info
python -m fusedrnn tune --cell lstm --hidden 512 --batch 64 --steps 256
python -m fusedrnn tune --check
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from fusedrnn.auto import report, settle
from fusedrnn.auto.errors import NotMeasuredError
from fusedrnn.auto.kind import DTYPES, Kind, rounded_up
from fusedrnn.auto.tune import checked, each
from fusedrnn.backends import triton

CELLS = ("gru", "gru_before", "lstm")
LAYOUTS = ("padded", "lengths", "packed")
BAR = 24  # characters


def parser() -> argparse.ArgumentParser:
    """The command line."""
    raw = argparse.RawDescriptionHelpFormatter
    made = argparse.ArgumentParser(prog="python -m fusedrnn", description=__doc__, formatter_class=raw)
    commands = made.add_subparsers(dest="command", required=True)
    commands.add_parser("info", help="versions, devices, backends, decisions")
    tune = commands.add_parser(
        "tune", help="measure kernels and torch's own RNN for kinds of calls, and keep what is faster"
    )
    several: dict[str, Any] = {"nargs": "+", "metavar": "N", "type": size}
    tune.add_argument("--cell", nargs="+", choices=CELLS, default=["gru", "lstm"])
    tune.add_argument("--dtype", nargs="+", choices=DTYPES.values(), default=["bfloat16"])
    tune.add_argument("--hidden", **several, default=[512], help="H")
    tune.add_argument("--input", type=size, metavar="N", help="I; default: H")
    tune.add_argument("--layers", type=size, metavar="N", default=1, help="L")
    tune.add_argument("--projection", type=size, metavar="N", help="P of an LSTM with projection")
    tune.add_argument("--batch", **several, default=[32], help="B; a decision holds up to the next power of two")
    tune.add_argument("--steps", **several, default=[256], help="T, likewise")
    tune.add_argument("--layout", nargs="+", choices=LAYOUTS, default=["padded"])
    tune.add_argument("--mode", nargs="+", choices=("training", "inference"), default=["training", "inference"])
    tune.add_argument(
        "--dropout", choices=("each", "shared"), default="", help="between layers, in training: masks of the steps"
    )
    tune.add_argument("--bidirectional", action="store_true")
    tune.add_argument("--no-bias", action="store_true")
    tune.add_argument("--ids", action="store_true", help="token ids as input")
    tune.add_argument("--recompute", action="store_true", help='memory="recompute"')
    tune.add_argument("--no-tf32", action="store_true", help="float32 products in full")
    tune.add_argument(
        "--check", action="store_true", help="only compare the results; exit status 1 if one is not right"
    )
    tune.add_argument("--again", action="store_true", help="measure what is kept already, or was wrong")
    tune.add_argument(
        "--device", default="cuda", help="cuda, cuda:1, ...; with TRITON_INTERPRET=1 and --check also cpu"
    )
    return made


def size(text: str) -> int:
    """A size on the command line."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a size of at least 1, got {number}")
    return number


def kinds(asked: argparse.Namespace) -> list[Kind]:
    """The kinds of calls that a command line names."""
    each_of = itertools.product(
        asked.cell, asked.dtype, asked.hidden, asked.batch, asked.steps, asked.layout, asked.mode
    )
    found = []
    for cell, dtype, H, B, T, layout, mode in each_of:
        training = mode == "training"
        found.append(
            Kind(
                cell=cell,
                dtype=dtype,
                input_size=rounded_up(asked.input or H),
                hidden_size=H,
                output_size=asked.projection or H,
                layers=asked.layers,
                directions=2 if asked.bidirectional else 1,
                batch=rounded_up(B),
                steps=rounded_up(T),
                training=training,
                layout=layout,
                dropout=asked.dropout if training and asked.layers > 1 else "",
                bias=not asked.no_bias,
                projected=asked.projection is not None,
                ids=asked.ids,
                all_states=False,
                recompute=asked.recompute,
                tf32=dtype == "float32" and not asked.no_tf32,
            )
        )
    return found


def say(done: int, count: int, kind: Kind) -> None:
    """A bar of progress on the terminal, a line for each kind elsewhere."""
    filled = BAR * done // count
    end, start = ("", "\r\033[K") if sys.stderr.isatty() else ("\n", "")
    print(f"{start}[{'#' * filled}{'.' * (BAR - filled)}] {done}/{count} {kind}", end=end, file=sys.stderr, flush=True)


def tune(asked: argparse.Namespace, device: torch.device) -> int:
    """Measure, or check; the exit status."""
    if asked.check:
        verdicts = each(kinds(asked), lambda kind: checked(kind, device), say)
        print(file=sys.stderr)
        print(
            report.table(
                ("kind of call", "verdict", "what"), [(str(k), v.verdict, v.text) for k, v in verdicts.items()]
            )
        )
        return 0 if all(verdict.verdict == "right" for verdict in verdicts.values()) else 1
    decisions = each(kinds(asked), lambda kind: settle.tuned(kind, device, again=asked.again), say)
    print(file=sys.stderr)
    print(report.decision_table({str(kind): decision for kind, decision in decisions.items()}))
    return 1 if settle.wrong_on(device) else 0


@contextmanager
def tf32(*, allowed: bool) -> Iterator[None]:
    """Allow or forbid TF32 in cuDNN's RNNs, and so in the kernels."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command."""
    made = parser()
    asked = made.parse_args(arguments)
    if asked.command == "info":
        print(report.info())
        return 0
    if asked.projection and (set(asked.cell) != {"lstm"} or asked.projection >= min(asked.hidden)):
        made.error("--projection: expected --cell lstm and fewer than --hidden")
    device = torch.device(asked.device)
    interpreted = device.type == "cpu" and asked.check and os.environ.get("TRITON_INTERPRET") == "1"
    reason = triton.missing()
    if reason is not None or not (interpreted or torch.cuda.is_available()):
        made.error(reason or "expected a CUDA device, got none")
    if device.type == "cuda" and device.index is None:
        device = torch.device("cuda", torch.cuda.current_device())
    try:
        with tf32(allowed=not asked.no_tf32):
            return tune(asked, device)
    except NotMeasuredError as error:
        print(f"python -m fusedrnn: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())

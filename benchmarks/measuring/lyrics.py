"""The lyrics experiment end to end: characters a second of an epoch of training, backend by backend."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from benchmarks.measuring.cases import Case
from benchmarks.measuring.options import Options
from benchmarks.measuring.peers import BASE, ours_backend
from benchmarks.measuring.records import Row
from benchmarks.measuring.timing import timed_rows

CHARACTERS = {"cpu": 2_000, "cuda": 10_000}


class OneHotRNN(nn.Module):
    """torch.nn's own module where the experiment passes ids: they become one-hot rows first."""

    def __init__(self, module: nn.RNNBase) -> None:
        super().__init__()
        self.module = module

    def forward(self, ids: Tensor, hx: Any = None) -> Any:
        """Output and states of `module`."""
        return self.module(one_hot(ids, self.module.input_size).to(self.module.weight_hh_l0.dtype), hx)


def _with_torch_nn(run: Any) -> Any:
    """The run with torch.nn's module in place of ours, weights kept."""
    from examples.lm.optimizers import build_optimizer

    ours = run.model.recurrent
    kind = nn.LSTM if run.settings.cell == "lstm" else nn.GRU
    theirs = kind(ours.input_size, ours.hidden_size, ours.num_layers).to(run.ids.device)
    theirs.load_state_dict(ours.state_dict())
    for name, parameter in theirs.named_parameters():
        parameter.requires_grad_("bias_hh" not in name)
    run.model.recurrent = OneHotRNN(theirs)
    run.optimizer = build_optimizer(run.settings.optimizer, run.model.parameters(), run.settings.lr)
    return run


def epochs(case: Case, device: torch.device, options: Options) -> list[Row]:
    """An epoch of truncated backpropagation on the lyrics, optimiser included."""
    from examples.lm.corpus import load_corpus
    from examples.lm.options import build_parser, settings_of
    from examples.lm.run import Run

    size = CHARACTERS[device.type] if case.T > 10 else 20  # of a tiny case
    corpus = load_corpus("default", size)
    runs = {}
    for peer, backend in {BASE: "reference", "ours": ours_backend(device), "reference": "reference"}.items():
        arguments = {
            "--cell": case.cell, "--backend": backend, "--hidden": case.H, "--layers": case.L, "--steps": case.T,
            "--batch-size": case.B, "--device": device,
        }  # fmt: skip
        settings = settings_of(build_parser().parse_args([str(part) for pair in arguments.items() for part in pair]))
        run = Run(settings, corpus)
        runs[peer] = _with_torch_nn(run) if peer == BASE else run
    calls = {peer: lambda run=run: run.train_epoch(lambda _: None) for peer, run in runs.items()}
    rounds, warmup = max(1, options.rounds // 3), min(1, options.warmup)
    rows = timed_rows(calls, device, BASE, rounds=rounds, warmup=warmup)
    for row in rows:
        run = runs[row["peer"]]
        row["perplexity"], row["characters_per_s"] = run.perplexity[0], run.characters_per_epoch / row["median_s"]
    return rows

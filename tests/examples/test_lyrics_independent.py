"""The lyrics program's curve is that of a loop written anew from the experiment's definition: torch.nn, one-hot, float64."""

import math
import random

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, one_hot

from examples.lm.corpus import load_corpus
from examples.lm.options import build_parser, settings_of
from examples.lm.run import Run

BATCH, STEPS, HIDDEN, EPOCHS, LR, CLIP = 3, 7, 16, 3, 100, 0.01


class ResetBefore(nn.Module):
    """The GRU of Cho et al., (R * H) W, gate by gate; torch.nn has none."""

    def __init__(self, inputs):
        super().__init__()
        self.weight_ih_l0 = nn.Parameter(torch.empty(3 * HIDDEN, inputs))
        self.weight_hh_l0 = nn.Parameter(torch.empty(3 * HIDDEN, HIDDEN))
        self.bias_ih_l0 = nn.Parameter(torch.empty(3 * HIDDEN))
        self.bias_hh_l0 = nn.Parameter(torch.empty(3 * HIDDEN))

    def forward(self, x, state):
        h = x.new_zeros(x.shape[1], HIDDEN) if state is None else state
        w, u, b = self.weight_ih_l0.split(HIDDEN), self.weight_hh_l0.split(HIDDEN), self.bias_ih_l0.split(HIDDEN)
        outputs = []
        for x_t in x:
            r = torch.sigmoid(x_t @ w[0].T + h @ u[0].T + b[0])
            z = torch.sigmoid(x_t @ w[1].T + h @ u[1].T + b[1])
            n = torch.tanh(x_t @ w[2].T + (r * h) @ u[2].T + b[2])
            h = z * h + (1 - z) * n
            outputs.append(h)
        return torch.stack(outputs), h


CELLS = {
    "rnn": lambda inputs: nn.RNN(inputs, HIDDEN),
    "gru": lambda inputs: nn.GRU(inputs, HIDDEN),
    "gru-before": ResetBefore,
    "lstm": lambda inputs: nn.LSTM(inputs, HIDDEN),
}


def detached(state):
    return tuple(part.detach() for part in state) if isinstance(state, tuple) else state.detach()


def curve_of(text, cell, start):
    """Train on `text` from the weights `start`; return the perplexity of each epoch."""
    characters = sorted(set(text))
    ids = torch.tensor([characters.index(character) for character in text])
    net, head = CELLS[cell](len(characters)).double(), nn.Linear(HIDDEN, len(characters)).double()
    with torch.no_grad():
        for module, prefix in ((net, "recurrent."), (head, "head.")):
            for name, parameter in module.named_parameters():
                parameter.copy_(start[prefix + name])
    trained = [p for name, p in [*net.named_parameters(), *head.named_parameters()] if name != "bias_hh_l0"]
    length = len(ids) // BATCH
    rows = [ids[k * length : (k + 1) * length] for k in range(BATCH)]
    curve = []
    for _ in range(EPOCHS):
        state, losses, at = None, [], 0
        while at + STEPS < length:
            x = torch.stack([row[at : at + STEPS] for row in rows], 1)
            y = torch.stack([row[at + 1 : at + STEPS + 1] for row in rows], 1)
            output, state = net(one_hot(x, len(characters)).double(), state)
            state = detached(state)
            loss = cross_entropy(head(output).transpose(1, 2), y)
            gradients = torch.autograd.grad(loss, trained)
            norm = math.sqrt(sum((g**2).sum().item() for g in gradients))
            with torch.no_grad():
                for parameter, gradient in zip(trained, gradients, strict=True):
                    parameter -= LR * gradient * min(1.0, CLIP / norm)
            losses.append(loss.item())
            at += STEPS
        curve.append(math.exp(sum(losses) / len(losses)))
    return curve


@pytest.mark.parametrize("backend", ["reference", "auto"])
@pytest.mark.parametrize("cell", CELLS)
def test_the_curve_is_that_of_an_independent_loop(tmp_path, cell, backend):
    text = "".join(random.Random(1).choices("风花雪月山水云天春秋分开不", k=40)) * 15
    (tmp_path / "song.txt").write_text(text, encoding="utf-8")
    options = ["--hidden", HIDDEN, "--batch-size", BATCH, "--steps", STEPS, "--cell", cell, "--backend", backend]
    options += ["--corpus", tmp_path / "song.txt", "--device", "cpu"]
    settings = settings_of(build_parser().parse_args([str(option) for option in options]))
    run = Run(settings, load_corpus(settings.corpus, settings.max_chars))
    weights = {name: value.double() for name, value in run.model.state_dict().items()}
    expected = curve_of(text, cell, weights)
    for _ in range(EPOCHS):
        run.train_epoch(lambda characters: None)
    assert expected[-1] < 0.95 * expected[0]  # it learns: the numbers are not those of a standing start
    assert run.perplexity == pytest.approx(expected, rel=1e-5)  # float32 against float64: 2e-7 was seen

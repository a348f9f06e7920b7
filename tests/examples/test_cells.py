"""The cells side by side: all learn, in the order of the published figures, as plain loops over torch.nn do."""

import pytest
import torch
from example_runs import corpus_of, run_example
from torch import nn

from examples.cells import main
from examples.experiments.cells import CELLS, SAMPLINGS
from examples.lm.options import build_parser, settings_of
from examples.lm.run import Run

TINY = ["--hidden", "9", "--batch-size", "3", "--steps", "7"]


@pytest.fixture(scope="module")
def metrics(tmp_path_factory) -> dict:
    metrics = run_example(main, tmp_path_factory.mktemp("cells"))
    assert set(metrics["figures"]) >= {"perplexity.png"}
    return metrics


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_every_cell_begins_with_nothing_and_learns(metrics, sampling):
    results = metrics["results"]
    for cell in CELLS:
        curve = results["perplexity"][f"{cell}, {sampling}"]
        assert len(curve) == 30
        assert results["frequencies"] < curve[0] < results["vocabulary"]
        assert curve[-1] < 0.9 * results["frequencies"]


@pytest.mark.parametrize("sampling", SAMPLINGS)
def test_the_lstm_learns_more_slowly_than_the_grus_as_published(metrics, sampling):
    last = {cell: metrics["results"]["perplexity"][f"{cell}, {sampling}"][-1] for cell in CELLS}
    assert last["gru"] < 0.9 * last["lstm"]
    assert last["gru-before"] < 0.9 * last["lstm"]


def test_the_samplings_and_the_cells_differ(metrics):
    assert len({tuple(curve) for curve in metrics["results"]["perplexity"].values()}) == 8


def test_bands_of_the_published_text_stand_beside_no_other(metrics):
    assert [row["run"] for row in metrics["table"]] == [
        f"{cell}, {sampling}" for sampling in SAMPLINGS for cell in CELLS
    ]
    assert all(row["band from"] is None for row in metrics["table"])


def test_the_conclusion_tells_the_measured_numbers(metrics):
    curves = metrics["results"]["perplexity"]
    assert f"consecutive sampling reached rnn {curves['rnn, consecutive'][-1]:.4g}, gru" in metrics["conclusion"]
    best = min(curves, key=lambda name: curves[name][-1])
    assert f"The lowest is {best}." in metrics["conclusion"]


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize(
    ("cell", "torch_cell"), [("rnn", nn.RNN), ("gru", nn.GRU), ("lstm", nn.LSTM)], ids=["rnn", "gru", "lstm"]
)
def test_the_curve_is_that_of_a_plain_loop_over_torch_nn(cell, torch_cell, layers):
    text = "春眠不觉晓处处闻啼鸟夜来风雨声花落知多少床前明月光疑是地上霜举头望明月低头思故乡" * 3
    corpus = corpus_of(text)
    settings = settings_of(
        build_parser().parse_args([*TINY, "--cell", cell, "--layers", str(layers), "--init", "xavier"])
    )
    run = Run(settings, corpus)
    size = len(corpus.vocabulary)
    theirs = torch_cell(size, 9, layers)
    theirs.load_state_dict(run.model.recurrent.state_dict())
    head = nn.Linear(9, size)
    head.load_state_dict(run.model.head.state_dict())
    parameters = [*(p for name, p in theirs.named_parameters() if "bias_hh" not in name), *head.parameters()]
    optimizer = torch.optim.SGD(parameters, lr=100)
    rows = corpus.ids[: len(text) // 3 * 3].view(3, -1)
    expected = []
    for _ in range(3):
        state, losses = None, []
        for start in range(0, rows.shape[1] - 7, 7):
            one_hot = nn.functional.one_hot(rows[:, start : start + 7].t(), size).float()
            output, state = theirs(one_hot, state)
            state = tuple(s.detach() for s in state) if cell == "lstm" else state.detach()
            labels = rows[:, start + 1 : start + 8].t()
            loss = nn.functional.cross_entropy(head(output).flatten(0, 1), labels.flatten())
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, 0.01)
            optimizer.step()
            losses.append(loss.item())
        expected.append(torch.tensor(losses).mean().exp().item())
        run.train_epoch(lambda characters: None)
    assert run.perplexity == pytest.approx(expected, rel=1e-3)
    assert expected[-1] < 0.95 * expected[0]


@pytest.mark.parametrize("cell", ["gru", "gru-before", "lstm"])
def test_the_kernels_give_the_reference_s_curve(cell):
    corpus = corpus_of("abcdefgh" * 2)
    small = ["--hidden", "5", "--batch-size", "2", "--steps", "3"]
    curves = []
    for backend in ("reference", "triton"):
        run = Run(settings_of(build_parser().parse_args([*small, "--cell", cell, "--backend", backend])), corpus)
        for _ in range(2):
            run.train_epoch(lambda characters: None)
        curves.append(run.perplexity)
    assert curves[1] == pytest.approx(curves[0], rel=1e-4)


def test_six_layers_start_with_other_weights_where_asked(tmp_path):
    def spread(*options: str) -> torch.Tensor:
        model = Run(
            settings_of(build_parser().parse_args(["--hidden", "100", *options])), corpus_of("abcd" * 400)
        ).model
        return torch.stack([p.std() for name, p in model.named_parameters() if "weight" in name])

    assert spread().tolist() == pytest.approx([0.01] * 3, rel=0.1)
    assert spread("--init", "xavier").tolist() == pytest.approx([0.1, 0.1, 0.01], rel=0.1)

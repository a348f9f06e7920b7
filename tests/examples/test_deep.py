"""A plain RNN of six layers learns only the frequencies of the characters, and its gradients show why."""

import math

import pytest
import torch
from example_runs import corpus_of, run_example
from torch.nn.functional import cross_entropy

from examples.deep import main
from examples.flow.deep import measure
from examples.lm.compare import frequency_perplexity
from examples.lm.options import build_parser, settings_of
from examples.lm.run import Run

TINY = ["--hidden", "5", "--layers", "2", "--batch-size", "2", "--steps", "4"]


@pytest.fixture(scope="module")
def metrics(tmp_path_factory) -> dict:
    metrics = run_example(main, tmp_path_factory.mktemp("deep"))
    assert set(metrics["figures"]) >= {"perplexity.png", "why.png"}
    return metrics


def test_six_plain_layers_stay_at_the_frequencies(metrics):
    curves, frequencies = metrics["results"]["perplexity"], metrics["results"]["frequencies"]
    assert curves["rnn, 6 layers"][-1] == pytest.approx(frequencies, rel=0.08)
    assert curves["rnn, 1 layer"][-1] < frequencies / 4
    assert curves["rnn, 2 layers"][-1] < frequencies / 2
    assert curves["rnn, 6 layers, Xavier"][-1] < frequencies / 2


def test_a_plain_layer_passes_on_what_theory_says_and_xaviers_nearly_all(metrics):
    gain = 0.01 * math.sqrt(24)
    plain, xavier = (metrics["results"]["reach"][f"rnn, 6 layers{init}"] for init in ("", ", Xavier"))
    for lower, upper in zip(plain["signal"][:-1], plain["signal"][1:], strict=True):
        assert upper / lower == pytest.approx(gain, rel=0.35)  # 24 is not a wide layer
    for lower, upper in zip(plain["gradient"][:-1], plain["gradient"][1:], strict=True):
        assert lower / upper == pytest.approx(gain, rel=0.35)
    assert plain["weights"][0] < 1e-6 * plain["head"]
    assert xavier["weights"][0] > 0.05 * xavier["head"]
    assert xavier["signal"][-1] > 0.2


def test_the_gradient_fades_with_layers_and_with_steps(metrics):
    back = torch.tensor(metrics["results"]["reach"]["rnn, 6 layers"]["back"])
    assert back.shape == (6, 15)
    assert (back[1:, 0] > 10 * back[:-1, 0]).all()
    assert back[4, 0] > 10 * back[4, 1] > 100 * back[4, 2] > 0
    assert not back[5, 1:].any()  # nothing reads the top layer's earlier outputs


def test_the_conclusion_tells_the_measured_numbers(metrics):
    assert f"{metrics['results']['perplexity']['rnn, 6 layers'][-1]:.4g} with 6 layers" in metrics["conclusion"]
    assert metrics["conclusion"].endswith("no more: rnn for all epochs.")


def test_frequencies_alone_give_the_exponential_of_the_entropy():
    assert frequency_perplexity(corpus_of("abcd" * 5)) == pytest.approx(4)
    assert frequency_perplexity(corpus_of("aab")) == pytest.approx(3 / 4 ** (1 / 3))


@pytest.mark.parametrize("cell", ["rnn", "gru", "gru-before", "lstm"])
def test_what_is_measured_is_what_training_sees(cell):
    settings = settings_of(build_parser().parse_args([*TINY, "--cell", cell, "--init", "xavier"]))
    model = Run(settings, corpus_of("abcdefgh" * 4)).model
    inputs, labels = torch.randint(8, (2, 4, 2))
    found = measure(model, inputs, labels)
    scores, _ = model(inputs)
    cross_entropy(scores.flatten(0, 1), labels.flatten()).backward()
    assert found.head == pytest.approx(model.head.bias.grad.norm().item(), rel=1e-5)
    for layer in range(2):
        by_name = [p.grad for name, p in model.named_parameters() if name.endswith(f"_l{layer}") and p.requires_grad]
        expected = torch.cat([gradient.flatten() for gradient in by_name]).norm()
        torch.testing.assert_close(found.weights[layer], expected)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_every_backend_gives_the_same_curve_and_the_same_gradients(cell):
    corpus = corpus_of("abcdefgh" * 2)
    runs, found = {}, {}
    for backend in ("reference", "aten", "triton"):
        settings = settings_of(build_parser().parse_args([*TINY, "--cell", cell, "--backend", backend]))
        runs[backend] = Run(settings, corpus)
        inputs, labels = torch.arange(16).view(2, 4, 2) % 8
        found[backend] = measure(runs[backend].model, inputs, labels)
        for _ in range(2):
            runs[backend].train_epoch(lambda characters: None)
    for backend in ("aten", "triton"):
        assert runs[backend].perplexity == pytest.approx(runs["reference"].perplexity, rel=1e-5)
        for got, expected in zip(found[backend], found["reference"], strict=True):
            torch.testing.assert_close(got, expected, rtol=1e-4, atol=0)

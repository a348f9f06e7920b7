"""Vanishing and exploding gradients: what is measured agrees with theory, and every backend measures the same."""

import math

import pytest
import torch
from example_runs import run_example
from torch.autograd.functional import jacobian

from examples.experiments.gradients import QUICK
from examples.flow import layers, mean_field, symmetry
from examples.flow import time as through_time
from examples.flow.activations import ACTIVATIONS
from examples.flow.initial import VARIANCE, gain, initial_weight
from examples.flow.recurrent import CASES, Case, Net
from examples.gradients import main

PAIRS = [f"{activation}, {initialisation}" for activation in ACTIVATIONS for initialisation in VARIANCE]
SMALL = {"steps": 8, "stride": 2, "hidden": 5, "batch": 3, "seed": 1}


@pytest.fixture(scope="module")
def metrics(tmp_path_factory) -> dict:
    metrics = run_example(main, tmp_path_factory.mktemp("gradients"))
    assert set(metrics["figures"]) >= {"depth.png", "singular.png", "time.png", "training.png"}
    return metrics


@pytest.fixture(scope="module")
def results(metrics) -> dict:
    return metrics["results"]


@pytest.mark.parametrize("pair", PAIRS)
def test_the_gradient_at_every_layer_is_what_theory_says(results, pair):
    measured, theory = (torch.tensor(results["depth"][pair][name]).log10() for name in ("gradient", "theory"))
    assert len(measured) == 13
    assert (measured - theory).abs().max() < 0.25  # a sample of one net 96 wide; the gradients span 20 decades


def test_each_activation_keeps_its_gradient_with_the_initialisation_made_for_it(results):
    end = {pair: results["depth"][pair]["gradient"][0] for pair in PAIRS}
    assert 0.5 < end["relu, he"] < 2
    assert 0.7 < end["linear, xavier"] < 1.4
    assert end["relu, xavier"] < 2**-6 * 2  # a half is lost in every layer
    assert end["sigmoid, xavier"] < 4.0**-12
    assert all(end[f"{activation}, normal"] < 1e-11 for activation in ACTIVATIONS)


def test_orthogonal_weights_keep_every_singular_value_and_normal_ones_do_not(results):
    for end in ("largest", "least"):
        assert results["depth"]["linear, orthogonal"]["singular"][end] == pytest.approx([1] * 13, abs=1e-12)
    xavier = results["depth"]["linear, xavier"]["singular"]
    assert xavier["least"][0] < 1e-9
    for distance in (1, 2, 4):
        edge = mean_field.largest_singular_value(1.0, distance)
        assert xavier["largest"][12 - distance] == pytest.approx(edge, rel=0.15)  # 96 is not infinitely wide
    tanh = results["depth"]["tanh, orthogonal"]["singular"]
    assert max(tanh["largest"]) <= 1 + 1e-12  # a slope of at most 1


def test_theory_has_the_closed_forms_of_the_papers():
    assert mean_field.gradient_gains("relu", 2.0, 3).tolist() == pytest.approx([1] * 3)  # He et al.
    assert mean_field.gradient_gains("linear", 0.7, 3).tolist() == pytest.approx([0.7] * 3)  # Glorot & Bengio
    assert mean_field.gradient_gains("sigmoid", 1.0, 3).max() < 1 / 16
    assert mean_field.gradient_gains("tanh", 1e-6, 1).item() == pytest.approx(1e-6, rel=1e-4)
    assert mean_field.largest_singular_value(1.0, 1) == 2  # Marchenko & Pastur


@pytest.mark.parametrize("initialisation", VARIANCE)
def test_weights_have_the_variance_that_theory_reckons_with(initialisation):
    weight = initial_weight(initialisation, 200, torch.Generator().manual_seed(0))
    assert weight.pow(2).mean().item() * 200 == pytest.approx(gain(initialisation, 200), rel=0.02)


def test_singular_values_are_those_of_the_jacobian():
    generator = torch.Generator().manual_seed(3)
    flow = layers.measure("tanh", "xavier", width=7, depth=3, batch=2, generator=generator)
    generator.manual_seed(3)
    weights = [initial_weight("xavier", 7, generator) for _ in range(3)]
    first = torch.randn(2, 7, generator=generator, dtype=torch.float64)[0]

    def network(h):
        for weight in weights:
            h = torch.tanh(weight @ h)
        return h

    torch.testing.assert_close(flow.singular[0], torch.linalg.svdvals(jacobian(network, first)))
    assert flow.gradient.shape == (4,)


def test_weights_that_start_alike_never_differ_and_learn_as_one_unit(results):
    zero, constant, random = (results["symmetry"][start] for start in symmetry.STARTS)
    assert zero["spread"] == 0
    assert constant["spread"] < 1e-9 < 0.5 < random["spread"]
    assert zero["loss"][-1] == pytest.approx(zero["variance"], rel=0.01)
    assert random["loss"][-1] < constant["loss"][-1] / 3


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.cell == "rnn"])
def test_the_plain_rnn_stays_below_its_bound_and_near_its_estimate(results, name):
    decay = results["time"][name]
    assert decay["worst"] < 1
    assert all(bound >= measured for bound, measured in zip(decay["bound"], decay["measured"], strict=True))
    assert decay["measured"][0] == pytest.approx(0, abs=1e-12)
    if "orthogonal" in name:  # else the estimate is for the long run
        assert decay["measured"] == pytest.approx(decay["theory"], abs=0.2)
    assert decay["measured"][-1] == pytest.approx(decay["theory"][-1], rel=0.12)


def test_a_spectral_radius_above_one_explodes_and_below_one_vanishes(results):
    last = {name: decay["measured"][-1] for name, decay in results["time"].items()}
    assert last["RNN, W_hh 2 x orthogonal"] > 2
    assert last["RNN, W_hh 0.9 x orthogonal"] < -3
    assert results["time"]["RNN, W_hh 0.9 x orthogonal"]["bound"][-1] <= 40 * math.log10(0.9)


def test_open_gates_keep_what_the_plain_rnn_and_half_open_gates_lose(results):
    last = {name: decay["measured"][-1] for name, decay in results["time"].items()}
    for cell in ("GRU", "LSTM"):
        assert last[f"{cell}, gate bias 4"] > -0.6
        assert last[f"{cell}, as torch.nn starts it"] < -6
        kept = results["time"][f"{cell}, gate bias 4"]["theory"][-1]
        assert last[f"{cell}, gate bias 4"] == pytest.approx(kept, abs=0.3)
    assert last["RNN, as torch.nn starts it"] < -9


def test_clipping_bounds_the_step_and_training_succeeds(results):
    clipping = results["clipping"]
    clipped, unclipped = clipping["clipped"], clipping["unclipped"]
    assert max(clipped["step"]) <= clipping["lr"] * clipping["threshold"] * (1 + 1e-9)
    assert max(clipped["gradient"]) > 20 * clipping["threshold"]  # there was something to clip
    assert max(map(float, unclipped["step"])) > 1000 * max(clipped["step"])
    assert sum(clipped["loss"][-20:]) / 20 < 0.2 < 1 < float(unclipped["loss"][-1])


def test_the_conclusion_tells_the_measured_numbers(metrics):
    results = metrics["results"]
    for number in (
        f"keeps {results['depth']['relu, he']['gradient'][0]:.2g} with ReLU and He",
        f"the plain RNN keeps {10 ** results['time']['RNN, as torch.nn starts it']['measured'][-1]:.0e}",
        f"{max(results['clipping']['clipped']['step']):.3f} clipped",
    ):
        assert number in metrics["conclusion"]


def test_the_gradient_through_time_is_that_of_one_uncut_graph():
    torch.manual_seed(SMALL["seed"])
    net = Net(Case("rnn"), 8, SMALL["hidden"], "reference")
    x = torch.randn(SMALL["steps"], SMALL["batch"], 8, dtype=torch.float64)
    direction = torch.nn.functional.normalize(torch.randn(3, 5, dtype=torch.float64), dim=1)
    w_ih, w_hh, b_ih, b_hh = net.layer.all_weights[0]
    states = [torch.zeros(3, 5, dtype=torch.float64, requires_grad=True)]
    for x_t in x:
        states.append(torch.tanh(x_t @ w_ih.t() + b_ih + states[-1] @ w_hh.t() + b_hh))
    gradients = torch.autograd.grad((direction * states[-1]).sum(), states)
    expected = torch.stack([gradient.norm(dim=1).log10().mean() for gradient in reversed(gradients)])[::2]
    torch.testing.assert_close(through_time.measure(Case("rnn"), "reference", **SMALL).measured, expected)


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_every_backend_gives_the_same_curve_from_the_same_seed(cell):
    expected = through_time.measure(Case(cell, gate_bias=None if cell == "rnn" else 2.0), "reference", **SMALL)
    for backend in ("aten", "triton"):
        got = through_time.measure(Case(cell, gate_bias=None if cell == "rnn" else 2.0), backend, **SMALL)
        torch.testing.assert_close(got.measured, expected.measured, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(got.theory, expected.theory, rtol=1e-9, atol=1e-9)


def test_a_backend_that_is_not_there_is_one_line_of_error(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert main(["--quick", "--backend", "triton", "--out", str(tmp_path)]) == 2
    assert "gradients.py: error: backend 'triton' cannot serve this call" in capsys.readouterr().err.splitlines()[-1]


def test_help_has_the_sizes_of_quick(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    assert f"{QUICK.depth} layers, {QUICK.steps} steps" in " ".join(capsys.readouterr().out.split())

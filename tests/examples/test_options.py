"""What the command line says reaches what runs: --backend and --seed of every experiment that has a use for them."""

import importlib

import pytest
import torch

from examples.flow.recurrent import LAYERS
from fusedrnn.backends import dispatch, pointwise


class SeenError(Exception):
    """Carries what the experiment was about to use, and ends it there."""


def raising(pick):
    def spy(*args, **options):
        raise SeenError(pick(*args, **options))

    return spy


def seen(name, out, *options):
    with pytest.raises(SeenError) as caught:
        importlib.import_module(f"examples.{name}").main(["--quick", "--out", str(out), *options])
    return caught.value.args[0]


@pytest.mark.parametrize("backend", ["reference", "aten"])
@pytest.mark.parametrize(
    "name",
    ["bidirectional", "cells", "deep", "dropin", "dropout_mlp", "episodes", "gradients", "lyrics", "regularised"],
)
def test_the_backend_is_the_one_that_was_asked_for(name, backend, tmp_path, monkeypatch):
    for asker in (dispatch, pointwise):
        monkeypatch.setattr(asker, "requested", raising(lambda name, eager=False: name))
    monkeypatch.setattr("examples.lm.run.build_model", raising(lambda settings, size: settings.backend))
    monkeypatch.setitem(LAYERS, "rnn", raising(lambda *sizes, backend: backend))
    more = ("--data", "digits") if name == "dropout_mlp" else ()
    assert seen(name, tmp_path, "--backend", backend, *more) == backend


FIRST = {  # what is first made from the seed, and how the seed is found in it
    "bidirectional": ("torch.manual_seed", lambda seed: seed),
    "dropin": ("torch.manual_seed", lambda seed: seed),
    "episodes": ("torch.manual_seed", lambda seed: seed),
    "regularised": ("torch.manual_seed", lambda seed: seed),
    "lyrics": ("torch.manual_seed", lambda seed: seed),
    "cells": ("torch.manual_seed", lambda seed: seed),
    "deep": ("torch.manual_seed", lambda seed: seed),
    "house_prices": ("examples.experiments.house_prices.fit_fold", lambda houses, k, folds, seed: seed),
    "weight_decay": ("examples.experiments.weight_decay.train", lambda seed, lamda, way: seed),
    "environment_shift": ("examples.experiments.environment_shift.study", lambda world, seed: seed),
}


@pytest.mark.parametrize("name", FIRST)
def test_the_seed_is_the_one_that_was_asked_for(name, tmp_path, monkeypatch):
    target, pick = FIRST[name]
    monkeypatch.setattr(target, raising(pick))
    assert seen(name, tmp_path, "--seed", "4711") == 4711


def test_the_same_generator_seed_decides_what_two_directions_are_examined_on(tmp_path, monkeypatch):
    found = []
    original = torch.Generator.manual_seed
    monkeypatch.setattr(
        "examples.experiments.bidirectional.train", lambda model, source, *, generator, **more: found.append(generator)
    )
    monkeypatch.setattr(
        "examples.experiments.bidirectional.examine", raising(lambda *args, generator, **more: generator)
    )
    generator = seen("bidirectional", tmp_path, "--seed", "5")
    assert generator is found[0]
    assert torch.equal(generator.get_state(), original(torch.Generator(), 5).get_state())

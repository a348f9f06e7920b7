"""The experiments on the published data, against what plain PyTorch code gave on it: minutes each, and only where the data are.

FUSEDRNN_HOUSES=DIR pytest -m slow tests/examples/test_published_data.py      # DIR has Kaggle's train.csv and test.csv
FUSEDRNN_FASHION=DIR pytest -m slow tests/examples/test_published_data.py     # DIR has Fashion-MNIST's four files
"""

import json
import os

import pytest

from examples import dropout_mlp, house_prices

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def folder(name):
    if name not in os.environ:
        pytest.skip(f"{name} names no folder with the published data")
    return os.environ[name]


def metrics_of(main, out, *options):
    assert main([*options, "--out", str(out)]) == 0
    return json.loads((out / "metrics.json").read_text(encoding="utf-8"))


def test_house_prices(tmp_path):
    metrics = metrics_of(house_prices.main, tmp_path, "--data", folder("FUSEDRNN_HOUSES"))
    assert metrics["data"].startswith("Kaggle's files, 1460 + 1459 houses")
    assert metrics["data_is_fallback"] is False
    results = metrics["results"]
    assert results["features"] == 330
    assert results["train"] == pytest.approx(0.1655, abs=3e-4)
    assert results["valid"] == pytest.approx(0.1704, abs=5e-4)
    assert results["valid, sqrt(2 MSE)"] == pytest.approx(0.2408, abs=1e-3)


def test_dropout_on_fashion_mnist(tmp_path):
    metrics = metrics_of(dropout_mlp.main, tmp_path, "--data", folder("FUSEDRNN_FASHION"))
    assert metrics["data_is_fallback"] is False
    for way in ("from scratch", "fused", "torch.nn"):
        last = metrics["results"]["published"][way]
        assert 0.84 < last["train"] < 0.855
        assert 0.78 < last["test"] < 0.855
    scarce = metrics["results"]["few images"]
    assert scarce["dropout"]["test"] > scarce["no dropout"]["test"]

"""The dropout experiment's claims on --quick with scikit-learn's digits; the implementations; where images come from."""

import gzip
import hashlib
import io
from pathlib import Path

import pytest
import requests
import torch
from example_runs import run_example

from examples.common.errors import UserError
from examples.dropout_mlp import main
from examples.experiments.dropout_mlp import DROP, WAYS
from examples.mlp import data, fashion
from examples.mlp.models import build
from examples.mlp.training import Plan, judge, train


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return run_example(main, tmp_path_factory.mktemp("dropout"), "--data", "digits")


def test_every_implementation_reaches_the_accuracy(run):
    published = run["results"]["published"]
    for way in ("from scratch", "torch.nn", "fused"):
        assert 0.87 < published[way]["test"] < 0.95, way
        assert published[way]["train"] > 0.95, way


def test_fused_and_scratch_give_the_same_curve(run):
    assert run["results"]["gap between scratch and fused"] < 1e-4
    published = run["results"]["published"]
    assert published["fused"]["test by epoch"] == pytest.approx(published["from scratch"]["test by epoch"], abs=0.003)
    assert published["torch.nn"]["test by epoch"] == pytest.approx(
        published["from scratch"]["test by epoch"], abs=0.003
    )


def test_dropout_brings_nothing_on_many_images_and_something_on_few(run):
    results = run["results"]
    assert results["published"]["torch.nn"]["test"] < results["published"]["no dropout"]["test"] + 0.02
    dropped, kept = results["few images"]["dropout"], results["few images"]["no dropout"]
    assert kept["fitted"] > 0.99  # there is overfitting to prevent
    assert dropped["test"] > kept["test"] + 0.005
    assert dropped["test loss"] < 0.9 * kept["test loss"]


def test_digits_are_no_fashion_and_say_so(run):
    assert run["data_is_fallback"] is True
    assert "scikit-learn's 1,797 digits" in run["data"]


@pytest.fixture(scope="module")
def digits():
    return data.digits()


@pytest.mark.parametrize("backend", ["auto", "reference", "aten", "triton"])
def test_every_backend_trains_as_the_scratch_net_does(digits, backend):
    few = digits.some(75, seed=1)
    plan = Plan(images=75, epochs=2, batch=33)
    ways = ("from scratch", "fused")
    scratch, fused = (train(build(way, 64, DROP, backend, 0), few, 5, plan, way) for way in ways)
    assert fused.test_loss == pytest.approx(scratch.test_loss, rel=1e-5)
    assert fused.train == scratch.train


@pytest.mark.parametrize("way", ["from scratch", "torch.nn", "fused"])
def test_dropout_drops_in_training_only_and_as_often_as_asked(digits, way):
    model = build(way, 64, (0.0, 0.5), "auto", 0)
    images = digits.train[:50]
    assert judge(model, images, digits.train_labels[:50]) == judge(model, images, digits.train_labels[:50])
    model.train()
    assert not torch.equal(model(images), model(images))
    *_, w3 = (p for p in model.parameters() if p.dim() == 2)
    with torch.no_grad():
        for parameter in model.parameters():  # make the second hidden layer 1, and sum what is left of it
            parameter.zero_()
        biases = [p for p in model.parameters() if p.dim() == 1]
        biases[1].fill_(1.0)
        w3.fill_(1.0)
        kept = model(images)[:, 0] / 2 / 256  # survivors count double
        model.eval()
        assert torch.equal(model(images)[:, 0], torch.full((50,), 256.0))
    assert kept.mean() == pytest.approx(0.5, abs=0.02)  # 12,800 draws: a standard deviation of 0.004


@pytest.mark.parametrize("way", ["from scratch", "torch.nn", "fused"])
def test_no_gradient_flows_where_the_sum_is_exactly_zero(way):
    model = build(way, 4, (0.0, 0.0), "auto", 0).train()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.fill_(0.5 if parameter.dim() == 2 else 0.0)
    model(torch.zeros(3, 4)).sum().backward()  # every hidden unit sits on the corner of max(., 0)
    first = next(p for p in model.parameters() if p.dim() == 1)
    assert first.grad.abs().max() == 0


def test_weights_are_small_equal_in_all_three_and_biases_zero():
    states = [[p.detach() for p in build(way, 64, DROP, "auto", 7).parameters()] for way in ("torch.nn", "fused")]
    matrices = [[p for p in state if p.dim() == 2] for state in states]
    for one, other in zip(*matrices, strict=True):
        assert torch.equal(one, other)
        assert one.std() == pytest.approx(0.01, rel=0.1)
    assert not any(p.any() for state in states for p in state if p.dim() == 1)


def idx(name: str) -> bytes:
    """Five images in the files' format: pixels count up, labels are 0 to 4."""
    return bytes(16) + bytes(range(256)) * 15 + bytes(80) if "images" in name else bytes(8) + bytes(range(5))


@pytest.fixture
def miniature(monkeypatch):
    """Let five images be Fashion-MNIST."""
    monkeypatch.setattr(fashion, "SHA256", {name: hashlib.sha256(idx(name)).hexdigest() for name in fashion.SHA256})


def filled(folder: Path, zipped: bool) -> Path:
    for name in fashion.SHA256:
        if zipped:
            (folder / f"{name}.gz").write_bytes(gzip.compress(idx(name)))
        else:
            (folder / name).write_bytes(idx(name))
    return folder


@pytest.mark.parametrize("zipped", [False, True], ids=["plain", "zipped"])
def test_a_folder_gives_pixels_from_0_to_1_and_labels(tmp_path, miniature, zipped):
    images, source = data.load_images(str(filled(tmp_path, zipped)))
    assert source.is_fallback is False
    assert images.train.shape == images.test.shape == (5, 784)
    assert images.train[0, :256].tolist() == pytest.approx([number / 255 for number in range(256)])
    assert images.train_labels.tolist() == images.test_labels.tolist() == [0, 1, 2, 3, 4]
    assert images.train_labels.dtype == torch.int64


def test_debian_s_folder_is_used_where_it_is(tmp_path, miniature, monkeypatch):
    monkeypatch.setattr(fashion, "DEBIAN", filled(tmp_path, zipped=True))
    assert data.load_images("auto")[1].source == f"Fashion-MNIST from {tmp_path}"


def answer(monkeypatch, tmp_path, content):
    """Let the network answer with `content(name)`, or raise it; count what is asked for; keep the cache here."""
    asked = []

    def get(url, **more):
        asked.append(url)
        reply = content(url.rpartition("/")[2].removesuffix(".gz"))
        if isinstance(reply, Exception):
            raise reply
        response = requests.Response()
        response.status_code, response.raw, response.url = 200, io.BytesIO(reply), url
        return response

    monkeypatch.setattr(requests, "get", get)
    monkeypatch.setattr(fashion, "DEBIAN", tmp_path / "none")
    monkeypatch.setattr(fashion.pooch, "os_cache", lambda name: tmp_path / name)
    return asked


def test_a_download_is_unzipped_checked_and_cached(tmp_path, miniature, monkeypatch):
    asked = answer(monkeypatch, tmp_path, lambda name: gzip.compress(idx(name)))
    for _ in range(2):
        images, source = data.load_images("auto")
        assert source.is_fallback is False
        assert images.train_labels.tolist() == [0, 1, 2, 3, 4]
    assert len(asked) == 4
    assert {path.name for path in (tmp_path / "fusedrnn" / "fashion-mnist").iterdir()} == set(fashion.SHA256)


BAD_ANSWERS = {
    "no network": (lambda name: requests.ConnectionError("no route"), "no route"),
    "a page in place of the file": (lambda name: b"<html>", "Not a gzipped file"),
    "another content": (lambda name: gzip.compress(b"other"), "SHA256 hash of downloaded file"),
    "cut": (lambda name: gzip.compress(idx(name))[:-9], "Compressed file ended"),
}


@pytest.mark.parametrize(("reply", "reason"), BAD_ANSWERS.values(), ids=BAD_ANSWERS)
def test_without_the_download_there_are_the_digits_and_the_reason(tmp_path, miniature, monkeypatch, reply, reason):
    answer(monkeypatch, tmp_path, reply)
    images, source = data.load_images("auto")
    assert source.is_fallback is True
    assert images.train.shape == (1437, 64)
    assert "because: expected to download Fashion-MNIST's train-images-idx3-ubyte from http" in source.source
    assert reason in source.source
    assert "\n" not in source.source
    assert not any(path.is_file() for path in tmp_path.rglob("*"))  # nothing wrong is kept


def spoil(folder: Path, content: bytes | None) -> Path:
    filled(folder, zipped=True)
    path = folder / "t10k-labels-idx1-ubyte.gz"
    path.unlink() if content is None else path.write_bytes(content)
    return folder


BAD_FOLDERS = {
    "file missing": (None, r"expected t10k-labels-idx1-ubyte or t10k-labels-idx1-ubyte.gz in .*, got neither"),
    "not zipped": (b"abc", r"expected a sound file, got .*t10k-labels-idx1-ubyte.gz: Not a gzipped file"),
    "cut": (gzip.compress(bytes(99))[:-9], r"expected a sound file, got .*ubyte.gz: Compressed file ended"),
    "another": (
        gzip.compress(b"x"),
        r"expected Fashion-MNIST's t10k-labels-idx1-ubyte \(sha256 \w{12}\), got \w{12} in",
    ),
}


@pytest.mark.parametrize(("content", "message"), BAD_FOLDERS.values(), ids=BAD_FOLDERS)
def test_a_folder_with_other_files_is_a_one_line_error(tmp_path, miniature, capsys, content, message):
    with pytest.raises(UserError, match=message):
        data.load_images(str(spoil(tmp_path, content)))
    assert main(["--data", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.startswith("dropout_mlp.py: error: expected ")


@pytest.mark.parametrize("way", [way for way, drop in WAYS.items() if any(drop)])
def test_the_first_hidden_layer_drops_a_fifth_and_the_second_half(way):
    model = build(way, 64, WAYS[way], "auto", 0).train()
    dropped = []
    with torch.no_grad():
        for parameter in model.parameters():  # every unit positive, so that only dropout makes a zero
            parameter.fill_(1.0)
    if isinstance(model, torch.nn.Sequential):
        for layer in model:
            layer.register_forward_hook(
                lambda layer, given, x: dropped.append(x) if "Dropout" in type(layer).__name__ else None
            )
    else:
        original = model.hidden
        model.hidden = lambda *given: dropped.append(original(*given)) or dropped[-1]
    model(torch.ones(400, 64))
    shares = [(x == 0).double().mean().item() for x in dropped]
    assert shares == pytest.approx([0.2, 0.5], abs=0.01)


def test_a_backend_that_is_not_there_is_one_line_of_error_before_any_training(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr("examples.experiments.dropout_mlp.train", None)
    assert main(["--quick", "--data", "digits", "--backend", "triton", "--out", str(tmp_path)]) == 2
    assert "dropout_mlp.py: error: backend 'triton' cannot serve this call" in capsys.readouterr().err.splitlines()[-1]

"""What the checks of published models say when something is wrong, on a small model without a wheel, an exporter or a network."""

import pytest
import torch
from torch import nn

from fusedrnn import Replacements, replace_rnns, restore_rnns
from tests.published import check as checks
from tests.published.check import check
from tests.published.model import Published
from tests.published.report import table
from tests.published.wheels import Wheel


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.GRU(3, 4, batch_first=True)

    def forward(self, input):
        return self.rnn(input)[0]


SMALL = Published(
    Wheel("small", "1.0", "small-1.0-py3-none-any.whl", "0" * 64),
    what="a test",
    build=lambda archive: Small().eval(),
    inputs=lambda batch, length: torch.randn(batch, length, 3),
    sizes=((1, 5), (2, 7)),
    recurrent={"rnn": "GRU -> FusedGRU"},
)


@pytest.fixture(autouse=True)
def exporter(monkeypatch):
    """In place of ONNX: a file is a copy of the weights and the class, and running it is running a network with them."""

    def export(network, input, *, dynamo):
        return (type(network.rnn), {name: value.clone() for name, value in network.state_dict().items()})

    def run(file, input):
        network = Small()
        network.load_state_dict(file[1])
        return checks.infer(network, input)

    monkeypatch.setattr(checks, "export", export)
    monkeypatch.setattr(checks, "run", run)


def only_failure():
    failures = check(SMALL, None).failures
    assert len(failures) == 1, failures
    return failures[0]


def test_a_model_that_stays_the_same():
    outcome = check(SMALL, None)
    assert outcome.failures == []
    assert (outcome.output, outcome.onnx) == (0, {"TorchScript": (0, 0), "torch.export": (0, 0)})
    assert outcome.gradient < 1e-12


def wrong_after(function, attribute, change):
    """`replace_rnns` or `restore_rnns`, followed by a change of the model."""

    def wrong(model):
        report = function(model)
        change(getattr(model.rnn, attribute))
        return report

    return wrong


def add(value):
    """A change of a parameter, too small to be seen with a tolerance of 1e-6."""
    return lambda parameter: parameter.data.add_(value)


def test_another_output_is_a_failure(monkeypatch):
    monkeypatch.setattr(checks, "replace_rnns", wrong_after(replace_rnns, "bias_hh_l0", add(3e-7)))
    monkeypatch.setattr(checks, "SAME_ONNX", 1)
    monkeypatch.setattr(checks, "SAME_GRADIENT", 1)
    assert only_failure().startswith("small: expected equal outputs, got a difference of ")


def test_an_output_that_is_not_a_number_is_a_failure(monkeypatch):
    infer, factors = checks.infer, iter([1, 1, 1, float("nan")])  # the last is of the second size, after replace_rnns
    monkeypatch.setattr(checks, "infer", lambda network, x: infer(network, x) * next(factors, 1))
    assert only_failure() == "small: expected equal outputs, got a difference of nan"


def test_another_gradient_is_a_failure(monkeypatch):
    gradients, factors = checks.gradients, iter([1, 1 + 1e-6])  # before and after replace_rnns

    def wrong(network, input):
        factor = next(factors)
        return [factor * gradient for gradient in gradients(network, input)]

    monkeypatch.setattr(checks, "gradients", wrong)
    assert only_failure() == "small: expected gradients within 1e-09, got a difference of 1.0e-06"


def test_a_module_that_is_not_replaced_is_a_failure(monkeypatch):
    monkeypatch.setattr(checks, "replace_rnns", lambda model: Replacements())
    failures = check(SMALL, None).failures
    assert failures[0] == "small: expected {'rnn': 'GRU -> FusedGRU'} replaced, got: no recurrent modules"


def test_another_name_in_the_state_dict_is_a_failure(monkeypatch):
    def replace(model):
        model.register_buffer("more", torch.zeros(1))
        return replace_rnns(model)

    def restore(model):
        del model.more
        return restore_rnns(model)

    monkeypatch.setattr(checks, "replace_rnns", replace)
    monkeypatch.setattr(checks, "restore_rnns", restore)
    assert only_failure() == "small: expected replace_rnns to keep the names of the state_dict"


def test_a_module_that_is_not_restored_is_a_failure(monkeypatch):
    monkeypatch.setattr(checks, "restore_rnns", lambda model: Replacements())
    assert only_failure() == "small: expected ['rnn'] restored, got: no recurrent modules"


def test_another_file_after_restoring_is_a_failure(monkeypatch):
    monkeypatch.setattr(checks, "restore_rnns", wrong_after(restore_rnns, "bias_hh_l0", add(3e-7)))
    failures = check(SMALL, None).failures
    assert [line.partition(" to run")[0] for line in failures] == [
        "small: expected TorchScript's file",
        "small: expected torch.export's file",
    ]


def test_a_file_that_is_not_like_torch_is_a_failure(monkeypatch):
    monkeypatch.setattr(checks, "run", lambda *_: torch.ones(1, 5, 4))
    failures = check(SMALL, None).failures
    assert len(failures) == 2
    assert "file to run as torch within 1e-05, got" in failures[0]


@pytest.mark.parametrize("times", [1, 2], ids=["the original", "the restored model"])
def test_exporting_only_once_is_a_failure(times, monkeypatch):
    seen = []

    def export(network, input, *, dynamo):
        seen.append(dynamo)
        return None if dynamo and seen.count(True) == times else (None, network.state_dict())

    monkeypatch.setattr(checks, "export", export)
    assert only_failure().startswith(
        "small: expected torch.export to export the restored model as well as the original"
    )


def test_an_exporter_that_cannot_export_the_original_is_left_out(monkeypatch):
    original = checks.export
    monkeypatch.setattr(checks, "export", lambda n, x, *, dynamo: None if dynamo else original(n, x, dynamo=dynamo))
    outcome = check(SMALL, None)
    assert outcome.failures == []
    assert outcome.onnx["torch.export"] is None


def test_no_exporter_at_all_is_a_failure(monkeypatch):
    monkeypatch.setattr(checks, "export", lambda *_, dynamo: None)
    assert only_failure() == "small: expected an exporter that can export the original model, got none"


def test_the_table_has_a_row_for_each_model():
    outcome = check(SMALL, None)
    outcome.output, outcome.gradient, outcome.onnx = 0.0, 3e-13, {"TorchScript": (0.0, 4e-6), "torch.export": None}
    heading, _, row = table([outcome]).splitlines()
    assert heading.split("  ")[0] == "package"
    assert row.split() == ["small", "1.0", "a", "test", "1", "GRU", "0", "3e-13", "0,", "-", "4e-06,", "-"]

"""torch.onnx.export: layers become nodes of ONNX; ONNX Runtime computes what torch does, for any batch and length."""

import io
import warnings

import onnx
import onnxruntime
import pytest
import torch
from contract_cases import tensors
from torch import nn
from torch.export import Dim
from torch.nn.utils.rnn import pack_sequence

from fusedrnn import (
    FusedDropout,
    FusedGRU,
    FusedGRUCell,
    FusedLSTM,
    FusedLSTMCell,
    FusedRNN,
    FusedRNNCell,
    restore_rnns,
)

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of both exporters about themselves and their parts
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),  # the checks of sizes are not part of the graph
    pytest.mark.filterwarnings("ignore::UserWarning"),
]
EXPORTERS = ["dynamo", "TorchScript"]
SIZES = [(7, 3), (40, 9), (1, 2), (2, 1)]


def exported(module, args, names, dims, exporter):
    """The model in ONNX, in its mode, with the sizes of `dims`, by name of the input, left open."""
    if exporter == "dynamo":
        opened = tuple(dict.fromkeys(dims[name], Dim.DYNAMIC) for name in names)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                module, args, input_names=names, dynamic_shapes=opened, dynamo=True, verbose=False, optimize=True
            )
        return program.model_proto
    file = io.BytesIO()
    axes = {name: {axis: f"{name}{axis}" for axis in dims[name]} for name in names}
    mode = torch.onnx.TrainingMode.PRESERVE
    torch.onnx.export(module, args, file, input_names=names, dynamic_axes=axes, dynamo=False, training=mode)
    return onnx.load_from_string(file.getvalue())


def computed(model, names, args):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    given = {name: each.numpy() for name, each in zip(names, args, strict=True)}
    return [torch.from_numpy(each) for each in session.run(None, given)]


def assert_computed(model, names, args, expected):
    """ONNX Runtime computes the tensors `expected`."""
    for got, want in zip(computed(model, names, args), expected, strict=True):
        torch.testing.assert_close(got, want, rtol=0, atol=1e-5)


def operators(model):
    return {node.op_type for node in model.graph.node}


class Tagger(nn.Module):
    """A layer inside a model, which reads ids or features, with lengths or without."""

    def __init__(self, rnn):
        super().__init__()
        self.rnn = rnn

    def forward(self, x, lengths=None):
        output, states = self.rnn(x) if lengths is None else self.rnn(x, lengths=lengths)
        return (output.relu(), *tensors(states))


CASES = [
    (FusedGRU, {}),
    (FusedLSTM, {}),
    (FusedGRU, {"num_layers": 2, "bidirectional": True, "dropout": 0.5}),
    (FusedLSTM, {"num_layers": 2, "bidirectional": True, "memory": "recompute"}),
    (FusedGRU, {"reset_after": False, "bidirectional": True}),
    (FusedGRU, {"bias": False, "backend": "reference"}),
    (FusedLSTM, {"proj_size": 3, "num_layers": 2, "bidirectional": True}),
    (FusedRNN, {}),
    (FusedRNN, {"nonlinearity": "relu", "num_layers": 2, "bidirectional": True}),
]
NODES = {FusedGRU: "GRU", FusedLSTM: "LSTM", FusedRNN: "RNN"}


@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize(("ids", "ragged"), [(False, False), (True, True)], ids=str)
@pytest.mark.parametrize(("kind", "options"), CASES, ids=str)
def test_onnx_runtime_computes_what_torch_does(kind, options, ids, ragged, exporter):
    model = Tagger(kind(5, 6, **options)).eval()

    def given(steps, batch):
        x = torch.randint(0, 5, (steps, batch)) if ids else torch.randn(steps, batch, 5)
        return (x, torch.randint(1, steps + 1, (batch,))) if ragged else (x,)

    names = ["x", "lengths"][: 1 + ragged]
    graph = exported(model, given(5, 4), names, {"x": [0, 1], "lengths": [0]}, exporter)
    onnx.checker.check_model(graph)
    assert operators(graph) & set(NODES.values()) == {NODES[kind]}
    assert not operators(graph) & {"Scan", "Loop", "If"}
    for steps, batch in SIZES:
        args = given(steps, batch)
        assert_computed(graph, names, args, model(*args))


class Stateful(nn.Module):
    def __init__(self, rnn):
        super().__init__()
        self.rnn = rnn

    def forward(self, x, lengths, *states):
        output, finals = self.rnn(x, states if isinstance(self.rnn, FusedLSTM) else states[0], lengths)
        return (output, *tensors(finals))


@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize(
    ("kind", "options"),
    [(FusedGRU, {}), (FusedLSTM, {"num_layers": 2}), (FusedLSTM, {"proj_size": 3}), (FusedRNN, {})],
    ids=str,
)
def test_states_are_inputs_and_outputs(kind, options, exporter):
    model = Stateful(kind(5, 6, batch_first=True, bidirectional=True, **options)).eval()

    def given(steps, batch):
        rows, width = 2 * options.get("num_layers", 1), options.get("proj_size", 6)
        states = [torch.randn(rows, batch, width), torch.randn(rows, batch, 6)]
        lengths = torch.randint(1, steps + 1, (batch,))
        return torch.randn(batch, steps, 5), lengths, *states[: 2 if kind is FusedLSTM else 1]

    args = given(5, 4)
    names = ["x", "lengths", "h", "c"][: len(args)]
    if exporter == "dynamo":  # its names of *states are one
        graph = exported_with_states(model, args)
    else:
        graph = exported(model, args, names, {"x": [0, 1], "lengths": [0], "h": [1], "c": [1]}, exporter)
    names = [each.name for each in graph.graph.input]
    for steps, batch in SIZES:
        args = given(steps, batch)
        assert_computed(graph, names, args, model(*args))


def exported_with_states(model, args):
    opened = Dim.DYNAMIC
    shapes = {"x": {0: opened, 1: opened}, "lengths": {0: opened}, "states": tuple({1: opened} for _ in args[2:])}
    return torch.onnx.export(model, args, dynamic_shapes=shapes, dynamo=True, verbose=False).model_proto


@pytest.mark.parametrize("exporter", EXPORTERS)
@pytest.mark.parametrize("kind", [FusedGRUCell, FusedLSTMCell, FusedRNNCell])
def test_cells_are_exported_with_an_open_batch(kind, exporter):
    class Cell(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell = kind(5, 6)

        def forward(self, x):
            return tuple(tensors(self.cell(x)))

    model = Cell().eval()
    graph = exported(model, (torch.randn(4, 5),), ["x"], {"x": [0]}, exporter)
    for batch in (2, 9):
        x = torch.randn(batch, 5)
        assert_computed(graph, ["x"], (x,), model(x))


@pytest.mark.parametrize("kind", NODES)
def test_a_layer_is_a_whole_model(kind):
    module, x = kind(5, 6).eval(), torch.randn(4, 2, 5)
    graph = exported(module, (x,), ["x"], {"x": []}, "TorchScript")
    assert_computed(graph, ["x"], (x,), tensors(module(x)))


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_every_h_of_a_gru_is_exported(exporter):
    class Every(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = FusedGRU(5, 6, 2)

        def forward(self, x):
            return self.rnn(x, return_all_states=True)[2]

    model, x = Every().eval(), torch.randn(4, 2, 5)
    graph = exported(model, (x,), ["x"], {"x": []}, exporter)
    assert_computed(graph, ["x"], (x,), model(x))


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_what_onnx_has_no_node_for_is_refused_with_what_to_do(exporter):
    class Every(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = FusedLSTM(5, 6)

        def forward(self, x):
            return self.rnn(x, return_all_states=True)[2][0]

    with pytest.raises(Exception, match=r"torch\.onnx\.export") as caught:
        exported(Every(), (torch.randn(4, 2, 5),), ["x"], {"x": []}, exporter)
    said = [str(caught.value), str(caught.value.__cause__)]
    assert any(
        "LSTM of ONNX returns only the last c, got True; after fusedrnn.restore_rnns(model)" in each for each in said
    )


@pytest.mark.parametrize("kind", NODES)
def test_packed_rows_inside_a_model_are_exported_as_torchs(kind):
    """By the exporter that records TorchScript; that of torch.export cannot trace the packing itself."""

    class Packing(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = kind(5, 6)

        def forward(self, x, lengths):
            rows = nn.utils.rnn.pack_padded_sequence(x, lengths)
            return nn.utils.rnn.pad_packed_sequence(self.rnn(rows)[0])[0]

    model = Packing().eval()
    x, lengths = torch.randn(4, 3, 5), torch.tensor([4, 2, 1])
    graph = exported(model, (x, lengths), ["x", "lengths"], {"x": [0, 1], "lengths": [0]}, "TorchScript")
    assert NODES[kind] in operators(graph)
    x, lengths = torch.randn(7, 4, 5), torch.tensor([7, 5, 2, 2])
    (got,) = computed(graph, ["x", "lengths"], (x, lengths))
    torch.testing.assert_close(got, model(x, lengths), rtol=0, atol=1e-5)


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_dropout_is_left_out_in_evaluation_and_a_node_in_training(exporter):
    model = nn.Sequential(nn.Linear(4, 4), FusedDropout(0.5))
    graph = exported(model.eval(), (torch.randn(2, 4),), ["x"], {"x": [0]}, exporter)
    assert "Dropout" not in operators(graph)
    assert "Dropout" in operators(exported(model.train(), (torch.randn(2, 4),), ["x"], {"x": [0]}, exporter))


@pytest.mark.parametrize("exporter", EXPORTERS)
def test_dropout_between_layers_is_a_node_in_training(exporter):
    model, x = Tagger(FusedGRU(5, 6, 2, dropout=0.5)), torch.randn(4, 3, 5)
    assert operators(exported(model, (x,), ["x"], {"x": []}, exporter)) >= {"GRU", "Dropout"}


@pytest.mark.parametrize("options", [{"num_layers": 2, "dropout": 0.5}, {"input_dropout": 0.5}], ids=str)
def test_masks_that_steps_share_are_refused_in_training(options):
    model = Tagger(FusedGRU(5, 6, variational=True, **options)).train()
    with pytest.raises(Exception, match="variational=False"):
        exported(model, (torch.randn(4, 3, 5),), ["x"], {"x": []}, "dynamo")


@pytest.mark.parametrize("opset", [17, 20])
@pytest.mark.parametrize("kind", NODES)
def test_other_versions_of_onnx_are_served(kind, opset):
    module, x = kind(5, 6).eval(), torch.randn(4, 2, 5)
    graph = torch.onnx.export(module, (x,), dynamo=True, verbose=False, opset_version=opset).model_proto
    assert graph.opset_import[0].version == opset
    names = [each.name for each in graph.graph.input]
    assert_computed(graph, names, (x,), tensors(module(x)))


def test_restored_modules_export_as_torchs():
    """For fixed sizes: torch 2.11 exports torch.nn's modules for no others."""
    torch.manual_seed(0)
    model, x = Tagger(FusedGRU(5, 6)).eval(), torch.randn(4, 2, 5)
    ours = computed(exported(model, (x,), ["x"], {"x": []}, "dynamo"), ["x"], (x,))
    restore_rnns(model)
    theirs = computed(exported(model, (x,), ["x"], {"x": []}, "dynamo"), ["x"], (x,))
    for got, expected in zip(ours, theirs, strict=True):
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-6)


def test_packed_input_is_refused_where_it_would_be_traced_by_value():
    from fusedrnn.backends import onnx as engine
    from fusedrnn.call import Call, Spec, Weights

    rows = pack_sequence([torch.randn(3, 5)])
    call = Call(Spec("gru", 5, 6, 6), Weights([], 1, bias=True, projected=False), rows.data, (), rows.batch_sizes)
    with pytest.raises(
        RuntimeError, match=r"expected padded input and lengths, got a PackedSequence; after fusedrnn\.restore"
    ):
        engine.refuse(call)

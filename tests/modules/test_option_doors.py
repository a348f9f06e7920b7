"""Every cell of the table of backends and doors in the page of options: export, tracing, torch.func, the way to torch.nn."""

import io
import re
import warnings

import pytest
import torch
from contract_cases import tensors
from options_page import COLUMNS, message, table
from torch import nn
from torch.func import grad, vmap

from fusedrnn import FusedLSTM, replace_rnns, restore_rnns

T, B, I, H = 4, 3, 3, 4
X = torch.randn(T, B, I, generator=torch.Generator().manual_seed(1))
RESETS = torch.tensor([[0, 1, 0], [1, 0, 0], [0, 0, 1], [0, 1, 1]], dtype=torch.bool)
VALUES = {
    "resets": {},
    "zoneout": {"zoneout": (0.3, 0.2)},
    "recurrent_dropout": {"recurrent_dropout": 0.4},
    "heads": {"heads": 2},
    "layer_norm": {"layer_norm": True},
}
RANDOM = ("zoneout", "recurrent_dropout")


class Model(nn.Module):
    """A layer with the option of a column, and the whole result of its calls as a flat tuple."""

    def __init__(self, column, backend=None, training=False, **options):
        super().__init__()
        torch.manual_seed(3)
        self.rnn = FusedLSTM(I, H, backend=backend, **VALUES[column], **options)
        self.column = column
        self.train(training)

    def forward(self, x):
        return tuple(tensors(self.rnn(x, resets=RESETS) if self.column == "resets" else self.rnn(x)))


class Scripted(nn.Module):
    """What torch.jit.script compiles."""

    def __init__(self, layer):
        super().__init__()
        self.rnn = layer

    def forward(self, x: torch.Tensor):
        return self.rnn(x)[0]


class ScriptedResets(Scripted):
    def forward(self, x: torch.Tensor):
        return self.rnn(x, resets=x[..., 0] > 0)[0]


def seeded(call, *args, seed=4):
    torch.manual_seed(seed)
    return call(*args)


def same(found, expected, tolerance=1e-5):
    for got, want in zip(found, expected, strict=True):
        torch.testing.assert_close(got, want, rtol=0, atol=tolerance)


def backend_door(backend):
    def door(column, training):
        """Equal results in both modes, and whether the model is one operator a layer."""
        for mode in (False, True):
            model = Model(column, backend, mode, num_layers=2)
            same(seeded(model, X), seeded(Model(column, "reference", mode, num_layers=2), X))
        return "sweep" in str(torch.export.export(model, (X,)).graph)

    return door


def compiled(column, training):
    model = Model(column, training=training)
    torch._dynamo.reset()
    same(seeded(torch.compile(model, backend="aot_eager", fullgraph=True), X), seeded(model, X))
    return True


def exported(column, training):
    model = Model(column, training=training)
    program = torch.export.export(model, (X,), dynamic_shapes=({0: torch.export.Dim.AUTO},))
    same(seeded(program.module(), X), seeded(model, X))
    if column != "resets":
        same(seeded(program.module(), X[:2]), seeded(model, X[:2]))
    return "sweep" in str(program.graph)


def to_onnx(column, training):
    model = Model(column, training=training)
    program = torch.onnx.export(model, (X,), dynamo=True, verbose=False)
    found = program(X)
    if training and column in RANDOM:
        assert not torch.equal(program(X)[0], found[0])
        assert found[0].abs().max() < 1
    else:
        same(found, model(X))
    return "LSTM" in {node.op_type for node in program.model.graph}


def to_onnx_by_torchscript(column, training):
    import onnx
    import onnxruntime

    file, model = io.BytesIO(), Model(column, training=training)
    mode = torch.onnx.TrainingMode.PRESERVE
    torch.onnx.export(model, (X,), file, dynamo=False, training=mode, input_names=["x"])
    session = onnxruntime.InferenceSession(file.getvalue())
    same(map(torch.from_numpy, session.run(None, {"x": X.numpy()})), model(X))
    return "LSTM" in {node.op_type for node in onnx.load_from_string(file.getvalue()).graph.node}


def traced(column, training, backend=None):
    model = Model(column, backend, training)
    call = torch.jit.trace(model, (X,), check_trace=False)
    x = X if column == "resets" else torch.randn(T, B + 2, I)
    same(seeded(call, x), seeded(model, x))
    if training and column in RANDOM:
        assert not torch.equal(seeded(call, x, seed=5)[0], seeded(call, x)[0])
    graph = str(call.inlined_graph)
    assert "fusedrnn::" not in re.sub("scope.*", "", graph)
    return "aten::lstm" in graph


def scripted(column, training):
    layer = FusedLSTM(I, H, **VALUES[column])
    torch.jit.script(ScriptedResets(layer) if column == "resets" else Scripted(layer))


def mapped(column, training, randomness="error"):
    model, pair = Model(column, training=training), torch.stack([X, X.flip(0)])
    found = seeded(vmap(model, randomness=randomness), pair)
    for k, x in enumerate(pair):
        same([each[k] for each in found], seeded(model, x))
    return False


def differentiated(column, training):
    model, x = Model(column, training=training), X.clone().requires_grad_()
    found = seeded(grad(lambda x: sum(t.sin().sum() for t in model(x))), X)
    same([found], torch.autograd.grad(sum(t.sin().sum() for t in seeded(model, x)), x))
    return False


def restored(column, training):
    model = Model(column)
    report = restore_rnns(model)
    if report.left:
        assert isinstance(model.rnn, FusedLSTM)
        assert not report.changed
        assert not replace_rnns(model).changed
        raise RuntimeError(report.left["rnn"])
    assert type(model.rnn) is nn.LSTM
    assert report.changed == {"rnn": "FusedLSTM -> LSTM"}
    return True


def loaded(column, training):
    ours, theirs = FusedLSTM(I, H, 2, bidirectional=True, **VALUES[column]), nn.LSTM(I, H, 2, bidirectional=True)
    ours.load_state_dict(theirs.state_dict())
    assert list(ours.state_dict()) == list(theirs.state_dict())
    theirs.load_state_dict(ours.state_dict())
    assert all(map(torch.equal, ours.parameters(), theirs.parameters()))
    return True


DOORS = {
    "backend `reference`": backend_door("reference"),
    "backends `aten`, `auto` on a CPU": lambda *given: backend_door("aten")(*given) and backend_door(None)(*given),
    "backend `triton`, its kernels": backend_door("triton"),
    "`torch.compile`": compiled,
    "`torch.export`": exported,
    "`torch.onnx.export`": to_onnx,
    "`torch.onnx.export(dynamo=False)`": to_onnx_by_torchscript,
    "`torch.jit.trace`": traced,
    "`torch.jit.trace` of backend `triton`": lambda *given: traced(*given, backend="triton"),
    "`torch.jit.script`": scripted,
    "`torch.func.vmap`": mapped,
    '`torch.func.vmap(randomness="same")`': lambda *given: mapped(*given, randomness="same"),
    "`torch.func.grad`": differentiated,
    "`restore_rnns`": restored,
    "`state_dict`, to torch.nn and back": loaded,
}
"""Each runs a cell and says whether it is more than the reference's loop."""
NEEDS = {"onnx": ("onnx", "onnxruntime"), "triton": ("triton",)}
PAGE = table("On every backend, and through the doors of PyTorch")
SLOW = [
    (row, column)
    for row in PAGE
    for column in COLUMNS
    if ("kernels" in row or row == "`torch.onnx.export`, training") and column != "zoneout"
]
CELLS = [
    pytest.param(row, column, marks=pytest.mark.slow if (row, column) in SLOW else [])
    for row in PAGE
    for column in COLUMNS
]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::torch.jit.TracerWarning")
@pytest.mark.parametrize(("row", "column"), CELLS)
def test_a_cell_of_the_page_is_so(row, column):
    for word, packages in NEEDS.items():
        for package in packages if word in row else ():
            pytest.importorskip(package)
    name, cell = row.partition(", training")[0], PAGE[row][column]
    door = DOORS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of the exporters, about themselves
        if cell.startswith("refused"):
            with pytest.raises(Exception, match=message(cell).removeprefix("^")):
                door(column, row != name)
            return
        assert door(column, row != name) == {"yes": True, "step by step": False}[cell.partition(",")[0]]


def test_every_door_has_a_row():
    assert {row.partition(", training")[0] for row in PAGE} == set(DOORS)

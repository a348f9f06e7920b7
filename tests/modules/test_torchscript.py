"""torch.jit.script and torch.jit.trace give what they give for torch.nn's modules."""

import io
import warnings

import pytest
import torch
from contract_cases import CELLS, LAYERS, tensors
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from fusedrnn import FusedDropout, FusedGRU, FusedLSTM, FusedLSTMCell, FusedRNN

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of torch.jit about itself
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),  # torch.nn's checks of sizes are not traced either
]
OPTIONS = [{}, {"num_layers": 2, "bidirectional": True, "batch_first": True}, {"bias": False}]


def twins(theirs, ours, *args, **options):
    pair = theirs(*args, **options).eval(), ours(*args, **options).eval()
    pair[1].load_state_dict(pair[0].state_dict())
    return pair


def assert_equal(got, expected):
    for a, b in zip(tensors(got), tensors(expected), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-6)


def reloaded(program):
    """The program after a round through its file format."""
    file = io.BytesIO()
    torch.jit.save(program, file)
    file.seek(0)
    return torch.jit.load(file)


class Tagger(nn.Module):
    def __init__(self, rnn, drop):
        super().__init__()
        self.rnn, self.drop = rnn, drop

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.drop(self.rnn(x)[0])


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize(("theirs", "ours"), LAYERS.values(), ids=LAYERS)
def test_a_scripted_model_is_that_of_torch(theirs, ours, options):
    plain, fused = (Tagger(rnn, nn.Dropout()).eval() for rnn in twins(theirs, ours, 3, 4, **options))
    expected, got = (torch.jit.script(model) for model in (plain, fused))
    assert got.code == expected.code
    assert got.rnn.original_name == theirs.__name__
    for size in ((5, 2, 3), (40, 9, 3)):
        x = torch.randn(size)
        assert_equal(reloaded(got)(x), plain(x))


@pytest.mark.parametrize(("theirs", "ours"), [*LAYERS.values(), *CELLS.values()])
def test_a_scripted_module_keeps_its_parameters_and_the_original_its_results(theirs, ours):
    module = ours(3, 4)
    holder = nn.Sequential(module)
    scripted = torch.jit.script(holder)
    x = torch.randn(5, 3)
    assert_equal(scripted(x), module(x))
    assert [id(p) for p in holder.parameters()] == [id(p) for p in module.parameters()]
    assert type(module) is ours
    with torch.no_grad():
        next(module.parameters()).zero_()
    assert_equal(scripted(x), module(x))
    sum(t.sum() for t in tensors(scripted(x))).backward()
    assert all(p.grad is not None for p in module.parameters())


def test_scripted_dropout_is_torchs():
    for module in (FusedDropout(0.25, inplace=True), FusedDropout(0.25).eval()):
        scripted = torch.jit.script(module)
        assert (scripted.original_name, scripted.p, scripted.inplace) == ("Dropout", 0.25, module.inplace)
        assert scripted.training is module.training


def test_hooks_of_dropout_stay_in_its_script():
    """Where torch.jit.script refuses them, as those of nn.Dropout."""
    for module in (nn.Dropout(), FusedDropout()):
        module.register_forward_hook(lambda module, args, output: output * 2)
        with pytest.raises(RuntimeError, match="Expected a single top-level function"):
            torch.jit.script(module)


class Own(FusedGRU):
    """A user's subclass."""


class OwnDropout(FusedDropout):
    """A user's subclass."""

    def forward(self, input):
        return super().forward(input) * 2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: FusedGRU(3, 4, reset_after=False),
            "expected options of torch.nn's GRU, got more: torch.nn has no reset_after=False",
        ),
        (lambda: FusedLSTM(3, 4, input_dropout=0.5), "torch.nn has no input_dropout=0.5"),
        (lambda: FusedLSTM(3, 4, 2, dropout=0.5, variational=True), "torch.nn has no variational=True"),
        (lambda: FusedDropout(0.5, shared_dims=1), "expected shared_dims=0, as nn.Dropout has, got 1"),
        (lambda: Own(3, 4), "got the subclass Own"),
        (lambda: nn.Sequential(OwnDropout()), "got the subclass OwnDropout"),
    ],
)
def test_what_torch_has_not_is_not_scripted(make, message):
    with pytest.raises(RuntimeError, match=rf"torch.jit.script: .*{message}"):
        torch.jit.script(make())


@pytest.mark.parametrize("training", [False, True])
def test_a_scripted_layer_keeps_its_mode(training):
    model, x = Tagger(FusedGRU(3, 4, 2, dropout=0.5), nn.Identity()).train(training), torch.randn(5, 2, 3)
    scripted = torch.jit.script(model)
    assert scripted.rnn.training is training
    assert torch.equal(scripted(x), scripted(x)) is not training


@pytest.mark.parametrize("kind", [nn.GRU, FusedGRU])
def test_hooks_of_a_layer_stay_in_its_script(kind):
    module = kind(3, 4)
    module.register_forward_hook(lambda module, args, output: output)
    with pytest.raises(RuntimeError, match="Expected a single top-level function"):
        torch.jit.script(module)


def test_options_that_change_no_result_are_dropped_from_a_script():
    for options in ({"memory": "recompute"}, {"backend": "reference"}):
        model, x = Tagger(FusedGRU(3, 4, **options), nn.Identity()), torch.randn(5, 2, 3)
        expected = model(x)
        assert_equal(torch.jit.script(model)(x), expected)


@pytest.mark.parametrize("example", [(5, 2), (40, 3)], ids=str)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize(("theirs", "ours"), LAYERS.values(), ids=LAYERS)
def test_a_traced_layer_runs_for_other_sizes(theirs, ours, options, example):
    plain, fused = twins(theirs, ours, 3, 4, **options)
    traced = reloaded(torch.jit.trace(fused, torch.randn(*example, 3)))
    for size in ((7, 3), (64, 1), (2, 50)):
        x = torch.randn(*size, 3)
        assert_equal(traced(x), plain(x))


@pytest.mark.parametrize(("theirs", "ours"), CELLS.values(), ids=CELLS)
def test_a_traced_cell_runs_for_other_batches(theirs, ours):
    plain, fused = twins(theirs, ours, 3, 4)
    traced = reloaded(torch.jit.trace(fused, torch.randn(2, 3)))
    for batch in (1, 9):
        x = torch.randn(batch, 3)
        assert_equal(traced(x), plain(x))


@pytest.mark.parametrize(("theirs", "ours"), [*LAYERS.values(), *CELLS.values()])
def test_a_trace_warns_of_no_more_than_torchs(theirs, ours):
    said = []
    for kind in (theirs, ours):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            torch.jit.trace(kind(3, 4), torch.randn(2, 3))
        said.append([(w.filename, w.lineno) for w in caught if w.category is torch.jit.TracerWarning])
    assert said[0] == said[1]


@pytest.mark.parametrize(("theirs", "ours"), LAYERS.values(), ids=LAYERS)
def test_a_traced_layer_takes_states(theirs, ours):
    plain, fused = twins(theirs, ours, 3, 4)

    def given(steps, batch):
        h, c = torch.randn(1, batch, 4), torch.randn(1, batch, 4)
        return torch.randn(steps, batch, 3), (h, c) if theirs is nn.LSTM else h

    traced = torch.jit.trace(fused, given(5, 2))
    for size in ((7, 3), (40, 1)):
        args = given(*size)
        assert_equal(traced(*args), plain(*args))


class Packing(nn.Module):
    def __init__(self, rnn):
        super().__init__()
        self.rnn = rnn

    def forward(self, x, lengths):
        output, states = self.rnn(pack_padded_sequence(x, lengths, enforce_sorted=False))
        return pad_packed_sequence(output)[0], states


@pytest.mark.parametrize(("theirs", "ours"), LAYERS.values(), ids=LAYERS)
def test_traced_packing_runs_for_other_batches(theirs, ours):
    plain, fused = twins(theirs, ours, 3, 4)
    traced = torch.jit.trace(Packing(fused), (torch.randn(5, 2, 3), torch.tensor([5, 3])))
    x, lengths = torch.randn(7, 4, 3), torch.tensor([2, 7, 1, 7])
    assert_equal(traced(x, lengths), Packing(plain)(x, lengths))


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32], ids=str)
@pytest.mark.parametrize("kind", [FusedGRU, FusedLSTM, FusedRNN])
def test_traced_packing_takes_ids(kind, dtype):
    model = Packing(kind(3, 4))
    traced = torch.jit.trace(model, (torch.zeros(5, 2, dtype=dtype), torch.tensor([5, 3])))
    args = torch.randint(0, 3, (7, 4), dtype=dtype), torch.tensor([2, 7, 1, 7])
    assert_equal(traced(*args), model(*args))


def test_every_state_is_traced_for_other_sizes():
    class Every(nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = FusedLSTM(3, 4, 2)

        def forward(self, x):
            return self.rnn(x, return_all_states=True)[2]

    model = Every().eval()
    traced = torch.jit.trace(model, torch.randn(5, 2, 3), check_trace=False)
    for size in ((7, 3), (40, 9)):
        x = torch.randn(*size, 3)
        assert_equal(traced(x), model(x))


class Ragged(nn.Module):
    def __init__(self, rnn):
        super().__init__()
        self.rnn = rnn

    def forward(self, x, lengths, *states):
        hx = states if len(states) == 2 else (*states, None)[0]
        return self.rnn(x, hx, lengths)


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("form", ["features", "ids", "int32 ids", "states"])
@pytest.mark.parametrize("kind", [FusedGRU, FusedLSTM, FusedRNN])
def test_a_traced_layer_takes_ids_lengths_and_states_of_other_batches(kind, form, batch_first):
    def given(steps, batch):
        size = (batch, steps) if batch_first else (steps, batch)
        x = torch.randint(0, 3, size) if "ids" in form else torch.randn(*size, 3, dtype=torch.float64)
        states = [torch.randn(1, batch, 4, dtype=torch.float64) for _ in range(1 + (kind is FusedLSTM))]
        lengths = torch.randint(1, steps + 1, (batch,))
        return x.int() if form == "int32 ids" else x, lengths, *(states if form == "states" else [])

    model = Ragged(kind(3, 4, batch_first=batch_first, dtype=torch.float64)).eval()
    traced = torch.jit.trace(model, given(5, 2))
    for size in ((7, 3), (40, 9)):
        args = given(*size)
        assert_equal(traced(*args), model(*args))


@pytest.mark.parametrize(
    ("options", "operators"),
    [({"reset_after": False}, True), ({"memory": "recompute", "input_dropout": 0.5}, False)],
    ids=["of results", "of training"],
)
def test_options_beyond_torch_are_traced_for_other_sizes(options, operators):
    module = FusedGRU(3, 4, **options).eval()
    traced = torch.jit.trace(
        module, torch.randn(5, 2, 3), check_trace=False
    )  # which compares graphs with and without gradients
    assert ("fusedrnn::" in str(traced.inlined_graph)) == operators
    for size in ((7, 3), (40, 1)):
        x = torch.randn(*size, 3)
        assert_equal(traced(x), module(x))


WRONG = [
    ((torch.zeros(3, 2, dtype=torch.int64), torch.tensor([0, 3])), ValueError, "lengths: expected 1 to 3"),
    ((torch.zeros(3, 2, dtype=torch.int64), torch.tensor([1.0, 3.0])), TypeError, "lengths: expected int32 or int64"),
    ((torch.tensor([[0, 1], [3, 0]]), torch.tensor([2, 1])), IndexError, "token ids: expected 0 to 2"),
    ((torch.zeros(3, 2, 1, dtype=torch.int64), torch.tensor([3, 3])), ValueError, r"input.squeeze\(-1\)"),
    (
        (torch.zeros(3, 2, dtype=torch.uint8), torch.tensor([3, 3])),
        ValueError,
        "lengths: expected None with unbatched input",
    ),
]


@pytest.mark.parametrize(("args", "error", "message"), WRONG, ids=[message for *_, message in WRONG])
def test_a_wrong_call_is_refused_as_where_nothing_is_traced(args, error, message):
    model = Ragged(FusedGRU(3, 4))
    for call in (lambda: model(*args), lambda: torch.jit.trace(model, args, check_trace=False)):
        with pytest.raises(error, match=message):
            call()


@pytest.mark.parametrize("batch_first", [False, True])
def test_a_traced_layer_reads_no_padding_of_ids(batch_first):
    model = Ragged(FusedLSTM(3, 4, batch_first=batch_first))
    args = torch.tensor([[0, 2], [1, -1], [2, -1]]), torch.tensor([3, 1])
    args = (args[0].t() if batch_first else args[0], args[1])
    traced = torch.jit.trace(model, args)
    more = torch.cat([args[0], args[0]], 0 if batch_first else 1), torch.tensor([3, 1, 2, 1])
    assert_equal(traced(*more), model(*more))


@pytest.mark.parametrize("option", ["input_dropout", "weight_dropout"])
def test_options_of_training_are_traced_in_training(option):
    traced = torch.jit.trace(FusedGRU(3, 4, **{option: 0.5}).train(), torch.randn(5, 2, 3), check_trace=False)
    x = torch.randn(7, 3, 3)
    assert not torch.equal(traced(x)[0], traced(x)[0])


def test_a_traced_subclass_and_a_parametrized_module_compute_the_same():
    x = torch.randn(5, 2, 3)
    for module in (Own(3, 4), nn.utils.parametrizations.weight_norm(FusedLSTM(3, 4), "weight_hh_l0")):
        traced = torch.jit.trace(module, x)
        assert_equal(traced(torch.cat([x, x])), module(torch.cat([x, x])))


def test_dropout_is_traced_as_torchs():
    traced = torch.jit.trace(FusedDropout(0.5).train(), torch.ones(4), check_trace=False)
    assert "aten::dropout" in str(traced.graph)
    assert "fusedrnn::" not in str(traced.graph)


def test_dropout_in_place_is_traced_in_place():
    x = torch.ones(1000)
    traced = torch.jit.trace(FusedDropout(0.5, inplace=True), x.clone(), check_trace=False)
    traced(x)
    assert (x == 0).any()


def test_dropout_between_layers_is_traced_as_torchs():
    module = FusedGRU(3, 4, 2, dropout=0.5).train()
    traced = torch.jit.trace(module, torch.randn(5, 2, 3), check_trace=False)
    assert "fusedrnn::" not in str(traced.inlined_graph)
    x = torch.randn(7, 3, 3)
    assert not torch.equal(traced(x)[0], traced(x)[0])


class Sequence(nn.Module):
    """Two cells in a loop, as in PyTorch's example of time series."""

    def __init__(self, kind, width):
        super().__init__()
        self.first, self.second, self.linear = kind(1, width), kind(width, width), nn.Linear(width, 1)

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        h1 = torch.zeros(input.size(0), 5)
        c1 = torch.zeros(input.size(0), 5)
        h2 = torch.zeros(input.size(0), 5)
        c2 = torch.zeros(input.size(0), 5)
        outputs = torch.empty(0, input.size(0), 1)
        for k in range(input.size(1)):
            h1, c1 = self.first(input[:, k : k + 1], (h1, c1))
            h2, c2 = self.second(h1, (h2, c2))
            outputs = torch.cat([outputs, self.linear(h2)[None]])
        return outputs


def test_a_loop_over_cells_is_scripted():
    plain, fused = Sequence(nn.LSTMCell, 5), Sequence(FusedLSTMCell, 5)
    fused.load_state_dict(plain.state_dict())
    x = torch.randn(3, 9)
    assert_equal(reloaded(torch.jit.script(fused))(x), plain(x))

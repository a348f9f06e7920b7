"""Every cell of the table of pairs in the page of options: together they give the same on every backend, or are refused."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest
import torch
from contract_cases import total
from options_page import COLUMNS, SAME, message, table
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

from fusedrnn import FusedGRU, FusedLSTM, FusedRNN, InitialState

T, B, I, H = 4, 3, 3, 4
LENGTHS = torch.tensor([2, 4, 3])
IDS = torch.tensor([[0, 2, 1], [1, 0, 0], [2, 2, 0], [0, 1, 2]])
RESETS = torch.tensor([[0, 1, 0], [1, 0, 0], [0, 0, 1], [0, 1, 1]], dtype=torch.bool)
KINDS = {"gru": FusedGRU, "lstm": FusedLSTM, "rnn": FusedRNN}
BACKENDS = ("reference", "aten", None, "triton")


def plain(module, x, resets, initial, **more):
    return module(x, **more, **({} if resets is None else {"resets": resets}))


def packed(module, x, resets, initial):
    rows = None if resets is None else pack_padded_sequence(resets, LENGTHS, enforce_sorted=False)
    return plain(module, pack_padded_sequence(x, LENGTHS, enforce_sorted=False), rows, initial)


def nested(module, x, resets, initial):
    samples = [x[:steps, b] for b, steps in enumerate(LENGTHS)]
    return plain(module, torch.nested.as_nested_tensor(samples, layout=torch.jagged), resets, initial)


def unbatched(module, x, resets, initial):
    return plain(module, x[:, 1], None if resets is None else resets[:, 1], initial)


def turned(module, x, resets, initial):
    return plain(module, x.transpose(0, 1), None if resets is None else resets.t(), initial)


class Row(NamedTuple):
    """How an option is given.

    Attributes:
        options: arguments of the constructor.
        call: runs the module.
        without: attributes of a module without the option, whose numbers are others.
        masks: whether the backend None draws other masks than those that are named.
        kinds: keys of `KINDS`.
    """

    options: Mapping[str, Any] = MappingProxyType({})
    call: Callable[..., Any] = plain
    without: dict[str, Any] | None = None
    masks: bool = False
    kinds: tuple[str, ...] = ("gru", "lstm", "rnn")


ROWS = {
    "`lengths=`": Row(call=lambda *given: plain(*given, lengths=LENGTHS)),
    "`PackedSequence`": Row(call=packed),
    "nested tensor": Row(call=nested),
    "token ids": Row(call=lambda module, x, *given: plain(module, IDS, *given)),
    "unbatched input": Row(call=unbatched),
    "`batch_first`": Row({"batch_first": True}, turned),
    "`hx`, `InitialState`": Row(call=lambda m, x, resets, initial: plain(m, x, resets, None, hx=initial(x))),
    "`bidirectional`": Row({"bidirectional": True}),
    "`num_layers` with `dropout`": Row({"num_layers": 2, "dropout": 0.5}, plain, {"dropout": 0.0}, True),
    "`variational`": Row({"num_layers": 2, "dropout": 0.5, "variational": True}, plain, {"variational": False}, True),
    "`input_dropout`": Row({"input_dropout": 0.5}, plain, {"input_dropout": 0.0}, True),
    "`weight_dropout`": Row({"weight_dropout": 0.5}, plain, {"weight_dropout": 0.0}, True),
    '`memory="recompute"`': Row({"memory": "recompute"}),
    "`return_all_states`": Row(call=lambda *given: plain(*given, return_all_states=True)),
    "`proj_size`": Row({"proj_size": 2}, kinds=("lstm",)),
    "`layer_norm`": Row({"layer_norm": True}),
    "`reset_after=False`": Row({"reset_after": False}, plain, {"reset_after": True}, kinds=("gru",)),
    "`FusedRNN`": Row({"nonlinearity": "relu"}, kinds=("rnn",)),
    "`resets=`": Row(call=lambda module, x, _, initial: plain(module, x, RESETS, initial)),
    "`zoneout`": Row({"zoneout": 0.4}, plain, {"zoneout": 0.0}),
    "`recurrent_dropout`": Row({"recurrent_dropout": 0.4}, plain, {"recurrent_dropout": 0.0}, kinds=("gru", "lstm")),
    "`heads`": Row({"heads": 2}),
}
"""The rows of the table."""
VALUES = {
    "resets": {},
    "zoneout": {"zoneout": 0.3},
    "recurrent_dropout": {"recurrent_dropout": 0.4},
    "heads": {"heads": 2},
    "layer_norm": {"layer_norm": True},
}
"""The arguments of the constructor for each column."""
PAIRS = [(row, column) for row in ROWS for column in COLUMNS if row.strip("`=") != column]
SHORT = [("`lengths=`", "zoneout"), ("`bidirectional`", "heads")]
"""Cells that the kernels run, interpreted, in the short run."""


def pairs_on_kernels():
    return [pytest.param(*pair, marks=[] if pair in SHORT else pytest.mark.slow) for pair in PAIRS]


@pytest.fixture(scope="module")
def cells():
    return table("Together with other options")


def kinds_of(row, column):
    own = ROWS[row].kinds
    return own if column != "recurrent_dropout" or own == ("rnn",) else [kind for kind in own if kind != "rnn"]


def build(kind, row, column, backend):
    """The module with both options, and its initial state."""
    torch.manual_seed(1)
    given = VALUES[column] | ({"zoneout": (0.3, 0.2)} if column == "zoneout" and kind == "lstm" else {})
    module = KINDS[kind](I, H, dtype=torch.float64, backend=backend, **given, **ROWS[row].options)
    initial = InitialState(module)
    for state in initial.parameters():
        nn.init.normal_(state)
    return module, initial


def run(module, initial, row, column):
    """All results from one seed, their gradients for input, weights and initial state, and the state of the generator."""
    torch.manual_seed(2)
    x = torch.randn(T, B, I, dtype=torch.float64, requires_grad=True)
    found = flat(ROWS[row].call(module, x, RESETS if column == "resets" else None, initial))
    leaves = [x, *module.parameters(), *initial.parameters()]
    return [*found, *torch.autograd.grad(total(found), leaves, allow_unused=True), torch.get_rng_state()]


def flat(result):
    """All tensors of a result; packed and nested ones by their rows."""
    if isinstance(result, PackedSequence):
        return [result.data]
    if isinstance(result, torch.Tensor):
        return [result.values() if result.is_nested else result]
    return [tensor for part in result for tensor in flat(part)]


def same(found, expected):
    for got, want in zip(found, expected, strict=True):
        assert (got is None) == (want is None)
        if got is not None:
            torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-11)


def check(row, column, cell, backend):
    """Run a cell of the table."""
    for kind in kinds_of(row, column):
        if cell != "yes":
            with pytest.raises(ValueError, match=message(cell)):
                run(*build(kind, row, column, backend), row, column)
            continue
        module, initial = build(kind, row, column, backend)
        assert module.training
        reference = build(kind, row, column, "reference")
        found, expected = run(module, initial, row, column), run(*reference, row, column)
        if backend is None and ROWS[row].masks:
            same(run(module, initial, row, column), found)
            for each in (module, reference[0]):
                each.eval()
            found, expected = run(module, initial, row, column)[:-1], run(*reference, row, column)[:-1]
        same(found, expected)


@pytest.mark.parametrize("backend", BACKENDS[1:3], ids=str)
@pytest.mark.parametrize(("row", "column"), PAIRS)
def test_a_pair_gives_on_every_backend_what_the_reference_gives_or_is_refused(cells, row, column, backend):
    check(row, column, cells[row][column], backend)


@pytest.mark.parametrize(("row", "column"), pairs_on_kernels())
def test_a_pair_on_the_kernels(cells, row, column):
    pytest.importorskip("triton")
    check(row, column, cells[row][column], "triton")


@pytest.mark.parametrize(("row", "column"), PAIRS)
def test_no_option_of_a_pair_is_left_out(cells, row, column):
    if cells[row][column] != "yes":
        return
    for kind in kinds_of(row, column):
        module, initial = build(kind, row, column, "reference")
        assert module.weight_hh_l0.dim() == (3 if "heads" in (column, row.strip("`")) else 2)
        output = run(module, initial, row, column)[0]
        if column == "layer_norm":
            module.gain_hh_l0.data.mul_(2)
            assert not torch.equal(run(module, initial, row, column)[0], output)
        elif column != "heads":
            for name in VALUES[column]:
                setattr(module, name, 0.0)
            assert not torch.equal(run(module, initial, row, None)[0], output)
        if ROWS[row].without is not None:
            module, initial = build(kind, row, column, "reference")
            for name, value in ROWS[row].without.items():
                setattr(module, name, value)
            assert not torch.equal(run(module, initial, row, column)[0], output)


def test_every_cell_of_the_table_is_run(cells):
    assert list(cells) == list(ROWS)
    for row, each in cells.items():
        for column, cell in each.items():
            assert (cell == SAME) == ((row, column) not in PAIRS), (row, column)
            assert cell in (SAME, "yes") or message(cell), cell


@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("row", ["`PackedSequence`", "nested tensor"])
def test_rows_of_ragged_input_have_the_masks_of_their_samples_from_the_longest_on(cells, row, column):
    if cells[row][column] != "yes":
        return
    order = LENGTHS.argsort(descending=True)
    module, initial = build("lstm", row, column, "aten")
    found = run(module, initial, row, column)[0]
    torch.manual_seed(2)
    x = torch.randn(T, B, I, dtype=torch.float64)[:, order]
    output, _ = plain(module, x, RESETS[:, order] if column == "resets" else None, None, lengths=LENGTHS[order])
    if row == "nested tensor":
        places = [(t, b) for b in order.argsort() for t in range(LENGTHS[order][b])]
    else:
        places = [(t, b) for t in range(T) for b in range(B) if t < LENGTHS[order][b]]
    torch.testing.assert_close(found, torch.stack([output[t, b] for t, b in places]))

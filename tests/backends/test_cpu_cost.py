"""The rules that choose the form of a call on a CPU: what they may depend on, and what they say where it was measured."""

from itertools import product

import pytest
import torch

import fusedrnn
from fusedrnn.backends import rules
from fusedrnn.backends.cpu import cost
from fusedrnn.backends.cpu.cost import Sizes
from fusedrnn.call import Call

SHAPES = [(1, 1), (64, 1), (1, 256), (8, 32), (64, 16), (64, 256)]  # B, T
HIDDEN = (16, 64, 256, 512)


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)


@pytest.fixture(autouse=True)
def onednn(monkeypatch):
    """A processor whose oneDNN has float32 and no other dtype."""
    monkeypatch.setattr(cost, "_onednn_has", lambda dtype: dtype == torch.float32)


@pytest.fixture
def without_onednn():
    """oneDNN switched off, as by torch.backends.mkldnn.flags."""
    torch._C._set_mkldnn_enabled(False)
    yield
    torch._C._set_mkldnn_enabled(True)


def sizes(cell="lstm", B=8, T=32, H=64, I=60, N=None, dtype=torch.float32, **more):
    return Sizes(cell, dtype, T, B, B * T if N is None else N, I, H, **more)


def every(cell, **more):
    return [sizes(cell, B, T, H, **more) for (B, T), H in product(SHAPES, HIDDEN)]


def test_a_layer_of_torch_is_fused_where_onednn_has_it():
    assert sizes().fused
    assert not sizes(dtype=torch.float64).fused
    assert not sizes("gru").fused
    assert not any(cost.loop_is_faster(s) for s in every("lstm"))
    assert cost.steps_alone_are_faster(sizes(T=1), grad=True)


@pytest.mark.usefixtures("without_onednn")
def test_without_onednn_an_lstm_is_trained_as_a_gru_is():
    assert not sizes().fused
    alike = [(s, s._replace(cell="gru")) for s in every("lstm")]
    assert [cost.loop_is_faster(lstm) for lstm, _ in alike] == [cost.loop_is_faster(gru) for _, gru in alike]
    assert any(cost.loop_is_faster(lstm) for lstm, _ in alike)
    assert not any(cost.steps_alone_are_faster(s, grad=True) for s in every("lstm"))


@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize("grad", [False, True])
def test_the_wider_the_features_the_less_they_pay(cell, grad):
    for shape in every(cell):
        found = [cost.features_are_faster(shape._replace(I=width), grad=grad) for width in (10, 100, 1000, 10_000)]
        assert found == sorted(found, reverse=True)


@pytest.mark.parametrize("grad", [False, True])
def test_more_threads_make_products_cheaper(grad, monkeypatch):
    alone = [cost.features_are_faster(s, grad=grad) for s in every("lstm", I=1000)]
    monkeypatch.setattr(torch, "get_num_threads", lambda: 16)
    together = [cost.features_are_faster(s, grad=grad) for s in every("lstm", I=1000)]
    assert all(after or not before for before, after in zip(alone, together, strict=True))
    assert together != alone


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("grad", [False, True])
def test_the_more_padding_the_less_it_pays(grad, packed):
    for B, T, H in ((8, 32, 64), (64, 64, 16), (16, 128, 64), (8, 32, 512)):
        found = [
            cost.padded_is_faster(sizes("lstm", B, T, H, H, N=n), grad=grad, packed=packed)
            for n in range(B * T // 5, B * T, B * T // 20)
        ]
        assert found == sorted(found)
        assert found[-1]
        assert not found[0]


def test_what_torch_runs_step_by_step_is_padded_only_for_a_backward_that_is_not_packed():
    ragged = [s._replace(N=max(s.N * 3 // 4, 1)) for s in every("gru", I=64)]
    for packed, grad in product((False, True), (False, True)):
        found = [cost.padded_is_faster(s, grad=grad, packed=packed) for s in ragged]
        assert any(found) == (grad and not packed)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_samples_of_equal_length_are_not_padded(cell):
    for T, B, H in product((1, 16, 256), (1, 8, 64), (16, 512)):
        dense = sizes(cell, B, T, H, H)
        for grad, packed in product((False, True), repeat=2):
            assert not cost.padded_is_faster(dense, grad=grad, packed=packed)


def test_samples_of_very_different_lengths_are_never_padded():
    sparse = sizes("lstm", 8, 32, 16, N=8 * 32 // 4 - 1)
    assert not cost.padded_is_faster(sparse, grad=True, packed=False)
    assert not cost.loop_is_faster(sparse._replace(cell="gru", T=3200, N=6000))


@pytest.mark.parametrize("directions", [1, 2])
def test_up_to_so_many_steps_the_loop_is_never_faster(directions):
    for T, B, H in product(range(1, cost.NEVER_A_LOOP + 1), (1, 2, 64), (1, 16, 512, 4096)):
        assert not cost.loop_is_faster(sizes("gru", B, T, H, D=directions))


def test_the_expected_number_of_different_ids():
    assert cost.distinct(sizes(I=1000, N=1)) == pytest.approx(1, rel=1e-3)
    assert cost.distinct(sizes(I=60, N=6000)) == pytest.approx(60)
    torch.manual_seed(0)
    drawn = [len(torch.randint(2000, (1024,)).unique()) for _ in range(20)]
    assert cost.distinct(sizes(I=2000, N=1024)) == pytest.approx(sum(drawn) / 20, rel=0.01)


MEASURED = [
    # cell, vocabulary, H, B, T, training, fastest form: "Forms of a call on a CPU" in benchmarks/NOTES.md
    ("lstm", 60, 64, 8, 32, False, "one-hot"),
    ("lstm", 60, 256, 64, 16, True, "one-hot"),
    ("lstm", 60, 16, 1, 1, False, "one-hot"),
    ("lstm", 60, 512, 1, 1, False, "places"),
    ("lstm", 2000, 16, 64, 1, False, "places"),
    ("lstm", 2000, 16, 8, 32, True, "places"),
    ("lstm", 2000, 512, 8, 32, True, "ids"),
    ("lstm", 2000, 64, 64, 16, False, "loop"),
    ("lstm", 2000, 16, 64, 256, True, "loop"),
    ("gru", 60, 64, 1, 256, False, "one-hot"),
    ("gru", 60, 64, 1, 256, True, "loop"),
    ("gru", 60, 512, 64, 1, True, "one-hot"),
    ("gru", 2000, 256, 1, 1, False, "places"),
    ("gru", 2000, 512, 1, 256, False, "ids"),
    ("gru", 2000, 512, 64, 16, False, "loop"),
    ("gru", 2000, 64, 8, 32, True, "loop"),
]


@pytest.mark.parametrize(("cell", "vocabulary", "H", "B", "T", "grad", "fastest"), MEASURED)
def test_the_rules_choose_what_was_measured_to_be_fastest(cell, vocabulary, H, B, T, grad, fastest):
    s = sizes(cell, B, T, H, vocabulary)
    if not cost.features_are_faster(s, grad=grad):
        chosen = "loop"
    elif cost.one_hot_is_faster(s, grad=grad):
        chosen = "one-hot"
    else:
        chosen = "ids" if cost.counting_is_faster(s, grad=grad) else "places"
    assert chosen == fastest


@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize(("B", "T", "N"), [(2000, 1, 2000), (128, 600, 13_300), (512, 500, 51_200), (64, 256, 16_384)])
def test_many_ids_of_a_large_vocabulary_are_gathered(cell, grad, B, T, N):
    assert not cost.features_are_faster(sizes(cell, B, T, 32, 50_000, N), grad=grad)


@pytest.mark.parametrize(
    ("H", "B", "T", "D", "faster"),
    [
        (64, 64, 256, 1, True),
        (64, 64, 256, 2, False),
        (64, 64, 128, 2, True),
        (64, 32, 256, 2, True),
        (16, 64, 2048, 1, True),
        (64, 8, 4096, 1, True),
    ],
)
def test_a_layer_whose_gates_need_new_memory_at_every_call_has_to_save_more(H, B, T, D, faster):
    assert cost.loop_is_faster(sizes("gru", B, T, H, H)._replace(D=D)) == faster


@pytest.mark.parametrize(("H", "B", "faster"), [(16, 1, True), (256, 32, True), (16, 64, True), (64, 64, False)])
def test_a_step_of_few_samples_or_units_runs_alone(H, B, faster):
    assert cost.steps_alone_are_faster(sizes(B=B, T=1, H=H), grad=False) == faster


@pytest.mark.parametrize(
    ("form", "H", "B", "T", "faster"),
    [
        ("dense", 16, 1, 256, True),
        ("dense", 16, 8, 32, False),
        ("dense", 16, 64, 256, True),
        ("dense", 64, 64, 256, False),
        ("dense", 256, 1, 256, True),
        ("dense", 512, 1, 16, True),
        ("dense", 512, 64, 16, False),
        ("packed", 16, 8, 32, False),
        ("packed", 16, 64, 128, True),
        ("packed", 256, 8, 128, True),
        ("packed", 512, 8, 32, False),
        ("packed", 512, 8, 128, True),
    ],
)
def test_an_rnn_trains_by_our_operators_where_that_was_measured_to_be_faster(form, H, B, T, faster):
    together = B * T if form == "dense" else B * T * 3 // 4
    s = sizes("rnn_tanh", B, T, H, H, N=together)
    assert cost.loop_is_faster(s, packed=form == "packed") == faster


@pytest.mark.parametrize(
    ("vocabulary", "H", "B", "T", "grad", "features"),
    [
        (60, 64, 64, 256, False, True),
        (60, 512, 256, 16, True, True),
        (2000, 16, 64, 16, False, False),
        (2000, 256, 64, 8, False, False),
        (2000, 512, 8, 8, False, True),
        (2000, 64, 64, 16, True, False),
        (2000, 512, 1, 16, True, True),
    ],
)
def test_ids_of_an_rnn_become_features_where_that_was_measured_to_be_faster(vocabulary, H, B, T, grad, features):
    assert cost.features_are_faster(sizes("rnn_tanh", B, T, H, vocabulary), grad=grad) == features


def test_resets_run_in_the_loop_where_that_was_measured_to_be_faster():
    def sizes(cell, B, H):
        return Sizes(cell, torch.float32, 64, B, 64 * B, H, H, 1, 1)

    assert cost.loop_beats_pieces(sizes("gru", 8, 32), 20)
    assert cost.loop_beats_pieces(sizes("rnn_tanh", 32, 64), 50)
    assert cost.loop_beats_pieces(sizes("lstm", 64, 256), 20)
    assert not cost.loop_beats_pieces(sizes("lstm", 32, 64), 50)
    assert not cost.loop_beats_pieces(sizes("gru", 4, 16), 3.3)


def test_a_call_without_a_reset_that_is_true_is_torchs():
    gru = fusedrnn.FusedGRU(8, 64)
    call = Call(gru._spec(), gru._weights(), torch.randn(64, 8, 8), resets=torch.zeros(64, 8, dtype=torch.bool))
    assert not rules.loop_beats_pieces(call)
    call.resets[::20] = True
    assert rules.loop_beats_pieces(call)
    call.resets[:] = True
    assert not rules.loop_beats_pieces(call)

"""The kind of a call: what a decision holds for, and its name in the file."""

import pytest
import torch

from fusedrnn.auto.kind import DTYPES, Kind, exact, kind_of, rounded_up
from fusedrnn.auto.problem import bytes_of, exactly, problem, results, spec_of
from fusedrnn.backends import reference, unrolled
from fusedrnn.call import Call, Spec, Weights

CPU = torch.device("cpu")
PLAIN = Kind(
    cell="lstm", dtype="float32", input_size=4, hidden_size=5, output_size=5, layers=2, directions=2, batch=4, steps=8,
    training=True, layout="padded", dropout="", bias=True, projected=False, ids=False, all_states=False, recompute=False, tf32=True,
)  # fmt: skip
VARIANTS = {
    "plain": {},
    "gru": {"cell": "gru"},
    "gru_before": {"cell": "gru_before"},
    "inference": {"training": False},
    "lengths": {"layout": "lengths"},
    "packed": {"layout": "packed"},
    "dropout": {"dropout": "each"},
    "shared dropout": {"dropout": "shared"},
    "no bias": {"bias": False},
    "projection": {"projected": True, "output_size": 3},
    "projection as wide as h": {"projected": True},
    "ids": {"ids": True},
    "all states": {"all_states": True},
    "recompute": {"recompute": True},
    "float64": {"dtype": "float64", "tf32": False},
    "float16": {"dtype": "float16", "tf32": False},
    "one layer": {"layers": 1, "directions": 1},
    "one step": {"steps": 1, "batch": 1},
}


def kind(variant):
    return PLAIN._replace(**VARIANTS[variant])


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_problem_of_a_kind_is_of_that_kind(variant):
    wanted = kind(variant)
    call = problem(wanted, CPU, wanted.steps, wanted.batch).call
    assert kind_of(call) == wanted


def test_names_differ_where_kinds_do():
    every = [kind(variant) for variant in VARIANTS]
    every += [PLAIN._replace(**{size: 16}) for size in ("input_size", "hidden_size", "layers", "batch", "steps")]
    every += [PLAIN._replace(tf32=False)]
    assert len({str(one) for one in every}) == len(set(every)) == len(every)


@pytest.mark.parametrize("variant", VARIANTS)
def test_two_engines_agree_on_a_problem_and_the_truth_is_the_same_in_float64(variant):
    wanted = kind(variant)
    given = problem(wanted, CPU, wanted.steps, wanted.batch)
    one, other, truth = (
        results(unrolled.run, given),
        results(reference.run, given),
        results(reference.run, exactly(given)),
    )
    assert [name for name, _ in one] == [name for name, _ in other] == [name for name, _ in truth]
    gradients = [name for name, _ in one if name.startswith("gradient")]
    assert len(gradients) == (len(given.leaves) if wanted.training else 0)
    states = [name for name, _ in one if name.startswith("states of layer")]
    assert states == (["states of layer 0"] * 2 + ["states of layer 1"] * 2 if wanted.all_states else [])
    tolerance = {"float16": 2e-2, "float32": 1e-5, "float64": 1e-11}[wanted.dtype]
    for (_, a), (_, b), (_, c) in zip(one, other, truth, strict=True):
        assert c.dtype == torch.float64
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)
        torch.testing.assert_close(a.double(), c, rtol=tolerance, atol=tolerance)


def test_a_problem_is_the_same_every_time_and_takes_nothing_of_the_generators():
    state = torch.get_rng_state()
    one, other = (problem(kind("dropout"), CPU, 8, 4) for _ in range(2))
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(one.call.input, other.call.input)
    assert torch.equal(one.call.seeds, other.call.seeds)
    for a, b in zip(one.leaves, other.leaves, strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(("size", "expected"), [(1, 1), (2, 2), (3, 4), (4, 4), (5, 8), (1000, 1024), (1024, 1024)])
def test_sizes_are_rounded_up_to_powers_of_two(size, expected):
    assert rounded_up(size) == expected


def call(T=3, B=2, dtype=torch.float32):
    spec = Spec("gru", 3, 5, 5)
    flat = [torch.zeros(shape, dtype=dtype) for shape in spec.weight_shapes(0)[:4]]
    return Call(
        spec, Weights(flat, 1, bias=True, projected=False), torch.zeros(T, B, 3, dtype=dtype), (torch.zeros(1, B, 5),)
    )


def test_long_calls_are_of_one_kind():
    assert kind_of(call(T=4096)) == kind_of(call(T=100_000))
    assert kind_of(call(T=2048)) != kind_of(call(T=2049))


def test_an_empty_call_or_one_of_a_dtype_that_the_kernels_lack_has_no_kind():
    assert kind_of(call(B=0)) is None
    assert kind_of(call(T=0)) is None
    assert kind_of(call(dtype=torch.complex64)) is None
    assert set(DTYPES.values()) == {"float16", "bfloat16", "float32", "float64"}


def test_training_may_be_asked_for():
    """As `fusedrnn.tune` does, which runs a model for inference."""
    deep = call()._replace(spec=Spec("gru", 3, 5, 5, num_layers=2, dropout=0.5, variational=True))
    assert (kind_of(deep).training, kind_of(deep).dropout) == (False, "")
    assert (kind_of(deep, training=True).training, kind_of(deep, training=True).dropout) == (True, "shared")
    assert spec_of(kind_of(deep, training=True)).variational


def test_one_layer_has_no_dropout_between_layers():
    single = call()._replace(spec=Spec("gru", 3, 5, 5, dropout=0.5))
    assert kind_of(single, training=True).dropout == ""


@pytest.mark.parametrize("needed", ["input", "a state", "a weight"])
def test_any_gradient_makes_it_training(needed):
    frozen = call()
    assert not kind_of(frozen).training
    assert not exact(frozen)[6]
    tensor = {"input": frozen.input, "a state": frozen.states[0], "a weight": frozen.weights.flat[3]}[needed]
    tensor.requires_grad_()
    assert kind_of(frozen).training
    assert exact(frozen)[6]
    with torch.no_grad():
        assert not kind_of(frozen).training


def test_every_way_in_which_calls_differ_is_in_the_exact_key(monkeypatch):
    """Also where it takes a second device to see it."""
    plain, key = call(), exact(call())
    seeded = plain._replace(seeds=torch.zeros(0, dtype=torch.int64))
    weights = Weights(plain.weights.flat, 1, bias=True, projected=True)

    class Sub(torch.Tensor):
        pass

    of_subclass = [plain.weights.flat[0], plain.weights.flat[1].as_subclass(Sub), *plain.weights.flat[2:]]
    others = [
        seeded,
        plain._replace(weights=weights),
        plain._replace(states=(plain.states[0].as_subclass(Sub),)),
        plain._replace(weights=Weights(of_subclass, 1, bias=True, projected=False)),
    ]
    assert len({key, *map(exact, others)}) == 1 + 3  # both subclasses make it a call that is left to torch
    monkeypatch.setattr(torch.Tensor, "get_device", lambda tensor: 1)
    assert exact(plain) != key


def test_ids_and_lengths_of_a_problem_are_spread():
    ids = problem(kind("ids")._replace(input_size=64), CPU, 8, 8).call.input
    assert len(ids.unique()) > 10
    for layout in ("lengths", "packed"):
        given = problem(kind(layout), CPU, 8, 4).call
        assert given.steps == 8
        if given.lengths is not None:
            assert given.lengths.max() == 8
            assert given.lengths.min() < 8


def test_token_ids_need_no_memory_for_their_one_hot_rows():
    wide = kind("ids")._replace(input_size=1 << 16, steps=1024, batch=64)
    assert bytes_of(wide, 1024, 64) < bytes_of(wide._replace(ids=False), 1024, 64) / 10

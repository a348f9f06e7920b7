"""Resets, zoneout, recurrent dropout and heads of fusedrnn::sweep: every engine equals the reference, and derivatives are right."""

import random

import pytest
import torch

from fusedrnn.kernels.cell import NUMBERS
from fusedrnn.operators import derivatives
from fusedrnn.operators import sweep as ops
from fusedrnn.operators.arguments import Sweep
from fusedrnn.reference.counter_dropout import counter_dropout

CELLS = tuple(NUMBERS)
LEAVES = ("x", "h0", "c0", "w_ih", "w_hh", "b_ih", "b_hh", "gain_hh", "gain_c", "bias_c")


def seeds():
    return torch.randint(-(1 << 63), (1 << 63) - 1, (1,))


def case(draw, cell, engine="unrolled", small=False):
    """Random arguments in float64, with any of the options, lengths, and dropout of the output."""
    T, B, I, H = (draw.randint(1, n) for n in ((3, 2, 2, 2) if small else (6, 5, 4, 6)))
    heads = draw.choice([1, 1, 2, 3])
    D, G = draw.choice([1, 2]) * heads, NUMBERS[cell].gates

    def leaf(*shape):
        return torch.randn(*shape, dtype=torch.float64, requires_grad=True)

    lengths = torch.randint(0, T + 1, (B,)) if draw.random() < 0.5 else None
    options = {"heads": heads}
    if draw.random() < 0.6:
        options["resets"] = torch.rand(T, B) < draw.random()
    if draw.random() < 0.8:
        options["noise_seed"] = seeds() if draw.random() < 0.7 else None
        options["zoneout_h"] = draw.choice([0.0, 0.3, 0.7])
        options["zoneout_c"] = draw.choice([0.0, 0.2, 0.6]) if NUMBERS[cell].has_c else 0.0
        options["candidate_p"] = draw.choice([0.0, 0.25, 0.5]) if G > 1 else 0.0
        options["candidate_shared"] = draw.random() < 0.5
    if cell != "gru_before" and draw.random() < 0.4:
        options |= {"gain_hh": leaf(D, G * H)}
        options |= {"gain_c": leaf(D, H), "bias_c": leaf(D, H)} if cell == "lstm" else {}
    if draw.random() < 0.3:
        options |= {"seed": seeds(), "p": 0.4, "shared": draw.random() < 0.5}
    x = leaf(T, B, I)
    if lengths is not None:
        with torch.no_grad():
            x.mul_((torch.arange(T)[:, None] < lengths)[..., None])  # the caller clears padding
    c0 = leaf(D, B, H) if NUMBERS[cell].has_c else None
    weights = (leaf(D, G * H, I), leaf(D, G * H, H), leaf(D, G * H), leaf(D, G * H))
    return Sweep(engine, cell, x, leaf(D, B, H), c0, *weights, lengths, draw.random() < 0.5, **options)


def both(a):
    """All results, and their gradients with random weights, of the reference and of the operator."""
    expected = list(derivatives.reference_sweep(a))
    found = ops.sweep(*a.packed())
    results = list(found[: len(expected)])
    if a.seed is not None:
        expected.append(counter_dropout(expected[0], a.p, a.seed, int(a.shared)))
        results.append(found[5])
    leaves = [t for name in LEAVES if (t := getattr(a, name)) is not None]
    weights = [torch.randn_like(r) for r in expected]
    for each in (expected, results):
        yield [*each, *torch.autograd.grad(each, leaves, weights, materialize_grads=True)]


@pytest.mark.parametrize("cell", CELLS)
def test_the_derived_backward_equals_the_references(cell):
    draw = random.Random(cell)
    for _ in range(50):
        for got, want in zip(*both(case(draw, cell)), strict=True):
            torch.testing.assert_close(want, got, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 8))])
@pytest.mark.parametrize(
    ("cell", "count"), [("gru", 3), ("gru_before", 2), ("lstm", 4), ("rnn_tanh", 1), ("rnn_relu", 1)]
)
def test_the_sweeps_equal_the_reference(cell, count, seed):
    pytest.importorskip("triton")
    draw = random.Random(f"{cell} sweeps {seed}")
    for _ in range(count):
        a = case(draw, cell, "triton")
        for got, want in zip(*both(a), strict=True):
            torch.testing.assert_close(want, got, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("count", [1, pytest.param(8, marks=pytest.mark.slow)])
@pytest.mark.parametrize("cell", CELLS)
def test_first_and_second_derivatives_by_finite_differences(cell, count):
    draw = random.Random(f"{cell} derivatives {count}")
    for _ in range(count):
        a = case(draw, cell, small=True)
        names = [name for name in LEAVES if getattr(a, name) is not None]

        def function(*given, a=a, names=names):
            packed = a._replace(**dict(zip(names, given, strict=True))).packed()
            return ops.sweep(*packed)[: 4 if a.c0 is not None else 2]

        leaves = [getattr(a, name) for name in names]
        assert torch.autograd.gradcheck(function, leaves)
        assert torch.autograd.gradgradcheck(function, leaves)


@pytest.mark.parametrize("engine", ["unrolled", pytest.param("triton", marks=pytest.mark.slow)])
@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_the_operator_with_options_passes_torchs_own_checks(cell, engine):
    if engine == "triton":
        pytest.importorskip("triton")
    draw = random.Random(f"{cell} checks")
    for _ in range(2):
        a = case(draw, cell, engine)
        packed = a.packed()
        norm = None if packed.norm is None else packed.norm.detach().requires_grad_()
        torch.library.opcheck(ops.sweep, tuple(packed._replace(norm=norm)))


@pytest.mark.parametrize("engine", ["unrolled", "triton"])
def test_low_precision_is_near_float64(engine):
    """The candidate's factor and the weights of zoneout are not rounded to bfloat16: 1 / 0.85 would be, by 0.2 %."""
    if engine == "triton":
        pytest.importorskip("triton")
    shapes = ((9, 4, 1, 4 * 32), (1, 4, 32), (1, 4, 32), (1, 4 * 32, 32))
    gx, h0, c0, w_hh = (torch.randn(*s).bfloat16() for s in shapes)
    options = {"noise_seed": seeds(), "zoneout_h": 0.15, "zoneout_c": 0.1, "candidate_p": 0.15}

    def run(engine, dtype, options):
        given = [t.to(dtype) for t in (gx.flatten(2), h0, c0)]
        a = Sweep(engine, "lstm", *given, None, (w_hh / 6).to(dtype), None, None, None, False, **options)
        return (
            ops.sweep(*a.packed())[0].double() if engine != "reference" else derivatives.reference_sweep(a)[0].double()
        )

    for given in (options, options | {"noise_seed": None, "candidate_p": 0.0}):
        exact = run("reference", torch.float64, given)
        budget = (run("reference", torch.bfloat16, given) - exact).norm()
        assert (run(engine, torch.bfloat16, given) - exact).norm() <= 1.5 * budget

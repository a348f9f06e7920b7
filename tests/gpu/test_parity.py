"""On a GPU: every row of the table, and whole modules, are as accurate as torch's RNN, measured against float64."""

import copy

import pytest
import torch

pytest.importorskip("triton")

from gpu_cases import CELLS, DEVICE, DTYPES, capability, hold, module, results, torchs

from fusedrnn.auto.parity import TF32_UNIT, UNIT
from fusedrnn.auto.parity import relative_error as error
from fusedrnn.kernels.table import candidates
from fusedrnn.operators import unrolled

pytestmark = pytest.mark.gpu
SIZES = (19, 33, 2)
"""T, B, D: more than one batch tile, the last one nearly empty."""


def sweep_problem(cell, T, B, H, D, dtype, lengths):
    """Arguments of the sweeps on the GPU, and upstream gradients."""
    G = 4 if cell == "lstm" else 3
    generator = torch.Generator(DEVICE).manual_seed(1)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, device=DEVICE).to(dtype)

    steps = torch.randint(1, T + 1, (B,), generator=generator, device=DEVICE, dtype=torch.int32) if lengths else None
    arguments = {
        "gx": draw(T, B, D, G * H), "h0": draw(D, B, H), "c0": draw(D, B, H) if cell == "lstm" else None,
        "w_hh": (draw(D, G * H, H) / H**0.5).to(dtype), "b_hh": draw(D, G * H), "lengths": steps,
    }  # fmt: skip
    up = [draw(T, B, D, H), draw(D, B, H), *([draw(T, B, D, H), draw(D, B, H)] if cell == "lstm" else [None, None])]
    return arguments, up


def swept(engine, cell, p, up, *rows):
    """Everything that both sweeps of an engine, the forward by the first row, return, without what is None."""
    done = engine.forward(cell, p["gx"], p["h0"], p["c0"], p["w_hh"], p["b_hh"], p["lengths"], *rows[:1], save=True)
    back = engine.backward(
        cell, done.gates, done.output, done.cells, p["h0"], p["c0"], p["w_hh"], p["lengths"], *up, *rows[1:]
    )  # fmt: skip
    return [t for t in (done.output, done.h_n, done.cells, done.c_n, back.dgates, back.dh0, back.dc0) if t is not None]


@pytest.mark.parametrize("lengths", [False, True], ids=["full", "lengths"])
@pytest.mark.parametrize("H", [8, 64, 100, 128, 256, 300, 512, 1024, 2048])
@pytest.mark.parametrize("dtype", [*DTYPES, torch.float64], ids=str)
@pytest.mark.parametrize("cell", CELLS)
def test_every_row_that_fits_is_as_accurate_as_torch_operators(cell, dtype, H, lengths):
    from fusedrnn.kernels import sweeps

    T, B, D = SIZES if H <= 512 else (7, 17, 1)
    p, up = sweep_problem(cell, T, B, H, D, dtype, lengths)
    exact = {k: v if v is None or k == "lengths" else v.double() for k, v in p.items()}
    truth = swept(unrolled, cell, exact, [None if u is None else u.double() for u in up])
    plain = swept(unrolled, cell, p, up)
    forward, backward = (
        list(candidates(sweep, cell, dtype, H, capability(), torch.backends.cudnn.allow_tf32))
        for sweep in ("forward", "backward")
    )
    assert forward
    assert backward
    for n in range(max(len(forward), len(backward))):
        rows = forward[min(n, len(forward) - 1)], backward[min(n, len(backward) - 1)]
        got = swept(sweeps, cell, p, up, *rows)
        for index, (g, o, t) in enumerate(zip(got, plain, truth, strict=True)):
            assert g.isfinite().all(), (rows, index)
            floor = TF32_UNIT if dtype == torch.float32 and torch.backends.cudnn.allow_tf32 else 2 * UNIT[dtype]
            assert error(g, t) <= 1.5 * error(o, t) + floor, (rows, index, error(g, t), error(o, t))


@pytest.mark.parametrize("bidirectional", [False, True], ids=["one", "two"])
@pytest.mark.parametrize(
    ("T", "B", "H"), [(100, 32, 128), (100, 64, 256), (50, 32, 512), (30, 128, 1024), (10, 8, 2048)]
)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("cell", CELLS)
def test_modules_are_as_accurate_as_torchs(cell, dtype, T, B, H, bidirectional):
    ours = module(cell, 96, H, dtype, "triton", layers=2, bidirectional=bidirectional)
    exact = torchs(cell, ours).double()
    generator = torch.Generator(DEVICE).manual_seed(2)
    x = torch.randn(T, B, 96, generator=generator, device=DEVICE).to(dtype)
    up = torch.randn(T, B, H * (1 + bidirectional), generator=generator, device=DEVICE).to(dtype)
    truth = results(exact, x.double(), up.double())
    hold(results(ours, x, up), results(torchs(cell, ours), x, up), truth, dtype)


@pytest.mark.parametrize("cell", ["rnn_tanh", "rnn_relu"])
def test_an_rnn_is_as_accurate_as_torchs(cell):
    test_modules_are_as_accurate_as_torchs(cell, torch.bfloat16, 100, 32, 256, bidirectional=True)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
def test_packed_input_gives_what_each_sample_alone_gives(cell):
    ours = module(cell, 32, 256, torch.float32, "triton", bidirectional=True)
    lengths = [40, 33, 7, 1]
    samples = [torch.randn(steps, 32, device=DEVICE) for steps in lengths]
    packed = torch.nn.utils.rnn.pack_sequence(samples)
    output, _ = torch.nn.utils.rnn.pad_packed_sequence(ours(packed)[0])
    for b, sample in enumerate(samples):
        alone, _ = ours(sample.unsqueeze(1))
        torch.testing.assert_close(output[: lengths[b], b], alone[:, 0], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("cell", CELLS)
def test_what_is_not_finite_stays_in_its_sample(cell):
    ours = module(cell, 32, 256, torch.float32, "triton")
    x = torch.randn(9, 20, 32, device=DEVICE)
    clean, _ = ours(x)
    dirty = x.clone()
    dirty[3, 5], dirty[4, 11] = float("nan"), float("inf")
    got, _ = ours(dirty)
    others = [b for b in range(20) if b not in (5, 11)]
    assert torch.equal(got[:, others], clean[:, others])
    assert got[3:, 5].isnan().any()


@pytest.mark.parametrize("cell", CELLS)
def test_recompute_equals_save(cell):
    from fusedrnn.operators import sweep as ops

    p, _ = sweep_problem(cell, 30, 16, 256, 1, torch.float32, lengths=True)
    x, w_ih = torch.randn(30, 16, 48, device=DEVICE), torch.randn(1, p["w_hh"].shape[1], 48, device=DEVICE) / 7
    found = []
    for keep in (True, False):
        leaves = [t.detach().clone().requires_grad_() for t in (x, p["h0"], w_ih, p["w_hh"], p["b_hh"])]
        c0 = p["c0"]
        output = ops.sweep("triton", cell, leaves[0], leaves[1], c0, *leaves[2:4], None, leaves[4], p["lengths"], keep)[
            0
        ]
        found.append([output, *torch.autograd.grad(output.square().sum(), leaves)])
    for saved, again in zip(*found, strict=True):
        torch.testing.assert_close(again, saved, rtol=2e-3, atol=2e-3)


def test_a_short_training_run_follows_torchs():
    """Adam on a toy task: the loss curves of ours and torch.nn's, from the same weights, in float32."""
    ours = module("gru", 16, 256, torch.float32, "triton")
    theirs = torchs("gru", ours)
    curves = []
    x, y = torch.randn(50, 32, 16, device=DEVICE), torch.randn(32, 256, device=DEVICE)
    for net in (copy.deepcopy(ours), theirs):
        optimiser = torch.optim.Adam(net.parameters(), lr=1e-3)
        curve = []
        for _ in range(20):
            optimiser.zero_grad()
            loss = (net(x)[0][-1] - y).square().mean()
            loss.backward()
            optimiser.step()
            curve.append(loss.item())
        curves.append(torch.tensor(curve))
    torch.testing.assert_close(curves[0], curves[1], rtol=2e-3, atol=0)

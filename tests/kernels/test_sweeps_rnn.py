"""The sweeps of torch.nn.RNN's two cells against torch.nn.RNN itself: the outputs, and the gradient of everything that has one."""

import pytest
import torch

pytest.importorskip("triton")

from sweep_cases import FORMS, problem, torch_rnn, walled

from fusedrnn.kernels import sweeps

CELLS = ("rnn_tanh", "rnn_relu")
LEAVES = ("gx", "h0", "w_hh", "b_hh")


def states_before(output, h0, lengths):
    """The h that every step started from, (T, B, D, H): from the left in the first direction, from the right in the second."""
    first = h0[0].unsqueeze(0)
    ways = [torch.cat([first, output[:-1, :, 0]])]
    if h0.shape[0] == 2:
        last = h0[1].unsqueeze(0)
        after = torch.cat([output[1:, :, 1], last])
        t = torch.arange(len(output)).view(-1, 1, 1)
        ways.append(after if lengths is None else torch.where(t == (lengths - 1).view(1, -1, 1), last, after))
    return torch.stack(ways, 2)


@pytest.mark.parametrize("lengths", [None, (4, 1, 3, 2, 4)], ids=["full", "lengths"])
@pytest.mark.parametrize("D", [1, 2])
@pytest.mark.parametrize("form", ["one program", "registers", "streamed"])
@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.usefixtures("poisoned")
def test_outputs_and_every_gradient_equal_torchs(cell, form, D, lengths):
    p = problem(cell, 4, 5, 19, D, bias=True, lengths=False, dtype=torch.float64)
    p["lengths"] = None if lengths is None else torch.tensor(lengths, dtype=torch.int32)
    leaves = [p[name].requires_grad_() for name in LEAVES]
    expected = torch_rnn(cell, p)
    up = [torch.randn_like(e) for e in expected]
    gradients = torch.autograd.grad(expected, leaves, up)
    gx, h0, w_hh, b_hh = (walled(leaf.detach()) for leaf in leaves)
    row = FORMS[form](19)
    done = sweeps.forward(cell, gx, h0, None, w_hh, b_hh, p["lengths"], row, save=True)
    back = sweeps.backward(
        cell, done.gates, done.output, None, h0, None, w_hh, p["lengths"], walled(up[0]), walled(up[1]), None, None, row
    )
    before = states_before(done.output, h0, p["lengths"])
    got = [done.output, done.h_n, back.dgates, back.dh0]
    got += [torch.einsum("tbdg,tbdh->dgh", back.dgates, before)]
    got += [back.dgates.sum((0, 1))]
    for name, g, e in zip(("output", "h_n", *LEAVES), got, [*expected, *gradients], strict=True):
        torch.testing.assert_close(g, e, rtol=1e-10, atol=1e-12, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # numpy's, of NaN in the interpreter
@pytest.mark.parametrize("cell", CELLS)
def test_ends_of_the_range_are_torchs(cell):
    """NaN stays NaN; at ReLU's corner the gradient is 0."""
    gx = torch.tensor([0.0, float("nan"), float("inf"), -float("inf"), -0.0, 2.0, -2.0]).view(1, 7, 1, 1)
    h0, w_hh = torch.zeros(1, 7, 1), torch.ones(1, 1, 1)
    expected = torch_rnn(
        cell, {"gx": gx.double(), "h0": h0.double(), "w_hh": w_hh.double(), "b_hh": None, "lengths": None}
    )
    leaf = gx.double().requires_grad_()
    function = torch.tanh if cell == "rnn_tanh" else torch.relu
    (gradient,) = torch.autograd.grad(function(leaf).sum(), leaf)
    row = FORMS["one program"](1)
    done = sweeps.forward(cell, gx, h0, None, w_hh, None, None, row, save=True)
    back = sweeps.backward(
        cell, done.gates, done.output, None, h0, None, w_hh, None, torch.ones_like(gx), None, None, None, row
    )
    torch.testing.assert_close(done.output.double(), expected[0], rtol=1e-6, atol=1e-6, equal_nan=True)
    torch.testing.assert_close(back.dgates.double(), gradient, rtol=1e-5, atol=1e-6, equal_nan=True)

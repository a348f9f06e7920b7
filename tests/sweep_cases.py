"""Problems for the sweep kernels, and the check that holds both sweeps to the reference in float64."""

import torch

from fusedrnn.kernels import sweeps
from fusedrnn.kernels.table import Row
from fusedrnn.reference.sweep import gru_sweep, lstm_sweep

FORMS = {
    "single": lambda H: Row(32, 16, 32, 1, True),
    "split": lambda H: Row(16, 16, 16, -(-H // 16), True),
    "streamed": lambda H: Row(16, 16, 16, 1, False),
    "dealt": lambda H: Row(16, 16, 16, -(-H // 32), True, split=2, group=3),
    "dealt streamed": lambda H: Row(16, 16, 16, 1, False, split=4, group=1),
}
BUDGET = {torch.float64: 1e-14, torch.float32: 1e-6, torch.float16: 4e-3, torch.bfloat16: 3e-2}


def walled(tensor):
    """A copy of the tensor in the middle of NaN: a read out of bounds shows."""
    if tensor is None:
        return None
    wall = torch.full((256,), float("nan"), dtype=tensor.dtype)
    return torch.cat([wall, tensor.flatten(), wall])[256 : 256 + tensor.numel()].view(tensor.shape)


def problem(cell, T, B, H, D, bias, lengths, dtype):
    """Inputs that `dtype` holds exactly, in float64."""
    G = 4 if cell == "lstm" else 3

    def draw(*shape):
        return torch.randn(*shape).to(dtype).double()

    return {
        "gx": draw(T, B, D, G * H),
        "h0": draw(D, B, H),
        "c0": draw(D, B, H) if cell == "lstm" else None,
        "w_hh": (draw(D, G * H, H) / H**0.5).to(dtype).double(),
        "b_hh": draw(D, G * H) if bias else None,
        "lengths": torch.randint(0, T + 1, (B,), dtype=torch.int32) if lengths else None,
    }


def textbook(cell, p):
    """Output, h_n (and every c_t, c_n) of the reference."""
    if cell == "lstm":
        output, cells, h_n, c_n = lstm_sweep(p["gx"], p["h0"], p["c0"], p["w_hh"], p["b_hh"], None, p["lengths"])
        return [output, h_n, cells, c_n]
    return list(gru_sweep(p["gx"], p["h0"], p["w_hh"], p["b_hh"], p["lengths"], reset_after=cell == "gru"))


def in_order(cell, dgates):
    """The gradient of gx out of the kernel's dgates."""
    if cell != "gru":
        return dgates
    n, r, z, _ = dgates.chunk(4, -1)
    return torch.cat([r, z, n], -1)


def check(cell, row, p, dtype):
    """Run both sweeps as `row` says and hold everything they return to the textbook."""
    leaves = [p[k] for k in ("gx", "h0", "c0") if p[k] is not None]
    for leaf in leaves:
        leaf.requires_grad_()
    expected = textbook(cell, p)
    upstream = [torch.randn_like(e).to(dtype).double() for e in expected]
    gradients = torch.autograd.grad(expected, leaves, upstream)
    q = {k: None if v is None else walled(v.detach().to(dtype)) for k, v in p.items() if k != "lengths"}
    q["lengths"] = p["lengths"]
    done = sweeps.forward(cell, q["gx"], q["h0"], q["c0"], q["w_hh"], q["b_hh"], q["lengths"], row, save=True)
    up = [walled(u.to(dtype)) for u in upstream]
    d_cells, d_c_n = (up[2], up[3]) if cell == "lstm" else (None, None)
    back = sweeps.backward(
        cell, done.gates, done.output, done.cells, q["h0"], q["c0"], q["w_hh"], q["lengths"],
        up[0], up[1], d_cells, d_c_n, row,
    )  # fmt: skip
    got = [done.output, done.h_n, *([done.cells, done.c_n] if cell == "lstm" else [])]
    got += [in_order(cell, back.dgates), back.dh0, *([back.dc0] if cell == "lstm" else [])]
    for index, (g, e) in enumerate(zip(got, [*expected, *gradients], strict=True)):
        assert g.isfinite().all(), index
        error = (g.double() - e).norm() / e.norm().clamp_min(1e-9)
        assert error < BUDGET[dtype], (index, error)

"""Inputs for the sweep kernels, and the comparison of both sweeps with the reference, or torch.nn.RNN, in float64."""

import torch
from torch import nn
from torch.func import functional_call
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from fusedrnn.kernels import sweeps
from fusedrnn.kernels.cell import NUMBERS
from fusedrnn.kernels.rows import Row, filled
from fusedrnn.operators.normalised import Normalised
from fusedrnn.operators.time_parallel import previous_states, recurrent_side
from fusedrnn.reference.cells import SWEEPS
from fusedrnn.reference.loop import begins
from fusedrnn.reference.norm import Gains
from fusedrnn.reference.sweep import gru_sweep, lstm_sweep


def form(units, samples, depth, weights, warps, group=1):
    """The row of these tiles by H: as many chunks as cover it."""
    return lambda H: filled(Row(units, samples, depth, 0, weights, warps, group), H)


FORMS = {
    "alone": form(64, 8, 64, "alone", 4),  # up to 64 units
    "one program": form(32, 16, 32, "registers", 1),  # up to 32 units
    "registers": form(16, 8, 16, "registers", 2),
    "ragged groups": form(16, 16, 16, "registers", 2, group=3),
    "shared": form(16, 16, 16, "shared", 2, group=2),
    "streamed": form(16, 16, 16, "streamed", 1),
    "streamed, 32 units": form(32, 16, 16, "streamed", 2),
}
"""Launch rows, named by where the weights are kept (registers, shared memory, streamed) and what else differs."""
BUDGET = {torch.float64: 1e-14, torch.float32: 1e-6, torch.float16: 4e-3, torch.bfloat16: 3e-2}


def served(*forms):
    """Every cell with each of the named forms, or with all."""
    return [(cell, form) for cell in NUMBERS for form in forms or FORMS]


def walled(tensor):
    """A copy of the tensor with NaN before and after it, so that a read out of bounds shows."""
    if tensor is None:
        return None
    wall = torch.full((256,), float("nan"), dtype=tensor.dtype)
    return torch.cat([wall, tensor.flatten(), wall])[256 : 256 + tensor.numel()].view(tensor.shape)


def problem(cell, T, B, H, D, bias, lengths, dtype):
    """Inputs in float64 that `dtype` represents exactly; a smaller gx for RNNs: where tanh saturates, 1 - y^2 loses digits."""
    G = NUMBERS[cell].gates

    def draw(*shape):
        return torch.randn(*shape).to(dtype).double()

    return {
        "gx": draw(T, B, D, G * H) / (2 if G == 1 else 1),
        "h0": draw(D, B, H),
        "c0": draw(D, B, H) if NUMBERS[cell].has_c else None,
        "w_hh": (draw(D, G * H, H) / H**0.5).to(dtype).double(),
        "b_hh": draw(D, G * H) if bias else None,
        "lengths": torch.randint(0, T + 1, (B,), dtype=torch.int32) if lengths else None,
    }


def torch_rnn(cell, p):
    """Output and h_n of torch.nn.RNN: W_ih selects each direction's part of gx; samples of length 0 are left out."""
    (T, B, D, H), lengths = p["gx"].shape, p["lengths"]
    net = nn.RNN(D * H, H, nonlinearity=cell.removeprefix("rnn_"), bidirectional=D == 2).double()
    weights = {}
    for d, end in enumerate(("l0", "l0_reverse")[:D]):
        weights[f"weight_ih_{end}"] = torch.eye(D * H).double()[d * H : (d + 1) * H]
        weights[f"weight_hh_{end}"] = p["w_hh"][d]
        weights[f"bias_ih_{end}"] = torch.zeros(H).double()
        weights[f"bias_hh_{end}"] = torch.zeros(H).double() if p["b_hh"] is None else p["b_hh"][d]
    output, h_n = torch.where(torch.tensor(False), p["gx"], 0.0), p["h0"] + 0
    alive = torch.arange(B) if lengths is None else lengths.nonzero().squeeze(1)
    if not len(alive):
        return [output, h_n]
    x = p["gx"].flatten(2)[:, alive]
    x = x if lengths is None else pack_padded_sequence(x, lengths[alive], enforce_sorted=False)
    y, last = functional_call(net, weights, (x, p["h0"][:, alive]))
    y = y if lengths is None else pad_packed_sequence(y, total_length=T)[0]
    return [output.index_copy(1, alive, y.unflatten(2, (D, H))), h_n.index_copy(1, alive, last)]


def textbook(cell, p):
    """Output, h_n (and every c_t, c_n) of the reference, or of torch.nn.RNN; with ``options`` in `p`, of the reference."""
    if "options" in p:
        states = tuple(p[k] for k in ("h0", "c0") if p[k] is not None)
        trace, finals = SWEEPS[cell](p["gx"], states, p["w_hh"], p["b_hh"], None, p["lengths"], **p["options"])
        return [result for pair in zip(trace, finals, strict=True) for result in pair]
    if cell.startswith("rnn_"):
        return torch_rnn(cell, p)
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


def normal(output, q, gains, options):
    """What the backward sweep takes with layer normalisation, from the forward's output and the arguments."""
    anew = begins(options.get("resets"), q["lengths"], output.shape[2])
    before = previous_states(output, q["h0"], q["lengths"], anew)
    return Normalised.of(gains, recurrent_side(before, q["w_hh"], None))


def check(cell, row, p, dtype):
    """Run both sweeps with the launch row and compare everything they return with the textbook."""
    options = dict(p.get("options", {}))
    gains = options.pop("gains", None)
    leaves = [p[k] for k in ("gx", "h0", "c0") if p[k] is not None]
    leaves += [gain for gain in (gains or ())[1:] if gain is not None]
    for leaf in leaves:
        leaf.requires_grad_()
    expected = textbook(cell, p)
    upstream = [torch.randn_like(e).to(dtype).double() for e in expected]
    gradients = torch.autograd.grad(expected, leaves, upstream)
    q = {
        k: None if v is None else walled(v.detach().to(dtype)) for k, v in p.items() if k not in ("lengths", "options")
    }
    q["lengths"] = p["lengths"]
    given = None if gains is None else Gains(*(g if g is None else walled(g.detach().to(dtype)) for g in gains))
    if given is not None:
        options["gains"] = given
    done = sweeps.forward(
        cell, q["gx"], q["h0"], q["c0"], q["w_hh"], q["b_hh"], q["lengths"], row, save=True, **options
    )
    up = [walled(u.to(dtype)) for u in upstream]
    d_cells, d_c_n = (up[2], up[3]) if NUMBERS[cell].has_c else (None, None)
    if options.pop("gains", None) is not None:
        options["norm"] = normal(done.output, q, given, options)
    back = sweeps.backward(
        cell, done.gates, done.output, done.cells, q["h0"], q["c0"], q["w_hh"], q["lengths"],
        up[0], up[1], d_cells, d_c_n, row, **options,
    )  # fmt: skip
    got = [done.output, done.h_n, *([done.cells, done.c_n] if NUMBERS[cell].has_c else [])]
    got += [in_order(cell, back.dgates), back.dh0, *([back.dc0] if NUMBERS[cell].has_c else [])]
    got += [d for d in back[3:] if d is not None]
    for index, (g, e) in enumerate(zip(got, [*expected, *gradients], strict=True)):
        assert g.isfinite().all(), index
        error = (g.double() - e).norm() / e.norm().clamp_min(1e-9)
        assert error < BUDGET[dtype], (index, error)

"""Layer normalisation of the reference against the formulas of Ba et al. (2016), written out."""

import pytest
import torch

from fusedrnn.reference.norm import EPS, Gains, normalised
from fusedrnn.reference.stack import LayerWeights, layer_of
from fusedrnn.reference.sweep import gru_sweep, lstm_sweep, rnn_sweep

T, B, D, I, H = 4, 3, 2, 5, 6


def draw(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def norm(a):
    centred = a - a.mean(-1, keepdim=True)
    return centred / (centred.pow(2).mean(-1, keepdim=True) + EPS).sqrt()


def arguments(G):
    gains = Gains(draw(D, G * H), draw(D, H), draw(D, H))
    return draw(T, B, D, G * H), draw(D, B, H), draw(D, G * H, H), draw(D, G * H), gains


def order(d):
    return range(T) if d == 0 else reversed(range(T))


def test_an_lstm_has_the_formulas_of_the_paper():
    gx, h0, w_hh, b_hh, gains = arguments(4)
    c0 = draw(D, B, H)
    output, cells, _, _ = lstm_sweep(gx, h0, c0, w_hh, b_hh, gains=gains)
    for d in range(D):
        h, c = h0[d], c0[d]
        for t in order(d):
            a = gx[t, :, d] + gains.gain_hh[d] * norm(h @ w_hh[d].T) + b_hh[d]
            i, f, g, o = a.split(H, -1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * torch.tanh(gains.gain_c[d] * norm(c) + gains.bias_c[d])
            torch.testing.assert_close(cells[t, :, d], c)
            torch.testing.assert_close(output[t, :, d], h)


def test_a_gru_resets_the_normalised_product():
    gx, h0, w_hh, b_hh, gains = arguments(3)
    output, _ = gru_sweep(gx, h0, w_hh, b_hh, gains=gains)
    for d in range(D):
        h = h0[d]
        for t in order(d):
            x_r, x_z, x_n = gx[t, :, d].split(H, -1)
            a_r, a_z, a_n = (gains.gain_hh[d] * norm(h @ w_hh[d].T) + b_hh[d]).split(H, -1)
            r, z = (x_r + a_r).sigmoid(), (x_z + a_z).sigmoid()
            n = (x_n + r * a_n).tanh()
            h = (1 - z) * n + z * h
            torch.testing.assert_close(output[t, :, d], h)


def test_an_rnn_has_the_formula():
    gx, h0, w_hh, _, gains = arguments(1)
    output, _ = rnn_sweep(gx, h0, w_hh, None, nonlinearity="relu", gains=gains)
    h = h0[1]
    for t in order(1):
        h = (gx[t, :, 1] + gains.gain_hh[1] * norm(h @ w_hh[1].T)).relu()
        torch.testing.assert_close(output[t, :, 1], h)


@pytest.mark.parametrize("ids", [False, True], ids=["features", "ids"])
def test_the_input_side_is_normalised_over_all_gates_of_a_direction(ids):
    seen = []

    def spy(gx, states, w_hh, b_hh, w_hr, lengths, gains):
        seen.append((gx, gains))
        return (gx[..., :H],), states

    directions = [
        LayerWeights(draw(3 * H, I), draw(3 * H, H), draw(3 * H), draw(3 * H), None, draw(3 * H), draw(3 * H))
        for _ in range(D)
    ]
    x = torch.randint(I, (T, B)) if ids else draw(T, B, I)
    layer_of(spy)(x, (draw(D, B, H),), directions, None)
    ((gx, gains),) = seen
    rows = torch.nn.functional.one_hot(x, I).double() if ids else x
    for d, w in enumerate(directions):
        torch.testing.assert_close(gx[:, :, d], w.gain_ih * norm(rows @ w.w_ih.T) + w.b_ih)
        assert torch.equal(gains.gain_hh[d], w.gain_hh)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_statistics_of_16_bit_types_are_computed_in_float32(dtype):
    x = (torch.randn(7, 512) + 30).to(dtype)  # sums of squares are far beyond the precision of 16 bits
    error = (normalised(x).double() - norm(x.double())).abs().max()
    assert error < 4 * torch.finfo(dtype).eps


def test_scale_and_shift_of_the_weights_do_not_matter():
    """What normalisation is for: W_hh may be scaled, and a row added to all its rows."""
    gx, h0, w_hh, b_hh, gains = arguments(3)
    expected, _ = gru_sweep(gx, h0, w_hh, b_hh, gains=gains)
    got, _ = gru_sweep(gx, h0, 1e3 * (w_hh + draw(D, 1, H)), b_hh, gains=gains)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)

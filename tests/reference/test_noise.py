"""Zoneout and recurrent dropout of the reference: the formulas of their papers, written out, and the statistics of the masks."""

import itertools
import math

import pytest
import torch

from fusedrnn.reference import noise as module
from fusedrnn.reference.loop import over_time
from fusedrnn.reference.noise import Noise, drawn
from fusedrnn.reference.philox import random_words
from fusedrnn.reference.sweep import gru_sweep, lstm_sweep, rnn_sweep

T, B, D, H = 6, 3, 2, 4
SEED = torch.tensor([-(1 << 60) + 12345])


def arguments(gates, states):
    gx = torch.randn(T, B, D, gates * H, dtype=torch.float64)
    w_hh, b_hh = torch.randn(D, gates * H, H, dtype=torch.float64), torch.randn(D, gates * H, dtype=torch.float64)
    return gx, [torch.randn(D, B, H, dtype=torch.float64) for _ in range(states)], w_hh, b_hh


def words(noise, shape, word):
    """One of the four random words of each element of `shape`."""
    return random_words(noise.seed, 0, 4 * math.prod(shape)).view(*shape, 4)[..., word]


def masks(noise):
    """Bernoulli variables of every step by name: 1 keeps the new h or c, and the candidate."""
    shape = (T, B, D, H)
    if noise.seed is None:
        h, c = ((1 - p) * torch.ones(shape, dtype=torch.float64) for p in noise.zoneout)
        return h, c, torch.ones(shape, dtype=torch.float64)
    h, c = ((words(noise, shape, k) >= p * 2**32).double() for k, p in enumerate(noise.zoneout))
    found = words(noise, shape[1:], 3).expand(shape) if noise.shared else words(noise, shape, 2)
    return h, c, (found >= noise.dropout * 2**32).double() / (1 - noise.dropout)


NOISES = {
    "zoneout": Noise(SEED, (0.4, 0.3)),
    "expected": Noise(None, (0.4, 0.3)),
    "recurrent dropout": Noise(SEED, (0.0, 0.0), 0.5),
    "one mask": Noise(SEED, (0.0, 0.0), 0.5, shared=True),
    "all": Noise(SEED, (0.2, 0.5), 0.25),
}
noises = pytest.mark.parametrize("noise", NOISES.values(), ids=NOISES)


@noises
def test_an_lstm_has_the_formulas_of_the_papers(noise):
    gx, (h0, c0), w_hh, b_hh = arguments(4, 2)
    output, cells, h_n, c_n = lstm_sweep(gx, h0, c0, w_hh, b_hh, noise=noise)
    m_h, m_c, m_g = masks(noise)
    for d in range(D):
        h, c = h0[d], c0[d]
        for t in range(T) if d == 0 else reversed(range(T)):
            i, f, g, o = (gx[t, :, d] + h @ w_hh[d].T + b_hh[d]).split(H, -1)
            inner = f.sigmoid() * c + i.sigmoid() * (m_g[t, :, d] * g.tanh())  # Semeniuta et al., equation 14
            # Krueger et al., section 3.1: both from the c before zoneout
            c = m_c[t, :, d] * inner + (1 - m_c[t, :, d]) * c
            h = m_h[t, :, d] * (o.sigmoid() * inner.tanh()) + (1 - m_h[t, :, d]) * h
            torch.testing.assert_close(output[t, :, d], h)
            torch.testing.assert_close(cells[t, :, d], c)
        torch.testing.assert_close(h_n[d], h)
        torch.testing.assert_close(c_n[d], c)


@noises
@pytest.mark.parametrize("reset_after", [True, False])
def test_a_gru_has_the_formulas_of_the_papers(noise, reset_after):
    gx, (h0,), w_hh, b_hh = arguments(3, 1)
    output, h_n = gru_sweep(gx, h0, w_hh, b_hh, reset_after=reset_after, noise=noise)
    m_h, _, m_n = masks(noise)
    for d in range(D):
        h, (w_r, w_z, w_n), (b_r, b_z, b_n) = h0[d], w_hh[d].split(H), b_hh[d].split(H)
        for t in range(T) if d == 0 else reversed(range(T)):
            x_r, x_z, x_n = gx[t, :, d].split(H, -1)
            r, z = (x_r + h @ w_r.T + b_r).sigmoid(), (x_z + h @ w_z.T + b_z).sigmoid()
            inner = r * (h @ w_n.T + b_n) if reset_after else (r * h) @ w_n.T + b_n
            n = m_n[t, :, d] * (x_n + inner).tanh()
            h = m_h[t, :, d] * ((1 - z) * n + z * h) + (1 - m_h[t, :, d]) * h
            torch.testing.assert_close(output[t, :, d], h)
        torch.testing.assert_close(h_n[d], h)


@pytest.mark.parametrize("noise", [NOISES["zoneout"], NOISES["expected"]], ids=["random", "expected"])
def test_an_rnn_has_the_formula_of_the_paper(noise):
    gx, (h0,), w_hh, b_hh = arguments(1, 1)
    output, _ = rnn_sweep(gx, h0, w_hh, b_hh, noise=noise)
    m_h, h = masks(noise)[0], h0[1]
    for t in reversed(range(T)):
        h = m_h[t, :, 1] * (gx[t, :, 1] + h @ w_hh[1].T + b_hh[1]).tanh() + (1 - m_h[t, :, 1]) * h
        torch.testing.assert_close(output[t, :, 1], h)


def test_the_masks_have_their_rates_and_do_not_depend_on_each_other():
    shape = (50, 20, 2, 25)
    noise = Noise(SEED, (0.3, 0.6), 0.2)
    h, c, factors = drawn(noise, shape, torch.float64)
    once = drawn(noise._replace(shared=True), shape, torch.float64).factor
    assert set(factors.unique().tolist()) == {0.0, 1 / 0.8}
    assert torch.equal(once, once[:1].expand_as(once))
    found = [h, c, factors > 0, once > 0]
    other = drawn(noise._replace(seed=SEED + 1), shape, torch.float64).h
    for mask, p in zip([*found, other], (0.3, 0.6, 0.2, 0.2, 0.3), strict=True):
        count = mask.numel() if mask is not found[3] else mask[0].numel()
        assert abs(mask.double().mean() - (1 - p)) < 5 * math.sqrt(p * (1 - p) / count)
    for a, b in itertools.combinations([*found[:3], other], 2):
        correlation = torch.corrcoef(torch.stack([a.flatten().double(), b.flatten().double()]))[0, 1]
        assert abs(correlation) < 5 / math.sqrt(a.numel())


@noises
def test_no_noise_is_drawn_for_nothing(noise):
    assert drawn(noise._replace(dropout=0.0), (T, B, D, H), torch.float64).factor is None
    assert drawn(noise._replace(zoneout=(0.0, 0.0)), (T, B, D, H), torch.float64)[:2] == (1, 1)


@pytest.mark.parametrize("noise", [NOISES["all"], NOISES["one mask"]], ids=["each step", "one mask"])
def test_masks_are_the_same_in_chunks(noise, monkeypatch):
    whole = drawn(noise, (T, B, D, H), torch.float32)
    monkeypatch.setattr(module, "CHUNK", 4 * 7)
    for a, b in zip(whole, drawn(noise, (T, B, D, H), torch.float32), strict=True):
        assert torch.equal(torch.as_tensor(a), torch.as_tensor(b))


def test_a_batch_without_samples_has_masks_without_elements():
    assert drawn(NOISES["all"], (T, 0, D, H), torch.float32).h.shape == (T, 0, D, H)


def test_a_state_of_the_padding_stays_though_noise_has_masks_there():
    gx, states, w_hh, b_hh = arguments(4, 2)
    lengths = torch.tensor([2, 6, 0])
    output, _, h_n, _ = lstm_sweep(gx, *states, w_hh, b_hh, None, lengths, noise=NOISES["all"])
    assert not output[2:, 0].any()
    torch.testing.assert_close(h_n[0, 0], output[1, 0, 0])
    torch.testing.assert_close(h_n[:, 2], states[0][:, 2])


def test_a_cell_without_noise_is_given_no_factor():
    seen = []

    def cell(gx, h, *more):
        seen.append(more)
        return (h + gx,)

    over_time(cell, torch.ones(2, 1, 1, 3), (torch.zeros(1, 1, 3),), (), None, noise=Noise(SEED, (0.5, 0.0)))
    assert seen == [(), ()]

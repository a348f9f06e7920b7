"""Cells against formulas written out number by number, and against each other."""

from math import exp, tanh

import pytest
import torch

from fusedrnn.reference.gru import gru_cell, gru_cell_reset_before
from fusedrnn.reference.lstm import lstm_cell
from fusedrnn.reference.rnn import rnn_cell
from fusedrnn.reference.sweep import gru_sweep

B, H, P = 3, 5, 4


def sigmoid(a):
    return 1 / (1 + exp(-a))


def randn(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def dot(matrix, row, vector):
    return sum(matrix[row][k] * vector[k] for k in range(len(vector)))


def vanilla_by_hand(gx, h, w, b, squash):
    return [squash(gx[j] + dot(w, j, h) + b[j]) for j in range(H)]


def gru_by_hand(gx, h, w, b, reset_after):
    r = [sigmoid(gx[j] + dot(w, j, h) + b[j]) for j in range(H)]
    z = [sigmoid(gx[H + j] + dot(w, H + j, h) + b[H + j]) for j in range(H)]
    kept = [r[k] * h[k] for k in range(H)]
    new = []
    for j in range(H):
        row = 2 * H + j
        recurrent = r[j] * (dot(w, row, h) + b[row]) if reset_after else dot(w, row, kept) + b[row]
        new.append((1 - z[j]) * tanh(gx[row] + recurrent) + z[j] * h[j])
    return new


def lstm_by_hand(gx, h, c, w, b, w_hr):
    def gate(number, squash):
        return [squash(gx[number * H + j] + dot(w, number * H + j, h) + b[number * H + j]) for j in range(H)]

    i, f, g, o = gate(0, sigmoid), gate(1, sigmoid), gate(2, tanh), gate(3, sigmoid)
    c = [f[j] * c[j] + i[j] * g[j] for j in range(H)]
    h = [o[j] * tanh(c[j]) for j in range(H)]
    return [dot(w_hr, p, h) for p in range(P)], c


def assert_rows(got, rows):
    torch.testing.assert_close(got, torch.tensor(rows, dtype=torch.float64), rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize(("name", "squash"), [("tanh", tanh), ("relu", lambda a: max(a, 0.0))], ids=["tanh", "relu"])
def test_vanilla_cell_is_the_formula(name, squash):
    gx, h, w, b = randn(B, H), randn(B, H), randn(H, H), randn(H)
    by_hand = [vanilla_by_hand(gx[s].tolist(), h[s].tolist(), w.tolist(), b.tolist(), squash) for s in range(B)]
    assert_rows(rnn_cell(gx, h, w, b, nonlinearity=name), by_hand)


@pytest.mark.parametrize("cell", [gru_cell, gru_cell_reset_before])
def test_gru_cell_is_the_formula(cell):
    gx, h, w, b = randn(B, 3 * H), randn(B, H), randn(3 * H, H), randn(3 * H)
    after = cell is gru_cell
    by_hand = [gru_by_hand(gx[s].tolist(), h[s].tolist(), w.tolist(), b.tolist(), after) for s in range(B)]
    assert_rows(cell(gx, h, w, b), by_hand)


def test_projected_lstm_cell_is_the_formula():
    gx, h, c, w, b, w_hr = randn(B, 4 * H), randn(B, P), randn(B, H), randn(4 * H, P), randn(4 * H), randn(P, H)
    pairs = [
        lstm_by_hand(gx[s].tolist(), h[s].tolist(), c[s].tolist(), w.tolist(), b.tolist(), w_hr.tolist())
        for s in range(B)
    ]
    h_new, c_new = lstm_cell(gx, h, c, w, b, w_hr)
    assert_rows(h_new, [pair[0] for pair in pairs])
    assert_rows(c_new, [pair[1] for pair in pairs])


@pytest.mark.parametrize("reset_after", [True, False], ids=["reset-after", "reset-before"])
def test_gru_sweep_is_the_formula_step_by_step(reset_after):
    steps = 4
    gx, h0, w, b = randn(steps, B, 2, 3 * H), randn(2, B, H), randn(2, 3 * H, H), randn(2, 3 * H)
    output, h_n = gru_sweep(gx, h0, w, b, reset_after=reset_after)
    for d, times in enumerate([range(steps), range(steps)[::-1]]):
        for s in range(B):
            h = h0[d, s].tolist()
            for t in times:
                h = gru_by_hand(gx[t, s, d].tolist(), h, w[d].tolist(), b[d].tolist(), reset_after)
                assert_rows(output[t, s, d], h)
            assert_rows(h_n[d, s], h)


def test_the_two_grus_agree_only_while_the_reset_gate_is_open():
    gx, h, w = randn(B, 3 * H), randn(B, H), randn(3 * H, H)
    assert (gru_cell(gx, h, w) - gru_cell_reset_before(gx, h, w)).abs().max() > 1e-2
    gx[:, :H] = 60.0
    torch.testing.assert_close(gru_cell(gx, h, w), gru_cell_reset_before(gx, h, w), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("cell", [rnn_cell, gru_cell, gru_cell_reset_before, lstm_cell])
def test_no_bias_is_a_bias_of_zero(cell):
    gates = {rnn_cell: 1, lstm_cell: 4}.get(cell, 3)
    states = [randn(B, H) for _ in range(2 if cell is lstm_cell else 1)]
    gx, w = randn(B, gates * H), randn(gates * H, H)
    torch.testing.assert_close(cell(gx, *states, w), cell(gx, *states, w, torch.zeros(gates * H, dtype=gx.dtype)))

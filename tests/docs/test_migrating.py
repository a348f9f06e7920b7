"""The functions of the pages on migrating load weights of other packages: held to those packages' formulas, step by step."""

import pytest
import torch

from fusedrnn import FusedGRU, FusedLSTM
from tests.helpers.pages import DOCS, blocks

T, B, I, H = 5, 3, 4, 6


def function(page, name):
    """A function that a page defines."""
    space = {"__name__": "page", "torch": torch}
    for _, code in blocks((DOCS / "migrating" / f"{page}.md").read_text(encoding="utf-8"), "python"):
        if f"def {name}(" in code:
            exec(code, space)
    return space[name]


def drawn(*shape):
    return torch.randn(*shape, dtype=torch.float64)


def gru(x, kernel, recurrent_kernel, bias, recurrent_bias):
    """Gates in the order z r h, the reset after the product: Keras with reset_after=True, and haste."""
    h = x.new_zeros(B, H)
    for x_t in x:
        x_z, x_r, x_h = (x_t @ kernel + bias).chunk(3, -1)
        h_z, h_r, h_h = (h @ recurrent_kernel + recurrent_bias).chunk(3, -1)
        z, r = torch.sigmoid(x_z + h_z), torch.sigmoid(x_r + h_r)
        h = z * h + (1 - z) * torch.tanh(x_h + r * h_h)
    return h


def lstm(x, kernel, recurrent_kernel, bias, order):
    """Gates in `order`, one bias."""
    h = c = x.new_zeros(B, H)
    for x_t in x:
        gates = dict(zip(order, (x_t @ kernel + h @ recurrent_kernel + bias).chunk(4, -1), strict=True))
        i, f, o = (torch.sigmoid(gates[name]) for name in "ifo")
        c = f * c + i * torch.tanh(gates["g"])
        h = o * torch.tanh(c)
    return h


@pytest.mark.parametrize("page", ["keras", "haste"])
def test_a_gru_of_another_package_gives_the_same(page):
    x, kernel, recurrent, biases = drawn(T, B, I), drawn(I, 3 * H), drawn(H, 3 * H), drawn(2, 3 * H)
    ours = FusedGRU(I, H, dtype=torch.float64)
    given = (biases,) if page == "keras" else tuple(biases)
    function(page, f"load_{page}_gru")(ours, kernel, recurrent, *given)
    torch.testing.assert_close(ours(x)[1][0], gru(x, kernel, recurrent, *biases))


@pytest.mark.parametrize(("page", "order"), [("keras", "ifgo"), ("haste", "igfo")])
def test_an_lstm_of_another_package_gives_the_same(page, order):
    x, kernel, recurrent, bias = drawn(T, B, I), drawn(I, 4 * H), drawn(H, 4 * H), drawn(4 * H)
    ours = FusedLSTM(I, H, dtype=torch.float64)
    function(page, f"load_{page}_lstm")(ours, kernel, recurrent, bias)
    torch.testing.assert_close(ours(x)[1][0][0], lstm(x, kernel, recurrent, bias, order))

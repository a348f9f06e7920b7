"""`memory="recompute"` keeps no gates for the backward and changes no result."""

import itertools

import pytest
import torch

from fusedrnn import FusedGRU, FusedLSTM, functional

CELLS = {
    "gru": lambda **options: FusedGRU(5, 7, 2, bidirectional=True, **options),
    "gru_before": lambda **options: FusedGRU(5, 7, 2, bidirectional=True, reset_after=False, **options),
    "lstm": lambda **options: FusedLSTM(5, 7, 2, bidirectional=True, **options),
    "projected": lambda **options: FusedLSTM(5, 7, 2, bidirectional=True, proj_size=3, **options),
}


def trained(net, x, lengths):
    """Output, gradients of input and parameters, and how many bytes autograd kept."""
    kept = {}

    def keep(tensor):
        kept[tensor.data_ptr()] = tensor.numel() * tensor.element_size()
        return tensor

    x = x.clone().requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output, _ = net(x, lengths=lengths)
    output.square().sum().backward()
    return [output.detach(), x.grad, *(p.grad for p in net.parameters())], sum(kept.values())


def cases():
    """Every cell on both backends; on the kernels only the LSTM's dropout in the short run."""
    for cell, backend, dropout in itertools.product(CELLS, ("aten", "triton"), (0.0, 0.4)):
        long = backend == "triton" and (cell, dropout) != ("lstm", 0.4)
        name = f"{cell}-{backend}-{'dropout' if dropout else 'plain'}"
        yield pytest.param(cell, backend, dropout, id=name, marks=pytest.mark.slow if long else [])


@pytest.mark.parametrize(("cell", "backend", "dropout"), list(cases()))
def test_recompute_gives_equal_results_from_less_memory(cell, backend, dropout):
    if backend == "triton":
        pytest.importorskip("triton")
    T, B, H, D = 6, 3, 7, 2
    x, lengths = torch.randn(T, B, 5), torch.tensor([6, 2, 5])
    runs = {}
    for memory in ("save", "recompute"):
        torch.manual_seed(3)
        net = CELLS[cell](backend=backend, memory=memory, dropout=dropout)
        runs[memory] = trained(net, x, lengths)
    for saved, again in zip(runs["save"][0], runs["recompute"][0], strict=True):
        torch.testing.assert_close(again, saved, rtol=2e-5, atol=2e-6)
    gates = T * B * D * H * (3 if cell == "gru_before" else 4) * 4
    if backend == "triton" or cell == "gru_before":  # where "save" keeps gates of ours, not torch's
        assert torch.equal(runs["save"][0][0], runs["recompute"][0][0])
        assert runs["save"][1] - runs["recompute"][1] >= 2 * gates


def test_the_choice_is_shown_and_checked():
    assert repr(FusedGRU(2, 3, memory="recompute")) == "FusedGRU(2, 3, memory='recompute')"
    assert "memory" not in repr(FusedGRU(2, 3))
    for wrong in ("always", None, True):
        with pytest.raises(ValueError, match=f"memory: expected 'save' or 'recompute', got {wrong!r}"):
            FusedLSTM(2, 3, memory=wrong)
    net = FusedGRU(2, 3)
    with pytest.raises(ValueError, match="memory: expected 'save' or 'recompute', got 'none'"):
        functional.gru(torch.zeros(1, 1, 2), None, net._weights().layers, memory="none")

"""Calls of every public entry on a device that is given; nothing is made on torch's default device."""

import torch
from torch.nn.utils.rnn import PackedSequence, pack_sequence

from fusedrnn import (
    FusedDropout,
    FusedGRU,
    FusedGRUCell,
    FusedLSTM,
    FusedLSTMCell,
    FusedRNN,
    FusedRNNCell,
    InitialState,
    functional,
)

I, H = 3, 5
KINDS = {
    "GRU": lambda **options: FusedGRU(I, H, **options),
    "GRU, reset before": lambda **options: FusedGRU(I, H, reset_after=False, **options),
    "LSTM": lambda **options: FusedLSTM(I, H, **options),
    "LSTM, projection": lambda **options: FusedLSTM(I, H, proj_size=2, **options),
    "RNN": lambda **options: FusedRNN(I, H, nonlinearity="relu", **options),
}
OPTIONS = {
    "one layer": {},
    "deep": {"num_layers": 2, "bidirectional": True, "dropout": 0.4, "bias": False},
    "all dropouts": {"num_layers": 2, "dropout": 0.4, "variational": True, "input_dropout": 0.3, "weight_dropout": 0.2},
    "recompute": {"memory": "recompute", "bidirectional": True},
    "reference": {"backend": "reference", "bidirectional": True},
    "aten": {"backend": "aten", "num_layers": 2, "dropout": 0.4},
}
FORMS = ("padded", "batch first", "packed", "lengths", "ids", "packed ids", "unbatched", "initial states", "all states")


def leaves(nested):
    """All tensors in nested tuples."""
    if isinstance(nested, PackedSequence):
        return [nested.data]
    return [nested] if isinstance(nested, torch.Tensor) else [t for part in nested for t in leaves(part)]


def results(outputs, inputs):
    """Outputs and the gradients of inputs, of a sum with odd weights."""
    loss = sum((output * (0.1 * k + output.detach().cos())).sum() for k, output in enumerate(leaves(outputs)))
    loss.backward()
    return [*leaves(outputs), *(x.grad for x in inputs if x.grad is not None)]


def packed(rows):
    """Rows of several lengths, packed; torch makes the lengths on its default device."""
    with torch.device("cpu"):
        return pack_sequence(rows, enforce_sorted=False)


def layers(kind, options, form, device):
    """Run the layers of a module."""
    module = KINDS[kind](batch_first=form == "batch first", device="cpu", **options).to(device)
    x = torch.randn(4, 2, I, device="cpu").to(device).requires_grad_()
    given, named = (x,), {}
    if form == "ids":
        given = (torch.tensor([[1, 2], [0, 1], [2, 2]], device="cpu").to(device),)
    if form == "packed ids":
        rows = [torch.tensor(row, device="cpu") for row in ([1, 2], [0, 1, 2, 1], [2])]
        given = (packed(rows).to(device),)
    if form == "packed":
        rows = [torch.randn(steps, I, device="cpu") for steps in (2, 4, 1)]
        given = (packed(rows).to(device),)
        x = given[0].data.requires_grad_()
    if form == "lengths":
        named = {"lengths": torch.tensor([2, 4], device="cpu").to(device)}
    if form == "unbatched":
        given = (x[:, 0],)
    if form == "initial states":
        initial = InitialState(module)
        with torch.no_grad():
            for parameter in initial.parameters():
                parameter.fill_(0.3)
        given = (x, initial(x))
        return results(module(*given), [x, *module.parameters(), *initial.parameters()])
    if form == "all states":
        named = {"return_all_states": True}
    return results(module(*given, **named), [x, *module.parameters()])


def long(device):
    """A GRU of many small steps."""
    module, x = FusedGRU(I, H, device="cpu").to(device), torch.randn(33, 2, I, device="cpu").to(device)
    return results(module(x), list(module.parameters()))


def cell(kind, ids, device):
    """Two steps of a cell."""
    module = kind(I, H, device="cpu").to(device)
    x = torch.tensor([1, 2], device="cpu") if ids else torch.randn(2, I, device="cpu")
    x = x.to(device).requires_grad_(not ids)
    states = module(x, module(x))
    return results(states, [x, *module.parameters()])


def one(function, device):
    """A function of one tensor."""
    x = torch.randn(4, I, device="cpu").to(device).requires_grad_()
    return results(function(x), [x])


def bias_relu(p, device):
    """The fused hidden layer, differentiated twice."""
    x, bias = (torch.randn(*shape, device="cpu").to(device).requires_grad_() for shape in ((4, I), (I,)))
    y = functional.bias_relu_dropout(x, bias, p)
    (dx,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
    return results((y, dx), [x, bias])


def second_derivative(device):
    """The derivative of a derivative of a layer."""
    module, x = (
        FusedGRU(I, H, memory="recompute", device="cpu").to(device),
        torch.randn(3, 2, I, device="cpu").to(device),
    )
    x.requires_grad_()
    (dx,) = torch.autograd.grad(module(x)[0].sum(), x, create_graph=True)
    return results(dx, [x, *module.parameters()])


CASES = {
    f"{kind}: {option}, {form}": lambda device, a=kind, b=option, c=form: layers(a, OPTIONS[b], c, device)
    for k, kind in enumerate(KINDS)
    for j, option in enumerate(OPTIONS)
    for n, form in enumerate(FORMS)
    if not (option == "all dropouts" and "ids" in form) and (k in (0, 2) or (k + j + n) % 3 == 0)
}
CASES["GRU of many small steps"] = long
for kind in (FusedGRUCell, FusedLSTMCell, FusedRNNCell):
    CASES[kind.__name__] = lambda device, a=kind: cell(a, False, device)
    CASES[f"{kind.__name__}, ids"] = lambda device, a=kind: cell(a, True, device)
for p in (0.4, 1.0):
    CASES[f"dropout, p = {p}"] = lambda device, p=p: one(FusedDropout(p), device)
    CASES[f"bias_relu_dropout, p = {p}"] = lambda device, p=p: bias_relu(p, device)
CASES["dropout in place"] = lambda device: one(lambda x: FusedDropout(inplace=True)(x * 2), device)
CASES["dropout, shared"] = lambda device: one(FusedDropout(shared_dims=1), device)
CASES["l2_penalty"] = lambda device: one(lambda x: functional.l2_penalty([x, x[0]]), device)
CASES["second derivative"] = second_derivative

"""Random configurations of the modules, run beside torch.nn on the same weights, inputs and gradients."""

import random

import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from fusedrnn import FusedGRU, FusedLSTM

KINDS = ("padded", "packed", "unbatched", "lengths", "ids")


def pair(seed, backend, dtype=torch.float64, largest=6, layers=3):
    """torch.nn's module, ours, and the options, all drawn from the seed."""
    draw = random.Random(seed)
    lstm = draw.random() < 0.5
    inputs, hidden = draw.randint(1, largest), draw.randint(2, largest + 1)
    options = {
        "num_layers": draw.randint(1, layers),
        "bias": draw.random() < 0.7,
        "batch_first": draw.random() < 0.5,
        "bidirectional": draw.random() < 0.5,
    }
    if lstm and draw.random() < 0.4:
        options["proj_size"] = draw.randint(1, hidden - 1)
    torch.manual_seed(seed)
    theirs = (nn.LSTM if lstm else nn.GRU)(inputs, hidden, dtype=torch.float64, **options)
    ours = (FusedLSTM if lstm else FusedGRU)(inputs, hidden, dtype=dtype, backend=backend, **options)
    with torch.no_grad():
        for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            other.copy_(mine.copy_(other))  # both hold what the narrower dtype can hold
    return theirs, ours, draw


def run_both(seed, backend, dtype=torch.float64, largest=6, layers=3):
    """Outputs, states and all gradients, of torch.nn in float64 and of ours, as two lists; and what was run."""
    theirs, ours, draw = pair(seed, backend, dtype, largest, layers)
    lstm, first = isinstance(theirs, nn.LSTM), theirs.batch_first
    steps, batch = draw.randint(1, 6), draw.randint(1, 5)
    kind = draw.choice(KINDS)
    rows = theirs.num_layers * (1 + theirs.bidirectional)

    def leaf(*shape):
        return torch.randn(*shape).to(dtype).double().requires_grad_()

    shape = (rows,) if kind == "unbatched" else (rows, batch)
    states = [leaf(*shape, theirs.proj_size or theirs.hidden_size)] + [leaf(*shape, theirs.hidden_size)] * lstm
    states = states if draw.random() < 0.6 else []
    if kind == "unbatched":
        x = leaf(steps, theirs.input_size)
    else:
        x = leaf(*((batch, steps) if first else (steps, batch)), theirs.input_size)
    lengths = torch.tensor([draw.randint(1, steps) for _ in range(batch)])
    lengths[draw.randrange(batch)] = steps
    ids = torch.randint(0, theirs.input_size, x.shape[:2])
    results = []
    for module, to in ((theirs, torch.float64), (ours, dtype)):
        given, hx = x.to(to), [state.to(to) for state in states]
        hx = (tuple(hx) if lstm else hx[0]) if hx else None
        packed = None
        if kind == "packed" or (kind == "lengths" and module is theirs):
            packed = pack_padded_sequence(given, lengths, batch_first=first, enforce_sorted=False)
            output, final = module(packed, hx)
            assert isinstance(output, PackedSequence)
            output, _ = pad_packed_sequence(output, batch_first=first)
        elif kind == "lengths":
            output, final = module(given, hx, lengths=lengths)
        elif kind == "ids":
            one_hot = nn.functional.one_hot(ids, module.input_size).to(to)
            output, final = module(one_hot if module is theirs else ids, hx)
        else:
            output, final = module(given, hx)
        results.append([output, *(final if lstm else [final])])
    assert [r.shape for r in results[0]] == [r.shape for r in results[1]]
    assert all(r.dtype == dtype for r in results[1])
    gradients = [torch.randn_like(r) for r in results[0]]
    leaves = [] if kind == "ids" else [x]
    both = []
    for module, found in zip((theirs, ours), results, strict=True):
        grads = torch.autograd.grad(
            found,
            [*leaves, *states, *module.parameters()],
            [g.to(r.dtype) for g, r in zip(gradients, found, strict=True)],
        )
        both.append([*(r.detach() for r in found), *grads])
    return *both, f"{type(ours).__name__}({ours.extra_repr()}), {kind}, T={steps} B={batch}"

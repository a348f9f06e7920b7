"""Modules with heads, and their input."""

import torch
from contract_cases import LAYERS

T, B, I, H, N = 4, 3, 3, 6, 2


def build(name, heads=N, **options):
    torch.manual_seed(1)
    return LAYERS[name][1](I, H, heads=heads, **{"dtype": torch.float64, **options})


def gates_of(module):
    return len(module.bias_ih_l0) // H


def x_of():
    return torch.randn(T, B, I, dtype=torch.float64, requires_grad=True)

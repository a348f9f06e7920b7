"""The weights of a Core ML file, which is a protocol buffer: numbered fields, that may hold messages of fields."""

from collections.abc import Iterator

import torch
from torch import Tensor

NETWORK, LAYER, NAME = 500, 1, 1
CONVOLUTION, LSTM, CUSTOM = 100, 430, 500
"""Numbers of fields, as Core ML's published format has them. A custom layer here is a group normalisation."""
GATES_IH, GATES_HH, GATES_B = (1, 2, 3, 4), (20, 21, 22, 23), (40, 41, 42, 43)
"""Of a direction of an LSTM: input gate, forget gate, candidate, output gate, which is PyTorch's order."""


def fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield the number and the value of each field: an integer, or bytes."""
    at = 0

    def integer() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(message):
        number, kind = divmod(integer(), 8)
        if kind == 0:
            yield number, integer()
        elif kind == 2:
            size = integer()
            yield number, message[at : at + size]
            at += size
        else:
            raise ValueError(f"expected a field of kind 0 or 2, got {kind}")


def read_coreml(data: bytes) -> dict[str, Tensor]:
    """The weights of the convolutions, group normalisations and bidirectional LSTMs of a Core ML file, each flat.

    An LSTM has one bias there. It becomes `bias_hh`; `bias_ih` is zeros.
    """
    network = _all(data, NETWORK)[0]
    weights = {}
    for layer in _all(network, LAYER):
        name = _all(layer, NAME)[0].decode().removesuffix("_conv").removesuffix("_transposed")
        for message in _all(layer, CONVOLUTION):
            weights[f"{name}.weight"], weights[f"{name}.bias"] = (_floats(_all(message, field)) for field in (90, 91))
        for message in _all(layer, CUSTOM):
            weights[f"{name}.weight"], weights[f"{name}.bias"] = (_floats([part]) for part in _all(message, 20))
        for message in _all(layer, LSTM):
            for suffix, direction in zip(("l0", "l0_reverse"), _all(message, 20), strict=True):
                for kind, gates in (("weight_ih", GATES_IH), ("weight_hh", GATES_HH), ("bias_hh", GATES_B)):
                    weights[f"{name}.lstm.{kind}_{suffix}"] = _floats([_all(direction, gate)[0] for gate in gates])
                weights[f"{name}.lstm.bias_ih_{suffix}"] = torch.zeros_like(weights[f"{name}.lstm.bias_hh_{suffix}"])
    return weights


def _all(message: bytes, number: int) -> list[bytes]:
    return [value for found, value in fields(message) if found == number]


def _floats(parts: list[bytes]) -> Tensor:
    """The float32 numbers of Core ML's weights, one after the other."""
    return torch.frombuffer(bytearray(b"".join(_all(part, 1)[0] for part in parts)), dtype=torch.float32)

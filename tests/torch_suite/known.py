"""The tests of PyTorch whose outcome with our classes differs on purpose."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Known:
    """A known difference: a part of the message of the test when it fails with ours, and why that is."""

    message: str
    reason: str


KNOWN: dict[str, dict[str, Known]] = {
    "test_nn.py": {},
    "nn/test_packed_sequence.py": {},
    "nn/test_dropout.py": {},
}
"""By file and by test, `Class::test`."""

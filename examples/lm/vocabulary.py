"""Mapping between characters and ids."""

from collections.abc import Iterable

import torch
from torch import Tensor

from examples.common.errors import UserError


class Vocabulary:
    """The characters of a text, sorted, so that the same text gives the same ids in every run.

    (The order of a Python `set` of strings differs between processes, so runs would not be reproducible.)
    """

    def __init__(self, text: Iterable[str]) -> None:
        self.characters = "".join(sorted(set(text)))
        self._index = {character: number for number, character in enumerate(self.characters)}

    def __len__(self) -> int:
        return len(self.characters)

    def missing(self, text: str) -> str:
        """Return the characters of `text` outside the vocabulary, each once, in order of appearance."""
        return "".join(dict.fromkeys(character for character in text if character not in self._index))

    def encode(self, text: str) -> Tensor:
        """Return the ids of `text`, (len(text),) int64.

        Raises:
            UserError: a character is not in the vocabulary.
        """
        if missing := self.missing(text):
            raise UserError(f"expected characters of the training text's vocabulary ({len(self)}), got {missing!r}")
        return torch.tensor([self._index[character] for character in text], dtype=torch.int64)

    def decode(self, ids: Iterable[int]) -> str:
        """Return the text of `ids`."""
        return "".join(self.characters[number] for number in ids)

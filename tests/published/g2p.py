"""g2p-en: how an English word is pronounced; a GRU reads its letters, a GRU cell writes its sounds."""

from io import BytesIO
from zipfile import ZipFile

import numpy as np
import torch
from torch import Tensor, nn

from tests.published.model import Published
from tests.published.wheels import Wheel

STEPS = 20
LETTERS = ["<pad>", "<unk>", "</s>", *"abcdefghijklmnopqrstuvwxyz"]
ARPABET = """
AA0 AA1 AA2 AE0 AE1 AE2 AH0 AH1 AH2 AO0 AO1 AO2 AW0 AW1 AW2 AY0 AY1 AY2 B CH D DH EH0 EH1 EH2 ER0 ER1 ER2 EY0 EY1 EY2 F G HH
IH0 IH1 IH2 IY0 IY1 IY2 JH K L M N NG OW0 OW1 OW2 OY0 OY1 OY2 P R S SH T TH UH0 UH1 UH2 UW UW0 UW1 UW2 V W Y Z ZH"""
SOUNDS = ["<pad>", "<unk>", "<s>", "</s>", *ARPABET.split()]
EMBEDDINGS = {"enc_emb": "letters.weight", "dec_emb": "sounds.weight", "fc_w": "scores.weight", "fc_b": "scores.bias"}
READER = {f"enc_{k}_{s}": f"reader.{name}_{s}_l0" for k, name in (("w", "weight"), ("b", "bias")) for s in ("ih", "hh")}
WRITER = {f"dec_{k}_{s}": f"writer.{name}_{s}" for k, name in (("w", "weight"), ("b", "bias")) for s in ("ih", "hh")}
NAMES = EMBEDDINGS | READER | WRITER
"""The package's names of the weights to ours."""


class Pronunciation(nn.Module):
    """The network that the package computes in NumPy, with gates in PyTorch's order."""

    def __init__(self) -> None:
        super().__init__()
        self.letters = nn.Embedding(29, 256)
        self.reader = nn.GRU(256, 256, batch_first=True)
        self.sounds = nn.Embedding(74, 256)
        self.writer = nn.GRUCell(256, 256)
        self.scores = nn.Linear(256, 74)

    def forward(self, words: Tensor) -> Tensor:
        """Scores of the sounds of `words`, (N, letters), each the likeliest after the one before: (N, 20, 74)."""
        state = self.reader(self.letters(words))[1][0]
        sound = torch.full_like(words[:, 0], SOUNDS.index("<s>"))
        written = []
        for _ in range(STEPS):
            state = self.writer(self.sounds(sound), state)
            written.append(self.scores(state))
            sound = written[-1].argmax(1)
        return torch.stack(written, 1)


def build(archive: ZipFile) -> nn.Module:
    with np.load(BytesIO(archive.read("g2p_en/checkpoint20.npz")), allow_pickle=False) as arrays:
        weights = {NAMES[name]: torch.from_numpy(array) for name, array in arrays.items()}
    network = Pronunciation()
    network.load_state_dict(weights, strict=True)
    return network.eval()


def spell(word: str) -> Tensor:
    """The letters of `word`, with an end: (1, letters)."""
    return torch.tensor([[LETTERS.index(letter) for letter in [*word, "</s>"]]])


def inputs(batch: int, letters: int) -> Tensor:
    """Consonants and vowels by turns."""
    consonants, vowels = (torch.tensor([LETTERS.index(c) for c in kind]) for kind in ("bcdfghklmnprstvw", "aeiou"))
    words = torch.where(
        torch.arange(letters) % 2 == 0,
        consonants[torch.randint(len(consonants), (batch, letters))],
        vowels[torch.randint(len(vowels), (batch, letters))],
    )
    words[:, -1] = LETTERS.index("</s>")
    return words


G2P = Published(
    Wheel(
        "g2p-en",
        "2.1.0",
        "g2p_en-2.1.0-py3-none-any.whl",
        "2a7aabf1fc7f270fcc3349881407988c9245173c2413debbe5432f4a4f31319f",
    ),
    what="pronunciation",
    build=build,
    inputs=inputs,
    sizes=((1, 6), (4, 10)),
    recurrent={"reader": "GRU -> FusedGRU", "writer": "GRUCell -> FusedGRUCell"},
)

"""silero-vad: the probability of speech in each chunk of 32 ms; convolutions, then an LSTM cell that runs over the chunks."""

import warnings
from collections import OrderedDict
from io import BytesIO
from zipfile import ZipFile

import torch
from torch import Tensor, nn

from tests.published.model import Published
from tests.published.signals import speech
from tests.published.wheels import Wheel

CHUNK, CONTEXT = 512, 64  # samples
PREFIX = "_model."
"""Of the network for 16 kHz in the script, which has one for 8 kHz too."""


class Spectrum(nn.Module):
    """The absolute values of a Fourier transform of 256 samples, every 128."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("forward_basis_buffer", torch.empty(258, 1, 256))

    def forward(self, wave: Tensor) -> Tensor:
        """(N, samples) to (N, 129, frames)."""
        padded = nn.functional.pad(wave, (0, 64), mode="reflect").unsqueeze(1)
        real, imaginary = nn.functional.conv1d(padded, self.forward_basis_buffer, stride=128).split(129, 1)
        return (real.square() + imaginary.square()).sqrt()


def convolution(channels: int, out: int, stride: int) -> nn.Sequential:
    return nn.Sequential(OrderedDict(reparam_conv=nn.Conv1d(channels, out, 3, stride, padding=1), relu=nn.ReLU()))


class SpeechActivity(nn.Module):
    """The layers of the script in the wheel, under its names; `replace_rnns` leaves a script itself alone."""

    def __init__(self) -> None:
        super().__init__()
        self.stft = Spectrum()
        sizes = [(129, 128, 1), (128, 64, 2), (64, 64, 2), (64, 128, 1)]
        self.encoder = nn.Sequential(*(convolution(*size) for size in sizes))
        last = nn.Sequential(nn.Identity(), nn.ReLU(), nn.Conv1d(128, 1, 1), nn.Sigmoid())
        self.decoder = nn.ModuleDict({"rnn": nn.LSTMCell(128, 128), "decoder": last})

    def forward(self, wave: Tensor) -> Tensor:
        """Speech in `wave`, (N, chunks * 512) at 16 kHz: (N, chunks)."""
        padded = nn.functional.pad(wave, (CONTEXT, 0))
        state, found = None, []
        for start in range(0, wave.shape[1], CHUNK):
            x = self.encoder(self.stft(padded[:, start : start + CONTEXT + CHUNK]))
            state = self.decoder["rnn"](
                x.view(-1, 128), state
            )  # squeeze(-1) hides the size from TorchScript's exporter
            found.append(self.decoder["decoder"](state[0].unsqueeze(-1)).flatten(1))
        return torch.cat(found, 1)


def script(archive: ZipFile) -> torch.jit.ScriptModule:
    """What the package itself runs: it takes a chunk and the sampling rate, and keeps its states."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of torch.jit
        return torch.jit.load(BytesIO(archive.read("silero_vad/data/silero_vad.jit")), map_location="cpu")


def build(archive: ZipFile) -> nn.Module:
    weights = script(archive).state_dict()
    network = SpeechActivity()
    network.load_state_dict(
        {k.removeprefix(PREFIX): v for k, v in weights.items() if k.startswith(PREFIX)}, strict=True
    )
    return network.eval()


SILERO = Published(
    Wheel(
        "silero-vad",
        "6.2.3",
        "silero_vad-6.2.3-py3-none-any.whl",
        "7b7f5436cfcb02fae583a05b512ea96467fd449fe54cb49a5e4f06c51a1e43b8",
    ),
    what="speech activity",
    build=build,
    inputs=lambda batch, chunks: speech(batch, chunks * CHUNK),
    sizes=((1, 5), (3, 8)),
    recurrent={"decoder.rnn": "LSTMCell -> FusedLSTMCell"},
)

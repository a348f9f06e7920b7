"""WhisperX: which of three speakers speaks when; pyannote's learned band filters, then four layers of bidirectional LSTM."""

import collections
from io import BytesIO
from zipfile import ZipFile

import torch
from torch import Tensor, nn
from torch.nn.functional import conv1d, leaky_relu, max_pool1d
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals
from torch.torch_version import TorchVersion

from tests.published.model import Published
from tests.published.signals import RATE, speech
from tests.published.wheels import Wheel


class BandFilters(nn.Module):
    """Forty band-pass filters, each as a cosine and a sine, of 251 samples; their lower edges and widths are learned."""

    def __init__(self) -> None:
        super().__init__()
        self.low_hz_ = nn.Parameter(torch.empty(40, 1))
        self.band_hz_ = nn.Parameter(torch.empty(40, 1))
        self.register_buffer("window_", torch.empty(125))
        self.register_buffer("n_", torch.empty(1, 125))

    def forward(self, wave: Tensor) -> Tensor:
        """(N, 1, samples) to (N, 80, frames)."""
        low = 50 + self.low_hz_.abs()
        high = (low + 50 + self.band_hz_.abs()).clamp(max=RATE / 2)
        scale = self.window_ / (self.n_ * (high - low))
        even = scale * (torch.sin(high * self.n_) - torch.sin(low * self.n_))
        odd = scale * (torch.cos(low * self.n_) - torch.cos(high * self.n_))
        one = torch.ones_like(low)
        cosines = torch.cat([even, one, even.flip(1)], 1)
        sines = torch.cat([odd, 0 * one, -odd.flip(1)], 1)
        return conv1d(wave, torch.cat([cosines, sines]).unsqueeze(1), stride=10)


class SincNet(nn.Module):
    """Filters, absolute values, and two convolutions, with pooling and normalisation after each."""

    def __init__(self) -> None:
        super().__init__()
        self.wav_norm1d = nn.InstanceNorm1d(1, affine=True)
        filters = nn.ModuleDict({"filterbank": BandFilters()})
        self.conv1d = nn.ModuleList([filters, nn.Conv1d(80, 60, 5), nn.Conv1d(60, 60, 5)])
        self.norm1d = nn.ModuleList(nn.InstanceNorm1d(channels, affine=True) for channels in (80, 60, 60))

    def forward(self, wave: Tensor) -> Tensor:
        """(N, 1, samples) to (N, 60, frames)."""
        filters, *convolutions = self.conv1d
        x = filters["filterbank"](self.wav_norm1d(wave)).abs()
        x = leaky_relu(self.norm1d[0](max_pool1d(x, 3)))
        for convolution, norm in zip(convolutions, self.norm1d[1:], strict=True):
            x = leaky_relu(norm(max_pool1d(convolution(x), 3)))
        return x


class Speakers(nn.Module):
    """The layers of pyannote's `PyanNet`, which is not in the wheel."""

    def __init__(self) -> None:
        super().__init__()
        self.sincnet = SincNet()
        self.lstm = nn.LSTM(60, 128, num_layers=4, bidirectional=True, dropout=0.5, batch_first=True)
        self.linear = nn.ModuleList([nn.Linear(256, 128), nn.Linear(128, 128)])
        self.classifier = nn.Linear(128, 3)

    def forward(self, wave: Tensor) -> Tensor:
        """Speech of three speakers in `wave`, (N, 1, samples) at 16 kHz: (N, frames, 3)."""
        x = self.lstm(self.sincnet(wave).transpose(1, 2))[0]
        for linear in self.linear:
            x = leaky_relu(linear(x))
        return self.classifier(x).sigmoid()


class _Ignored:
    """Stands for the settings in the checkpoint, of classes that are not imported."""

    def __init__(self, *_: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


def build(archive: ZipFile) -> nn.Module:
    data = archive.read("whisperx/assets/pytorch_model.bin")
    known = [dict, list, int, collections.defaultdict, TorchVersion]
    foreign = [
        name for name in get_unsafe_globals_in_checkpoint(BytesIO(data)) if name.startswith(("pyannote.", "omegaconf."))
    ]
    with safe_globals([*known, *((_Ignored, name) for name in (*foreign, "typing.Any"))]):
        checkpoint = torch.load(BytesIO(data), map_location="cpu", weights_only=True)
    network = Speakers()
    network.load_state_dict(checkpoint["state_dict"], strict=True)
    return network.eval()


WHISPERX = Published(
    Wheel(
        "whisperx",
        "3.8.6",
        "whisperx-3.8.6-py3-none-any.whl",
        "cb6d4fcd3fb6c42305cb8b222a33a0b78f6b657e9db3b714345fe43dc0a69c1f",
    ),
    what="speaker segmentation",
    build=build,
    inputs=lambda batch, tenths: speech(batch, tenths * RATE // 10).unsqueeze(1),
    sizes=((1, 10), (2, 25)),
    recurrent={"lstm": "LSTM -> FusedLSTM"},
)

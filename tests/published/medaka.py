"""medaka: the bases of a genome from counts of what reads say at each position; two layers of bidirectional GRU."""

import tarfile
from io import BytesIO
from zipfile import ZipFile

import torch
from torch import Tensor, nn

from tests.published.model import Published
from tests.published.wheels import Wheel

WEIGHTS = "medaka/data/r1041_e82_400bps_sup_v5.2.0_model_pt.tar.gz"


class Consensus(nn.Module):
    """The layers of the package's `GRUModel`, which is not imported: it needs pysam."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = nn.GRU(10, 128, num_layers=2, bidirectional=True, batch_first=True)
        self.linear = nn.Linear(256, 5)

    def forward(self, counts: Tensor) -> Tensor:
        """Probabilities of a gap and of four bases at each position of `counts`, (N, positions, 10): (N, positions, 5)."""
        return self.linear(self.gru(counts)[0]).softmax(-1)


def build(archive: ZipFile) -> nn.Module:
    with tarfile.open(fileobj=BytesIO(archive.read(WEIGHTS))) as model:
        data = model.extractfile("model/weights.pt").read()
    network = Consensus()
    network.load_state_dict(torch.load(BytesIO(data), map_location="cpu", weights_only=True), strict=True)
    return network.eval()


def inputs(batch: int, positions: int) -> Tensor:
    return pileup(torch.randint(0, 5, (batch, positions)))


def pileup(bases: Tensor) -> Tensor:
    """What thirty reads of `bases`, (N, positions), say: shares of ten, the package's acgtACGTdD, where d is a gap.

    0 is a gap and 1 to 4 are acgt, as in the network's output. Nine reads in ten agree with `bases`, one says anything.
    """
    reverse = torch.randint(0, 2, (*bases.shape, 30))
    true = bases.unsqueeze(-1)
    agree = torch.where(true == 0, 8 + reverse, 4 * reverse + true - 1)
    reads = torch.where(torch.rand(agree.shape) < 0.9, agree, torch.randint(0, 10, agree.shape))
    return nn.functional.one_hot(reads, 10).float().mean(2)


MEDAKA = Published(
    Wheel(
        "medaka-cpu",
        "2.2.0",
        "medaka_cpu-2.2.0-cp311-cp311-manylinux_2_27_x86_64.manylinux_2_28_x86_64.whl",
        "0eef4e800bd723c4d95eccd01663ebd4a2107365eadc4534c9dadbd973077905",
    ),
    what="genome polishing",
    build=build,
    inputs=inputs,
    sizes=((1, 60), (3, 150)),
    recurrent={"gru": "GRU -> FusedGRU"},
)

"""Images and labels: Fashion-MNIST if available, else scikit-learn's digits."""

from dataclasses import dataclass, fields, replace
from pathlib import Path

import torch
from torch import Tensor

from examples.common.errors import UserError
from examples.common.outcome import Data

from . import fashion


@dataclass(frozen=True)
class Images:
    """Training and test images: pixels from 0 to 1, (n, pixels) float32, and labels 0 to 9, (n,) int64."""

    train: Tensor
    train_labels: Tensor
    test: Tensor
    test_labels: Tensor

    def some(self, n: int, seed: int) -> "Images":
        """Return `n` random training images, and all test images."""
        places = torch.randperm(len(self.train), generator=torch.Generator().manual_seed(seed))[:n]
        return replace(self, train=self.train[places], train_labels=self.train_labels[places])

    def to(self, device: torch.device) -> "Images":
        """Copy everything to a device."""
        return Images(*[getattr(self, field.name).to(device) for field in fields(self)])


def load_images(source: str) -> tuple[Images, Data]:
    """Load the images that --data asks for.

    Args:
        source: a folder with Fashion-MNIST's files, "digits", or "auto": the Debian package's folder if it exists, else a
            download, else the digits.

    Raises:
        UserError: the folder does not contain Fashion-MNIST.
    """
    if source == "digits":
        return digits(), Data("scikit-learn's 1,797 digits of 8 x 8 pixels, as asked for", is_fallback=True)
    if source != "auto" or fashion.DEBIAN.is_dir():
        folder = fashion.DEBIAN if source == "auto" else Path(source)
        return _images(fashion.from_folder(folder), 255), Data(f"Fashion-MNIST from {folder}")
    try:
        return _images(fashion.download(), 255), Data(f"Fashion-MNIST from {fashion.URL}")
    except UserError as error:
        return digits(), Data(f"scikit-learn's 1,797 digits of 8 x 8 pixels, because: {error}", is_fallback=True)


def digits() -> Images:
    """Return scikit-learn's digits: the first 1,437 for training, the last 360, by other writers, for test."""
    from sklearn.datasets import load_digits

    pixels, labels = (torch.from_numpy(array) for array in load_digits(return_X_y=True))
    return _images((pixels[:1437], labels[:1437], pixels[1437:], labels[1437:]), 16)


def _images(arrays: fashion.Arrays, white: int) -> Images:
    train, train_labels, test, test_labels = arrays
    return Images(train.float() / white, train_labels.long(), test.float() / white, test_labels.long())

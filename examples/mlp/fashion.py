"""Fashion-MNIST (Xiao, Rasul & Vollgraf 2017): four files, verified by the sha256 of their unzipped content."""

import gzip
import hashlib
import tempfile
import zlib
from pathlib import Path

import numpy as np
import pooch
import torch
from torch import Tensor

from examples.common.errors import UserError

URL = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
SHA256 = {  # of the unzipped content: .gz files differ between sources
    "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
    "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
    "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
    "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
}
DEBIAN = Path("/usr/share/datasets/fashion-mnist")  # folder of the package dataset-fashion-mnist

Arrays = tuple[Tensor, Tensor, Tensor, Tensor]  # training images, (n, 784) uint8, and labels, (n,) uint8; then test


def from_folder(folder: Path) -> Arrays:
    """Read the four files from a folder, zipped or not.

    Raises:
        UserError: a file is missing, corrupt, or not the published one.
    """
    return _tensors({name: _content(folder, name) for name in SHA256})


def download() -> Arrays:
    """Read the four files from the user's cache; download them the first time.

    Raises:
        UserError: the download failed, or a file is not the published one.
    """
    contents = {}
    for name, sha256 in SHA256.items():
        try:
            cached = pooch.retrieve(
                URL + name + ".gz",
                known_hash=f"sha256:{sha256}",
                fname=name,
                path=pooch.os_cache("fusedrnn") / "fashion-mnist",
                downloader=_fetch_and_unzip,
            )
        except (
            OSError,
            EOFError,
            zlib.error,
            ValueError,
        ) as error:  # requests' errors are OSErrors; a wrong hash a ValueError
            reason = " ".join(str(error).split())
            raise UserError(f"expected to download Fashion-MNIST's {name} from {URL}, got: {reason}") from error
        contents[name] = Path(cached).read_bytes()
    return _tensors(contents)


def _fetch_and_unzip(url: str, output_file: str, manager: pooch.Pooch) -> None:
    with tempfile.TemporaryDirectory() as folder:
        zipped = Path(folder, "zipped")
        pooch.HTTPDownloader(timeout=20)(url, str(zipped), manager)
        Path(output_file).write_bytes(gzip.decompress(zipped.read_bytes()))


def _content(folder: Path, name: str) -> bytes:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            break
    else:
        raise UserError(f"expected {name} or {name}.gz in {folder}, got neither")
    try:
        content = path.read_bytes()
        if path.suffix == ".gz":
            content = gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"expected a sound file, got {path}: {error}") from error
    if (sha256 := hashlib.sha256(content).hexdigest()) != SHA256[name]:
        raise UserError(f"expected Fashion-MNIST's {name} (sha256 {SHA256[name][:12]}), got {sha256[:12]} in {path}")
    return content


def _tensors(contents: dict[str, bytes]) -> Arrays:
    train, train_labels, test, test_labels = (
        torch.from_numpy(np.frombuffer(content, np.uint8, offset=16 if "images" in name else 8).copy())
        for name, content in contents.items()
    )
    return train.view(-1, 784), train_labels, test.view(-1, 784), test_labels

"""The training text: a file, a zip with one file, the default lyrics, or the published ones."""

import hashlib
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from examples.common.errors import UserError

from .vocabulary import Vocabulary

DEFAULT = Path(__file__).resolve().parents[1] / "data" / "lyrics_zh.txt"


@dataclass(frozen=True)
class Corpus:
    """A text with its vocabulary and its ids, (len(text),) int64."""

    text: str
    vocabulary: Vocabulary
    ids: Tensor

    @property
    def sha256(self) -> str:
        """Hash of the text, to check that a resumed run uses the same one."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def load_corpus(source: str, max_chars: int) -> Corpus:
    """Read the first `max_chars` characters of a text, line breaks turned into spaces.

    Args:
        source: "default", "published", or the path of a UTF-8 text file or of a zip with one.
        max_chars: number of characters to keep.

    Raises:
        UserError: the file is missing, unreadable, empty or not UTF-8, or the zip is broken.
    """
    path = _locate(source)
    try:
        text = _read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(
            f"expected a corpus in UTF-8, got byte 0x{error.object[error.start]:02x} at {error.start} in {path}"
        ) from error
    text = text.replace("\n", " ").replace("\r", " ")[:max_chars]
    if not text.strip():
        raise UserError(f"expected a corpus with text in it, got {path}, which is empty")
    vocabulary = Vocabulary(text)
    return Corpus(text, vocabulary, vocabulary.encode(text))


def _locate(source: str) -> Path:
    if source == "published":
        from .published import fetch_published  # imported here: pooch may not be installed on a GPU machine

        return fetch_published()
    return DEFAULT if source == "default" else Path(source)


def _read_bytes(path: Path) -> bytes:
    try:
        if path.suffix.lower() == ".zip" or zipfile.is_zipfile(path):
            return _read_zip(path)
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"expected a readable corpus file, got {path}: {error.strerror or error}") from error


def _read_zip(path: Path) -> bytes:
    try:
        with zipfile.ZipFile(path) as archive:
            names = [entry.filename for entry in archive.infolist() if not entry.is_dir()]
            if len(names) != 1:
                raise UserError(f"expected one text file in the zip, got {len(names)} in {path}")
            return archive.read(names[0])
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
        raise UserError(f"expected a sound zip file, got {path}: {error}") from error

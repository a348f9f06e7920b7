"""The textbook's lyrics: downloaded on request, not part of the package, because they are under copyright."""

from pathlib import Path

import pooch

from examples.common.errors import UserError

URL = "https://github.com/d2l-ai/d2l-zh/raw/v1.0.0/data/jaychou_lyrics.txt.zip"
SHA256 = "3cfedd7d174111cdad5a27eaffaa6a2432a2842cf2590a03dd8a97610ea07043"


def fetch_published() -> Path:
    """Return the path of the published corpus in the user's cache; download it the first time.

    Raises:
        UserError: the download failed, or the file has another sha256.
    """
    try:
        downloader = pooch.HTTPDownloader(timeout=30)
        cached = pooch.retrieve(
            URL,
            known_hash=f"sha256:{SHA256}",
            fname="jaychou_lyrics.txt.zip",
            path=pooch.os_cache("fusedrnn"),
            downloader=downloader,
        )
    except (OSError, ValueError) as error:  # requests' errors are OSErrors; a wrong hash is a ValueError
        reason = " ".join(str(error).split())
        raise UserError(f"expected to download the published corpus from {URL}, got: {reason}") from error
    return Path(cached)

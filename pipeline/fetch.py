"""Download the Lakh MIDI Dataset's archives.

Source: Raffel 2016, Learning-Based Methods for Comparing Sequences; the archives' names, sizes
and checksums are those of https://colinraffel.com/projects/lmd/.
"""

from pathlib import Path
from typing import Any

from shards.errors import LakhxlError

LAKH = "http://hog.ee.columbia.edu/craffel/lmd/"
ARCHIVES = {
    "lmd_full": "md5:2536ce3fd2cede53ddaa264f731859ab",
    "lmd_matched": "md5:fb80d01c22020295bb3eeef31f1aa63a",
    "clean_midi": None,
}
"""Name -> checksum; none is published for clean_midi."""


def download(name: str, to: Path, address: str = LAKH, known_hash: str | None = None) -> Path:
    """Download one archive, unless it is there already; returns where it lies.

    It appears under its name only with the right checksum.

    Args:
        name: a key of ARCHIVES.
        to: the folder; made if need be.
        address: the folder on the web that holds it.
        known_hash: instead of the published checksum.

    Raises:
        LakhxlError: it cannot be had, or is not what it should be.
    """
    import pooch
    import requests

    file = f"{name}.tar.gz"
    try:
        return Path(
            pooch.retrieve(
                address.rstrip("/") + "/" + file,
                known_hash=known_hash or ARCHIVES[name],
                fname=file,
                path=to,
                downloader=pooch.HTTPDownloader(
                    progressbar=True, timeout=60, hooks={"response": _close_failed}
                ),
            )
        )
    except requests.RequestException as error:
        raise LakhxlError(f"{address}{file} cannot be downloaded: {error}") from error
    except ValueError as error:  # pooch: the checksum differs
        raise LakhxlError(f"{address}{file}: {error}") from error


def _close_failed(response: Any, *_: object, **__: object) -> None:
    """Close the connection of an answer that pooch will refuse, and would leave open."""
    if not response.ok:
        response.close()

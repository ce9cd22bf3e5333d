"""What a listing stores about each file, and why a file may be refused."""

from dataclasses import dataclass

import pyarrow as pa

SUFFIXES = (".mid", ".midi", ".kar", ".rmi", ".smf")
ZIPPED_SUFFIXES = tuple(f"{suffix}.gz" for suffix in SUFFIXES)
NAMES = f"{', '.join(SUFFIXES)} (or one of these with .gz)"
UNREAD_SUFFIXES = (".7z", ".rar", ".tar.zst", ".tzst", ".tar.z", ".tar.lz", ".midi2", ".mid.bz2")
"""Files that may hold music but are not read: they are counted for the user."""

LISTING_SCHEMA = pa.schema(
    [
        ("name", pa.string()),  # its name in the ledger
        ("path", pa.binary()),  # of a loose file, as raw bytes
        ("offset", pa.int64()),  # of an archive member: see Member
        ("size", pa.int64()),
        ("packed", pa.int64()),
        ("method", pa.int32()),
        ("crc", pa.int64()),
        ("rule", pa.string()),  # of a member refused without reading it: see Refused
        ("detail", pa.string()),
        ("value", pa.float64()),
        ("threshold", pa.float64()),
    ]
)


@dataclass(frozen=True, slots=True)
class Member:
    """The location of a file inside an archive.

    Attributes:
        offset: in a .tar, the position of the file's first byte in the (uncompressed) archive;
            in a .zip, the position of its local header.
        size: uncompressed bytes.
        packed: compressed bytes, in a .zip.
        method: compression method in a .zip; None outside of a .zip.
        crc: CRC-32 stated by a .zip.
    """

    offset: int
    size: int
    packed: int | None = None
    method: int | None = None
    crc: int | None = None


class Refused(Exception):
    """A file that must not or cannot be opened. It becomes a row of the ledger, not an error.

    Attributes:
        rule: the code in the ledger.
        detail: a sentence.
        value, threshold: the measured number and its bound, if there is one.
    """

    def __init__(
        self, rule: str, detail: str, value: float | None = None, threshold: float | None = None
    ) -> None:
        super().__init__(detail)
        self.rule, self.detail, self.value, self.threshold = rule, detail, value, threshold

    def __reduce__(self) -> tuple:
        return Refused, (self.rule, self.detail, self.value, self.threshold)


class Damaged(Exception):
    """An archive that cannot be read further.

    Attributes:
        rule: `damaged_archive` or `bomb`.
        value, threshold: the measured number and its bound, if there is one.
    """

    def __init__(
        self, rule: str, detail: str, value: float | None = None, threshold: float | None = None
    ) -> None:
        super().__init__(detail)
        self.rule, self.value, self.threshold = rule, value, threshold


def is_midi(name: str) -> bool:
    """Whether a file name has a MIDI suffix."""
    return name.lower().endswith(SUFFIXES + ZIPPED_SUFFIXES)


def unread_kind(name: str, archives: tuple[str, ...] = ()) -> str | None:
    """The suffix of a file that may hold music but is not read; None for any other file.

    Args:
        name: the file's name.
        archives: suffixes of archives that are not read where the file lies.
    """
    unread = (*UNREAD_SUFFIXES, *archives)
    return next((suffix for suffix in unread if name.lower().endswith(suffix)), None)

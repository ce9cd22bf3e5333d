"""What the listing of a source says of one file, and why a file may be refused."""

from dataclasses import dataclass

import pyarrow as pa

SUFFIXES = (".mid", ".midi", ".kar", ".rmi")

LISTING_SCHEMA = pa.schema(
    [
        ("name", pa.string()),  # what the ledger calls it
        ("path", pa.binary()),  # of a loose file, as the system has it
        ("offset", pa.int64()),  # of a member: see Member
        ("size", pa.int64()),
        ("packed", pa.int64()),
        ("method", pa.int32()),
        ("crc", pa.int64()),
        ("rule", pa.string()),  # of a member that is refused unread: see Refused
        ("detail", pa.string()),
        ("value", pa.float64()),
        ("threshold", pa.float64()),
    ]
)


@dataclass(frozen=True, slots=True)
class Member:
    """Where a file lies inside an archive.

    Attributes:
        offset: of a .tar, bytes from the start of the (unpacked) archive to the file's first;
            of a .zip, to the file's local header.
        size: bytes, unpacked.
        packed: bytes it takes up in a .zip.
        method: how a .zip packed it; None: not in a .zip.
        crc: CRC-32 that a .zip states.
    """

    offset: int
    size: int
    packed: int | None = None
    method: int | None = None
    crc: int | None = None


class Refused(Exception):
    """A file that is not to be opened, or cannot be; a row of the ledger, not the user's error.

    Attributes:
        rule: the code for the ledger.
        detail: a sentence.
        value, threshold: what was measured against what, where it was a number.
    """

    def __init__(
        self, rule: str, detail: str, value: float | None = None, threshold: float | None = None
    ) -> None:
        super().__init__(detail)
        self.rule, self.detail, self.value, self.threshold = rule, detail, value, threshold

    def __reduce__(self) -> tuple:
        return Refused, (self.rule, self.detail, self.value, self.threshold)


class Damaged(Exception):
    """An archive that cannot be read any further.

    Attributes:
        rule: `damaged_archive` or `bomb`.
        value, threshold: what was measured, against what.
    """

    def __init__(
        self, rule: str, detail: str, value: float | None = None, threshold: float | None = None
    ) -> None:
        super().__init__(detail)
        self.rule, self.value, self.threshold = rule, value, threshold


def is_midi(name: str) -> bool:
    """Whether a file's name says that it is for us."""
    return name.lower().endswith(SUFFIXES)


def readable(name: str) -> str:
    """A name that is text: bytes that are not UTF-8 are escaped."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")

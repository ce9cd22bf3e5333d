"""What a listing stores about each file, and why a file may be refused."""

from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

SUFFIXES = (".mid", ".midi", ".kar", ".rmi", ".smf")
ZIPPED_SUFFIXES = tuple(f"{suffix}.gz" for suffix in SUFFIXES)
NAMES = f"{', '.join(SUFFIXES)} (or one of these with .gz)"
LARGEST = 2**53
"""The largest size that a header may state: no file is larger, and a float64 column holds it."""

UNREAD_RULES = {
    suffix: f"unread{suffix.replace('.', '_')}"
    for suffix in (".7z", ".rar", ".tar.z", ".tar.lz", ".midi2", ".mid.bz2")
}
"""Suffixes of files that may hold music but are not read, and their rules."""
PASSED_OVER: dict[str, tuple[str, str]] = {
    "link": ("links to files", "a link is not followed"),
    "broken_link": ("broken links", "a link to nothing: its target is not here"),
    "link_to_folder": ("links to folders", "a link to a folder is not followed"),
    "archive_in_archive": ("archives in archives", "an archive in an archive is not read"),
    "archive_in_folder": ("archives in folders", "not read unless it is named as a source"),
    **{
        rule: (suffix, f"{suffix} is not read: unpack or convert it")
        for suffix, rule in UNREAD_RULES.items()
    },
}
"""Rules for what may hold music but is not read: what it is, in the plural, and the detail."""

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


class Fault(Exception):
    """What is wrong with a file or an archive.

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
        return type(self), (self.rule, self.detail, self.value, self.threshold)


class Refused(Fault):
    """A file that must not or cannot be opened. It becomes a row of the ledger, not an error."""


class Damaged(Fault):
    """An archive that cannot be read further; by the rule `damaged_archive` or `bomb`."""


def is_midi(name: str) -> bool:
    """Whether a file name has a MIDI suffix."""
    return name.lower().endswith(SUFFIXES + ZIPPED_SUFFIXES)


def unread_rule(name: str) -> str | None:
    """The rule for a file that may hold music but has a format that is not read; else None."""
    lower = name.lower()
    return next((rule for suffix, rule in UNREAD_RULES.items() if lower.endswith(suffix)), None)


def passed_over(files: Mapping[str, int]) -> list[str]:
    """The rules of PASSED_OVER among files by rule, as phrases such as `2 .rar`."""
    return [f"{files[rule]:,} {what}" for rule, (what, _) in PASSED_OVER.items() if rule in files]

"""The faulty and duplicate files of the demo corpus, and their names.

A faulty file is made of a song of its own, so its outcome does not depend on another file.
Duplicates repeat songs of the corpus; their names contain the song's name.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from pipeline.demo import damage
from pipeline.demo.damage import Damage, Song

FOLDER = "unsorted"


@dataclass(frozen=True)
class Planted:
    """A faulty or duplicate file of the corpus."""

    path: str
    """Relative to the corpus, with forward slashes."""
    kind: str
    """As in the tables below, or `readme`."""
    duplicate_of: str | None = None
    """The path of the song that the file repeats."""


FAULTS: tuple[tuple[str, str, Damage], ...] = (
    ("cut in the header.mid", "truncated_in_header", damage.truncated_in_header),
    ("cut before the notes.mid", "truncated_before_notes", damage.truncated_before_notes),
    ("cut in one track.mid", "truncated_format_0", damage.truncated_format_0),
    ("cut in the tracks.mid", "truncated_format_1", damage.truncated_format_1),
    ("cut between tracks.mid", "truncated_between_tracks", damage.truncated_between_tracks),
    ("empty.mid", "empty", damage.empty),
    ("a second empty one.mid", "empty", damage.empty),
    ("not found.mid", "html_page", damage.html_page),
    ("noise.mid", "random_bytes", damage.random_bytes),
    ("ten hour gap.mid", "ten_hour_gap", damage.ten_hour_gap),
    ("minute of silence.mid", "leading_silence", damage.leading_silence),
    ("twelve notes.mid", "too_few_notes", damage.too_few_notes),
    ("bad key signature.mid", "bad_key_signature", damage.bad_key_signature),
    ("data bytes over 127.mid", "data_bytes_over_127", damage.data_bytes_over_127),
    ("no end of track.mid", "missing_end_of_track", damage.missing_end_of_track),
    ("wrong track count.mid", "wrong_track_count", damage.wrong_track_count),
    ("wrapped.rmi", "rmid", damage.rmid),
    ("sing along.kar", "kar_extension", damage.healthy),
    ("SHOUTED.MID", "upper_case_extension", damage.healthy),
    ("  spaces  in the name .mid", "spaces_in_name", damage.healthy),
    ("déjà vu 夜の曲.mid", "unicode_name", damage.healthy),
)
"""File name, kind and damage; each is made of a song that the corpus does not hold otherwise."""

DUPLICATES: tuple[tuple[str, str, Damage], ...] = (
    ("{stem} (copy).mid", "exact_duplicate", damage.healthy),
    ("{stem}_1.mid", "exact_duplicate", damage.healthy),
    ("{stem} in another key.mid", "near_transposed", damage.near_transposed),
    ("{stem} faster.mid", "near_faster", damage.near_faster),
    ("{stem} retitled.mid", "near_retitled", damage.near_retitled),
    ("{stem} reordered.mid", "near_reordered", damage.near_reordered),
    ("{stem} resampled.mid", "near_resolution", damage.near_resolution),
)
"""File name, kind and change; number n repeats song n modulo the number of songs."""


def song_path(song: Song) -> str:
    """The path of a song in the corpus."""
    return f"{song.piece.folder}/{song.number:03d} {song.piece.title}.mid"


def plant(seed: int, songs: int) -> Iterator[tuple[Planted, bytes]]:
    """Every faulty or duplicate file of a corpus of `songs` songs, with its bytes."""
    for number, (name, kind, damaged) in enumerate(FAULTS):
        yield Planted(f"{FOLDER}/{name}", kind), damaged(Song(seed, songs + number))
    for number, (pattern, kind, changed) in enumerate(DUPLICATES):
        song = Song(seed, number % songs)
        original = song_path(song)
        stem = original.rpartition("/")[2].removesuffix(".mid")
        path = f"{FOLDER}/{pattern.format(stem=stem)}"
        yield Planted(path, kind, original), changed(song)

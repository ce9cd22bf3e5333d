"""The notes of a few songs for the report's piano rolls: enough to see what the music is like.

The songs are those with the smallest checksums: a random choice that the files alone decide. Of
the files that each rule rejected, one is drawn, by the same choice; a worker keeps its notes, since
the dataset does not.
"""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.report.schema import RejectedRoll, Roll, SongRoll
from shards.codec import Codec, EncodedSong
from shards.layout import ARRAYS, array_file
from shards.song import Song
from shards.vocabulary import Vocabulary

SONGS, RULES = 6, 6
BEATS, MAX_NOTES = 48, 250
"""Drawn of each song, from its first note: what comes first. All together under 60 kB of JSON."""


def rolls(folder: Path, index: pa.Table, vocabulary: Vocabulary) -> list[SongRoll]:
    """The beginnings of a few representative songs.

    Args:
        folder: holds the shards.
        index: `shards.layout.INDEX_SCHEMA`, one row per kept song.
        vocabulary: of the dataset.
    """
    codec = Codec(vocabulary)
    numbers = pa.array(np.flatnonzero(index["representative"].to_numpy()))
    songs = pa.table({"md5": index["md5"].take(numbers), "song": numbers})
    order = [("md5", "ascending"), ("song", "ascending")]
    chosen = songs["song"].take(pc.select_k_unstable(songs, SONGS, order))
    rows = index.select(["path", "shard", "start", "stop"]).take(chosen).to_pylist()
    return [
        _roll(folder, {**row, "song": song}, codec)
        for row, song in zip(rows, chosen.to_pylist(), strict=True)
    ]


def _roll(folder: Path, row: dict[str, Any], codec: Codec) -> SongRoll:
    arrays = (np.load(folder / array_file(name, row["shard"]), mmap_mode="r") for name in ARRAYS)
    encoded = EncodedSong(*(np.array(array[row["start"] : row["stop"]]) for array in arrays))
    return {"song": row["song"], **beginning(codec.decode(encoded), row["path"])}


def beginning(song: Song, path: str) -> Roll:
    """How a song begins: at least one note."""
    begin = int(song.notes["start"].min(initial=song.end))
    notes = song.notes[song.notes["start"] < begin + BEATS * song.steps_per_beat][:MAX_NOTES]
    columns = (notes["start"] - begin, notes["duration"], notes["pitch"], notes["instrument"])
    return {
        "path": path,
        "steps_per_beat": song.steps_per_beat,
        "notes": np.stack(columns, axis=1).tolist(),
    }


def one_of_each_rule(rejected: Iterable[tuple[str, RejectedRoll]]) -> dict[str, RejectedRoll]:
    """Of the files that each rule rejected, the one with the smallest checksum.

    Args:
        rejected: pairs of checksum and roll; of equal checksums, the first in the ledger counts.

    Returns:
        Checksum -> roll, of different rules, ascending.
    """
    chosen: dict[str, tuple[str, RejectedRoll]] = {}
    for md5, roll in rejected:
        best = chosen.get(roll["rule"])
        if best is None or (md5, roll["file"]) < (best[0], best[1]["file"]):
            chosen[roll["rule"]] = md5, roll
    return dict(sorted(chosen.values(), key=lambda pair: pair[0]))


def rejected_roll(row: dict[str, Any], file: int, roll: Roll) -> RejectedRoll:
    """A roll with what the ledger says of its file.

    Args:
        row: of the ledger.
        file: the number of the row, or that within a slice.
        roll: how the file begins.
    """
    value, bound = (
        row[name] if math.isfinite(row[name]) else None for name in ("value", "threshold")
    )
    return {**roll, "file": file, "rule": row["rule"], "value": value, "threshold": bound}

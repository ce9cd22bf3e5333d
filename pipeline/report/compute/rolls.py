"""The notes of a few songs for the report's piano rolls: enough to see what the music is like.

The songs are those with the smallest checksums: a random choice that the files alone decide.
"""

# pyarrow.compute makes its functions at import, where pyright cannot see them
# pyright: reportAttributeAccessIssue=false

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.report.schema import Roll
from shards.codec import Codec, EncodedSong
from shards.layout import ARRAYS, array_file
from shards.vocabulary import Vocabulary

SONGS = 6
BEATS, MAX_NOTES = 48, 250
"""Drawn of each song, from its first note: what comes first. All together under 60 kB of JSON."""


def rolls(folder: Path, index: pa.Table, vocabulary: Vocabulary) -> list[Roll]:
    """The beginnings of a few representative songs.

    Args:
        folder: holds the shards.
        index: `shards.layout.INDEX_SCHEMA`, one row per kept song.
        vocabulary: of the dataset.
    """
    codec = Codec(vocabulary)
    columns = index.select(["md5", "path", "shard", "start", "stop"])
    numbered = columns.append_column("song", pa.array(np.arange(index.num_rows)))
    songs = numbered.filter(index["representative"])
    order = [("md5", "ascending"), ("song", "ascending")]
    chosen = songs.take(pc.select_k_unstable(songs, SONGS, order))
    return [_roll(folder, row, codec) for row in chosen.to_pylist()]


def _roll(folder: Path, row: dict, codec: Codec) -> Roll:
    arrays = (np.load(folder / array_file(name, row["shard"]), mmap_mode="r") for name in ARRAYS)
    encoded = EncodedSong(*(np.array(array[row["start"] : row["stop"]]) for array in arrays))
    song = codec.decode(encoded)
    begin = int(song.notes["start"].min(initial=song.end))
    notes = song.notes[song.notes["start"] < begin + BEATS * song.steps_per_beat][:MAX_NOTES]
    columns = (notes["start"] - begin, notes["duration"], notes["pitch"], notes["instrument"])
    return {
        "song": row["song"],
        "path": row["path"],
        "steps_per_beat": song.steps_per_beat,
        "notes": np.stack(columns, axis=1).tolist(),
    }

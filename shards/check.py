"""What is wrong with a dataset's manifest, its tables or a song, in a sentence.

A dataset may come from somebody else, so nothing in it is used before it was checked. Opening
checks the manifest and the tables, column by column; reading a song checks its ids; decoding one
checks that its arrays are what its song encodes to. None of it costs a pass of Python over songs
or tokens.
"""

from collections.abc import Iterator, Mapping
from typing import Any, TypedDict

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shards.codec import MAX_BARS, Codec, EncodedSong
from shards.json_types import type_fault
from shards.layout import (
    ARRAYS,
    DUPLICATE_KINDS,
    FILE_NAME,
    INDEX,
    INDEX_NULLABLE,
    INDEX_SCHEMA,
    OUTCOMES,
    SPLITS,
)
from shards.song import Song
from shards.vocabulary import NO_VELOCITY, PITCHES, PROGRAMS, VELOCITY_BINS, Vocabulary

ROWS_AT_ONCE = 1 << 16


class Counts(TypedDict):
    """What the manifest counts: files by outcome, representatives by split."""

    files: int
    songs: int
    tokens: int
    clusters: int
    outcomes: dict[str, int]
    representatives: dict[str, int]


class Manifest(TypedDict):
    """All of dataset.json; `files` is the name and sha256 of every other file."""

    format_version: int
    settings: dict[str, dict[str, str | bool | int | float | None]]
    vocabulary_fingerprint: str
    counts: Counts
    files: dict[str, str]
    checksum: str


def manifest_fault(manifest: Any) -> str | None:
    """What is wrong with the types in a manifest, and with the names of its files."""
    fault = type_fault(manifest, Manifest)
    if fault is None:
        wrong = next((name for name in manifest["files"] if not FILE_NAME.fullmatch(name)), None)
        fault = f"files names {wrong!r}, which is no file of a dataset" if wrong else None
    return fault


def index_faults(index: pa.Table) -> Iterator[str]:
    """What is wrong with an index of `INDEX_SCHEMA`; later faults may follow from the first."""
    for name in INDEX_SCHEMA.names:
        if name not in INDEX_NULLABLE and index[name].null_count:
            yield f"{name} is null at song {_first(pc.is_null(index[name]).to_numpy())}"
            return
    shard, start, stop, cluster = (
        index[name].to_numpy().astype(np.int64) for name in ("shard", "start", "stop", "cluster")
    )
    split = pc.index_in(index["split"], pa.array(SPLITS)).fill_null(len(SPLITS)).to_numpy()
    is_first = np.diff(shard, prepend=-1) != 0
    expected = np.where(is_first, 0, np.concatenate([[0], stop])[:-1])
    duplicate = index["duplicate"].drop_null()
    rows = {
        "its shard is negative, or comes after a later one": np.diff(shard, prepend=0) < 0,
        "its stop is not behind its start": stop <= start,
        "its start is not the stop of the song before, or 0": start != expected,
        "its tokens are not stop - start": stop - start != index["tokens"].to_numpy(),
        f"its split is none of {', '.join(SPLITS)}": split == len(SPLITS),
        "its cluster is not in 0 … songs - 1": (cluster < 0) | (cluster >= len(index)),
    }
    for words, wrong in rows.items():
        if wrong.any():
            song = _first(wrong)
            where = f"shard {shard[song]}, start {start[song]}, stop {stop[song]}"
            yield f"song {song}: {words} ({where})"
            return
    yield from _representative_faults(cluster, index["representative"].to_numpy())
    if not pc.all(pc.is_in(duplicate, pa.array(DUPLICATE_KINDS)), min_count=0).as_py():
        yield f"a duplicate is none of {', '.join(DUPLICATE_KINDS)}"
    for name, values, high in (
        ("programs", [chunk.values for chunk in index["programs"].chunks], PROGRAMS - 1),
        ("silences", [chunk.keys for chunk in index["silences"].chunks], MAX_BARS - 1),
        ("silences", [chunk.items for chunk in index["silences"].chunks], None),
    ):
        for chunk in values:
            least, most = pc.min_max(chunk).as_py().values()
            if chunk.null_count or (least or 0) < 0 or (high is not None and (most or 0) > high):
                yield f"{name} holds null, {least} or {most}"


def _representative_faults(cluster: np.ndarray, representative: np.ndarray) -> Iterator[str]:
    """Every cluster has a representative."""
    clusters = int(cluster.max(initial=-1)) + 1
    represented = np.bincount(cluster[representative], minlength=clusters)
    if (represented == 0).any():
        yield f"cluster {_first(represented == 0)} has no representative"


def split_faults(index: pa.Table) -> Iterator[str]:
    """Whether a cluster lies in two splits. Such a dataset can be read, but held-out songs leak."""
    cluster = index["cluster"].to_numpy()
    codes = pc.index_in(index["split"], pa.array(SPLITS)).to_numpy()
    split_of = np.empty(len(index), codes.dtype)
    split_of[cluster] = codes  # of one of its songs
    divided = split_of[cluster] != codes
    if divided.any():
        yield f"cluster {cluster[_first(divided)]} lies in two splits"


def ledger_faults(ledger: pa.Table, index: pa.Table) -> Iterator[str]:
    """What is wrong with a ledger of `LEDGER_SCHEMA`: it names the index's songs, in order."""
    for name in ("path", "outcome"):
        if ledger[name].null_count:
            yield f"{name} is null in row {_first(pc.is_null(ledger[name]).to_numpy())}"
    if not pc.all(pc.is_in(ledger["outcome"], pa.array(OUTCOMES)), min_count=0).as_py():
        yield f"an outcome is none of {', '.join(OUTCOMES)}"
    yield from _song_faults(ledger.select(["song", "path", "md5", "outcome"]), index)


def _song_faults(ledger: pa.Table, index: pa.Table) -> Iterator[str]:
    """Compare the rows of songs with the index, piece by piece: copies of a million take memory."""
    seen, differ = 0, dict.fromkeys(("path", "md5", "outcome"), False)
    for batch in ledger.to_batches(max_chunksize=ROWS_AT_ONCE):
        kept = pa.Table.from_batches([batch.filter(batch["song"].is_valid())])
        songs = index.slice(seen, len(kept))
        if not np.array_equal(kept["song"].to_numpy(), np.arange(seen, seen + len(songs))):
            break
        seen += len(songs)
        for name in ("path", "md5"):
            differ[name] |= not kept[name].equals(songs[name])
        differ["outcome"] |= not pc.all(pc.equal(kept["outcome"], "kept"), min_count=0).as_py()
    else:
        if seen == len(index):
            yield from (
                f"the {name} of a song differs from that in {INDEX}"
                for name in ("path", "md5")
                if differ[name]
            )
            if differ["outcome"]:
                yield "a song has another outcome than kept"
            return
    yield f"it does not name the {len(index)} songs of {INDEX} in order"


def counts(index: pa.Table, ledger: pa.Table) -> Counts:
    """What the manifest of these tables counts."""
    of_split = _value_counts(index["split"].filter(index["representative"]))
    return {
        "files": ledger.num_rows,
        "songs": index.num_rows,
        "tokens": pc.sum(index["tokens"], min_count=0).as_py(),
        "clusters": pc.count_distinct(index["cluster"]).as_py(),
        "outcomes": dict(sorted(_value_counts(ledger["outcome"]).items())),
        "representatives": {split: of_split.get(split, 0) for split in SPLITS},
    }


def _value_counts(column: pa.ChunkedArray) -> Mapping[str, int]:
    found = pc.value_counts(column).to_pylist()
    return {row["values"]: row["counts"] for row in found}


def _first(wrong: np.ndarray) -> int:
    return int(wrong.argmax())


def id_fault(song: EncodedSong, vocabulary: Vocabulary) -> str | None:
    """Whether one of a song's ids is beyond the vocabulary, or missing where a target needs it.

    A pitch or control needs a program, a drum its own class, a note and nothing else a velocity
    bin. What more the arrays must satisfy is left to `checked_song`: this is done for every song
    trained on.
    """
    tokens, instruments, bins = song.tokens, song.instruments, song.velocities
    drums = np.uint16(vocabulary.drums)
    drum = tokens - np.uint16(vocabulary.drum0)  # what is below wraps
    is_drum = drum < drums
    has_program = tokens - np.uint16(vocabulary.pitch0) < np.uint16(PITCHES)
    is_note = is_drum | has_program
    if controls := vocabulary.unused0 - vocabulary.bend0:
        has_program = has_program | (tokens - np.uint16(vocabulary.bend0) < np.uint16(controls))
    wrong_in = {
        "tokens": tokens >= vocabulary.unused0,
        "instruments": (instruments + np.uint8(1) > vocabulary.instruments)  # none wraps to 0
        | (has_program & (instruments >= PROGRAMS))
        | (is_drum & (instruments != drum + np.uint16(PROGRAMS))),
        "velocities": (is_note == (bins == NO_VELOCITY)) | (is_note & (bins >= VELOCITY_BINS)),
        "steps": song.steps >= vocabulary.max_bar_steps,
    }
    for name, wrong in wrong_in.items():
        if wrong.any():
            at = _first(wrong)
            found = getattr(song, name)[at]
            return f"{name}[{at}] is {found} at token {tokens[at]}, outside the vocabulary"
    return None


def checked_song(encoded: EncodedSong, codec: Codec) -> Song:
    """Decode a song whose arrays are what it encodes to.

    Raises:
        ValueError: they are not; says where.
    """
    song = codec.decode(encoded)
    try:
        again = codec.encode(song)
    except KeyError as error:
        raise ValueError(f"the vocabulary has no {error}") from error
    if again == encoded:
        return song
    if len(again) != len(encoded):
        raise ValueError(f"{len(encoded)} tokens decode to a song of {len(again)}")
    differs = {name: getattr(again, name) != getattr(encoded, name) for name in ARRAYS}
    name = next(name for name in ARRAYS if differs[name].any())
    raise ValueError(f"{name}[{_first(differs[name])}] is not what its song encodes to")


def song_fault(encoded: EncodedSong, codec: Codec) -> str | None:
    """What is wrong with one song's arrays, or None; see `checked_song`."""
    try:
        checked_song(encoded, codec)
    except ValueError as error:
        return str(error)
    return None

"""The index columns that depend on other songs: cluster, split, representative, duplicate."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.duplicates.clusters import RULES, Signatures, clusters, joined
from pipeline.duplicates.representatives import representatives
from pipeline.duplicates.settings import DuplicateSettings, read_list
from pipeline.duplicates.signature import KINDS
from pipeline.duplicates.splits import SplitSettings, earlier_splits, splits
from pipeline.duplicates.stored import PlacesFile, Tables, numbers, read_columns, read_hashes
from shards.layout import DUPLICATE_KINDS, SPLITS


def duplicate_columns(
    tables: Tables, folder: Path, duplicates: DuplicateSettings, split: SplitSettings
) -> dict[str, Any]:
    """Compute the columns cluster, split, representative and duplicate.

    Args:
        tables: all kept songs; with md5, path, unaligned, tier, notes, music, min_hash and the
            signatures.
        folder: for temporary files, of 512 bytes per song.
        duplicates: when songs count as duplicates.
        split: how large the splits are.
    """
    exact = [numbers(read_columns(tables, [name])[name]) for name in ("md5", "music")]
    pa.default_memory_pool().release_unused()  # of the names
    by_sound = clusters(exact, signatures(tables, len(exact[0]), folder), duplicates)
    path = duplicates.duplicate_list
    listed = [] if path is None else _listed(tables, path)
    cluster, same = (joined(one, listed) for one in (by_sound, clusters(exact, (), duplicates)))
    songs = read_columns(tables, ["unaligned", "tier", "notes", "min_hash"])
    earlier = None
    if split.keep_splits is not None:
        earlier = earlier_splits(split.keep_splits, read_columns(tables, ["md5"])["md5"])
    split_of = splits(songs["min_hash"].to_numpy(), cluster, split, earlier)
    return {
        "cluster": cluster,
        "split": pa.array(SPLITS).take(split_of),
        "representative": representatives(
            songs, tables, cluster, same, duplicates.cover_similarity
        ),
        "duplicate": duplicate_kinds(*exact, by_sound, cluster),
    }


def _listed(tables: Tables, path: str) -> list[list[int]]:
    """The songs of each group of the user's list."""
    groups = read_list(path)
    listed = pa.array({name for group in groups for name in group}, pa.string())
    songs: dict[str, list[int]] = {}
    first = 0
    for table in tables():
        for column in ("md5", "path"):
            rows = np.flatnonzero(pc.is_in(table[column], listed).to_numpy())
            for row, name in zip(rows.tolist(), table[column].take(rows).to_pylist(), strict=True):
                songs.setdefault(name, []).append(first + row)
        first += len(table)
    return [[song for name in group for song in songs.get(name, ())] for group in groups]


def signatures(tables: Tables, songs: int, folder: Path) -> Iterator[Signatures]:
    """Read the signatures of so many songs, one kind after the other."""
    for kind in KINDS:
        with tempfile.TemporaryFile(dir=folder) as file:
            places = PlacesFile(file)
            yield Signatures(
                *read_hashes(tables, kind, np.ones(songs, bool), places), places, RULES[kind]
            )


def duplicate_kinds(*evidence: np.ndarray) -> pa.Array:
    """Name how each song is known to repeat an earlier one; null where it repeats none.

    Args:
        evidence: in the order of DUPLICATE_KINDS, strongest first; each has one entry per song,
            equal for songs that are such duplicates.
    """
    kind = np.full(len(evidence[0]), len(DUPLICATE_KINDS), np.int32)
    for number, keys in reversed([*enumerate(evidence)]):
        repeats = np.ones(len(keys), bool)
        repeats[np.unique(keys, return_index=True)[1]] = False
        kind[repeats] = number
    return pa.array([*DUPLICATE_KINDS, None]).take(pa.array(kind))

"""The index columns that depend on other songs: cluster, split, representative, duplicate."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.duplicates.clusters import clusters
from pipeline.duplicates.fingerprint import BINS
from pipeline.duplicates.settings import DuplicateSettings, read_list
from pipeline.duplicates.splits import SplitSettings, earlier_splits, splits
from shards.layout import DUPLICATE_KINDS


def duplicate_columns(
    songs: pa.Table, duplicates: DuplicateSettings, split: SplitSettings
) -> dict[str, Any]:
    """Compute the columns cluster, split, representative and duplicate.

    Args:
        songs: all kept songs; with md5, path, unaligned, tier, notes, music, signature, min_hash.
        duplicates: when songs count as duplicates.
        split: how large the splits are.
    """
    md5s, music = songs["md5"].to_pylist(), songs["music"].to_pylist()
    signatures = _signatures(songs)
    by_sound = cluster = clusters(md5s, music, signatures, duplicates)
    if duplicates.duplicate_list:
        listed = read_list(duplicates.duplicate_list, md5s, songs["path"].to_pylist())
        cluster = clusters(md5s, music, signatures, duplicates, listed)
    earlier = earlier_splits(split.keep_splits, md5s) if split.keep_splits else None
    return {
        "cluster": cluster,
        "split": splits(songs["min_hash"].to_pylist(), cluster, split, earlier),
        "representative": representatives(songs, cluster),
        "duplicate": duplicate_kinds(md5s, music, by_sound.tolist(), cluster.tolist()),
    }


def _signatures(songs: pa.Table) -> list[np.ndarray | None]:
    column = songs["signature"].combine_chunks()
    has_signature = column.is_valid().to_numpy(zero_copy_only=False)
    rows = iter(column.flatten().to_numpy().reshape(-1, BINS))
    return [next(rows) if given else None for given in has_signature.tolist()]


def representatives(songs: pa.Table, cluster: np.ndarray) -> np.ndarray:
    """Choose the song of each cluster to train on.

    Songs with a steady beat come first, then songs read without repair, then those with the most
    notes, then the first.

    Returns:
        shape (songs,), bool; one True per cluster.
    """
    repaired = np.array(songs["tier"].to_pylist()) != "strict"
    unaligned = songs["unaligned"].to_numpy()
    order = np.lexsort((-songs["notes"].to_numpy(), repaired, unaligned, cluster))
    first = np.ones(len(order), bool)
    first[1:] = np.diff(cluster[order]) != 0
    representative = np.zeros(len(order), bool)
    representative[order[first]] = True
    return representative


def duplicate_kinds(*evidence: Sequence[Any]) -> list[str | None]:
    """Name how each song is known to repeat an earlier one; None where it repeats none.

    Args:
        evidence: in the order of DUPLICATE_KINDS, strongest first; each has one entry per song,
            equal for songs that are such duplicates.
    """
    seen: list[set[Any]] = [set() for _ in DUPLICATE_KINDS]
    kinds = []
    for keys in zip(*evidence, strict=True):
        known = zip(DUPLICATE_KINDS, keys, seen, strict=True)
        kinds.append(next((kind for kind, key, before in known if key in before), None))
        for key, before in zip(keys, seen, strict=True):
            before.add(key)
    return kinds

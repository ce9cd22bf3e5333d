"""Which songs of a cluster are trained on: its best song, and covers of it.

A cluster keeps songs out of the other splits; it may be wide, for being a duplicate is transitive.
Training on another version of a song, a cover, is no repetition. So the choice is greedy: best
songs first, each song is chosen that agrees with none chosen before it.
"""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numba import njit

from pipeline.duplicates.signature import BINS, KINDS
from pipeline.duplicates.stored import Tables, read_hashes


def representatives(
    songs: pa.Table,
    tables: Tables,
    cluster: np.ndarray,
    same: np.ndarray,
    cover_similarity: float,
) -> np.ndarray:
    """Choose the songs of each cluster to train on.

    Songs with a steady beat come first, then songs read without repair, then those with the most
    notes, then the first.

    Args:
        songs: with unaligned, tier and notes.
        tables: with the songs' signatures.
        cluster, same: shape (songs,); equal for songs of one cluster, and for those that are the
            same whatever their n-grams. Clusters are unions of the latter.
        cover_similarity: a song of lower similarity to each one chosen is chosen too.

    Returns:
        shape (songs,), bool; at least one True per cluster.
    """
    repaired = pc.not_equal(songs["tier"], "strict").to_numpy()
    unaligned = songs["unaligned"].to_numpy()
    order = np.lexsort((-songs["notes"].to_numpy(), repaired, unaligned, cluster))
    first_of_same = np.zeros(len(order), bool)
    first_of_same[order[np.unique(same[order], return_index=True)[1]]] = True
    order = order[first_of_same[order]]
    several = np.bincount(cluster[order], minlength=1)[cluster] > 1
    row = np.full((len(KINDS), len(cluster)), -1)
    hashes = []
    for number, kind in enumerate(KINDS):
        numbers, of_kind = read_hashes(tables, kind, several & first_of_same)
        row[number, numbers] = np.arange(len(numbers))
        hashes.append(of_kind)
    min_agreeing = int(np.ceil(cover_similarity * BINS))
    return choose(order, cluster, row, tuple(hashes), min_agreeing)


@njit(cache=True)
def choose(order, cluster, row, hashes, min_agreeing):
    """Choose greedily; see `representatives`.

    Args:
        order: the songs to choose from, cluster by cluster, the best first.
        cluster: of every song.
        row: shape (kinds, songs): a song's row in the hashes of a kind; -1: it has no signature.
        hashes: shape (signatures, BINS), one for each kind.
        min_agreeing: bins in which songs agree that are no covers of each other.
    """
    chosen = np.zeros(len(cluster), np.bool_)
    begin = 0
    for i in range(len(order)):
        song = order[i]
        if cluster[song] != cluster[order[begin]]:
            begin = i
        is_cover = True
        for j in range(begin, i):
            other = order[j]
            if is_cover and chosen[other]:
                agreeing = -1
                for kind in range(len(hashes)):
                    a, b = row[kind, song], row[kind, other]
                    if a >= 0 and b >= 0:
                        equal = np.count_nonzero(hashes[kind][a] == hashes[kind][b])
                        agreeing = max(agreeing, equal)
                is_cover = 0 <= agreeing < min_agreeing
        chosen[song] = is_cover
    return chosen

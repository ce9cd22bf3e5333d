"""A cluster is never divided between splits, and splits have their share."""

from collections import Counter

import numpy as np
import pytest

from pipeline.duplicates.splits import SplitSettings, keyed_fraction, splits
from shards.layout import SPLITS


def test_songs_of_an_earlier_dataset_stay_and_merged_clusters_train():
    min_hashes, cluster = np.arange(400, dtype=np.uint64), np.arange(400) // 2
    drawn = splits(min_hashes, cluster, SplitSettings())
    other = SplitSettings(split_salt="other")
    assert (splits(min_hashes, cluster, other) != drawn).any()
    assert (splits(min_hashes, cluster, other, drawn) == drawn).all()
    merged = splits(min_hashes, np.zeros(400, np.int64), other, drawn)
    assert set(merged.tolist()) == {SPLITS.index("train")}
    new = np.where(np.arange(400) % 2, len(SPLITS), drawn)
    assert (splits(min_hashes, cluster, other, new) == drawn).all()


def test_a_cluster_lies_in_one_split_whatever_the_order_of_its_songs():
    random = np.random.default_rng(0)
    min_hashes = random.integers(0, 2**60, 2000).astype(np.uint64)
    cluster = random.integers(0, 700, 2000)
    drawn = splits(min_hashes, cluster, SplitSettings())
    order = random.permutation(2000)
    again = splits(min_hashes[order], cluster[order], SplitSettings())
    assert (again == drawn[order]).all()
    for number in range(700):
        assert len({*drawn[cluster == number].tolist()}) <= 1


def test_splits_have_about_their_share():
    min_hashes, settings = np.arange(20_000, dtype=np.uint64), SplitSettings(valid=0.1, test=0.2)
    drawn = Counter(splits(min_hashes, np.arange(20_000), settings).tolist())
    assert drawn[SPLITS.index("valid")] == pytest.approx(2000, rel=0.1)
    assert drawn[SPLITS.index("test")] == pytest.approx(4000, rel=0.1)
    assert 0 <= keyed_fraction("salt", "key") < 1

"""A cluster is never divided between splits, and splits have their share."""

import numpy as np
import pytest

from pipeline.duplicates.splits import SplitSettings, keyed_fraction, splits


def test_songs_of_an_earlier_dataset_stay_and_merged_clusters_train():
    min_hashes, cluster = list(range(400)), np.arange(400) // 2
    drawn = splits(min_hashes, cluster, SplitSettings())
    other = SplitSettings(split_salt="other")
    assert splits(min_hashes, cluster, other) != drawn
    assert splits(min_hashes, cluster, other, drawn) == drawn
    merged = splits(min_hashes, np.zeros(400, np.int64), other, drawn)
    assert set(merged) == {"train"}
    new = [None if n % 2 else split for n, split in enumerate(drawn)]
    assert splits(min_hashes, cluster, other, new) == drawn


def test_a_cluster_lies_in_one_split_whatever_the_order_of_its_songs():
    random = np.random.default_rng(0)
    min_hashes = random.integers(0, 2**60, 2000).tolist()
    cluster = random.integers(0, 700, 2000)
    drawn = splits(min_hashes, cluster, SplitSettings())
    order = random.permutation(2000)
    again = splits([min_hashes[n] for n in order], cluster[order], SplitSettings())
    assert again == [drawn[n] for n in order]
    for number in range(700):
        assert len({drawn[n] for n in np.flatnonzero(cluster == number)}) <= 1


def test_splits_have_about_their_share():
    drawn = splits(range(20_000), np.arange(20_000), SplitSettings(valid=0.1, test=0.2))
    assert drawn.count("valid") == pytest.approx(2000, rel=0.1)
    assert drawn.count("test") == pytest.approx(4000, rel=0.1)
    assert 0 <= keyed_fraction("salt", "key") < 1

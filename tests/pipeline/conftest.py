"""A demo corpus and its dataset, made once for all the tests of the pipeline."""

from pathlib import Path

import pytest

from pipeline.config import DataSettings, IntakeSettings
from pipeline.demo import DemoSettings, compose_corpus
from pipeline.pool import PoolSettings
from pipeline.run import begin, carry_out
from shards import Dataset

SETTINGS = DataSettings(intake=IntakeSettings(slice_files=16, round_trip_check=1.0))


@pytest.fixture(scope="session")
def demo(tmp_path_factory):
    """The folder of a small demo corpus, and what was planted in it."""
    folder = tmp_path_factory.mktemp("corpus") / "midi"
    return folder, compose_corpus(folder, DemoSettings(songs=40))


@pytest.fixture(scope="session")
def build(tmp_path_factory):
    """Make a dataset from a folder, as `pipeline run` does."""

    def build_dataset(source: Path, settings=SETTINGS, workers: int = 2) -> Dataset:
        out = tmp_path_factory.mktemp("shards") / "lakh"
        began = begin([source], out, settings, restart=False)
        return carry_out(began, settings, PoolSettings(workers=workers), lambda *counts: None)

    return build_dataset


@pytest.fixture(scope="session")
def dataset(demo, build):
    """The dataset of the demo corpus, made by two workers; not to be changed."""
    return build(demo[0])

"""A demo corpus and its dataset, made once for all tests of the pipeline."""

import shutil
from pathlib import Path

import pytest

from pipeline.config import DataSettings, IngestSettings
from pipeline.demo import DemoSettings, compose_corpus
from pipeline.running.execute import execute
from pipeline.running.pool_settings import PoolSettings
from pipeline.running.prepare import prepare
from shards import Dataset

SETTINGS = DataSettings(ingest=IngestSettings(slice_files=16, round_trip_check=1.0))


@pytest.fixture(scope="session")
def demo(tmp_path_factory):
    """A small demo corpus: its folder, and the faults planted in it."""
    folder = tmp_path_factory.mktemp("corpus") / "midi"
    return folder, compose_corpus(folder, DemoSettings(songs=40))


@pytest.fixture(scope="session")
def build(tmp_path_factory):
    """Make a dataset from a folder, as `pipeline run` does."""

    def build_dataset(source: Path, settings=SETTINGS, workers: int = 2) -> Dataset:
        out = tmp_path_factory.mktemp("shards") / "lakh"
        return execute(
            prepare([source], out, settings, restart=False), PoolSettings(workers=workers)
        )

    return build_dataset


@pytest.fixture(scope="session")
def dataset(demo, build):
    """The dataset of the demo corpus, made by two workers; tests must not change it."""
    return build(demo[0])


HOSTILE = (
    "<img src=x onerror=window.hacked=1>.mid",
    "'\"><b onmouseover=window.hacked=1>.mid",
    "x" * 200 + "/" + "y" * 200 + ".mid",
    "bell\a newline\n escape\x1b[31m\x1b]0;title\x07.mid",
    "\u202egnp.dim.mid",
    "モーツァルト/شوپن/Шопен \U0001f3b9.mid",
    "&lt;script&gt;{{7*7}}${7*7}.mid",
)
"""File names that are harmful, very long or in foreign scripts."""


@pytest.fixture(scope="session")
def hostile(demo, build, tmp_path_factory):
    """A dataset of songs and of rejected files with hostile names."""
    folder = tmp_path_factory.mktemp("hostile")
    songs = sorted(path for path in demo[0].rglob("*.mid") if path.stat().st_size > 4000)
    for name, song in zip(HOSTILE, songs, strict=False):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(song, folder / name)
        bad = folder / "bad" / name
        bad.parent.mkdir(parents=True, exist_ok=True)
        bad.write_bytes(b"<html>")
    return build(folder)

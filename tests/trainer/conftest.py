"""Small songs, a dataset on disk and its twin in memory, and small models."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from shards import layout, open_dataset, writer
from shards.check import counts
from shards.codec import Codec, EncodedSong
from shards.song import COMMON_TIME, DEFAULT_TEMPO, METER, NOTE, TEMPO, Song, sort_notes
from shards.vocabulary import Vocabulary
from tests.trainer.charts import CHARTS, draw_none
from trainer.config import Config, ModelConfig, TrainConfig
from trainer.model import linear
from trainer.model.transformer import TransformerXL
from trainer.training.metrics_log import MetricsLog

torch.set_num_threads(1)  # models this small are slower with two


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip tests with the marker `gpu` where there is none."""
    if item.get_closest_marker("gpu") and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")


class Twin:
    """A `shards.reader.SongSource` in memory."""

    def __init__(self, songs: Sequence[EncodedSong], splits: Sequence[str]) -> None:
        self.songs, self.path = list(songs), Path("memory")
        self.vocabulary = Vocabulary()
        self.codec = Codec(self.vocabulary)
        self.index = pa.table(
            {
                "tokens": pa.array([len(song) for song in songs], pa.int32()),
                "split": list(splits),
                "representative": [True] * len(songs),
                "md5": [str(number) for number in range(len(songs))],
                "bpm": [120.0] * len(songs),
                "meter": ["4/4"] * len(songs),
                "key": ["C"] * len(songs),
                "bars": [int(song.bars[-1]) + 1 for song in songs],
                "notes": [int(self.vocabulary.is_note(song.tokens).sum()) for song in songs],
                "programs": [[0]] * len(songs),
                "drum_share": [0.5] * len(songs),
            }
        )
        self.settings = None

    def __len__(self) -> int:
        return len(self.songs)

    def song(self, number: int) -> EncodedSong:
        return self.songs[number]


def compose(notes: int, *, seed: int) -> Song:
    """A song with a pattern: a rising scale over drums."""
    random = np.random.default_rng(seed)
    rows = np.empty(notes, NOTE)
    rows["start"] = np.arange(notes) // 2 * 12
    rows["instrument"] = np.where(np.arange(notes) % 2, 0, 136)
    rows["duration"] = np.where(rows["instrument"] == 0, random.choice([6, 12, 24], notes), 6)
    melody = 60 + (seed + np.arange(notes)) % 12
    rows["pitch"] = np.where(rows["instrument"] == 0, melody, 35)
    rows["velocity"] = random.integers(1, 128, notes)
    meters, tempos = np.array([COMMON_TIME], METER), np.array([DEFAULT_TEMPO], TEMPO)
    return Song(sort_notes(rows), meters, tempos, 24)


def encode_songs(lengths: Sequence[int]) -> list[EncodedSong]:
    codec = Codec(Vocabulary())
    return [codec.encode(compose(notes, seed=seed)) for seed, notes in enumerate(lengths)]


def _nothing(column: pa.Field) -> Any:
    kind = column.type
    if column.name in layout.INDEX_NULLABLE:
        return None
    if pa.types.is_nested(kind):
        return []
    if pa.types.is_boolean(kind):
        return False
    return "" if pa.types.is_string(kind) else 0


def write_dataset(folder, songs, splits):
    """A dataset on disk; index columns that training does not read hold null, 0 or nothing."""
    vocabulary = Vocabulary()
    folder.mkdir(parents=True)
    writer.write_shard(folder, 0, songs, vocabulary.step_dtype)
    ends = np.cumsum([len(song) for song in songs])
    known = {
        "path": [f"songs/{number}.mid" for number in range(len(songs))],
        "md5": [str(number) for number in range(len(songs))],
        "shard": [0] * len(songs),
        "start": ends - [len(song) for song in songs],
        "stop": ends,
        "split": list(splits),
        "representative": [True] * len(songs),
        "cluster": range(len(songs)),
        "tokens": [len(song) for song in songs],
    }
    columns = [
        pa.array(known.get(field.name, [_nothing(field)] * len(songs)), field.type)
        for field in layout.INDEX_SCHEMA
    ]
    index = pa.table(columns, schema=layout.INDEX_SCHEMA)
    ledger = pa.Table.from_pylist(
        [
            {"path": "", "md5": md5, "outcome": "kept", "song": song}
            for song, md5 in enumerate(known["md5"])
        ],
        layout.LEDGER_SCHEMA,
    )
    writer.write_table(folder / layout.INDEX, index)
    writer.write_table(folder / layout.LEDGER, ledger)
    writer.write_json(folder / layout.VOCABULARY, vocabulary.to_json())
    manifest = {
        "format_version": layout.FORMAT_VERSION,
        "settings": {},
        "vocabulary_fingerprint": vocabulary.fingerprint,
        "counts": counts(index, ledger),
        "files": {},
    }
    writer.write_manifest(folder, manifest)
    return folder


@pytest.fixture(scope="session", autouse=True)
def _no_charts():
    with pytest.MonkeyPatch.context() as patch:
        draw_none(patch.setattr)
        yield


@pytest.fixture
def charts(monkeypatch):
    """Draw them all the same."""
    for name, draw in CHARTS.items():
        monkeypatch.setattr(MetricsLog, name, draw)


LENGTHS = (40, 31, 57, 22, 35, 48, 29, 33)
SPLITS = ("train",) * 6 + ("valid",) * 2
PLAIN: dict[str, Any] = {
    "qk_norm": False,
    "velocity_head": False,
}
"""Options of small models."""
VARIED: dict[str, Any] = {
    "rearranged": 0.4,
    "transpose": True,
    "tempo_range": 2,
    "drop_parts": 0.3,
}
"""Settings under which no two playings of a song are the same."""


@pytest.fixture(scope="session")
def vocabulary():
    return Vocabulary()


@pytest.fixture(scope="session")
def twin():
    """Six songs for training and two for validation, in memory."""
    return Twin(encode_songs(LENGTHS), SPLITS)


@pytest.fixture(scope="session")
def dataset_folder(tmp_path_factory):
    """The same songs on disk."""
    folder = tmp_path_factory.mktemp("data") / "little"
    return write_dataset(folder, encode_songs(LENGTHS), SPLITS)


@pytest.fixture(scope="session")
def dataset(dataset_folder):
    return open_dataset(dataset_folder)


@pytest.fixture
def config(vocabulary):
    """Settings of a training whose steps take milliseconds."""
    return Config(
        model=ModelConfig(
            layers=2, d_model=16, heads=2, memory=24, dropout=0.1, max_bars=16, **PLAIN
        ).for_vocabulary(vocabulary),
        train=TrainConfig(
            steps=12,
            optimizer="adamw",
            batch_size=3,
            block_size=16,
            lr=1e-2,
            warmup_steps=2,
            log_every=4,
            evaluate_every=5,
            checkpoint_every=5,
            sample_bars=0,
            **VARIED,
        ),
    )


@pytest.fixture
def make_model(vocabulary):
    """A function that builds small models; the same settings give the same weights."""

    def make(**settings) -> TransformerXL:
        small = {"layers": 2, "d_model": 16, "heads": 2, "memory": 12, "dropout": 0.0}
        small |= PLAIN
        model = TransformerXL(ModelConfig(**small | settings).for_vocabulary(vocabulary))
        generator = torch.Generator().manual_seed(0)
        model.initialize(generator)
        for parameter in model.parameters():  # so that every part has an effect
            parameter.data += 0.2 * torch.randn(parameter.shape, generator=generator)
        return model.eval()

    return make


@pytest.fixture
def make_twin():
    return Twin


@pytest.fixture
def make_songs():
    return encode_songs


@pytest.fixture
def make_dataset():
    return write_dataset


@pytest.fixture
def onednn(monkeypatch):
    """Use oneDNN, where it is available, for products as small as those of models in tests."""
    monkeypatch.setattr(linear, "MIN_WORK", 0)

"""The whole way on real files, where LAKHXL_CORPUS names a folder that holds `songs`."""

import os
from pathlib import Path

import mido
import pytest

from pipeline.config import DataSettings, IngestSettings
from pipeline.sources.listing import list_files
from shards.render.midi import write_midi
from shards.verify import verify
from tests.shards.read_back import read_back

CORPUS = os.environ.get("LAKHXL_CORPUS")
SETTINGS = DataSettings(ingest=IngestSettings(round_trip_check=1.0))
MOST = SETTINGS.ingest.max_file_size
pytestmark = [
    pytest.mark.lakh,
    pytest.mark.skipif(CORPUS is None, reason="LAKHXL_CORPUS names no folder of real files"),
]


@pytest.fixture(scope="module")
def songs():
    return Path(CORPUS) / "songs"


@pytest.fixture(scope="module")
def real(songs, build):
    return build(songs, SETTINGS, workers=2)


def test_every_real_file_is_one_row_and_no_song_fails_its_round_trip(songs, real):
    ledger = real.ledger()
    assert ledger["path"].to_pylist() == [file.name for file in list_files([songs], MOST)]
    assert "round_trip" not in ledger["rule"].to_pylist()
    assert sum(real.manifest["counts"]["outcomes"].values()) == ledger.num_rows
    assert set(ledger["outcome"].to_pylist()) == {"kept", "rejected", "unreadable"}


def test_one_worker_writes_the_bytes_that_two_write(songs, real, build):
    alone = build(songs, SETTINGS, workers=1).path
    for path in real.path.iterdir():
        assert path.read_bytes() == (alone / path.name).read_bytes(), path.name


def test_a_dataset_of_real_songs_is_whole(real):
    assert list(verify(real.path)) == []


def test_ten_rendered_songs_are_read_back_by_mido_note_for_note(real, tmp_path):
    for number in range(0, len(real), len(real) // 10):
        song = real.codec.decode(real.song(number))
        write_midi(song, tmp_path / "song.mid", real.vocabulary)
        again = read_back(mido.MidiFile(tmp_path / "song.mid"), real.vocabulary)
        assert again == sorted(song.notes.tolist())

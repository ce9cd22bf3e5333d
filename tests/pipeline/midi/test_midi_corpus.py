"""The reader beside mido on real files, where LAKHXL_CORPUS names a folder that holds them."""

import os
from pathlib import Path

import pytest

from pipeline.midi import read_midi
from tests.pipeline.midi import mido_oracle

CORPUS = os.environ.get("LAKHXL_CORPUS")
pytestmark = [
    pytest.mark.lakh,
    pytest.mark.skipif(CORPUS is None, reason="LAKHXL_CORPUS names no folder of real files"),
]
FIELDS = ["start", "track", "channel", "pitch", "velocity", "end", "program"]

DIFFERENT = {
    "arkanoid_modified.mid": "the header states no track, but there is one; mido reads none",
    "DION.Move any mountain.mid": "damage in the only track; mido reads on, 14,000 beats later",
}
"""Files that mido reads otherwise, and why the reader does not follow it."""


@pytest.mark.parametrize("folder", ["songs", "damaged", "oddities"])
def test_every_file_that_mido_accepts_is_read_as_mido_reads_it(folder):
    accepted, different = 0, set()
    for path in sorted((Path(CORPUS) / folder).rglob("*")):
        data = path.read_bytes() if path.is_file() else b""
        file = mido_oracle.open_with_mido(data)
        if file is None:
            continue
        accepted += 1
        recording = read_midi(data)
        if (
            recording.notes[FIELDS].tolist() != mido_oracle.notes_of(file)
            or recording.tempos.tolist() != mido_oracle.tempos_of(file)
            or recording.meters.tolist() != mido_oracle.meters_of(file)
        ):
            different.add(path.name)
    assert different <= DIFFERENT.keys()
    assert accepted > 50

"""What happens to one MIDI file, from its bytes to an encoded song.

    bytes -> recording -> silent notes, pedal -> beat, meter -> quantize -> remove silence
          -> cut loops -> features -> rules -> encode -> round-trip check -> fingerprint
          -> note counts

A run does this with every file of a slice (`pipeline.running.slice_task`); `encode_file` does it
with a single file, without features, rules and what follows from them.
"""

import dataclasses
import hashlib
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import midi
from pipeline.clean.beat_tracker import tracked_beats
from pipeline.clean.encode import encode
from pipeline.clean.features import Cleaned, features
from pipeline.clean.heard import hear
from pipeline.clean.loops import cut_loop
from pipeline.clean.onset_period import constant_beats
from pipeline.clean.quantize import quantize
from pipeline.clean.rules import Rejection, rejection
from pipeline.clean.silence import remove_silence
from pipeline.config import DataSettings
from pipeline.duplicates.fingerprint import fingerprint, music_hash
from pipeline.duplicates.splits import keyed_fraction
from pipeline.midi import Recording, UnreadableMidi, read_midi
from pipeline.midi.controls import PITCH_BEND, SUSTAIN
from pipeline.midi.reader import warm_up_file
from pipeline.midi.volume import VOLUME
from pipeline.report.compute import note_counts
from pipeline.report.compute.note_counts import NoteCounts
from pipeline.report.compute.rolls import beginning
from pipeline.report.schema import Roll
from pipeline.sources.listing import SourceFile, read_bytes, read_source
from pipeline.sources.members import Refused
from shards.check import song_fault
from shards.codec import Codec, EncodedSong
from shards.errors import LakhxlError
from shards.layout import LEDGER_SCHEMA
from shards.song import Song
from shards.vocabulary import Vocabulary

SILENCE, LATE = 2**14, 2**20
"""Ticks; before and after the notes of the file that kernels are warmed up with."""


@dataclass(frozen=True)
class FileResult:
    """What one file became.

    Attributes:
        ledger: its row of the ledger.
        index: its row of the slice's index fragment; None unless the file is kept.
        encoded: its song; None unless the file is kept.
        roll: how it begins, if a rule rejected it that measured its notes.
    """

    ledger: dict[str, Any]
    index: dict[str, Any] | None = None
    encoded: EncodedSong | None = None
    roll: Roll | None = None


class FileProcessor:
    """Processes files one after another with the same settings.

    Attributes:
        note_counts: counts over the songs kept so far.
    """

    def __init__(self, settings: DataSettings) -> None:
        self.settings = settings
        self.vocabulary = Vocabulary(settings.codec)
        self.codec = Codec(self.vocabulary)
        self.note_counts = NoteCounts(self.vocabulary)

    def process(self, file: SourceFile) -> FileResult:
        """Turn one file into a ledger row and, if it is kept, a song.

        A file that is refused, unreadable or rejected gives a ledger row, not an exception.
        """
        row: dict[str, Any] = {"path": file.name}
        try:
            data = read_source(file, self.settings.ingest.max_file_size)
            row |= {
                "bytes": len(data),
                "md5": hashlib.md5(data, usedforsecurity=False).hexdigest(),
            }
            recording = read_midi(data)
            row |= {"tier": recording.tier, "repairs": sorted(recording.repairs.items())}
            return self._process_recording(recording, row)
        except Refused as refused:
            why = {"rule": refused.rule, "value": refused.value, "threshold": refused.threshold}
            return dropped_file("refused", **row, **why, detail=str(refused))
        except UnreadableMidi as error:
            return dropped_file("unreadable", **row, rule=error.code, detail=str(error))

    def clean(self, recording: Recording) -> Cleaned | None:
        """Hear and quantize a recording, remove silences, cut a loop; None if no note remains."""
        bar_steps, settings = self.vocabulary.bar_steps, self.settings
        ingest, steps_per_beat = settings.ingest, settings.codec.steps_per_beat
        heard = hear(
            recording,
            ingest.sustain,
            ingest.beat_repair,
            steps_per_beat,
            meter_inference=ingest.infer_meter,
        )
        quantized = heard and quantize(heard.recording, self.vocabulary)
        if heard is None or quantized is None or not len(quantized.song.notes):
            return None
        song, removed = remove_silence(quantized.song, bar_steps, settings.silence, quantized.held)
        song, loop = cut_loop(song, bar_steps, settings.loops)
        return Cleaned(heard, quantized, song, removed.without_bars(*loop.cut), loop)

    def _process_recording(self, recording: Recording, row: dict[str, Any]) -> FileResult:
        cleaned = self.clean(recording)
        if cleaned is None:
            return dropped_file("rejected", **row, rule="no_notes", value=0.0, threshold=1.0)
        song, recording = cleaned.song, cleaned.heard.recording
        measured = features(cleaned, self.vocabulary)
        rejected = rejection(measured, self.settings.limits)
        if rejected:
            return self._rejected(row, rejected, song)
        encoded = encode(song, self.codec)
        rejected = self._round_trip_fault(song, encoded, row["md5"])
        if rejected:
            return self._rejected(row, rejected, song)
        music = music_hash(encoded)
        index = {
            "path": row["path"],
            "md5": row["md5"],
            "tokens": len(encoded),
            **measured,
            "music": music,
            **fingerprint(recording, music)._asdict(),
        }
        self.note_counts.count(song, encoded, recording)
        return FileResult(_ledger_row("kept", **row), index, encoded)

    def _rejected(self, row: dict[str, Any], why: Rejection, song: Song) -> FileResult:
        ledger = _ledger_row("rejected", **row, **vars(why))
        return FileResult(ledger, roll=beginning(song, row["path"]))

    def _round_trip_fault(self, song: Song, encoded: EncodedSong, md5: str) -> Rejection | None:
        """Decode a fraction of the songs, drawn by checksum, and compare with the original."""
        if keyed_fraction("round trip", md5) >= self.settings.ingest.round_trip_check:
            return None
        if song_fault(encoded, self.codec) is None and self.codec.decode(encoded) == song:
            return None
        return Rejection("round_trip", 0.0, 1.0)


def dropped_file(outcome: str, **known: Any) -> FileResult:
    """The result for a file that is not kept, from the columns of the ledger that are known."""
    return FileResult(_ledger_row(outcome, **known))


def _ledger_row(outcome: str, **known: Any) -> dict[str, Any]:
    return {**dict.fromkeys(LEDGER_SCHEMA.names), **known, "outcome": outcome}


def encode_file(
    path: Path, vocabulary: Vocabulary, settings: DataSettings | None = None
) -> EncodedSong:
    """Encode a single file as a run would, without filtering it; a link to it is followed.

    Args:
        path: the file.
        vocabulary: of the tokens.
        settings: of the run; those of the codec are the vocabulary's. None: the defaults.

    Raises:
        LakhxlError: the file cannot be opened or read, or has no notes.
    """
    settings = dataclasses.replace(settings or DataSettings(), codec=vocabulary.settings)
    processor = FileProcessor(settings)
    if path.is_dir():
        raise LakhxlError(f"{path}: a folder; name one MIDI file")
    try:
        data = read_bytes(os.path.realpath(path), settings.ingest.max_file_size)
        recording = read_midi(data)
    except (Refused, UnreadableMidi) as error:
        raise LakhxlError(f"{path}: {error}") from error
    cleaned = processor.clean(recording)
    if cleaned is None:
        raise LakhxlError(f"{path}: has no notes that the vocabulary can express")
    try:
        return encode(cleaned.song, processor.codec)
    except ValueError as error:  # too many bars
        raise LakhxlError(f"{path}: {error}") from error


@cache
def warm_up() -> None:
    """Load or compile every kernel used here, once; see `pipeline.midi.warm_up`."""
    for module in (midi, note_counts):
        module.warm_up()
    vocabulary = Vocabulary()
    controls = np.zeros(3, midi.CONTROL_DTYPE)
    controls["kind"], controls["value"] = (PITCH_BEND, SUSTAIN, VOLUME), (100, 127, 0)
    controls["tick"][1:] = LATE
    read = read_midi(warm_up_file())
    notes, tempos = np.repeat(read.notes, 2), np.array([(LATE, 400_000)], midi.TEMPO_DTYPE)
    notes["is_drum"] = False, True
    recording = dataclasses.replace(read, notes=notes, controls=controls, tempos=tempos)
    processor = FileProcessor(DataSettings())
    processor.clean(recording)
    for times in (notes["start"], notes["end"]):
        times += SILENCE
    cleaned = processor.clean(recording)
    assert cleaned is not None
    features(cleaned, vocabulary)
    onsets, weights = np.arange(40.0) / 4, np.ones(40)
    for find in (constant_beats, tracked_beats):
        find(onsets, weights)
    fingerprint(recording, "0" * 32)
    encode(cleaned.song, Codec(vocabulary))

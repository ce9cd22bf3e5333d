"""Everything that happens to one slice of files, in one worker.

For each file: bytes -> recording -> steps -> rules -> silence -> tokens -> figures. The slice
then publishes its shard, its part of the index, its tally, its times and its part of the
ledger; the ledger part comes last, and where it stands the slice is done.
"""

import dataclasses
import errno
import hashlib
import json
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline import midi
from pipeline.clean.encode import encode
from pipeline.clean.features import features
from pipeline.clean.quantize import quantize
from pipeline.clean.rules import Rejection, rejection
from pipeline.clean.silence import Removed, remove_silence
from pipeline.config import DataSettings
from pipeline.duplicates.fingerprint import fingerprint, music_hash
from pipeline.duplicates.splits import keyed_fraction
from pipeline.midi import Recording, UnreadableMidi, read_midi
from pipeline.midi.controls import PITCH_BEND
from pipeline.midi.pedal import extend_by_pedal
from pipeline.midi.reader import warm_up_file
from pipeline.report.build import note_counts as tally
from pipeline.report.build.note_counts import Tally, tally_fragment
from pipeline.report.build.timing import Stopwatch, timing_fragment
from pipeline.running.journal import Journal
from pipeline.running.tasks import Condemned, Outcome, SliceJob, index_fragment, ledger_fragment
from pipeline.running.worker import Overtime, processor_time
from pipeline.sources.listing import LOST, SourceFile, read_source
from pipeline.sources.members import Refused
from shards.codec import Codec, EncodedSong
from shards.layout import INDEX_SCHEMA, LEDGER_SCHEMA
from shards.song import Song
from shards.verify import song_fault
from shards.vocabulary import Vocabulary
from shards.writer import Publication, write_shard, write_table

DECIDED_LATER = ("shard", "start", "stop", "split", "cluster", "representative")
FRAGMENT_SCHEMA = pa.schema(
    [column for column in INDEX_SCHEMA if column.name not in DECIDED_LATER]
    + [pa.field("music", pa.string()), pa.field("signature", pa.list_(pa.uint16()))]
    + [pa.field("anchor", pa.uint64())]
)
"""A slice's part of the index: what can be known of a song by itself."""


@dataclass(frozen=True)
class FileResult:
    """What became of one file: its ledger row and, where it was kept, its song."""

    ledger: dict[str, Any]
    index: dict[str, Any] | None = None
    encoded: EncodedSong | None = None


def warm_up() -> None:
    """Load all compiled kernels, or compile them; see `pipeline.midi.warm_up`."""
    for module in (midi, tally):
        module.warm_up()
    vocabulary = Vocabulary()
    bent = np.zeros(1, midi.CONTROL_DTYPE)
    bent["kind"], bent["value"] = PITCH_BEND, 100
    recording = dataclasses.replace(read_midi(warm_up_file()), controls=bent)
    quantized = quantize(recording, vocabulary)
    features(recording, quantized, Removed(0, 0.0), quantized.song, vocabulary)
    fingerprint(recording, "0" * 32)
    encode(quantized.song, Codec(vocabulary))


def run_slice(job: SliceJob) -> Outcome:
    """Read, judge and encode every file of the slice, then publish it.

    A file that fails, by a bug of ours as by the memory it asks for, is only a suspect: the
    machine may be to blame. The rest of the slice is still looked through, for more of them, but
    not published.

    Raises:
        OSError: the disk is full, or a source has gone; no file's fault.
    """
    warm_up()  # not on the first file's time
    processor = FileProcessor(job.settings)
    results, suspects, watch = [], {}, Stopwatch()
    with Journal(job.folder, job.number) as journal:
        for place in job.places:
            journal.begin(place)
            with watch.file():
                result = _attempt(processor, job, place)
            if isinstance(result, Condemned):
                suspects[place] = result
                journal.dropped(result.outcome)
                results.clear()
                continue
            if result.encoded is not None:
                journal.kept()
            else:
                journal.dropped(result.ledger["rule"] or result.ledger["outcome"])
            if not (suspects or job.draft):
                results.append(result)
        journal.begin(len(job.files))
        if not (suspects or job.draft):
            _check_sources(job, results)
            _publish(job, results, processor, watch)
    slowest = max(zip(watch.seconds, job.places, strict=True), default=(0.0, 0))
    return Outcome(suspects, journal.progress, (slowest[0], job.files[slowest[1]].name))


def _attempt(processor: "FileProcessor", job: SliceJob, place: int) -> "FileResult | Condemned":
    """What becomes of one file, or how it failed."""
    file, condemned = job.files[place], job.condemned.get(place)
    if condemned is not None:
        return _row(file, condemned.outcome, detail=condemned.detail)
    try:
        with processor_time(job.soft_timeout):
            return processor.process(file)
    except Overtime:
        return Condemned("timeout", f"more than {job.soft_timeout:g} s of processor time")
    except MemoryError:
        return Condemned("out_of_memory", "the worker's memory limit")
    except OSError:
        raise
    except Exception as error:  # noqa: BLE001 (a bug that one file brings out is not to stop 178,560)
        return Condemned("crash", _where(error))


def _where(error: Exception) -> str:
    """An exception and the line of ours it came from, in one line."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({Path(frame.filename).name}:{frame.lineno})"


def _check_sources(job: SliceJob, results: Sequence["FileResult"]) -> None:
    """A file that is gone is a row; a source that is gone, with every file in it, ends the run."""
    if any(result.ledger["rule"] in LOST for result in results):
        for root in job.roots:
            if not root.exists():
                raise FileNotFoundError(errno.ENOENT, "the source has gone", str(root))


def _publish(
    job: SliceJob, results: Sequence[FileResult], processor: "FileProcessor", watch: Stopwatch
) -> None:
    """Write the slice's files and then, where all of them stand, its part of the ledger."""
    songs = [result.encoded for result in results if result.encoded is not None]
    rows = [result.index for result in results if result.index is not None]
    folder, number, counts = job.folder, job.number, processor.tally.counts
    step_dtype = processor.vocabulary.step_dtype
    with Publication() as part:  # the ledger's part is the last to get its name
        checksums = write_shard(folder, number, songs, step_dtype, part.publish)
        index = pa.Table.from_pylist(rows, FRAGMENT_SCHEMA)
        write_table(folder / index_fragment(number), index, part.publish)
        part.publish(folder / tally_fragment(number), lambda file: np.save(file, counts))
        watch.write(folder / timing_fragment(number), part.publish)
        ledger = pa.Table.from_pylist([result.ledger for result in results], LEDGER_SCHEMA)
        ledger = ledger.replace_schema_metadata({"files": json.dumps(checksums)})
        write_table(
            folder / ledger_fragment(number), ledger, part.publish
        )  # the last to be renamed


class FileProcessor:
    """Takes one file after another from its bytes to its song.

    Attributes:
        tally: of the songs kept so far.
    """

    def __init__(self, settings: DataSettings) -> None:
        self.settings = settings
        self.vocabulary = Vocabulary(settings.codec)
        self.codec = Codec(self.vocabulary)
        self.tally = Tally(self.vocabulary)

    def process(self, file: SourceFile) -> FileResult:
        """What becomes of one file; a bad file is a row, never an exception."""
        try:
            data = read_source(file, self.settings.ingest.max_file_size)
        except Refused as refused:
            why = {"rule": refused.rule, "value": refused.value, "threshold": refused.threshold}
            return _row(file, "refused", detail=str(refused), **why)
        md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
        known = {"bytes": len(data), "md5": md5}
        try:
            recording = self.read(data)
            return self._judge(file, recording, known)
        except UnreadableMidi as error:
            return _row(file, "unreadable", rule=error.code, detail=str(error), **known)

    def read(self, data: bytes) -> Recording:
        """Bytes to a recording, the pedal applied where the settings ask for it."""
        recording = read_midi(data)
        if self.settings.ingest.sustain == "extend":
            return extend_by_pedal(recording)
        return recording

    def _judge(self, file: SourceFile, recording: Recording, known: dict) -> FileResult:
        known = {
            **known,
            "tier": recording.tier,
            "repairs": sorted(recording.repairs.items()),
        }
        quantized = quantize(recording, self.vocabulary)
        if not len(quantized.song.notes):
            return _row(file, "rejected", rule="no_notes", value=0.0, threshold=1.0, **known)
        song, removed = remove_silence(
            quantized.song, self.vocabulary.bar_steps, self.settings.silence
        )
        described = features(recording, quantized, removed, song, self.vocabulary)
        rejected = rejection(described, self.settings.limits)
        if rejected:
            return _row(file, "rejected", **known, **vars(rejected))
        encoded = encode(song, self.codec)
        fault = self._round_trip_fault(song, encoded, known["md5"])
        if fault:
            return _row(file, "rejected", **known, **vars(fault))
        music = music_hash(encoded)
        marks = fingerprint(recording, music)
        index = {
            "path": file.name,
            "md5": known["md5"],
            "tokens": len(encoded),
            **described,
            "music": music,
            "signature": marks.signature,
            "anchor": marks.anchor,
        }
        self.tally.count(song, encoded, recording)
        return FileResult(_row(file, "kept", **known).ledger, index, encoded)

    def _round_trip_fault(self, song: Song, encoded: EncodedSong, md5: str) -> Rejection | None:
        """Decode and encode again a share of the songs, drawn by checksum."""
        if keyed_fraction("round trip", md5) >= self.settings.ingest.round_trip_check:
            return None
        if song_fault(encoded, self.codec) is None and self.codec.decode(encoded) == song:
            return None
        return Rejection("round_trip", 0.0, 1.0)


def _row(file: SourceFile, outcome: str, **known: Any) -> FileResult:
    empty = dict.fromkeys(LEDGER_SCHEMA.names)
    return FileResult({**empty, "path": file.name, "outcome": outcome, **known})

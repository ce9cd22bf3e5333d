"""File names, array types and table columns of a dataset on disk, for every reader and writer.

A dataset is a folder:

    dataset.json       format version, settings, counts, a checksum for every other file
    vocabulary.json    token and instrument names
    index.arrow        one row per kept song: where it lies, its split, its measured features
    ledger.arrow       one row per input file, kept or not
    tokens-00000.npy, instruments-…, velocities-…, bars-…, steps-…    one of each per shard

Conventions
    shard       the kept songs of one slice of input files, end to end; a slice that kept none
                has no files
    song        rows start to stop of its shard's five arrays; its number is its row in index.arrow
"""

import re
from pathlib import Path

import numpy as np
import pyarrow as pa

FORMAT_VERSION = 6
MANIFEST, VOCABULARY = "dataset.json", "vocabulary.json"
INDEX, LEDGER = "index.arrow", "ledger.arrow"
REPORT, REPORT_PAGE = "report.json", "report.html"
ARRAYS = ("tokens", "instruments", "velocities", "bars", "steps")
FILE_NAME = re.compile(r"[a-z]+(-\d{5,})?\.(npy|arrow|json|html)")
"""Name of any file of a dataset."""
SPLITS = ("train", "valid", "test")
DUPLICATE_KINDS = {
    "identical_file": "every byte is the same",
    "identical_music": "the notes, meters and tempos are the same",
    "near_duplicate": "most of the melodies are the same",
    "listed": "the user's list of duplicates says so",
}
"""How a song is known to be a duplicate of an earlier one; the strongest evidence first."""

OUTCOMES = {
    "kept": "a song of the dataset",
    "rejected": "readable, but rejected by a rule",
    "unreadable": "not a MIDI file, or too damaged to read",
    "refused": "not opened: too large, not a plain file, or of a format that is not read",
    "timeout": "took longer than the file timeout",
    "crash": "killed the worker that read it",
    "out_of_memory": "needed more memory than a worker may have",
}

INDEX_COLUMNS: dict[str, tuple[pa.DataType, str]] = {
    "path": (pa.string(), "The input file, named as in the ledger."),
    "md5": (pa.string(), "MD5 checksum of the input file."),
    "shard": (pa.int32(), "Number of the shard that holds the song."),
    "start": (pa.int64(), "First row of the song in its shard's arrays."),
    "stop": (pa.int64(), "One past its last row."),
    "split": (pa.string(), "train, valid or test."),
    "cluster": (pa.int32(), "Songs with the same number are duplicates of each other."),
    "representative": (
        pa.bool_(),
        "Whether to train on this song: the best of its cluster, or a cover.",
    ),
    "duplicate": (
        pa.string(),
        "How the song is known to repeat an earlier one: identical_file, identical_music, "
        "near_duplicate or listed; null where it repeats none.",
    ),
    "tokens": (pa.int32(), "Length of the song in tokens."),
    "notes": (pa.int32(), "Notes, drums included."),
    "bars": (pa.int32(), "Bars up to the last onset."),
    "seconds": (pa.float32(), "From the song's start to the end of its last note."),
    "meter": (pa.string(), "The meter in force for the most steps, as 3/4."),
    "meter_stated": (
        pa.bool_(),
        "Whether the file states any meter, on a beat that was not replaced by another tempo.",
    ),
    "meter_fit": (
        pa.float32(),
        "How much more onsets correlate with those one and two bars of this meter later than with "
        "those of the other: of three quarter notes against four; null where it is of neither, or "
        "the song has fewer than 48 beats or the same onsets in all of them.",
    ),
    "meters": (pa.int32(), "Meters in the order of the song; 1 where it never changes."),
    "bpm": (
        pa.float32(),
        "The tempo in force for the most ticks of the file, in beats per minute; of the repaired "
        "beat where there is one.",
    ),
    "tempos": (pa.int32(), "Tempos in the order of the song; 1 where it never changes."),
    "instruments": (pa.int32(), "Different programs, drums not counted."),
    "programs": (pa.list_(pa.uint8()), "The different programs that play, 0-127, ascending."),
    "parts": (pa.int32(), "(track, channel) pairs of the file that play notes."),
    "drum_share": (pa.float32(), "Share of notes that are drums."),
    "pitch_low": (pa.int32(), "Lowest MIDI pitch, drums not counted; null: only drums."),
    "pitch_high": (pa.int32(), "Highest MIDI pitch, drums not counted; null: only drums."),
    "pitches": (pa.int32(), "Different pitches, drums not counted."),
    "pitch_class_entropy": (pa.float32(), "Entropy of the 12 pitch classes, in bits; no drums."),
    "key": (pa.string(), "The best-fitting key, as C or F#m; null: only drums."),
    "key_fit": (pa.float32(), "Correlation with that key's profile, up to 1; null: only drums."),
    "sounds": (pa.int32(), "Different pitches and drum keys."),
    "same_pitch_share": (
        pa.float32(),
        "Share of notes on the commonest pitch, drums not counted; null: only drums.",
    ),
    "same_duration_share": (
        pa.float32(),
        "Share of notes that have the commonest duration, drums not counted; null: only drums.",
    ),
    "onsets": (pa.int32(), "Steps at which at least one note starts."),
    "on_beat": (pa.float32(), "Share of notes that start on a beat of their bar."),
    "bar_similarity": (
        pa.float32(),
        "Mean share of steps at which two neighbouring bars agree on whether a note starts; NaN "
        "where there are no two such bars.",
    ),
    "notes_per_second": (pa.float32(), "Mean over the song."),
    "busiest_second": (pa.int32(), "Most notes that start within one second."),
    "polyphony": (
        pa.float32(),
        "Mean number of notes that sound while any does, drums not counted.",
    ),
    "max_polyphony": (pa.int32(), "Most notes sounding at once, drums not counted."),
    "velocities": (pa.int32(), "Different velocity bins."),
    "expressive": (pa.float32(), "Share of notes not at their instrument's commonest velocity."),
    "bends": (pa.int32(), "Pitch bend changes at grid steps, whether in the tokens or not."),
    "modulations": (pa.int32(), "Modulation changes at grid steps, likewise."),
    "bend_tokens": (pa.int32(), "Tokens that the bends take, or would take."),
    "modulation_tokens": (pa.int32(), "Tokens that the modulations take, or would take."),
    "beat_repair": (
        pa.string(),
        "What was done to the file's beat: none, doubled, halved, constant_tempo, tracked or "
        "shifted.",
    ),
    "onset_error_ms_before": (
        pa.float32(),
        "Median onset error before that; equal to onset_error_ms where nothing was done.",
    ),
    "onset_error_ms": (
        pa.float32(),
        "Median distance of an onset from its grid step, in milliseconds.",
    ),
    "onset_error_ms_95": (pa.float32(), "95th percentile of that distance."),
    "beat_alignment": (
        pa.float32(),
        "How strongly onsets gather at fixed positions within the beat, 0 to 1.",
    ),
    "unaligned": (
        pa.bool_(),
        "Whether the alignment is too weak for a steady beat, as in free playing.",
    ),
    "silence_seconds": (pa.float32(), "Seconds of silence removed."),
    "silence_bars": (pa.int32(), "Bars of silence removed."),
    "silences": (
        pa.map_(pa.int32(), pa.int32()),
        "Bar of the kept song, from 0 -> bars of silence removed just before it.",
    ),
    "strays": (
        pa.int32(),
        "Notes dropped: alone at an end of the song, beyond a silence that was removed.",
    ),
    "silent_notes": (pa.int32(), "Notes dropped because volume or expression is 0 throughout."),
    "pedal_notes": (
        pa.int32(),
        "Notes that the sustain pedal holds beyond their end, lengthened or not.",
    ),
    "loop_bars": (
        pa.int32(),
        "Bars of the shortest loop that at least half of the song repeats exactly; null: none.",
    ),
    "loop_turns": (pa.int32(), "Whole turns of that loop in the file; 1: none."),
    "loop_bars_cut": (pa.int32(), "Bars of it that were removed."),
    "notes_merged": (
        pa.int32(),
        "Notes lost because a longer one has the same step, instrument class and pitch; it takes "
        "the velocity of the loudest.",
    ),
    "notes_outside_map": (pa.int32(), "Drum notes lost because the map has no such key."),
    "durations_shortened": (
        pa.int32(),
        "Notes cut to the longest duration token, drums not counted.",
    ),
    "durations_lengthened": (
        pa.int32(),
        "Notes shorter than half a step that became one step long, drums not counted.",
    ),
    "meters_dropped": (pa.int32(), "Meters lost because the vocabulary has none such."),
    "tier": (pa.string(), "How the file had to be read: strict, tolerant or salvage."),
    "repairs": (pa.int32(), "Repairs that the reader made."),
}
"""Column -> its type and meaning."""

INDEX_NULLABLE = frozenset(name for name, (_, help) in INDEX_COLUMNS.items() if "null" in help)
"""Columns of the index that may be null: those that say what it means."""

LEDGER_COLUMNS: dict[str, tuple[pa.DataType, str]] = {
    "path": (
        pa.string(),
        "Path within its source; preceded by the source's name where there are several sources.",
    ),
    "bytes": (pa.int64(), "Size of the file."),
    "md5": (pa.string(), "MD5 checksum of the file; null where it was not read."),
    "outcome": (pa.string(), f"One of {', '.join(OUTCOMES)}."),
    "rule": (pa.string(), "The rule or the reader's code that excluded it; null: kept."),
    "value": (pa.float64(), "What the rule measured."),
    "threshold": (pa.float64(), "The bound that this value broke."),
    "detail": (pa.string(), "A sentence, where there is more to say."),
    "tier": (pa.string(), "How the file had to be read: strict, tolerant or salvage."),
    "repairs": (pa.map_(pa.string(), pa.int32()), "Code of a repair -> how often it was made."),
    "song": (pa.int32(), "The song's row in index.arrow; null: not kept."),
}
"""Column -> its type and meaning."""

INDEX_SCHEMA, LEDGER_SCHEMA = (
    pa.schema([(name, kind) for name, (kind, _) in columns.items()])
    for columns in (INDEX_COLUMNS, LEDGER_COLUMNS)
)


def array_file(array: str, shard: int) -> str:
    """File name of one array of one shard."""
    return f"{array}-{shard:05d}.npy"


def array_dtypes(step_dtype: np.dtype) -> dict[str, np.dtype]:
    """Type of each array; only that of `steps` depends on the vocabulary."""
    byte, word = np.dtype(np.uint8), np.dtype(np.uint16)
    return dict(zip(ARRAYS, (word, byte, byte, word, np.dtype(step_dtype)), strict=True))


def is_dataset(folder: Path) -> bool:
    """Whether a folder has a manifest; it may still be damaged."""
    return (folder / MANIFEST).is_file()

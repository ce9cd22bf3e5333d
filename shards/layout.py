"""Names, types and schemas of a dataset on disk: what every reader and writer must agree on.

A dataset is a folder:

    dataset.json       format version, settings, counts, a checksum for every other file
    vocabulary.json    token and instrument names
    index.arrow        one row a kept song: where it lies, its split, its measured features
    ledger.arrow       one row an input file, kept or not
    tokens-00000.npy, instruments-…, velocities-…, bars-…, steps-…    one of each a shard

Conventions
    shard       the kept songs of one slice of input files, laid end to end; a slice that kept
                none has no files
    song        rows start to stop of its shard's five arrays
    row         a song's number is its row in index.arrow
"""

from pathlib import Path

import numpy as np
import pyarrow as pa

FORMAT_VERSION = 1
MANIFEST, VOCABULARY, INDEX, LEDGER, REPORT, REPORT_PAGE = (
    "dataset.json",
    "vocabulary.json",
    "index.arrow",
    "ledger.arrow",
    "report.json",
    "report.html",
)
ARRAYS = ("tokens", "instruments", "velocities", "bars", "steps")
SPLITS = ("train", "valid", "test")

INDEX_SCHEMA = pa.schema(
    [
        ("path", pa.string()),  # as in the ledger
        ("md5", pa.string()),
        ("shard", pa.int32()),
        ("start", pa.int64()),
        ("stop", pa.int64()),
        ("split", pa.string()),  # train, valid or test
        ("cluster", pa.int32()),  # songs of one number are copies or near-copies
        ("primary", pa.bool_()),  # the one song of its cluster that is trained on
        ("tokens", pa.int32()),
        ("notes", pa.int32()),
        ("bars", pa.int32()),
        ("seconds", pa.float32()),
        ("meter", pa.string()),  # in force for the most steps, as 3/4
        ("meters", pa.int32()),  # meters, the first included
        ("bpm", pa.float32()),  # in force for the most steps
        ("tempos", pa.int32()),
        ("instruments", pa.int32()),  # programs, drums not counted
        ("programs", pa.list_(pa.uint8())),  # which, ascending
        ("drum_share", pa.float32()),  # of notes
        ("pitch_low", pa.int32()),  # drums not counted, as in all pitch figures; null: only drums
        ("pitch_high", pa.int32()),
        ("pitches", pa.int32()),
        ("pitch_class_entropy", pa.float32()),  # bits
        ("notes_per_second", pa.float32()),
        ("polyphony", pa.float32()),  # mean sounding notes while any sounds, drums not counted
        ("velocities", pa.int32()),  # distinct velocity bins
        ("onset_error_ms", pa.float32()),  # median distance of an onset from its grid step
        ("onset_error_ms_95", pa.float32()),
        ("silence_seconds", pa.float32()),  # removed
        ("silence_bars", pa.int32()),  # removed
        ("silences", pa.map_(pa.int32(), pa.int32())),  # bar, as kept -> bars cut before it
        ("notes_doubled", pa.int32()),  # lost: same step, class and pitch as a longer one
        ("notes_outside_map", pa.int32()),  # lost: percussion keys without a class
        ("durations_cut", pa.int32()),  # longer than the longest duration token
        ("meters_dropped", pa.int32()),  # not in the vocabulary
        ("tier", pa.string()),  # strict, tolerant or salvage: how the file had to be read
        ("repairs", pa.int32()),
    ]
)

LEDGER_SCHEMA = pa.schema(
    [
        ("path", pa.string()),  # relative to its source; sources' names before it if several
        ("bytes", pa.int64()),
        ("md5", pa.string()),
        ("outcome", pa.string()),  # see OUTCOMES
        ("rule", pa.string()),  # the rule or the reader's code that rejected it; null: kept
        ("value", pa.float64()),  # what the rule measured
        ("threshold", pa.float64()),
        ("detail", pa.string()),  # a sentence, where there is more to say
        ("tier", pa.string()),
        ("repairs", pa.map_(pa.string(), pa.int32())),  # code -> how often
        ("song", pa.int32()),  # row in index.arrow; null: not kept
    ]
)

OUTCOMES = {
    "kept": "a song of the dataset",
    "rejected": "read, but a rule turned it down",
    "unreadable": "not a MIDI file, or too damaged to read",
    "refused": "not opened: too large, or not a plain file",
    "timeout": "took longer than the file timeout",
    "crash": "killed the worker that read it",
    "out_of_memory": "needed more memory than a worker may have",
}


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

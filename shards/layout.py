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

FORMAT_VERSION = 2
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
DUPLICATE_KINDS = {
    "identical_file": "byte for byte",
    "identical_music": "the same notes, meters and tempos",
    "near_duplicate": "most of its melodies",
    "listed": "an outside list says so",
}
"""How a song is known to be a copy of one that was there before it."""

INDEX_SCHEMA = pa.schema(
    [
        ("path", pa.string()),  # as in the ledger
        ("md5", pa.string()),
        ("shard", pa.int32()),
        ("start", pa.int64()),
        ("stop", pa.int64()),
        ("split", pa.string()),  # train, valid or test
        ("cluster", pa.int32()),  # songs of one number are copies or near-copies
        ("representative", pa.bool_()),  # the one song of its cluster that is trained on
        ("duplicate", pa.string()),  # of an earlier song: see DUPLICATE_KINDS; null: of none
        ("tokens", pa.int32()),
        ("notes", pa.int32()),
        ("bars", pa.int32()),  # up to the last onset
        ("seconds", pa.float32()),
        ("meter", pa.string()),  # in force for the most steps, as 3/4
        ("meters", pa.int32()),  # meters, the first included
        ("bpm", pa.float32()),  # in force for the most steps
        ("tempos", pa.int32()),
        ("instruments", pa.int32()),  # programs, drums not counted
        ("programs", pa.list_(pa.uint8())),  # which, ascending
        ("parts", pa.int32()),  # pairs of track and channel that play in the file
        ("drum_share", pa.float32()),  # of notes
        ("pitch_low", pa.int32()),  # drums not counted, as in all pitch figures; null: only drums
        ("pitch_high", pa.int32()),
        ("pitches", pa.int32()),
        ("pitch_class_entropy", pa.float32()),  # bits
        ("key", pa.string()),  # as C or F#m, the best fit; null: only drums
        ("key_fit", pa.float32()),  # correlation with that key's profile, up to 1
        ("sounds", pa.int32()),  # different pitches and drum keys
        ("same_pitch", pa.float32()),  # share of notes on the commonest pitch or drum key
        ("same_duration", pa.float32()),  # of the commonest duration; null: only drums
        ("onsets", pa.int32()),  # steps at which notes start
        ("on_beat", pa.float32()),  # share of notes that start on a beat of their bar
        ("groove", pa.float32()),  # share of steps at which neighbouring bars agree; NaN: none do
        ("notes_per_second", pa.float32()),
        ("busiest_second", pa.int32()),  # notes that start in it
        ("polyphony", pa.float32()),  # mean sounding notes while any sounds, drums not counted
        ("max_polyphony", pa.int32()),
        ("velocities", pa.int32()),  # distinct velocity bins
        ("expressive", pa.float32()),  # share of notes not at their instrument's usual velocity
        ("bends", pa.int32()),  # changes of pitch bend at a grid step, in the tokens or not
        ("modulations", pa.int32()),
        ("bend_tokens", pa.int32()),  # what they cost, or would cost
        ("modulation_tokens", pa.int32()),
        ("onset_error_ms", pa.float32()),  # median distance of an onset from its grid step
        ("onset_error_ms_95", pa.float32()),
        ("grid_error_ms", pa.list_(pa.float32())),  # mean, at 4, 6, 8, 12, 16, 24, 32, 48, 96 steps
        ("beat_alignment", pa.float32()),  # how strongly onsets gather within the beat, 0 to 1
        ("unaligned", pa.bool_()),  # ticks have nothing to do with beats: played freely
        ("silence_seconds", pa.float32()),  # removed
        ("silence_bars", pa.int32()),  # removed
        ("silences", pa.map_(pa.int32(), pa.int32())),  # bar, as kept -> bars cut before it
        ("notes_merged", pa.int32()),  # lost: same step, class and pitch as a longer one
        ("notes_outside_map", pa.int32()),  # lost: percussion keys without a class
        ("durations_shortened", pa.int32()),  # longer than the longest duration token
        ("durations_lengthened", pa.int32()),  # shorter than half a step, drums not counted
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

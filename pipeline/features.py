"""What is measured of every kept song: the columns of index.arrow that describe it.

Each figure is a function of one song and its reading alone, so workers compute it; the columns
are described in `shards.layout.INDEX_SCHEMA`.
"""

from typing import Any

import numpy as np

from pipeline.midi import Recording
from pipeline.quantize import Quantized
from pipeline.rules import Measured
from pipeline.silence import Removed
from shards.codec import EncodedSong
from shards.song import Song
from shards.vocabulary import PROGRAMS


def features(
    recording: Recording,
    quantized: Quantized,
    removed: Removed,
    measured: Measured,
    encoded: EncodedSong,
) -> dict[str, Any]:
    """Measure one song, its silence removed."""
    song = measured.song
    return {
        "tokens": len(encoded),
        "notes": len(song.notes),
        "bars": measured.bars,
        "seconds": measured.seconds,
        **_time(song),
        **_parts(song),
        **_pitch(song),
        "notes_per_second": len(song.notes) / max(measured.seconds, 1.0),
        "velocities": len(np.unique(song.notes["velocity"])),
        "onset_error_ms": float(np.median(quantized.onset_errors)),
        "onset_error_ms_95": float(np.percentile(quantized.onset_errors, 95)),
        "silence_seconds": removed.seconds,
        "silence_bars": removed.bars,
        "silences": removed.cuts,
        **quantized.counts,
        "tier": recording.tier,
        "repairs": sum(
            count for code, count in recording.repairs.items() if code != "lost_byte"
        ),  # that one counts bytes
    }


def _time(song: Song) -> dict[str, Any]:
    meter = song.meters[_longest_held(song.meters["start"], song.end)]
    tempo = song.tempos[_longest_held(song.tempos["start"], song.end)]
    return {
        "meter": f"{meter['numerator']}/{meter['denominator']}",
        "meters": len(song.meters),
        "bpm": 60e6 / float(tempo["microseconds"]),
        "tempos": len(song.tempos),
    }


def _longest_held(starts: np.ndarray, end: int) -> int:
    return int(np.diff(starts, append=end).argmax())


def _parts(song: Song) -> dict[str, Any]:
    is_drum = song.notes["instrument"] >= PROGRAMS
    programs = np.unique(song.notes["instrument"][~is_drum])
    return {
        "instruments": len(programs),
        "programs": programs.tolist(),
        "drum_share": float(is_drum.mean()),
    }


def _pitch(song: Song) -> dict[str, Any]:
    notes = song.notes[song.notes["instrument"] < PROGRAMS]
    if not len(notes):
        nothing = dict.fromkeys(("pitch_low", "pitch_high"))
        return {**nothing, "pitches": 0, "pitch_class_entropy": 0.0, "polyphony": 0.0}
    share = np.bincount(notes["pitch"] % 12) / len(notes)
    share = share[share > 0]
    return {
        "pitch_low": int(notes["pitch"].min()),
        "pitch_high": int(notes["pitch"].max()),
        "pitches": len(np.unique(notes["pitch"])),
        "pitch_class_entropy": float(-(share * np.log2(share)).sum()),
        "polyphony": float(notes["duration"].sum() / sounding_steps(notes)),
    }


def sounding_steps(notes: np.ndarray) -> int:
    """Steps in which at least one of the notes sounds; notes by start, at least one."""
    ends = np.maximum.accumulate(notes["start"] + notes["duration"])
    silent = np.maximum(notes["start"][1:] - ends[:-1], 0).sum()
    return int(ends[-1] - notes["start"][0] - silent)

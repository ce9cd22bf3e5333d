"""What is measured of every song: the columns of index.arrow that describe it.

Each figure is a function of one song and its reading alone, so workers compute it; the columns
are described in `shards.layout.INDEX_SCHEMA`. The rules judge these figures, so whatever a rule
turns down can be looked up, and a stricter corpus is a query and not another run.

Sources:
    key     Krumhansl 1990, Cognitive Foundations of Musical Pitch: profiles of Krumhansl and
            Kessler, and the correlation that finds a key by them
    groove  Wu and Yang 2020, The Jazz Transformer on the Front Line (grooving pattern
            similarity), here between neighbouring bars only
"""

from typing import Any

import numpy as np

from pipeline.clean.feature_kernels import (
    busiest_second,
    rhythm,
    sounding_together,
    tallies,
    unoccupied,
)
from pipeline.clean.grid_fit import GridFit
from pipeline.clean.quantize import Quantized
from pipeline.clean.silence import Removed
from pipeline.midi import Recording
from shards.bars import Bars
from shards.song import BEND, Song
from shards.vocabulary import Vocabulary

MAJOR = (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88)
MINOR = (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17)
KEY_NAMES = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")


def _profiles() -> np.ndarray:
    """The 24 keys' profiles, mean 0 and length 1, shape (24, 12): major from C on, then minor."""
    rows = [np.roll(profile, tonic) for profile in (MAJOR, MINOR) for tonic in range(12)]
    centred = np.array(rows) - np.mean(rows, axis=1, keepdims=True)
    return centred / np.linalg.norm(centred, axis=1, keepdims=True)


PROFILES = _profiles()


def features(
    recording: Recording,
    quantized: Quantized,
    removed: Removed,
    song: Song,
    vocabulary: Vocabulary,
) -> dict[str, Any]:
    """Measure one song, its silence removed; all columns but those that need its tokens.

    Args:
        recording: as it was read.
        quantized: the same on the grid, silence still in it.
        removed: what silence removal took out.
        song: what is left, at least one note.
        vocabulary: of the dataset.
    """
    notes, bars = np.ascontiguousarray(song.notes), Bars(song.meters, vocabulary.bar_steps)
    last_bar, onsets, on_beat, groove = rhythm(
        notes, bars.starts, bars.lengths, bars.first_bars, song.steps_per_beat
    )
    seconds = float(song.seconds(song.end))
    return {
        "notes": len(notes),
        "bars": last_bar + 1,
        "seconds": seconds,
        **_time(song),
        **_sounds(notes),
        "notes_per_second": len(notes) / max(seconds, 1.0),
        "busiest_second": busiest_second(notes, *song.tempo_map()),
        "parts": _parts(recording.notes),
        "onsets": onsets,
        "on_beat": on_beat / len(notes),
        "groove": groove,
        **_grid(quantized.fit),
        "silence_seconds": removed.seconds,
        "silence_bars": removed.bars,
        "silences": removed.cuts,
        **quantized.counts,
        **_controls(quantized),
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


def _parts(played: np.ndarray) -> int:
    """Different pairs of track and channel that play notes."""
    pairs = played["track"].astype(np.int64) << 4 | played["channel"]
    return int(np.count_nonzero(np.bincount(pairs)))


def _sounds(notes: np.ndarray) -> dict[str, Any]:
    """Instruments, pitches, durations and velocities."""
    tally = tallies(notes)
    count, melodic = len(notes), int(tally.programs.sum())
    programs = np.flatnonzero(tally.programs)
    row = {
        "instruments": len(programs),
        "programs": programs.tolist(),
        "drum_share": 1 - melodic / count,
        "velocities": int(np.count_nonzero(tally.velocities.sum(axis=0))),
        "expressive": 1 - int(tally.velocities.max(axis=1).sum()) / count,
        "sounds": int(np.count_nonzero(tally.pitches) + np.count_nonzero(tally.keys)),
        "same_pitch": max(int(tally.pitches.max()), int(tally.keys.max())) / count,
    }
    if not melodic:
        unknown = ("pitch_low", "pitch_high", "key", "key_fit", "same_duration")
        nothing = {"pitches": 0, "pitch_class_entropy": 0.0, "polyphony": 0.0, "max_polyphony": 0}
        return {**row, **dict.fromkeys(unknown), **nothing}
    pitches = np.flatnonzero(tally.pitches)
    most, steps, added = sounding_together(notes, len(tally.durations) - 1)
    share = np.bincount(pitches % 12, tally.pitches[pitches]) / melodic
    share = share[share > 0]
    return {
        **row,
        **_key(tally.sounding),
        "pitch_low": int(pitches[0]),
        "pitch_high": int(pitches[-1]),
        "pitches": len(pitches),
        "pitch_class_entropy": float(-(share * np.log2(share)).sum()),
        "same_duration": int(tally.durations.max()) / melodic,
        "polyphony": added / steps,
        "max_polyphony": most,
    }


def _key(sounding: np.ndarray) -> dict[str, Any]:
    """The key whose profile fits best how long each pitch class sounds, and its correlation."""
    centred = sounding - sounding.mean()
    length = np.linalg.norm(centred)
    if length == 0:
        return {"key": None, "key_fit": None}
    fits = PROFILES @ centred / length
    best = int(fits.argmax())
    name = KEY_NAMES[best % 12] + ("m" if best >= 12 else "")
    return {"key": name, "key_fit": float(fits[best])}


def _grid(fit: GridFit) -> dict[str, Any]:
    median, worst = fit.quantiles(0.5, 0.95)
    return {
        "onset_error_ms": median,
        "onset_error_ms_95": worst,
        "grid_error_ms": fit.by_grid.tolist(),
        "beat_alignment": fit.click,
        "unaligned": fit.unaligned,
    }


def _controls(quantized: Quantized) -> dict[str, int]:
    """Bends and modulations that the grid can say, and the tokens that each kind would cost."""
    controls = quantized.controls
    if not len(controls):
        return dict.fromkeys(("bends", "modulations", "bend_tokens", "modulation_tokens"), 0)
    song, notes = quantized.song, np.ascontiguousarray(quantized.song.notes)
    meters, tempos = song.meters["start"].copy(), song.tempos["start"].copy()
    is_bend = controls["kind"] == BEND
    bends, modulations = controls["start"][is_bend], controls["start"][~is_bend]
    return {
        "bends": len(bends),
        "modulations": len(modulations),
        "bend_tokens": len(bends) + 2 * unoccupied(bends, notes, meters, tempos),
        "modulation_tokens": len(modulations) + 2 * unoccupied(modulations, notes, meters, tempos),
    }

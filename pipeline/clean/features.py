"""What is measured of every song: the columns of index.arrow that describe it.

Each column is a function of one song and its file alone, so workers compute it. Columns are
described in `shards.layout.INDEX_SCHEMA`. The rules look at them too, so a stricter corpus is a
query, not another run.

`trainer.judging.music_metrics` measures generated samples. Compared with the columns here:

    polyphony            same definition; a song of drums alone has 0 here and NaN there
    pitch_class_entropy  here of the whole song, there the mean over windows of 1 or 4 bars
    bar_similarity       mean share of steps at which two neighbouring bars agree on whether notes
                         start; NaN if there are no such bars. Only bars with onsets whose meters
                         have equal lengths are compared. groove_consistency, there, includes bars
                         without onsets and leaves out those that a change of meter cut short

Sources:
    key             Krumhansl 1990, Cognitive Foundations of Musical Pitch: the best correlation
                    with the profiles of Krumhansl and Kessler
    bar_similarity  after Wu and Yang 2020, The Jazz Transformer on the Front Line (grooving
                    pattern similarity), who compare all pairs of bars
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.clean.beat import Beat, main_bpm
from pipeline.clean.feature_kernels import (
    added_rests,
    busiest_second,
    count_parts,
    histograms,
    polyphony,
    rhythm,
)
from pipeline.clean.heard import Heard
from pipeline.clean.loops import Loop
from pipeline.clean.meter import Meter
from pipeline.clean.quantize import Quantized
from pipeline.clean.silence import Removed
from shards.bars import Bars
from shards.keys import KEYS, PROFILES
from shards.song import BEND, MODULATION, Song
from shards.vocabulary import Vocabulary


@dataclass(frozen=True)
class Cleaned:
    """A song, and what cleaning did to it.

    Attributes:
        heard: the recording that it was made from.
        quantized: the recording on the grid, before anything was removed.
        song: what is left, at least one note.
        removed: the silences that were taken out.
        loop: the loop that the song mostly is.
    """

    heard: Heard
    quantized: Quantized
    song: Song
    removed: Removed
    loop: Loop


def features(cleaned: Cleaned, vocabulary: Vocabulary) -> dict[str, Any]:
    """Measure one song: every column that needs neither its tokens nor other songs.

    Args:
        cleaned: the song.
        vocabulary: of the dataset.
    """
    quantized, song, removed, loop = cleaned.quantized, cleaned.song, cleaned.removed, cleaned.loop
    heard, recording = cleaned.heard, cleaned.heard.recording
    notes, bars = np.ascontiguousarray(song.notes), Bars(song.meters, vocabulary.bar_steps)
    last_bar, onsets, on_beat, bar_similarity = rhythm(
        notes, bars.starts, bars.lengths, bars.first_bars, song.steps_per_beat
    )
    busiest, seconds = busiest_second(notes, *song.tempo_map())
    return {
        "notes": len(notes),
        "bars": last_bar + 1,
        "seconds": seconds,
        **_time(song, heard.meter),
        "bpm": main_bpm(recording),
        **_sounds(notes),
        "notes_per_second": len(notes) / max(seconds, 1.0),
        "busiest_second": busiest,
        "parts": count_parts(np.ascontiguousarray(recording.notes)),
        "onsets": onsets,
        "on_beat": on_beat / len(notes),
        "bar_similarity": bar_similarity,
        **_grid(heard.beat),
        "silence_seconds": removed.seconds,
        "silence_bars": removed.bars,
        "silences": removed.cuts,
        "strays": removed.strays,
        "silent_notes": heard.silent_notes,
        "pedal_notes": heard.pedal_notes,
        "loop_bars": loop.bars or None,
        "loop_turns": loop.turns,
        "loop_bars_cut": loop.bars_cut,
        **quantized.counts,
        **_controls(quantized, vocabulary),
        "tier": recording.tier,
        # lost_byte counts bytes, not repairs
        "repairs": sum(n for code, n in recording.repairs.items() if code != "lost_byte"),
    }


def _time(song: Song, known: Meter) -> dict[str, Any]:
    meters = song.meters
    longest = 0 if len(meters) == 1 else _longest_held(meters["start"], song.end)
    numerator, denominator = meters["numerator"].item(longest), meters["denominator"].item(longest)
    return {
        "meter": f"{numerator}/{denominator}",
        "meter_stated": known.stated,
        "meter_fit": known.fit(numerator, denominator),
        "meters": len(song.meters),
        "tempos": len(song.tempos),
    }


def _longest_held(starts: np.ndarray, end: int) -> int:
    return int(np.diff(starts, append=end).argmax())


def _sounds(notes: np.ndarray) -> dict[str, Any]:
    """Instruments, pitches, durations and velocities."""
    counts = histograms(notes)
    total, melodic = len(notes), int(counts.programs.sum())
    (programs,) = counts.programs.nonzero()
    row = {
        "instruments": len(programs),
        "programs": programs.tolist(),
        "drum_share": 1 - melodic / total,
        "velocities": counts.velocities,
        "expressive": 1 - counts.most_common_velocities / total,
        "sounds": int(np.count_nonzero(counts.pitches) + np.count_nonzero(counts.drum_keys)),
    }
    if not melodic:
        undefined = (
            "pitch_low",
            "pitch_high",
            "key",
            "key_fit",
            "same_pitch_share",
            "same_duration_share",
        )
        zero = {"pitches": 0, "pitch_class_entropy": 0.0, "polyphony": 0.0, "max_polyphony": 0}
        return {**row, **dict.fromkeys(undefined), **zero}
    (pitches,) = counts.pitches.nonzero()
    max_polyphony, sounding_steps, durations = polyphony(notes, len(counts.durations) - 1)
    share = counts.pitch_classes[counts.pitch_classes > 0] / melodic
    return {
        **row,
        **key_of(counts.sounding),
        "pitch_low": int(pitches[0]),
        "pitch_high": int(pitches[-1]),
        "pitches": len(pitches),
        "pitch_class_entropy": float(-(share * np.log2(share)).sum()),
        "same_pitch_share": int(counts.pitches.max()) / melodic,
        "same_duration_share": int(counts.durations.max()) / melodic,
        "polyphony": durations / sounding_steps,
        "max_polyphony": max_polyphony,
    }


def key_of(sounding: np.ndarray) -> dict[str, Any]:
    """The key whose profile correlates best with how long each pitch class sounds, shape (12,)."""
    centred = sounding - sounding.sum() / len(sounding)
    norm = math.sqrt(centred @ centred)
    if norm == 0:
        return {"key": None, "key_fit": None}
    correlations = PROFILES @ centred / norm
    best = int(correlations.argmax())
    return {"key": KEYS[best], "key_fit": float(correlations[best])}


def _grid(beat: Beat) -> dict[str, Any]:
    fit = beat.fit
    return {
        "beat_repair": beat.repair,
        "onset_error_ms_before": beat.fit_before.error_ms,
        "onset_error_ms": fit.error_ms,
        "onset_error_ms_95": fit.error_ms_95,
        "beat_alignment": fit.beat_alignment,
        "unaligned": fit.unaligned,
    }


def _controls(quantized: Quantized, vocabulary: Vocabulary) -> dict[str, int]:
    """Bends and modulations on the grid, and the tokens that each kind costs or would cost."""
    controls = quantized.controls
    if not len(controls):
        return dict.fromkeys(("bends", "modulations", "bend_tokens", "modulation_tokens"), 0)
    song, is_bend = quantized.song, controls["kind"] == BEND
    bends = int(np.count_nonzero(is_bend))
    whole_note, longest = 4 * vocabulary.settings.steps_per_beat, int(vocabulary.rests[-1])
    events = np.ascontiguousarray(song.notes), song.meters, song.tempos
    rests = added_rests(events, controls, whole_note, longest).tolist()
    return {
        "bends": bends,
        "modulations": len(controls) - bends,
        "bend_tokens": bends + rests[BEND],
        "modulation_tokens": len(controls) - bends + rests[MODULATION],
    }

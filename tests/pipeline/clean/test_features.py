"""The measured columns equal slow definitions, and predict token counts rightly."""

import dataclasses
import math
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.clean.features import Cleaned, features
from pipeline.clean.grid_fit import DIVISIONS, MIN_ONSETS, grid_fit
from pipeline.clean.heard import hear
from pipeline.clean.loops import Loop
from pipeline.clean.quantize import quantize
from pipeline.clean.silence import Removed
from pipeline.midi import TEMPO_DTYPE, read_midi
from shards.codec import Codec
from shards.keys import TONICS
from shards.layout import INDEX_SCHEMA
from shards.render.midi import write_midi
from shards.vocabulary import PROGRAMS, CodecSettings, Vocabulary
from tests.pipeline.browse.test_hear import BENDING, bent_song
from tests.shards.songs import canonical_songs, make_song
from trainer.judging import music_metrics

VOCABULARY = Vocabulary()
NOT_MEASURED = (
    "path",
    "md5",
    "shard",
    "start",
    "stop",
    "split",
    "cluster",
    "representative",
    "duplicate",
)


def measured(recording):
    heard, quantized = as_it_is(recording), quantize(recording, VOCABULARY)
    cleaned = Cleaned(heard, quantized, quantized.song, Removed(0, 0.0), Loop())
    return features(cleaned, VOCABULARY)


def as_it_is(recording):
    return hear(
        recording, "ignore", "none", VOCABULARY.settings.steps_per_beat, meter_inference=False
    )


def described(song):
    """The columns of a song made by hand; those of the file's reading mean nothing."""
    recording = read_midi(FILE)
    known = quantize(recording, VOCABULARY)
    quantized = dataclasses.replace(known, song=song)
    cleaned = Cleaned(as_it_is(recording), quantized, song, Removed(0, 0.0), Loop())
    return features(cleaned, VOCABULARY)


FILE = bytes.fromhex(
    "4d546864 00000006 0000 0001 0060 4d54726b 0000000c 00903c40 60903c00 00ff2f00".replace(" ", "")
)


def test_every_column_is_measured_unless_it_needs_tokens_or_other_songs():
    columns = {*described(make_song([(0, 12, 0, 60, 66)]))}
    assert columns == {*INDEX_SCHEMA.names} - {*NOT_MEASURED, "tokens"}


@given(canonical_songs(VOCABULARY, max_notes=20))
def test_sounds_are_counted_note_by_note(song):
    row, notes = described(song), song.notes.tolist()
    tuned = [note for note in notes if note[2] < PROGRAMS]
    programs = sorted({note[2] for note in tuned})
    assert (row["programs"], row["instruments"]) == (programs, len(programs))
    assert row["drum_share"] == pytest.approx(1 - len(tuned) / len(notes))
    sounds = Counter(note[3] if note[2] < PROGRAMS else (note[2],) for note in notes)
    assert row["sounds"] == len(sounds)
    bins = {}
    for _, _, instrument, _, velocity in notes:  # a drum kit is one instrument
        bins.setdefault(min(instrument, PROGRAMS), Counter())[velocity // 4] += 1
    commonest = sum(max(velocities.values()) for velocities in bins.values())
    assert row["expressive"] == pytest.approx(1 - commonest / len(notes))
    assert row["velocities"] == len({note[4] // 4 for note in notes})
    if not tuned:
        assert row["pitches"] == 0
        assert row["key"] is row["pitch_low"] is row["same_duration_share"] is None
        assert row["same_pitch_share"] is None
        return
    pitches = [note[3] for note in tuned]
    assert (row["pitch_low"], row["pitch_high"]) == (min(pitches), max(pitches))
    assert row["pitches"] == len(set(pitches))
    assert row["same_pitch_share"] == pytest.approx(max(Counter(pitches).values()) / len(tuned))
    durations = Counter(note[1] for note in tuned)
    assert row["same_duration_share"] == pytest.approx(max(durations.values()) / len(tuned))
    classes = Counter(pitch % 12 for pitch in pitches).values()
    shares = [count / len(tuned) for count in classes]
    assert row["pitch_class_entropy"] == pytest.approx(
        -sum(share * math.log2(share) for share in shares), abs=1e-9
    )
    sounding = {step for start, held, *_ in tuned for step in range(start, start + held)}
    assert row["polyphony"] == pytest.approx(sum(note[1] for note in tuned) / len(sounding))


@given(canonical_songs(VOCABULARY))
def test_polyphony_and_entropy_have_the_definitions_of_the_judge(song):
    row, barred = described(song), music_metrics.BarredSong(song, VOCABULARY.bar_steps)
    whole_song = len(barred.starts)
    entropy = music_metrics.pitch_class_entropy(barred, whole_song)
    if row["pitches"]:
        assert row["polyphony"] == pytest.approx(music_metrics.polyphony(barred))
        assert row["pitch_class_entropy"] == pytest.approx(entropy, abs=1e-9)


@given(canonical_songs(VOCABULARY))
def test_the_meter_is_the_one_in_force_for_most_steps(song):
    starts = [*song.meters["start"].tolist(), song.end]
    held = [after - before for before, after in pairwise(starts)]
    _, numerator, denominator = song.meters[held.index(max(held))].item()
    assert described(song)["meter"] == f"{numerator}/{denominator}"


@given(
    st.sets(st.integers(0, 300), max_size=5),
    st.integers(1, 200),
)
def test_the_tempo_is_the_one_in_force_for_most_ticks_not_its_token(ticks, end):
    tempos = np.array([(tick, 600_000 + tick) for tick in sorted(ticks)], TEMPO_DTYPE)
    notes = read_midi(FILE).notes
    notes["end"] = end
    row = measured(dataclasses.replace(read_midi(FILE), notes=notes, tempos=tempos))
    beats = [500_000] * end
    for tick, microseconds in tempos.tolist():
        beats[tick:] = [microseconds] * max(end - tick, 0)
    most = max(Counter(beats).values())
    assert row["bpm"] in [pytest.approx(60e6 / each) for each in beats if beats.count(each) == most]


@pytest.mark.parametrize("tonic", range(12))
@pytest.mark.parametrize(
    ("mode", "degrees"),
    [("", (0, 4, 7, 0, 5, 9, 2, 7, 11, 0, 4, 7)), ("m", (0, 3, 7, 0, 5, 8, 2, 7, 0, 3, 7, 0))],
)
def test_a_cadence_is_in_its_key_however_transposed(tonic, mode, degrees):
    song = make_song([(12 * n, 12, 0, 48 + tonic + d, 66) for n, d in enumerate(degrees)])
    assert described(song)["key"] == TONICS[tonic] + mode


@pytest.mark.parametrize("seed", range(20))
def test_controls_cost_the_tokens_that_are_predicted(seed, tmp_path):
    write_midi(bent_song(seed), tmp_path / "song.mid", BENDING)
    recording = read_midi((tmp_path / "song.mid").read_bytes())
    row = measured(recording)

    def tokens(controls):
        vocabulary = Vocabulary(CodecSettings(controls=controls))
        return len(Codec(vocabulary).encode(quantize(recording, vocabulary).song))

    assert row["bend_tokens"] == tokens("bend") - tokens("none")
    assert row["modulation_tokens"] == tokens("mod") - tokens("none")


BEAT = 48
onsets = st.lists(st.integers(0, 20 * BEAT), min_size=1, max_size=60).map(sorted)
tempos = st.lists(st.tuples(st.integers(0, 900), st.integers(10**5, 10**6)), max_size=3)


@given(onsets, tempos, st.sampled_from([4, 12, 96]))
def test_a_grid_fit_matches_its_definition(ticks, changes, steps):
    changes = sorted(dict(changes).items())
    fit = grid_fit(np.array(ticks), np.array(changes, TEMPO_DTYPE), BEAT, steps)

    def error(tick):
        """Milliseconds from a tick to the nearest step, at the tempo in force."""
        tempo = next((tempo for at, tempo in reversed(changes) if at <= tick), 500_000)
        step = tick * steps / BEAT
        return abs(step - round(step)) * tempo / steps / 1000

    ranked = sorted(error(tick) for tick in ticks)
    expected = [ranked[int(share * (len(ranked) - 1))] for share in (0.5, 0.95)]
    assert [fit.error_ms, fit.error_ms_95] == pytest.approx(expected, abs=1e-9)
    phases = np.array([tick % BEAT / BEAT for tick in sorted(set(ticks))])
    lengths = [abs(np.exp(2j * np.pi * k * phases).mean()) for k in DIVISIONS]
    assert fit.lengths == pytest.approx(lengths, abs=1e-9)
    assert fit.beat_alignment == fit.lengths.max()


def fitted(ticks):
    return grid_fit(np.sort(ticks), np.zeros(0, TEMPO_DTYPE), 480, 12)


def test_music_played_to_a_beat_is_distinguished_from_free_playing():
    random = np.random.default_rng(0)
    eighths = np.arange(400) * 240
    played = eighths + random.normal(0, 0.02 * 960, 400).astype(np.int64) + 1000  # 20 ms at 120
    for ticks in (eighths, eighths + 77, played):  # on the grid, shifted off it, by hand
        assert not fitted(ticks).unaligned
    for ticks in (eighths * 1037 // 1000, random.integers(0, 400 * 240, 400)):
        assert fitted(ticks).unaligned


def test_few_onsets_are_never_called_unaligned():
    ticks = np.random.default_rng(1).integers(0, 10**6, MIN_ONSETS - 1)
    assert not fitted(ticks).unaligned

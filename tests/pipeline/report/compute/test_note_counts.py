"""The workers' counts: they add up in any order, and equal a plain count of the songs."""

import dataclasses
from collections import Counter
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.midi import read_midi
from pipeline.process_file import FileProcessor
from pipeline.report.compute.note_counts import GRIDS, NoteCounts, sum_counts
from pipeline.report.compute.note_counts_json import note_counts_report
from pipeline.sources.listing import list_files
from shards.gm import FAMILY_NAMES
from shards.reader import read_json
from shards.vocabulary import CodecSettings, Vocabulary
from tests.pipeline.conftest import SETTINGS
from tests.shards.songs import make_song

VOCABULARY = Vocabulary(CodecSettings(steps_per_beat=4, max_duration=1))
SIZE = len(NoteCounts(VOCABULARY).vector)
random_counts = st.integers(0, 2**32 - 1).map(
    lambda seed: NoteCounts(VOCABULARY, np.random.default_rng(seed).integers(0, 2**40, SIZE))
)


@given(random_counts, random_counts, random_counts)
def test_counts_add_up_in_any_order(a, b, c):
    zero = NoteCounts(VOCABULARY)
    assert a + zero == a == zero + a
    assert a + b == b + a
    assert (a + b) + c == a + (b + c) == sum_counts(VOCABULARY, [c.vector, a.vector, b.vector])


def test_counts_of_another_vocabulary_are_refused():
    with pytest.raises(ValueError, match="counts"):
        NoteCounts(VOCABULARY, np.zeros(SIZE + 1, np.int64))


def counts_of(folder, files):
    processor = FileProcessor(SETTINGS)
    for file in files:
        processor.process(file)
    return processor.note_counts


def test_parts_counted_apart_are_the_whole_counted_at_once(demo, dataset):
    files = list(list_files([demo[0]], 8_000_000))
    whole = counts_of(demo[0], files)
    cuts = (0, 3, 4, 30, len(files))
    parts = [counts_of(demo[0], files[a:b]) for a, b in pairwise(cuts)]
    assert sum_counts(dataset.vocabulary, [part.vector for part in reversed(parts)]) == whole
    assert note_counts_report(whole) == read_json(dataset.path / "report.json")["note_counts"]


@pytest.fixture(scope="module")
def counts(dataset):
    return read_json(dataset.path / "report.json")["note_counts"]


@pytest.fixture(scope="module")
def stored(dataset):
    """Every stored song: its token names and its notes, as (start, duration, class, …)."""
    names = dataset.vocabulary.names
    encoded = [dataset.song(number) for number in range(len(dataset))]
    return [
        ([names[token] for token in song.tokens], dataset.codec.decode(song).notes.tolist())
        for song in encoded
    ]


def test_tokens_are_those_of_the_shards(counts, dataset, stored):
    times = Counter(name for tokens, _ in stored for name in tokens)
    songs = Counter(name for tokens, _ in stored for name in set(tokens))
    found = counts["tokens"]
    assert found["total"] == sum(times.values())
    by_kind = {kind["kind"]: kind for kind in found["kinds"]}
    first_letters = {"pitch": "n", "duration": "d", "meter": "m", "tempo": "t"}
    for kind, letter in first_letters.items():
        mine = [name for name in times if name[0] == letter]
        assert by_kind[kind]["used"] == len(mine)
        assert by_kind[kind]["occurrences"] == sum(times[name] for name in mine)
        assert by_kind[kind]["tokens"] == sum(
            name[0] == letter for name in dataset.vocabulary.names
        )
    known = {name for name in dataset.vocabulary.names if "unused" not in name} - {"<pad>"}
    assert set(found["never_used"]) == known - set(times)
    shown = [(one["name"], one["occurrences"], one["songs"]) for one in found["rarest"]]
    assert shown == [(name, times[name], songs[name]) for name, _, _ in shown]
    assert [n for _, n, _ in shown] == sorted(times.values())[: len(shown)]


def test_notes_are_those_of_the_shards(counts, dataset, stored):
    notes = [note for _, song in stored for note in song]
    of_class = Counter(instrument for _, _, instrument, _, _ in notes)
    in_songs = Counter(i for _, song in stored for i in {note[2] for note in song})
    names = dataset.vocabulary.instrument_names
    assert counts["songs"] == len(stored)
    assert counts["notes"] == len(notes)
    assert counts["instruments"] == [
        {"name": name, "notes": of_class[n], "songs": in_songs[n]} for n, name in enumerate(names)
    ]
    pitched = [note for note in notes if note[2] < 128]
    heat = Counter((instrument // 8, pitch) for _, _, instrument, pitch, _ in pitched)
    assert counts["pitches"] == {
        family: [heat[n, pitch] for pitch in range(128)] for n, family in enumerate(FAMILY_NAMES)
    }
    for kind, drums in (("programs", False), ("drums", True)):
        bins = Counter(velocity // 4 for _, _, i, _, velocity in notes if (i >= 128) == drums)
        assert counts["velocities"][kind] == [bins[n] for n in range(32)]
    durations = Counter(duration for _, duration, _, _, _ in pitched)
    assert counts["durations"] == [durations[n] for n in range(dataset.vocabulary.max_duration + 1)]


def test_sounding_notes_are_those_of_every_step(counts, stored):
    steps = Counter()
    for _, song in stored:
        pitched = [note for note in song if note[2] < 128]
        if not pitched:
            continue
        now = Counter(
            step for start, length, *_ in pitched for step in range(start, start + length)
        )
        first = min(start for start, *_ in pitched)
        steps.update(min(now[step], 32) for step in range(first, max(now) + 1))
    assert counts["sounding"] == [steps[n] for n in range(33)]


def test_drums_alone_have_no_step_from_a_first_onset_to_a_last_sound():
    counts = NoteCounts(VOCABULARY)
    counts._count_notes(make_song([(0, 1, 128 + 9, 36, 66), (96, 1, 128 + 9, 36, 66)]).notes)
    assert counts.arrays["sounding"].sum() == 0


def test_grid_errors_are_those_of_the_files_in_exact_fractions(counts, demo, dataset):
    alike = Counter()  # onsets by position in the beat, ticks per beat and tempo
    for path in dataset.index["path"].to_pylist():
        recording = read_midi((demo[0] / path).read_bytes())
        resolution, tempos = recording.ticks_per_beat, [(0, 500_000), *recording.tempos.tolist()]
        for tick, often in Counter(recording.notes["start"].tolist()).items():
            tempo = next(tempo for at, tempo in reversed(tempos) if at <= tick)
            alike[tick % resolution, resolution, tempo] += often
    exact, within, total_ms = Counter(), Counter(), Counter()
    for (tick, resolution, tempo), often in alike.items():
        for grid in GRIDS:
            place = Fraction(tick * grid, resolution)
            off = abs(place - round(place)) / grid * tempo / 1000  # milliseconds
            exact[grid] += often * (off == 0)
            within[grid] += often * (off < 10)
            total_ms[grid] += often * off
    onsets = sum(alike.values())
    for grid in counts["grids"]:
        steps = grid["steps_per_beat"]
        assert grid["onsets"] == sum(grid["errors"]) == onsets
        assert grid["exact"] == exact[steps]
        # The kernel cuts errors to whole microseconds, so near a bin's edge it may differ.
        assert sum(grid["errors"][:10]) == pytest.approx(within[steps], abs=0.002 * onsets)
        assert grid["mean_ms"] == pytest.approx(float(total_ms[steps] / onsets), abs=0.001)


def test_decisions_about_drum_kits_are_those_of_the_files(counts, demo, dataset):
    notes, songs = Counter(), Counter()
    for row in dataset.index.to_pylist():
        made = read_midi((demo[0] / row["path"]).read_bytes()).percussion
        notes.update(made)
        songs.update({*made})
    found = {one["decision"]: (one["notes"], one["songs"]) for one in counts["drum_decisions"]}
    assert found == {decision: (notes[decision], songs[decision]) for decision in notes}
    assert [one["notes"] for one in counts["drum_decisions"]] == sorted(
        notes.values(), reverse=True
    )
    assert found


def test_each_decision_about_a_kit_is_counted_by_itself(demo, dataset):
    added, row = NoteCounts(dataset.vocabulary), dataset.index.slice(0, 1).to_pylist()[0]
    recording = read_midi((demo[0] / row["path"]).read_bytes())
    encoded = dataset.song(0)
    for made in ({"gs_part_mode": 5, "track_name": 2}, {"track_name": 4}, {}):
        changed = dataclasses.replace(recording, percussion=made)
        added.count(dataset.codec.decode(encoded), encoded, changed)
    assert note_counts_report(added)["drum_decisions"] == [
        {"decision": "track_name", "notes": 6, "songs": 2},
        {"decision": "gs_part_mode", "notes": 5, "songs": 1},
    ]

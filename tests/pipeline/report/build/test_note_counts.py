"""The workers' counts: they add up in any order, and are what a plain count of the songs says."""

import dataclasses
from collections import Counter
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.midi import read_midi
from pipeline.report.build.note_counts_json import measure_tally
from pipeline.report.build.note_counts import GRIDS, Tally, total
from pipeline.running.slice_task import FileProcessor
from pipeline.sources.listing import list_files
from shards.gm import FAMILY_NAMES
from shards.reader import read_json
from shards.vocabulary import CodecSettings, Vocabulary
from tests.pipeline.conftest import SETTINGS

VOCABULARY = Vocabulary(CodecSettings(steps_per_beat=4, max_duration=1))
SIZE = len(Tally(VOCABULARY).counts)
tallies = st.integers(0, 2**32 - 1).map(
    lambda seed: Tally(VOCABULARY, np.random.default_rng(seed).integers(0, 2**40, SIZE))
)


@given(tallies, tallies, tallies)
def test_tallies_add_up_in_any_order(a, b, c):
    zero = Tally(VOCABULARY)
    assert a + zero == a == zero + a
    assert a + b == b + a
    assert (a + b) + c == a + (b + c) == total(VOCABULARY, [c.counts, a.counts, b.counts])


def test_a_tally_of_another_vocabulary_is_refused():
    with pytest.raises(ValueError, match="counts"):
        Tally(VOCABULARY, np.zeros(SIZE + 1, np.int64))


def tally_of(folder, files):
    processor = FileProcessor(SETTINGS)
    for file in files:
        processor.process(file)
    return processor.tally


def test_parts_counted_apart_are_the_whole_counted_at_once(demo, dataset):
    files = list(list_files([demo[0]], 8_000_000))
    whole = tally_of(demo[0], files)
    cuts = (0, 3, 4, 30, len(files))
    parts = [tally_of(demo[0], files[a:b]) for a, b in pairwise(cuts)]
    assert total(dataset.vocabulary, [part.counts for part in reversed(parts)]) == whole
    assert measure_tally(whole) == read_json(dataset.path / "report.json")["counts"]


@pytest.fixture(scope="module")
def counts(dataset):
    return read_json(dataset.path / "report.json")["counts"]


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
        assert by_kind[kind]["times"] == sum(times[name] for name in mine)
        assert by_kind[kind]["tokens"] == sum(
            name[0] == letter for name in dataset.vocabulary.names
        )
    known = {name for name in dataset.vocabulary.names if "unused" not in name} - {"<pad>"}
    assert set(found["never"]) == known - set(times)
    shown = [(one["name"], one["times"], one["songs"]) for one in found["rarest"]]
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
    assert counts["heat"] == {
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


def test_grid_errors_are_those_of_the_files_in_exact_fractions(counts, demo, dataset):
    alike = Counter()  # onsets by place in the beat, ticks a beat and tempo
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
        steps = grid["steps"]
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
    said = {one["decision"]: (one["notes"], one["songs"]) for one in counts["kits"]}
    assert said == {decision: (notes[decision], songs[decision]) for decision in notes}
    assert [one["notes"] for one in counts["kits"]] == sorted(notes.values(), reverse=True)
    assert said


def test_each_decision_about_a_kit_is_counted_by_itself(demo, dataset):
    tally, row = Tally(dataset.vocabulary), dataset.index.slice(0, 1).to_pylist()[0]
    recording = read_midi((demo[0] / row["path"]).read_bytes())
    encoded = dataset.song(0)
    for made in ({"gs_part_mode": 5, "track_name": 2}, {"track_name": 4}, {}):
        changed = dataclasses.replace(recording, percussion=made)
        tally.count(dataset.codec.decode(encoded), encoded, changed)
    assert measure_tally(tally)["kits"] == [
        {"decision": "track_name", "notes": 6, "songs": 2},
        {"decision": "gs_part_mode", "notes": 5, "songs": 1},
    ]

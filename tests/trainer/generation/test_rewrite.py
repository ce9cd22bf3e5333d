import dataclasses

import numpy as np
import pytest
import torch

from shards.codec import Codec
from shards.errors import LakhxlError, SettingError
from shards.song import METER, NOTE, TEMPO, Song, sort_notes
from trainer.data.batches import Batch, Blocks, collate
from trainer.data.conditions import ConditionCodes
from trainer.data.sampler import Span
from trainer.data.sections import CLASSES, parts_of, rearrange
from trainer.data.streams import Stream, with_parts
from trainer.generation.generate import write_songs
from trainer.generation.rewrite import (
    RewriteSampler,
    accompaniment,
    bars_ahead,
    infilling,
    rewrite_samplers,
    written_bars,
)
from trainer.generation.settings import SampleConfig

FLAT = {"temperature": 2.0, "instrument_top_p": 1.0, "velocity_top_p": 1.0, "tokens": 60}


def rewrite(model, codec, config, song, plan, *, block_size, progress=lambda written: None):
    samplers = rewrite_samplers(codec, config, song, plan)
    for written in write_songs(samplers, model, config, block_size=block_size):
        progress(written)
    return [sampler.finish() for sampler in samplers]


@pytest.fixture(scope="module")
def song():
    """Ten bars of piano, bass and drums; the meter is 3/4 from the fourth bar on."""
    rows = []
    for beat in range(4 * 3 + 3 * 7):
        rows += [(24 * beat, 24, 0, 60 + beat % 12, 66), (24 * beat, 24, 33, 36, 70)]
        rows += [(24 * beat, 6, 128 + 36 - 27, 36, 90)]
    meters = np.array([(0, 4, 4), (288, 3, 4)], METER)
    tempos = np.array([(0, 500_000), (312, 400_000)], TEMPO)
    return Song(sort_notes(np.array(rows, NOTE)), meters, tempos, 24)


@pytest.fixture(scope="module")
def codec(vocabulary):
    return Codec(vocabulary)


@pytest.fixture(scope="module")
def encoded(song, codec):
    tempos = song.tempos.copy()
    tempos["microseconds"] = codec.vocabulary.tempos[
        codec.vocabulary.tempo_bins(tempos["microseconds"])
    ]
    return codec.encode(dataclasses.replace(song, tempos=tempos))


def bars_of(notes, song, codec):
    bars, _ = codec.bars(song, 10_000).locate(notes["start"])
    return bars


def not_in(notes, others):
    """The notes that are not among others."""
    return notes[~np.isin(notes, others)]


@pytest.mark.parametrize("seed", range(3))
def test_infilling_changes_nothing_but_its_bars(make_model, codec, encoded, seed):
    plan = infilling(encoded, "3-5", None, codec.vocabulary, memory=99)
    config = SampleConfig(count=2, seed=seed, **FLAT)
    before = codec.decode(encoded)
    for written in rewrite(make_model(), codec, config, encoded, plan, block_size=8):
        after = codec.decode(written)
        assert codec.encode(after) == written
        assert np.array_equal(after.meters, before.meters)
        for notes, others in ((before.notes, after.notes), (after.notes, before.notes)):
            assert set(bars_of(not_in(notes, others), before, codec)) <= {2, 3, 4}


def test_infilling_some_parts_leaves_the_others(make_model, codec, encoded):
    plan = infilling(encoded, "3-5", "bass", codec.vocabulary, memory=99)
    config = SampleConfig(seed=1, **FLAT)
    (written,) = rewrite(make_model(), codec, config, encoded, plan, block_size=8)
    before, after = codec.decode(encoded), codec.decode(written)
    assert set(not_in(before.notes, after.notes)["instrument"]) <= {33}
    assert set(not_in(after.notes, before.notes)["instrument"]) <= set(range(32, 40))


def test_an_accompaniment_leaves_what_it_accompanies(make_model, codec, encoded):
    plan = accompaniment(encoded, "drums,flute", codec.vocabulary)
    config = SampleConfig(seed=2, count=3, **FLAT)
    before = codec.decode(encoded).notes
    kept = before[before["instrument"] < 128]
    for written in rewrite(make_model(), codec, config, encoded, plan, block_size=8):
        after = codec.decode(written).notes
        is_new = (after["instrument"] >= 128) | (after["instrument"] == 73)
        assert np.array_equal(after[~is_new], kept)
        assert is_new.any()


class Scripted(RewriteSampler):
    """Writes what the song had; keeps what the model was fed."""

    def __init__(self, codec, encoded, plan):
        self.stream, self.fed = rearrange(encoded, plan, codec), []
        super().__init__(codec, SampleConfig(), 0, encoded, self.stream, plan)

    def take(self, count):
        self.fed.append(super().take(count))
        return self.fed[-1]

    def take_one(self):
        self.fed.append(np.array(super().take_one())[:, None])
        return self.fed[-1][:, 0]

    def allowed_tokens(self):
        token = int(self.stream.song.tokens[len(self.writer.rows)])
        token = self.vocabulary.eos if token == self.vocabulary.sos else token
        assert super().allowed_tokens()[token]
        return np.arange(len(self.vocabulary)) == token

    def append(self, token, instrument, velocity):
        row = len(self.writer.rows)
        song = self.stream.song
        super().append(token, int(song.instruments[row]), int(song.velocities[row]))


@pytest.mark.parametrize("accompany", [False, True])
def test_the_model_is_fed_what_training_feeds_it(make_model, codec, encoded, accompany):
    plan = (
        accompaniment(encoded, "drums", codec.vocabulary)
        if accompany
        else infilling(encoded, "3-5", "bass", codec.vocabulary, memory=99)
    )
    sampler = Scripted(codec, encoded, plan)
    for _ in write_songs([sampler], make_model(velocity_head=True), SampleConfig(), block_size=8):
        pass
    assert sampler.finish() == encoded
    song = sampler.stream.song
    inputs = np.concatenate(sampler.fed, axis=1)
    count = inputs.shape[1]
    assert inputs[0].tolist() == song.tokens[:count].tolist()
    assert inputs[2].tolist() == song.bars[:count].tolist()
    assert inputs[3].tolist() == song.steps[:count].tolist()
    parts = parts_of(encoded)
    codes = with_parts(ConditionCodes(), parts)
    written_codes = with_parts(codes, parts[plan.hidden[parts]])
    stream = Stream.of_sections(sampler.stream, codes, written_codes)
    assert inputs[5].tolist() == stream.condition_fields(slice(count)).tolist()
    assert inputs[6:].tolist() == np.array(stream.band(slice(count))).tolist()


def test_one_program_is_written_for_a_name_that_selects_several(codec, encoded):
    config = SampleConfig(instruments="organ,guitar")
    plan = accompaniment(encoded, "organ,guitar", codec.vocabulary)
    (sampler,) = rewrite_samplers(codec, config, encoded, plan)
    assert np.flatnonzero(sampler.writer.constraints.instruments).tolist() == [16, 25]
    asked = with_parts(ConditionCodes(), np.array([16, 25]))
    assert sampler.band(len(sampler.writer.rows) - 1) == asked.band


@pytest.mark.parametrize("bars", ["0", "11", "5-3", "3-", "x", "", "1-999999999", "-1", "3-12"])
def test_bars_that_the_song_lacks_are_refused(encoded, vocabulary, bars):
    with pytest.raises(SettingError, match="expected bars of the song's 10, as 9-16"):
        infilling(encoded, bars, None, vocabulary, memory=99)


def test_a_song_without_other_parts_cannot_be_accompanied(encoded, vocabulary):
    with pytest.raises(SettingError, match="no other parts"):
        accompaniment(encoded, "piano,bass,drums", vocabulary)


def test_progress_ends_at_all_bars(make_model, codec, encoded):
    plan, seen = accompaniment(encoded, "drums", codec.vocabulary), []
    config = SampleConfig(count=2, **FLAT)
    rewrite(make_model(), codec, config, encoded, plan, block_size=8, progress=seen.append)
    assert seen == sorted(seen)
    assert seen[-1] == 2 * written_bars(plan) == 20


def test_a_song_of_which_nothing_is_left_is_refused(make_model, codec, encoded, monkeypatch):
    plan = infilling(encoded, "1-10", None, codec.vocabulary, memory=99)
    ends = np.arange(len(codec.vocabulary)) == codec.vocabulary.eos
    monkeypatch.setattr(RewriteSampler, "allowed_tokens", lambda _: ends)
    with pytest.raises(LakhxlError, match="wrote no note"):
        rewrite(make_model(), codec, SampleConfig(), encoded, plan, block_size=8)


def test_hidden_notes_are_never_fed(make_model, codec, encoded):
    """Two songs that differ only in what is hidden are written alike."""
    plan = infilling(encoded, "3-5", None, codec.vocabulary, memory=99)
    other = codec.decode(encoded)
    is_hidden = np.isin(bars_of(other.notes, other, codec), [2, 3, 4])
    notes = other.notes[~is_hidden | (other.notes["instrument"] == 33)]
    changed = codec.encode(dataclasses.replace(other, notes=notes))
    config = SampleConfig(seed=5, **FLAT)
    model = make_model()
    one, two = (
        rewrite(model, codec, config, song, plan, block_size=8)[0] for song in (encoded, changed)
    )
    assert one == two
    assert len(plan.hidden) == CLASSES


def test_conditions_change_what_the_model_predicts(make_model, twin):
    model, end = make_model(), 20
    batch = collate([Blocks(twin, np.arange(8), end)[(Span(0, 0, end, 0),)]])
    plain, _ = model(batch, model.empty_memory(1))
    for name in ("conditions", "band_low", "band_high"):
        asked = batch._replace(**{name: torch.full_like(batch.tokens, 3)})
        assert isinstance(asked, Batch)
        output, _ = model(asked, model.empty_memory(1))
        assert not torch.allclose(output.token_logits, plain.token_logits)


def test_a_new_model_does_not_hear_conditions_yet(vocabulary, make_model):
    model = make_model()
    model.initialize(torch.Generator().manual_seed(0))
    assert not any(weight.any() for weight in model.embed.conditions.parameters())


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("asked", ["infill", "accompany"])
def test_finished_bars_only_grow_and_end_as_the_song(make_model, codec, encoded, seed, asked):
    plan = (
        infilling(encoded, "3-5", "bass", codec.vocabulary, memory=99)
        if asked == "infill"
        else accompaniment(encoded, "drums,flute", codec.vocabulary)
    )
    config, model = SampleConfig(seed=seed, **FLAT), make_model()
    (expected,) = rewrite(model, codec, config, encoded, plan, block_size=8)
    final, seen = codec.decode(expected), {}
    (sampler,) = rewrite_samplers(codec, config, encoded, plan)
    for _ in write_songs([sampler], model, config, block_size=8):
        seen.setdefault(sampler.finished_bars, sampler.song())
    assert list(seen) == sorted(seen)
    assert len(seen) == (2 if asked == "infill" else 6)
    for bars, song in seen.items():
        notes = codec.decode(song).notes if song else final.notes[:0]
        assert np.array_equal(notes, final.notes[bars_of(final.notes, final, codec) < bars])


@pytest.mark.parametrize(("memory", "ahead"), [(0, 1), (60, 1), (10_000, 8)])
def test_bars_ahead_leave_half_of_the_memory_to_what_came_before(encoded, memory, ahead):
    assert bars_ahead(encoded, 1, memory) == ahead
    tokens = int(((encoded.bars >= 1) & (encoded.bars < 4)).sum())
    assert bars_ahead(encoded, 1, 2 * tokens) == 3
    assert bars_ahead(encoded, 1, 2 * tokens - 1) == 2


def test_a_condition_that_is_not_given_adds_nothing(make_model, twin):
    model, end = make_model(), 20
    batch = collate([Blocks(twin, np.arange(8), end)[(Span(0, 0, end, 0),)]])
    assert not model.embed.conditions(batch).any()

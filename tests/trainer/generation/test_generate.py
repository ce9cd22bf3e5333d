from typing import Any

import numpy as np
import pytest
import torch

from shards.bars import Bars
from shards.codec import Codec
from shards.errors import SettingError
from shards.vocabulary import NO_VELOCITY, PROGRAMS
from trainer.data.batches import Blocks, collate
from trainer.data.sampler import Span
from trainer.generation.generate import generate, write_songs
from trainer.generation.incremental import IncrementalModel
from trainer.generation.prompt import Prompt
from trainer.generation.sample_step import sample_instruments, sample_tokens
from trainer.generation.settings import SampleConfig
from trainer.generation.song_sampler import SongSampler
from trainer.generation.writer import DEFAULT_VELOCITY

FLAT: dict[str, Any] = {"temperature": 2.0, "instrument_top_p": 1.0, "velocity_top_p": 1.0}
"""Samples unlikely tokens too, so that songs of an untrained model vary."""


def inputs_of(twin, number):
    """A whole song as a model's inputs, shape (5, tokens)."""
    end = len(twin.songs[number]) - 1
    batch = collate([Blocks(twin, np.arange(8), end)[(Span(number, 0, end, 0),)]])
    assert batch.velocities is not None
    return torch.cat([*batch[:4], batch.velocities]).numpy()


@torch.no_grad()
def logits(model, output):
    """The logits of both heads, the instrument's after token 30, concatenated."""
    instruments = model.instrument_head(output.hidden, torch.full(output.hidden.shape[:2], 30))
    return torch.cat([output.token_logits, instruments], dim=-1)


def teacher_forced(model, twin, number, T):
    """The logits of both heads, a block at a time as in training; shape (tokens, V + I)."""
    end = len(twin.songs[number]) - 1
    blocks, memory, chunks = Blocks(twin, np.arange(8), T), model.empty_memory(1), []
    for start in range(0, end, T):
        span = Span(number, start, min(start + T, end), 3)
        output, memory = model(collate([blocks[(span,)]]), memory)
        chunks.append(logits(model, output)[0, : span.stop - span.start])
    return torch.cat(chunks)


@pytest.mark.parametrize("positions", ["rope_music", "rope", "txl", "t5"])
@pytest.mark.parametrize("memory", [0, 5, 12, 500])
@pytest.mark.parametrize("other", [{}, {"window": 7, "qk_norm": True, "velocity_head": True}])
def test_one_token_at_a_time_gives_the_logits_of_training(
    make_model, twin, positions, memory, other
):
    T = 8
    model = make_model(position_encoding=positions, memory=memory, **other)
    songs = [inputs_of(twin, number)[:, :60] for number in (0, 2)]  # two lanes
    expected = torch.stack([teacher_forced(model, twin, number, T)[:60] for number in (0, 2)])
    for sizes in ([1] * 60, [11, 1, 1, 8, 3, 36]):
        incremental, at, found = IncrementalModel(model, T, lanes=2), 0, []
        for size in sizes:
            part = np.stack([song[:, at : at + size] for song in songs], axis=1)
            found.append(logits(model, incremental.feed(part)))
            at += size
        assert torch.allclose(torch.cat(found, dim=1), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("seed", range(4))
def test_every_generated_song_survives_decoding_and_encoding(make_model, vocabulary, seed):
    config = SampleConfig(seed=seed, count=2, bars=4, tokens=150, **FLAT)
    codec = Codec(vocabulary)
    for song in generate(make_model(), vocabulary, config, block_size=8):
        again = codec.encode(codec.decode(song))
        assert again == song
        is_pitch = song.velocities != song.velocities[-1]
        assert is_pitch.any()
        assert (song.velocities[is_pitch] == DEFAULT_VELOCITY).all()


@pytest.fixture
def play(monkeypatch, make_model, vocabulary):
    """Generates by a script: <eos> if allowed, else a rest of `rest`, a note, and so on."""

    def generated(rest, config):
        def scripted(sampler):
            allowed = sampler.writer.allowed_tokens(note_due=sampler.is_long_enough())
            rested = sampler.writer.rows[-1][0] == vocabulary.ids[rest]
            rests = [] if rested else [rest]
            wanted = ["<eos>", "m4/4", "t120.0", *rests, "n60", "d12"]
            chosen = next(i for i in map(vocabulary.ids.get, wanted) if allowed[i])
            return np.arange(len(vocabulary)) == chosen

        monkeypatch.setattr(SongSampler, "allowed_tokens", scripted)
        model = make_model(conditions=False)
        return generate(model, vocabulary, config, block_size=8)[0]

    return generated


@pytest.mark.parametrize("bars", [1, 3])
def test_exactly_the_requested_bars_are_written(play, vocabulary, bars):
    song = play("r24", SampleConfig(bars=bars))  # on every beat but the first
    assert (song.tokens == vocabulary.ids["n60"]).sum() == 4 * bars - 1
    assert song.bars[-1] == bars - 1


@pytest.mark.parametrize("limits", [{"seconds": 6.0}, {"seconds": 6.0, "bars": 9}])
def test_exactly_the_requested_seconds_are_written(play, vocabulary, limits):
    song = Codec(vocabulary).decode(play("r24", SampleConfig(**limits)))
    assert song.seconds(song.notes["start"][-1]) == 5.5  # a beat is half a second


def test_a_song_may_end_by_itself_if_allowed(play, vocabulary):
    song = play("r24", SampleConfig(bars=8, ending=True))
    assert (song.tokens == vocabulary.ids["n60"]).sum() == 1


def test_every_song_has_a_note_even_after_the_limit(play, vocabulary):
    song = play("r768", SampleConfig(bars=1))
    assert (song.tokens == vocabulary.ids["n60"]).sum() == 1


def test_the_limit_on_tokens_holds(make_model, vocabulary):
    config = SampleConfig(bars=1000, tokens=60, **FLAT)
    (song,) = generate(make_model(), vocabulary, config, block_size=8)
    assert len(song) <= 62


@pytest.mark.parametrize("bars", [None, 1, 2, 5, 40])
def test_a_prompt_is_kept_and_continued_in_the_next_bar(make_model, vocabulary, twin, bars):
    prompt = Prompt.from_song(twin.songs[0], twin.codec, bars)
    assert prompt.bars == min(bars or 3, 3)  # the song has three
    config = SampleConfig(bars=12, tokens=1000, seed=1, **FLAT)
    (song,) = generate(make_model(), vocabulary, config, block_size=8, prompt=prompt)
    assert twin.codec.encode(twin.codec.decode(prompt.song)) == prompt.song
    kept = len(prompt.song) - 1
    for column in ("tokens", "instruments", "velocities", "bars", "steps"):
        assert (getattr(song, column)[:kept] == getattr(twin.songs[0], column)[:kept]).all()
    written = twin.codec.decode(song)
    new = written.notes[len(twin.codec.decode(prompt.song).notes) :]
    line = Bars(written.meters, vocabulary.bar_steps).first_steps(
        np.array([prompt.bars, prompt.bars + 12])
    )
    assert len(new)
    assert line[0] <= new["start"].min()
    assert new["start"].max() < line[1]


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("prompted", [False, True])
def test_a_song_has_exactly_the_bars_asked_for_and_no_gap_after_the_prompt(
    make_model, vocabulary, twin, seed, prompted
):
    prompt = Prompt.from_song(twin.songs[4], twin.codec) if prompted else None
    kept = prompt.bars if prompt else 0  # 18 steps of the last bar of 48 are empty
    config = SampleConfig(bars=3, seed=seed, **FLAT)
    (song,) = generate(make_model(), vocabulary, config, block_size=8, prompt=prompt)
    bars = song.bars[song.velocities != NO_VELOCITY]
    assert bars[-1] + 1 == kept + 3
    assert kept in bars or not prompted


@pytest.mark.parametrize("changes", [None, True])
def test_a_prompts_meter_and_tempo_are_kept_by_default(make_model, vocabulary, twin, changes):
    config = SampleConfig(bars=20, tokens=300, changes=changes, **FLAT)
    prompt = Prompt.from_song(twin.songs[0], twin.codec)
    (song,) = generate(make_model(), vocabulary, config, block_size=8, prompt=prompt)
    decoded = twin.codec.decode(song)
    assert (len(decoded.meters) + len(decoded.tempos) > 2) == bool(changes)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("number", range(5))
def test_a_prompt_goes_on_in_the_meter_and_the_tempo_that_are_asked(
    make_model, vocabulary, twin, number, seed
):
    prompt = Prompt.from_song(twin.songs[number], twin.codec)
    config = SampleConfig(bars=2, meter="7/8", tempo=77, seed=seed, tokens=200, **FLAT)
    (song,) = generate(make_model(), vocabulary, config, block_size=8, prompt=prompt)
    decoded = twin.codec.decode(song)
    assert decoded.meters[-1].tolist() == (prompt.end, 7, 8)
    start, microseconds = decoded.tempos[-1].tolist()
    assert start == prompt.end
    assert 60e6 / microseconds == pytest.approx(77, rel=0.022)
    assert twin.codec.encode(decoded) == song


def test_a_prompt_without_a_note_is_refused(twin, play):
    late = play("r768", SampleConfig(bars=30))
    with pytest.raises(SettingError, match="the first 2 bars of the prompt hold no note"):
        Prompt.from_song(late, twin.codec, 2)


def test_only_the_chosen_instruments_play(make_model, vocabulary):
    config = SampleConfig(bars=6, tokens=200, instruments="violin,drums", **FLAT)
    (song,) = generate(make_model(), vocabulary, config, block_size=8)
    played = set(Codec(vocabulary).decode(song).notes["instrument"].tolist())
    assert played <= {40, *range(PROGRAMS, vocabulary.instruments)}
    assert len(played) > 1


def test_no_more_than_max_instruments_play(make_model, vocabulary):
    config = SampleConfig(bars=12, tokens=600, max_instruments=2, **FLAT)
    (song,) = generate(make_model(), vocabulary, config, block_size=8)
    played = np.unique(Codec(vocabulary).decode(song).notes["instrument"])
    assert (played < PROGRAMS).sum() == 2


def test_song_n_of_several_is_the_song_of_seed_plus_n(make_model, vocabulary):
    def songs(**settings):
        config = SampleConfig(bars=2, tokens=100, **settings)
        return generate(make_model(), vocabulary, config, block_size=8)

    several = songs(seed=1, count=3)
    assert several == [songs(seed=seed)[0] for seed in (1, 2, 3)]
    assert several[0] != several[1]


@pytest.mark.parametrize("limits", [{"bars": 3}, {"seconds": 4.0}])
def test_progress_never_falls_and_ends_at_the_goal(make_model, vocabulary, limits):
    seen = []
    config = SampleConfig(tokens=300, count=2, **limits, **FLAT)
    generate(make_model(), vocabulary, config, block_size=8, progress=seen.append)
    assert seen == sorted(seen)
    assert seen[0] >= 0
    assert seen[-1] == 2 * config.goal[0]


def test_sampling_follows_both_heads(vocabulary):
    sampler = SongSampler(vocabulary, SampleConfig(instrument_top_p=1.0), 0, None)
    for name in ("m4/4", "t120.0"):
        sampler.writer.append_sampled(vocabulary.ids[name], 0)
    names = [vocabulary.ids[name] for name in ("r1", "n40", "n41")]
    logits = np.full(len(vocabulary), -np.inf)
    logits[names] = np.log([0.5, 0.3, 0.2])
    instrument_logits = np.append(np.log([0.4, 0.6]), np.full(PROGRAMS - 2, -np.inf))
    counts = np.zeros((3, 2))
    for _ in range(1500):
        tokens = sample_tokens([sampler], logits[None])
        token, instrument = int(tokens[0]), 0
        if token != names[0]:
            (instrument,) = sample_instruments([sampler], tokens, instrument_logits[None])
        counts[names.index(token), instrument] += 1
    assert np.allclose(counts / 1500, [[0.5, 0], [0.12, 0.18], [0.08, 0.12]], atol=0.05)


@pytest.mark.parametrize("velocity_head", [False, True])
def test_every_kind_of_head_writes_songs(make_model, vocabulary, velocity_head):
    model = make_model(velocity_head=velocity_head)
    config = SampleConfig(count=2, bars=6, tokens=200, instruments="piano,drums", **FLAT)
    for song in generate(model, vocabulary, config, block_size=8):
        decoded = Codec(vocabulary).decode(song)
        played = set(decoded.notes["instrument"].tolist())
        assert played <= {*range(8), *range(PROGRAMS, vocabulary.instruments)}
        assert (len(set(decoded.notes["velocity"].tolist())) > 1) == velocity_head


@pytest.mark.parametrize(
    "bad",
    [
        {"top_p": 1.5},
        {"top_p": -0.1},
        {"min_p": 2.0},
        {"top_k": -1},
        {"temperature": float("nan")},
        {"bars": 0},
        {"seconds": float("nan")},
        {"count": 0},
    ],
)
def test_a_value_out_of_bounds_is_refused(bad):
    with pytest.raises(SettingError):
        SampleConfig(**bad)


@pytest.mark.parametrize("prompted", [False, True])
def test_finished_bars_only_grow_and_end_as_the_song(make_model, vocabulary, twin, prompted):
    codec = Codec(vocabulary)
    prompt = Prompt.from_song(twin.songs[0], codec, bars=2) if prompted else None
    config = SampleConfig(bars=5, count=2, tokens=400, **FLAT)
    model, seen = make_model(), [[], []]
    samplers = [SongSampler(vocabulary, config, n, prompt) for n in range(2)]
    for _ in write_songs(samplers, model, config, block_size=8):
        for sampler, songs in zip(samplers, seen, strict=True):
            if sampler.finished_bars != (songs[-1][0] if songs else 0):
                songs.append((sampler.finished_bars, sampler.song()))
    written = generate(model, vocabulary, config, block_size=8, prompt=prompt)
    for songs, whole in zip(seen, written, strict=True):
        assert len(songs) > 2
        assert songs[-1][1] == whole
        final = codec.decode(whole)
        bars = Bars(final.meters, vocabulary.bar_steps)
        for count, song in songs:
            in_bar, _ = bars.locate(final.notes["start"])
            expected = final.notes[in_bar < count]
            found = codec.decode(song).notes if song else expected[:0]
            assert (found == expected).all()

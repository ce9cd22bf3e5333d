import math

import numpy as np
import pytest
import torch

from shards.codec import Codec
from shards.errors import SettingError
from shards.grammar import Cursor
from trainer.batches import Blocks, collate
from trainer.generate import USUAL_VELOCITY, SampleConfig, Stream, choose, generate
from trainer.sampler import Piece

WILD = {"temperature": 2.0, "top_p": 1.0}


def inputs_of(twin, number):
    """A whole song as a model's inputs, shape (5, tokens)."""
    end = len(twin.songs[number]) - 1
    batch = collate([Blocks(twin, np.arange(8), end)[(Piece(number, 0, end, 0),)]])
    return torch.cat([*batch[:4], batch.velocities]).numpy()


def logits(output):
    """What both heads say, side by side."""
    return torch.cat([output.tokens, output.instruments], dim=-1)


@pytest.mark.parametrize("positions", ["rope", "txl"])
@pytest.mark.parametrize("memory", [0, 5, 12, 500])
def test_one_token_at_a_time_gives_the_logits_of_training(make_model, twin, positions, memory):
    T = 8
    model = make_model(positions=positions, memory=memory)
    song = inputs_of(twin, 0)
    blocks = Blocks(twin, np.arange(8), T)
    carried, expected = model.empty_memory(1), []
    for start in range(0, song.shape[1], T):
        piece = Piece(0, start, min(start + T, song.shape[1]), 3)
        output, carried = model(collate([blocks[(piece,)]]), carried)
        expected.append(logits(output)[:, : piece.stop - piece.start])
    expected = torch.cat(expected, dim=1)
    for chunks in ([1] * song.shape[1], [11, 1, 1, 8, 3, 50]):
        stream, at, found = Stream(model, T), 0, []
        for size in chunks:
            found.append(logits(stream.feed(song[:, at : at + size])))
            at += size
        found = torch.cat(found, dim=1)
        assert torch.allclose(found, expected[:, : found.shape[1]], atol=1e-5, rtol=0)


@pytest.mark.parametrize("seed", range(8))
def test_whatever_is_written_is_well_formed(make_model, vocabulary, seed):
    config = SampleConfig(seed=seed, bars=4, tokens=150, **WILD)
    song = generate(make_model(), vocabulary, config, block_size=8)
    cursor = Cursor(vocabulary)
    places = [cursor.push(token) for token in song.tokens.tolist()]
    assert [*zip(song.bars.tolist(), song.steps.tolist(), strict=True)][:-1] == places[:-1]
    assert song.tokens[-1] == vocabulary.eos
    is_pitch = np.isin(song.tokens, [vocabulary.ids[f"n{pitch}"] for pitch in range(128)])
    assert (song.instruments[is_pitch] == song.instruments[1:][is_pitch[:-1]]).all()
    assert ((song.velocities == USUAL_VELOCITY) == is_pitch).all()
    decoded = Codec(vocabulary).decode(song)
    assert len(decoded.notes) >= 1
    for pitch, number in zip(decoded.notes["pitch"], decoded.notes["instrument"], strict=True):
        assert vocabulary.instrument_allows(pitch)[number]


@pytest.fixture
def play(monkeypatch, make_model, vocabulary):
    """Generates with a model that would end; not let, it plays one note, rests, and so on."""

    def generated(rest, config, prompt=None):
        def scripted(logits, allowed, *_):
            if len(allowed) == vocabulary.instruments:
                return 0
            wanted = ["<eos>", "m4/4", "t120.0", "<sep>", "n60", rest]
            return next(i for i in map(vocabulary.ids.get, wanted) if allowed[i])

        monkeypatch.setattr("trainer.generate.choose", scripted)
        return generate(make_model(), vocabulary, config, block_size=8, prompt=prompt)

    return generated


@pytest.mark.parametrize("bars", [1, 3])
def test_just_the_bars_asked_for_are_written(play, vocabulary, bars):
    song = play("d12", SampleConfig(bars=bars))  # on every beat but the first
    assert (song.tokens == vocabulary.ids["n60"]).sum() == 4 * bars - 1
    assert song.bars[-1] == bars - 1


def test_the_bars_of_a_prompt_do_not_count(play, twin):
    prompt = twin.songs[0]
    song = play("d12", SampleConfig(bars=2), prompt)
    assert song.bars[-1] == prompt.bars[-1] + 2


@pytest.mark.parametrize("limit", [{"bars": 1}, {"tokens": 8, "bars": 100}])
def test_there_is_a_note_even_if_it_comes_after_the_limit(play, vocabulary, limit):
    song = play("d384", SampleConfig(**limit))
    assert (song.tokens == vocabulary.ids["n60"]).sum() == 1


def test_the_limit_on_tokens_holds(make_model, vocabulary):
    config = SampleConfig(bars=1000, tokens=60, **WILD)
    assert len(generate(make_model(), vocabulary, config, block_size=8)) <= 62


def test_a_prompt_is_kept_with_its_velocities_and_gone_on_from(make_model, vocabulary, twin):
    prompt = twin.songs[0]
    config = SampleConfig(bars=4, tokens=100, seed=1, **WILD)
    song = generate(make_model(), vocabulary, config, block_size=8, prompt=prompt)
    kept = len(prompt) - 1
    for column in ("tokens", "instruments", "velocities", "bars", "steps"):
        assert (getattr(song, column)[:kept] == getattr(prompt, column)[:-1]).all()
    assert len(song) > len(prompt)
    assert song.bars.max() <= prompt.bars.max() + 4
    Codec(vocabulary).decode(song)


def test_a_seed_gives_one_song_and_another_seed_another(make_model, vocabulary):
    def song(seed):
        config = SampleConfig(seed=seed, bars=2, tokens=100)
        return generate(make_model(), vocabulary, config, block_size=8)

    assert song(1) == song(1)
    assert song(1) != song(2)


def test_the_progress_never_falls_and_stays_within_the_bars(make_model, vocabulary):
    seen = []
    config = SampleConfig(bars=3, tokens=300, **WILD)
    generate(make_model(), vocabulary, config, block_size=8, progress=seen.append)
    assert seen == sorted(seen)
    assert 0 <= seen[0] <= seen[-1] <= 3


def draws(chances, config, *, allowed=None, count=4000):
    logits = torch.tensor(chances).log()
    allowed = torch.ones(len(chances), dtype=bool) if allowed is None else torch.tensor(allowed)
    generator = torch.Generator().manual_seed(0)
    drawn = [choose(logits, allowed, config, generator) for _ in range(count)]
    return np.bincount(drawn, minlength=len(chances)) / count


def test_drawing_from_all_follows_the_probabilities():
    assert np.allclose(draws([0.5, 0.3, 0.2], SampleConfig(top_p=1.0)), [0.5, 0.3, 0.2], atol=0.03)


def test_top_p_draws_from_the_fewest_likeliest_that_reach_it():
    assert np.allclose(
        draws([0.2, 0.5, 0.3], SampleConfig(top_p=0.6)), [0, 0.625, 0.375], atol=0.03
    )
    assert draws([0.2, 0.5, 0.3], SampleConfig(top_p=0.0)).tolist() == [0, 1, 0]


def test_temperature_sharpens_and_zero_takes_the_likeliest():
    cold = draws([0.4, 0.6], SampleConfig(top_p=1.0, temperature=0.5))
    assert math.isclose(cold[1], 0.36 / 0.52, abs_tol=0.03)
    assert draws([0.4, 0.6], SampleConfig(temperature=0.0)).tolist() == [0, 1]


@pytest.mark.parametrize(
    "config", [SampleConfig(), SampleConfig(temperature=0), SampleConfig(top_p=0)]
)
def test_what_is_not_allowed_is_never_drawn(config):
    drawn = draws([0.98, 0.01, 0.01], config, allowed=[False, True, True], count=200)
    assert drawn[0] == 0


@pytest.mark.parametrize(
    "wrong", [{"top_p": 1.5}, {"top_p": -0.1}, {"temperature": float("nan")}, {"bars": 0}]
)
def test_a_wrong_way_to_draw_is_refused(wrong):
    with pytest.raises(SettingError):
        SampleConfig(**wrong)

import numpy as np
import pytest
import torch

from shards.bars import Bars
from shards.codec import Codec
from shards.errors import SettingError
from shards.vocabulary import PROGRAMS
from trainer.data.batches import Blocks, collate
from trainer.data.sampler import Piece
from trainer.generation.generate import Lane, SampleConfig, generate
from trainer.generation.incremental import Stream
from trainer.generation.prompt import Prompt
from trainer.generation.writer import USUAL_VELOCITY

WILD = {"temperature": 2.0, "top_p": 1.0}


def inputs_of(twin, number):
    """A whole song as a model's inputs, shape (5, tokens)."""
    end = len(twin.songs[number]) - 1
    batch = collate([Blocks(twin, np.arange(8), end)[(Piece(number, 0, end, 0),)]])
    return torch.cat([*batch[:4], batch.velocities]).numpy()


def logits(output):
    """What both heads say, side by side."""
    return torch.cat([output.tokens, output.instruments], dim=-1)


def teacher_forced(model, twin, number, T):
    """The logits of both heads, a block at a time as in training; shape (tokens, V + I)."""
    end = len(twin.songs[number]) - 1
    blocks, memory, found = Blocks(twin, np.arange(8), T), model.empty_memory(1), []
    for start in range(0, end, T):
        piece = Piece(number, start, min(start + T, end), 3)
        output, memory = model(collate([blocks[(piece,)]]), memory)
        found.append(logits(output)[0, : piece.stop - piece.start])
    return torch.cat(found)


@pytest.mark.parametrize("positions", ["rope", "txl", "t5"])
@pytest.mark.parametrize("memory", [0, 5, 12, 500])
@pytest.mark.parametrize("other", [{}, {"window": 7, "qk_norm": True, "velocity": "embed"}])
def test_one_token_at_a_time_gives_the_logits_of_training(
    make_model, twin, positions, memory, other
):
    T = 8
    model = make_model(position_encoding=positions, memory=memory, **other)
    songs = [inputs_of(twin, number)[:, :60] for number in (0, 2)]  # two lanes
    expected = torch.stack([teacher_forced(model, twin, number, T)[:60] for number in (0, 2)])
    for chunks in ([1] * 60, [11, 1, 1, 8, 3, 36]):
        stream, at, found = Stream(model, T, lanes=2), 0, []
        for size in chunks:
            part = np.stack([song[:, at : at + size] for song in songs], axis=1)
            found.append(logits(stream.feed(part)))
            at += size
        assert torch.allclose(torch.cat(found, dim=1), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("seed", range(4))
def test_whatever_is_written_is_the_code_of_a_song(make_model, vocabulary, seed):
    config = SampleConfig(seed=seed, count=2, bars=4, tokens=150, **WILD)
    codec = Codec(vocabulary)
    for song in generate(make_model(), vocabulary, config, block_size=8):
        again = codec.encode(codec.decode(song))
        assert again == song
        is_pitch = song.velocities != song.velocities[-1]
        assert is_pitch.any()
        assert (song.velocities[is_pitch] == USUAL_VELOCITY).all()


@pytest.fixture
def play(monkeypatch, make_model, vocabulary):
    """Generates with a model that would end; not let, it plays one note, rests, and so on."""

    def generated(rest, config, prompt=None):
        def scripted(lane, *_):
            allowed = lane.writer.tokens(note_due=lane._is_long_enough())
            wanted = ["<eos>", "m4/4", "t120.0", "<sep>", "n60", rest]
            return next(i for i in map(vocabulary.ids.get, wanted) if allowed[i])

        monkeypatch.setattr(Lane, "draw_token", scripted)
        return generate(make_model(), vocabulary, config, block_size=8, prompt=prompt)[0]

    return generated


@pytest.mark.parametrize("bars", [1, 3])
def test_just_the_bars_asked_for_are_written(play, vocabulary, bars):
    song = play("d12", SampleConfig(bars=bars))  # on every beat but the first
    assert (song.tokens == vocabulary.ids["n60"]).sum() == 4 * bars - 1
    assert song.bars[-1] == bars - 1


@pytest.mark.parametrize("limits", [{"seconds": 6.0}, {"seconds": 6.0, "bars": 9}])
def test_just_the_seconds_asked_for_are_written(play, vocabulary, limits):
    song = Codec(vocabulary).decode(play("d12", SampleConfig(**limits)))
    assert song.seconds(song.notes["start"][-1]) == 5.5  # a beat is half a second


def test_a_song_may_end_by_itself_where_it_is_let(play, vocabulary):
    song = play("d12", SampleConfig(bars=8, ending=True))
    assert (song.tokens == vocabulary.ids["n60"]).sum() == 1


@pytest.mark.parametrize("limit", [{"bars": 1}, {"tokens": 8, "bars": 100}])
def test_there_is_a_note_even_if_it_comes_after_the_limit(play, vocabulary, limit):
    song = play("d384", SampleConfig(**limit))
    assert (song.tokens == vocabulary.ids["n60"]).sum() == 1


def test_the_limit_on_tokens_holds(make_model, vocabulary):
    config = SampleConfig(bars=1000, tokens=60, **WILD)
    (song,) = generate(make_model(), vocabulary, config, block_size=8)
    assert len(song) <= 62


@pytest.mark.parametrize("bars", [None, 1, 2, 5, 40])
def test_a_prompt_is_kept_as_it_is_and_gone_on_from_in_the_next_bar(
    make_model, vocabulary, twin, bars
):
    prompt = Prompt.of(twin.songs[0], twin.codec, bars)
    assert prompt.bars == bars or bars is None
    config = SampleConfig(bars=12, tokens=400, seed=1, **WILD)
    (song,) = generate(make_model(), vocabulary, config, block_size=8, prompt=prompt)
    assert twin.codec.encode(twin.codec.decode(prompt.song)) == prompt.song
    kept = len(prompt.song) - 1
    for column in ("tokens", "instruments", "velocities", "bars", "steps"):
        assert (getattr(song, column)[:kept] == getattr(twin.songs[0], column)[:kept]).all()
    written = twin.codec.decode(song)
    new = written.notes[len(twin.codec.decode(prompt.song).notes) :]
    line = Bars(written.meters, vocabulary.bar_steps).line(
        np.array([prompt.bars, prompt.bars + 12])
    )
    assert len(new)
    assert line[0] <= new["start"].min()
    assert new["start"].max() < line[1]


@pytest.mark.parametrize("changes", [None, True])
def test_a_song_goes_on_in_its_meter_and_tempo_unless_told_otherwise(
    make_model, vocabulary, twin, changes
):
    config = SampleConfig(bars=20, tokens=300, changes=changes, **WILD)
    prompt = Prompt.of(twin.songs[0], twin.codec)
    (song,) = generate(make_model(), vocabulary, config, block_size=8, prompt=prompt)
    decoded = twin.codec.decode(song)
    assert (len(decoded.meters) + len(decoded.tempos) > 2) == bool(changes)


def test_a_prompt_without_a_note_is_refused(twin, play):
    late = play("d384", SampleConfig(bars=30))
    with pytest.raises(SettingError, match="the first 2 bars of the prompt hold no note"):
        Prompt.of(late, twin.codec, 2)


def test_only_the_band_is_heard(make_model, vocabulary):
    config = SampleConfig(bars=6, tokens=200, instruments="violin,drums", **WILD)
    (song,) = generate(make_model(), vocabulary, config, block_size=8)
    heard = set(Codec(vocabulary).decode(song).notes["instrument"].tolist())
    assert heard <= {40, *range(PROGRAMS, vocabulary.instruments)}
    assert len(heard) > 1


def test_no_more_than_so_many_programs_are_heard(make_model, vocabulary):
    config = SampleConfig(bars=6, tokens=200, max_instruments=2, **WILD)
    (song,) = generate(make_model(), vocabulary, config, block_size=8)
    heard = np.unique(Codec(vocabulary).decode(song).notes["instrument"])
    assert (heard < PROGRAMS).sum() == 2


def test_a_song_of_several_is_that_of_its_own_seed(make_model, vocabulary):
    def songs(**settings):
        config = SampleConfig(bars=2, tokens=100, **settings)
        return generate(make_model(), vocabulary, config, block_size=8)

    several = songs(seed=1, count=3)
    assert several == [songs(seed=seed)[0] for seed in (1, 2, 3)]
    assert several[0] != several[1]


@pytest.mark.parametrize("limits", [{"bars": 3}, {"seconds": 4.0}])
def test_the_progress_never_falls_and_ends_at_the_goal(make_model, vocabulary, limits):
    seen = []
    config = SampleConfig(tokens=300, count=2, **limits, **WILD)
    generate(make_model(), vocabulary, config, block_size=8, progress=seen.append)
    assert seen == sorted(seen)
    assert seen[0] >= 0
    assert seen[-1] == 2 * config.goal[0]


@pytest.fixture
def draws(monkeypatch, vocabulary):
    """Shares of what is drawn first: a rest, pitch 40 or 41; and by players 0 and 1."""

    def drawn(tokens, instruments, players, count=1500, **settings):
        lane = Lane(vocabulary, SampleConfig(**{"top_p": 1.0} | settings), 0, None)
        writer = lane.writer
        for name in ("m4/4", "t120.0"):
            writer.add_next(vocabulary.ids[name], 0)
        able = np.zeros((128, vocabulary.instruments), bool)
        able[40:42, :2] = players
        monkeypatch.setattr(writer, "players", lambda: able)
        names = [vocabulary.ids[name] for name in ("<sep>", "n40", "n41")]
        scores = np.full(len(vocabulary), -np.inf)
        scores[names] = np.log(tokens)
        heads = np.append(np.log(instruments), np.full(vocabulary.instruments - 2, -np.inf))
        found = np.zeros((3, 2))
        for _ in range(count):
            token = names.index(lane.draw_token(scores, heads))
            player = lane.draw_player(names[token], heads) if token else 0
            found[token, player] += 1
        return found / count

    return drawn


def test_drawing_from_all_follows_both_heads(draws):
    found = draws([0.5, 0.3, 0.2], [0.4, 0.6], [[True, True], [True, True]])
    assert np.allclose(found, [[0.5, 0], [0.12, 0.18], [0.08, 0.12]], atol=0.05)


def test_a_pitch_is_as_likely_as_those_who_can_play_it(draws):
    found = draws([0.5, 0.3, 0.2], [0.4, 0.6], [[True, False], [True, True]])
    expected = np.array([[0.5, 0], [0.12, 0], [0.08, 0.12]])
    assert np.allclose(found, expected / expected.sum(), atol=0.05)


def test_what_nobody_likely_may_play_is_never_drawn(draws):
    found = draws([0.01, 0.98, 0.01], [0.9, 0.1], [[False, True], [True, True]], top_p=0.5)
    assert found[:, 0].sum() == 1  # the first player is half of all alone: the second is out


@pytest.mark.parametrize("velocity", ["none", "embed", "predict"])
@pytest.mark.parametrize("head", ["plain", "conditional"])
def test_every_kind_of_head_writes_songs(make_model, vocabulary, head, velocity):
    model = make_model(instrument_head=head, velocity=velocity)
    config = SampleConfig(count=2, bars=6, tokens=200, instruments="piano,drums", **WILD)
    for song in generate(model, vocabulary, config, block_size=8):
        decoded = Codec(vocabulary).decode(song)
        heard = set(decoded.notes["instrument"].tolist())
        assert heard <= {*range(8), *range(PROGRAMS, vocabulary.instruments)}
        assert (len(set(decoded.notes["velocity"].tolist())) > 1) == (velocity == "predict")


@pytest.mark.parametrize(
    "wrong",
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
def test_a_wrong_way_to_draw_is_refused(wrong):
    with pytest.raises(SettingError):
        SampleConfig(**wrong)

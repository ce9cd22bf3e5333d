import numpy as np
import pytest

from trainer.evaluation.breakdown import FAMILY_NAMES, KINDS, Targets, breakdowns, means, overall
from trainer.evaluation.token_loss import Costs, score_songs

NUMBERS = np.array([6, 2, 4])


@pytest.fixture(scope="module")
def targets(twin):
    return Targets.of(twin, NUMBERS)


def test_targets_are_what_their_tokens_say(twin, targets, vocabulary):
    at = 0
    for number in NUMBERS:
        song = twin.songs[number]
        names = [vocabulary.names[token] for token in song.tokens]
        for place in range(len(song) - 1):
            name, before = names[place + 1], names[place]
            letter = {"n": "pitch", "m": "meter", "t": "tempo"}.get(name[0])
            letter = letter or {"<sep>": "rest", "<eos>": "end"}.get(name)
            letter = letter or ("duration" if before[0] == "n" else "length of rest")
            assert KINDS[targets.kinds[at]] == letter
            assert targets.notes[at] == (letter == "pitch")
            player = song.instruments[place + 1]
            family = {255: None, 0: "Piano", 128: "Drums"}[player]
            assert targets.families[at] == (FAMILY_NAMES.index(family) if family else -1)
            at += 1
    assert at == len(targets.kinds)
    assert targets.meter_names == ("4/4",)
    expected = [twin.codec.decode(twin.songs[n]) for n in NUMBERS]
    assert np.allclose(targets.seconds, [song.seconds(song.end) for song in expected])


def test_parts_add_up_to_the_whole(make_model, twin, targets):
    costs = score_songs(make_model(), twin, NUMBERS, lanes=2, block=8)
    whole, parts = overall(costs, targets), breakdowns(costs, targets)
    for title in ("token", "place", "meter"):
        rows = parts[title].values()
        assert sum(row.count for row in rows) == whole["loss"].count == costs.starts[-1]
        total = sum(row.mean * row.count for row in rows)
        assert total == pytest.approx(costs.all.sum(), rel=1e-6)
    assert sum(row.count for row in parts["family"].values()) == targets.notes.sum()
    heads = whole["tokens"].mean + whole["instruments"].mean * targets.notes.mean()
    assert whole["loss"].mean == pytest.approx(heads, rel=1e-6)
    bits = costs.all.sum() / np.log(2)
    assert whole["bits_per_note"].mean == pytest.approx(bits / targets.notes.sum())
    assert whole["bits_per_second"].mean == pytest.approx(bits / targets.seconds.sum())


def test_an_interval_holds_the_mean_of_all_songs_nineteen_times_in_twenty():
    random, held, songs, per_song = np.random.default_rng(1), 0, 60, 5
    for _ in range(200):
        level = random.exponential(2.0, songs)  # true mean 2; a song's targets go together
        costs = np.repeat(level, per_song)
        ones = np.ones(len(costs))
        groups = np.zeros(len(costs), np.int64)
        (found,) = means(np.repeat(np.arange(songs), per_song), groups, costs, ones, size=1)
        assert found.mean == pytest.approx(costs.mean())
        held += found.low <= 2.0 <= found.high
    assert 0.88 <= held / 200 <= 0.99  # 0.95, less a little: 60 songs are few


def test_what_does_not_occur_has_no_mean():
    one = np.ones(4)
    found = means(np.array([0, 0, 1, 1]), np.array([2, 2, 0, -1]), one, one, size=3)
    assert [row and row.count for row in found] == [1, None, 2]


def test_songs_that_are_all_alike_leave_no_doubt(targets):
    size = len(targets.kinds)
    starts = np.concatenate([[0], np.cumsum(np.bincount(_songs(targets)))])
    costs = Costs(starts, {"tokens": np.full(size, 0.5, np.float32)})
    loss = overall(costs, targets)["loss"]
    assert (loss.low, loss.mean, loss.high) == (0.5, 0.5, 0.5)


def _songs(targets):
    begins = np.diff(targets.positions, prepend=99) < 0
    return np.cumsum(begins) - 1

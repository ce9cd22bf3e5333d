import numpy as np
import pytest

from trainer.evaluation.breakdown import (
    FAMILY_NAMES,
    KINDS,
    Targets,
    breakdowns,
    mean_losses,
    overall,
)
from trainer.evaluation.token_loss import SongLosses, score_songs

NUMBERS = np.array([6, 2, 4])
KIND_OF_LETTER = {
    "n": "pitch", "k": "drum", "d": "duration", "r": "rest", "m": "meter", "t": "tempo", "<": "end",
}  # fmt: skip


@pytest.fixture(scope="module")
def targets(twin):
    return Targets.from_songs(twin, NUMBERS)


def test_targets_are_labelled_by_their_tokens(twin, targets, vocabulary):
    at = 0
    for number in NUMBERS:
        song = twin.songs[number]
        names = [vocabulary.names[token] for token in song.tokens]
        for position in range(len(song) - 1):
            name = names[position + 1]
            assert KINDS[targets.kinds[at]] == KIND_OF_LETTER[name[0]]
            assert targets.notes[at] == (name[0] in "nk")
            assert targets.instrument_targets[at] == (name[0] == "n")
            family = {255: None, 0: "Piano", 136: "Drums"}[song.instruments[position + 1]]
            assert targets.families[at] == (FAMILY_NAMES.index(family) if family else -1)
            at += 1
    assert at == len(targets.kinds)
    assert targets.meter_names == ("4/4",)
    expected = [twin.codec.decode(twin.songs[n]) for n in NUMBERS]
    assert np.allclose(targets.seconds, [song.seconds(song.end) for song in expected])


def test_a_breakdown_adds_up_to_the_overall_loss(make_model, twin, targets):
    losses = score_songs(make_model(), twin, NUMBERS, lanes=2, block_size=8)
    whole, parts = overall(losses, targets), breakdowns(losses, targets)
    for title in ("token", "position", "meter"):
        rows = parts[title].values()
        assert sum(row["count"] for row in rows) == whole["loss"]["count"] == losses.starts[-1]
        total = sum(row["mean"] * row["count"] for row in rows)
        assert total == pytest.approx(losses.total.sum(), rel=1e-6)
    assert sum(row["count"] for row in parts["family"].values()) == targets.notes.sum()
    heads = (
        whole["tokens"]["mean"] + whole["instruments"]["mean"] * targets.instrument_targets.mean()
    )
    assert whole["loss"]["mean"] == pytest.approx(heads, rel=1e-6)
    bits = losses.total.sum() / np.log(2)
    assert whole["bits_per_note"]["mean"] == pytest.approx(bits / targets.notes.sum())
    assert whole["bits_per_second"]["mean"] == pytest.approx(bits / targets.seconds.sum())


def test_a_group_that_does_not_occur_has_no_mean():
    one = np.ones(4)
    found = mean_losses(np.array([0, 0, 1, 1]), np.array([2, 2, 0, -1]), one, one, size=3)
    assert [row and row["count"] for row in found] == [1, None, 2]


def test_a_mean_of_few_songs_has_no_interval(targets):
    starts = np.concatenate([[0], np.cumsum(np.bincount(_songs(targets)))])
    losses = SongLosses(starts, {"tokens": np.full(len(targets.kinds), 0.5, np.float32)})
    loss = overall(losses, targets)["loss"]
    assert loss == {"mean": 0.5, "low": None, "high": None, "count": starts[-1], "songs": 3}


def _songs(targets):
    begins = np.diff(targets.positions, prepend=99) < 0
    return np.cumsum(begins) - 1

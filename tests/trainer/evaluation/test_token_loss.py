import numpy as np
import pytest
import torch

from shards.vocabulary import NO_INSTRUMENT
from trainer.data.batches import Batch
from trainer.evaluation.token_loss import score_songs, steps_needed

NUMBERS = np.array([6, 2, 4])


@torch.no_grad()
def one_by_one(model, song, block):
    """Every target's cost, token and instrument, from blocks of the song alone, by definition."""
    tokens, instruments, bars, steps = (
        torch.tensor(getattr(song, name).astype(np.int64))[None]
        for name in ("tokens", "instruments", "bars", "steps")
    )
    instruments = torch.where(instruments == NO_INSTRUMENT, 175, instruments)
    memory, found = model.empty_memory(1), []
    for start in range(0, len(song) - 1, block):
        here = slice(start, min(start + block, len(song) - 1))
        columns = [column[:, here] for column in (tokens, instruments, bars, steps)]
        output, memory = model(Batch(*columns, segment_ids=torch.zeros_like(columns[0])), memory)
        for t in range(columns[0].shape[1]):
            token = int(tokens[0, start + t + 1])
            cost = -output.tokens[0, t].log_softmax(-1)[token]
            player = int(instruments[0, start + t + 1])
            is_pitch = 4 <= token < 132
            players = -output.instruments[0, t].log_softmax(-1)
            found.append((float(cost), float(players[player]) if is_pitch else 0.0))
    return np.array(found).T


@pytest.mark.parametrize("lanes", [1, 2])
def test_every_target_costs_what_its_song_alone_says(make_model, twin, lanes):
    model = make_model()
    costs = score_songs(model, twin, NUMBERS, lanes=lanes, block=8)
    assert np.diff(costs.starts).tolist() == [len(twin.songs[n]) - 1 for n in NUMBERS]
    for place, number in enumerate(NUMBERS):
        here = costs.songs == place
        tokens, instruments = one_by_one(model, twin.songs[number], 8)
        assert np.allclose(costs.heads["tokens"][here], tokens, atol=1e-4)
        assert np.allclose(costs.heads["instruments"][here], instruments, atol=1e-4)
    assert "velocities" not in costs.heads
    assert np.allclose(costs.all, sum(costs.heads.values()))


def test_without_memory_a_block_knows_nothing_of_the_one_before(make_model, twin):
    model = make_model()
    sizes = {"lanes": 2, "block": 8}
    with_memory = score_songs(model, twin, NUMBERS, **sizes)
    without = score_songs(model, twin, NUMBERS, memory=0, **sizes)
    place = np.concatenate([np.arange(n) for n in np.diff(with_memory.starts)])
    same = np.isclose(with_memory.all, without.all, atol=1e-4)
    assert same[place < 8].all()
    assert not same[place >= 8].all()


def test_the_bar_counts_the_batches(make_model, twin):
    done = []
    sizes = {"lanes": 2, "block": 8}
    score_songs(make_model(), twin, NUMBERS, advance=lambda: done.append(1), **sizes)
    assert len(done) == steps_needed(twin, NUMBERS, **sizes)


def test_a_velocity_head_is_scored_too(make_model, twin):
    model = make_model(velocity="predict")
    costs = score_songs(model, twin, NUMBERS, lanes=3, block=8)
    assert (costs.heads["velocities"] > 0).sum() == (costs.heads["instruments"] > 0).sum()


def test_without_its_knn_memory_a_model_knows_what_closed_gates_let_it_know(make_model, twin):
    model = make_model(layers=3, knn=True, knn_capacity=500)
    sizes = {"lanes": 2, "block": 8}
    without = score_songs(model, twin, NUMBERS, **sizes, knn=False)
    assert not np.array_equal(score_songs(model, twin, NUMBERS, **sizes).all, without.all)
    torch.nn.init.constant_(model.neighbours.gate, -1e4)
    closed = score_songs(model, twin, NUMBERS, **sizes)
    assert np.array_equal(closed.all, without.all)

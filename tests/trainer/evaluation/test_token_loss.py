from typing import Any

import numpy as np
import pytest
import torch

from shards.vocabulary import NO_INSTRUMENT
from trainer.data.batches import Batch
from trainer.evaluation.token_loss import count_batches, score_songs

NUMBERS = np.array([6, 2, 4])


@torch.no_grad()
def one_by_one(model, song, block):
    """By definition: token and instrument loss of each target, from the blocks of one song."""
    tokens, instruments, bars, steps = (
        torch.tensor(getattr(song, name).astype(np.int64))[None]
        for name in ("tokens", "instruments", "bars", "steps")
    )
    instruments = torch.where(instruments == NO_INSTRUMENT, 189, instruments)
    memory, found = model.empty_memory(1), []
    for start in range(0, len(song) - 1, block):
        here = slice(start, min(start + block, len(song) - 1))
        columns = [column[:, here] for column in (tokens, instruments, bars, steps)]
        none, targets = torch.zeros_like(columns[0]), tokens[:, here.start + 1 : here.stop + 1]
        output, memory = model(Batch(*columns, segment_ids=none, targets=targets), memory)
        for t in range(columns[0].shape[1]):
            token = int(tokens[0, start + t + 1])
            loss = -output.token_logits[0, t].log_softmax(-1)[token]
            instrument = int(instruments[0, start + t + 1])
            is_pitch = 3 <= token < 131
            by_class = -output.instrument_logits[0, t].log_softmax(-1)
            found.append((float(loss), float(by_class[instrument]) if is_pitch else 0.0))
    return np.array(found).T


@pytest.mark.parametrize("lanes", [1, 2])
def test_the_loss_of_a_target_depends_on_its_song_alone(make_model, twin, lanes):
    model = make_model()
    losses = score_songs(model, twin, NUMBERS, lanes=lanes, block_size=8)
    assert np.diff(losses.starts).tolist() == [len(twin.songs[n]) - 1 for n in NUMBERS]
    for at, number in enumerate(NUMBERS):
        here = losses.songs == at
        tokens, instruments = one_by_one(model, twin.songs[number], 8)
        assert np.allclose(losses.heads["tokens"][here], tokens, atol=1e-4)
        assert np.allclose(losses.heads["instruments"][here], instruments, atol=1e-4)
    assert "velocities" not in losses.heads
    assert np.allclose(losses.total, sum(losses.heads.values()))


def test_without_memory_only_the_first_block_keeps_its_loss(make_model, twin):
    model = make_model()
    sizes: dict[str, Any] = {"lanes": 2, "block_size": 8}
    with_memory = score_songs(model, twin, NUMBERS, **sizes)
    without = score_songs(model, twin, NUMBERS, memory=0, **sizes)
    position = np.concatenate([np.arange(n) for n in np.diff(with_memory.starts)])
    same = np.isclose(with_memory.total, without.total, atol=1e-4)
    assert same[position < 8].all()
    assert not same[position >= 8].all()


def test_advance_is_called_once_per_batch(make_model, twin):
    done = []
    sizes: dict[str, Any] = {"lanes": 2, "block_size": 8}
    score_songs(make_model(), twin, NUMBERS, advance=lambda: done.append(1), **sizes)
    assert len(done) == count_batches(twin, NUMBERS, **sizes)


def test_a_velocity_head_is_scored_too(make_model, twin):
    model = make_model(velocity_head=True)
    losses = score_songs(model, twin, NUMBERS, lanes=3, block_size=8)
    notes = sum(len(twin.codec.decode(twin.songs[n]).notes) for n in NUMBERS)
    assert (losses.heads["velocities"] > 0).sum() == notes


def test_without_its_knn_memory_a_model_predicts_as_with_closed_gates(make_model, twin):
    model = make_model(layers=3, knn=True, knn_capacity=500)
    sizes: dict[str, Any] = {"lanes": 2, "block_size": 8}
    without = score_songs(model, twin, NUMBERS, **sizes, knn=False)
    assert not np.array_equal(score_songs(model, twin, NUMBERS, **sizes).total, without.total)
    torch.nn.init.constant_(model.neighbours.gate, -1e4)
    closed = score_songs(model, twin, NUMBERS, **sizes)
    assert np.array_equal(closed.total, without.total)

from collections import Counter

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.trainer.batches import assert_same_batch
from trainer.data.batches import IGNORED, PADDING, Blocks, collate, one_epoch
from trainer.data.prefetch import Loader
from trainer.data.sampler import ContiguousBatchSampler, Span
from trainer.data.selection import select

CPU = torch.device("cpu")


def make_parts(twin, *, lanes, block, tail="drain"):
    numbers = np.arange(len(twin))
    lengths = [len(song) - 1 for song in twin.songs]
    sampler = ContiguousBatchSampler(
        lengths, lanes, block_size=block, mode="join", tail=tail, seed=0
    )
    return sampler, Blocks(twin, numbers, block)


@settings(max_examples=25)
@given(lanes=st.integers(1, 6), block=st.integers(1, 70))
def test_every_next_token_is_a_target_exactly_once(twin, lanes, block):
    pairs, expected = Counter(), Counter()
    for batch in one_epoch(*make_parts(twin, lanes=lanes, block=block), CPU):
        real = batch.targets != IGNORED
        positions = zip(
            batch.tokens[real].tolist(),
            batch.bars[real].tolist(),
            batch.steps[real].tolist(),
            batch.targets[real].tolist(),
            strict=True,
        )
        pairs.update(positions)
    for song in twin.songs:
        columns = song.tokens[:-1], song.bars[:-1], song.steps[:-1], song.tokens[1:]
        expected.update(zip(*(column.tolist() for column in columns), strict=True))
    assert pairs == expected


def test_no_song_predicts_the_next_one_in_its_block(twin):
    _, blocks = make_parts(twin, lanes=1, block=8)
    end = len(twin.songs[0]) - 1
    batch = collate([blocks[Span(0, end - 3, end, 5), Span(1, 0, 5, 6)]])
    first, second = twin.songs[0].tokens.tolist(), twin.songs[1].tokens.tolist()
    assert batch.tokens[0].tolist() == first[-4:-1] + second[:5]
    assert batch.targets[0].tolist() == first[-3:] + second[1:6]
    assert batch.segment_ids[0].tolist() == [5, 5, 5, 6, 6, 6, 6, 6]
    assert batch.positions[0].tolist() == [end - 3, end - 2, end - 1, 0, 1, 2, 3, 4]


def test_a_program_is_predicted_for_a_pitch_and_a_velocity_for_a_drum_too(twin, vocabulary):
    _, blocks = make_parts(twin, lanes=1, block=12)
    batch = collate([blocks[(Span(0, 0, 12, 0),)]])
    names = [vocabulary.names[token] for token in twin.songs[0].tokens[1:13]]
    for found, stored, kinds in [
        (batch.instrument_targets, twin.songs[0].instruments, "n"),
        (batch.velocity_targets, twin.songs[0].velocities, "nk"),
    ]:
        assert found[0].tolist() == [
            number if name[0] in kinds else IGNORED
            for name, number in zip(names, stored[1:13].tolist(), strict=True)
        ]
        assert IGNORED in found[0].tolist()


def test_tokens_without_an_instrument_have_the_class_after_the_last(twin, vocabulary):
    batch = collate([make_parts(twin, lanes=1, block=4)[1][(Span(0, 0, 4, 0),)]])
    assert twin.songs[0].instruments[:4].tolist() == [255, 255, 255, 0]
    assert batch.instruments[0].tolist() == [vocabulary.instruments] * 3 + [0]
    assert batch.velocities[0, :3].tolist() == [32] * 3
    assert batch.velocities[0, 3] == twin.songs[0].velocities[3] < 32


def test_an_idle_lane_has_nothing_to_predict(twin, vocabulary):
    batch = collate([make_parts(twin, lanes=1, block=3)[1][None]])
    assert batch.tokens.tolist() == [[vocabulary.pad] * 3]
    assert batch.segment_ids.tolist() == [[PADDING] * 3]
    for targets in (batch.targets, batch.instrument_targets, batch.velocity_targets):
        assert targets.tolist() == [[IGNORED] * 3]


def test_the_memory_maps_and_the_twin_give_the_same_batches(twin, dataset):
    both = [
        list(one_epoch(*make_parts(twin, lanes=3, block=16), CPU)),
        list(
            one_epoch(
                make_parts(twin, lanes=3, block=16)[0], Blocks(dataset, np.arange(8), 16), CPU
            )
        ),
    ]
    for here, there in zip(*both, strict=True):
        assert_same_batch(here, there)


def test_the_position_that_comes_with_a_batch_is_that_of_the_next(twin):
    loader = Loader(*make_parts(twin, lanes=3, block=16, tail="wrap"), CPU)
    for _ in range(30):
        _, position = next(loader)
    following, _ = next(loader)
    sampler, blocks = make_parts(twin, lanes=3, block=16, tail="wrap")
    sampler.load_state_dict(position)
    resumed, _ = next(Loader(sampler, blocks, CPU))
    assert position["epoch"] > 0
    assert_same_batch(resumed, following)


def test_duplicates_and_songs_without_a_target_are_left_out(make_twin, make_songs):
    twin = make_twin(make_songs([5, 5, 5]), ["train", "valid", "train"])
    assert select(twin, "train").tolist() == [0, 2]
    representative = twin.index.column_names.index("representative")
    twin.index = twin.index.set_column(representative, "representative", [[True, True, False]])
    assert select(twin, "train").tolist() == [0]

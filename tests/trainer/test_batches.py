from collections import Counter

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.batches import IGNORED, PADDING, Blocks, collate, endless, once, select
from trainer.sampler import ContiguousBatchSampler, Piece


def loader(twin, *, lanes, block, tail="drain"):
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
    for batch in once(*loader(twin, lanes=lanes, block=block)):
        real = batch.targets != IGNORED
        places = zip(
            batch.tokens[real].tolist(),
            batch.bars[real].tolist(),
            batch.steps[real].tolist(),
            batch.targets[real].tolist(),
            strict=True,
        )
        pairs.update(places)
    for song in twin.songs:
        columns = song.tokens[:-1], song.bars[:-1], song.steps[:-1], song.tokens[1:]
        expected.update(zip(*(column.tolist() for column in columns), strict=True))
    assert pairs == expected


def test_joined_songs_never_predict_across_their_border(twin):
    _, blocks = loader(twin, lanes=1, block=8)
    end = len(twin.songs[0]) - 1
    block = blocks[Piece(0, end - 3, end, 5), Piece(1, 0, 5, 6)]
    first, second = twin.songs[0].tokens.tolist(), twin.songs[1].tokens.tolist()
    assert block[0].tolist() == first[-4:-1] + second[:5]
    assert block[5].tolist() == first[-3:] + second[1:6]
    assert block[4].tolist() == [5, 5, 5, 6, 6, 6, 6, 6]


def test_an_instrument_is_predicted_where_a_pitch_follows_and_nowhere_else(twin, vocabulary):
    _, blocks = loader(twin, lanes=1, block=12)
    block = blocks[(Piece(0, 0, 12, 0),)]
    names = [vocabulary.names[token] for token in twin.songs[0].tokens[1:13]]
    classes = twin.songs[0].instruments[1:13].tolist()
    assert block[6].tolist() == [
        number if name.startswith("n") else IGNORED
        for name, number in zip(names, classes, strict=True)
    ]
    assert IGNORED in block[6].tolist()


def test_tokens_without_an_instrument_have_the_class_after_the_last(twin, vocabulary):
    block = loader(twin, lanes=1, block=4)[1][(Piece(0, 0, 4, 0),)]
    assert twin.songs[0].instruments[:4].tolist() == [255, 255, 255, 0]
    assert block[1].tolist() == [vocabulary.instruments] * 3 + [0]


def test_an_idle_lane_has_nothing_to_predict(twin, vocabulary):
    block = collate([loader(twin, lanes=1, block=3)[1][None]])
    assert block.tokens.tolist() == [[vocabulary.pad] * 3]
    assert block.visits.tolist() == [[PADDING] * 3]
    assert block.targets.tolist() == block.instrument_targets.tolist() == [[IGNORED] * 3]


def test_the_memory_maps_and_the_twin_give_the_same_batches(twin, dataset):
    both = [
        list(once(*loader(twin, lanes=3, block=16))),
        list(once(loader(twin, lanes=3, block=16)[0], Blocks(dataset, np.arange(8), 16))),
    ]
    for here, there in zip(*both, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(here, there, strict=True))


def test_the_position_beside_a_batch_is_that_of_the_next(twin):
    walked = endless(*loader(twin, lanes=3, block=16, tail="wrap"))
    for _ in range(30):
        _, position = next(walked)
    following, _ = next(walked)
    sampler, blocks = loader(twin, lanes=3, block=16, tail="wrap")
    sampler.load_state_dict(position)
    resumed, _ = next(endless(sampler, blocks))
    assert position["epoch"] > 0
    assert all(torch.equal(a, b) for a, b in zip(resumed, following, strict=True))


def test_duplicates_and_songs_without_a_target_are_left_out(make_twin, make_songs):
    twin = make_twin(make_songs([5, 5, 5]), ["train", "valid", "train"])
    assert select(twin, "train").tolist() == [0, 2]
    primary = twin.index.column_names.index("primary")
    twin.index = twin.index.set_column(primary, "primary", [[True, True, False]])
    assert select(twin, "train").tolist() == [0]

from collections import Counter
from itertools import chain, islice, pairwise

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from torch.utils.data import DataLoader, Dataset

from trainer.data.sampler import NO_SONG, PADDING, ContiguousBatchSampler

LENGTHS = st.lists(st.integers(0, 40), min_size=1, max_size=12).filter(any)
LANES = st.integers(1, 5)
BLOCKS = st.integers(1, 9)


def test_the_worked_example():
    blocks = [6, 3, 2, 2, 4, 2, 3, 2, 2, 2, 2]
    batches = list(ContiguousBatchSampler(blocks, 4, tail="drop"))
    assert batches == [
        [(0, 0), (1, 0), (2, 0), (3, 0)],
        [(0, 1), (1, 1), (2, 1), (3, 1)],
        [(0, 2), (1, 2), (4, 0), (5, 0)],
        [(0, 3), (6, 0), (4, 1), (5, 1)],
        [(0, 4), (6, 1), (4, 2), (7, 0)],
        [(0, 5), (6, 2), (4, 3), (7, 1)],
    ]


def test_an_empty_song_is_left_out_and_the_others_keep_their_numbers():
    assert list(ContiguousBatchSampler([1, 0, 2], 2, tail="drop")) == [[(0, 0), (2, 0)]]


def test_drain_ends_with_idle_lanes():
    assert list(ContiguousBatchSampler([1, 2], 2, tail="drain")) == [
        [(0, 0), (1, 0)],
        [None, (1, 1)],
    ]


@pytest.mark.parametrize(
    ("mode", "expected"), [("crop", {(0, 0), (0, 1)}), ("pad", {(0, 0), (0, 1), (0, 2), (1, 0)})]
)
def test_crop_drops_the_end_of_a_song_and_pad_keeps_it(mode, expected):
    sampler = ContiguousBatchSampler([10, 3], 1, block_size=4, mode=mode, tail="drain")
    assert {lane for batch in sampler for lane in batch} == expected


def test_crop_never_plays_what_it_drops():
    sampler = ContiguousBatchSampler([10, 16], 2, block_size=4, mode="crop", tail="drain")
    first_lane = [sampler.spans(0, step)[0] for step in range(4)]
    assert [spans and spans[0][1:3] for spans in first_lane] == [(0, 4), (4, 8), None, None]


@given(LENGTHS, LANES, BLOCKS, st.sampled_from(["pad", "join"]), st.none() | st.integers(0, 9))
def test_drain_plays_every_token_exactly_once(lengths, lanes, block, mode, seed):
    sampler = ContiguousBatchSampler(
        lengths, lanes, block_size=block, mode=mode, tail="drain", seed=seed
    )
    steps = [sampler.spans(0, step) for step in range(len(sampler))]
    played = Counter(
        (span.song, token)
        for lanes_of_step in steps
        for spans in lanes_of_step
        for span in spans or ()
        for token in range(span.start, span.stop)
    )
    assert played == Counter(
        {(song, token): 1 for song, length in enumerate(lengths) for token in range(length)}
    )


@given(
    LENGTHS,
    LANES,
    BLOCKS,
    st.sampled_from(["crop", "pad", "join"]),
    st.sampled_from(["drop", "drain", "wrap"]),
    st.integers(1, 7),
)
def test_many_steps_at_once_equal_those_steps_one_by_one(lengths, lanes, block, mode, tail, steps):
    assume(tail != "wrap" or mode != "crop" or max(lengths) >= block)
    sampler = ContiguousBatchSampler(lengths, lanes, block_size=block, mode=mode, tail=tail, seed=1)
    one_by_one, at_once = ([[] for _ in range(lanes)] for _ in range(2))
    for epoch in range(2):
        for step in range(sampler.plan(epoch).steps):
            for lane, spans in enumerate(sampler.spans(epoch, step)):
                played = list(chain(*map(tokens_of, spans or ())))
                one_by_one[lane] += played + [(NO_SONG, PADDING)] * (block - len(played))
        for position, count, lanes_spans in sampler.iter_step_ranges(steps):
            assert position == {"epoch": epoch, "step": position["step"]}
            for lane, spans in enumerate(lanes_spans):
                played = list(chain(*map(tokens_of, spans)))
                assert len(played) == count * block
                at_once[lane] += played
    assert at_once == one_by_one
    assert sampler.state_dict() == {"epoch": 2, "step": 0}


def tokens_of(span):
    if span.song == NO_SONG:
        return [(NO_SONG, span.segment_id)] * (span.stop - span.start)
    return [(span.song, token, span.segment_id) for token in range(span.start, span.stop)]


@given(LENGTHS, LANES, BLOCKS, st.integers(0, 9))
def test_wrap_fills_every_block_and_plays_each_epoch_once(lengths, lanes, block, seed):
    sampler = ContiguousBatchSampler(
        lengths, lanes, block_size=block, mode="join", tail="wrap", seed=seed
    )
    played = [[] for _ in range(lanes)]
    for epoch in range(4):
        for step in range(sampler.plan(epoch).steps):
            for lane, spans in enumerate(sampler.spans(epoch, step)):
                assert sum(span.stop - span.start for span in spans) == block
                played[lane] += spans
    for lane in played:  # a song goes on where it was, until it ends
        for before, after in pairwise(lane):
            if after.segment_id == before.segment_id:
                assert (after.song, after.start) == (before.song, before.stop)
            else:
                assert before.stop == lengths[before.song]
                assert after.start == 0
    counts = Counter()
    for span in chain(*played):
        counts[span.segment_id // len(lengths), span.song] += span.stop - span.start
    ended = [e for e in range(4) if all(counts[e, s] == n for s, n in enumerate(lengths) if n)]
    assert set(ended) >= set(range(_whole_epochs(sampler, lengths)))
    assert all(counts[key] <= lengths[key[1]] for key in counts)


def _whole_epochs(sampler, lengths):
    """How many of the first four epochs have ended completely by the end of the fourth."""
    plan = sampler.plan(3)
    end = plan.steps * sampler.block_size
    running = [
        lane.segment_ids[at] // len(lengths)
        for lane in plan.lanes
        for at, start in enumerate(lane.starts)
        if start + lengths[lane.songs[at]] > end
    ]
    return min(running, default=4)


@given(LENGTHS, LANES, BLOCKS, st.sampled_from(["drop", "drain", "wrap"]), st.integers(0, 30))
def test_a_stream_resumed_at_any_position_equals_the_unbroken_one(
    lengths, lanes, block, tail, skipped
):
    def sampler():
        return ContiguousBatchSampler(
            lengths, lanes, block_size=block, mode="join", tail=tail, seed=1
        )

    def stream(sampler):
        for _ in range(6):
            yield from sampler

    unbroken, resumed = sampler(), sampler()
    walked = stream(unbroken)
    list(islice(walked, skipped))
    resumed.load_state_dict(unbroken.state_dict())
    following = list(islice(walked, 5))
    assert list(islice(stream(resumed), len(following))) == following


def test_each_epoch_and_seed_has_its_own_order():
    orders = {
        tuple(ContiguousBatchSampler(np.ones(50, int), 2, seed=seed).order(epoch))
        for seed in (0, 1)
        for epoch in (0, 1)
    }
    assert len(orders) == 4


@given(LENGTHS, LANES, BLOCKS, st.sampled_from(["pad", "join"]))
def test_lanes_are_balanced_to_within_one_song(lengths, lanes, block, mode):
    sampler = ContiguousBatchSampler(lengths, lanes, block_size=block, mode=mode, tail="drain")
    ends = sampler.plan(0).ends
    assert max(ends) - min(ends) <= sampler._units.max()


@given(LENGTHS, LANES, BLOCKS)
def test_drop_stops_when_a_lane_finds_no_song_and_leaves_no_lane_idle(lengths, lanes, block):
    sampler = ContiguousBatchSampler(lengths, lanes, block_size=block, mode="join", tail="drop")
    played = 0
    for batch in sampler:
        for spans in batch:
            assert sum(span.stop - span.start for span in spans) == block
            played += block
    assert sum(lengths) - played <= lanes * (max(lengths) + block)


def test_no_segment_id_is_used_twice():
    sampler = ContiguousBatchSampler([5, 5], 1, block_size=5, mode="join", tail="wrap", seed=0)
    segment_ids = [
        sampler.spans(epoch, step)[0][0].segment_id for epoch in range(5) for step in range(2)
    ]
    assert segment_ids == list(range(10))


class Echo(Dataset):
    def __getitem__(self, key):
        return key


@pytest.mark.filterwarnings("ignore:This DataLoader will create 8")  # more than there are cores
@pytest.mark.parametrize("workers", [0, 2, 8])
def test_a_data_loader_gives_the_same_stream_whatever_its_workers(workers):
    def sampler():
        return ContiguousBatchSampler(
            [7, 3, 9, 4], 2, block_size=3, mode="join", tail="wrap", seed=3
        )

    loader = DataLoader(
        Echo(), batch_sampler=sampler(), num_workers=workers, collate_fn=lambda lanes: lanes
    )
    assert list(loader) == list(sampler())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"lengths": [3, -1]}, "song 1 has length -1"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"block_size": 0}, "block_size=0"),
        ({"mode": "jion"}, "mode='jion'"),
        ({"tail": "wrp"}, "tail='wrp'"),
        ({"lengths": [0], "tail": "wrap"}, "no song has anything to play"),
    ],
)
def test_a_wrong_argument_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        ContiguousBatchSampler(**{"lengths": [3], "batch_size": 1} | arguments)

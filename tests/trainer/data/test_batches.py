from collections import Counter

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from shards.vocabulary import NO_INSTRUMENT, NO_VELOCITY, VELOCITY_BINS
from tests.trainer.batches import assert_same_batch
from trainer.data.batches import IGNORED, PADDING, Batch, Blocks, collate, one_epoch
from trainer.data.prefetch import Loader
from trainer.data.sampler import MODES, ContiguousBatchSampler, Span
from trainer.data.selection import select
from trainer.data.streams import Streams, Variation

CPU = torch.device("cpu")


def make_parts(twin, *, lanes, block, tail="drain"):
    numbers = np.arange(len(twin))
    lengths = [len(song) - 1 for song in twin.songs]
    sampler = ContiguousBatchSampler(
        lengths, lanes, block_size=block, mode="join", tail=tail, seed=0
    )
    return sampler, Blocks(twin, numbers, block)


def defined_batch(streams, vocabulary, lanes, block):
    """The definition of a batch, token by token."""
    none = {"instruments": vocabulary.instruments, "velocities": VELOCITY_BINS}
    padding = dict.fromkeys(Batch._fields[: Batch._fields.index("min_distance")], 0) | none
    padding["segment_ids"] = PADDING
    padding |= {name: IGNORED for name in padding if "target" in name}

    def columns(stream, at, segment_id):
        song = stream.song
        target, bits = int(song.tokens[at + 1]), np.ravel(stream.band(slice(at, at + 1)))
        is_note, has_instrument = vocabulary.is_note(target), vocabulary.has_instrument(target)
        fields = np.broadcast_to(stream.condition_fields(slice(at, at + 1)), 1)
        instrument, velocity = song.instruments[at], song.velocities[at]
        return {
            "tokens": song.tokens[at],
            "instruments": none["instruments"] if instrument == NO_INSTRUMENT else instrument,
            "bars": song.bars[at],
            "steps": song.steps[at],
            "segment_ids": segment_id,
            "velocities": none["velocities"] if velocity == NO_VELOCITY else velocity,
            "positions": at,
            "targets": target,
            "instrument_targets": song.instruments[at + 1] if has_instrument else IGNORED,
            "velocity_targets": song.velocities[at + 1] if is_note else IGNORED,
            "conditions": fields[0],
            "band_low": bits[0],
            "band_high": bits[1],
        }

    rows = []
    for spans in lanes:
        row = []
        for song, start, stop, segment_id in spans or ():
            stream = streams.get(song, segment_id)
            end = len(stream.song) - 1  # a varied song may be shorter
            row += [
                columns(stream, at, segment_id) if at < end else padding
                for at in range(start, stop)
            ]
        rows.append(row + [padding] * (block - len(row)))
    return Batch(
        **{
            name: torch.tensor([[int(token[name]) for token in row] for row in rows])
            for name in padding
        }
    )


VARIED = Variation(
    transpose=True, tempo_range=2, drop_parts=0.5, rearranged=0.5, conditions=True,
    condition_dropout=0.3,
)  # fmt: skip


@settings(max_examples=15)
@given(
    lanes=st.integers(1, 6),
    block=st.integers(1, 70),
    mode=st.sampled_from(MODES),
    tail=st.sampled_from(["drain", "wrap"]),
    variation=st.sampled_from([None, VARIED]),
)
def test_a_batch_is_what_its_definition_says(twin, vocabulary, lanes, block, mode, tail, variation):
    lengths = [len(song) - 1 for song in twin.songs]
    sampler = ContiguousBatchSampler(lengths, lanes, block_size=block, mode=mode, tail=tail, seed=0)
    blocks = Blocks(twin, np.arange(8), block, variation)
    streams = Streams(twin, np.arange(8), variation)
    buffer = blocks.buffer(lanes)
    for spans in sampler.iter_steps():
        blocks.fill(buffer, spans)
        assert_same_batch(buffer.to(CPU), defined_batch(streams, vocabulary, spans, block))


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

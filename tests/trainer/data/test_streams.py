"""Songs that vary from playing to playing: what holds for every one of them."""

import numpy as np
import pytest
import torch

from shards.vocabulary import NO_INSTRUMENT, PROGRAMS
from tests.trainer.batches import assert_same_batch
from trainer.data.batches import IGNORED, Blocks, one_epoch
from trainer.data.conditions import GIVEN, SHIFTS, WRITTEN, bars_left_field
from trainer.data.prefetch import Loader
from trainer.data.sampler import ContiguousBatchSampler
from trainer.data.sections import merge_sections
from trainer.data.streams import DOWN, UP, Draws, Streams, Variation

CPU = torch.device("cpu")
VARIED = Variation(
    transpose=True, tempo_range=2, drop_parts=0.3, rearranged=0.5, conditions=True,
    condition_dropout=0.3,
)  # fmt: skip


def same(one, other):
    return one.song == other.song and one.codes == other.codes


def streams_of(twin, **changes):
    return Streams(twin, np.arange(len(twin)), Variation(**vars(VARIED) | changes))


def test_a_playing_is_a_function_of_seed_epoch_and_song_alone(twin):
    first, again = streams_of(twin), streams_of(twin)
    order = np.random.default_rng(0).permutation(80).tolist()
    for segment_id in order:
        first.get(segment_id % 8, segment_id)
    assert all(same(first.get(n % 8, n), again.get(n % 8, n)) for n in range(80))
    assert not all(same(first.get(n % 8, n), first.get(n % 8, n + 8)) for n in range(40))
    other = streams_of(twin, seed=1)
    assert not all(same(first.get(n % 8, n), other.get(n % 8, n)) for n in range(8))


def test_draws_have_the_frequencies_that_are_asked_for():
    draws = Draws.of(Variation(**vars(VARIED) | {"condition_dropout": 0.85}), 3, 100_000)
    flags = (draws.has_conditions, draws.drops_parts, draws.is_rearranged)
    assert [each.mean() for each in flags] == pytest.approx([0.15, 0.3, 0.5], abs=0.01)
    both = np.mean(draws.has_conditions & draws.is_rearranged)
    assert both == pytest.approx(0.15 * 0.5, abs=0.01)
    for moves, low, high in ((draws.semitones, -DOWN, UP), (draws.tempo_bins, -2, 2)):
        shares = np.bincount(moves - low, minlength=high - low + 1) / len(moves)
        assert shares == pytest.approx(np.full(high - low + 1, 1 / (high - low + 1)), abs=0.01)
    none = Draws.of(Variation(seed=1), 0, 1000)
    assert not any(column.any() for column in none)


def test_no_playing_is_longer_than_its_song(twin):
    streams = streams_of(twin, rearranged=1.0)
    playings = [(n % 8, streams.get(n % 8, n)) for n in range(200)]
    assert all(len(stream.song) <= len(twin.songs[song]) for song, stream in playings)
    assert {kind for _, stream in playings for kind in stream.kinds} >= {GIVEN, WRITTEN}


def test_without_variation_a_playing_is_the_song(twin):
    streams = Streams(twin, np.arange(8))
    assert all(streams.get(n, n + 80).song is twin.songs[n] for n in range(8))


def test_only_rearranged_playings_say_what_is_given(twin):
    streams = streams_of(twin, condition_dropout=1.0)
    for n in range(80):
        stream = streams.get(n % 8, n)
        fields = np.broadcast_to(stream.condition_fields(slice(None)), len(stream.song))
        if stream.kinds is None:
            assert not fields.any()
        else:
            assert (fields >> SHIFTS["section"] & 255).tolist() == stream.kinds.tolist()


def test_what_is_written_is_told_its_parts(twin):
    streams, seen = streams_of(twin), 0
    for n in range(80):
        stream = streams.get(n % 8, n)
        if stream.kinds is None:
            continue
        fields, (low, high) = stream.condition_fields(slice(None)), stream.band(slice(None))
        has_drums = (fields >> SHIFTS["band"] & 255) == 2
        written = stream.kinds == WRITTEN
        for token in np.flatnonzero(written & (stream.song.instruments != NO_INSTRUMENT)):
            instrument = int(stream.song.instruments[token])
            if instrument >= PROGRAMS:
                assert has_drums[token]
            else:
                half = low if instrument < 64 else high
                assert half[token] >> instrument % 64 & 1
                seen += 1
        band = stream.band(slice(5, 9))
        assert np.array_equal(band, np.stack([low, high])[:, 5:9])
    assert seen > 100


def test_the_fields_of_some_tokens_are_those_of_their_bars(twin):
    streams = streams_of(twin, rearranged=0.0, condition_dropout=0.0)
    for n in range(40):
        stream = streams.get(n % 8, n)
        for part in (slice(0, 0), slice(0, 5), slice(7, None)):
            bars = stream.song.bars[part].astype(int)
            expected = stream.codes.fields + bars_left_field(stream.codes.last_bar - bars)
            assert np.array_equal(stream.condition_fields(part), expected)


def test_conditions_follow_what_was_changed(twin):
    streams = streams_of(twin, rearranged=0.0, condition_dropout=0.0, drop_parts=0.0)
    plain = Streams(twin, np.arange(8), Variation(conditions=True))
    keys = {}
    for n in range(160):
        stream, song = streams.get(n % 8, n), twin.songs[n % 8]
        shift = stream.song.tokens.astype(int) - song.tokens
        notes = (song.tokens >= 3) & (song.tokens < 131)
        key = (stream.codes.fields >> SHIFTS["key"]) & 255
        assert (key - 1 - shift[notes][0]) % 12 == 0  # all songs are said to be in C
        keys[key] = True
    assert len(keys) == 12
    fields = [plain.get(n, n).codes.fields for n in range(8)]
    assert all((each >> SHIFTS["key"]) & 255 == 1 for each in fields)


@pytest.mark.parametrize("batch_size", [1, 3])
def test_every_token_of_every_playing_is_a_target_once(twin, batch_size):
    lengths = [len(song) - 1 for song in twin.songs]
    sampler = ContiguousBatchSampler(
        lengths, batch_size, block_size=16, mode="join", tail="drain", seed=0
    )
    blocks = Blocks(twin, np.arange(8), 16, VARIED)
    found: dict[int, list[tuple[int, int]]] = {}
    for batch in one_epoch(sampler, blocks, CPU):
        real = batch.targets != IGNORED
        rows = zip(batch.segment_ids[real].tolist(), batch.positions[real].tolist(),
                   batch.targets[real].tolist(), strict=True)  # fmt: skip
        for segment, position, target in rows:
            found.setdefault(segment, []).append((position, target))
    streams = streams_of(twin)
    assert len(found) == 8
    order = sampler.order(0).tolist()
    for rank, song in enumerate(order):
        tokens = streams.get(song, rank).song.tokens.tolist()
        assert found[rank] == list(enumerate(tokens[1:]))


def test_a_loader_resumes_in_the_middle_of_varied_songs(twin):
    def loader(position):
        lengths = [len(song) - 1 for song in twin.songs]
        sampler = ContiguousBatchSampler(
            lengths, 3, block_size=16, mode="join", tail="wrap", seed=0
        )
        sampler.load_state_dict(position)
        return Loader(sampler, Blocks(twin, np.arange(8), 16, VARIED), CPU)

    unbroken = loader({"epoch": 0, "step": 0})
    for _ in range(30):
        _, position = next(unbroken)
    assert position["epoch"] > 0
    expected = [next(unbroken)[0] for _ in range(5)]
    resumed = loader(position)
    for batch in expected:
        assert_same_batch(next(resumed)[0], batch)


def test_a_playing_that_is_not_cut_gives_its_song_back(twin):
    streams = streams_of(twin, rearranged=1.0, transpose=False, tempo_range=0, drop_parts=0.0)
    whole = 0
    for n in range(200):
        stream, song = streams.get(n % 8, n), twin.songs[n % 8]
        if stream.song.tokens[-1] == twin.vocabulary.eos:
            merged = merge_sections(stream.song, twin.codec, twin.codec.bar_lines(song))
            assert merged == twin.codec.decode(song)
            whole += 1
    assert whole

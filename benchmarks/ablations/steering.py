"""Does a model do what it is asked, and does what it is given help it?"""

import json
from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np

from benchmarks.arguments import Measurements
from pipeline.clean.features import key_of
from shards.codec import Codec, EncodedSong
from shards.vocabulary import PROGRAMS, Kind
from trainer.data.augment import drop_parts
from trainer.data.batches import Blocks
from trainer.data.conditions import WRITTEN, ConditionCodes
from trainer.data.sampler import ContiguousBatchSampler
from trainer.data.sections import (
    Plan,
    accompaniment_plan,
    hidden_classes,
    infilling_plan,
    parts_of,
    rearrange,
)
from trainer.data.streams import Stream, with_parts
from trainer.device import choose_device
from trainer.evaluation.held_out import choose_songs, open_runs
from trainer.evaluation.token_loss import score_blocks
from trainer.generation.asked import parse_meter
from trainer.generation.generate import generate
from trainer.generation.instruments import parse_instruments
from trainer.generation.settings import SampleConfig
from trainer.model.transformer import TransformerXL
from trainer.run.folder import load_model, open_run

command = Measurements(help=__doc__)
RUN = click.argument("run", type=click.Path(path_type=Path))
DEVICE = click.option("--device", default="cpu", show_default=True)
GAP = 2
"""Bars of a gap."""
AHEAD = 2
"""Bars that are given after it; more would push the past out of a small model's memory."""


class PreparedStreams:
    """Streams made beforehand; as `trainer.data.streams.Streams`."""

    def __init__(self, streams: Sequence[Stream]) -> None:
        self._streams = streams

    def get(self, song: int, segment_id: int) -> Stream:
        """A stream by its number."""
        return self._streams[song]


def score(
    model: TransformerXL, blocks: Blocks, streams: Sequence[Stream], lanes: int = 16
) -> list[np.ndarray]:
    """The loss of each target of some streams, in nats, over all heads."""
    lengths = [len(stream.song) - 1 for stream in streams]
    sampler = ContiguousBatchSampler(
        lengths, lanes, block_size=blocks.block_size, mode="pad", tail="drain"
    )
    blocks.streams = PreparedStreams(streams)  # pyright: ignore[reportAttributeAccessIssue]
    losses = score_blocks(model, blocks, sampler)
    return np.split(losses.total, losses.starts[1:-1])


def gap_of(song: EncodedSong, rng: np.random.Generator) -> tuple[int, int, int] | None:
    """A gap in the middle of a song, and the bars given after it; None: the song is too short."""
    bars = int(song.bars[-1]) + 1
    if bars < 4 + GAP + AHEAD:
        return None
    first = int(rng.integers(4, bars - GAP - AHEAD + 1))
    return first, first + GAP, first + GAP + AHEAD


def infilling_case(
    song: EncodedSong, codec: Codec, rng: np.random.Generator
) -> tuple[Stream, np.ndarray, Stream, np.ndarray] | None:
    """The same bars after their past alone, and with what follows them.

    Returns:
        A stream and which of its targets are of those bars, twice.
    """
    gap = gap_of(song, rng)
    if gap is None:
        return None
    every = np.ones(256, bool)
    inside = (song.bars[1:] >= gap[0]) & (song.bars[1:] < gap[1])
    plan = infilling_plan(int(song.bars[-1]) + 1, [gap], every)
    return _with_band(song), inside, *_written(song, plan, codec)


def accompaniment_case(
    song: EncodedSong, codec: Codec, rng: np.random.Generator
) -> tuple[Stream, np.ndarray, Stream, np.ndarray] | None:
    """One part on its own, and written to the others."""
    parts = parts_of(song)
    if len(parts) < 2:
        return None
    hidden = hidden_classes(parts[rng.integers(len(parts), size=1)])
    alone = drop_parts(song, codec, ~hidden)
    plan = accompaniment_plan(int(song.bars[-1]) + 1, 2, hidden)
    return _with_band(alone), np.ones(len(alone) - 1, bool), *_written(song, plan, codec)


def _with_band(song: EncodedSong) -> Stream:
    return Stream(song, with_parts(ConditionCodes(), parts_of(song)))


def _written(song: EncodedSong, plan: Plan, codec: Codec) -> tuple[Stream, np.ndarray]:
    """The rearranged stream, and which targets are written: with the <sos> that ends a section."""
    parts = parts_of(song)
    codes = with_parts(ConditionCodes(), parts)
    written_codes = with_parts(ConditionCodes(), parts[plan.hidden[parts]])
    rearranged = rearrange(song, plan, codec)
    stream = Stream.of_sections(rearranged, codes, written_codes)
    return stream, rearranged.kinds[:-1] == WRITTEN


@command.command()
@RUN
@click.option("--songs", default=64, show_default=True)
@click.option("--split", default="valid", show_default=True)
@DEVICE
def given(run: Path, songs: int, split: str, device: str) -> None:
    """Nats per note of hidden bars and parts, with and without what is given to write them to.

    The model is told the band of what it writes in both cases.
    """
    (folder,), dataset = open_runs([run])
    model = load_model(folder, choose_device(device))
    numbers = choose_songs(dataset, split, songs)
    blocks = Blocks(dataset, numbers, folder.config.train.block_size)
    for name, make in (("infilling", infilling_case), ("accompaniment", accompaniment_case)):
        rng = np.random.default_rng(0)
        cases = [make(dataset.song(int(n)), dataset.codec, rng) for n in numbers]
        cases = [case for case in cases if case is not None]
        notes = [
            (dataset.vocabulary.is_note(case[0].song.tokens[1:]) & case[1]).sum() for case in cases
        ]
        sums = []
        for column in (0, 2):
            losses = score(model, blocks, [case[column] for case in cases])
            pairs = zip(losses, (case[column + 1] for case in cases), strict=True)
            sums.append(np.array([loss[wanted].sum() for loss, wanted in pairs]))
        without, with_given = sums
        draws = rng.integers(len(cases), size=(2000, len(cases)))
        ratios = np.sort(with_given[draws].sum(1) / without[draws].sum(1) - 1)
        change = with_given.sum() / without.sum() - 1
        click.echo(
            f"{name}: {len(cases)} songs, {sum(notes):,} notes; nats per note "
            f"{without.sum() / sum(notes):.3f} alone, {with_given.sum() / sum(notes):.3f} given: "
            f"{change:+.1%} ({ratios[50]:+.1%} to {ratios[1949]:+.1%})"
        )


@command.command()
@RUN
@click.option("--count", default=64, show_default=True)
@click.option("--bars", default=16, show_default=True)
@click.option("--guidance", default=1.0, show_default=True)
@DEVICE
def asked(run: Path, count: int, bars: int, guidance: float, device: str) -> None:
    """How many songs are as asked: tempo, meter, band, key, length."""
    folder = open_run(run)
    model, codec = load_model(folder, choose_device(device)), Codec(folder.vocabulary)
    config = SampleConfig(
        count=count, bars=bars, tempo=96, meter="3/4", key="D minor",
        instruments="piano,strings,bass,drums", ending=True, guidance=guidance,
    )  # fmt: skip
    songs = generate(model, codec.vocabulary, config, block_size=folder.config.train.block_size)
    rows = [_obeyed(song, codec, config) for song in songs]
    shares = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
    click.echo(json.dumps({"songs": count, "guidance": guidance, **shares}))


def _obeyed(encoded: EncodedSong, codec: Codec, config: SampleConfig) -> dict[str, float]:
    song, vocabulary = codec.decode(encoded), codec.vocabulary
    allowed = parse_instruments(config.instruments or "", vocabulary)
    kinds = vocabulary.kind(encoded.tokens)
    meters = set(encoded.tokens[kinds == Kind.METER].tolist())
    names = (config.instruments or "").split(",")
    played = [parse_instruments(name, vocabulary)[song.notes["instrument"]].any() for name in names]
    bars = int(encoded.bars[-1]) + 1
    melodic = song.notes[song.notes["instrument"] < PROGRAMS]
    sounding = np.bincount(melodic["pitch"] % 12, melodic["duration"], minlength=12)
    return {
        "tempo": float(len(song.tempos) == 1),
        "meter": float(meters == {parse_meter(config.meter or "", vocabulary)}),
        "band": float(allowed[song.notes["instrument"]].mean()),
        "instruments": float(np.mean(played)),
        "all_instruments": float(all(played)),
        "key": float(key_of(sounding)["key"] == "Dm"),
        "length": float(abs(bars - (config.bars or 0)) <= 1),
        "ended": float(bars <= (config.bars or 0)),
    }

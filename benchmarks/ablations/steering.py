"""Does a model do what it is asked, and does what it is given help it?"""

import json
from collections.abc import Sequence
from functools import partial
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

Case = tuple[Stream, np.ndarray]
"""A stream, and which of its targets count: shape (targets,), bool."""


class PreparedStreams:
    """Streams made beforehand; as `trainer.data.streams.Streams`."""

    def __init__(self, streams: Sequence[Stream]) -> None:
        self._streams = streams

    def get(self, song: int, segment_id: int) -> Stream:
        """A stream by its number."""
        return self._streams[song]


def score(
    model: TransformerXL, blocks: Blocks, cases: Sequence[Case], lanes: int = 16
) -> np.ndarray:
    """The loss of the targets that count of each stream, in nats, over all heads; (streams,)."""
    streams = [stream for stream, _ in cases]
    lengths = [int(np.flatnonzero(counts).max(initial=0)) + 1 for _, counts in cases]
    sampler = ContiguousBatchSampler(
        lengths, lanes, block_size=blocks.block_size, mode="pad", tail="drain"
    )
    blocks.streams = PreparedStreams(streams)  # pyright: ignore[reportAttributeAccessIssue]
    losses = score_blocks(model, blocks, sampler)
    pairs = zip(np.split(losses.total, losses.starts[1:-1]), cases, strict=True)
    return np.array([nats[counts[: len(nats)]].sum() for nats, (_, counts) in pairs])


def infilling_case(
    song: EncodedSong, codec: Codec, rng: np.random.Generator, gap_bars: int, ahead: int
) -> tuple[Case, Case] | None:
    """The same bars after their past alone, and with what follows them; None: too short a song."""
    bars = int(song.bars[-1]) + 1
    if bars < 4 + gap_bars + ahead:
        return None
    first = int(rng.integers(4, bars - gap_bars - ahead + 1))
    gap = first, first + gap_bars, first + gap_bars + ahead
    every = np.ones(256, bool)
    inside = (song.bars[1:] >= gap[0]) & (song.bars[1:] < gap[1])
    plan = infilling_plan(bars, [gap], every)
    return (_with_band(song), inside), _written(song, plan, codec)


def accompaniment_case(
    song: EncodedSong, codec: Codec, rng: np.random.Generator, at_a_time: int
) -> tuple[Case, Case] | None:
    """One part on its own, and written to the others; None: there are no others."""
    parts = parts_of(song)
    if len(parts) < 2:
        return None
    hidden = hidden_classes(parts[rng.integers(len(parts), size=1)])
    alone = drop_parts(song, codec, ~hidden)
    plan = accompaniment_plan(int(song.bars[-1]) + 1, at_a_time, hidden)
    return (_with_band(alone), np.ones(len(alone) - 1, bool)), _written(song, plan, codec)


def _with_band(song: EncodedSong) -> Stream:
    return Stream(song, with_parts(ConditionCodes(), parts_of(song)))


def _written(song: EncodedSong, plan: Plan, codec: Codec) -> Case:
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
@click.option("--gap", default=2, show_default=True, help="Bars that are hidden.")
@click.option("--ahead", default=2, show_default=True, help="Bars given after them.")
@click.option("--at-a-time", default=2, show_default=True, help="Bars of parts given ahead.")
@DEVICE
def given(
    run: Path, songs: int, split: str, gap: int, ahead: int, at_a_time: int, device: str
) -> None:
    """Nats per note of hidden bars and parts, with and without what is given to write them to.

    The model is told the band of what it writes in both cases.
    """
    (folder,), dataset = open_runs([run])
    model = load_model(folder, choose_device(device))
    numbers = choose_songs(dataset, split, songs)
    blocks = Blocks(dataset, numbers, folder.config.train.block_size)
    for name, make in (
        ("infilling", partial(infilling_case, gap_bars=gap, ahead=ahead)),
        ("accompaniment", partial(accompaniment_case, at_a_time=at_a_time)),
    ):
        rng = np.random.default_rng(0)
        made = [make(dataset.song(int(n)), dataset.codec, rng) for n in numbers]
        cases = [pair for pair in made if pair is not None]
        notes = [
            (dataset.vocabulary.is_note(stream.song.tokens[1:]) & counts).sum()
            for (stream, counts), _ in cases
        ]
        without, with_given = (score(model, blocks, each) for each in zip(*cases, strict=True))
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

"""Tokens per second of generation, and whether time and memory stay flat over a long song."""

import resource
import time

import click
import numpy as np
import torch

from benchmarks.arguments import Measurement
from shards.vocabulary import Vocabulary
from trainer.generation.fast_weights import for_sampling
from trainer.generation.incremental import IncrementalModel
from trainer.generation.sample_step import next_inputs, sample_step
from trainer.generation.settings import WEIGHTS, SampleConfig
from trainer.generation.song_sampler import SongSampler
from trainer.model.transformer import TransformerXL
from trainer.presets import preset


@click.command(cls=Measurement)
@click.option("--tokens", default=2000, show_default=True, help="Tokens per song.")
@click.option("--lanes", default=(1, 16), multiple=True, help="Songs at once.  [default: 1, 16]")
@click.option("--threads", default=2, show_default=True)
@click.option("--preset", "name", default="small", show_default=True)
@click.option("--weights", type=click.Choice(WEIGHTS), default="auto", show_default=True)
@click.option("--before", default=0, show_default=True, help="Tokens in the memory beforehand.")
def command(
    tokens: int, lanes: tuple[int, ...], threads: int, name: str, weights: str, before: int
) -> None:
    """Generate with random weights of a preset: grammar, sampling and writing, as in use."""
    torch.set_num_threads(threads)
    vocabulary, config = Vocabulary(), preset(name)
    model = TransformerXL(config.model.for_vocabulary(vocabulary)).eval()
    model.initialize(torch.Generator().manual_seed(0))
    parameters = sum(p.numel() for p in model.parameters())
    print(f"{parameters:,} parameters, {threads} threads, torch {torch.__version__}")
    for count in lanes:
        config_of_songs = SampleConfig(count=count, bars=10_000, tokens=10**9)
        songs = [
            SongSampler(vocabulary, config_of_songs, n, None, has_conditions=True)
            for n in range(count)
        ]
        stream = IncrementalModel(for_sampling(model, weights), config.train.block_size, count)
        measure(songs, stream, tokens, before)


def measure(songs: list[SongSampler], stream: IncrementalModel, tokens: int, before: int) -> None:
    inputs = next_inputs(songs, 1)
    stream.feed(np.repeat(inputs, before + 1, axis=2))
    seconds, megabytes = [], []
    for _ in range(tokens):
        begun = time.perf_counter()
        sample_step(songs, stream)
        stream.feed(next_inputs(songs, 1))
        seconds.append(time.perf_counter() - begun)
        megabytes.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    tenths = np.array_split(np.array(seconds), min(10, max(tokens // 1000, 2)))
    print(f"{len(songs)} songs: {len(songs) * tokens / sum(seconds):,.0f} tokens/s in total")
    print("  ms per token:", *(f"{1000 * part.mean():.2f}" for part in tenths))
    print(f"  peak memory, MB: {megabytes[len(megabytes) // 10]:.0f} after a tenth, "
          f"{megabytes[-1]:.0f} at the end")  # fmt: skip

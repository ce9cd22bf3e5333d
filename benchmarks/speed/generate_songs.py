"""Tokens per second of generation, and whether time and memory stay flat over a long song."""

import resource
import time

import click
import numpy as np
import torch

from benchmarks.arguments import Measurement
from shards.vocabulary import Vocabulary
from trainer.config import ModelConfig
from trainer.generation.generate import SongSampler, next_inputs, sample_step
from trainer.generation.incremental import IncrementalModel
from trainer.generation.settings import SampleConfig
from trainer.model.transformer import TransformerXL

BLOCK = 256


@click.command(cls=Measurement)
@click.option("--tokens", default=2000, show_default=True, help="Tokens per song.")
@click.option("--lanes", default=(1, 16), multiple=True, help="Songs at once.  [default: 1, 16]")
@click.option("--threads", default=2, show_default=True)
def command(tokens: int, lanes: tuple[int, ...], threads: int) -> None:
    """Generate with 11.6 million random weights: grammar, sampling and writing, as in use."""
    torch.set_num_threads(threads)
    vocabulary = Vocabulary()
    config = ModelConfig(qk_norm=False, instrument_head="plain").for_vocabulary(vocabulary)
    model = TransformerXL(config).eval()
    model.initialize(torch.Generator().manual_seed(0))
    parameters = sum(p.numel() for p in model.parameters())
    print(f"{parameters:,} parameters, {threads} threads, torch {torch.__version__}")
    for count in lanes:
        measure(model, vocabulary, count, tokens)


def measure(model: TransformerXL, vocabulary: Vocabulary, count: int, tokens: int) -> None:
    config = SampleConfig(count=count, bars=10_000, tokens=10**9)
    songs = [SongSampler(vocabulary, config, number, None) for number in range(count)]
    stream = IncrementalModel(model, BLOCK, lanes=count)
    stream.feed(next_inputs(songs, 1))
    seconds, megabytes = [], []
    for _ in range(tokens):
        begun = time.perf_counter()
        sample_step(songs, stream)
        stream.feed(next_inputs(songs, 1))
        seconds.append(time.perf_counter() - begun)
        megabytes.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    tenths = np.array_split(np.array(seconds), min(10, max(tokens // 1000, 2)))
    print(f"{count} songs: {count * tokens / sum(seconds):,.0f} tokens/s in total")
    print("  ms per token:", *(f"{1000 * part.mean():.2f}" for part in tenths))
    print(f"  peak memory, MB: {megabytes[len(megabytes) // 10]:.0f} after a tenth, "
          f"{megabytes[-1]:.0f} at the end")  # fmt: skip

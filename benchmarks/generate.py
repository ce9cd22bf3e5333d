"""Tokens a second of generation, and whether time and memory stay flat over a long song.

    python -m benchmarks.generate              # the 11-million-parameter model, batch 1 and 16
    python -m benchmarks.generate --tokens 20000 --lanes 1

The weights are random, so grammar, drawing and writing are timed with the model, as in use.
"""

import resource
import time

import click
import numpy as np
import torch

from shards.vocabulary import Vocabulary
from trainer.config import ModelConfig
from trainer.generation.generate import Lane, SampleConfig, add_next
from trainer.generation.incremental import Stream
from trainer.model.transformer import TransformerXL

BLOCK = 256


@click.command()
@click.option("--tokens", default=2000, help="To write for each song.")
@click.option("--lanes", default=(1, 16), multiple=True, help="Songs side by side.")
@click.option("--threads", default=2)
def main(tokens: int, lanes: tuple[int, ...], threads: int) -> None:
    torch.set_num_threads(threads)
    vocabulary = Vocabulary()
    model = TransformerXL(ModelConfig().for_vocabulary(vocabulary)).eval()
    model.initialize(torch.Generator().manual_seed(0))
    parameters = sum(p.numel() for p in model.parameters())
    print(f"{parameters:,} parameters, {threads} threads, torch {torch.__version__}")
    for count in lanes:
        measure(model, vocabulary, count, tokens)


def measure(model: TransformerXL, vocabulary: Vocabulary, count: int, tokens: int) -> None:
    config = SampleConfig(count=count, bars=10_000, tokens=10**9)
    songs = [Lane(vocabulary, config, number, None) for number in range(count)]
    stream = Stream(model, BLOCK, lanes=count)
    stream.feed(np.stack([song.writer.inputs() for song in songs], axis=1))
    seconds, megabytes = [], []
    for _ in range(tokens):
        begun = time.perf_counter()
        add_next(songs, stream)
        stream.feed(np.stack([song.writer.inputs(-1) for song in songs], axis=1))
        seconds.append(time.perf_counter() - begun)
        megabytes.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    parts = np.array_split(np.array(seconds), min(10, max(tokens // 1000, 2)))
    print(f"{count} songs: {count * tokens / sum(seconds):,.0f} tokens/s in all")
    print("  ms a token:", *(f"{1000 * part.mean():.2f}" for part in parts))
    print(f"  memory at its highest, MB: {megabytes[len(megabytes) // 10]:.0f} after a tenth, "
          f"{megabytes[-1]:.0f} at the end")  # fmt: skip


if __name__ == "__main__":
    main()

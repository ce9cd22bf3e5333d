"""What reverse teacher forcing does to the loss and to what a model writes.

    python -m benchmarks.rtf_samples DATASET OUT off,shift,window,strict [STEPS [SEED]]

The preset tiny for 150 steps of 64 x 32 tokens, half of the lanes drawn, windows up to 8; weights,
songs and their order are equal. Then the loss of the first 40 batches of validation, and eight
songs of 16 bars from nothing, seeds equal: one line of JSON a mode, and OUT/MODE-N.png of the first
two. Of the songs: notes a bar; the share of bars in which no note starts; of bars equal to the one
before (steps, players, pitches); of bars equal to any before; and of notes with the pitch and the
player of the note before.
"""

import dataclasses
import json
import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from shards import open_dataset
from shards.codec import EncodedSong
from shards.vocabulary import Kind, Vocabulary
from trainer import presets
from trainer.config import for_dataset
from trainer.generation import export as samples
from trainer.generation.generate import SampleConfig, generate
from trainer.training.trainer import Trainer

BARS, SONGS, PICTURES, BATCHES = 16, 8, 2, 40


def figures(song: EncodedSong, vocabulary: Vocabulary) -> dict[str, float]:
    """See above; only bars 0 to BARS - 1 count."""
    here = (vocabulary.kind(song.tokens.astype(np.int64)) == Kind.PITCH) & (song.bars < BARS)
    columns = (song.bars, song.steps, song.instruments, song.tokens)
    notes = np.stack([column[here].astype(np.int64) for column in columns], axis=1)
    bars = [notes[notes[:, 0] == bar, 1:].tobytes() for bar in range(BARS)]
    played = [bar for bar in bars if bar]
    again = sum(bar in played[:n] for n, bar in enumerate(played))
    same_note = (notes[1:, 2:] == notes[:-1, 2:]).all(axis=1)
    return {
        "notes_a_bar": len(notes) / BARS,
        "empty_bars": 1 - len(played) / BARS,
        "bars_as_before": sum(a == b != b"" for a, b in pairwise(bars)) / (BARS - 1),
        "bars_again": again / max(len(played), 1),
        "notes_as_before": float(same_note.mean()) if len(same_note) else 0.0,
        "players": len(np.unique(notes[:, 2])),
    }


def main(path: str, out: str, modes: str, steps: int = 150, seed: int = 0) -> None:
    torch.set_num_threads(1)
    data, base = open_dataset(path), presets.preset("tiny")
    for mode in modes.split(","):
        config = dataclasses.replace(
            base,
            model=dataclasses.replace(base.model, rtf=mode),
            train=dataclasses.replace(base.train, steps=steps, seed=seed),
        )
        trainer = Trainer(data, for_dataset(config, data), torch.device("cpu"))
        work = time.process_time()
        for _ in range(steps):
            trainer.train_step()
        work = time.process_time() - work
        scores = trainer.evaluate(batches=BATCHES)
        model = trainer.model.eval()
        songs = generate(
            model, data.vocabulary, SampleConfig(count=SONGS, bars=BARS), block_size=32
        )
        for number, song in enumerate(songs[:PICTURES]):
            samples.save(song, Path(out) / f"{mode}-{number}.png", data.codec)
        each = [figures(song, data.vocabulary) for song in songs]
        means = {name: float(np.mean([one[name] for one in each])) for name in each[0]}
        line = {"rtf": mode, "steps": steps, "seed": seed, **scores.means(), **means, "cpu": work}
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:4], *map(int, sys.argv[4:]))

"""Whether the kNN memory retrieves what the memory has lost: a phrase, a filler, the phrase again.

A test song is a filler of 0 to 64 tokens, a mark, a phrase of 12 different symbols of 32, a filler
of 97 to 128 random other symbols, the mark, and the same phrase; only the repetition is trained on
and scored. Two layers reach T + 2 M = 96 tokens back, so without the store nothing of the first
phrase is visible. Knowing only that a phrase repeats no symbol gives an accuracy of 0.039.

A training song has the phrase four times. At first its fillers have at most 8 tokens; later a
growing share, up to 0.6, has any length up to 128. The order matters: to copy, a head must find
what came before each key, and it learns that nearby. With distant repetitions from the start this
takes many times as long; with near ones alone for too long, the gates close and stay closed.
"""

import sys
import time
from collections.abc import Iterator

import click
import numpy as np
import torch
from torch.nn import functional

from benchmarks.arguments import Measurement
from trainer.config import ModelConfig, TrainConfig
from trainer.data.batches import IGNORED, Batch
from trainer.model.transformer import TransformerXL
from trainer.training.optimizers import lr_at, make_optimizers, set_lr

SYMBOLS, FILLERS, PHRASE = 32, 16, 12
MARK = SYMBOLS + FILLERS
T = M = 32
LAYERS = 2
LANES = 32
NEAR, FARTHEST = 8, 128
OUT_OF_REACH = T + LAYERS * M + 1
FAR_SHARE, FAR_FROM = 0.6, 0.4
"""Final share of fillers of any length, and the part of the training after which it is reached."""


def filler(random: np.random.Generator, low: int, high: int) -> np.ndarray:
    """From `low` to `high` random other symbols."""
    return SYMBOLS + random.integers(0, FILLERS, random.integers(low, high, endpoint=True))


def song(random: np.random.Generator, far: float | None) -> tuple[np.ndarray, np.ndarray]:
    """Tokens, and which of them repeat the phrase.

    Args:
        random: the lane's own.
        far: share of fillers of any length; None: a test song.
    """
    phrase = random.permutation(SYMBOLS)[:PHRASE]
    parts, repeats = [filler(random, 0, 64), [MARK], phrase], []
    for _ in range(1 if far is None else 3):
        if far is None:
            between = filler(random, OUT_OF_REACH, FARTHEST)
        else:
            between = filler(random, 0, FARTHEST if random.random() < far else NEAR)
        repeats.append(sum(map(len, parts)) + len(between) + 1)
        parts += [between, [MARK], phrase]
    tokens = np.concatenate(parts)
    repeated = np.zeros(len(tokens), bool)
    for first in repeats:
        repeated[first : first + PHRASE] = True
    return tokens, repeated


class Lane:
    """One song after another, cut into blocks of T inputs and targets."""

    def __init__(self, seed: int, number: int) -> None:
        self.random = np.random.default_rng([seed, number])
        self.rows, self.segment_id = np.empty((3, 0), np.int64), 0

    def block(self, far: float | None) -> np.ndarray:
        """Inputs, segment_ids and targets, shape (3, T)."""
        while self.rows.shape[1] < T:
            tokens, repeated = song(self.random, far)
            targets = np.where(repeated[1:], tokens[1:], IGNORED)
            segment_ids = np.full(len(targets), self.segment_id)
            self.rows = np.concatenate([self.rows, [tokens[:-1], segment_ids, targets]], axis=1)
            self.segment_id += 1
        block, self.rows = self.rows[:, :T], self.rows[:, T:]
        return block


def batches(seed: int, steps: int, *, test: bool) -> Iterator[Batch]:
    """One batch per step."""
    lanes = [Lane(seed, number) for number in range(LANES)]
    for step in range(steps):
        far = None if test else FAR_SHARE * min(1.0, step / (FAR_FROM * steps))
        rows = np.stack([lane.block(far) for lane in lanes], axis=1)
        tokens, segment_ids, targets = torch.from_numpy(rows)
        nothing = torch.zeros_like(tokens)
        yield Batch(tokens, nothing, nothing, nothing, segment_ids, targets=targets)


def make_model(*, knn: bool, seed: int) -> TransformerXL:
    """Two layers: the first can add to each key what came before it, the second retrieves."""
    config = ModelConfig(
        vocab_size=MARK + 1, instrument_classes=1, max_bar_steps=1, max_bars=1, layers=LAYERS,
        d_model=64, heads=4, memory=M, dropout=0.0, knn=knn, knn_layer=1, knn_k=8,
        knn_capacity=512,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        model = TransformerXL(config)
    model.initialize(torch.Generator().manual_seed(seed))
    return model


def train(model: TransformerXL, *, steps: int, seed: int, every: int = 100) -> None:
    """Train, and print the loss on the way."""
    config = TrainConfig(
        steps=steps, optimizer="muon", lr=1.2e-2, final_lr_ratio=0.0, warmup_steps=50,
        weight_decay=0.0,
    )  # fmt: skip
    optimizers = make_optimizers(model, config)
    memory, begun = model.empty_memory(LANES), time.perf_counter()
    for step, batch in enumerate(batches(seed, steps, test=False)):
        assert batch.targets is not None
        output, memory = model(batch, memory.flush())
        logits, targets = output.token_logits.flatten(0, 1), batch.targets.flatten()
        loss = functional.cross_entropy(logits, targets, ignore_index=IGNORED)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            set_lr(optimizer, lr_at(step, config))
            optimizer.step()
            optimizer.zero_grad()
        if (step + 1) % every == 0:
            seconds = time.perf_counter() - begun
            print(f"step {step + 1:5d}  loss {loss:.3f}  {seconds:.0f} s", file=sys.stderr)


@torch.no_grad()
def accuracy(model: TransformerXL, *, blocks: int = 100, seed: int = 1_000_000) -> float:
    """Share of the second phrases' tokens to which the model gives the highest probability."""
    model.eval()
    memory, correct, total = model.empty_memory(LANES), 0, 0
    for batch in batches(seed, blocks, test=True):
        output, memory = model(batch, memory.flush())
        scored = batch.targets != IGNORED
        correct += int((output.token_logits.argmax(-1) == batch.targets)[scored].sum())
        total += int(scored.sum())
    model.train()
    return correct / total


@click.command(cls=Measurement)
@click.argument("knn", type=click.Choice(["on", "off"]))
@click.option("--steps", default=2500, show_default=True)
@click.option("--seed", default=0, show_default=True)
def command(knn: str, steps: int, seed: int) -> None:
    """Train a two-layer model with the kNN memory on or off, and print its accuracy."""
    torch.set_num_threads(1)
    begun, cpu = time.perf_counter(), time.process_time()
    model = make_model(knn=knn == "on", seed=seed)
    train(model, steps=steps, seed=seed)
    seconds, cpu = time.perf_counter() - begun, time.process_time() - cpu
    print(
        f"kNN {knn}, {steps} steps of {LANES} lanes x {T} tokens, seed {seed}: "
        f"accuracy {accuracy(model):.4f}, {seconds:.0f} s, processor time {cpu:.0f} s"
    )
    if model.neighbours is not None:
        gates = model.neighbours.gate.sigmoid().tolist()
        print("gates of the heads:", [round(gate, 2) for gate in gates])

"""Can the kNN memory bring back what the memory has lost? A phrase, a filler, the phrase again.

    taskset -c 1 python -m benchmarks.copy_task on|off [STEPS] [SEED]

A song of the test is a filler of 0 to 64 tokens, a mark, a phrase of 12 different symbols of 32, a
filler of 97 to 128 other symbols at random, the mark, and the same phrase; only what repeats is
learnt and scored. Two layers reach T + 2 M = 96 tokens back, so without the store nothing of the
first phrase can be known. Who knows only that a phrase repeats no symbol is right in 0.039.

A song of the training has the phrase four times. Its fillers are short, at most 8, at first; later
a growing share, up to 0.6, has any length up to 128. The order matters: to copy, a head must know
what came before each key, and it learns that nearby. With far repeats from the start it takes many
times as long, and with near ones alone for too long the gates close and stay closed.
"""

import sys
import time
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from trainer.config import ModelConfig, TrainConfig
from trainer.data.batches import IGNORED, Batch
from trainer.model.transformer import TransformerXL
from trainer.training.optimizers import make_optimizers, rate, set_rate

SYMBOLS, FILLERS, PHRASE = 32, 16, 12
MARK = SYMBOLS + FILLERS
T = M = 32
LAYERS = 2
LANES = 32
NEAR, FARTHEST = 8, 128
OUT_OF_REACH = T + LAYERS * M + 1
FAR_SHARE, FAR_FROM = 0.6, 0.4
"""Share of fillers of any length, and after which part of the training it is reached."""


def filler(random: np.random.Generator, low: int, high: int) -> np.ndarray:
    """Other symbols, low to high of them."""
    return SYMBOLS + random.integers(0, FILLERS, random.integers(low, high, endpoint=True))


def song(random: np.random.Generator, far: float | None) -> tuple[np.ndarray, np.ndarray]:
    """Tokens, and which of them repeat the phrase; share `far` of the test is None."""
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
    """Songs end to end, given out in blocks of T inputs and targets."""

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
    """A batch for each step."""
    lanes = [Lane(seed, number) for number in range(LANES)]
    for step in range(steps):
        far = None if test else FAR_SHARE * min(1.0, step / (FAR_FROM * steps))
        rows = np.stack([lane.block(far) for lane in lanes], axis=1)
        tokens, segment_ids, targets = torch.from_numpy(rows)
        nothing = torch.zeros_like(tokens)
        yield Batch(tokens, nothing, nothing, nothing, segment_ids, targets=targets)


def make_model(*, knn: bool, seed: int) -> TransformerXL:
    """Two layers: the first can tell each key what came before it, the second looks up."""
    config = ModelConfig(
        vocab_size=MARK + 1, instrument_classes=1, max_bar_steps=1, max_bars=1, layers=LAYERS, d_model=64, heads=4,
        memory=M, dropout=0.0, qk_norm=True, knn=knn, knn_layer=1, knn_k=8, knn_capacity=512,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        model = TransformerXL(config)
    model.initialize(torch.Generator().manual_seed(seed))
    return model


def loss_of(tokens: Tensor, targets: Tensor) -> Tensor:
    """TokenLosses a token of the repeated phrases."""
    return functional.cross_entropy(tokens.flatten(0, 1), targets.flatten(), ignore_index=IGNORED)


def train(model: TransformerXL, *, steps: int, seed: int, every: int = 100) -> None:
    """Learn, and say how it goes."""
    config = TrainConfig(
        steps=steps, optimizer="muon", lr=1.2e-2, final_lr_ratio=0.0, warmup_steps=50,
        weight_decay=0.0,
    )  # fmt: skip
    optimizers = make_optimizers(model, config)
    memory, begun = model.empty_memory(LANES), time.perf_counter()
    for step, batch in enumerate(batches(seed, steps, test=False)):
        output, memory = model(batch, memory.settled())
        loss = loss_of(output.tokens, batch.targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            set_rate(optimizer, rate(step, config))
            optimizer.step()
            optimizer.zero_grad()
        if (step + 1) % every == 0:
            seconds = time.perf_counter() - begun
            print(f"step {step + 1:5d}  loss {loss:.3f}  {seconds:.0f} s", file=sys.stderr)


@torch.no_grad()
def accuracy(model: TransformerXL, *, blocks: int = 100, seed: int = 1_000_000) -> float:
    """Share of the second phrases' tokens that are thought the likeliest."""
    model.eval()
    memory, right, all_ = model.empty_memory(LANES), 0, 0
    for batch in batches(seed, blocks, test=True):
        output, memory = model(batch, memory.settled())
        scored = batch.targets != IGNORED
        right += int((output.tokens.argmax(-1) == batch.targets)[scored].sum())
        all_ += int(scored.sum())
    model.train()
    return right / all_


def main(knn: bool, steps: int = 2500, seed: int = 0) -> None:
    torch.set_num_threads(1)
    begun, work = time.perf_counter(), time.process_time()
    model = make_model(knn=knn, seed=seed)
    train(model, steps=steps, seed=seed)
    seconds, work = time.perf_counter() - begun, time.process_time() - work
    print(
        f"kNN {'on' if knn else 'off'}, {steps} steps of {LANES} lanes x {T} tokens, seed {seed}: "
        f"{accuracy(model):.4f} right, {seconds:.0f} s, of CPU {work:.0f} s"
    )
    if knn:
        gates = model.neighbours.gate.sigmoid().tolist()
        print("gates of the heads:", [round(gate, 2) for gate in gates])


if __name__ == "__main__":
    main(sys.argv[1] == "on", *map(int, sys.argv[2:]))

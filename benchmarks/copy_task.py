"""Can the kNN memory bring back what the memory has lost? A phrase, a filler, the phrase again.

    python -m benchmarks.copy_task on|off [STEPS] [SEED]

A song of the test is a mark, a phrase of 12 different symbols, a filler of other symbols at random
that is longer than T + M = 64, the mark, and the same phrase. Training has songs in which the
phrase comes four times, half of the fillers short and half of 0 to 96 tokens, as music repeats
itself sooner and later. Chance is one symbol in 64. Only what repeats is learnt and scored.
"""

import sys
import time
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from trainer.batches import IGNORED, Batch
from trainer.config import ModelConfig
from trainer.model import TransformerXL

SYMBOLS, FILLERS, PHRASE = 64, 16, 12
MARK = SYMBOLS + FILLERS
T = M = 32
LANES = 16


def song(random: np.random.Generator, *, test: bool) -> tuple[np.ndarray, np.ndarray]:
    """Tokens, and which of them repeat the phrase."""
    phrase = random.permutation(SYMBOLS)[:PHRASE]
    parts, repeated = [[MARK], phrase], [np.zeros(1 + PHRASE, bool)]
    for _ in range(1 if test else 3):
        low, high = (T + M + 1, 97) if test else (0, 9 if random.random() < 0.5 else 97)
        filler = SYMBOLS + random.integers(0, FILLERS, random.integers(low, high))
        parts += [filler, [MARK], phrase]
        repeated += [np.zeros(len(filler) + 1, bool), np.ones(PHRASE, bool)]
    return np.concatenate(parts), np.concatenate(repeated)


class Lane:
    """Songs end to end, given out in blocks of T inputs and targets."""

    def __init__(self, seed: int, number: int, *, test: bool) -> None:
        self.random, self.test = np.random.default_rng([seed, number]), test
        self.rows, self.visit = np.empty((3, 0), np.int64), 0

    def block(self) -> np.ndarray:
        """Inputs, visits and targets, shape (3, T)."""
        while self.rows.shape[1] < T:
            tokens, repeated = song(self.random, test=self.test)
            targets = np.where(repeated[1:], tokens[1:], IGNORED)
            visits = np.full(len(targets), self.visit)
            self.rows = np.concatenate([self.rows, [tokens[:-1], visits, targets]], axis=1)
            self.visit += 1
        block, self.rows = self.rows[:, :T], self.rows[:, T:]
        return block


def batches(seed: int, *, test: bool) -> Iterator[Batch]:
    """Batches without end."""
    lanes = [Lane(seed, number, test=test) for number in range(LANES)]
    while True:
        tokens, visits, targets = torch.from_numpy(np.stack([lane.block() for lane in lanes], 1))
        nothing = torch.zeros_like(tokens)
        yield Batch(tokens, nothing, nothing, nothing, visits, targets=targets)


def make_model(*, knn: bool, seed: int) -> TransformerXL:
    """Three layers, of which the middle one looks up."""
    config = ModelConfig(
        tokens=MARK + 1, instruments=1, bar_steps=1, max_bars=1, layers=3, width=64, heads=2,
        memory=M, dropout=0.0, knn=knn, knn_k=8, knn_capacity=256,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        model = TransformerXL(config)
    model.initialize(torch.Generator().manual_seed(seed))
    return model


def loss_of(tokens: Tensor, targets: Tensor) -> Tensor:
    """Nats a token of the second phrase."""
    return functional.cross_entropy(tokens.flatten(0, 1), targets.flatten(), ignore_index=IGNORED)


def train(model: TransformerXL, *, steps: int, seed: int, every: int = 100) -> None:
    """Learn, and say how it goes."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, betas=(0.9, 0.98), fused=True)
    memory, begun = model.empty_memory(LANES), time.perf_counter()
    for step, batch in zip(range(steps), batches(seed, test=False), strict=False):
        for group in optimizer.param_groups:
            group["lr"] = 3e-3 * min(1, (step + 1) / 50, 0.05 + (steps - step) / (0.3 * steps))
        output, memory = model(batch, memory.settled())
        loss = loss_of(output.tokens, batch.targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
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
    for _, batch in zip(range(blocks), batches(seed, test=True), strict=False):
        output, memory = model(batch, memory.settled())
        scored = batch.targets != IGNORED
        right += int((output.tokens.argmax(-1) == batch.targets)[scored].sum())
        all_ += int(scored.sum())
    model.train()
    return right / all_


def main(knn: bool, steps: int = 1500, seed: int = 0) -> None:
    torch.set_num_threads(1)
    begun, work = time.perf_counter(), time.process_time()
    model = make_model(knn=knn, seed=seed)
    train(model, steps=steps, seed=seed)
    seconds, work = time.perf_counter() - begun, time.process_time() - work
    print(
        f"kNN {'on' if knn else 'off'}, {steps} steps of {LANES} lanes x {T} tokens, seed {seed}: "
        f"{accuracy(model):.4f} right, chance {1 / SYMBOLS:.4f}; "
        f"{seconds:.0f} s, of CPU {work:.0f} s"
    )
    if knn:
        print(
            "gates of the heads:", [round(g, 2) for g in model.neighbours.gate.sigmoid().tolist()]
        )


if __name__ == "__main__":
    main(sys.argv[1] == "on", *map(int, sys.argv[2:]))

"""Train runs up to a step, in one process or in those that torchrun starts.

    python shared.py DATASET RUN UNTIL …
    python -m torch.distributed.run --standalone --nproc-per-node 2 shared.py DATASET RUN UNTIL …

Several runs, because starting the processes takes longer than training. A run that exists is
resumed.
"""

import dataclasses
import signal
import sys
from pathlib import Path

import torch

from shards import open_dataset
from tests.trainer.training.small_runs import CONFIG, start_or_resume
from trainer.training.distributed import process_group

SECONDS = 240
"""SIGALRM ends a process that takes longer."""
CONFIG = dataclasses.replace(
    CONFIG,
    # Without qk_norm, whose larger keys differ by more than 1e-6 from rounding alone.
    model=dataclasses.replace(CONFIG.model, dropout=0.0, rtf="strict", qk_norm=False),
    train=dataclasses.replace(
        CONFIG.train,
        batch_size=4,
        accumulate=1,
        block_size=16,
        steps=50,
        lr=3e-3,
        evaluate_every=20,
        checkpoint_every=1000,
        sample_bars=8,
    ),
)


def main(data: str, *runs: tuple[Path, int]) -> None:
    """Train each run up to its step."""
    dataset = open_dataset(data)
    config = dataclasses.replace(CONFIG, model=CONFIG.model.for_vocabulary(dataset.vocabulary))
    with process_group("cpu") as (ranks, device):
        for folder, until in runs:
            loop = start_or_resume(
                dataset, folder, config, device=torch.device(device), ranks=ranks
            )
            loop.run({}, until=until)
    alive = [name for name in threads() if "gloo" in name]
    assert not alive, f"with {loop} these threads are alive: {alive}"


def threads() -> list[str]:
    """Names of this process's threads, Python's and others; none where there is no /proc."""
    return [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]


if __name__ == "__main__":
    signal.alarm(SECONDS)
    arguments = sys.argv[2:]
    main(sys.argv[1], *zip(map(Path, arguments[::2]), map(int, arguments[1::2]), strict=True))

"""Train runs up to a step, in one process or in two.

    MASTER_ADDR=… MASTER_PORT=… python shared.py DATASET RUN UNTIL …

Two processes train, with the variables that torchrun gives its processes; they meet in a store
at that address. They are forks of one, and train several runs, because starting them takes longer
than training. A run that exists is resumed.
"""

import dataclasses
import os
import signal
import sys
from pathlib import Path

import torch

from shards import open_dataset
from tests.trainer.charts import draw_none
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


def main_by_two(data: str, *runs: tuple[Path, int]) -> None:
    """Train each run up to its step by two processes, this one and a fork."""
    child = os.fork()
    rank = str(int(child == 0))
    os.environ |= {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": "2"}
    os.environ["TORCHELASTIC_USE_AGENT_STORE"] = "True"  # neither opens the store
    signal.alarm(SECONDS)
    main(data, *runs)
    if child:
        assert os.waitpid(child, 0)[1] == 0


if __name__ == "__main__":
    draw_none()
    arguments = sys.argv[2:]
    main_by_two(
        sys.argv[1], *zip(map(Path, arguments[::2]), map(int, arguments[1::2]), strict=True)
    )

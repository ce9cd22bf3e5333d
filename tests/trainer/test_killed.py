"""Killed by SIGKILL twenty times, a training ends as if nothing had happened."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch

from trainer import checkpoint
from trainer.board import read_metrics

STEPS = 400
CLOCK = {"tokens_per_second", "waiting", "memory_mb"}


def trained(dataset, folder, kills):
    script = Path(__file__).with_name("killed.py")
    environment = {**os.environ, "PYTHONPATH": str(script.parents[2])}
    command = [sys.executable, script, dataset, folder, STEPS, *kills]
    done = subprocess.run(
        [*map(str, command)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [
        {key: value for key, value in line.items() if key not in CLOCK}
        for line in read_metrics(folder / "metrics.jsonl")
    ]
    return lines, *checkpoint.load(checkpoint.step_file(folder / "checkpoints", STEPS))


def test_a_run_killed_at_twenty_random_steps_ends_bit_for_bit_as_one_that_was_not(
    dataset_folder, tmp_path
):
    random = np.random.default_rng(0)
    steps = np.sort(random.choice(200, 20, replace=False))  # and 200 more steps after the last
    kills = [f"{step}:{random.integers(3)}" for step in steps]
    unbroken, tensors, state = trained(dataset_folder, tmp_path / "unbroken", [])
    lines, found, found_state = trained(dataset_folder, tmp_path / "killed", kills)
    assert state["position"]["epoch"] > 10
    assert lines == unbroken
    assert found_state == state
    assert found.keys() == tensors.keys()
    assert [name for name in found if not torch.equal(found[name], tensors[name])] == []

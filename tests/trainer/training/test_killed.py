"""Killed by SIGKILL twenty times, a training ends as if nothing had happened."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from trainer.run import checkpoint
from trainer.training.metrics_log import read_metrics

STEPS = 120
KNN = {"model": "knn", "steps": 30}
MACHINE = {"unix_time", "tokens_per_second", "data_wait", "memory_mb", "search_ms"}


@pytest.fixture
def folders(dataset_folder, tmp_path_factory):
    """Two runs that were killed and two that were not, trained by one process that forks."""
    random = np.random.default_rng(0)
    steps = np.sort(random.choice(100, 20, replace=False))  # and 20 more steps after the last
    kills = [f"{step}:{random.integers(3)}" for step in steps]
    runs = {
        "unbroken": {"model": "plain", "steps": STEPS, "kills": []},
        "killed": {"model": "plain", "steps": STEPS, "kills": kills},
        "knn-unbroken": {**KNN, "kills": []},
        "knn-killed": {**KNN, "kills": ["12:checkpoint", "17:1", "29:2"]},
    }
    parent, script = tmp_path_factory.mktemp("killed"), Path(__file__).with_name("killed.py")
    arguments = json.dumps([{"folder": str(parent / name), **run} for name, run in runs.items()])
    environment = {**os.environ, "PYTHONPATH": str(script.parents[3])}
    done = subprocess.run(
        [sys.executable, script, dataset_folder, arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return parent


def result(folder, steps):
    """A run's metrics, tensors and state."""
    lines = [
        {key: value for key, value in line.items() if key not in MACHINE}
        for line in read_metrics(folder / "metrics.jsonl").rows
    ]
    return lines, *checkpoint.load(checkpoint.step_file(folder / "checkpoints", steps))


def assert_same(found, expected):
    """Compare two results."""
    assert found[0] == expected[0]
    assert found[2] == expected[2]
    assert found[1].keys() == expected[1].keys()
    assert [n for n, tensor in found[1].items() if not torch.equal(tensor, expected[1][n])] == []


def test_a_run_killed_at_twenty_random_steps_ends_bit_for_bit_as_one_that_was_not(folders):
    unbroken = result(folders / "unbroken", STEPS)
    assert unbroken[2]["position"]["epoch"] > 3
    assert_same(result(folders / "killed", STEPS), unbroken)
    assert_same_with_a_knn_memory(folders)


def assert_same_with_a_knn_memory(folders):
    """The same of runs with a kNN memory, and of its file on disk."""
    unbroken = result(folders / "knn-unbroken", KNN["steps"])
    assert max(line.get("knn_queries", 0) for line in unbroken[0]) > 0
    assert unbroken[2]["knn_checksum"]
    assert_same(result(folders / "knn-killed", KNN["steps"]), unbroken)
    databases = [
        {path.name: path.read_bytes() for path in (folders / run).glob("checkpoints/knn-*")}
        for run in ("knn-unbroken", "knn-killed")
    ]
    assert databases[0] == databases[1]
    assert "knn-00000030.bin" in databases[0]

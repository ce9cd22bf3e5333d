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
CLOCK = {"tokens_per_second", "waiting", "memory_mb", "search_ms"}


def trained(dataset, folder, kills, *, model="plain", steps=STEPS):
    script = Path(__file__).with_name("killed.py")
    environment = {**os.environ, "PYTHONPATH": str(script.parents[2])}
    command = [sys.executable, script, dataset, folder, steps, model, *kills]
    done = subprocess.run(
        [*map(str, command)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [
        {key: value for key, value in line.items() if key not in CLOCK}
        for line in read_metrics(folder / "metrics.jsonl")
    ]
    return lines, *checkpoint.load(checkpoint.step_file(folder / "checkpoints", steps))


def assert_same(found, expected):
    """Lines, tensors and state that `trained` returned."""
    assert found[0] == expected[0]
    assert found[2] == expected[2]
    assert found[1].keys() == expected[1].keys()
    assert [n for n, tensor in found[1].items() if not torch.equal(tensor, expected[1][n])] == []


def test_a_run_killed_at_twenty_random_steps_ends_bit_for_bit_as_one_that_was_not(
    dataset_folder, tmp_path
):
    random = np.random.default_rng(0)
    steps = np.sort(random.choice(200, 20, replace=False))  # and 200 more steps after the last
    kills = [f"{step}:{random.integers(3)}" for step in steps]
    unbroken = trained(dataset_folder, tmp_path / "unbroken", [])
    killed = trained(dataset_folder, tmp_path / "killed", kills)
    assert unbroken[2]["position"]["epoch"] > 10
    assert_same(killed, unbroken)


def test_so_does_one_with_a_knn_memory_and_its_file_on_disk(dataset_folder, tmp_path):
    kills = ["12:checkpoint", "17:1", "29:2"]
    options = {"model": "knn", "steps": 30}
    unbroken = trained(dataset_folder, tmp_path / "unbroken", [], **options)
    killed = trained(dataset_folder, tmp_path / "killed", kills, **options)
    assert max(line.get("knn_queries", 0) for line in unbroken[0]) > 0
    assert unbroken[2]["knn_seal"]
    assert_same(killed, unbroken)
    databases = [
        {path.name: path.read_bytes() for path in (tmp_path / run).glob("checkpoints/knn-*")}
        for run in ("unbroken", "killed")
    ]
    assert databases[0] == databases[1]
    assert "knn-train-00000030.bin" in databases[0]

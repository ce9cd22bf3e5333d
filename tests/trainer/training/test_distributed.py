"""Two processes that share the lanes train what one process trains."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.distributed import TCPStore

from shards.errors import LakhxlError
from trainer.run import checkpoint
from trainer.training.distributed import Ranks
from trainer.training.metrics_log import read_metrics

from . import shared

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def alone(dataset_folder, tmp_path_factory):
    """Fifty steps of four lanes in one process."""
    folder = tmp_path_factory.mktemp("alone") / "run"
    shared.main(str(dataset_folder), (folder, 50))
    return folder


@pytest.fixture(scope="module")
def by_two(dataset_folder, tmp_path_factory):
    """Two runs of two processes: of fifty steps, and of twenty-three."""
    whole, part = (tmp_path_factory.mktemp(name) / "run" for name in ("whole", "part"))
    command = [sys.executable, shared.__file__, dataset_folder, whole, "50", part, "23"]
    store = TCPStore("localhost", 0, is_master=True, wait_for_workers=False)
    place = {"MASTER_ADDR": store.host, "MASTER_PORT": str(store.port)}
    done = subprocess.run(
        list(map(str, command)),
        cwd=ROOT,
        env={**os.environ, **place, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr
    return whole, part


def assert_equal(one, other):
    """Compare weights, optimizer state, memory and metrics, to 1e-6."""
    (tensors, state), (other_tensors, other_state) = (
        checkpoint.load(checkpoint.step_file(folder / "checkpoints", 50)) for folder in (one, other)
    )
    assert tensors.keys() == other_tensors.keys()
    for name, tensor in tensors.items():
        assert torch.allclose(tensor, other_tensors[name], rtol=0, atol=1e-6), name
    assert state["position"] == other_state["position"]
    metrics, other_metrics = (
        read_metrics(folder / "metrics.jsonl").rows for folder in (one, other)
    )
    assert [line["step"] for line in metrics] == [line["step"] for line in other_metrics]
    for line, other_line in zip(metrics, other_metrics, strict=True):
        assert line.get("loss_nats") == pytest.approx(other_line.get("loss_nats"), abs=1e-6)
        assert line.get("utilisation") == other_line.get("utilisation")


def test_two_ranks_of_two_lanes_train_as_one_of_four(alone, by_two):
    assert_equal(alone, by_two[0])


def test_a_run_resumes_with_another_number_of_ranks(alone, by_two, dataset_folder):
    shared.main(str(dataset_folder), (by_two[1], 50))
    assert_equal(alone, by_two[1])


def test_lanes_that_do_not_divide_evenly_are_refused():
    assert [Ranks(rank, 4).lanes(8) for rank in range(4)] == [
        slice(0, 2), slice(2, 4), slice(4, 6), slice(6, 8)
    ]  # fmt: skip
    train = dataclasses.replace(shared.CONFIG.train, batch_size=8)
    config = dataclasses.replace(shared.CONFIG, train=train)
    Ranks(count=4).check(config)
    with pytest.raises(LakhxlError, match="--set batch_size=9"):
        Ranks(count=3).check(config)
    with_knn = dataclasses.replace(config.model, knn=True)
    with pytest.raises(LakhxlError, match="is trained on one device"):
        Ranks(count=2).check(dataclasses.replace(config, model=with_knn))

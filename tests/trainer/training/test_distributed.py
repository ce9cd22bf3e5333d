"""Two processes that share the lanes train what one process trains."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from shards.errors import LakhxlError
from trainer.config import Config
from trainer.run import checkpoint
from trainer.training.distributed import Ranks
from trainer.training.metrics_log import read_metrics

from . import shared

TWO = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def alone(dataset_folder, tmp_path_factory):
    """Fifty steps of four lanes by one process."""
    folder = tmp_path_factory.mktemp("alone") / "run"
    shared.main(str(dataset_folder), (folder, 50))
    return folder


@pytest.fixture(scope="module")
def by_two(dataset_folder, tmp_path_factory):
    """Two runs of two processes, by gloo: of fifty steps, and of twenty-three."""
    whole, begun = (tmp_path_factory.mktemp(name) / "run" for name in ("whole", "begun"))
    words = [sys.executable, *TWO, shared.__file__, dataset_folder, whole, "50", begun, "23"]
    surroundings = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        list(map(str, words)), cwd=ROOT, env=surroundings, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return whole, begun


def assert_equal(one, other):
    """Weights, optimizer, memory and what was logged, to 1e-6."""
    (first, state), (second, again) = (
        checkpoint.load(checkpoint.step_file(folder / "checkpoints", 50)) for folder in (one, other)
    )
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.allclose(tensor, second[name], rtol=0, atol=1e-6), name
    assert state["position"] == again["position"]
    logged, seen = (read_metrics(folder / "metrics.jsonl") for folder in (one, other))
    assert [line["step"] for line in logged] == [line["step"] for line in seen]
    for line, known in zip(logged, seen, strict=True):
        assert line.get("loss") == pytest.approx(known.get("loss"), abs=1e-6)
        assert line.get("utilisation") == known.get("utilisation")


def test_two_ranks_of_two_lanes_train_as_one_of_four(alone, by_two):
    assert_equal(alone, by_two[0])


def test_a_run_goes_on_with_another_number_of_ranks(alone, by_two, dataset_folder):
    shared.main(str(dataset_folder), (by_two[1], 50))
    assert_equal(alone, by_two[1])


def test_lanes_that_cannot_be_shared_evenly_are_refused():
    assert [Ranks(rank, 4).lanes(8) for rank in range(4)] == [
        slice(0, 2), slice(2, 4), slice(4, 6), slice(6, 8)
    ]  # fmt: skip
    config = Config(model=shared.MODEL, train=dataclasses.replace(shared.TRAIN, batch_size=8))
    Ranks(count=4).check(config)
    with pytest.raises(LakhxlError, match="--set batch_size=9"):
        Ranks(count=3).check(config)
    with_store = dataclasses.replace(config.model, knn=True)
    with pytest.raises(LakhxlError, match="has one device"):
        Ranks(count=2).check(dataclasses.replace(config, model=with_store))

"""The benchmark of a GPU, with toy sizes on a CPU."""

import json

import pytest
import torch
from click.testing import CliRunner

from benchmarks.__main__ import cli
from benchmarks.speed import gpu


@pytest.mark.parametrize("peers", [False, True])
def test_the_benchmark_of_a_gpu_runs_with_toy_sizes_on_a_cpu(
    tmp_path, monkeypatch, dataset_folder, peers
):
    if peers:
        pytest.importorskip("x_transformers")
    kept = [name for name in gpu.TRAININGS if ("x-transformers" in name) == peers]
    monkeypatch.setattr(gpu, "TRAININGS", {name: gpu.TRAININGS[name] for name in kept})
    monkeypatch.setattr(gpu, "GENERATIONS", ((1, 8), (2, 8)))
    monkeypatch.setattr(gpu.devices, "choose_device", lambda name: torch.device("cpu"))
    file = tmp_path / "gpu.json"
    arguments = ["speed", "gpu", str(dataset_folder), "--seconds", "0", "--json", str(file)]
    result = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    figures = json.loads(file.read_text())
    assert list(figures["training"]) == kept
    for name, row in figures["training"].items():
        assert row["tokens_per_second"] == pytest.approx(1000 * 16 / row["ms_per_step"])
        assert f"| {name} | {row['tokens_per_second']:,.0f} |" in result.output
    assert [row["songs"] for row in figures["generation"]] == ([] if peers else [1, 2])


def test_the_benchmark_of_a_gpu_begins_no_model_that_may_end_too_late(monkeypatch, dataset_folder):
    monkeypatch.setattr(gpu, "make_trainer", lambda *_: pytest.fail("begun"))
    result = CliRunner().invoke(cli, ["speed", "gpu", str(dataset_folder), "--limit", "-1"])
    assert result.output.count("left out") == len(gpu.TRAININGS)


def test_time_in_which_two_kernels_run_counts_once():
    assert gpu.covered([(0, 4), (1, 2), (3, 6), (8, 9)]) == 7
    assert gpu.covered([]) == 0

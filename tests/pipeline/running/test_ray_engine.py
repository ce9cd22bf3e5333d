"""Slices on a Ray cluster of two nodes here: the same bytes, and a word on what it does."""

import socket
import sys
import time

import pytest
from click.testing import CliRunner

from pipeline.cli import cli
from pipeline.running import ray_engine
from pipeline.running.execute import execute
from pipeline.running.journal import Journal
from pipeline.running.messages import RunContext, SliceTask
from pipeline.running.pool_settings import PoolSettings
from pipeline.running.prepare import prepare
from pipeline.running.ray_engine import Batch, RayEngine, connected
from tests.pipeline.conftest import SETTINGS

pytest.importorskip("ray", reason="the extra `ray` is not installed")


@pytest.fixture(scope="module")
def cluster():
    """A head node without CPUs, and two nodes with one CPU each; the last test removes one."""
    from ray.cluster_utils import Cluster

    soon = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500}
    head = {"num_cpus": 0, "_system_config": {**soon, "health_check_failure_threshold": 2}}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    yield cluster, nodes
    cluster.shutdown()


def assert_same_bytes(made, dataset) -> None:
    for path in dataset.path.iterdir():
        assert (made.path / path.name).read_bytes() == path.read_bytes(), path.name


def test_a_cluster_in_use_is_waited_for_and_the_user_told(
    demo, dataset, cluster, tmp_path, monkeypatch
):
    monkeypatch.setattr(ray_engine, "WAIT_SECONDS", 1.0)
    cluster, _ = cluster
    run = prepare([demo[0]], tmp_path / "lakh", SETTINGS, restart=False)
    seconds, notes = time.monotonic(), []

    with connected(cluster.address) as ray:
        others = [ray.remote(lambda: time.sleep(600)).remote() for _ in range(2)]
        wait_until_in_use(ray)

        def free_the_cluster(status):
            if status.notes and not notes:
                notes.append((time.monotonic() - seconds, *status.notes))
                for other in others:
                    ray.cancel(other, force=True)

        made = execute(run, PoolSettings(engine="ray"), free_the_cluster)
    assert notes[0][1:] == ("waiting for a free CPU of the Ray cluster, which has 2",)
    assert_same_bytes(made, dataset)


def wait_until_in_use(ray) -> None:
    deadline = time.monotonic() + 60
    while ray_engine._free_cpus_by_node(ray):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_cluster_writes_the_same_bytes_if_a_node_is_lost(demo, dataset, cluster, tmp_path):
    cluster, nodes = cluster
    run = prepare([demo[0]], tmp_path / "lakh", SETTINGS, restart=False)
    statuses = []

    def remove_one_node(status):
        statuses.append(status)
        if len(nodes) == 2 and 0 < status.counts.files < run.files:
            cluster.remove_node(nodes.pop(), allow_graceful=False)

    made = execute(run, PoolSettings(engine="ray", ray_address=cluster.address), remove_one_node)
    assert len(nodes) == 1
    assert statuses[-1].counts.files == run.files
    assert_same_bytes(made, dataset)


def engine_with_a_batch(demo, tmp_path, statuses) -> tuple[RayEngine, SliceTask]:
    """An engine whose node, which is not there, has one slice."""
    run = prepare([demo[0]], tmp_path / "lakh", SETTINGS, restart=False)
    context = RunContext(run.partial, SETTINGS, PoolSettings(engine="ray"))
    engine = RayEngine(context, statuses.append)
    task = context.task(run.slices[1], run.slices[1].files())
    engine._batches.append(Batch("0123456789ab", None, {task.number: task}))
    return engine, task


def test_a_lost_node_is_told_and_its_slices_are_run_again(demo, tmp_path):
    statuses = []
    engine, task = engine_with_a_batch(demo, tmp_path, statuses)
    engine._handle_loss(engine._batches[0])
    engine._show_status()
    (note,) = statuses[-1].notes
    assert note.startswith("a node of the Ray cluster was lost (01234567); its 1 slices go to")
    assert list(engine._retries) == [task]


def test_progress_counts_files_and_names_the_one_that_takes_long(demo, tmp_path):
    statuses = []
    engine, task = engine_with_a_batch(demo, tmp_path, statuses)
    with Journal(task.run.folder, task.number) as journal:
        for index in range(3):
            journal.start_file(index)
            journal.count_kept()
        engine._show_status()
        time.sleep(0.05)
        engine._show_status()
    assert statuses[-1].counts.kept == 2
    seconds, name = statuses[-1].current
    assert 0.05 <= seconds < 5
    assert name == task.files[2].name


def refused(demo, out, address: str) -> str:
    """The error of a run that finds no cluster; it must have left nothing behind."""
    words = ["run", str(demo[0]), "--out", str(out), "--engine", "ray", "--ray-address", address]
    result = CliRunner().invoke(cli, words)
    assert result.exit_code == 1
    assert not out.exists()
    (line,) = result.stderr.splitlines()
    return line


def test_a_cluster_that_is_not_there_is_one_line_before_any_work(demo, tmp_path):
    assert "no Ray cluster at '127.0.0.1:1'" in refused(demo, tmp_path / "out", "127.0.0.1:1")


def test_the_address_of_a_ray_client_server_is_refused(demo, tmp_path):
    line = refused(demo, tmp_path / "out", "ray://127.0.0.1:10001")
    assert "give the cluster's own to --ray-address" in line


def test_a_missing_ray_is_one_line_before_any_work(demo, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert "pip install 'lakhxl[ray]'" in refused(demo, tmp_path / "out", "auto")


def test_a_server_that_does_not_answer_is_given_up_soon(demo, tmp_path, monkeypatch):
    monkeypatch.setattr(ray_engine, "CONNECT_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        line = refused(demo, tmp_path / "out", f"127.0.0.1:{silent.getsockname()[1]}")
    assert "does not answer within 0.5 s" in line


def test_a_cluster_without_any_cpu_is_one_line(demo, tmp_path, monkeypatch):
    monkeypatch.setattr(ray_engine, "_connect", lambda ray, address: None)
    monkeypatch.setattr(ray_engine, "_cpus_by_node", lambda ray: {})
    line = refused(demo, tmp_path / "out", "somewhere:6379")
    assert "no node of the Ray cluster at 'somewhere:6379' has a CPU" in line

"""Slices on a Ray cluster of two nodes on this machine: the same bytes, even if one is lost."""

import pytest

from pipeline.running.execute import execute
from pipeline.running.pool_settings import PoolSettings
from pipeline.running.prepare import prepare
from pipeline.running.worker_processes import PoolError
from tests.pipeline.conftest import SETTINGS

pytest.importorskip("ray", reason="the extra `ray` is not installed")


@pytest.fixture
def cluster():
    """A head node without CPUs, and two nodes with one CPU each."""
    from ray.cluster_utils import Cluster

    soon = {"health_check_initial_delay_ms": 0, "health_check_period_ms": 500}
    head = {"num_cpus": 0, "_system_config": {**soon, "health_check_failure_threshold": 2}}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    yield cluster, nodes
    cluster.shutdown()


def test_a_cluster_writes_the_same_bytes_if_a_node_is_lost(demo, dataset, cluster, tmp_path):
    cluster, nodes = cluster
    run = prepare([demo[0]], tmp_path / "lakh", SETTINGS, restart=False)
    done = []

    def remove_one_node(status):
        done.append(status.counts.files)
        if len(nodes) == 2 and 0 < done[-1] < run.files:
            cluster.remove_node(nodes.pop(), allow_graceful=False)

    made = execute(run, PoolSettings(engine="ray", ray_address=cluster.address), remove_one_node)
    assert len(nodes) == 1
    assert done == sorted(done)
    assert done[-1] == run.files
    for path in dataset.path.iterdir():
        assert (made.path / path.name).read_bytes() == path.read_bytes(), path.name


def test_a_cluster_that_is_not_there_is_one_clear_error(demo, tmp_path):
    run = prepare([demo[0]], tmp_path / "lakh", SETTINGS, restart=False)
    with pytest.raises(PoolError, match="no Ray cluster at"):
        execute(run, PoolSettings(engine="ray", ray_address="127.0.0.1:1"))

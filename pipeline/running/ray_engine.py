"""Run slices on the nodes of a Ray cluster, in a folder that all nodes share.

A node gets a batch of slices at a time and runs them as a single machine runs all of them, with
the same pool, limits and suspects (see `pool`): whatever a file does to its worker stays on that
node. Slices are independent, so any node can run any of them. A lost node costs at most its
batch: what it has published counts, and the rest goes to other nodes. Nodes that join later get
batches too.

Only tasks are sent: each node reads the sources and writes the unfinished dataset itself.
"""

import contextlib
import logging
import socket
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from pipeline.running.feed import Feed
from pipeline.running.fragments import published_counts
from pipeline.running.messages import RunContext, SliceTask
from pipeline.running.pool import SlicePool
from pipeline.running.quarantine import read_quarantine
from pipeline.running.status import FileCounts, RunStatus
from pipeline.running.worker_processes import PoolError
from pipeline.sources.listing import Slice
from shards.python_process import ROOT, child_environment

POLL_SECONDS = 0.5
CONNECT_SECONDS = 10.0
COOLDOWN_SECONDS = 10.0
"""A node that was lost gets nothing for this long; Ray may not have noticed the loss yet."""
VISIBLE_SECONDS = 60.0
"""Published slices must be visible here within this time; network file systems cache."""
NO_NODE_SECONDS = 120.0
"""The run gives up after this long without a node."""
MAX_LOSSES = 3
"""The run gives up when this many nodes were lost with the same slice."""
SLICES_PER_CPU = 16
"""Largest batch per CPU of a node, about ten seconds of work; batches shrink near the end."""


def run_batch(tasks: Sequence[SliceTask], context: RunContext) -> None:
    """Run a batch of slices on this node until all are published.

    Raises:
        PoolError: as from the pool.
    """
    if not context.folder.is_dir():
        raise PoolError(
            f"{context.folder} is not on this node: all nodes must share it under this name"
        )
    SlicePool(context, lambda status: None).run(tasks)


@dataclass
class Batch:
    """The slices that one node is running.

    Attributes:
        node: Ray's id of the node.
        future: Ray's.
        tasks: by slice number, those not yet seen published.
        ended: when the node said that it was done; None before.
    """

    node: str
    future: Any
    tasks: dict[int, SliceTask]
    ended: float | None = None


class RayEngine:
    """Runs slices on the nodes of a Ray cluster.

    Args:
        context: of the run; its folder is on a file system that all nodes share, and its number
            of workers is the maximum per node.
        on_status: called with how far the run is.
        earlier: counts of the files processed before this call.
    """

    def __init__(
        self,
        context: RunContext,
        on_status: Callable[[RunStatus], None],
        earlier: FileCounts | None = None,
    ) -> None:
        # A node's processes start in another working directory.
        self._context = replace(context, folder=context.folder.resolve())
        self._settings, self._on_status = context.pool_settings, on_status
        self._status = RunStatus(earlier or FileCounts())
        self._losses: Counter[int] = Counter()
        self._cooling_until: dict[str, float] = {}
        self._retries: deque[SliceTask] = deque()
        self._batches: list[Batch] = []

    def run(self, slices: Sequence[Slice]) -> FileCounts:
        """Run every slice; returns when all are published.

        Returns:
            Counts of all files processed, earlier calls included.

        Raises:
            PoolError: no cluster, no node, or an error that ends the run on a node.
            KeyboardInterrupt: passed on once the nodes are stopped.
        """
        with _connected(self._settings.ray_address) as ray:
            max_bytes = self._settings.spool_limit * 1_000_000
            max_slices = 2 * SLICES_PER_CPU * sum(_cpus_by_node(ray).values())
            try:
                with Feed(
                    slices, self._context, max_bytes=max_bytes, max_slices=max_slices
                ) as feed:
                    self._run_until_published(ray, feed, len(slices))
            finally:
                for batch in self._batches:
                    ray.cancel(batch.future, force=True)
        return self._status.counts

    def _run_until_published(self, ray: Any, feed: Feed, left: int) -> None:
        last_seen = time.monotonic()
        while left:
            nodes = _cpus_by_node(ray)
            last_seen = time.monotonic() if nodes else last_seen
            if time.monotonic() - last_seen > NO_NODE_SECONDS:
                raise PoolError("no node of the Ray cluster is left; what is done is kept")
            busy = {batch.node for batch in self._batches if batch.ended is None}
            for node, cpus in nodes.items():
                if node not in busy and self._cooling_until.get(node, 0.0) < time.monotonic():
                    self._start_batch(ray, feed, node, cpus, -(-left // (2 * len(nodes))))
            futures = [batch.future for batch in self._batches if batch.ended is None]
            if futures:
                ray.wait(futures, timeout=POLL_SECONDS)
            else:
                time.sleep(POLL_SECONDS)
            for batch in list(self._batches):
                left -= self._check(ray, feed, batch)
            self._on_status(self._status)

    def _start_batch(self, ray: Any, feed: Feed, node: str, cpus: int, max_tasks: int) -> None:
        """Give a node some slices, if any are ready."""
        workers = min(cpus, self._settings.workers or cpus)
        tasks: dict[int, SliceTask] = {}
        while len(tasks) < min(workers * SLICES_PER_CPU, max_tasks):
            task = self._retries.popleft() if self._retries else feed.take()
            if task is None:
                break
            tasks[task.number] = task
        if not tasks:
            return
        affinity = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node, soft=False)
        remote_batch = ray.remote(run_batch).options(
            num_cpus=workers, max_retries=0, scheduling_strategy=affinity
        )
        settings = replace(self._settings, workers=workers, engine="processes")
        context = replace(self._context, pool_settings=settings)
        future = remote_batch.remote(list(tasks.values()), context)
        self._batches.append(Batch(node, future, tasks))

    def _check(self, ray: Any, feed: Feed, batch: Batch) -> int:
        """Check on a batch; returns how many slices were published since the last check."""
        lost = False
        if batch.ended is None and ray.wait([batch.future], timeout=0)[0]:
            try:
                ray.get(batch.future)
                batch.ended = time.monotonic()
            except ray.exceptions.RayTaskError as error:
                raise PoolError(str(error.cause)) from error
            except ray.exceptions.RayError:
                lost = True
        published = self._count_published(feed, batch)
        if lost:
            self._handle_loss(batch)
        elif batch.ended is not None and not batch.tasks:
            self._batches.remove(batch)
        elif batch.ended is not None and time.monotonic() - batch.ended > VISIBLE_SECONDS:
            raise PoolError(
                f"slice {min(batch.tasks)} was published on a node but is not visible in "
                f"{self._context.folder}: all nodes must share it"
            )
        return published

    def _count_published(self, feed: Feed, batch: Batch) -> int:
        """Count each published slice once: it is then removed from the batch."""
        published = 0
        for number in list(batch.tasks):
            counts = published_counts(self._context.folder, number)
            if counts is not None:
                self._status.counts += counts
                feed.done(number)
                del batch.tasks[number]
                published += 1
        return published

    def _handle_loss(self, batch: Batch) -> None:
        """A node, or its process, is gone: give the unpublished slices to other nodes."""
        self._cooling_until[batch.node] = time.monotonic() + COOLDOWN_SECONDS
        self._batches.remove(batch)
        for number, task in batch.tasks.items():
            self._losses[number] += 1
            if self._losses[number] >= MAX_LOSSES:
                raise PoolError(f"slice {number} was on {MAX_LOSSES} nodes that were lost")
            quarantined = read_quarantine(self._context.folder, number, self._settings.limits)
            self._retries.append(replace(task, quarantined=quarantined))


def _cpus_by_node(ray: Any) -> dict[str, int]:
    """CPUs of each node that is alive and has any."""
    return {
        node["NodeID"]: int(node["Resources"]["CPU"])
        for node in ray.nodes()
        if node["Alive"] and "CPU" in node["Resources"]
    }


@contextmanager
def _connected(address: str) -> Iterator[Any]:
    """Connect to a running Ray cluster; gives the module `ray`."""
    try:
        import ray
        import ray.util.scheduling_strategies
    except ImportError:
        raise PoolError("--engine ray needs Ray: pip install 'lakhxl[ray]'") from None
    try:
        if address.count(":") == 1:  # Ray itself would try for minutes
            host, _, port = address.partition(":")
            socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()
        with contextlib.chdir(ROOT):  # Ray puts the current folder on its workers' import path
            ray.init(
                address=address,
                log_to_driver=False,
                logging_level=logging.ERROR,
                runtime_env={"env_vars": child_environment()},
            )
    except (OSError, RuntimeError, ValueError) as error:
        raise PoolError(
            f"no Ray cluster at {address!r} ({error}): start one with `ray start --head`, or name "
            "one with --ray-address"
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()

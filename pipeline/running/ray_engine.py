"""Slices on the nodes of a Ray cluster, over a folder that all of them share.

A node gets a batch of slices at a time and runs them as one machine runs all of them, with the
same pool, limits and suspects (see `pool`): whatever a file does to its worker stays on its node.
Slices do not depend on one another, so any node may run any of them, and a node that is
lost costs no more than its batch: what it has published counts, the rest is another node's. Nodes
that join take part from then on.

Nothing but jobs travels: each node reads the sources and writes the unfinished dataset itself.
"""

import socket
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from pipeline.running.entry import begin_slice
from pipeline.running.feed import Feed
from pipeline.running.pool import SlicePool
from pipeline.running.pool_settings import PoolSettings
from pipeline.running.processes import PoolError
from pipeline.running.status import Status, published
from pipeline.running.tasks import SliceJob, read_verdicts
from pipeline.sources.listing import Slice, SourceFile

LOOK_SECONDS = 0.5
CONNECT_SECONDS = 10.0
REST_SECONDS = 10.0
"""How long a node that failed is given nothing: the cluster may not have noticed yet."""
LANDING_SECONDS = 60.0
"""How long what a node has published may take to be seen here: network file systems cache."""
NOBODY_SECONDS = 120.0
"""Without a single node, after which the run gives up."""
MOST_LOSSES = 3
"""Nodes lost with the same slice, after which the run gives up."""
BATCH = 16
"""Slices for each processor of a node at a time, some ten seconds of work; fewer near the end."""


@dataclass(frozen=True)
class ReadySlice:
    """A slice whose job is made, for a pool on a node."""

    job: SliceJob
    streamed: ClassVar[bool] = False

    @property
    def number(self) -> int:
        """Of the slice."""
        return self.job.number

    def files(self) -> Sequence[SourceFile]:
        """Its files; there is nothing to unpack."""
        return self.job.files


def run_batch(jobs: Sequence[SliceJob], folder: Path, how: PoolSettings) -> None:
    """What a node does: run the slices of some jobs until all are published.

    Raises:
        PoolError: as the pool does.
    """
    if not folder.is_dir():
        raise PoolError(f"{folder} is not on this node: all nodes must share it, by this name")
    pool = SlicePool(
        folder, how, lambda status: None, lambda slice_, files: slice_.job, begin_slice
    )
    pool.run([ReadySlice(job) for job in jobs])


@dataclass
class Batch:
    """What a node is at.

    Attributes:
        future: Ray's.
        jobs: by slice number, those not yet seen published.
        ended: when the node said that all are; None before.
    """

    node: str
    future: Any
    jobs: dict[int, SliceJob]
    ended: float | None = None


class RayCluster:
    """The nodes of a Ray cluster, each with the batch it is at.

    Args:
        folder: the unfinished dataset, on a file system that all nodes share.
        how: workers, at most, on each node, and their limits.
        watch: called with how far the run has come.
        job: makes a slice and its files into a job.
        earlier: what was done before this call.
    """

    def __init__(
        self,
        folder: Path,
        how: PoolSettings,
        watch: Callable[[Status], None],
        job: Callable[[Slice, Sequence[SourceFile]], SliceJob],
        earlier: Status | None = None,
    ) -> None:
        self._folder, self._how, self._watch, self._job = folder.resolve(), how, watch, job
        self._status = earlier or Status()
        self._losses: Counter[int] = Counter()
        self._resting: dict[str, float] = {}
        self._again: deque[SliceJob] = deque()
        self._batches: list[Batch] = []

    def run(self, slices: Sequence[Slice]) -> None:
        """Run every slice; returns when all are published.

        Raises:
            PoolError: no cluster, no node, or what a node's pool cannot go on from.
            KeyboardInterrupt: as it came; the nodes are stopped first.
        """
        with _connected(self._how.ray_address) as ray:
            most = 2 * BATCH * sum(_nodes(ray).values())
            limits = {"most_bytes": self._how.spool_limit * 1_000_000, "most_slices": most}
            try:
                with Feed(slices, self._absolute_job, self._folder, **limits) as feed:
                    self._until_published(ray, feed, len(slices))
            finally:
                for batch in self._batches:
                    ray.cancel(batch.future, force=True)

    def _until_published(self, ray: Any, feed: Feed, left: int) -> None:
        last_seen = time.monotonic()
        while left:
            nodes = _nodes(ray)
            last_seen = time.monotonic() if nodes else last_seen
            if time.monotonic() - last_seen > NOBODY_SECONDS:
                raise PoolError("no node of the Ray cluster is left; what is done is kept")
            busy = {batch.node for batch in self._batches if batch.ended is None}
            for node, processors in nodes.items():
                if node not in busy and self._resting.get(node, 0.0) < time.monotonic():
                    self._begin(ray, feed, node, processors, -(-left // (2 * len(nodes))))
            futures = [batch.future for batch in self._batches if batch.ended is None]
            if futures:
                ray.wait(futures, timeout=LOOK_SECONDS)
            else:
                time.sleep(LOOK_SECONDS)
            for batch in list(self._batches):
                left -= self._look_at(ray, feed, batch)
            self._watch(self._status)

    def _begin(self, ray: Any, feed: Feed, node: str, processors: int, share: int) -> None:
        """Give a node some slices, where there are any."""
        workers = min(processors, self._how.workers or processors)
        jobs: dict[int, SliceJob] = {}
        while len(jobs) < min(workers * BATCH, share):
            job = self._again.popleft() if self._again else feed.take()
            if job is None:
                break
            jobs[job.number] = job
        if not jobs:
            return
        affinity = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node, soft=False)
        there = ray.remote(run_batch).options(
            num_cpus=workers, max_retries=0, scheduling_strategy=affinity
        )
        how = replace(self._how, workers=workers, engine="processes")
        future = there.remote(list(jobs.values()), self._folder, how)
        self._batches.append(Batch(node, future, jobs))

    def _look_at(self, ray: Any, feed: Feed, batch: Batch) -> int:
        """Count what of a batch is published since the last look; the slices that are new."""
        lost = False
        if batch.ended is None and ray.wait([batch.future], timeout=0)[0]:
            try:
                ray.get(batch.future)
                batch.ended = time.monotonic()
            except ray.exceptions.RayTaskError as error:
                raise PoolError(str(error.cause)) from error
            except ray.exceptions.RayError:
                lost = True
        seen = self._count_published(feed, batch)
        if lost:
            self._lose(batch)
        elif batch.ended is not None and not batch.jobs:
            self._batches.remove(batch)
        elif batch.ended is not None and time.monotonic() - batch.ended > LANDING_SECONDS:
            raise PoolError(
                f"slice {min(batch.jobs)} was published on a node and is not to be seen in "
                f"{self._folder}: all nodes must share it"
            )
        return seen

    def _count_published(self, feed: Feed, batch: Batch) -> int:
        """Each slice counts once: what has counted is no longer among the batch's jobs."""
        seen = 0
        for number in list(batch.jobs):
            progress = published(self._folder, number)
            if progress is not None:
                self._status.count(progress)
                feed.done(number)
                del batch.jobs[number]
                seen += 1
        return seen

    def _lose(self, batch: Batch) -> None:
        """A node is gone, or its process: what it has not published goes to another one."""
        self._resting[batch.node] = time.monotonic() + REST_SECONDS
        self._batches.remove(batch)
        for number, job in batch.jobs.items():
            self._losses[number] += 1
            if self._losses[number] >= MOST_LOSSES:
                raise PoolError(f"slice {number} was on {MOST_LOSSES} nodes that were lost")
            verdicts = read_verdicts(self._folder, number, self._how.limits)
            self._again.append(replace(job, condemned=verdicts))

    def _absolute_job(self, slice_: Slice, files: Sequence[SourceFile]) -> SliceJob:
        """A job that means the same in whatever folder a node's processes start."""
        files = [replace(file, path=str(Path(file.path).absolute())) for file in files]
        job = self._job(slice_, files)
        roots = [root.absolute() for root in job.roots]
        return replace(job, folder=self._folder, roots=roots)


def _nodes(ray: Any) -> dict[str, int]:
    """Processors of each node that is alive and has any."""
    alive = [node for node in ray.nodes() if node["Alive"]]
    return {
        node["NodeID"]: int(node["Resources"]["CPU"])
        for node in alive
        if "CPU" in node["Resources"]
    }


@contextmanager
def _connected(address: str) -> Iterator[Any]:
    """Ray, connected to a cluster that runs already."""
    try:
        import ray
        import ray.util.scheduling_strategies
    except ImportError:
        raise PoolError("--engine ray needs Ray: pip install 'lakhxl[ray]'") from None
    try:
        if address.count(":") == 1:  # Ray itself would try for minutes
            host, _, port = address.partition(":")
            socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()
        ray.init(address=address, log_to_driver=False, logging_level="error")
    except (OSError, RuntimeError, ValueError) as error:
        raise PoolError(
            f"no Ray cluster at {address!r} ({error}): start one with `ray start --head`, or name "
            "one with --ray-address"
        ) from error
    try:
        yield ray
    finally:
        ray.shutdown()

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
import os
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from pipeline.running.feed import Feed
from pipeline.running.fragments import published_counts
from pipeline.running.journal import JournalEntry, journal_path, read_journal
from pipeline.running.messages import RunContext, SliceTask
from pipeline.running.pool import SlicePool
from pipeline.running.quarantine import read_quarantine
from pipeline.running.status import FileCounts, RunStatus
from pipeline.running.worker_processes import PoolError
from pipeline.sources.listing import Slice
from shards.python_process import ROOT, child_environment

POLL_SECONDS = 0.5
CONNECT_SECONDS = 7.0
"""For the cluster to answer; Ray itself would try for 40 seconds to 2 minutes."""
WAIT_SECONDS = 5.0
"""The user is told that no CPU is free once none has been for this long."""
START_SECONDS = 30.0
"""The same once a batch that was given out has not started for this long."""
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
        self._entries: dict[int, tuple[JournalEntry, float]] = {}  # by slice; when it last changed
        self._waiting_since: float | None = None

    def run(self, slices: Sequence[Slice]) -> FileCounts:
        """Run every slice; returns when all are published.

        Returns:
            Counts of all files processed, earlier calls included.

        Raises:
            PoolError: no cluster, no node, or an error that ends the run on a node.
            KeyboardInterrupt: passed on once the nodes are stopped.
        """
        with connected(self._settings.ray_address) as ray:
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
            free = _free_cpus_by_node(ray)
            for node, cpus in free.items():
                cool = self._cooling_until.get(node, 0.0) < time.monotonic()
                if node in nodes and node not in busy and cool:
                    self._start_batch(ray, feed, node, cpus, -(-left // (2 * len(nodes))))
            futures = [batch.future for batch in self._batches if batch.ended is None]
            if futures:
                ray.wait(futures, timeout=POLL_SECONDS)
            else:
                time.sleep(POLL_SECONDS)
            for batch in list(self._batches):
                left -= self._check(ray, feed, batch)
            self._show_status()
            self._note_waiting(sum(nodes.values()), bool(free))

    def _show_status(self) -> None:
        """Report what is published, and what the journals of the other slices say."""
        status, now = replace(self._status), time.monotonic()
        for batch in self._batches:
            for number, task in batch.tasks.items():
                entry = read_journal(self._context.folder, number)
                if entry != self._entries.get(number, (None, 0.0))[0]:
                    self._entries[number] = entry, now
                status.counts += entry.counts
                if 0 <= entry.file_index < len(task.files):
                    seconds = now - self._entries[number][1]
                    name = task.files[entry.file_index].name
                    status.current = max(status.current, (seconds, name))
        self._on_status(status)

    def _note_waiting(self, cpus: int, any_free: bool) -> None:
        """Tell the user, once, if nothing runs for lack of a CPU."""
        now = time.monotonic()
        numbers = [number for batch in self._batches for number in batch.tasks]
        runs = any(self._entries[number][0].process for number in numbers)
        if runs or any_free or self._waiting_since is None:
            self._waiting_since = now
        elif now - self._waiting_since > (START_SECONDS if numbers else WAIT_SECONDS):
            self._note(f"waiting for a free CPU of the Ray cluster, which has {cpus}")
            self._waiting_since = float("inf")

    def _note(self, text: str) -> None:
        self._status.notes = (*self._status.notes, text)

    def _start_batch(self, ray: Any, feed: Feed, node: str, cpus: int, max_tasks: int) -> None:
        """Give a node some slices, if any are ready."""
        workers = min(cpus, self._settings.workers or cpus)
        tasks: dict[int, SliceTask] = {}
        while len(tasks) < min(workers * SLICES_PER_CPU, max_tasks):
            task = self._retries.popleft() if self._retries else feed.take()
            if task is None:
                break
            tasks[task.number] = task
            self._entries.pop(task.number, None)
            journal_path(self._context.folder, task.number).unlink(missing_ok=True)
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
        self._note(
            f"a node of the Ray cluster was lost ({batch.node[:8]}); its {len(batch.tasks)} slices "
            "go to other nodes"
        )
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
        if node["Alive"] and node["Resources"].get("CPU", 0) >= 1
    }


def _free_cpus_by_node(ray: Any) -> dict[str, int]:
    """CPUs of each node that nobody uses; Ray has no public function for that."""
    resources = ray._private.state.available_resources_per_node()
    cpus = {node: int(free.get("CPU", 0)) for node, free in resources.items()}
    return {node: free for node, free in cpus.items() if free}


@contextmanager
def connected(address: str) -> Iterator[Any]:
    """Connect to a running Ray cluster, unless that is done; gives the module `ray`.

    Raises:
        PoolError: there is no Ray here, or no cluster that can be used.
    """
    try:
        import ray
        import ray.util.scheduling_strategies
    except ImportError:
        raise PoolError("--engine ray needs Ray: pip install 'lakhxl[ray]'") from None
    if ray.is_initialized():
        yield ray
        return
    _connect(ray, address)
    try:
        if not _cpus_by_node(ray):
            raise PoolError(
                f"no node of the Ray cluster at {address!r} has a CPU: start one with `ray start "
                "--address HEAD:6379`"
            )
        yield ray
    finally:
        ray.shutdown()


def _connect(ray: Any, address: str) -> None:
    """Connect within CONNECT_SECONDS."""
    place = (os.environ.get("RAY_ADDRESS") or address) if address == "auto" else address
    if "://" in place:
        raise PoolError(
            f"{place} is the address of a Ray Client server: give the cluster's own to "
            "--ray-address, as HEAD:6379"
        )
    errors: list[Exception | None] = []

    def connect() -> None:
        try:
            if place.count(":") == 1:
                host, _, port = place.partition(":")
                socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()
            ray.init(
                address=place,
                log_to_driver=False,
                logging_level=logging.ERROR,
                runtime_env={"env_vars": child_environment()},
            )
            errors.append(None)
        except Exception as error:  # noqa: BLE001 (raised below)
            errors.append(error)

    thread = threading.Thread(target=connect, daemon=True)  # Ray cannot be told when to give up
    with contextlib.chdir(ROOT):  # Ray puts the current folder on its workers' import path
        thread.start()
        thread.join(CONNECT_SECONDS)
    if not errors:
        raise PoolError(
            f"the Ray cluster at {place!r} does not answer within {CONNECT_SECONDS:g} s: is it "
            f"running, and with this Ray, {ray.__version__}?"
        )
    (error,) = errors
    if error is not None:
        why = " ".join(str(error).split()) or type(error).__name__
        raise PoolError(
            f"no Ray cluster at {place!r} ({why}): start one with `ray start --head`, or name one "
            "with --ray-address"
        ) from error

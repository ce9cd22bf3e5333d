"""Train one model in several processes, each with its own lanes and its own device.

Rank r of N plays lanes r·B/N to (r + 1)·B/N of every batch and keeps their memory. The ranks
exchange sums only: of gradients, of targets, of what is logged. Weights are never sent: all ranks
initialize them alike and update them by the same gradient.

`torchrun` numbers the processes by environment variables; `trainer fit --devices N` runs itself
under `torchrun`.

Source:
    https://pytorch.org/docs/stable/elastic/run.html, the variables.
"""

import importlib
import logging
import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NoReturn

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from shards.console import STOPPED
from shards.errors import LakhxlError
from shards.python_process import child_environment, environment
from trainer.config import Config

FAILED = "failed"
"""Key of the process group's store: how many processes have failed."""


@dataclass(frozen=True)
class Ranks:
    """This process among those that train together.

    Attributes:
        rank: number of this process, from 0.
        count: how many processes there are.
    """

    rank: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this is the process that prints and writes the run folder."""
        return self.rank == 0

    def check(self, config: Config) -> None:
        """Refuse a configuration that this many processes cannot train.

        Raises:
            LakhxlError: it has a kNN memory, or lanes that do not divide evenly.
        """
        if self.count > 1 and config.model.knn:
            raise LakhxlError("a kNN memory is trained on one device: leave --devices out")
        lanes, groups = config.train.batch_size, self.count * config.train.accumulate
        if lanes % groups:
            possible = -(-lanes // groups) * groups
            raise LakhxlError(
                f"{self.count} devices with accumulate={config.train.accumulate} cannot share "
                f"batch_size={lanes} lanes evenly: use --set batch_size={possible}"
            )

    def lanes(self, batch_size: int) -> slice:
        """This rank's lanes out of `batch_size`."""
        share = batch_size // self.count
        return slice(self.rank * share, (self.rank + 1) * share)

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum over all ranks, the same on each; with one rank, the tensor itself."""
        if self.count > 1:
            tensor = tensor.clone()
            dist.all_reduce(tensor)
        return tensor

    def sum_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Replace each parameter's gradient by its sum over all ranks; a missing one is 0."""
        if self.count == 1:
            return
        gradients = []
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
            gradients.append(parameter.grad)
        flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
        dist.all_reduce(flat)
        sums = flat.split([gradient.numel() for gradient in gradients])
        for gradient, summed in zip(gradients, sums, strict=True):
            gradient.copy_(summed.view_as(gradient))

    def any(self, flag: bool) -> bool:
        """Whether the flag is set on any rank; the same answer on each."""
        if self.count == 1:
            return flag
        highest = torch.tensor(int(flag))
        dist.all_reduce(highest, dist.ReduceOp.MAX)
        return bool(highest)

    def gather_lanes(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Join each tensor of this rank's lanes (first dimension) with those of the other ranks.

        Returns:
            On the CPU of the first rank; the other ranks get an empty dict.
        """
        if self.count == 1:
            return dict(tensors)
        gathered = {}
        for name, tensor in tensors.items():
            local = tensor.cpu().contiguous()
            parts = [torch.empty_like(local) for _ in range(self.count)] if self.is_first else None
            dist.gather(local, parts)
            if parts:
                gathered[name] = torch.cat(parts)
        return gathered

    def barrier(self) -> None:
        """Wait until every rank has called this."""
        if self.count > 1:
            dist.barrier()


def under_torchrun() -> bool:
    """Whether `torchrun` started this process as one of several."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def check_devices(devices: int, device: str | None) -> None:
    """Refuse more devices than this machine has.

    Raises:
        LakhxlError: there are fewer GPUs, and the user did not ask for processes on the CPU.
    """
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if devices > gpus and device != "cpu":
        raise LakhxlError(
            f"--devices {devices}: this machine has {gpus} GPUs that torch can use; add "
            "--device cpu to train in as many processes on its CPU"
        )


def run_under_torchrun(devices: int) -> NoReturn:
    """Run this command in `devices` processes; exit with the status of the first that failed.

    torchrun's own account of a process that failed is left out: that process has said why.
    """
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import main

    logging.disable()
    options = ["--standalone", f"--nproc-per-node={devices}"]
    try:
        with environment(child_environment()):
            main([*options, "-m", "--", "trainer", *sys.argv[1:]])
    except ChildFailedError as error:
        _, failure = error.get_first_failure()
        sys.exit(failure.exitcode if failure.exitcode > 0 else 128 - failure.exitcode)
    except SignalException as stopped:  # passed on to all processes, which have saved
        sys.exit(STOPPED if stopped.sigval == signal.SIGINT else 128 + stopped.sigval)
    sys.exit(0)


@contextmanager
def process_group(device: str | None) -> Iterator[tuple[Ranks, str | None]]:
    """Join the process group of `torchrun`, if it started this process, and leave it at the end.

    NCCL carries GPU tensors, gloo CPU tensors. Keep no reference to the group: gloo's threads end
    with it, and one that is alive when Python shuts down can abort the process.

    Args:
        device: as the user named it; with several GPUs each process takes its own.

    Yields:
        This process's ranks, and the name of its device.

    Raises:
        LakhxlError: as raised in the block, by the first process that does. The others, which had
            the same error or lost this process while they waited for it, exit with status 1.
    """
    if not under_torchrun():
        yield Ranks(), device
        return
    # This module's default arguments hold the group that exists when it is imported, and the
    # first step of an optimizer imports it: import it before there is a group.
    importlib.import_module("torch.distributed.nn.functional")
    on_gpu = (device or "cuda") == "cuda" and torch.cuda.is_available()
    if on_gpu:
        check_devices(int(os.environ["LOCAL_RANK"]) + 1, device)
        device = f"cuda:{os.environ['LOCAL_RANK']}"
        torch.cuda.set_device(device)
    store, rank, count = next(rendezvous("env://"))
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if on_gpu else "gloo",
        store=PrefixStore("group", store),
        rank=rank,
        world_size=count,
    )
    try:
        yield Ranks(rank, count), device or "cpu"
    except (LakhxlError, OSError):
        if store.add(FAILED, 1) > 1:  # another process has said why
            sys.exit(1)
        raise
    except RuntimeError as error:
        if not isinstance(error, dist.DistError) and "peer" not in str(error):
            raise
        if store.add(FAILED, 1) > 1:
            sys.exit(1)
        raise LakhxlError(
            "another process of this training was killed or crashed: add --resume to go on from "
            "the last checkpoint"
        ) from error
    finally:
        dist.destroy_process_group()

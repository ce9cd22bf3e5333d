"""Several processes that train one model, each on its own lanes and its own device.

Rank r of N plays lanes r·B/N to (r + 1)·B/N of every batch; its memory stays with it. What the
ranks share is sums: of gradients, of targets, of what is logged. Weights are never sent: all ranks
draw the same, and change them by the same gradient.

`torchrun` says who is who by environment variables, and `trainer fit --devices N` is `torchrun`.

Source:
    https://pytorch.org/docs/stable/elastic/run.html, the variables.
"""

import importlib
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NoReturn

import torch
import torch.distributed as dist
from torch import Tensor, nn

from shards.errors import LakhxlError
from trainer.config import Config


@dataclass(frozen=True)
class Ranks:
    """This process among those that train together.

    Attributes:
        rank, count: which, of how many.
    """

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and speaks."""
        return self.rank == 0

    def check(self, config: Config) -> None:
        """Refuse a training that so many processes cannot share.

        Raises:
            LakhxlError: it has a kNN memory, or lanes that cannot be shared out evenly.
        """
        if self.count > 1 and config.model.knn:
            raise LakhxlError("a training with a kNN memory has one device: leave --devices out")
        lanes, groups = config.train.batch_size, self.count * config.train.accumulate
        if lanes % groups:
            raise LakhxlError(
                f"batch is {lanes} lanes, which {self.count} devices with accumulate="
                f"{config.train.accumulate} cannot share evenly: --set batch_size="
                f"{-(-lanes // groups) * groups} can be"
            )

    def lanes(self, lanes: int) -> slice:
        """Which of so many lanes are this rank's."""
        share = lanes // self.count
        return slice(self.rank * share, (self.rank + 1) * share)

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum over all ranks, the same on each; where one trains, the tensor itself."""
        if self.count > 1:
            tensor = tensor.clone()
            dist.all_reduce(tensor)
        return tensor

    def sum_gradients(self, weights: Sequence[nn.Parameter]) -> None:
        """Replace each weight's gradient by its sum over all ranks; none counts as 0."""
        if self.count == 1:
            return
        for weight in weights:
            if weight.grad is None:
                weight.grad = torch.zeros_like(weight)
        gradients = [weight.grad for weight in weights]
        together = torch.cat([gradient.reshape(-1) for gradient in gradients])
        dist.all_reduce(together)
        parts = together.split([gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    def any(self, said: bool) -> bool:
        """Whether it is so on any rank; the same on each."""
        if self.count == 1:
            return said
        flag = torch.tensor(int(said))
        dist.all_reduce(flag, dist.ReduceOp.MAX)
        return bool(flag)

    def gather_lanes(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Tensors of this rank's lanes, lanes first, to those of all; on the first rank, CPU.

        Other ranks get nothing.
        """
        if self.count == 1:
            return dict(tensors)
        gathered = {}
        for name, tensor in tensors.items():
            local = tensor.cpu().contiguous()
            parts = [torch.empty_like(local) for _ in range(self.count)] if self.first else None
            dist.gather(local, parts)
            if parts:
                gathered[name] = torch.cat(parts)
        return gathered

    def meet(self) -> None:
        """Wait until all ranks have come so far."""
        if self.count > 1:
            dist.barrier()


def launched() -> bool:
    """Whether this process is one of several that `torchrun` started."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def launch(devices: int) -> NoReturn:
    """Become `torchrun` with this very command, in so many processes on this machine."""
    words = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={devices}"]
    os.execv(sys.executable, [sys.executable, *words, "-m", "--", "trainer", *sys.argv[1:]])


@contextmanager
def joined(device: str | None) -> Iterator[tuple[Ranks, str | None]]:
    """Meet the other processes, where there are any.

    One group carries what lies on GPUs by NCCL, and what lies on CPUs by gloo. None may keep it
    longer: gloo's threads end with it, and one that lives when Python shuts down can abort that.

    Args:
        device: as the user named it; of several GPUs each process takes its own.

    Yields:
        Who this is, and the name of its device.
    """
    if not launched():
        yield Ranks(), device
        return
    # Default arguments there are the group that there is when it is imported, as optimizers do.
    importlib.import_module("torch.distributed.nn.functional")
    on_gpu = (device or "cuda") == "cuda" and torch.cuda.is_available()
    if on_gpu:
        device = f"cuda:{os.environ['LOCAL_RANK']}"
        torch.cuda.set_device(device)
    dist.init_process_group("cpu:gloo,cuda:nccl" if on_gpu else "gloo")
    try:
        yield Ranks(dist.get_rank(), dist.get_world_size()), device or "cpu"
    finally:
        dist.destroy_process_group()

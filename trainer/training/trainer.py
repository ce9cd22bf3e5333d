"""One training: what a step changes, how it is validated, and how all of it is saved.

Everything that a step depends on is in `Trainer.tensors` and `Trainer.state`; random numbers are
keyed by (seed, step) and drawn anew in each step, so there is no generator to save, and nothing
between two steps can disturb them.
"""

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from shards import settings
from shards.errors import LakhxlError
from trainer import device as devices
from trainer.config import Config
from trainer.data.batches import IGNORED, Batch, Blocks, once
from trainer.data.prefetch import Loader
from trainer.data.sampler import ContiguousBatchSampler
from trainer.data.selection import select
from trainer.model.knn import file as knn_file
from trainer.model.knn import store as knn
from trainer.model.loss import (
    LossSums,
    TokenLosses,
    add,
    loss_by_position,
    sum_losses,
    token_losses,
)
from trainer.model.memory import Memory, join_lanes, load_memory, memory_tensors, split_lanes
from trainer.model.transformer import TransformerXL
from trainer.run import checkpoint
from trainer.training import optimizers as optim
from trainer.training import reverse_teacher_forcing as rtf
from trainer.training.distributed import Ranks


class Trainer:
    """A model in training on one dataset.

    Args:
        dataset: as `shards.open_dataset` gives it.
        config: settings; the model's already fitted to the vocabulary.
        device: where to train.
        ranks: this process among those that train the model together.

    Attributes:
        step: steps done.
        epoch: the epoch of the next step; some lanes may be in the one after.
        gradient: 2-norm of the last step's gradient before clipping, scalar tensor.
        update: 2-norm of the last change of the weights that was measured, scalar tensor.

    Raises:
        LakhxlError: a split has no songs, or fewer than lanes.
    """

    def __init__(
        self, dataset: Any, config: Config, device: torch.device, ranks: Ranks | None = None
    ) -> None:
        self.config, self.device, self.ranks = config, device, ranks or Ranks()
        self.songs = {
            split: _songs(dataset, split, config.train.where) for split in ("train", "valid")
        }
        _check_lanes(len(self.songs["train"]), config)
        self.ranks.check(config)
        self._lanes = self.ranks.lanes(config.train.batch_size)
        self._dtype = devices.precision(config.train.precision, device)
        self.model = _build(config, device)
        self._score = torch.compile(score, dynamic=False) if config.train.compile else score
        self.optimizers = optim.make_optimizers(self.model, config.train)
        self._memories = split_lanes(self._fresh_memory(), config.train.accumulate)
        self.step, self.epoch = 0, 0
        self.gradient = self.update = torch.zeros(())
        self._samplers = {
            split: _sampler(dataset, numbers, split, config)
            for split, numbers in self.songs.items()
        }
        self._blocks = {
            split: Blocks(dataset, numbers, config.train.block_size)
            for split, numbers in self.songs.items()
        }
        self._position = self._samplers["train"].state_dict()
        self._loader: Loader | None = None

    @property
    def memory(self) -> Memory:
        """What training remembers, of this process's lanes."""
        return join_lanes(self._memories)

    @property
    def waited(self) -> float:
        """Seconds that steps have waited for data, in all."""
        return self._loader.waited if self._loader else 0.0

    @property
    def parameters(self) -> int:
        """Numbers that the model learns."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    @property
    def tokens_per_step(self) -> int:
        """Positions in one batch; in mode join every one has a target."""
        return self.config.train.batch_size * self.config.train.block_size

    @property
    def validation_batches(self) -> int:
        """Batches in the whole validation split."""
        return len(self._samplers["valid"])

    def train_step(self, *, measure: bool = False) -> LossSums:
        """Learn from the next batch; returns its sums, still on the device.

        Args:
            measure: find out how far the weights moved, which costs a copy of them.
        """
        batch, self._position = next(self._loader or self._start_loader())
        tallies = self._backward(batch)
        before = [parameter.detach().clone() for parameter in self._weights()] if measure else []
        self._learn()
        if measure:
            moved = torch._foreach_sub(before, [p.detach() for p in self._weights()])
            self.update = nn.utils.get_total_norm(moved)
        self.step += 1
        self.epoch = self._position["epoch"]
        return tallies

    def _start_loader(self) -> Loader:
        self._loader = Loader(
            self._samplers["train"], self._blocks["train"], self.device, lanes=self._lanes
        )
        return self._loader

    def _backward(self, batch: Batch) -> LossSums:
        """The batch's gradient, one group of lanes after the other; its sum is that of all."""
        batch = self._keep_back(batch)
        targets = self.ranks.sum((batch.targets != IGNORED).sum()).clamp(min=1)
        lanes, tallies = len(batch.targets) // len(self._memories), []
        first = self.ranks.rank * len(self._memories)
        for group, memory in enumerate(self._memories):
            part = batch.lanes(group * lanes, (group + 1) * lanes)
            with keyed([self.config.train.seed, self.step, first + group], self.device):
                with devices.autocast(self.device, self._dtype):
                    _, scored, self._memories[group] = self._score(
                        self.model, part, memory.settled()
                    )
                (scored.total / targets).backward()
            tallies.append(LossSums(*(part.detach() for part in scored)))
        return tallies[0] if len(tallies) == 1 else LossSums(*map(sum, zip(*tallies, strict=True)))

    def _keep_back(self, batch: Batch) -> Batch:
        """The batch with what reverse teacher forcing draws for this step."""
        train = self.config.train
        hidden = rtf.draw(
            self.config.model.rtf,
            lanes=train.batch_size,
            block=train.block_size,
            share=train.rtf_probability,
            longest=train.rtf_max_window,
            seed=train.seed,
            step=self.step,
        )
        if hidden is None:
            return batch
        return batch._replace(**hidden.lanes(self._lanes).to(self.device)._asdict())

    def _learn(self) -> None:
        """Add the gradients of all ranks up, clip, and change the weights by it."""
        self.ranks.sum_gradients(self._weights())
        self.gradient = nn.utils.clip_grad_norm_(self._weights(), self.config.train.grad_clip)
        for optimizer in self.optimizers:
            optim.set_rate(optimizer, self.rate)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

    def _weights(self) -> list[nn.Parameter]:
        return list(self.model.parameters())

    @property
    def rate(self) -> float:
        """Learning rate of the next step."""
        return optim.rate(self.step, self.config.train)

    def _fresh_memory(self) -> Memory:
        lanes = self._lanes.stop - self._lanes.start
        return self.model.empty_memory(lanes, dtype=self._dtype)

    def evaluate(
        self,
        *,
        batches: int | None = None,
        stopped: Callable[[], bool] = lambda: False,
        advance: Callable[[], object] = lambda: None,
    ) -> "Scores | None":
        """Score the validation split on a memory of its own; training does not notice.

        Args:
            batches: how many, from the first; None: every target exactly once.
            stopped: asked between batches; where it says so, the answer is None.
            advance: called after each batch, for a progress bar.
        """
        memory, tallies, places = self._fresh_memory(), [], []
        self.model.eval()
        try:
            with torch.no_grad():
                sampler, blocks = self._samplers["valid"], self._blocks["valid"]
                fed = once(sampler, blocks, self.device, lanes=self._lanes)
                for batch in islice(fed, batches):
                    if self.ranks.any(stopped()):
                        return None
                    with devices.autocast(self.device, self._dtype):
                        scored, tally, memory = self._score(self.model, batch, memory.settled())
                    tallies.append(tally)
                    places.append(loss_by_position(scored, batch))
                    advance()
        finally:
            self.model.train()
        sums = torch.stack(list(add(tallies)))
        placed = torch.stack(places).double().sum(dim=0)
        return Scores(LossSums(*self.ranks.sum(sums)), self.ranks.sum(placed).cpu())

    def tensors(self) -> dict[str, Tensor]:
        """Weights, optimizer and memory by name, for a checkpoint; whole on the first rank."""
        return {
            **checkpoint.model_tensors(self.model),
            **checkpoint.optimizer_tensors(self.model, self.optimizers),
            **self.ranks.gather_lanes(memory_tensors(self.memory)),
        }

    def save_store(self, path: Path) -> str | None:
        """Write what the kNN memory holds to a file; returns its seal. None without kNN."""
        if self.model.neighbours is None:
            return None
        return knn_file.save(path, self.memory.settled().store, self._store_settings())

    def _store_settings(self) -> dict[str, Any]:
        """What must not change between the file's writing and its reading."""
        return {"model": settings.to_json(self.config.model), "seed": self.config.train.seed}

    def neighbour_figures(self) -> dict[str, float]:
        """What the board shows of the kNN memory; nothing without one."""
        if self.model.neighbours is None:
            return {}
        each = [knn.figures(self.model.neighbours, memory.store) for memory in self._memories]
        return {name: sum(part[name] for part in each) / len(each) for name in each[0]}

    def search_seconds(self) -> float | None:
        """How long the kNN memory takes to look a batch up; None without one."""
        if self.model.neighbours is None:
            return None
        stores = [memory.store.settled() for memory in self._memories]
        block = self.config.train.block_size
        return sum(knn.search_seconds(self.model.neighbours, store, block) for store in stores)

    def state(self) -> dict[str, Any]:
        """Where the training stands, as plain data, for a checkpoint."""
        return {"step": self.step, "position": self._position}

    def load(
        self,
        tensors: Mapping[str, Tensor],
        state: Mapping[str, Any],
        *,
        store: tuple[Path, str] | None = None,
    ) -> None:
        """Go on from what `tensors` and `state` once returned.

        Args:
            tensors, state: see there.
            store: the file that `save_store` wrote at the same time, and its seal; with kNN.

        Raises:
            LakhxlError: the weights are those of another configuration, or the file is not that
                of the same moment.
        """
        checkpoint.load_model(self.model, tensors)
        checkpoint.load_optimizers(self.model, self.optimizers, tensors)
        memory = load_memory(self.memory, tensors)
        if memory.store is not None:
            path, seal = store or (Path("a file of the kNN memory"), "")
            knn_file.load(path, memory.store, self._store_settings(), seal)
        groups = self.config.train.accumulate
        first = self.ranks.rank * groups
        self._memories = split_lanes(memory, self.ranks.count * groups)[first : first + groups]
        self.step, self._position = state["step"], dict(state["position"])
        self.epoch = self._position["epoch"]
        if self._loader is not None:
            self._loader.close()  # its thread may still be moving the sampler that it has
            self._samplers["train"] = copy.copy(self._samplers["train"])
            self._loader = None
        self._samplers["train"].load_state_dict(self._position)


class Scores(NamedTuple):
    """What an evaluation has found.

    Attributes:
        tally: the sums.
        places: nats and targets by place in the song, see `loss.loss_by_position`; float64.
    """

    tally: LossSums
    places: Tensor

    def means(self) -> dict[str, float]:
        """See `LossSums.means`."""
        return self.tally.means()


def score(model: nn.Module, batch: Batch, memory: Memory) -> tuple[TokenLosses, LossSums, Memory]:
    """What is compiled: predict, score, remember."""
    output, memory = model(batch, memory)
    scored = token_losses(output, batch)
    return scored, sum_losses(scored, batch), memory


def _songs(dataset: Any, split: str, where: str | None) -> np.ndarray:
    numbers = select(dataset, split, where)
    if not len(numbers) and where is not None and len(select(dataset, split)):
        raise LakhxlError(f"no song of the {split} split fits --where {where!r}")
    if not len(numbers):
        raise LakhxlError(
            f"the dataset's {split} split has no songs ({len(dataset)} songs in all): "
            "make one of more files"
        )
    return numbers


def _check_lanes(songs: int, config: Config) -> None:
    if songs < config.train.batch_size:
        raise LakhxlError(
            f"batch is {config.train.batch_size} lanes, but the train split has {songs} songs: "
            f"use --set batch_size={songs} or less"
        )


def _build(config: Config, device: torch.device) -> TransformerXL:
    with torch.random.fork_rng(devices=[]):  # the constructors draw, and are drawn over
        model = TransformerXL(config.model)
    model.initialize(torch.Generator().manual_seed(config.train.seed))
    return model.to(device)


def _sampler(
    dataset: Any, numbers: np.ndarray, split: str, config: Config
) -> ContiguousBatchSampler:
    return ContiguousBatchSampler(
        dataset.index["tokens"].to_numpy()[numbers] - 1,  # the last token is no input
        config.train.batch_size,
        block_size=config.train.block_size,
        mode=config.train.mode if split == "train" else "join",
        tail="wrap" if split == "train" else "drain",
        seed=config.train.seed,
    )


@contextmanager
def keyed(key: list[int], device: torch.device) -> Iterator[None]:
    """Key torch's generators by numbers such as seed and step, for the time being.

    Dropout draws from the global ones and takes no other; they are put back afterwards.
    """
    devices_to_fork = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices_to_fork):
        torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0]))
        yield

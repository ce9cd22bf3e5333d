"""The training step: its model, optimizers, data and memory, and how they are saved and restored.

`Trainer.tensors` and `Trainer.state` hold everything that the next step depends on. Random numbers
are keyed by (seed, step) and drawn anew in each step, so no generator has to be saved, and nothing
that happens between two steps affects them.
"""

import copy
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from shards import settings
from shards.errors import LakhxlError
from shards.reader import SongSource
from shards.text import counted
from trainer import device as devices
from trainer.config import Config
from trainer.data.batches import IGNORED, Batch, Blocks, one_epoch
from trainer.data.prefetch import Loader
from trainer.data.sampler import ContiguousBatchSampler
from trainer.data.selection import select
from trainer.data.streams import Variation
from trainer.model.flops import flops_per_token
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
from trainer.training.compiled import Compiled, is_compiled
from trainer.training.distributed import Ranks
from trainer.training.step_graph import StepGraph

MOST_EPOCHS = 100_000
"""A checkpoint of a later one is refused; each takes up to 0.1 s to plan again."""


class ValidationLosses(NamedTuple):
    """The result of `Trainer.evaluate`.

    Attributes:
        sums: over all targets.
        by_position: the same by position in the song, of `loss_by_position`; float64.
    """

    sums: LossSums
    by_position: Tensor

    def means(self) -> dict[str, float]:
        """See `LossSums.means`."""
        return self.sums.means()


class Trainer:
    """A model, its optimizers and its data: trains one step at a time.

    Args:
        dataset: as `shards.open_dataset` returns it.
        config: settings, the model's already fitted to the vocabulary.
        device: where to train.
        ranks: this process among those that train the model together.

    Attributes:
        song_numbers: the dataset's songs that each split uses.
        step: steps done.
        epoch: of the next step; some lanes may already be in the one after.
        is_compiled: whether the first step compiles the model.
        grad_norm: 2-norm of the last step's gradient before clipping, scalar tensor.
        update_norm: 2-norm of the last measured change of the weights, scalar tensor.

    Raises:
        LakhxlError: a split has no songs, or the train split fewer songs than there are lanes.
    """

    def __init__(
        self, dataset: SongSource, config: Config, device: torch.device, ranks: Ranks | None = None
    ) -> None:
        self.config, self.device, self.ranks = config, device, ranks or Ranks()
        self.song_numbers = {
            split: _select_songs(dataset, split, config.train.where) for split in ("train", "valid")
        }
        _check_lanes(len(self.song_numbers["train"]), config)
        self.ranks.check(config)
        self._lanes = self.ranks.lanes(config.train.batch_size)
        self._dtype = devices.matmul_dtype(config.train.precision, device)
        self.model = _make_model(config, device)
        self.is_compiled = is_compiled(config.train.compile, device)
        self._scoring = Compiled(score_batch, enabled=self.is_compiled)
        self.optimizers = optim.make_optimizers(self.model, config.train)
        self.forget()
        self.step, self.epoch = 0, 0
        self.grad_norm = self.update_norm = torch.zeros(())
        self._samplers = {
            split: _make_sampler(dataset, numbers, split, config)
            for split, numbers in self.song_numbers.items()
        }
        self._blocks = {
            split: Blocks(
                dataset,
                numbers,
                config.train.block_size,
                Variation.of(config) if split == "train" else None,
            )
            for split, numbers in self.song_numbers.items()
        }
        self._sampler_state = self._samplers["train"].state_dict()
        self._loader: Loader | None = None

    def forget(self) -> None:
        """Begin with an empty memory, as for another model."""
        self._memories = split_lanes(self._empty_memory(), self.config.train.accumulate)
        self._graph: StepGraph | None = None

    @property
    def memory(self) -> Memory:
        """The training memory of this process's lanes."""
        return join_lanes(self._memories)

    @property
    def data_wait(self) -> float:
        """Seconds that all steps so far have waited for data."""
        return self._loader.waited if self._loader else 0.0

    @property
    def position(self) -> dict[str, int]:
        """Of the sampler, after the last step."""
        return self._sampler_state

    def songs_before(self, position: Mapping[str, int]) -> list[list[str]]:
        """Names of the songs that each lane played in the step that led to a position."""
        blocks, train = self._blocks["train"], "train"
        numbers = self.song_numbers[train]
        sampler = _make_sampler(blocks.dataset, numbers, train, self.config)  # not the loader's
        index = blocks.dataset.index
        names = index["path" if "path" in index.column_names else "md5"]
        return [
            [str(names[int(numbers[span.song])]) for span in spans or ()]
            for spans in sampler.spans(position["epoch"], position["step"] - 1)
        ]

    @property
    def parameter_count(self) -> int:
        """Number of trained weights."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    @property
    def flops_per_token(self) -> float:
        """Floating-point operations of training, per token."""
        return flops_per_token(self.model, self.config.model, self.config.train.block_size)

    def share_of_peak(self, tokens_per_second: float) -> float | None:
        """How much of what its GPUs can do a speed takes; None where that is not known."""
        peak = devices.peak_flops(self.device, self._dtype)
        if peak is None:
            return None
        return tokens_per_second * self.flops_per_token / (peak * self.ranks.count)

    @property
    def tokens_per_step(self) -> int:
        """Positions in one batch; in mode join every one has a target."""
        return self.config.train.batch_size * self.config.train.block_size

    @property
    def validation_batches(self) -> int:
        """Batches in the whole validation split."""
        return len(self._samplers["valid"])

    @property
    def lr(self) -> float:
        """Learning rate of the next step."""
        return optim.lr_at(self.step, self.config.train)

    def train_step(self, *, measure_update: bool = False) -> LossSums:
        """Train on the next batch.

        Args:
            measure_update: set `update_norm`, which takes a copy of the weights.

        Returns:
            The batch's losses, of this rank's lanes; still on the device.
        """
        batch, self._sampler_state = next(self._loader or self._start_loader())
        for optimizer in self.optimizers:
            optim.set_lr(optimizer, self.lr)
        weights = [weight.detach() for weight in self._weights()]
        changes = optim.lists._foreach_neg(weights) if measure_update else []
        with seeded([self.config.train.seed, self.step, self.ranks.rank], self.device):
            *losses, self.grad_norm = self._take_step(self._mask_context(batch)).unbind()
        if measure_update:
            optim.lists._foreach_add_(changes, weights)
            self.update_norm = nn.utils.get_total_norm(changes)
        self.step += 1
        self.epoch = self._sampler_state["epoch"]
        return LossSums(*losses)

    def _take_step(self, batch: Batch) -> Tensor:
        """Take a step, as a CUDA graph if possible; returns what `_compute` does."""
        is_possible = self.device.type == "cuda" and self.ranks.count == 1
        if is_possible and self.config.train.cuda_graph and self.model.neighbours is None:
            self._graph = self._graph or StepGraph(self._compute, batch, self._memories)
            return self._graph(batch)
        results, self._memories = self._compute(batch, self._memories)
        return results

    def _compute(self, batch: Batch, memories: Sequence[Memory]) -> tuple[Tensor, list[Memory]]:
        """Learn from a batch. Nothing here may wait for the device.

        Returns:
            The batch's losses, in the order of `LossSums`, and the norm of the gradient, shape
            (7,), fp32; and the next memories.
        """
        losses, after = self._scoring.or_eager(lambda: self._backward(batch, memories))
        values = [*losses, self._update_weights()]
        return torch.stack([value.float() for value in values]), after

    def _start_loader(self) -> Loader:
        self._loader = Loader(
            self._samplers["train"], self._blocks["train"], self.device, lanes=self._lanes
        )
        return self._loader

    def _mask_context(self, batch: Batch) -> Batch:
        """Apply this step's mask of reverse teacher forcing."""
        train = self.config.train
        mask = rtf.draw_mask(
            self.config.model.rtf,
            lanes=train.batch_size,
            block_size=train.block_size,
            probability=train.rtf_probability,
            max_window=train.rtf_max_window,
            seed=train.seed,
            step=self.step,
        )
        return batch if mask is None else mask.apply(batch, self._lanes)

    def _backward(
        self, batch: Batch, memories: Sequence[Memory]
    ) -> tuple[list[Tensor], list[Memory]]:
        """Set the gradient of the batch's mean loss, one group of lanes after the other."""
        assert batch.targets is not None
        self.model.zero_grad(set_to_none=True)
        targets = self.ranks.sum((batch.targets != IGNORED).sum()).clamp(min=1)
        lanes, losses, after = len(batch.targets) // len(memories), [], []
        for group, memory in enumerate(memories):
            part = batch.lanes(group * lanes, (group + 1) * lanes)
            with devices.autocast(self.device, self._dtype):
                _, sums, left = self._scoring.run(self.model, part, memory.flush())
            (sums.total / targets).backward()
            losses.append([value.detach() for value in sums])
            after.append(left)
        return [functools.reduce(torch.add, each) for each in zip(*losses, strict=True)], after

    def _update_weights(self) -> Tensor:
        """Sum the gradients of all ranks, clip them, step the optimizers; returns their norm."""
        self.ranks.sum_gradients(self._weights())
        norm = nn.utils.clip_grad_norm_(self._weights(), self.config.train.grad_clip)
        for optimizer in self.optimizers:
            optimizer.step()
        return norm

    def _weights(self) -> list[nn.Parameter]:
        return list(self.model.parameters())

    def _empty_memory(self) -> Memory:
        lanes = self._lanes.stop - self._lanes.start
        return self.model.empty_memory(lanes, dtype=self._dtype)

    def evaluate(
        self,
        *,
        batches: int | None = None,
        stopped: Callable[[], bool] = lambda: False,
        advance: Callable[[], object] = lambda: None,
    ) -> ValidationLosses | None:
        """Score the validation split with a memory of its own; training is not affected.

        Args:
            batches: how many, from the first; None: the whole split, every target exactly once.
            stopped: asked before each batch; once it is true on any rank, the result is None.
            advance: called after each batch, for a progress bar.
        """
        memory, sums, by_position = self._empty_memory(), [], []
        self.model.eval()
        try:
            with torch.no_grad():
                sampler, blocks = self._samplers["valid"], self._blocks["valid"]
                stream = one_epoch(sampler, blocks, self.device, lanes=self._lanes)
                for batch in islice(stream, batches):
                    if self.ranks.any(stopped()):
                        return None
                    losses, batch_sums, memory = self._scoring.or_eager(
                        functools.partial(self._score, batch, memory.flush())
                    )
                    sums.append(batch_sums)
                    by_position.append(loss_by_position(losses, batch))
                    advance()
        finally:
            self.model.train()
        totals = self.ranks.sum(torch.stack(list(add(sums))))
        positions = self.ranks.sum(torch.stack(by_position).double().sum(dim=0))
        return ValidationLosses(LossSums(*totals), positions.cpu())

    def _score(self, batch: Batch, memory: Memory) -> tuple[TokenLosses, LossSums, Memory]:
        with devices.autocast(self.device, self._dtype):
            return self._scoring.run(self.model, batch, memory)

    def tensors(self) -> dict[str, Tensor]:
        """Weights, optimizer state and memory by name, for a checkpoint; complete on rank 0."""
        return {
            **checkpoint.model_tensors(self.model),
            **checkpoint.optimizer_tensors(self.model, self.optimizers),
            **self.ranks.gather_lanes(memory_tensors(self.memory)),
        }

    def state(self) -> dict[str, Any]:
        """Step and position in the data, as plain data, for a checkpoint."""
        return {"step": self.step, "position": self._sampler_state}

    def save_knn_memory(self, path: Path) -> str | None:
        """Write the kNN memory to a file; return its checksum, or None without a kNN memory."""
        if self.model.neighbours is None:
            return None
        (store,) = self._stores([self.memory])
        return knn_file.save(path, store.flush(), self._knn_settings())

    def _knn_settings(self) -> dict[str, Any]:
        """Settings under which the file of a kNN memory may be read again."""
        return {"model": settings.to_json(self.config.model), "seed": self.config.train.seed}

    def knn_metrics(self) -> dict[str, float]:
        """Metrics of the kNN memory, means over groups of lanes; empty without one."""
        neighbours = self.model.neighbours
        if neighbours is None:
            return {}
        groups = [knn.metrics(neighbours, store) for store in self._stores(self._memories)]
        return {name: sum(group[name] for group in groups) / len(groups) for name in groups[0]}

    def knn_search_seconds(self) -> float | None:
        """How long the kNN search of one batch takes; None without a kNN memory."""
        neighbours = self.model.neighbours
        if neighbours is None:
            return None
        block = self.config.train.block_size
        stores = [store.flush() for store in self._stores(self._memories)]
        return sum(knn.search_seconds(neighbours, store, block) for store in stores)

    @staticmethod
    def _stores(memories: list[Memory]) -> list[knn.Store]:
        return [memory.store for memory in memories if memory.store is not None]

    def load(
        self,
        tensors: Mapping[str, Tensor],
        state: Mapping[str, Any],
        *,
        knn_memory: tuple[Path, str] | None = None,
    ) -> None:
        """Restore what `tensors` and `state` returned.

        Args:
            tensors, state: of a checkpoint.
            knn_memory: the file that `save_knn_memory` wrote at the same step, and its checksum.

        Raises:
            LakhxlError: the weights are of another configuration, or the file is missing or of
                another run or step.
        """
        self._check_state(state)
        checkpoint.load_model(self.model, tensors)
        checkpoint.load_optimizers(self.model, self.optimizers, tensors)
        memory = load_memory(self.memory, tensors)
        if memory.store is not None:
            path, checksum = knn_memory or (Path("the file of the kNN memory"), "")
            knn_file.load(path, memory.store, self._knn_settings(), checksum)
        groups = self.config.train.accumulate
        first = self.ranks.rank * groups
        self._memories = split_lanes(memory, self.ranks.count * groups)[first : first + groups]
        self._graph = None  # its tensors are others now
        self.step, self._sampler_state = state["step"], dict(state["position"])
        self.epoch = self._sampler_state["epoch"]
        if self._loader is not None:
            self._loader.close()  # its thread may still be moving its sampler
            self._samplers["train"] = copy.copy(self._samplers["train"])
            self._loader = None
        self._samplers["train"].load_state_dict(self._sampler_state)

    def _check_state(self, state: Mapping[str, Any]) -> None:
        """Refuse a position that cannot be reached in as many steps: planning it would take ages.

        Each step of a lane plays at most a block, and all lanes together play every song once in
        an epoch, one after the other, so that they are at most the longest song apart.
        """
        position = state.get("position") or {}
        step, numbers = state.get("step", -1), [position.get(name) for name in ("epoch", "step")]
        if any(type(n) is not int or not 0 <= n < 2**40 for n in (step, *numbers)):
            raise LakhxlError("the checkpoint's step or position is damaged: train anew")
        lengths = self._samplers["train"].playable
        lanes, block = self.config.train.batch_size, self.config.train.block_size
        most = lanes * ((step + 1) * block + int(lengths.max())) // int(lengths.sum()) + 1
        if position["epoch"] > min(most, MOST_EPOCHS) or position["step"] > step:
            raise LakhxlError(
                f"the checkpoint is damaged: after {step} steps it is at step {position['step']} "
                f"of epoch {position['epoch']}; at most epoch {min(most, MOST_EPOCHS)} is possible"
            )


def score_batch(
    model: nn.Module, batch: Batch, memory: Memory
) -> tuple[TokenLosses, LossSums, Memory]:
    """Run the model on a batch and compute its losses; this is what gets compiled."""
    output, memory = model(batch, memory)
    losses = token_losses(output, batch)
    return losses, sum_losses(losses, batch), memory


def _select_songs(dataset: SongSource, split: str, where: str | None) -> np.ndarray:
    numbers = select(dataset, split, where)
    if not len(numbers) and where is not None and len(select(dataset, split)):
        raise LakhxlError(f"no song of the {split} split matches --where {where!r}")
    if not len(numbers):
        raise LakhxlError(
            f"the dataset's {split} split has no songs "
            f"({counted(len(dataset.index), 'song')} in all): make a dataset of more files"
        )
    return numbers


def _check_lanes(songs: int, config: Config) -> None:
    if songs < config.train.batch_size:
        raise LakhxlError(
            f"batch_size is {config.train.batch_size} lanes, but the train split has {songs} "
            f"songs: use --set batch_size={songs} or less"
        )


def _make_model(config: Config, device: torch.device) -> TransformerXL:
    with torch.random.fork_rng(devices=[]):  # constructors draw weights, which are then replaced
        model = TransformerXL(config.model)
    model.initialize(torch.Generator().manual_seed(config.train.seed))
    return model.to(device)


def _make_sampler(
    dataset: SongSource, numbers: np.ndarray, split: str, config: Config
) -> ContiguousBatchSampler:
    inputs = dataset.index["tokens"].to_numpy()[numbers] - 1  # the last token is no input
    block, longest = config.train.block_size, int(inputs.max())
    if split == "train" and config.train.mode == "crop" and longest < block:
        raise LakhxlError(
            f"mode=crop drops every song: the longest of the train split has {longest} tokens to "
            f"read, less than block_size={block}: use --set block_size={longest}, or mode=join"
        )
    return ContiguousBatchSampler(
        inputs,
        config.train.batch_size,
        block_size=config.train.block_size,
        mode=config.train.mode if split == "train" else "join",
        tail="wrap" if split == "train" else "drain",
        seed=config.train.seed,
    )


@contextmanager
def seeded(key: list[int], device: torch.device) -> Iterator[None]:
    """Seed torch's global generators by a key such as (seed, step), and restore them afterwards.

    Dropout draws from the global generators and takes no other.
    """
    cuda_devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=cuda_devices):
        torch.manual_seed(int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0]))
        yield

"""One training: what a step changes, how it is validated, and how all of it is saved.

Everything that a step depends on is in `Trainer.tensors` and `Trainer.state`; random numbers are
keyed by (seed, step) and drawn anew in each step, so there is no generator to save, and nothing
between two steps can disturb them.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from shards.errors import LakhxlError
from trainer import checkpoint, devices, optim
from trainer.batches import Batch, Blocks, endless, once, select
from trainer.config import Config
from trainer.loss import Tally, add, tally
from trainer.memory import Memory
from trainer.model import TransformerXL
from trainer.sampler import ContiguousBatchSampler


class Trainer:
    """A model in training on one dataset.

    Args:
        dataset: as `shards.open_dataset` gives it.
        config: settings; the model's already fitted to the vocabulary.
        device: where to train.

    Attributes:
        step: steps done.
        epoch: the epoch of the next step; some lanes may be in the one after.
        gradient: 2-norm of the last step's gradient before clipping, scalar tensor.

    Raises:
        LakhxlError: a split has no songs, or fewer than lanes.
    """

    def __init__(self, dataset: Any, config: Config, device: torch.device) -> None:
        self.config, self.device = config, device
        self.songs = {split: _songs(dataset, split) for split in ("train", "valid")}
        _check_lanes(len(self.songs["train"]), config)
        self._dtype = devices.precision(config.train.precision, device)
        self.model = _build(config, device)
        self._compiled = torch.compile(self.model) if config.train.compile else self.model
        self.optimizer = optim.make_optimizer(self.model, config.train)
        self.memory = self._fresh_memory()
        self.step, self.epoch = 0, 0
        self.gradient = torch.zeros(())
        self._samplers = {
            split: _sampler(dataset, numbers, split, config)
            for split, numbers in self.songs.items()
        }
        self._blocks = {
            split: Blocks(dataset, numbers, config.train.block)
            for split, numbers in self.songs.items()
        }
        self._position = self._samplers["train"].state_dict()
        self._batches = endless(self._samplers["train"], self._blocks["train"])

    @property
    def parameters(self) -> int:
        """Numbers that the model learns."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    @property
    def tokens_per_step(self) -> int:
        """Targets in one batch; in mode join every position has one."""
        return self.config.train.batch * self.config.train.block

    @property
    def validation_batches(self) -> int:
        """Batches in the whole validation split."""
        return len(self._samplers["valid"])

    def train_step(self) -> Tally:
        """Learn from the next batch; returns its sums, still on the device."""
        batch, self._position = next(self._batches)
        with keyed(self.config.train.seed, self.step, self.device):
            scored, self.memory = self._score(batch, self.memory)
            scored.loss.backward()
        parameters = list(self.model.parameters())
        self.gradient = nn.utils.clip_grad_norm_(parameters, self.config.train.clip)
        optim.set_rate(self.optimizer, self.rate)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.step += 1
        self.epoch = self._position["epoch"]
        return Tally(*(part.detach() for part in scored))

    @property
    def rate(self) -> float:
        """Learning rate of the next step."""
        return optim.rate(self.step, self.config.train)

    def _score(self, batch: Batch, memory: Memory) -> tuple[Tally, Memory]:
        batch = batch.to(self.device)
        with devices.autocast(self.device, self._dtype):
            output, memory = self._compiled(batch, memory)
        return tally(output, batch), memory

    def _fresh_memory(self) -> Memory:
        return self.model.empty_memory(self.config.train.batch, dtype=self._dtype)

    def evaluate(
        self,
        *,
        batches: int | None = None,
        stopped: Callable[[], bool] = lambda: False,
        advance: Callable[[], object] = lambda: None,
    ) -> Tally | None:
        """Score the validation split on a memory of its own; training does not notice.

        Args:
            batches: how many, from the first; None: every target exactly once.
            stopped: asked between batches; where it says so, the answer is None.
            advance: called after each batch, for a progress bar.
        """
        memory, tallies = self._fresh_memory(), []
        self.model.eval()
        try:
            with torch.no_grad():
                for number, batch in enumerate(
                    once(self._samplers["valid"], self._blocks["valid"])
                ):
                    if number == batches:
                        break
                    if stopped():
                        return None
                    scored, memory = self._score(batch, memory)
                    tallies.append(scored)
                    advance()
        finally:
            self.model.train()
        return add(tallies)

    def tensors(self) -> dict[str, Tensor]:
        """Weights, optimizer and memory by name, for a checkpoint."""
        return {
            **checkpoint.model_tensors(self.model),
            **checkpoint.optimizer_tensors(self.model, self.optimizer),
            **_memory_tensors(self.memory),
        }

    def state(self) -> dict[str, Any]:
        """Where the training stands, as plain data, for a checkpoint."""
        return {"step": self.step, "position": self._position}

    def load(self, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
        """Go on from what `tensors` and `state` once returned.

        Raises:
            LakhxlError: the weights are those of another configuration.
        """
        checkpoint.load_model(self.model, tensors)
        checkpoint.load_optimizer(self.model, self.optimizer, tensors)
        self.memory = _load_memory(self.memory, tensors)
        self.step, self._position = state["step"], dict(state["position"])
        self.epoch = self._position["epoch"]
        self._samplers["train"].load_state_dict(self._position)
        self._batches = endless(self._samplers["train"], self._blocks["train"])


def _songs(dataset: Any, split: str) -> np.ndarray:
    numbers = select(dataset, split)
    if not len(numbers):
        raise LakhxlError(
            f"the dataset's {split} split has no songs ({len(dataset)} songs in all): "
            "make one of more files"
        )
    return numbers


def _check_lanes(songs: int, config: Config) -> None:
    if songs < config.train.batch:
        raise LakhxlError(
            f"batch is {config.train.batch} lanes, but the train split has {songs} songs: "
            f"use --set batch={songs} or less"
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
        config.train.batch,
        block_size=config.train.block,
        mode="join",
        tail="wrap" if split == "train" else "drain",
        seed=config.train.seed,
    )


def _memory_tensors(memory: Memory) -> dict[str, Tensor]:
    layers = {
        f"memory.{name}.{layer}": tensor
        for name in ("keys", "values")
        for layer, tensor in enumerate(getattr(memory, name))
    }
    return {**layers, "memory.visits": memory.visits}


def _load_memory(memory: Memory, tensors: Mapping[str, Tensor]) -> Memory:
    """The saved memory, on the device and in the precision of the one given."""
    device, dtype = memory.keys[0].device, memory.keys[0].dtype

    def layers(name: str) -> tuple[Tensor, ...]:
        count = range(len(memory.keys))
        return tuple(tensors[f"memory.{name}.{layer}"].to(device, dtype) for layer in count)

    return Memory(layers("keys"), layers("values"), tensors["memory.visits"].to(device))


@contextmanager
def keyed(seed: int, step: int, device: torch.device) -> Iterator[None]:
    """Key torch's generators by (seed, step) for the time being.

    Dropout draws from the global ones and takes no other; they are put back afterwards.
    """
    devices_to_fork = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices_to_fork):
        torch.manual_seed(int(np.random.SeedSequence([seed, step]).generate_state(1, np.uint64)[0]))
        yield

"""One token a lane as CUDA graphs: the model, then the heads that must know what was sampled.

A graph reads and writes memory at fixed addresses and is the same each time. So the slot of the
token, the first slot that it attends to and its place are numbers that go in with the token; all
slots are compared, with a bias that leaves out the others. A graph begins with the copy of its
numbers to the device and ends with that of its logits back: one transfer each, of pinned memory.
It is recorded on the stream that it is taken on, one of its own for each group of songs.

Conventions
    B lanes, C model width, H attention heads, E head width; V tokens in the vocabulary
    S slots, as many as memory and block have tokens
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from shards.console import print_note
from trainer.cuda_graph import record
from trainer.data.batches import Batch
from trainer.generation.one_token import one_token
from trainer.model.position_encoding import ROTARY
from trainer.model.transformer import Output, TransformerXL

WARM_UP = 2
"""Calls before the recording: they choose algorithms, which a recording must not."""


def is_possible(model: TransformerXL) -> bool:
    """Whether a model's tokens can be fed so: on a GPU, with rotary positions, without kNN."""
    is_simple = model.config.position_encoding in ROTARY and model.neighbours is None
    return is_simple and model.norm.weight.is_cuda


class Recorded:
    """Logits as a function of integers, as a CUDA graph, recorded by the first call.

    Where it cannot be recorded it says so, and is computed as it is.

    Args:
        compute: on the device, of shape (count,), int64; gives any shape, always the same.
        count: of the integers.
        device: where.

    Attributes:
        logits: the last ones, on the device; overwritten by the next.
    """

    def __init__(self, compute: Callable[[Tensor], Tensor], count: int, device: torch.device):
        self._compute, self._is_pinned = compute, device.type == "cuda"
        self._given = torch.zeros(count, dtype=torch.long, pin_memory=self._is_pinned)
        self._numbers = torch.zeros(count, dtype=torch.long, device=device)
        self._found: Tensor | None = None
        self._run: Callable[[], None] | None = None
        self._is_read = True
        self.logits: Tensor

    def start(self, numbers: Sequence[np.ndarray]) -> None:
        """Begin, after whatever the current stream does."""
        if not self._is_read:  # the last numbers may be on their way
            synchronize(self._numbers.device)
        self._is_read = False
        np.concatenate(numbers, out=self._given.numpy())
        if self._run is None:
            self._run = self._recorded()
        self._run()

    def result(self) -> np.ndarray:
        """Wait for the logits; float64."""
        assert self._found is not None
        synchronize(self._numbers.device)
        self._is_read = True
        return self._found.double().numpy()

    def _recorded(self) -> Callable[[], None]:
        for _ in range(WARM_UP):
            self._step()
        try:
            return record(self._step, torch.cuda.current_stream(self._numbers.device))
        except RuntimeError as error:
            print_note(f"songs are written without a CUDA graph ({error})")
            return self._step

    def _step(self) -> None:
        self._numbers.copy_(self._given, non_blocking=True)
        self.logits = self._compute(self._numbers).float()
        if self._found is None:
            self._found = torch.empty(self.logits.shape, pin_memory=self._is_pinned)
        self._found.copy_(self.logits, non_blocking=True)


def synchronize(device: torch.device) -> None:
    """Wait for the current stream."""
    if device.type == "cuda":
        torch.cuda.current_stream(device).synchronize()


class TokenGraph:
    """Feeds one token to each lane.

    Args:
        model: in evaluation mode; see `is_possible`.
        slots: keys and values, shape (layers, 2, B, H, S, E); overwritten.
    """

    def __init__(self, model: TransformerXL, slots: Tensor) -> None:
        self._model, self._slots, lanes = model, slots, slots.shape[2]
        weight = model.norm.weight
        self._asked = weight.new_zeros(lanes, 1, len(weight))
        self._hidden = weight.new_zeros(lanes, 1, len(weight))
        self._step = Recorded(self._token, 7 * lanes + 3, weight.device)
        self._instruments = Recorded(self._of_instruments, lanes, weight.device)
        self._velocities = Recorded(self._of_velocities, 2 * lanes, weight.device)

    def feed(self, inputs: Sequence[np.ndarray], at: int, first: int, place: int) -> Output:
        """Feed tokens.

        Args:
            inputs: of `IncrementalModel.feed`, the first five, shape (5, B, 1); and the tokens
                before them with their instruments, shape (2, B, 1).
            at: the slot that the token takes.
            first: the first slot that it attends to.
            place: of the token, in all lanes.

        Returns:
            The predictions, on the device; the next call overwrites them.
        """
        self._step.start([*(each.ravel() for each in inputs), np.array([at, first, place])])
        return Output(self._step.logits[:, None], self._hidden, None, None)

    def ask(self, conditions: Tensor) -> None:
        """Set the embedding of the conditions of the next tokens, shape (B, 1, C)."""
        self._asked.copy_(conditions)

    def logits(self) -> np.ndarray:
        """Of the next token."""
        return self._step.result()

    def instrument_logits(self, tokens: np.ndarray) -> np.ndarray:
        """As `IncrementalModel.instrument_logits`."""
        self._instruments.start([tokens])
        return self._instruments.result()

    def velocity_logits(self, tokens: np.ndarray, instruments: np.ndarray) -> np.ndarray:
        """As `IncrementalModel.velocity_logits`, with such a head."""
        self._velocities.start([tokens, instruments])
        return self._velocities.result()

    def _token(self, numbers: Tensor) -> Tensor:
        model, slots = self._model, self._slots
        columns, (at, first, place) = numbers[:-3].view(7, -1, 1), numbers[-3:].split(1)
        places = torch.arange(slots.shape[4], device=slots.device)
        bias = torch.zeros(places.shape, dtype=slots.dtype, device=slots.device)
        bias = bias.masked_fill_((places < first) | (places > at), -torch.inf)

        def attend(layer: int, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
            new = torch.stack([keys, values])[..., None, :].to(slots.dtype)
            slots[layer].index_copy_(3, at, new)
            wanted = queries[:, :, None].to(slots.dtype)
            mask = bias.expand(*wanted.shape[:3], -1)
            mixed = functional.scaled_dot_product_attention(
                wanted, slots[layer, 0], slots[layer, 1], attn_mask=mask
            )
            return mixed[:, :, 0]

        batch = Batch(*columns[:4], segment_ids=columns[0], velocities=columns[4])
        x = model.embed.of_tokens(batch, (columns[5], columns[6])) + self._asked
        table = model.layers[0].attention.positions.table(
            slots.shape[4], place, batch.bars, batch.steps
        )
        self._hidden.copy_(one_token(model, x, table, attend))
        return model.token_head(self._hidden)[:, 0]

    def _of_instruments(self, numbers: Tensor) -> Tensor:
        return self._model.instrument_head(self._hidden, numbers[:, None])[:, 0]

    def _of_velocities(self, numbers: Tensor) -> Tensor:
        tokens, instruments = numbers.view(2, -1, 1)
        logits = self._model.velocity_logits(self._hidden, tokens, instruments)
        assert logits is not None
        return logits[:, 0]

"""The kNN memory: what leaves the Transformer-XL's memory, kept for as long as its song plays.

One layer looks up the stored keys that are most like its queries, and each head weighs what it
found against its attention to the near past, by a gate that starts local.

A lane's store holds one visit, that of the last token which left the memory. As a visit's tokens
come one after the other, the store is reset by that rule alone: where another visit's tokens
arrive, they are the first. Nothing is cleared, and what lies in unused slots is never read.

Only keys that have left the memory are appended, so nothing is found twice; and they are
appended when the next block begins, so that a block searches before its own keys are in, and a
backward pass still finds the store as the forward pass had it.

Conventions
    B lanes, H heads, T tokens in a block, M tokens in the memory, K = M + T keys, E head width
    N slots in a store, a ring; one more lies behind them for what is not to be kept
    L tokens that leave the memory with a block: K - M
    keys are stored at length 1 and before rotation: likeness, whatever the distance

Source: Wu et al. 2022, Memorizing Transformers. https://arxiv.org/abs/2203.08913. Theirs keeps
keys rotated or with a T5 bias, and all documents' tokens; ours is local to the song.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainer.knn_search import look_up
from trainer.memory import EMPTY

STORED_AS = torch.float16
"""Precision of everything stored, on every device and on disk. Keys of length 1 keep 11 bits in
it, in bfloat16 8; values beyond its range, 65,504, are cut off there."""

FIRST_GATE = -2.0
"""Of the gate before the sigmoid: 0.12 of the result comes from the store at first."""

FIRST_SHARPNESS = 10.0
"""Factor of likeness, a cosine, before the softmax; learned for each head from here on."""


class Leaving(NamedTuple):
    """Tokens on their way from the memory to the store.

    Attributes:
        keys, values: shape (B, H, L, E), as they will be stored.
        visits, bars: shape (B, L), int64.
    """

    keys: Tensor
    values: Tensor
    visits: Tensor
    bars: Tensor


class Found(NamedTuple):
    """What the last block has found, for the board: weights and bars back, shape (B, H, T, k)."""

    weights: Tensor
    bars_back: Tensor


class Store(NamedTuple):
    """Keys and values of one layer that have left the memory. Travels with the memory.

    The large tensors are written in place, the others never: an older handle sees what it saw,
    as long as the ring has not come round.

    Attributes:
        keys, values: shape (B, H, N + 1, E).
        bars: shape (B, N + 1), int64; the bar of each slot's token.
        visit: shape (B,), int64; whose tokens they are, EMPTY before the first.
        count: shape (B,), int64; tokens of that visit so far: slots in use, until it passes N.
        near_bars: shape (B, M), int64; the bars of what is still in the memory.
        leaving: to be appended when the next block begins.
        found: by the last block.
    """

    keys: Tensor
    values: Tensor
    bars: Tensor
    visit: Tensor
    count: Tensor
    near_bars: Tensor
    leaving: Leaving | None = None
    found: Found | None = None

    @classmethod
    def empty(
        cls,
        *,
        lanes: int,
        heads: int,
        capacity: int,
        head_width: int,
        length: int,
        device: torch.device | str = "cpu",
    ) -> "Store":
        """A store that holds nothing, beside a memory of `length` tokens.

        The memory is claimed from the system only as slots are written.
        """
        dtype = torch.float32 if torch.device(device).type == "cpu" else STORED_AS
        shape = lanes, heads, capacity + 1, head_width

        def zeros(*shape: int, dtype: torch.dtype = torch.int64) -> Tensor:
            return torch.zeros(*shape, dtype=dtype, device=device)

        return cls(
            zeros(*shape, dtype=dtype),
            zeros(*shape, dtype=dtype),
            zeros(lanes, capacity + 1),
            zeros(lanes) + EMPTY,
            zeros(lanes),
            zeros(lanes, length),
        )

    @property
    def capacity(self) -> int:
        """N."""
        return self.keys.shape[2] - 1

    @property
    def stored(self) -> Tensor:
        """Slots in use in each lane, shape (B,)."""
        return self.count.clamp(max=self.capacity)

    def settled(self) -> "Store":
        """With what was leaving appended.

        To be called outside of a compiled graph and when no backward pass is outstanding. Twice
        does the same as once.
        """
        if self.leaving is None:
            return self
        keys, values, visits, bars = self.leaving
        arriving = visits[:, -1]
        # What came before is over: its song has ended. Below 0 no song plays.
        mine = (visits == arriving[:, None]) & (arriving >= 0)[:, None]
        first = torch.where(arriving == self.visit, self.count, 0)
        numbers = first[:, None] + mine.cumsum(dim=1) - 1
        count = first + mine.sum(dim=1)
        kept = mine & (numbers >= count[:, None] - self.capacity)  # more than the ring holds
        slots = torch.where(kept, numbers % self.capacity, self.capacity)
        lanes = torch.arange(len(slots), device=slots.device)[:, None]
        with torch.no_grad():
            for stored, new in ((self.keys, keys), (self.values, values)):
                stored.transpose(1, 2)[lanes, slots] = new.transpose(1, 2).to(stored.dtype)
            self.bars[lanes, slots] = bars
        return self._replace(visit=arriving, count=count, leaving=None)

    def after(
        self, keys: Tensor, values: Tensor, visits: Tensor, bars: Tensor, length: int
    ) -> "Store":
        """The store for the next block.

        Args:
            keys, values: of memory and block, not rotated, shape (B, H, K, E).
            visits: of memory and block, shape (B, K).
            bars: of the block, shape (B, T).
            length: of the memory that the block leaves; what is older goes to the store.
        """
        out = visits.shape[1] - length
        bars = torch.cat([self.near_bars, bars], dim=1)
        leaving = None
        if out:
            leaving = Leaving(
                as_stored(functional.normalize(keys.detach()[:, :, :out].float(), dim=-1)),
                as_stored(values.detach()[:, :, :out]),
                visits[:, :out].clone(),
                bars[:, :out].clone(),
            )
        return self._replace(near_bars=bars[:, out:].clone(), leaving=leaving)

    def lanes(self, first: int, last: int) -> "Store":
        """Lanes [first, last) of it: views, so that what they append is appended here."""
        parts = {
            name: getattr(self, name)[first:last]
            for name in ("keys", "values", "bars", "visit", "count", "near_bars")
        }
        groups = {
            name: None if group is None else type(group)(*(part[first:last] for part in group))
            for name, group in (("leaving", self.leaving), ("found", self.found))
        }
        return Store(**parts, **groups)


def as_stored(tensor: Tensor) -> Tensor:
    """In the precision of the store, copied."""
    most = torch.finfo(STORED_AS).max
    return tensor.clamp(-most, most).to(STORED_AS).clone(memory_format=torch.contiguous_format)


class NearestNeighbours(nn.Module):
    """Looks queries up in a store and weighs what it finds against the local attention.

    Args:
        heads: H.
        k: neighbours of a query; not used by backend dense.
        backend: one of `trainer.knn_search.BACKENDS`.
    """

    def __init__(self, heads: int, k: int, backend: str) -> None:
        super().__init__()
        self.k, self.backend = k, backend
        self.gate = nn.Parameter(torch.full((heads,), FIRST_GATE))
        self.sharpness = nn.Parameter(torch.full((heads,), math.log(FIRST_SHARPNESS)))

    def forward(
        self, local: Tensor, queries: Tensor, query_visits: Tensor, store: Store
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Mix local results with those of the store.

        Args:
            local: of the attention over memory and block, shape (B, H, T, E).
            queries: before rotation, shape (B, H, T, E).
            query_visits: shape (B, T).
            store: settled.

        Returns:
            The mixture, of the shape and type of `local`, and bit-equal to it where nothing is
            stored of a query's visit; weights and slots of the neighbours, (B, H, T, k).
        """
        sought = functional.normalize(queries.float(), dim=-1)
        sought = sought * self.sharpness.exp()[:, None, None]
        far, weights, slots = look_up(
            sought,
            query_visits,
            store.keys,
            store.values,
            store.visit,
            store.count,
            self.k,
            self.backend,
        )
        share = self.gate.sigmoid()[:, None, None] * self.has_far(query_visits, store)
        return local + (share * (far - local.float())).to(local.dtype), weights, slots

    @staticmethod
    def has_far(query_visits: Tensor, store: Store) -> Tensor:
        """Whether anything is stored of a query's visit, shape (B, 1, T, 1)."""
        mine = (query_visits == store.visit[:, None]) & (store.count > 0)[:, None]
        return mine[:, None, :, None]

"""The kNN memory: what leaves the Transformer-XL's memory, kept for as long as its song plays.

One layer looks up the stored keys that are most like its queries, and each head weighs what it
found against its attention to the near past, by a gate that starts local.

A lane's store holds one segment_id, that of the last token which left the memory. As a segment_id's tokens
come one after the other, the store is reset by that rule alone: where another segment_id's tokens
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
import time
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainer.data.batches import Batch
from trainer.model.knn.faiss_index import check_backend
from trainer.model.knn.search import look_up

EMPTY = -1
"""Visit of a memory slot that was never written. Songs count from 0, padding is another number."""

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
        segment_ids, bars: shape (B, L).
    """

    keys: Tensor
    values: Tensor
    segment_ids: Tensor
    bars: Tensor


class Found(NamedTuple):
    """What the last block has found, for the board.

    Attributes:
        weights, slots: of the neighbours, shape (B, H, T, k).
        bars: of the queries, shape (B, T).
    """

    weights: Tensor
    slots: Tensor
    bars: Tensor


class Store(NamedTuple):
    """Keys and values of one layer that have left the memory. Travels with the memory.

    The large tensors are written in place, the others never: an older handle sees what it saw,
    as long as the ring has not come round.

    Attributes:
        keys, values: shape (B, H, N + 1, E).
        bars: shape (B, N + 1), int32; the bar of each slot's token.
        segment_id: shape (B,), int64; whose tokens they are, EMPTY before the first.
        count: shape (B,), int64; tokens of that segment_id so far: slots in use, until it passes N.
        near_bars: shape (B, M), int32; the bars of what is still in the memory.
        layer: whose keys and values they are.
        leaving: to be appended when the next block begins.
        found: by the last block.
    """

    keys: Tensor
    values: Tensor
    bars: Tensor
    segment_id: Tensor
    count: Tensor
    near_bars: Tensor
    layer: int
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
        layer: int,
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
            zeros(lanes, capacity + 1, dtype=torch.int32),
            zeros(lanes) + EMPTY,
            zeros(lanes),
            zeros(lanes, length, dtype=torch.int32),
            layer,
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
            return self._replace(found=None)
        keys, values, segment_ids, bars = self.leaving
        arriving = copied(segment_ids[:, -1])
        # What came before is over: its song has ended. Below 0 no song plays.
        mine = (segment_ids == arriving[:, None]) & (arriving >= 0)[:, None]
        first = torch.where(arriving == self.segment_id, self.count, 0)
        numbers = first[:, None] + mine.cumsum(dim=1) - 1
        count = first + mine.sum(dim=1)
        kept = mine & (numbers >= count[:, None] - self.capacity)  # more than the ring holds
        slots = torch.where(kept, numbers % self.capacity, self.capacity)
        lanes = torch.arange(len(slots), device=slots.device)[:, None]
        with torch.no_grad():
            for stored, new in ((self.keys, keys), (self.values, values)):
                stored.transpose(1, 2)[lanes, slots] = new.transpose(1, 2).to(stored.dtype)
            self.bars[lanes, slots] = bars
        return self._replace(segment_id=arriving, count=count, leaving=None, found=None)

    def grown(self, bars: Tensor) -> "Store":
        """Beside a memory that a block was added to, with the block's bars, shape (B, T)."""
        return self._replace(near_bars=torch.cat([self.near_bars, bars.int()], dim=1))

    def cut(self, keys: Tensor, values: Tensor, segment_ids: Tensor, length: int) -> "Store":
        """Beside a memory that is cut to a length: what is cut off will be appended.

        Args:
            keys, values: of all tokens of the memory, not rotated, shape (B, H, K, E).
            segment_ids: of the same, shape (B, K).
            length: of what stays in the memory.
        """
        assert self.leaving is None, "Memory.settled is to be called before each block"
        out = segment_ids.shape[1] - length
        if out == 0:
            return self
        leaving = Leaving(
            as_stored(functional.normalize(keys[:, :, :out].float(), dim=-1)),
            as_stored(values[:, :, :out]),
            copied(segment_ids[:, :out]),
            copied(self.near_bars[:, :out]),
        )
        return self._replace(near_bars=copied(self.near_bars[:, out:]), leaving=leaving)

    def small_tensors(self) -> dict[str, Tensor]:
        """All but the slots' keys and values, and but what is leaving, by name."""
        return {name: getattr(self, name) for name in ("bars", "segment_id", "count", "near_bars")}

    @classmethod
    def joined(cls, stores: Sequence["Store"]) -> "Store":
        """The store of all lanes, copied from those of groups of them; settled."""
        settled = [store.settled() for store in stores]
        names = ("keys", "values", *settled[0].small_tensors())
        columns = {name: torch.cat([getattr(s, name) for s in settled]) for name in names}
        return cls(**columns, layer=settled[0].layer)

    def lanes(self, first: int, last: int) -> "Store":
        """Lanes [first, last) of it, settled: views, so that what they append is appended here."""
        settled = self.settled()
        names = ("keys", "values", *settled.small_tensors())
        return Store(
            **{name: getattr(settled, name)[first:last] for name in names}, layer=self.layer
        )


def as_stored(tensor: Tensor) -> Tensor:
    """In the precision of the store, copied."""
    most = torch.finfo(STORED_AS).max
    return copied(tensor.clamp(-most, most).to(STORED_AS))


def copied(tensor: Tensor) -> Tensor:
    """A copy of its own, with the same strides whatever it was a part of."""
    return tensor.clone(memory_format=torch.contiguous_format)


class NearestNeighbours(nn.Module):
    """Looks queries up in a store and weighs what it finds against the local attention.

    Args:
        heads: H.
        k: neighbours of a query; not used by backend dense.
        backend: one of `trainer.config.KNN_BACKENDS`.
    """

    def __init__(self, heads: int, k: int, backend: str) -> None:
        super().__init__()
        check_backend(backend)
        self.k, self.backend = k, backend
        self.gate = nn.Parameter(torch.full((heads,), FIRST_GATE))
        self.sharpness = nn.Parameter(torch.full((heads,), math.log(FIRST_SHARPNESS)))

    def forward(
        self, local: Tensor, queries: Tensor, query_segment_ids: Tensor, store: Store
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Mix local results with those of the store.

        Args:
            local: of the attention over memory and block, shape (B, H, T, E).
            queries: before rotation, shape (B, H, T, E).
            query_segment_ids: shape (B, T).
            store: settled.

        Returns:
            The mixture, of the shape and type of `local`, and bit-equal to it where nothing is
            stored of a query's segment_id; weights and slots of the neighbours, (B, H, T, k).
        """
        sought = functional.normalize(queries.float(), dim=-1)
        sought = sought * self.sharpness.exp()[:, None, None]
        far, weights, slots = look_up(
            sought,
            query_segment_ids,
            store.keys,
            store.values,
            store.segment_id,
            store.count,
            self.k,
            self.backend,
        )
        share = self.gate.sigmoid()[:, None, None] * self.has_far(query_segment_ids, store)
        return local + (share * (far - local.float())).to(local.dtype), weights, slots

    @staticmethod
    def has_far(query_segment_ids: Tensor, store: Store) -> Tensor:
        """Whether anything is stored of a query's segment_id, shape (B, 1, T, 1)."""
        mine = (query_segment_ids == store.segment_id[:, None]) & (store.count > 0)[:, None]
        return mine[:, None, :, None]


class Recollection:
    """Looks one block's queries up, for `Attention.forward`, and keeps what was found.

    Args:
        neighbours: of the model.
        batch: the block.
        store: settled.
    """

    def __init__(self, neighbours: NearestNeighbours, batch: Batch, store: Store) -> None:
        self.neighbours, self.batch, self.store = neighbours, batch, store
        self.found: Found | None = None

    def __call__(self, queries: Tensor, local: Tensor) -> Tensor:
        """Queries before rotation and local results, (B, H, T, E) each -> results."""
        mixed, weights, slots = self.neighbours(local, queries, self.batch.segment_ids, self.store)
        self.found = Found(weights, slots, self.batch.bars)
        return mixed


def figures(neighbours: NearestNeighbours, store: Store) -> dict[str, float]:
    """What the board shows of a block just played.

    Args:
        neighbours: of the model.
        store: as the block has left it, not settled.

    Returns:
        knn_gate_H, the share of the store in head H; knn_stored, tokens a lane on average;
        and of the queries that found something: knn_queries, their share, and knn_bars_back,
        how far back their neighbours lie by weight. Not the last for backend dense.
    """
    gates = neighbours.gate.detach().sigmoid().tolist()
    result = {f"knn_gate_{head}": gate for head, gate in enumerate(gates)}
    result["knn_stored"] = float(store.stored.float().mean())
    if store.found is None or store.found.weights.shape[-1] == 0:
        return result
    weights, slots, bars = store.found
    lanes = torch.arange(len(slots), device=slots.device)[:, None, None, None]
    back = bars[:, None, :, None] - store.bars[lanes, slots]
    weight = weights.sum()
    result["knn_queries"] = float((weights.sum(dim=-1) > 0).float().mean())
    result["knn_bars_back"] = float((back * weights).sum() / weight.clamp(min=1e-9))
    return result


def search_seconds(neighbours: NearestNeighbours, store: Store, block: int) -> float:
    """How long one search takes of all lanes, each asking with some of its own keys.

    Args:
        neighbours: of the model.
        store: settled.
        block: queries a lane.
    """
    B, _, rows, _ = store.keys.shape
    queries = store.keys[:, :, torch.arange(block) % rows].float().nan_to_num()
    segment_ids = store.segment_id[:, None].expand(B, block)
    begun = time.perf_counter()
    with torch.no_grad():
        mixed, _, _ = neighbours(torch.zeros_like(queries), queries, segment_ids, store)
        float(mixed[0, 0, 0, 0])  # waits for a GPU
    return time.perf_counter() - begun

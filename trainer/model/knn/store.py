"""The kNN memory: what leaves the Transformer-XL's memory, kept as long as its song plays.

One layer retrieves the stored keys nearest to its queries. Each head mixes the result with its
attention over memory and block by a learned gate, which starts near attention alone.

Each lane's store holds one segment, one playing of one song. When tokens of another segment
arrive, they overwrite it from slot 0 on and `count` restarts; what lies beyond is never read.

A token is in the memory or in the store, never in both, so no key counts twice. Tokens pushed out
by one block are stored by `flush` before the next: the store does not change between the forward
and the backward pass of a block.

Conventions
    B lanes, H attention heads, E head width
    T tokens in a block, M tokens in the memory, K = M + T keys
    N slots in a store, a ring; one more behind them takes what is not to be kept
    L tokens pushed out by a block: K - M
    keys are stored with L2 norm 1 and without position encoding, so the search compares by cosine

Source: Wu et al. 2022, Memorizing Transformers. https://arxiv.org/abs/2203.08913. Theirs keeps
keys rotated or with a T5 bias, and the tokens of all documents; ours keeps those of one song.
"""

import math
import time
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from trainer.data.batches import EMPTY, Batch
from trainer.model.knn.search import check_backend, look_up

STORED_AS = torch.float16
"""What keys and values are rounded to when they leave the memory. A store on a CPU then keeps them
as float32, to multiply them faster; a GPU and the file keep float16. Keys of norm 1 have 11 bits in
float16, 8 in bfloat16; values beyond its range, 65,504, are clipped."""

INITIAL_GATE = -2.0
"""Gate logit at the start: the store contributes sigmoid(-2) = 0.12 of the result."""

INITIAL_LOGIT_SCALE = 10.0
"""Factor of cosines before the softmax at the start; each head learns its own."""


class Pending(NamedTuple):
    """Tokens that have left the memory and are not yet in the store.

    Attributes:
        keys, values: shape (B, H, L, E), as they will be stored.
        segment_ids, bars: shape (B, L).
    """

    keys: Tensor
    values: Tensor
    segment_ids: Tensor
    bars: Tensor


class Retrieved(NamedTuple):
    """What the last block retrieved, for the metrics.

    Attributes:
        weights, slots: of the neighbours, shape (B, H, T, k).
        bars: of the queries, shape (B, T).
    """

    weights: Tensor
    slots: Tensor
    bars: Tensor


class Store(NamedTuple):
    """Keys and values of one layer that have left the memory; a part of `Memory`.

    Keys, values and bars are written in place, the other tensors never: an older `Store`
    stays valid until its slots are overwritten.

    Attributes:
        keys, values: shape (B, H, N + 1, E).
        bars: shape (B, N + 1), int32; the bar of each slot's token.
        segment_id: shape (B,), int64; whose tokens they are, EMPTY before the first.
        count: shape (B,), int64; tokens of that segment so far: slots in use, until it passes N.
        memory_bars: shape (B, M), int32; the bars of the tokens still in the memory.
        memory_keys: shape (B, H, M, E); the keys of the same, before rotation.
        layer: whose keys and values they are.
        pending: to be stored when the next block begins.
        retrieved: by the last block.
    """

    keys: Tensor
    values: Tensor
    bars: Tensor
    segment_id: Tensor
    count: Tensor
    memory_bars: Tensor
    memory_keys: Tensor
    layer: int
    pending: Pending | None = None
    retrieved: Retrieved | None = None

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
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> "Store":
        """An empty store for a memory of `length` tokens.

        All slots are allocated now, lanes x heads x (capacity + 1) x 2 x head width numbers: with
        a store that grew, torch.compile would build the graph again at each new shape.

        Args:
            lanes, heads, capacity, head_width: B, H, N, E.
            length: M.
            layer: see above.
            dtype: of the memory.
            device: where all tensors are.
        """
        stored_as = torch.float32 if torch.device(device).type == "cpu" else STORED_AS
        shape = lanes, heads, capacity + 1, head_width

        def zeros(*shape: int, dtype: torch.dtype = torch.int64) -> Tensor:
            return torch.zeros(*shape, dtype=dtype, device=device)

        return cls(
            zeros(*shape, dtype=stored_as),
            zeros(*shape, dtype=stored_as),
            zeros(lanes, capacity + 1, dtype=torch.int32),
            zeros(lanes) + EMPTY,
            zeros(lanes),
            zeros(lanes, length, dtype=torch.int32),
            zeros(lanes, heads, length, head_width, dtype=dtype),
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

    def flush(self) -> "Store":
        """The store with its pending tokens stored.

        Call it outside of a compiled graph and when no backward pass is outstanding. Flushing an
        old handle again writes the same once more.
        """
        if self.pending is None:
            return self._replace(retrieved=None)
        keys, values, segment_ids, bars = self.pending
        last = contiguous_copy(segment_ids[:, -1])
        # Earlier segments have ended. Negative segment_ids are of no song.
        is_kept = (segment_ids == last[:, None]) & (last >= 0)[:, None]
        first = torch.where(last == self.segment_id, self.count, 0)
        numbers = first[:, None] + is_kept.cumsum(dim=1) - 1
        count = first + is_kept.sum(dim=1)
        is_kept = is_kept & (numbers >= count[:, None] - self.capacity)  # the ring holds no more
        slots = torch.where(is_kept, numbers % self.capacity, self.capacity)
        lanes = torch.arange(len(slots), device=slots.device)[:, None]
        with torch.no_grad():
            for stored, new in ((self.keys, keys), (self.values, values)):
                stored.transpose(1, 2)[lanes, slots] = new.transpose(1, 2).to(stored.dtype)
            self.bars[lanes, slots] = bars
        return self._replace(segment_id=last, count=count, pending=None, retrieved=None)

    def append(self, bars: Tensor, keys: Tensor) -> "Store":
        """The store of a memory that a block was appended to.

        Args:
            bars: of the block, shape (B, T).
            keys: of the block, before rotation, shape (B, H, T, E).
        """
        keys = keys.detach().to(self.memory_keys.dtype)
        return self._replace(
            memory_bars=torch.cat([self.memory_bars, bars.int()], dim=1),
            memory_keys=torch.cat([self.memory_keys, keys], dim=2),
        )

    def truncate(self, values: Tensor, segment_ids: Tensor, length: int) -> "Store":
        """The store of a memory that is cut to a length: what is cut off is pending.

        Args:
            values: of all tokens of the memory, shape (B, H, K, E).
            segment_ids: of the same, shape (B, K).
            length: of what stays in the memory.
        """
        assert self.pending is None, "Memory.flush must be called before each block"
        out = segment_ids.shape[1] - length
        if out == 0:
            return self
        pending = Pending(
            to_stored(functional.normalize(self.memory_keys[:, :, :out].float(), dim=-1)),
            to_stored(values[:, :, :out]),
            contiguous_copy(segment_ids[:, :out]),
            contiguous_copy(self.memory_bars[:, :out]),
        )
        return self._replace(
            memory_bars=contiguous_copy(self.memory_bars[:, out:]),
            memory_keys=contiguous_copy(self.memory_keys[:, :, out:]),
            pending=pending,
        )

    def small_tensors(self) -> dict[str, Tensor]:
        """All tensors except keys, values and what is pending, by name."""
        names = ("bars", "segment_id", "count", "memory_bars", "memory_keys")
        return {name: getattr(self, name) for name in names}

    @staticmethod
    def join(stores: Sequence["Store"]) -> "Store":
        """The flushed store of all lanes, copied from those of groups of them."""
        flushed = [store.flush() for store in stores]
        names = ("keys", "values", *flushed[0].small_tensors())
        return flushed[0]._replace(
            **{name: torch.cat([getattr(store, name) for store in flushed]) for name in names}
        )

    def lanes(self, first: int, last: int) -> "Store":
        """Lanes [first, last), flushed; they share storage with this store."""
        flushed = self.flush()
        names = ("keys", "values", *flushed.small_tensors())
        return flushed._replace(**{name: getattr(flushed, name)[first:last] for name in names})


def to_stored(tensor: Tensor) -> Tensor:
    """A copy in the precision of the store."""
    limit = torch.finfo(STORED_AS).max
    return contiguous_copy(tensor.clamp(-limit, limit).to(STORED_AS))


def contiguous_copy(tensor: Tensor) -> Tensor:
    """A copy, with the same strides whatever it was a part of."""
    return tensor.clone(memory_format=torch.contiguous_format)


class NearestNeighbours(nn.Module):
    """Retrieves a block's neighbours from a store and mixes them with the attention's result.

    Args:
        heads: H.
        k: neighbours per query.
        backend: one of `trainer.config.KNN_BACKENDS`.
    """

    def __init__(self, heads: int, k: int, backend: str) -> None:
        super().__init__()
        check_backend(backend)
        self.k, self.backend = k, backend
        self.gate = nn.Parameter(torch.full((heads,), INITIAL_GATE))
        self.log_logit_scale = nn.Parameter(torch.full((heads,), math.log(INITIAL_LOGIT_SCALE)))

    def forward(
        self, queries: Tensor, attended: Tensor, query_segment_ids: Tensor, store: Store
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Mix.

        Args:
            queries: before rotation, shape (B, H, T, E).
            attended: result of the attention over memory and block, shape (B, H, T, E).
            query_segment_ids: shape (B, T).
            store: flushed.

        Returns:
            The mixture, of the shape and dtype of `attended`, and bit-equal to it where nothing of
            a query's segment is stored; weights and slots of the neighbours, (B, H, T, k).
        """
        scaled = functional.normalize(queries.float(), dim=-1)
        scaled = scaled * self.log_logit_scale.exp()[:, None, None]
        retrieved, weights, slots = look_up(
            scaled,
            query_segment_ids,
            store.keys,
            store.values,
            store.segment_id,
            store.count,
            self.k,
            self.backend,
        )
        is_stored = (query_segment_ids == store.segment_id[:, None]) & (store.count > 0)[:, None]
        share = self.gate.sigmoid()[:, None, None] * is_stored[:, None, :, None]
        mixed = attended + (share * (retrieved - attended.float())).to(attended.dtype)
        return mixed, weights, slots


class Retrieval:
    """Retrieves for one block: a `Retrieve` of `Attention.forward` that keeps what it found.

    Args:
        neighbours: of the model.
        batch: the block.
        store: flushed.
    """

    def __init__(self, neighbours: NearestNeighbours, batch: Batch, store: Store) -> None:
        self.neighbours, self.batch, self.store = neighbours, batch, store
        self.retrieved: Retrieved | None = None
        self.keys: Tensor

    def __call__(self, queries: Tensor, keys: Tensor, attended: Tensor) -> Tensor:
        """Mix, as `trainer.model.attention.Retrieve` says."""
        self.keys = keys
        segment_ids = self.batch.segment_ids
        mixed, weights, slots = self.neighbours(queries, attended, segment_ids, self.store)
        self.retrieved = Retrieved(weights, slots, self.batch.bars)
        return mixed

    def append(self) -> Store:
        """The store after the block, with what the block retrieved."""
        return self.store.append(self.batch.bars, self.keys)._replace(retrieved=self.retrieved)


def metrics(neighbours: NearestNeighbours, store: Store) -> dict[str, float]:
    """Metrics of the last block.

    Args:
        neighbours: of the model.
        store: as the block left it, not flushed.

    Returns:
        knn_gate_0, knn_gate_1 …, the share of the store in each head; knn_stored, mean tokens per
        lane; knn_queries, the fraction of queries that found something; and knn_bars_back, the
        weighted mean distance of their neighbours in bars.
    """
    gates = neighbours.gate.detach().sigmoid().tolist()
    result = {f"knn_gate_{head}": gate for head, gate in enumerate(gates)}
    result["knn_stored"] = float(store.stored.float().mean())
    if store.retrieved is None:
        return result
    weights, slots, bars = store.retrieved
    lanes = torch.arange(len(slots), device=slots.device)[:, None, None, None]
    bars_back = bars[:, None, :, None] - store.bars[lanes, slots]
    result["knn_queries"] = float((weights.sum(dim=-1) > 0).float().mean())
    result["knn_bars_back"] = float((bars_back * weights).sum() / weights.sum().clamp(min=1e-9))
    return result


def search_seconds(neighbours: NearestNeighbours, store: Store, block_size: int) -> float:
    """Seconds of one search in all lanes, with stored keys as queries.

    Args:
        neighbours: of the model.
        store: flushed.
        block_size: queries per lane.
    """
    B, _, rows, _ = store.keys.shape
    queries = store.keys[:, :, torch.arange(block_size) % rows].float().nan_to_num()
    segment_ids = store.segment_id[:, None].expand(B, block_size)
    start = time.perf_counter()
    with torch.no_grad():
        mixed, _, _ = neighbours(queries, torch.zeros_like(queries), segment_ids, store)
        float(mixed[0, 0, 0, 0])  # waits for a GPU
    return time.perf_counter() - start

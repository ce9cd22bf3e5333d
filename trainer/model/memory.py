"""What one block leaves for the next, and the one mask rule.

The rule: a query attends to a key if and only if the key is not in the future, lies within the
window, and has the same segment_id. Song changes, padding, songs joined in one block, a new
epoch in a lane and empty memory all follow from it: no code resets the memory when a song ends, and
no unwritten slot is attended to.

Conventions
    B lanes, H attention heads, E head width
    T tokens in a block, M tokens in the memory, K = M + T keys
    distance from query t back to key k: M + t - k, negative in the future
    segment_id  which playing of which song; EMPTY in memory slots that were never written
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from trainer.data.batches import EMPTY, Batch

if TYPE_CHECKING:  # the kNN memory is optional
    from trainer.model.knn.store import Store


class Memory(NamedTuple):
    """Keys and values of the last M tokens of each lane. Passed in and out of `forward`.

    Not registered as a buffer: buffers are copied from rank 0 to all others under data
    parallelism, and carried from training into evaluation; a memory must be neither.

    Attributes:
        keys, values: for each layer, shape (B, H, M, E), contiguous, no gradient; keys as they
            are compared with queries, rotated if the position encoding rotates.
        segment_ids: shape (B, M), int64.
        place: shape (B,), int64; tokens of the lane before the next block, the same in all lanes.
        last: shape (B, 3), int64; the token before the next block, its instrument and segment_id,
            EMPTY where there is none or it is hidden.
        store: the kNN memory, if the model has one; it takes what is cut off.
    """

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    segment_ids: Tensor
    place: Tensor
    last: Tensor
    store: "Store | None" = None

    @property
    def length(self) -> int:
        """M."""
        return self.segment_ids.shape[1]

    @classmethod
    def empty(
        cls,
        *,
        layers: int,
        lanes: int,
        heads: int,
        length: int,
        head_width: int,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> "Memory":
        """A memory to which nothing has been written; no query attends to it."""
        shape = (lanes, heads, length, head_width)

        def zeros() -> tuple[Tensor, ...]:
            return tuple(torch.zeros(shape, device=device, dtype=dtype) for _ in range(layers))

        segment_ids = torch.full((lanes, length), EMPTY, device=device)
        place = torch.zeros(lanes, device=device, dtype=torch.long)
        last = torch.zeros(lanes, 3, device=device, dtype=torch.long)
        last[:, 2] = EMPTY
        return cls(zeros(), zeros(), segment_ids, place, last)

    def append(self, keys: Sequence[Tensor], values: Sequence[Tensor], batch: Batch) -> "Memory":
        """The memory with a block after it, K tokens in all; the store stays as it is.

        Args:
            keys, values: for each layer, of memory and block, shape (B, H, K, E).
            batch: the block.
        """
        segment_ids = batch.segment_ids
        dtype = self.keys[0].dtype
        return Memory(
            tuple(layer.detach().to(dtype) for layer in keys),
            tuple(layer.detach().to(dtype) for layer in values),
            torch.cat([self.segment_ids, segment_ids], dim=1),
            self.place + segment_ids.shape[1],
            _inputs_and_segments(batch)[..., -1].T.contiguous(),
            self.store,
        )

    def truncate(self, length: int) -> "Memory":
        """The last `length` tokens, at most as many as there are; the others wait for `flush`.

        Copies, not views: a view would keep the whole block alive, and its other strides would
        make torch.compile build the graph again. (`contiguous` alone returns the view where it
        counts as contiguous, as with one lane and one head.)
        """
        first = self.length - length

        def copy(tensor: Tensor) -> Tensor:
            return tensor.clone(memory_format=torch.contiguous_format)

        store = self.store
        if store is not None:
            store = store.truncate(self.values[store.layer], self.segment_ids, length)
        return Memory(
            tuple(copy(layer[:, :, first:]) for layer in self.keys),
            tuple(copy(layer[:, :, first:]) for layer in self.values),
            copy(self.segment_ids[:, first:]),
            self.place,
            self.last,
            store,
        )

    def flush(self) -> "Memory":
        """Write the tokens that the last block pushed out of the memory into the store.

        For each block: `flush`, `model(batch, memory)`, backward. Not inside a compiled graph.
        Without a store it does nothing.
        """
        return self if self.store is None else self._replace(store=self.store.flush())


def previous_inputs(batch: Batch, memory: Memory, none: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """The token before each of a block's, and its instrument.

    Args:
        batch: the block.
        memory: what the block before it left.
        none: the token and the instrument that stand for none: before a song's first token, and
            where the token before is hidden (`batch.masked_inputs`, `batch.min_distance`).

    Returns:
        shape (B, T), int64, each.
    """
    here = _inputs_and_segments(batch)
    before = torch.cat([memory.last.T[..., None], here[..., :-1]], dim=2)
    is_known = before[2] == batch.segment_ids
    if batch.min_distance is not None:
        is_known = is_known & (batch.min_distance <= 1)
    return torch.where(is_known, before[0], none[0]), torch.where(is_known, before[1], none[1])


def _inputs_and_segments(batch: Batch) -> Tensor:
    """Tokens, instruments and segment_ids, EMPTY where inputs are masked; shape (3, B, T)."""
    segment_ids = batch.segment_ids
    if batch.masked_inputs is not None:
        segment_ids = segment_ids.masked_fill(batch.masked_inputs, EMPTY)
    return torch.stack([batch.tokens, batch.instruments, segment_ids])


def attention_mask(
    query_segment_ids: Tensor,
    memory_segment_ids: Tensor,
    *,
    window: int | None,
    min_distance: Tensor | None = None,
) -> Tensor:
    """The mask rule. Every query attends to at least one key, so no row is empty.

    Args:
        query_segment_ids: shape (B, T).
        memory_segment_ids: shape (B, M).
        window: tokens that a query attends to, its own included; None: all there are.
        min_distance: shape (B, T); how many tokens back the nearest key is that the query may
            attend to. None: 0, its own. A query left with no key attends to its own.

    Returns:
        shape (B, T, K), bool; True where the query attends to the key.
    """
    T, M = query_segment_ids.shape[1], memory_segment_ids.shape[1]
    key_segment_ids = torch.cat([memory_segment_ids, query_segment_ids], dim=1)
    queries = torch.arange(M, M + T, device=query_segment_ids.device)
    distance = queries[:, None] - torch.arange(M + T, device=query_segment_ids.device)  # (T, K)
    in_reach = distance >= 0
    if window is not None:
        in_reach &= distance < window
    mask = in_reach & (query_segment_ids[:, :, None] == key_segment_ids[:, None, :])
    if min_distance is not None:
        mask = mask & (distance >= min_distance[:, :, None])
        mask = mask | ((distance == 0) & ~mask.any(dim=-1, keepdim=True))
    return mask


def zero_unattended(memory: Memory, query_segment_ids: Tensor) -> Memory:
    """The memory with zeros in every slot of a segment that has no query.

    A mask alone does not keep out infinity and NaN: a weight of 0 times NaN is NaN.

    Args:
        memory: what the previous block left.
        query_segment_ids: shape (B, T).
    """
    is_same = memory.segment_ids[:, :, None] == query_segment_ids[:, None, :]  # (B, M, T)
    attended = is_same.any(dim=2)[:, None, :, None]
    return memory._replace(
        keys=tuple(torch.where(attended, keys, 0) for keys in memory.keys),
        values=tuple(torch.where(attended, values, 0) for values in memory.values),
    )


def memory_tensors(memory: Memory) -> dict[str, Tensor]:
    """A memory's tensors by name, `memory.…`, for a checkpoint.

    A store is flushed first. Its keys and values have their own file: `trainer.model.knn.file`.
    """
    layers = {
        f"memory.{name}.{layer}": tensor
        for name in ("keys", "values")
        for layer, tensor in enumerate(getattr(memory, name))
    }
    small = {} if memory.store is None else memory.store.flush().small_tensors()
    return {
        **layers,
        "memory.segment_ids": memory.segment_ids,
        "memory.place": memory.place,
        "memory.last": memory.last,
        **{f"memory.store.{name}": tensor for name, tensor in small.items()},
    }


def load_memory(memory: Memory, tensors: Mapping[str, Tensor]) -> Memory:
    """The memory of `memory_tensors`, on the given memory's device and in its precision.

    A store keeps the given one's keys and values, which have yet to be loaded from their file.
    """
    device, dtype = memory.keys[0].device, memory.keys[0].dtype

    def layers(name: str) -> tuple[Tensor, ...]:
        count = range(len(memory.keys))
        return tuple(tensors[f"memory.{name}.{layer}"].to(device, dtype) for layer in count)

    store = memory.store
    if store is not None:
        loaded = {
            name: tensors[f"memory.store.{name}"].to(device, given.dtype)
            for name, given in store.small_tensors().items()
        }
        store = store._replace(**loaded, pending=None, retrieved=None)
    return Memory(
        layers("keys"),
        layers("values"),
        tensors["memory.segment_ids"].to(device),
        tensors["memory.place"].to(device),
        tensors["memory.last"].to(device),
        store,
    )


def split_lanes(memory: Memory, groups: int) -> list[Memory]:
    """A memory for each of `groups` groups of lanes; stores share storage with the original."""
    lanes = len(memory.segment_ids) // groups

    def part(tensor: Tensor, group: int) -> Tensor:
        return tensor.chunk(groups)[group].clone(memory_format=torch.contiguous_format)

    return [
        Memory(
            tuple(part(keys, group) for keys in memory.keys),
            tuple(part(values, group) for values in memory.values),
            part(memory.segment_ids, group),
            part(memory.place, group),
            part(memory.last, group),
            memory.store and memory.store.lanes(group * lanes, (group + 1) * lanes),
        )
        for group in range(groups)
    ]


def join_lanes(memories: Sequence[Memory]) -> Memory:
    """The memory of all lanes, from those of groups of them."""
    if len(memories) == 1:
        return memories[0]
    stores = [memory.store for memory in memories if memory.store is not None]
    return Memory(
        tuple(torch.cat(layer) for layer in zip(*(m.keys for m in memories), strict=True)),
        tuple(torch.cat(layer) for layer in zip(*(m.values for m in memories), strict=True)),
        torch.cat([memory.segment_ids for memory in memories]),
        torch.cat([memory.place for memory in memories]),
        torch.cat([memory.last for memory in memories]),
        stores[0].join(stores) if stores else None,
    )

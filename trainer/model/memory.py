"""What one block leaves for the next, and the one mask rule.

The rule: a query sees a key if and only if the key is not in the future, lies within the
window, and belongs to the same segment_id of the same song. Resets, padding, songs joined in one
block, epochs that wrap and memory that is still empty all follow from it; nothing is ever
cleared, and no zero is ever attended to.

Conventions
    B lanes, H heads, T tokens in a block, M tokens in the memory, K = M + T keys, E head width
    key k of a block's K lies M + t - k tokens before query t; keys are kept before rotation
    segment_id     which playing of which song; EMPTY where the memory holds nothing yet
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from trainer.model.knn.store import EMPTY, Store


class Memory(NamedTuple):
    """Keys and values of the last M tokens of each lane. Never part of a module.

    A module's buffers are copied from rank 0 to all under data parallelism, and are carried
    from training into evaluation; a memory is neither.

    Attributes:
        keys, values: for each layer, shape (B, H, M, E), contiguous, no gradient.
        segment_ids: shape (B, M), int64.
        store: of the kNN memory, where the model has one; what is cut off goes there.
    """

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    segment_ids: Tensor
    store: Store | None = None

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
        """A memory that nothing has been written to; no query will see any of it."""
        shape = (lanes, heads, length, head_width)

        def zeros() -> tuple[Tensor, ...]:
            return tuple(torch.zeros(shape, device=device, dtype=dtype) for _ in range(layers))

        segment_ids = torch.full((lanes, length), EMPTY, device=device)
        return cls(zeros(), zeros(), segment_ids)

    def grown(
        self,
        keys: tuple[Tensor, ...],
        values: tuple[Tensor, ...],
        segment_ids: Tensor,
        bars: Tensor,
    ) -> "Memory":
        """The memory and a block after it, K tokens in all.

        Args:
            keys, values: for each layer, of memory and block, shape (B, H, K, E).
            segment_ids, bars: of the block, shape (B, T).
        """
        dtype = self.keys[0].dtype
        return Memory(
            tuple(layer.detach().to(dtype) for layer in keys),
            tuple(layer.detach().to(dtype) for layer in values),
            torch.cat([self.segment_ids, segment_ids], dim=1),
            None if self.store is None else self.store.grown(bars),
        )

    def cut(self, length: int) -> "Memory":
        """The last `length` tokens, at most as many as there are; the others go to the store.

        Copied, not a view: a view would keep the whole block alive, and would make torch.compile
        build its graph again for the other strides. (`contiguous` copies no row that is alone.)
        """
        first = self.length - length

        def copy(tensor: Tensor) -> Tensor:
            return tensor.clone(memory_format=torch.contiguous_format)

        store = self.store
        if store is not None:
            store = store.cut(
                self.keys[store.layer], self.values[store.layer], self.segment_ids, length
            )
        return Memory(
            tuple(copy(layer[:, :, first:]) for layer in self.keys),
            tuple(copy(layer[:, :, first:]) for layer in self.values),
            copy(self.segment_ids[:, first:]),
            store,
        )

    def settled(self) -> "Memory":
        """Ready for the next block: what left the memory with the last one is in the store.

        To be called before each block, outside of a compiled graph and after the last block's
        backward pass, if any. Without a store there is nothing to do.
        """
        return self if self.store is None else self._replace(store=self.store.settled())


def visible(
    query_segment_ids: Tensor,
    memory_segment_ids: Tensor,
    *,
    window: int | None,
    min_distance: Tensor | None = None,
) -> Tensor:
    """The mask rule. Every query sees at least one key, so no row is ever empty.

    Args:
        query_segment_ids: shape (B, T).
        memory_segment_ids: shape (B, M).
        window: tokens that a query sees, itself included; None: all there are.
        min_distance: shape (B, T); how far back the nearest key lies that the query may see. None:
            0, itself. A query that this leaves with nothing sees itself.

    Returns:
        shape (B, T, K), bool; True where the query sees the key.
    """
    T, M = query_segment_ids.shape[1], memory_segment_ids.shape[1]
    key_segment_ids = torch.cat([memory_segment_ids, query_segment_ids], dim=1)
    queries = torch.arange(M, M + T, device=query_segment_ids.device)
    back = queries[:, None] - torch.arange(M + T, device=query_segment_ids.device)  # (T, K)
    in_reach = back >= 0
    if window is not None:
        in_reach &= back < window
    seen = in_reach & (query_segment_ids[:, :, None] == key_segment_ids[:, None, :])
    if min_distance is not None:
        seen = seen & (back >= min_distance[:, :, None])
        seen = seen | ((back == 0) & ~seen.any(dim=-1, keepdim=True))
    return seen


def readable(memory: Memory, mask: Tensor) -> Memory:
    """The memory with every slot that no query sees set to zero.

    A mask alone does not keep out what is not finite: a weight of 0 times NaN is NaN.

    Args:
        memory: what the block before has left.
        mask: shape (B, T, K), of `visible`.
    """
    seen = mask[:, :, : memory.length].any(dim=1)[:, None, :, None]  # (B, 1, M, 1)
    return memory._replace(
        keys=tuple(torch.where(seen, keys, 0) for keys in memory.keys),
        values=tuple(torch.where(seen, values, 0) for values in memory.values),
    )


def memory_tensors(memory: Memory) -> dict[str, Tensor]:
    """A memory by names, `memory.…`, for a checkpoint.

    Without what a store holds in its slots, which has a file of its own: `trainer.model.knn.file`.
    """
    layers = {
        f"memory.{name}.{layer}": tensor
        for name in ("keys", "values")
        for layer, tensor in enumerate(getattr(memory, name))
    }
    small = {} if memory.store is None else memory.store.settled().small_tensors()
    return {
        **layers,
        "memory.segment_ids": memory.segment_ids,
        **{f"memory.store.{name}": tensor for name, tensor in small.items()},
    }


def load_memory(memory: Memory, tensors: Mapping[str, Tensor]) -> Memory:
    """The memory that `memory_tensors` named, where and in what precision the given one is.

    A store's slots are those of the given one, which are to be filled from its file.
    """
    device, dtype = memory.keys[0].device, memory.keys[0].dtype

    def layers(name: str) -> tuple[Tensor, ...]:
        count = range(len(memory.keys))
        return tuple(tensors[f"memory.{name}.{layer}"].to(device, dtype) for layer in count)

    store = memory.store
    if store is not None:
        names = store.small_tensors()
        store = store._replace(**{n: tensors[f"memory.store.{n}"].to(device) for n in names})
        store = store._replace(leaving=None, found=None)
    return Memory(layers("keys"), layers("values"), tensors["memory.segment_ids"].to(device), store)


def split_lanes(memory: Memory, groups: int) -> list[Memory]:
    """A memory for each of so many groups of lanes, copied; of a store's slots views."""
    lanes = len(memory.segment_ids) // groups

    def part(tensor: Tensor, group: int) -> Tensor:
        return tensor.chunk(groups)[group].clone(memory_format=torch.contiguous_format)

    return [
        Memory(
            tuple(part(keys, group) for keys in memory.keys),
            tuple(part(values, group) for values in memory.values),
            part(memory.segment_ids, group),
            memory.store and memory.store.lanes(group * lanes, (group + 1) * lanes),
        )
        for group in range(groups)
    ]


def join_lanes(memories: Sequence[Memory]) -> Memory:
    """The memory of all lanes, from those of groups of them."""
    if len(memories) == 1:
        return memories[0]
    keys, values, segment_ids, stores = zip(*memories, strict=True)
    return Memory(
        tuple(torch.cat(layer) for layer in zip(*keys, strict=True)),
        tuple(torch.cat(layer) for layer in zip(*values, strict=True)),
        torch.cat(segment_ids),
        None if stores[0] is None else Store.joined(stores),
    )

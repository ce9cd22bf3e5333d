"""The nearest stored keys by faiss, on the CPU: all of them looked at, or a graph walked through.

faiss comes with the `knn` extra. It is imported where it is needed, as most runs do without.

Conventions
    H heads, T queries, E head width, N slots of a ring; one more lies behind them
"""

from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from shards.errors import SettingError


def check_backend(name: str) -> None:
    """Refuse a backend that is not installed.

    Raises:
        SettingError: it needs faiss, and there is none.
    """
    if name in ("faiss", "hnsw") and find_spec("faiss") is None:
        raise SettingError(
            f"knn_backend {name} needs faiss: pip install 'lakhxl[knn]', or use topk"
        )


class Graph(NamedTuple):
    """One head's HNSW index, and what it holds: tokens [first, last) of a segment_id."""

    index: Any
    segment_id: int
    first: int
    last: int


_graphs: dict[int, Graph] = {}
"""HNSW indexes by the address of a head's keys. Nothing is in them that is not in the store: each
is built again where it does not fit what the store holds."""


def by_faiss(
    backend: str, queries: Tensor, keys: Tensor, segment_id: int, count: int, k: int
) -> tuple[Tensor, Tensor]:
    """The k stored keys with the highest products, of each query of one lane.

    Args:
        backend: faiss or hnsw.
        queries: shape (H, T, E), fp32.
        keys: shape (H, N + 1, E).
        segment_id, count: whose tokens are stored, and how many so far.
        k: at most as many as are stored.

    Returns:
        Products and slots, each shape (H, T, k), on the device of the queries; a product is -inf
        where hnsw found too few.
    """
    import faiss

    capacity = keys.shape[1] - 1
    all_scores, all_slots = [], []
    for sought, rows in zip(queries.detach().float().cpu().numpy(), keys, strict=True):
        if backend == "faiss":
            table = rows[: min(count, capacity)].float().cpu().numpy()
            scores, slots = faiss.knn(sought, table, k, metric=faiss.METRIC_INNER_PRODUCT)
        else:
            graph = _grown(_graphs.get(rows.data_ptr()), rows, segment_id, count)
            _graphs[rows.data_ptr()] = graph
            scores, slots = _ask(graph, sought, k, count, capacity)
        all_scores.append(torch.from_numpy(scores))
        all_slots.append(torch.from_numpy(slots))
    return torch.stack(all_scores).to(queries.device), torch.stack(all_slots).to(queries.device)


def _grown(graph: Graph | None, rows: Tensor, segment_id: int, count: int) -> Graph:
    """The index with all tokens of the store that it lacks.

    An index cannot forget, a ring does: once half of what it holds is gone, it is built anew.
    """
    import faiss

    capacity = len(rows) - 1
    oldest = max(count - capacity, 0)
    if (
        graph is None
        or graph.segment_id != segment_id
        or not oldest <= graph.last <= count
        or count - graph.first > 2 * capacity
        or not _holds(graph, rows)
    ):
        index = faiss.IndexHNSWFlat(rows.shape[1], 16, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = 64
        index.hnsw.efSearch = 64
        graph = Graph(index, segment_id, oldest, oldest)
    slots = torch.arange(graph.last, count, device=rows.device) % capacity
    if len(slots):
        graph.index.add(rows[slots].float().cpu().numpy())
    return graph._replace(last=count)


def _holds(graph: Graph, rows: Tensor) -> bool:
    """Whether the newest key of an index lies where the store would have it.

    Another store, a song of the same number and other weights: all may come to lie at the address.
    """
    if graph.index.d != rows.shape[1]:
        return False
    newest = rows[(graph.last - 1) % (len(rows) - 1)].float().cpu().numpy()
    return np.array_equal(graph.index.reconstruct(graph.index.ntotal - 1), newest)


def _ask(
    graph: Graph, queries: np.ndarray, k: int, count: int, capacity: int
) -> tuple[np.ndarray, np.ndarray]:
    """The k best of an index that the ring still has; score -inf where fewer were found."""
    gone = max(count - capacity - graph.first, 0)
    scores, found = graph.index.search(queries, min(2 * k if gone else k, graph.index.ntotal))
    scores = np.where(found < gone, -np.inf, scores)  # also -1, nothing found
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    scores, found = np.take_along_axis(scores, order, 1), np.take_along_axis(found, order, 1)
    return scores, np.where(np.isinf(scores), 0, (graph.first + found) % capacity)

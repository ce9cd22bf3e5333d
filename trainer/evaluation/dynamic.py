"""Dynamic evaluation: the weights go on learning while a song is scored.

Each block is scored first and learned from then, by one step of gradient descent, so no target is
learned from before it is scored. Every song begins with the trained weights. It says how much of a
song can be learned from the song itself, as a memory of all of it could.

Source: Krause et al. 2018, "Dynamic Evaluation of Neural Sequence Models"; here by plain gradient
descent with a clipped gradient.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from shards.reader import SongSource
from trainer.data.batches import Blocks
from trainer.data.sampler import Span
from trainer.evaluation.token_loss import SongLosses
from trainer.model.loss import sum_losses, token_losses
from trainer.model.transformer import TransformerXL

GRAD_CLIP = 1.0
"""L2 norm of a gradient at most, so that one odd block does not spoil the rest of its song."""


def score_songs_dynamically(
    model: TransformerXL,
    dataset: SongSource,
    numbers: np.ndarray,
    *,
    block_size: int,
    lr: float,
    advance: Callable[[], object] = lambda: None,
) -> SongLosses:
    """Compute the loss of every target of some songs, learning from each block after it is scored.

    Args:
        model: in evaluation mode; its weights are afterwards what they were.
        dataset, numbers, block_size: as for `score_songs`.
        lr: learning rate of gradient descent on the mean loss of a block; 0: as `score_songs`.
        advance: called after each block.
    """
    blocks = Blocks(dataset, numbers, block_size)
    trained = [weight.detach().clone() for weight in model.parameters()]
    lengths = dataset.index["tokens"].to_numpy()[numbers] - 1
    heads: dict[str, list[np.ndarray]] = {}
    buffer = blocks.buffer(1)
    try:
        for song, length in enumerate(lengths.tolist()):
            _restore(model, trained)
            memory = model.empty_memory(1)
            for start in range(0, length, block_size):
                span = Span(song, start, min(start + block_size, length), song)
                blocks.fill(buffer, [(span,)])
                batch = buffer.to(model.norm.weight.device)
                output, memory = model(batch, memory.flush())
                losses = token_losses(output, batch)
                for name, nats in losses._asdict().items():
                    if nats is not None:
                        found = nats[0, : span.stop - span.start].detach().cpu().numpy()
                        heads.setdefault(name, []).append(found)
                _descend(model, sum_losses(losses, batch).loss, lr)
                advance()
    finally:
        _restore(model, trained)
    starts = np.concatenate([[0], np.cumsum(lengths)])
    return SongLosses(starts, {name: np.concatenate(parts) for name, parts in heads.items()})


def _descend(model: nn.Module, loss: torch.Tensor, lr: float) -> None:
    weights = [*model.parameters()]
    gradients = torch.autograd.grad(loss, weights, allow_unused=True)
    found = [gradient for gradient in gradients if gradient is not None]
    norm = float(nn.utils.get_total_norm(found))
    scale = lr * min(1.0, GRAD_CLIP / max(norm, 1e-12))
    with torch.no_grad():
        for weight, gradient in zip(weights, gradients, strict=True):
            if gradient is not None:
                weight -= scale * gradient


def _restore(model: nn.Module, weights: list[torch.Tensor]) -> None:
    with torch.no_grad():
        for weight, trained in zip(model.parameters(), weights, strict=True):
            weight.copy_(trained)

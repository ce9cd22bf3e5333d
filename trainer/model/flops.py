"""How much arithmetic a training step takes, for comparison with what a GPU can do."""

from torch import nn

from trainer.config import ModelConfig


def flops_per_token(model: nn.Module, config: ModelConfig, block_size: int) -> float:
    """Floating-point operations of a training step, per token.

    Six for each weight that multiplies, two forward and four backward; and for attention 12 per
    layer, unit of width and key, of the keys that a query in the middle of the block may attend
    to. What kernels compute beyond that, as for pairs that are masked, does not count; nor does it
    lower the count that songs end.

    Args:
        model: its linear layers count; embeddings are looked up.
        config: its settings.
        block_size: T.

    Source: Kaplan et al. 2020, section 2.1. https://arxiv.org/abs/2001.08361
    """
    weights = sum(part.weight.numel() for part in model.modules() if isinstance(part, nn.Linear))
    keys = config.memory + (block_size + 1) / 2
    if config.window is not None:
        keys = min(keys, config.window)
    return 6 * weights + 12 * config.layers * config.d_model * keys

"""AdamW, what it decays, and how the learning rate rises and falls.

Sources
    Loshchilov and Hutter 2019, decoupled weight decay. https://arxiv.org/abs/1711.05101
    Loshchilov and Hutter 2017, cosine schedule. https://arxiv.org/abs/1608.03983
"""

import math

import torch
from torch import nn

from trainer.config import TrainConfig


def make_optimizer(model: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW over all parameters; only matrices that are multiplied with are decayed.

    Embeddings are looked up, norms and biases have no scale to keep small.
    """
    embeddings = {
        id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)
    }
    groups = {True: [], False: []}
    for parameter in model.parameters():
        groups[parameter.dim() == 2 and id(parameter) not in embeddings].append(parameter)
    return torch.optim.AdamW(
        [
            {"params": groups[True], "weight_decay": config.weight_decay},
            {"params": groups[False], "weight_decay": 0.0},
        ],
        lr=config.learning_rate,
        betas=(0.9, config.beta2),
        fused=next(model.parameters()).device.type in ("cuda", "cpu"),
    )


def rate(step: int, config: TrainConfig) -> float:
    """Learning rate of a step, counted from 0: a straight rise, then half a cosine down.

    The first step already learns, and the last has the final rate.
    """
    if step < config.warmup:
        return config.learning_rate * (step + 1) / (config.warmup + 1)
    falling = max(config.steps - 1 - config.warmup, 1)
    share = min((step - config.warmup) / falling, 1.0)
    height = 0.5 * (1 + math.cos(math.pi * share))
    return config.learning_rate * (config.final_rate + (1 - config.final_rate) * height)


def set_rate(optimizer: torch.optim.Optimizer, value: float) -> None:
    """Use a learning rate from the next step on."""
    for group in optimizer.param_groups:
        group["lr"] = value

"""AdamW and Muon, which parameters get weight decay, and the learning rate schedule.

Sources
    Loshchilov and Hutter 2019, decoupled weight decay. https://arxiv.org/abs/1711.05101
    Loshchilov and Hutter 2017, cosine schedule. https://arxiv.org/abs/1608.03983
    Jordan 2024, Muon. https://kellerjordan.github.io/posts/muon/
    Liu et al. 2025, Muon at AdamW's scale. https://arxiv.org/abs/2502.16982
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from trainer.config import TrainConfig
from trainer.model.knn.store import NearestNeighbours
from trainer.model.linear import matmul_transposed

QUINTIC = (3.4445, -4.7750, 2.0315)
"""Coefficients of Muon's iteration; its author chose them to grow small singular values fast."""


def make_optimizers(model: nn.Module, config: TrainConfig) -> tuple[torch.optim.Optimizer, ...]:
    """Make the optimizers that together hold every parameter once.

    Only matrices that multiply are decayed, not embeddings, which are looked up, nor norms and
    biases. Muon, if asked for, gets the matrices in `model.layers`.
    """
    linear = {id(m.weight): name for name, m in model.named_modules() if isinstance(m, nn.Linear)}
    gates = {id(m.gate) for m in model.modules() if isinstance(m, NearestNeighbours)}
    groups: dict[str, list[nn.Parameter]] = defaultdict(list)
    for parameter in model.parameters():
        name = linear.get(id(parameter))
        if id(parameter) in gates:
            group = "gates"
        elif name is None:
            group = "plain"
        elif config.optimizer == "muon" and name.startswith("layers."):
            group = "stacked" if name.endswith("attention.project_in") else "single"
        else:
            group = "decayed"
        groups[group].append(parameter)
    adamw_groups = [
        {"params": groups["decayed"], "weight_decay": config.weight_decay},
        {"params": groups["plain"], "weight_decay": 0.0},
    ]
    if groups["gates"]:
        scale = config.gate_lr / config.lr if config.lr else 1.0
        adamw_groups.append({"params": groups["gates"], "weight_decay": 0.0, "lr_scale": scale})
    adamw = torch.optim.AdamW(
        adamw_groups,
        lr=config.lr,
        betas=(0.9, config.beta2),
        fused=next(model.parameters()).device.type in ("cuda", "cpu"),
    )
    if config.optimizer != "muon":
        return (adamw,)
    matrices = [
        {"params": groups["stacked"], "stacked": 3},  # queries, keys, values
        {"params": groups["single"], "stacked": 1},
    ]
    return adamw, Muon(matrices, lr=config.lr, weight_decay=config.weight_decay)


class Muon(torch.optim.Optimizer):
    """SGD with momentum, where all singular values of the momentum are set to about 1.

    An update has AdamW's length for the same learning rate (root mean square 0.2), so one learning
    rate and schedule fits both. Matrices of one shape are orthogonalized as one batch.
    (torch.optim.Muon, of torch 2.9 and later, takes one at a time, in bf16 on every device, which
    CPUs emulate.)

    Args:
        params: groups of matrices; `stacked` says how many are stacked row-wise in each.
        lr: learning rate.
        momentum: decay of the past gradients, with Nesterov's lookahead.
        weight_decay: decoupled, multiplied by the learning rate.
    """

    def __init__(
        self,
        params: Iterable[dict],
        *,
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
    ) -> None:
        defaults = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "stacked": 1}
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Update the matrices by their gradients."""
        loss = None if closure is None else closure()
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[nn.Parameter]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    by_shape[parameter.shape].append(parameter)
            for matrices in by_shape.values():
                self._update(matrices, group)
        return loss

    def _update(self, matrices: list[nn.Parameter], group: dict) -> None:
        """Update matrices of one shape."""
        decay, lr = group["momentum"], group["lr"]
        lookahead = []
        for matrix in matrices:
            gradient, state = matrix.grad, self.state[matrix]
            assert gradient is not None
            if not state:
                state["momentum"] = torch.zeros_like(matrix)
            state["momentum"].lerp_(gradient, 1 - decay)
            lookahead.append(torch.lerp(gradient, state["momentum"], decay))
        rows, columns = matrices[0].shape[0] // group["stacked"], matrices[0].shape[1]
        updates = orthogonalize(torch.stack(lookahead).view(-1, rows, columns))
        updates = updates.view(len(matrices), -1, columns)
        for matrix, update in zip(matrices, updates, strict=True):
            matrix.mul_(1 - lr * group["weight_decay"])
            matrix.add_(update, alpha=-lr * 0.2 * math.sqrt(max(rows, columns)))


def orthogonalize(matrices: Tensor, *, iterations: int = 5) -> Tensor:
    """Approximate the nearest matrix with orthonormal rows or columns, for each of a batch.

    Keeps the singular vectors and brings every singular value to between about 0.7 and 1.2, by
    matrix products only: in bf16 on a GPU, which is precise enough, else in fp32.

    Args:
        matrices: shape (N, rows, columns), fp32.
        iterations: Newton-Schulz iterations, with QUINTIC.

    Returns:
        The same shape, fp32.
    """
    a, b, c = QUINTIC
    x = matrices.bfloat16() if matrices.device.type == "cuda" else matrices
    is_tall = x.shape[1] > x.shape[2]
    if is_tall:
        x = x.mT
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(iterations):
        square = matmul_transposed(x, x)  # symmetric
        x = a * x + matmul_transposed(b * square + c * matmul_transposed(square, square), x.mT)
    return (x.mT if is_tall else x).to(matrices.dtype)


def lr_at(step: int, config: TrainConfig) -> float:
    """Learning rate of a step, counted from 0: linear warmup, then half a cosine.

    The first step's is above 0, and the last step's is `final_lr_ratio` of the peak.
    """
    if step < config.warmup_steps:
        return config.lr * (step + 1) / (config.warmup_steps + 1)
    decay_steps = max(config.steps - 1 - config.warmup_steps, 1)
    progress = min((step - config.warmup_steps) / decay_steps, 1.0)
    cosine = 0.5 * (1 + math.cos(math.pi * progress))
    return config.lr * (config.final_lr_ratio + (1 - config.final_lr_ratio) * cosine)


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Use a learning rate from the next step on, scaled by each group's `lr_scale`."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group.get("lr_scale", 1)

"""AdamW and Muon, which parameters get weight decay, and the learning rate schedule.

Sources
    Loshchilov and Hutter 2019, decoupled weight decay. https://arxiv.org/abs/1711.05101
    Loshchilov and Hutter 2017, cosine schedule. https://arxiv.org/abs/1608.03983
    Jordan 2024, Muon. https://kellerjordan.github.io/posts/muon/
    Liu et al. 2025, Muon at AdamW's scale. https://arxiv.org/abs/2502.16982
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from trainer.config import TrainConfig
from trainer.model.knn.store import NearestNeighbours

lists: Any = torch
"""torch, for its functions of lists of tensors, one call for all: type checkers know none."""

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
    device = next(model.parameters()).device
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(
            adamw_groups,
            lr=config.lr,
            betas=(0.9, config.beta2),
            fused=device.type in ("cuda", "cpu"),
            capturable=device.type == "cuda",
        )
    ]
    if config.optimizer == "muon":
        matrices = [
            {"params": groups["stacked"], "stacked": 3},  # queries, keys, values
            {"params": groups["single"], "stacked": 1},
        ]
        optimizers.append(Muon(matrices, lr=config.lr, weight_decay=config.weight_decay))
    if device.type == "cuda":  # a number would be part of a CUDA graph
        for group in (group for optimizer in optimizers for group in optimizer.param_groups):
            group["lr"] = torch.tensor(group["lr"], device=device)
    return tuple(optimizers)


class Muon(torch.optim.Optimizer):
    """SGD with momentum, where all singular values of the momentum are set to about 1.

    An update has AdamW's length for the same learning rate (root mean square 0.2), so one learning
    rate and schedule fits both. (torch.optim.Muon, of torch 2.9 and later, takes one matrix at a
    time, in bf16 on every device, which CPUs emulate.)

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
        """Update the matrices by their gradients, in a number of calls that does not grow."""
        loss = None if closure is None else closure()
        updated = [
            ([matrix for matrix in group["params"] if matrix.grad is not None], group)
            for group in self.param_groups
        ]
        updated = [(matrices, group) for matrices, group in updated if matrices]
        lookaheads = [self._lookahead(matrices, group["momentum"]) for matrices, group in updated]
        parts = [
            part
            for lookahead, (_, group) in zip(lookaheads, updated, strict=True)
            for matrix in lookahead
            for part in matrix.chunk(group["stacked"])
        ]
        directions = iter(orthogonalize_all(parts))
        for matrices, group in updated:
            lr, stacked = group["lr"], group["stacked"]
            updates = [
                torch.cat([next(directions) for _ in range(stacked)])
                if stacked > 1
                else next(directions)
                for _ in matrices
            ]
            lists._foreach_mul_(matrices, 1 - lr * group["weight_decay"])
            lists._foreach_add_(matrices, lists._foreach_mul(updates, -lr))
        return loss

    def _lookahead(self, matrices: list[nn.Parameter], decay: float) -> list[Tensor]:
        """Add the gradients to the momentum, and look one step ahead."""
        gradients = [matrix.grad for matrix in matrices if matrix.grad is not None]
        for matrix in matrices:
            if not self.state[matrix]:
                self.state[matrix]["momentum"] = torch.zeros_like(matrix)
        momenta = [self.state[matrix]["momentum"] for matrix in matrices]
        lists._foreach_lerp_(momenta, gradients, 1 - decay)
        return list(lists._foreach_lerp(gradients, momenta, decay))


def orthogonalize_all(matrices: Sequence[Tensor]) -> list[Tensor]:
    """Orthogonalize matrices of any shapes, scaled to a root mean square of about 0.2.

    Those of one shape, or of one shape when transposed, are one batch.
    """
    batches: dict[torch.Size, list[int]] = defaultdict(list)
    wide = [matrix if matrix.shape[0] <= matrix.shape[1] else matrix.mT for matrix in matrices]
    for number, matrix in enumerate(wide):
        batches[matrix.shape].append(number)
    results = list(matrices)
    for shape, numbers in batches.items():
        batch = orthogonalize(torch.stack([wide[number] for number in numbers]))
        for number, result in zip(numbers, (0.2 * shape[1] ** 0.5 * batch).unbind(), strict=True):
            results[number] = result if wide[number] is matrices[number] else result.mT
    return results


def orthogonalize(matrices: Tensor, *, iterations: int = 5) -> Tensor:
    """Approximate the nearest matrix with orthonormal rows, for each of a batch.

    Keeps the singular vectors and brings every singular value to between about 0.7 and 1.2, by
    matrix products only: in bf16 on a GPU, which is precise enough, else in fp32.

    Args:
        matrices: shape (N, rows, columns), fp32; no more rows than columns.
        iterations: Newton-Schulz iterations, with QUINTIC.

    Returns:
        The same shape, fp32.
    """
    a, b, c = QUINTIC
    x = matrices.bfloat16() if matrices.device.type == "cuda" else matrices
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(iterations):
        square = x @ x.mT
        polynomial = torch.baddbmm(square, square, square, beta=b, alpha=c)
        x = torch.baddbmm(x, polynomial, x, beta=a)
    return x.to(matrices.dtype)


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
        scaled = lr * group.get("lr_scale", 1)
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(scaled)
        else:
            group["lr"] = scaled

"""AdamW and Muon, what they decay, and how the learning rate rises and falls.

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
from trainer.model.linear import times_transposed

QUINTIC = (3.4445, -4.7750, 2.0315)
"""Coefficients of Muon's iteration, chosen by its author to lift small singular values fast."""


def make_optimizers(model: nn.Module, config: TrainConfig) -> tuple[torch.optim.Optimizer, ...]:
    """The optimizers that together hold every parameter once.

    Only matrices that are multiplied with are decayed: embeddings are looked up, norms and biases
    have no scale to keep small. Muon, if asked for, has the matrices of `model.layers`.
    """
    linear = {id(m.weight): name for name, m in model.named_modules() if isinstance(m, nn.Linear)}
    for module in model.modules():
        if isinstance(module, nn.Embedding):
            linear.pop(id(module.weight), None)  # a head that is tied to it
    gates = {id(m.gate) for m in model.modules() if isinstance(m, NearestNeighbours)}
    groups: dict[str, list[nn.Parameter]] = defaultdict(list)
    for parameter in model.parameters():
        name = linear.get(id(parameter))
        if id(parameter) in gates:
            groups["gates"].append(parameter)
        elif name is None:
            groups["plain"].append(parameter)
        elif config.optimizer == "muon" and name.startswith("layers."):
            groups["stacked" if name.endswith("attention.project_in") else "single"].append(
                parameter
            )
        else:
            groups["decayed"].append(parameter)
    with_adamw = [
        {"params": groups["decayed"], "weight_decay": config.weight_decay},
        {"params": groups["plain"], "weight_decay": 0.0},
    ]
    if groups["gates"]:
        times = config.gate_lr / config.lr if config.lr else 1.0
        with_adamw.append({"params": groups["gates"], "weight_decay": 0.0, "times": times})
    adamw = torch.optim.AdamW(
        with_adamw,
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
    """Momentum whose singular values are all made about 1 before it is applied.

    A step is as long as AdamW's of the same learning rate (root mean square 0.2), so one rate and
    schedule suits both. Matrices of one shape are worked on as one batch. (torch.optim.Muon, of
    torch 2.9 and later, does one at a time and in bf16 on every device, which CPUs emulate.)

    Args:
        params: groups of matrices; `stacked` says how many lie on top of each other in each.
        lr: learning rate.
        momentum: share of the past gradients kept, Nesterov's way.
        weight_decay: pull towards zero, times learning rate.
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
        """Change the matrices by their gradients."""
        loss = None if closure is None else closure()
        for group in self.param_groups:
            same: dict[torch.Size, list[nn.Parameter]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    same[parameter.shape].append(parameter)
            for matrices in same.values():
                self._step_alike(matrices, group)
        return loss

    def _step_alike(self, matrices: list[nn.Parameter], group: dict) -> None:
        """Step matrices of one shape."""
        momentum, lr = group["momentum"], group["lr"]
        wanted = []
        for matrix in matrices:
            state = self.state[matrix]
            if not state:
                state["momentum"] = torch.zeros_like(matrix)
            state["momentum"].lerp_(matrix.grad, 1 - momentum)
            wanted.append(torch.lerp(matrix.grad, state["momentum"], momentum))
        rows, columns = matrices[0].shape[0] // group["stacked"], matrices[0].shape[1]
        updates = orthogonal(torch.stack(wanted).view(-1, rows, columns))
        updates = updates.view(len(matrices), -1, columns)
        for matrix, update in zip(matrices, updates, strict=True):
            matrix.mul_(1 - lr * group["weight_decay"])
            matrix.add_(update, alpha=-lr * 0.2 * math.sqrt(max(rows, columns)))


def orthogonal(matrices: Tensor, *, rounds: int = 5) -> Tensor:
    """Nearly the nearest matrix with orthonormal rows or columns, for each of a batch.

    The singular vectors stay, every singular value comes to lie between about 0.7 and 1.2, all
    by matrix products: in bf16 on a GPU, where that is enough, else in fp32.

    Args:
        matrices: shape (N, rows, columns), fp32.
        rounds: of Newton and Schulz's iteration, with QUINTIC.

    Returns:
        The same shape, fp32.
    """
    a, b, c = QUINTIC
    x = matrices.bfloat16() if matrices.device.type == "cuda" else matrices
    tall = x.shape[1] > x.shape[2]
    if tall:
        x = x.mT
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(rounds):
        square = times_transposed(x, x)  # its own transpose
        x = a * x + times_transposed(b * square + c * times_transposed(square, square), x.mT)
    return (x.mT if tall else x).to(matrices.dtype)


def rate(step: int, config: TrainConfig) -> float:
    """Learning rate of a step, counted from 0: a straight rise, then half a cosine down.

    The first step already learns, and the last has the final rate.
    """
    if step < config.warmup_steps:
        return config.lr * (step + 1) / (config.warmup_steps + 1)
    falling = max(config.steps - 1 - config.warmup_steps, 1)
    share = min((step - config.warmup_steps) / falling, 1.0)
    height = 0.5 * (1 + math.cos(math.pi * share))
    return config.lr * (config.final_lr_ratio + (1 - config.final_lr_ratio) * height)


def set_rate(optimizer: torch.optim.Optimizer, value: float) -> None:
    """Use a learning rate from the next step on; a group may have a multiple of it."""
    for group in optimizer.param_groups:
        group["lr"] = value * group.get("times", 1)

"""Seconds of a training step versus other libraries, on the CPU.

A step is the same for all: forward, both losses or one over as many classes, backward, clipping,
fused AdamW, memory carried over; random tokens, fp32 unless named. With ff_mult 5,
memorizing-transformers-pytorch, whose heads share keys and values, has as many parameters as the
others.
"""

import platform
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import click
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.arguments import Measurements
from shards.vocabulary import PROGRAMS, VELOCITY_BINS, Vocabulary
from trainer import device as devices
from trainer.config import ModelConfig, TrainConfig
from trainer.data.batches import Batch
from trainer.model import linear
from trainer.model.transformer import TransformerXL
from trainer.training import optimizers as optim
from trainer.training.trainer import score_batch

VOCABULARY = Vocabulary()
CLASSES = len(VOCABULARY) + PROGRAMS
CPU_SHAPE = {"layers": 6, "d_model": 384, "heads": 6, "memory": 256, "dropout": 0.0}
LANES, BLOCK = 8, 256
CPU = torch.device("cpu")


class Step(NamedTuple):
    """A training step, and how many parameters it trains."""

    run: Callable[[], None]
    parameters: int


def random_batch(lanes: int, block: int) -> Batch:
    """One long song per lane, every position with a target."""
    generator = torch.Generator().manual_seed(0)

    def draw(below: int) -> Tensor:
        return torch.randint(below, (lanes, block), generator=generator)

    return Batch(
        tokens=draw(len(VOCABULARY)),
        instruments=draw(VOCABULARY.instruments),
        bars=draw(60),
        steps=draw(VOCABULARY.max_bar_steps),
        segment_ids=torch.zeros(lanes, block, dtype=torch.long),
        velocities=draw(VELOCITY_BINS),
        positions=draw(1000),
        targets=draw(len(VOCABULARY)),
        instrument_targets=draw(PROGRAMS),
        velocity_targets=draw(VELOCITY_BINS),
    )


class Training:
    """A model of ours that trains on one endless song of random tokens, on the CPU."""

    def __init__(
        self,
        config: ModelConfig,
        lanes: int,
        block: int,
        *,
        compiled: bool = False,
        dtype: torch.dtype = torch.float32,
        onednn: bool = linear.HAS_ONEDNN,
    ) -> None:
        self.model = TransformerXL(config.for_vocabulary(VOCABULARY))
        self.model.initialize(torch.Generator().manual_seed(0))
        (self.optimizer,) = optim.make_optimizers(self.model, TrainConfig(optimizer="adamw"))
        self.batch, self.parameters = random_batch(lanes, block), list(self.model.parameters())
        self.score = torch.compile(score_batch, dynamic=False) if compiled else score_batch
        self.memory = self.model.empty_memory(lanes, dtype=dtype)
        self.dtype, self.onednn = dtype, onednn

    def step(self) -> None:
        """Train for one step."""
        linear.HAS_ONEDNN = self.onednn
        with devices.autocast(CPU, self.dtype):
            _, losses, self.memory = self.score(self.model, self.batch, self.memory.flush())
        losses.loss.backward()
        update(self.parameters, self.optimizer)


def ours(**options: Any) -> Step:
    config = ModelConfig(**CPU_SHAPE, qk_norm=False)
    training = Training(config, LANES, BLOCK, **options)
    return Step(training.step, count(training.parameters))


def count(parameters: list[nn.Parameter]) -> int:
    return sum(parameter.numel() for parameter in parameters)


def update(parameters: list[nn.Parameter], optimizer: torch.optim.Optimizer) -> None:
    nn.utils.clip_grad_norm_(parameters, 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def peer(model: nn.Module, predict: Callable, *, compiled: bool) -> Step:
    """A step of a model whose `predict(model, tokens, memory)` gives logits and memory."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    tokens = torch.randint(CLASSES, (LANES, BLOCK), generator=torch.Generator().manual_seed(0))
    run = torch.compile(model) if compiled else model
    parameters, memory = list(model.parameters()), None

    def step() -> None:
        nonlocal memory
        logits, memory = predict(run, tokens, memory)
        functional.cross_entropy(logits.flatten(0, 1), tokens.flatten()).backward()
        memory = [layer.detach() for layer in memory]
        update(parameters, optimizer)

    return Step(step, count(parameters))


def x_transformers(*, flash: bool) -> tuple[nn.Module, Callable]:
    from x_transformers import Decoder, TransformerWrapper

    model = TransformerWrapper(
        num_tokens=CLASSES,
        max_seq_len=256,
        max_mem_len=256,
        use_abs_pos_emb=False,
        attn_layers=Decoder(
            dim=384, depth=6, heads=6, attn_dim_head=64, rotary_pos_emb=True, attn_flash=flash
        ),
    )

    def predict(run: Callable, tokens: Tensor, memory: list | None) -> tuple[Tensor, list]:
        return run(tokens, mems=memory, return_mems=True)

    return model, predict


def memorizing_transformers(*, ff_mult: int = 4) -> tuple[nn.Module, Callable]:
    from memorizing_transformers_pytorch import MemorizingTransformer

    model = MemorizingTransformer(
        num_tokens=CLASSES,
        dim=384,
        dim_head=64,
        depth=6,
        heads=6,
        ff_mult=ff_mult,
        memorizing_layers=(),
        xl_memory_layers=(1, 2, 3, 4, 5, 6),
        xl_max_memories=256,
    )
    empty = torch.zeros(8, 0, 2, 64)

    def predict(run: Callable, tokens: Tensor, memory: list | None) -> tuple[Tensor, list]:
        return run(tokens, knn_memories=[], xl_memories=memory or [empty] * 6)

    return model, predict


def seconds_per_step(steps: dict[str, Step], rounds: int) -> dict[str, float]:
    """The best of so many rounds of each, after warming up (and compiling).

    They take turns in one process, so that a busy machine is busy for all.
    """
    best = dict.fromkeys(steps, float("inf"))
    for name, step in steps.items():
        begun = time.perf_counter()
        for _ in range(3):  # without memory, with it, and once more
            step.run()
        print(f"  {name} is warm after {time.perf_counter() - begun:.0f} s", flush=True)
    for _ in range(rounds):
        for name, step in steps.items():
            begun = time.perf_counter()
            step.run()
            best[name] = min(best[name], time.perf_counter() - begun)
    return best


command = Measurements(help=__doc__)
rounds_option = click.option("--rounds", default=6, show_default=True)


@command.command()
@rounds_option
@click.option("--compile", "compiled", is_flag=True, help="Compile every model that can be.")
def cpu(rounds: int, compiled: bool) -> None:
    """Compare with x-transformers, memorizing-transformers-pytorch, and our model in bf16."""
    torch.manual_seed(0)
    memorizing = "memorizing-transformers-pytorch"
    steps = {
        "lakhxl": ours(compiled=compiled),
        "lakhxl, bf16": ours(compiled=compiled, dtype=torch.bfloat16),
        "lakhxl, torch's own products": ours(compiled=compiled, onednn=False),
        "x-transformers": peer(*x_transformers(flash=False), compiled=compiled),
        "x-transformers, attn_flash": peer(*x_transformers(flash=True), compiled=compiled),
        memorizing: peer(*memorizing_transformers(), compiled=compiled),
        f"{memorizing}, ff_mult 5": peer(*memorizing_transformers(ff_mult=5), compiled=compiled),
    }
    print(f"{platform.machine()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    best = seconds_per_step(steps, rounds)
    print(f"| {'compiled' if compiled else 'eager'} | parameters | tokens/s | its time / ours |")
    print("|---|---:|---:|---:|")
    for name, seconds in best.items():
        millions, speed = steps[name].parameters / 1e6, LANES * BLOCK / seconds
        print(f"| {name} | {millions:.1f} M | {speed:,.0f} | {seconds / best['lakhxl']:.2f} |")
